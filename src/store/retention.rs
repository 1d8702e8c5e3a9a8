//! What retention asks and remembers.

use redb::ReadableTable as _;

use crate::domain::query::SessionKey;
use crate::domain::time::Timestamp;

use super::tables::{DETECTIONS, FRAMES, META, SESSIONS};
use super::{Snapshot, StoreError, Transaction, record};

/// The bytes of records deleted since the database file had another length, and that length.
const KEY_FREED: &str = "retention_freed";
/// When the clock was last believed, microseconds since 1970.
const KEY_CLOCK: &str = "retention_clock";
/// What a row takes besides its record, in keys, indexes and the slack of pages: a store of 300,000 sessions with four detections
/// each takes 990 bytes a session.
const ROW_OVERHEAD_BYTES: u64 = 100;

/// Sessions asked for the newest record.
const NEWEST: usize = 100;

/// What a session takes, files of its tracks aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Weight {
    /// Its detections.
    pub detections: u64,
    /// Frames that they show.
    pub frames: u64,
    /// Bytes of these, as a volume with blocks of 4 KiB counts them.
    pub frame_bytes: u64,
    /// Bytes of records, about.
    pub record_bytes: u64,
}

impl Transaction<'_> {
    /// Notes that the pages of `bytes` of records are free again, in a database file of this length.
    pub fn note_freed(&mut self, bytes: u64, file_length: u64) -> Result<(), StoreError> {
        self.changed = true;
        let known = self.meta.get(KEY_FREED)?.map_or(0, |text| freed(text.value(), file_length));
        self.meta.insert(KEY_FREED, format!("{} {file_length}", known + bytes).as_str())
    }

    /// Notes that the clock is believed at `at`.
    pub fn believe_clock(&mut self, at: Timestamp) -> Result<(), StoreError> {
        self.changed = true;
        self.meta.insert(KEY_CLOCK, at.micros().to_string().as_str())
    }
}

/// The bytes that `text` says, for a file that still has the length at which they were noted: one that has grown
/// since had no free page left.
fn freed(text: &str, file_length: u64) -> u64 {
    let parts = text.split_once(' ').and_then(|(bytes, length)| Some((bytes.parse().ok()?, length.parse::<u64>().ok()?)));
    parts.filter(|(_, length)| *length == file_length).map_or(0, |(bytes, _): (u64, u64)| bytes.min(file_length))
}

impl Snapshot {
    /// About how many bytes of a database file of this length are free pages, as far as retention made them.
    pub fn freed_bytes(&self, file_length: u64) -> Result<u64, StoreError> {
        Ok(self.table(META)?.get(KEY_FREED)?.map_or(0, |text| freed(text.value(), file_length)))
    }

    /// When the clock was last believed.
    pub fn believed_clock(&self) -> Result<Option<Timestamp>, StoreError> {
        let table = self.table(META)?;
        Ok(table.get(KEY_CLOCK)?.and_then(|text| text.value().parse().ok()).map(Timestamp::from_micros))
    }

    /// The latest time at which one of the sessions that began last was changed, by the store's clock then. What came while
    /// that stood in 1970 mostly began then, too, and is not asked.
    pub fn newest_record(&self) -> Result<Option<Timestamp>, StoreError> {
        let mut newest = None;
        for entry in self.table(SESSIONS)?.iter()?.rev().take(NEWEST) {
            newest = newest.max(Some(record::decode_session(entry?.1.value())?.0.updated_at));
        }
        Ok(newest)
    }

    /// What the session at `at` takes.
    pub fn weigh(&self, at: SessionKey) -> Result<Weight, StoreError> {
        let mut weight = Weight { record_bytes: ROW_OVERHEAD_BYTES, ..Weight::default() };
        for entry in self.table(FRAMES)?.range((at.number, "")..(at.number + 1, ""))? {
            weight.frames += 1;
            weight.frame_bytes += record::decode_frame(entry?.1.value())?.bytes.next_multiple_of(4096);
        }
        for entry in self.table(DETECTIONS)?.range((at.number, "")..(at.number + 1, ""))? {
            weight.detections += 1;
            weight.record_bytes += ROW_OVERHEAD_BYTES + entry?.1.value().len() as u64;
        }
        Ok(weight)
    }
}
