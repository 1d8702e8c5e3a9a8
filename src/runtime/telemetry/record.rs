//! One log record.

use std::fmt::Write as _;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level};

use crate::domain::time::Timestamp;
use crate::runtime::clock::{Clock as _, SystemClock};

/// One log record.
pub struct Record {
    /// When.
    pub at: Timestamp,
    /// How severe.
    pub level: Level,
    /// What is said; empty in the record of a request.
    pub message: String,
    /// Named values, in the order they were given.
    pub fields: Map<String, Value>,
}

impl Record {
    /// The record of an event that happens now.
    pub fn of_event(event: &Event<'_>) -> Self {
        let level = *event.metadata().level();
        let mut record = Self { at: SystemClock::default().now(), level, message: String::new(), fields: Map::new() };
        event.record(&mut record);
        record
    }

    /// Tells of records that were dropped.
    pub fn of_loss(count: u64) -> Self {
        Self {
            at: SystemClock::default().now(),
            level: Level::WARN,
            message: format!("{count} log records were lost: the log could not be written fast enough"),
            fields: Map::new(),
        }
    }

    /// A request's record has these fields, and only it has.
    pub fn is_request(&self) -> bool {
        self.fields.contains_key("elapsed_ms")
    }

    /// A field's value as text.
    pub fn text(&self, name: &str) -> String {
        match self.fields.get(name) {
            None => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
        }
    }

    /// `ts`, then for a request its fields, else level, message and fields.
    pub fn to_json(&self) -> String {
        let mut object = Map::new();
        object.insert("ts".to_owned(), self.at.to_millis().into());
        if !self.is_request() {
            object.insert("level".to_owned(), self.level.as_str().into());
            object.insert("message".to_owned(), self.message.as_str().into());
        }
        object.extend(self.fields.clone());
        Value::Object(object).to_string()
    }

    /// One readable line. Control characters are escaped, so that no client can write lines of its own.
    pub fn to_line(&self) -> String {
        let mut line = format!("{} {:5} ", self.at.to_millis(), self.level.as_str());
        if self.is_request() {
            let (method, path, status) = (self.text("method"), self.text("path"), self.text("status"));
            let _ = write!(line, "{method} {path} {status} {} ms {}", self.text("elapsed_ms"), self.text("ip"));
        } else {
            line.push_str(&self.message);
            for name in self.fields.keys() {
                let _ = write!(line, " {name}={}", self.text(name));
            }
        }
        line.chars().flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] }).collect()
    }
}

impl Visit for Record {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.fields.insert(field.name().to_owned(), value.into());
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.fields.insert(field.name().to_owned(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.fields.insert(field.name().to_owned(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.fields.insert(field.name().to_owned(), value.into());
    }
}
