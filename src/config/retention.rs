//! `[retention]`: what is deleted, and when.

use std::time::Duration;

use toml::Value;

use crate::domain::retention::{Limits, MinFree, Policy, Rule, size, span};

use super::Reader;
use super::nested::Nested;

/// Retention.
#[derive(Debug, Clone)]
pub struct Retention {
    /// The rules.
    pub policy: Policy,
}

const SECTION: &str = "retention";
const SPAN: &str = "a span of time such as 90d, 2w or 36h";
const SIZE: &str = "a size such as 200GB";
const FREE: &str = "a share such as 10%, or a size such as 5GB";

impl Retention {
    pub(super) fn read(reader: &mut Reader) -> Self {
        let all = Limits {
            keep: reader.optional_read(SECTION, "keep", SPAN, span),
            max_bytes: reader.optional_read(SECTION, "max_bytes", SIZE, size),
            min_free: reader.optional_read(SECTION, "min_free", FREE, MinFree::parse),
        };
        let interval = reader.integer(SECTION, "interval_sec", 60, 1..=86_400);
        let trust_clock = reader.yes_or_no(SECTION, "trust_clock", false);
        let rules = reader.sections(SECTION, "rule", rule);
        let interval = Duration::from_secs(interval.unsigned_abs());
        Self { policy: Policy { rules, all, interval, trust_clock } }
    }
}

fn rule(nested: &mut Nested<'_>) -> Rule {
    let is_list = "a list of texts";
    let texts = |value: &Value| {
        let all: Option<Vec<_>> = value.as_array()?.iter().map(|one| one.as_str().map(ToOwned::to_owned)).collect();
        all.filter(|all| all.iter().all(|one| !one.is_empty()))
    };
    Rule {
        classes: nested.read("classes", is_list, texts).unwrap_or_default(),
        paths: nested.read("paths", is_list, texts).unwrap_or_default(),
        limits: Limits {
            keep: nested.read("keep", SPAN, text(span)),
            max_bytes: nested.read("max_bytes", SIZE, text(size)),
            min_free: nested.read("min_free", FREE, text(MinFree::parse)),
        },
    }
}

fn text<T>(read: fn(&str) -> Option<T>) -> impl Fn(&Value) -> Option<T> {
    move |value| read(value.as_str()?)
}
