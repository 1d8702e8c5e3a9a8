//! Recording segments, as hooks tell of them.

use redb::ReadableTable as _;

use crate::domain::segment::Segment;

use super::{StoreError, Transaction, record};

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
