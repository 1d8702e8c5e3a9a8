//! `[feed]`: the change feed.

use std::time::Duration;

use super::Reader;

/// The change feed.
#[derive(Debug, Clone)]
pub struct Feed {
    /// How long a deleted session is remembered.
    pub tombstone_age: Duration,
}

impl Feed {
    pub(super) fn read(reader: &mut Reader) -> Self {
        let days = reader.integer("feed", "tombstone_days", 90, 1..=36_500);
        Self { tombstone_age: Duration::from_secs(days.unsigned_abs() * 86_400) }
    }
}
