//! A recording's segment, as a hook tells of it.

use super::time::Timestamp;

/// One segment that MediaMTX says it has finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// MediaMTX's path.
    pub path: String,
    /// The file, as MediaMTX names it (relative to its own working directory where `recordPath` is).
    pub file: String,
    /// First picture.
    pub start: Timestamp,
    /// End of the last picture.
    pub end: Timestamp,
    /// Whether the start is the end less the configured duration rather than what a hook said.
    pub start_estimated: bool,
}

impl Segment {
    /// Places a segment by what its hook said: the end is `end`, else `event`, else `now`; the
    /// start is believed where it lies before the end by at most twice the configured duration.
    pub fn from_hook(path: String, file: String, said: Said, now: Timestamp, duration_sec: u32) -> Self {
        let duration = i64::from(duration_sec) * 1_000_000;
        let end = said.end.or(said.event).unwrap_or(now);
        let believed = said.start.filter(|start| {
            let length = end.micros() - start.micros();
            length > 0 && length <= 2 * duration
        });
        Self {
            path,
            file,
            start: believed.unwrap_or_else(|| end.plus_micros(-duration)),
            end,
            start_estimated: believed.is_none(),
        }
    }
}

/// The times in a segment hook, as far as it could tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Said {
    /// `eventTs`.
    pub event: Option<Timestamp>,
    /// `segmentStartTs`.
    pub start: Option<Timestamp>,
    /// `segmentEndTs`.
    pub end: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_micros(second * 1_000_000)
    }

    fn place(event: Option<i64>, start: Option<i64>, end: Option<i64>) -> (i64, i64, bool) {
        let said = Said { event: event.map(at), start: start.map(at), end: end.map(at) };
        let segment = Segment::from_hook("cam".into(), "a.mp4".into(), said, at(10_000), 300);
        (segment.start.micros() / 1_000_000, segment.end.micros() / 1_000_000, segment.start_estimated)
    }

    #[test]
    fn a_segment_ends_where_its_hook_says_best() {
        assert_eq!(place(Some(5_000), Some(4_800), Some(4_990)), (4_800, 4_990, false));
        assert_eq!(place(Some(5_000), Some(4_800), None), (4_800, 5_000, false));
        assert_eq!(place(None, None, None), (9_700, 10_000, true));
    }

    /// The scripts in the field take the file name's local time for UTC, hours off.
    #[test]
    fn a_start_too_far_from_the_end_is_not_believed() {
        assert_eq!(place(Some(5_000), Some(4_400), None), (4_400, 5_000, false));
        assert_eq!(place(Some(5_000), Some(4_399), None), (4_700, 5_000, true));
        assert_eq!(place(Some(5_000), Some(5_000), None), (4_700, 5_000, true));
        assert_eq!(place(Some(5_000), Some(8_600), None), (4_700, 5_000, true));
    }
}
