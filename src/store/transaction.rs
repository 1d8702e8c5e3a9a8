//! One write transaction, with every table open. The nouns' files beside this one add their verbs.

use std::collections::HashSet;

use redb::{ReadableTable as _, Table, WriteTransaction};

use crate::domain::query::SessionKey;
use crate::domain::time::Timestamp;

use super::StoreError;
use super::frames::BeatenFrame;
use super::schema::{KEY_FEED_FLOOR, KEY_FRAMES_PAIRED, KEY_UUID};
use super::tables::{
    BEATEN_FRAMES, BY_CLASS, BY_COLOR, BY_DEVICE, BY_PATH, CLOSED_SESSIONS, DETECTIONS, FEED, FRAMES, META, OPEN_SESSIONS,
    RawIndexKey, RawSessionKey, SEGMENTS, SESSION_IDS, SESSIONS, TOMBSTONES,
};

/// What a change is applied to. Nothing is visible to readers before the commit.
pub struct Transaction<'t> {
    pub(super) meta: Table<'t, &'static str, &'static str>,
    pub(super) session_ids: Table<'t, &'static str, RawSessionKey>,
    pub(super) sessions: Table<'t, RawSessionKey, &'static [u8]>,
    pub(super) open_sessions: Table<'t, RawSessionKey, ()>,
    pub(super) closed_sessions: Table<'t, (u8, i64, u64), ()>,
    pub(super) by_class: Table<'t, RawIndexKey, ()>,
    pub(super) by_path: Table<'t, RawIndexKey, ()>,
    pub(super) by_device: Table<'t, RawIndexKey, ()>,
    pub(super) by_color: Table<'t, RawIndexKey, u32>,
    pub(super) detections: Table<'t, (u64, &'static str), &'static [u8]>,
    pub(super) frames: Table<'t, (u64, &'static str), &'static [u8]>,
    pub(super) beaten_frames: Table<'t, (&'static str, &'static str), ()>,
    pub(super) segments: Table<'t, (&'static str, &'static str), &'static [u8]>,
    pub(super) feed: Table<'t, u64, &'static [u8]>,
    pub(super) tombstones: Table<'t, u64, i64>,
    /// The feed's newest number so far.
    pub(super) head: u64,
    /// Sessions that this transaction writes to; their held touches go along.
    pub(super) written: HashSet<SessionKey>,
    pub(super) now: Timestamp,
    /// Frames that this transaction added to the queue of beaten ones, and their bytes.
    pub(super) beaten: (Vec<BeatenFrame>, u64),
    /// Whether there is anything to commit.
    pub(super) changed: bool,
}

impl<'t> Transaction<'t> {
    pub(super) fn new(txn: &'t WriteTransaction, now: Timestamp) -> Result<Self, StoreError> {
        let feed = txn.open_table(FEED)?;
        let meta = txn.open_table(META)?;
        let newest = feed.last()?.map_or(0, |(seq, _)| seq.value());
        let floor = meta.get(KEY_FEED_FLOOR)?.and_then(|floor| floor.value().parse().ok()).unwrap_or(0);
        Ok(Self {
            meta,
            session_ids: txn.open_table(SESSION_IDS)?,
            sessions: txn.open_table(SESSIONS)?,
            open_sessions: txn.open_table(OPEN_SESSIONS)?,
            closed_sessions: txn.open_table(CLOSED_SESSIONS)?,
            by_class: txn.open_table(BY_CLASS)?,
            by_path: txn.open_table(BY_PATH)?,
            by_device: txn.open_table(BY_DEVICE)?,
            by_color: txn.open_table(BY_COLOR)?,
            detections: txn.open_table(DETECTIONS)?,
            frames: txn.open_table(FRAMES)?,
            beaten_frames: txn.open_table(BEATEN_FRAMES)?,
            segments: txn.open_table(SEGMENTS)?,
            feed,
            tombstones: txn.open_table(TOMBSTONES)?,
            head: newest.max(floor),
            written: HashSet::new(),
            now,
            beaten: (Vec::new(), 0),
            changed: false,
        })
    }

    /// The moment of this transaction.
    pub fn now(&self) -> Timestamp {
        self.now
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
