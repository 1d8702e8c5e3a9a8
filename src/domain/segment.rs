//! A recording's segment.

use super::measured::Stream;
use super::time::Timestamp;

/// Why a segment is an estimate: there is no more than a hook's word.
pub const TOLD: &str = "a hook told of it";
/// The same, where the hook did not know the start.
pub const TOLD_END: &str = "a hook told of its end";

/// One file of a recording, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// MediaMTX's path.
    pub path: String,
    /// The file's name below the recordings' root; where none fits, the name that a hook gave.
    pub file: String,
    /// First picture.
    pub start: Timestamp,
    /// End of the last picture; of an unreadable one its start.
    pub end: Timestamp,
    /// What is known of it.
    pub state: State,
    /// Length of the file when it was last read.
    pub bytes: u64,
    /// When the file had last been written to when it was read, nanoseconds since 1970; 0 where it never was: a hook told of it.
    pub modified_nanos: i64,
    /// Its place in its stream, where the file says it.
    pub stream: Option<Stream>,
    /// Why it cannot be read or is an estimate, for the operator.
    pub reason: Option<String>,
}

/// What is known of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It is being written.
    Live,
    /// MediaMTX closed it.
    Complete,
    /// It was cut off, by a crash mostly; what is there was measured.
    Truncated,
    /// Its times are a hook's word, or follow from its name and the packets in it.
    Estimated,
    /// The file is gone.
    Deleted,
    /// Nothing can be said of it; the reason stands beside.
    Unreadable,
}

impl State {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Complete => "complete",
            Self::Truncated => "truncated",
            Self::Estimated => "estimated",
            Self::Deleted => "deleted",
            Self::Unreadable => "unreadable",
        }
    }

    /// The state that `word` stands for.
    pub fn parse(word: &str) -> Option<Self> {
        let all = [Self::Live, Self::Complete, Self::Truncated, Self::Estimated, Self::Deleted, Self::Unreadable];
        all.into_iter().find(|state| state.as_str() == word)
    }
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
        let reason = if believed.is_some() { TOLD } else { TOLD_END };
        Self {
            path,
            file,
            start: believed.unwrap_or_else(|| end.plus_micros(-duration)),
            end,
            state: State::Estimated,
            bytes: 0,
            modified_nanos: 0,
            stream: None,
            reason: Some(reason.to_owned()),
        }
    }

    /// Whether a hook gave no more than its end.
    pub fn is_guessed(&self) -> bool {
        self.reason.as_deref() == Some(TOLD_END)
    }

    /// Whether it rests on a hook's word alone.
    pub fn is_hearsay(&self) -> bool {
        self.modified_nanos == 0
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
        (segment.start.micros() / 1_000_000, segment.end.micros() / 1_000_000, segment.is_guessed())
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
