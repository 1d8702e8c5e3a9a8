//! What a segment's file says of itself.

use super::time::Timestamp;

/// The measures of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measured {
    /// Its place in its stream, where the file says it.
    pub stream: Option<Stream>,
    /// Length of what can be played.
    pub duration_micros: i64,
    /// Whether MediaMTX closed it.
    pub is_closed: bool,
    /// The longest part, where parts were looked at.
    pub part_micros: Option<i64>,
    /// Whether the length is no more than an estimate (MPEG-TS).
    pub is_estimate: bool,
}

/// A segment's place in its stream (MediaMTX's `mtxi` box).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stream {
    /// The stream: a new one each time that the recorder starts.
    pub id: [u8; 16],
    /// Rises by one from segment to segment.
    pub number: u64,
    /// Decode time of the first sample in nanoseconds.
    pub dts_nanos: i64,
    /// Wall clock of the first sample in nanoseconds since 1970.
    pub ntp_nanos: i64,
    /// The same, cut to microseconds.
    pub start: Timestamp,
}
