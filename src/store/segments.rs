//! Recording segments, as hooks tell of them.

use std::ops::Bound;

use redb::ReadableTable as _;

use crate::domain::segment::Segment;

use super::tables::SEGMENTS;
use super::{Snapshot, StoreError, Transaction, record};

impl Transaction<'_> {
    /// Records `segment`. The same file told of again is the same segment: it keeps its start, and its
    /// end moves on only where the hook `told_end`. Returns the segment as told, or as known where
    /// nothing was told.
    pub fn add_segment(&mut self, segment: Segment, told_end: bool) -> Result<Segment, StoreError> {
        let key = (segment.path.as_str(), segment.file.as_str());
        let known = self.segments.get(key)?.map(|bytes| record::decode_segment(key.0, key.1, bytes.value())).transpose()?;
        let recorded = match known {
            Some(known) if !told_end => return Ok(known),
            Some(known) if segment.end <= known.end => return Ok(segment),
            Some(known) => Segment { end: segment.end, ..known },
            None => segment.clone(),
        };
        let bytes = record::encode_segment(&recorded)?;
        self.segments.insert(key, bytes.as_slice())?;
        self.changed = true;
        Ok(segment)
    }
}

impl Snapshot {
    /// At most `limit` segments behind `after`, by path and file.
    pub fn segments_behind(&self, after: Option<&Segment>, limit: usize) -> Result<Vec<Segment>, StoreError> {
        let lowest = after.map_or(Bound::Unbounded, |after| Bound::Excluded((after.path.as_str(), after.file.as_str())));
        let mut segments = Vec::new();
        for entry in self.table(SEGMENTS)?.range::<(&str, &str)>((lowest, Bound::Unbounded))?.take(limit) {
            let (key, bytes) = entry?;
            let (path, file) = key.value();
            segments.push(record::decode_segment(path, file, bytes.value())?);
        }
        Ok(segments)
    }
}
