//! Detections whose attributes were changed here, until that is known to the central database. Kept among the store's facts,
//! since there are few.

use redb::ReadableTable as _;

use crate::domain::ids::TrackId;
use crate::domain::query::SessionKey;

use super::tables::META;
use super::{Snapshot, StoreError, Transaction};

fn key(at: SessionKey, track: &TrackId) -> String {
    format!("patched/{:016x}/{}", at.number, track.as_str())
}

impl Transaction<'_> {
    /// Notes that the attributes of `track` were changed here, by its newest number in the feed.
    pub fn note_patched(&mut self, at: SessionKey, track: &TrackId) -> Result<(), StoreError> {
        self.changed = true;
        let seq = self.head.to_string();
        self.meta.insert(key(at, track).as_str(), seq.as_str())
    }

    /// Whether the attributes of `track` were changed here and are not central yet.
    pub fn is_patched(&self, at: SessionKey, track: &TrackId) -> Result<bool, StoreError> {
        Ok(self.meta.get(key(at, track).as_str())?.is_some())
    }

    /// Forgets the note, unless there is a newer one than `seq`.
    pub fn forget_patched(&mut self, at: SessionKey, track: &TrackId, seq: u64) -> Result<(), StoreError> {
        let key = key(at, track);
        let is_that = self.meta.get(key.as_str())?.is_some_and(|noted| noted.value() == seq.to_string());
        if is_that {
            self.changed = true;
            self.meta.remove(key.as_str())?;
        }
        Ok(())
    }
}

impl Snapshot {
    /// The number under which the attributes of `track` were noted as changed here, if they were.
    pub fn patched(&self, at: SessionKey, track: &TrackId) -> Result<Option<u64>, StoreError> {
        let noted = self.table(META)?.get(key(at, track).as_str())?;
        Ok(noted.and_then(|noted| noted.value().parse().ok()))
    }

    /// Whether any are.
    pub fn any_patched(&self) -> Result<bool, StoreError> {
        Ok(self.table(META)?.range("patched/".."patched0")?.next().is_some())
    }
}
