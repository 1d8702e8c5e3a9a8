//! What is asked of the catalogue.

use super::Invalid;
use super::time::Timestamp;

/// Where a session stands in the catalogue's order (by start, then by arrival).
/// It never changes, so it also serves as a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey {
    /// The session's start, microseconds since 1970.
    pub start: i64,
    /// The session's number: unique, rising with arrival.
    pub number: u64,
}

impl SessionKey {
    /// Above every key.
    pub const MAX: Self = Self { start: i64::MAX, number: u64::MAX };
    /// Below every key.
    pub const MIN: Self = Self { start: i64::MIN, number: 0 };

    /// The next lower key.
    pub fn before(self) -> Option<Self> {
        match self.number.checked_sub(1) {
            Some(number) => Some(Self { number, ..self }),
            None => Some(Self { start: self.start.checked_sub(1)?, number: u64::MAX }),
        }
    }

    /// The opaque form for clients.
    pub fn to_cursor(self) -> String {
        format!("{:016x}{:016x}", self.start, self.number)
    }

    /// Reads [`SessionKey::to_cursor`]'s form.
    pub fn from_cursor(text: &str) -> Result<Self, Invalid> {
        let parse = || {
            if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
                return None;
            }
            let start = u64::from_str_radix(&text[..16], 16).ok()?.cast_signed();
            let number = u64::from_str_radix(&text[16..], 16).ok()?;
            Some(Self { start, number })
        };
        parse().ok_or_else(|| Invalid::field("cursor", "must be a value that an earlier answer gave as next"))
    }
}

/// A window of time: `start < to` and no end, or `end >= from`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Its begin.
    pub from: Timestamp,
    /// Its end, exclusive.
    pub to: Timestamp,
}

/// Open or closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Without an end.
    Open,
    /// With an end.
    Closed,
}

/// Which sessions are asked for: those for which everything given holds.
#[derive(Debug, Clone, Default)]
pub struct SessionQuery {
    /// Overlapping this window.
    pub window: Option<Window>,
    /// Having seen all of these classes.
    pub classes: Vec<String>,
    /// Holding an enriched detection whose colour's name contains this, whatever the case.
    pub color: Option<String>,
    /// On this path.
    pub path: Option<String>,
    /// Of this device.
    pub device_id: Option<String>,
    /// In this state.
    pub status: Option<Status>,
}

/// How much of a list is wanted, and from where.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    /// At most so many.
    pub limit: usize,
    /// Only what comes after this one in the list.
    pub after: Option<SessionKey>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_as_it_went() {
        for key in [SessionKey::MIN, SessionKey::MAX, SessionKey { start: -5, number: 7 }] {
            assert_eq!(SessionKey::from_cursor(&key.to_cursor()), Ok(key));
        }
        for text in ["", "zz", "0123", "+0000000000000000000000000000000", "é000000000000000000000000000000"] {
            assert!(SessionKey::from_cursor(text).is_err(), "{text}");
        }
    }
}
