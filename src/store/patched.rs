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

    /// Forgets the note with its detection.
    pub(super) fn drop_patched(&mut self, at: SessionKey, track: &TrackId) -> Result<(), StoreError> {
        if self.is_patched(at, track)? { self.meta.remove(key(at, track).as_str()) } else { Ok(()) }
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::domain::detection::{Detection, Sighting};
    use crate::domain::ids::{SessionId, TrackId};
    use crate::domain::session::Open;
    use crate::domain::time::Timestamp;
    use crate::runtime::clock::ManualClock;
    use crate::store::{Options, Store, Tracks};

    /// A note outlived the session of its detection. Nobody could take it back any more, and each push went on asking for the
    /// notes of every row.
    #[test]
    fn a_note_goes_with_its_session() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = Timestamp::from_micros(1_000_000);
        let store = Store::open(Options::for_testing(folder.path()), Arc::new(ManualClock::new(at))).expect("opened");
        let id = SessionId::new("", "s").expect("valid");
        let open =
            Open { id: id.clone(), device_id: "d".into(), path: "p".into(), start: at, reason: None, configured_classes: vec![] };
        let track = TrackId::new("", "1").expect("valid");
        let sighting = Sighting { track: track.clone(), cls: "person".into(), conf: 0.5, bbox: "{}".into() };
        let seen = Detection::first_seen(&sighting, at, None, at);
        let (key, of) = (id.clone(), track.clone());
        store
            .write_blocking(move |tx| {
                let place = tx.add_session(&open.clone().into_session(at))?;
                tx.put_detection(place, &key, &seen, None)?;
                tx.note_patched(place, &of)
            })
            .expect("noted");
        assert!(store.read().expect("read").any_patched().expect("read"));
        assert!(store.write_blocking(move |tx| tx.delete_session(&id, Tracks::Stay)).expect("deleted"));
        assert!(!store.read().expect("read").any_patched().expect("read"));
        store.close();
    }
}
