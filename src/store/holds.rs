//! Sessions that are held.

use std::ops::Bound;

use crate::domain::query::SessionKey;
use crate::domain::session::Session;

use super::tables::{HELD_SESSIONS, RawSessionKey, key, raw};
use super::{Snapshot, StoreError};

impl Snapshot {
    /// At most `limit` sessions with a hold, also one that has ended, behind `after`, newest start first.
    pub fn held_sessions(&self, after: Option<SessionKey>, limit: usize) -> Result<Vec<(SessionKey, Session)>, StoreError> {
        let highest = after.map_or(Bound::Unbounded, |after| Bound::Excluded(raw(after)));
        let mut held = Vec::new();
        for entry in self.table(HELD_SESSIONS)?.range::<RawSessionKey>((Bound::Unbounded, highest))?.rev().take(limit) {
            let at = key(entry?.0.value());
            held.extend(self.session_at(at)?.map(|session| (at, session)));
        }
        Ok(held)
    }
}
