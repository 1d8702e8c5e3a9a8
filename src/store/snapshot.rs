//! A consistent view of the catalogue. The nouns' files beside this one add their questions.

use std::sync::{Arc, OnceLock};

use redb::{
    Database, Key, ReadOnlyTable, ReadTransaction, ReadableDatabase as _, ReadableTableMetadata as _, TableDefinition, Value,
};

use super::StoreError;
use super::schema::KEY_FRAMES_PAIRED;
use super::tables::{BEATEN_FRAMES, DETECTIONS, FRAMES, META, OPEN_SESSIONS, SEGMENTS, SESSIONS};
use super::touches::Held;

/// All that was committed when it was taken, with the touches that were held then.
pub struct Snapshot {
    // The transaction before the database: healing waits until the last handle is gone.
    txn: ReadTransaction,
    _database: Arc<Database>,
    pub(super) held: Arc<Held>,
    /// Segments are asked for one by one, a hundred thousand in a scan: their table is looked up once.
    segments: OnceLock<ReadOnlyTable<(&'static str, &'static str), &'static [u8]>>,
}

impl Snapshot {
    pub(super) fn new(database: Arc<Database>, held: Arc<Held>) -> Result<Self, StoreError> {
        Ok(Self { txn: database.begin_read()?, _database: database, held, segments: OnceLock::new() })
    }

    pub(super) fn table<K: Key + 'static, V: Value + 'static>(
        &self,
        definition: TableDefinition<K, V>,
    ) -> Result<ReadOnlyTable<K, V>, StoreError> {
        Ok(self.txn.open_table(definition)?)
    }

    /// The records of segments.
    pub(super) fn segments(&self) -> Result<&ReadOnlyTable<(&'static str, &'static str), &'static [u8]>, StoreError> {
        match self.segments.get() {
            Some(table) => Ok(table),
            None => {
                let table = self.table(SEGMENTS)?;
                Ok(self.segments.get_or_init(|| table))
            }
        }
    }

    /// How many sessions there are.
    pub fn session_count(&self) -> Result<u64, StoreError> {
        Ok(self.table(SESSIONS)?.len()?)
    }

    /// How many of them are open.
    pub fn open_session_count(&self) -> Result<u64, StoreError> {
        Ok(self.table(OPEN_SESSIONS)?.len()?)
    }

    /// How many detections there are.
    pub fn detection_count(&self) -> Result<u64, StoreError> {
        Ok(self.table(DETECTIONS)?.len()?)
    }

    /// How many frames detections show.
    pub fn frame_count(&self) -> Result<u64, StoreError> {
        Ok(self.table(FRAMES)?.len()?)
    }

    /// How many beaten frames wait to be deleted.
    pub fn beaten_frame_count(&self) -> Result<u64, StoreError> {
        Ok(self.table(BEATEN_FRAMES)?.len()?)
    }

    /// Whether a frames folder was ever paired with this store.
    pub fn are_frames_paired(&self) -> Result<bool, StoreError> {
        Ok(self.table(META)?.get(KEY_FRAMES_PAIRED)?.is_some())
    }
}
