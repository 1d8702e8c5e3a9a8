//! Query strings.

use std::borrow::Cow;
use std::time::Duration;

use crate::domain::Invalid;
use crate::domain::query::{Page, SessionKey, SessionQuery, Status};
use crate::domain::time::Timestamp;

/// Sessions in a list where the client does not say how many.
const DEFAULT_LIMIT: usize = 50;
/// The most sessions or changes in one list.
const MAX_LIMIT: usize = 1000;
/// Changes in one answer where the client does not say how many.
const DEFAULT_CHANGES: usize = 100;
/// The most values of a list in a query.
const MAX_LIST: usize = 100;
/// The longest long poll in seconds.
const MAX_WAIT_SEC: u64 = 60;

/// A parsed query string; of a repeated key the first counts, unless it is a list.
pub struct Query<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Query<'a> {
    /// Reads `raw`.
    pub fn parse(raw: &'a str) -> Self {
        Self(form_urlencoded::parse(raw.as_bytes()).collect())
    }

    /// The value of `key`; an empty one is as not given.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, value)| name == key && !value.is_empty()).map(|(_, value)| value.as_ref())
    }

    /// A time.
    pub fn time(&self, key: &str) -> Option<Timestamp> {
        Timestamp::parse(self.get(key)?)
    }

    /// All values of a list, by commas and by repetition, in order, without empties and duplicates.
    fn list(&self, key: &str) -> Result<Vec<String>, Invalid> {
        let mut all: Vec<String> = Vec::new();
        for (_, value) in self.0.iter().filter(|(name, _)| name == key) {
            for part in value.split(',').map(str::trim).filter(|part| !part.is_empty()) {
                if all.iter().any(|known| known == part) {
                    continue;
                }
                if all.len() == MAX_LIST {
                    return Err(Invalid::field(key, format_args!("must name at most {MAX_LIST}")));
                }
                all.push(part.to_owned());
            }
        }
        Ok(all)
    }

    /// `limit` 1 to 1000; more is 1000; 0, negative, absent or no number is `default`.
    fn limit(&self, default: usize) -> usize {
        let asked = self.get("limit").and_then(|text| text.trim().parse::<f64>().ok()).filter(|limit| limit.is_finite());
        match asked {
            Some(limit) if limit >= 1000.0 => MAX_LIMIT,
            // From 1 to below 1000: exact.
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            Some(limit) if limit >= 1.0 => limit as usize,
            _ => default,
        }
    }

    /// The filters of a list of sessions, the window aside.
    pub fn sessions(&self) -> Result<SessionQuery, Invalid> {
        let status = match self.get("status") {
            None => None,
            Some("open") => Some(Status::Open),
            Some("closed") => Some(Status::Closed),
            Some(_) => return Err(Invalid::field("status", "must be open or closed")),
        };
        let text = |key: &str| self.get(key).map(str::trim).filter(|text| !text.is_empty()).map(ToOwned::to_owned);
        Ok(SessionQuery {
            window: None,
            classes: self.list("classes")?,
            color: text("color"),
            path: self.get("path").map(ToOwned::to_owned),
            device_id: self.get("device_id").map(ToOwned::to_owned),
            status,
        })
    }

    /// `limit` and `cursor` of a list of sessions.
    pub fn page(&self) -> Result<Page, Invalid> {
        let after = self.get("cursor").map(SessionKey::from_cursor).transpose()?;
        Ok(Page { limit: self.limit(DEFAULT_LIMIT), after })
    }

    /// `since` of a reader of the feed.
    pub fn since(&self) -> Result<u64, Invalid> {
        // An empty one is a reader that lost its place, not a new reader.
        let Some((_, text)) = self.0.iter().find(|(name, _)| name == "since") else { return Ok(0) };
        place("since", text)
    }

    /// `after` of an enricher.
    pub fn after(&self) -> Result<u64, Invalid> {
        let Some(text) = self.get("after") else { return Ok(0) };
        place("after", text)
    }

    /// `epoch` of a reader of the feed; an empty one is none of ours.
    pub fn epoch(&self) -> Option<String> {
        self.0.iter().find(|(name, _)| name == "epoch").map(|(_, epoch)| epoch.as_ref().to_owned())
    }

    /// `limit` of a reader of the feed.
    pub fn changes_limit(&self) -> usize {
        self.limit(DEFAULT_CHANGES)
    }

    /// Whether `key` is asked for: given, and not `0` or `false`.
    pub fn flag(&self, key: &str) -> bool {
        self.0.iter().any(|(name, value)| name == key && value != "0" && value != "false")
    }

    /// `wait_sec` of a reader of the feed.
    pub fn wait(&self) -> Result<Duration, Invalid> {
        let Some(text) = self.get("wait_sec") else { return Ok(Duration::ZERO) };
        let seconds: u64 = text.parse().map_err(|_| Invalid::field("wait_sec", "must be a whole number of seconds"))?;
        Ok(Duration::from_secs(seconds.min(MAX_WAIT_SEC)))
    }
}

/// A reader's place.
fn place(key: &str, text: &str) -> Result<u64, Invalid> {
    text.parse().map_err(|_| Invalid::field(key, "must be a whole number that an earlier answer gave as next, or 0"))
}
