//! One write transaction, with every table open. The nouns' files beside this one add their verbs.

use std::collections::HashSet;

use redb::{ReadableTable as _, WriteTransaction};

use crate::domain::query::SessionKey;
use crate::domain::time::Timestamp;

use super::StoreError;
use super::frames::BeatenFrame;
use super::journal::Batch;
use super::journaled::{AnyTable, Journaled};
use super::schema::{KEY_FEED_FLOOR, KEY_FRAMES_PAIRED, KEY_JOURNAL, KEY_UUID};
use super::tables::{
    BEATEN_FRAMES, BY_CLASS, BY_COLOR, BY_DEVICE, BY_PATH, CLOSED_SESSIONS, DELETED_FOLDERS, DETECTIONS, FEED, FRAMES,
    HELD_SESSIONS, META, OPEN_SESSIONS, PUBLISHED, RawIndexKey, RawSegmentKey, RawSessionKey, SEGMENTS, SEGMENTS_BY_TIME,
    SESSION_IDS, SESSIONS, TOMBSTONES,
};

/// What a change is applied to. Nothing is visible to readers before the commit.
pub struct Transaction<'t> {
    pub(super) meta: Journaled<'t, &'static str, &'static str>,
    pub(super) session_ids: Journaled<'t, &'static str, RawSessionKey>,
    pub(super) sessions: Journaled<'t, RawSessionKey, &'static [u8]>,
    pub(super) open_sessions: Journaled<'t, RawSessionKey, ()>,
    pub(super) closed_sessions: Journaled<'t, (u8, i64, u64), ()>,
    pub(super) by_class: Journaled<'t, RawIndexKey, ()>,
    pub(super) by_path: Journaled<'t, RawIndexKey, ()>,
    pub(super) by_device: Journaled<'t, RawIndexKey, ()>,
    pub(super) by_color: Journaled<'t, RawIndexKey, u32>,
    pub(super) detections: Journaled<'t, (u64, &'static str), &'static [u8]>,
    pub(super) frames: Journaled<'t, (u64, &'static str), &'static [u8]>,
    pub(super) beaten_frames: Journaled<'t, (&'static str, &'static str), ()>,
    pub(super) segments: Journaled<'t, (&'static str, &'static str), &'static [u8]>,
    pub(super) feed: Journaled<'t, u64, &'static [u8]>,
    pub(super) tombstones: Journaled<'t, u64, i64>,
    pub(super) segments_by_time: Journaled<'t, RawSegmentKey, i64>,
    pub(super) published: Journaled<'t, &'static str, i64>,
    pub(super) held_sessions: Journaled<'t, RawSessionKey, ()>,
    pub(super) deleted_folders: Journaled<'t, &'static str, bool>,
    /// The feed's newest number so far.
    pub(super) head: u64,
    /// Sessions that this transaction writes to; their held touches go along.
    pub(super) written: HashSet<SessionKey>,
    pub(super) now: Timestamp,
    /// Frames that this transaction added to the queue of beaten ones, and their bytes.
    pub(super) beaten: (Vec<BeatenFrame>, u64),
    /// Whether there is anything to commit.
    pub(super) changed: bool,
    /// Whether the journal is left out.
    pub(super) is_direct: bool,
}

impl<'t> Transaction<'t> {
    pub(super) fn new(txn: &'t WriteTransaction, now: Timestamp) -> Result<Self, StoreError> {
        let feed = Journaled::open(txn, FEED)?;
        let meta = Journaled::open(txn, META)?;
        let newest = feed.last()?.map_or(0, |(seq, _)| seq.value());
        let floor = meta.get(KEY_FEED_FLOOR)?.and_then(|floor| floor.value().parse().ok()).unwrap_or(0);
        Ok(Self {
            meta,
            session_ids: Journaled::open(txn, SESSION_IDS)?,
            sessions: Journaled::open(txn, SESSIONS)?,
            open_sessions: Journaled::open(txn, OPEN_SESSIONS)?,
            closed_sessions: Journaled::open(txn, CLOSED_SESSIONS)?,
            by_class: Journaled::open(txn, BY_CLASS)?,
            by_path: Journaled::open(txn, BY_PATH)?,
            by_device: Journaled::open(txn, BY_DEVICE)?,
            by_color: Journaled::open(txn, BY_COLOR)?,
            detections: Journaled::open(txn, DETECTIONS)?,
            frames: Journaled::open(txn, FRAMES)?,
            beaten_frames: Journaled::open(txn, BEATEN_FRAMES)?,
            segments: Journaled::open(txn, SEGMENTS)?,
            feed,
            tombstones: Journaled::open(txn, TOMBSTONES)?,
            segments_by_time: Journaled::open(txn, SEGMENTS_BY_TIME)?,
            published: Journaled::open(txn, PUBLISHED)?,
            held_sessions: Journaled::open(txn, HELD_SESSIONS)?,
            deleted_folders: Journaled::open(txn, DELETED_FOLDERS)?,
            head: newest.max(floor),
            written: HashSet::new(),
            now,
            beaten: (Vec::new(), 0),
            changed: false,
            is_direct: false,
        })
    }

    /// The moment of this transaction.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Every table by its number in the journal, which must never change: add new ones at the end.
    fn tables(&mut self) -> [&mut dyn AnyTable; 19] {
        [
            &mut self.meta,
            &mut self.session_ids,
            &mut self.sessions,
            &mut self.open_sessions,
            &mut self.closed_sessions,
            &mut self.by_class,
            &mut self.by_path,
            &mut self.by_device,
            &mut self.by_color,
            &mut self.detections,
            &mut self.frames,
            &mut self.beaten_frames,
            &mut self.segments,
            &mut self.feed,
            &mut self.tombstones,
            &mut self.segments_by_time,
            &mut self.published,
            &mut self.held_sessions,
            &mut self.deleted_folders,
        ]
    }

    /// All that this transaction has written.
    pub(super) fn take_changes(&mut self) -> Batch {
        let changes = (0_u8..).zip(self.tables()).map(|(number, table)| (number, table.take_changes()));
        changes.filter(|(_, changes)| !changes.is_empty()).collect()
    }

    /// Has this transaction, and all that is committed with it, committed by the database itself: for what is much too large
    /// for the journal.
    pub fn do_without_journal(&mut self) {
        self.is_direct = true;
        for table in self.tables() {
            table.forget_changes();
        }
    }

    /// Makes changes that the journal holds.
    pub(super) fn make(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let mut tables = self.tables();
        for (number, changes) in batch {
            let table = tables.get_mut(usize::from(*number));
            table
                .ok_or_else(|| StoreError::Record(format!("the journal names table {number}, which is not known")))?
                .make(changes)?;
        }
        Ok(())
    }

    /// Notes that with this transaction the database holds all of the journal up to `number`.
    pub(super) fn set_journal_applied(&mut self, number: u64) -> Result<(), StoreError> {
        self.meta.insert(KEY_JOURNAL, number.to_string().as_str())
    }

    /// Takes over the name of a store whose database is lost, with its frames folder.
    pub fn adopt(&mut self, uuid: &str) -> Result<(), StoreError> {
        self.changed = true;
        self.meta.insert(KEY_UUID, uuid)?;
        self.set_frames_paired()
    }

    /// Remembers that the frames folder carries this store's UUID.
    pub fn set_frames_paired(&mut self) -> Result<(), StoreError> {
        self.changed = true;
        self.meta.insert(KEY_FRAMES_PAIRED, "1")?;
        Ok(())
    }
}
