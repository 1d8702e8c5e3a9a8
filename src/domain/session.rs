//! A session: the time in which an AI worker saw something on one path.

use super::Invalid;
use std::collections::HashSet;

use super::hold::Hold;
use super::ids::{SessionId, check_text};
use super::time::Timestamp;

/// The longest device id, path, class or reason in bytes.
pub const MAX_TEXT_BYTES: usize = 1024;
/// The most classes one session may be configured with; further ones that it sees are not listed.
pub const MAX_CLASSES: usize = 1000;

/// Who closed a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    /// The edge agent.
    Client,
    /// The store, after a time without evidence.
    Idle,
    /// The store, when a newer session of the same device and path opened.
    Superseded,
}

impl EndReason {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Idle => "idle",
            Self::Superseded => "superseded",
        }
    }

    /// The reason that `word` stands for.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Client, Self::Idle, Self::Superseded].into_iter().find(|reason| reason.as_str() == word)
    }
}

/// A session as it is kept and shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Chosen by the client.
    pub id: SessionId,
    /// The camera or gateway that opened it.
    pub device_id: String,
    /// MediaMTX's path.
    pub path: String,
    /// When it began; never changes.
    pub start: Timestamp,
    /// When it ended and who ended it; `None` while it is open.
    pub end: Option<End>,
    /// Seconds of video that the client wants after the end.
    pub postroll_sec: Option<i32>,
    /// Why the client opened it.
    pub reason: Option<String>,
    /// When the stream was published.
    pub media_connect: Option<Timestamp>,
    /// Start of the earliest recorded picture that belongs to it.
    pub media_start: Option<Timestamp>,
    /// End of the latest recorded picture that belongs to it.
    pub media_end: Option<Timestamp>,
    /// Milliseconds that a player should skip.
    pub recommended_start_offset_ms: Option<i32>,
    /// Classes the client looks for, in its order.
    pub configured_classes: Vec<String>,
    /// Classes seen, in the order they came.
    pub detected_classes: Vec<String>,
    /// When the store first heard of it.
    pub created_at: Timestamp,
    /// When the record last changed.
    pub updated_at: Timestamp,
    /// Why it must stay, where an operator said so.
    pub hold: Option<Hold>,
}

/// The end of a closed session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// As the client sent it, also where it lies before the start.
    pub at: Timestamp,
    /// Who closed the session; `None` where an earlier service's record does not say.
    pub reason: Option<EndReason>,
}

impl Session {
    /// Whether it has no end yet.
    pub fn is_open(&self) -> bool {
        self.end.is_none()
    }

    /// Whether it reaches into the window: `start < to`, and no end or `end >= from`.
    pub fn overlaps(&self, from: Timestamp, to: Timestamp) -> bool {
        self.start < to && self.end.is_none_or(|end| end.at >= from)
    }

    /// Takes in another store's record of the same session: a closed session is not reopened, the newer
    /// of two ends wins, times of media widen, classes seen join, the longer hold holds. Says whether anything changed.
    pub fn merge(&mut self, other: &Self) -> bool {
        let before = self.clone();
        if other.end.is_some() && (self.end.is_none() || other.updated_at > self.updated_at) {
            self.end = other.end;
            self.postroll_sec = other.postroll_sec;
        }
        self.reason = self.reason.take().or_else(|| other.reason.clone());
        self.media_connect = self.media_connect.or(other.media_connect);
        self.media_start = [self.media_start, other.media_start].into_iter().flatten().min();
        self.media_end = self.media_end.max(other.media_end);
        self.recommended_start_offset_ms = self.recommended_start_offset_ms.or(other.recommended_start_offset_ms);
        if self.configured_classes.is_empty() {
            self.configured_classes.clone_from(&other.configured_classes);
        }
        self.see_classes(&other.detected_classes);
        self.created_at = self.created_at.min(other.created_at);
        self.hold = Hold::longer(self.hold.take(), other.hold.as_ref());
        let changed = *self != before;
        if changed {
            self.updated_at = self.updated_at.max(other.updated_at);
        }
        changed
    }

    /// Adds `classes` to the classes seen; says whether any is new.
    pub fn see_classes<'c>(&mut self, classes: impl IntoIterator<Item = &'c String>) -> bool {
        let known: HashSet<&String> = self.detected_classes.iter().collect();
        let mut new: Vec<String> = Vec::new();
        let mut fresh: HashSet<&String> = HashSet::new();
        for class in classes {
            if known.len() + new.len() < MAX_CLASSES && !known.contains(class) && fresh.insert(class) {
                new.push(class.clone());
            }
        }
        let any = !new.is_empty();
        self.detected_classes.extend(new);
        any
    }
}

/// A client's wish to open a session, valid.
#[derive(Debug, Clone)]
pub struct Open {
    /// The session's id.
    pub id: SessionId,
    /// The device.
    pub device_id: String,
    /// MediaMTX's path.
    pub path: String,
    /// The start.
    pub start: Timestamp,
    /// Why.
    pub reason: Option<String>,
    /// Trimmed, without empties and duplicates.
    pub configured_classes: Vec<String>,
}

impl Open {
    /// The record of a session opened at `now`.
    pub fn into_session(self, now: Timestamp) -> Session {
        Session {
            id: self.id,
            device_id: self.device_id,
            path: self.path,
            start: self.start,
            end: None,
            postroll_sec: None,
            reason: self.reason,
            media_connect: None,
            media_start: None,
            media_end: None,
            recommended_start_offset_ms: None,
            configured_classes: self.configured_classes,
            detected_classes: Vec::new(),
            created_at: now,
            updated_at: now,
            hold: None,
        }
    }
}

/// A client's wish to close a session, valid.
#[derive(Debug, Clone)]
pub struct Close {
    /// The session's id.
    pub id: SessionId,
    /// Its end.
    pub end: Timestamp,
    /// Seconds of video wanted after it.
    pub postroll_sec: Option<i32>,
}

/// Trims class names, drops empties and duplicates, keeps the order.
pub fn clean_classes(field: &str, classes: impl IntoIterator<Item = String>) -> Result<Vec<String>, Invalid> {
    let mut kept: Vec<String> = Vec::new();
    for class in classes {
        let class = class.trim();
        if class.is_empty() || kept.iter().any(|other| other == class) {
            continue;
        }
        check_text(field, class, MAX_TEXT_BYTES)?;
        if kept.len() == MAX_CLASSES {
            return Err(Invalid::field(field, format_args!("must hold at most {MAX_CLASSES} classes")));
        }
        kept.push(class.to_owned());
    }
    Ok(kept)
}
