//! The change feed: every change of a session or a detection gets the next number in the same
//! transaction, and an entity stands in the feed once, at its newest number.

use redb::ReadableTable as _;

use crate::domain::detection::Detection;
use crate::domain::ids::{SessionId, TrackId};
use crate::domain::query::SessionKey;
use crate::domain::session::Session;
use crate::domain::time::Timestamp;

use super::schema::KEY_FEED_FLOOR;
use super::tables::{FEED, META, TOMBSTONES};
use super::{Snapshot, StoreError, Transaction, record};

/// What a feed entry is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entity {
    /// A session.
    Session(SessionKey),
    /// A detection of a session.
    Detection(SessionKey, TrackId),
    /// A session that is no more, with its detections.
    SessionDeleted(SessionId),
}

/// One entry of the feed, with the entity as it is now.
#[derive(Debug, Clone)]
pub enum Change {
    /// A session.
    Session(Session),
    /// A detection of the session with this id.
    Detection(SessionId, Detection),
    /// A session that is no more.
    SessionDeleted(SessionId),
}

/// A piece of the feed.
#[derive(Debug, Clone)]
pub struct FeedPage {
    /// The entries after `since`, with their numbers, in order.
    pub changes: Vec<(u64, Change)>,
    /// The `since` to go on with.
    pub next: u64,
    /// Where the feed ended when the reader began at 0, if it must say that when it goes on.
    pub began: Option<u64>,
}

/// Why a piece of the feed cannot be given.
#[derive(Debug)]
pub enum FeedError {
    /// The reader's place is not in this feed: it must begin again at 0.
    Restarted,
    /// The store failed.
    Store(StoreError),
}

impl<E: Into<StoreError>> From<E> for FeedError {
    fn from(error: E) -> Self {
        Self::Store(error.into())
    }
}

impl Transaction<'_> {
    /// Gives `entity` the next number, in place of its `old` one.
    pub(super) fn number(&mut self, entity: &Entity, old: Option<u64>) -> Result<u64, StoreError> {
        if let Some(old) = old {
            self.feed.remove(old)?;
        }
        self.changed = true;
        self.head += 1;
        self.feed.insert(self.head, record::encode_entity(entity)?.as_slice())?;
        Ok(self.head)
    }

    /// Takes `seq` out of the feed for good.
    pub(super) fn forget(&mut self, seq: u64) -> Result<(), StoreError> {
        self.feed.remove(seq)?;
        Ok(())
    }

    /// Adds a tombstone.
    pub(super) fn bury(&mut self, id: &SessionId) -> Result<(), StoreError> {
        let seq = self.number(&Entity::SessionDeleted(id.clone()), None)?;
        self.tombstones.insert(seq, self.now.micros())?;
        Ok(())
    }

    /// Drops tombstones from before `before`, at most `limit` of them; returns how many.
    pub fn drop_tombstones(&mut self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let mut old = Vec::new();
        for entry in self.tombstones.iter()?.take(limit) {
            let (seq, at) = entry?;
            if at.value() < before.micros() {
                old.push(seq.value());
            }
        }
        self.changed |= !old.is_empty();
        for seq in &old {
            self.tombstones.remove(seq)?;
            self.forget(*seq)?;
        }
        if let Some(newest) = old.last() {
            self.meta.insert(KEY_FEED_FLOOR, newest.to_string().as_str())?;
        }
        Ok(old.len())
    }
}

impl Snapshot {
    /// Whether the feed still remembers the deletion of a session with this id. Reads all that it remembers.
    pub fn is_session_buried(&self, id: &SessionId) -> Result<bool, StoreError> {
        let feed = self.table(FEED)?;
        for entry in self.table(TOMBSTONES)?.range::<u64>(..)? {
            let entity = feed.get(entry?.0.value())?.map(|bytes| record::decode_entity(bytes.value())).transpose()?;
            if entity.is_some_and(|entity| entity == Entity::SessionDeleted(id.clone())) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The feed's newest number.
    pub fn feed_head(&self) -> Result<u64, StoreError> {
        let newest = self.table(FEED)?.last()?.map_or(0, |(seq, _)| seq.value());
        Ok(newest.max(self.feed_floor()?))
    }

    fn feed_floor(&self) -> Result<u64, StoreError> {
        Ok(self.table(META)?.get(KEY_FEED_FLOOR)?.and_then(|floor| floor.value().parse().ok()).unwrap_or(0))
    }

    /// At most `limit` entries after `since`, for a reader that began at 0 when the feed ended at `began`, if it knows.
    ///
    /// A reader from before a deletion that was forgotten has missed it and must begin again. Its place alone does not tell
    /// it from one that began behind the deletion and is on its way through what is older.
    pub fn changes(&self, since: u64, began: Option<u64>, limit: usize) -> Result<FeedPage, FeedError> {
        let (head, floor) = (self.feed_head()?, self.feed_floor()?);
        let has_missed = since > 0 && since < floor && began.is_none_or(|began| began < floor);
        if since > head || began.is_some_and(|began| began > head) || has_missed {
            return Err(FeedError::Restarted);
        }
        let mut page = self.more_changes(since, limit)?;
        page.began = if since > 0 {
            began
        } else {
            // Behind all deletions there is nothing to tell apart.
            let newest = self.table(TOMBSTONES)?.last()?.map_or(floor, |(seq, _)| seq.value().max(floor));
            Some(head).filter(|_| page.next < newest)
        };
        Ok(page)
    }

    /// [`Snapshot::changes`] for a reader that has just been given what lies before `since`: a deletion that was
    /// forgotten is none that it missed.
    pub fn more_changes(&self, since: u64, limit: usize) -> Result<FeedPage, StoreError> {
        let head = self.feed_head()?;
        let feed = self.table(FEED)?;
        let mut changes = Vec::new();
        // Detections of one session often stand together.
        let mut session_id: Option<(SessionKey, SessionId)> = None;
        for entry in feed.range(since.saturating_add(1)..)?.take(limit) {
            let (seq, bytes) = entry?;
            let missing = || StoreError::Record(format!("feed entry {}: what it names is not there", seq.value()));
            let change = match record::decode_entity(bytes.value())? {
                Entity::Session(key) => Change::Session(self.session_at(key)?.ok_or_else(missing)?),
                Entity::Detection(key, track) => {
                    let id = match &session_id {
                        Some((known, id)) if *known == key => id.clone(),
                        _ => self.session_at(key)?.ok_or_else(missing)?.id,
                    };
                    session_id = Some((key, id.clone()));
                    Change::Detection(id, self.detection(key, &track)?.ok_or_else(missing)?)
                }
                Entity::SessionDeleted(id) => Change::SessionDeleted(id),
            };
            changes.push((seq.value(), change));
        }
        let next = if changes.len() < limit { head } else { changes.last().map_or(head, |(seq, _)| *seq) };
        Ok(FeedPage { changes, next, began: None })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::domain::session::Open;
    use crate::runtime::clock::ManualClock;
    use crate::store::{Options, Store, Tracks};

    /// An export of more entries than one page holds broke off with "Feed restarted" as soon as a deletion beyond that page
    /// was forgotten: each page was treated as a reader that comes back after a long time.
    #[test]
    fn a_reader_on_its_way_is_not_sent_back_by_a_deletion_that_was_forgotten() {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = Arc::new(ManualClock::new(Timestamp::from_micros(1_000_000)));
        let store = Store::open(Options::for_testing(folder.path()), Arc::<ManualClock>::clone(&clock)).expect("opened");
        let ids = |numbers: std::ops::Range<u32>| numbers.map(|number| SessionId::new("", format!("s{number}")).expect("valid"));
        let add = |id: SessionId| {
            let start = Timestamp::from_micros(0);
            let open = Open { id, device_id: "d".into(), path: "p".into(), start, reason: None, configured_classes: vec![] };
            store.write_blocking(move |tx| tx.add_session(&open.clone().into_session(start)).map(drop)).expect("added");
        };
        ids(0..4).for_each(add);
        store.write_blocking(|tx| tx.delete_session(&SessionId::new("", "s3").expect("valid"), Tracks::Stay)).expect("deleted");
        clock.advance(Duration::from_secs(7200));
        store.write_blocking(|tx| tx.drop_tombstones(tx.now(), 10)).expect("forgotten");
        ids(4..6).for_each(add);
        let snapshot = store.read().expect("read");
        let (mut page, mut seen) = (snapshot.changes(0, None, 2).expect("the beginning"), 0);
        while !page.changes.is_empty() {
            seen += page.changes.len();
            page = snapshot.more_changes(page.next, 2).expect("the next page");
        }
        assert_eq!(seen, 5);
        assert!(matches!(snapshot.changes(2, None, 2), Err(FeedError::Restarted)), "one that comes back has missed it");
    }
}
