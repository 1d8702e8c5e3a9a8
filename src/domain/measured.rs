//! What a recording's file says of itself.

use std::fmt;

use super::time::Timestamp;

/// The longest that is believed of one segment. MediaMTX lets none last longer than a day and the picture that ends it.
pub const MAX_DURATION_MICROS: i64 = 2 * 24 * 3600 * 1_000_000;

/// A segment's length and place, by its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measured {
    /// Where it belongs, as MediaMTX writes it into fMP4 since the end of 2025.
    pub stream: Option<Stream>,
    /// What can be played of it.
    pub duration_micros: i64,
    /// Whether MediaMTX closed it.
    pub is_closed: bool,
    /// The longest of the parts that it was written in, where they were looked at.
    pub part_micros: Option<i64>,
    /// Whether the duration is only near the truth.
    pub is_estimate: bool,
}

/// A segment's place in its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stream {
    /// The stream's, which is a new one whenever recording starts anew.
    pub id: [u8; 16],
    /// Segments of a stream are numbered without a gap.
    pub number: u64,
    /// Decode time of the first sample since the stream began, in nanoseconds.
    pub dts_nanos: i64,
    /// Wall clock at the first sample, in nanoseconds since 1970.
    pub ntp_nanos: i64,
}

impl Stream {
    /// Wall clock at the first sample, cut to microseconds.
    pub fn start(&self) -> Timestamp {
        Timestamp::from_micros(self.ntp_nanos.div_euclid(1000))
    }
}

/// Why a file cannot be measured: a sentence for the operator that begins with `it` or `its`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmeasurable(pub String);

impl fmt::Display for Unmeasurable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
