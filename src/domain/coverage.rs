//! What of a stretch of time is recorded, and why the rest is not.

use std::collections::HashMap;

use super::segment::State;
use super::time::Timestamp;

/// Without numbers, two segments that lie so close follow each other: MediaMTX's own tolerance.
const TOLERANCE_MICROS: i64 = 1_000_000;
/// Between two segments of a stream the wall clock and the decode time may drift apart so far.
const MAX_DRIFT_NANOS: i64 = 1_000_000_000;

/// A segment where it lies in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// First picture.
    pub start: Timestamp,
    /// End of the last.
    pub end: Timestamp,
    /// What is known of it.
    pub state: State,
    /// Its stream, number, DTS and NTP in nanoseconds, where it says them.
    pub stream: Option<([u8; 16], u64, i64, i64)>,
}

/// A stretch of video without a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Its begin.
    pub start: Timestamp,
    /// Its end.
    pub end: Timestamp,
}

/// A stretch without video.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// Its begin.
    pub start: Timestamp,
    /// Its end.
    pub end: Timestamp,
    /// Why.
    pub cause: Cause,
}

/// Why there is no video.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The first picture came later.
    NotStarted,
    /// The recorder began a new stream.
    RecorderRestart,
    /// A number of the stream was skipped.
    MissingSegment,
    /// The segment before was cut off.
    Truncated,
    /// The file is gone.
    Deleted,
    /// Nothing was recorded, as far as is known.
    NoRecording,
    /// The wall clock was set between two segments of a stream.
    ClockJump,
    /// It is just being written.
    NotYet,
}

impl Cause {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotStarted => "not_started",
            Self::RecorderRestart => "recorder_restart",
            Self::MissingSegment => "missing_segment",
            Self::Truncated => "truncated",
            Self::Deleted => "deleted",
            Self::NoRecording => "no_recording",
            Self::ClockJump => "clock_jump",
            Self::NotYet => "not_yet",
        }
    }
}

/// Spans and gaps, in order; together they are the whole stretch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage {
    /// With video.
    pub spans: Vec<Span>,
    /// Without.
    pub gaps: Vec<Gap>,
    /// The length of all spans.
    pub covered_micros: i64,
}

/// What of `from` to `to` these segments of one path cover. Segments beside the stretch may be among them: they tell why
/// there is a gap at its ends.
pub fn cover(segments: &[Placed], from: Timestamp, to: Timestamp) -> Coverage {
    let mut all: Vec<Placed> = segments.iter().filter(|one| one.end > one.start).copied().collect();
    all.sort_by_key(|one| (one.start, one.end));
    let ends = effective_ends(&all);
    let mut coverage = Coverage { spans: union(&all, &ends, from, to), ..Coverage::default() };
    let mut begin = from;
    let spans = coverage.spans.clone();
    for end_of_gap in spans.iter().map(|span| span.start).chain([to]) {
        if end_of_gap > begin {
            explain(&all, &ends, begin, end_of_gap, &mut coverage.gaps);
        }
        if let Some(span) = spans.iter().find(|span| span.start == end_of_gap) {
            begin = span.end;
        }
    }
    coverage.covered_micros = spans.iter().map(|span| span.end.micros() - span.start.micros()).sum();
    coverage
}

/// Where each segment ends: where its successor in its stream begins, else where its last picture does.
fn effective_ends(all: &[Placed]) -> Vec<Timestamp> {
    let numbered: HashMap<([u8; 16], u64), &Placed> =
        all.iter().filter_map(|one| one.stream.map(|(id, number, ..)| ((id, number), one))).collect();
    let mut ends = Vec::with_capacity(all.len());
    for (index, one) in all.iter().enumerate() {
        let successor = match one.stream {
            Some((id, number, ..)) => {
                let next = number.checked_add(1).and_then(|number| numbered.get(&(id, number)).copied());
                next.filter(|next| !is_jump(one, next))
            }
            None => all.get(index + 1).filter(|next| {
                next.stream.is_none() && (0..=TOLERANCE_MICROS).contains(&(next.start.micros() - one.end.micros()))
            }),
        };
        ends.push(successor.map(|next| next.start).filter(|start| *start > one.start).unwrap_or(one.end));
    }
    ends
}

/// Whether the wall clock was set between two segments of a stream.
fn is_jump(one: &Placed, next: &Placed) -> bool {
    let (Some((_, _, dts, ntp)), Some((_, _, next_dts, next_ntp))) = (one.stream, next.stream) else { return false };
    let drift = next_ntp.saturating_sub(ntp).saturating_sub(next_dts.saturating_sub(dts));
    drift.checked_abs().is_none_or(|drift| drift > MAX_DRIFT_NANOS)
}

fn union(all: &[Placed], ends: &[Timestamp], from: Timestamp, to: Timestamp) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    for (one, end) in all.iter().zip(ends).filter(|(one, _)| one.state != State::Deleted) {
        let (start, end) = (one.start.max(from), (*end).min(to));
        if start >= end {
            continue;
        }
        match spans.last_mut() {
            Some(last) if start <= last.end => last.end = last.end.max(end),
            _ => spans.push(Span { start, end }),
        }
    }
    spans
}

/// Cuts a gap into what deleted segments held and the rest, and says why each is one.
fn explain(all: &[Placed], ends: &[Timestamp], from: Timestamp, to: Timestamp, gaps: &mut Vec<Gap>) {
    let deleted = union_of_deleted(all, ends, from, to);
    let mut begin = from;
    for gone in deleted.iter().copied().map(Some).chain([None]) {
        let end = gone.map_or(to, |gone| gone.start);
        if end > begin {
            gaps.push(Gap { start: begin, end, cause: cause(all, ends, begin, end) });
        }
        if let Some(gone) = gone {
            gaps.push(Gap { start: gone.start, end: gone.end, cause: Cause::Deleted });
            begin = gone.end;
        }
    }
}

fn union_of_deleted(all: &[Placed], ends: &[Timestamp], from: Timestamp, to: Timestamp) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    for (one, end) in all.iter().zip(ends).filter(|(one, _)| one.state == State::Deleted) {
        let (start, end) = (one.start.max(from), (*end).min(to));
        match spans.last_mut() {
            Some(last) if start <= last.end => last.end = last.end.max(end),
            _ if start < end => spans.push(Span { start, end }),
            _ => {}
        }
    }
    spans
}

fn cause(all: &[Placed], ends: &[Timestamp], from: Timestamp, to: Timestamp) -> Cause {
    let before =
        all.iter().zip(ends).filter(|(_, end)| **end <= from).max_by_key(|(one, end)| (**end, one.start)).map(|(one, _)| one);
    let after = all.iter().find(|one| one.start >= to);
    let Some(before) = before else {
        return if after.is_some() { Cause::NotStarted } else { Cause::NoRecording };
    };
    match (before.state, before.stream, after.and_then(|after| after.stream)) {
        (State::Live, ..) => Cause::NotYet,
        (State::Truncated, ..) => Cause::Truncated,
        (_, Some((id, ..)), Some((next, ..))) if id != next => Cause::RecorderRestart,
        (_, Some((_, number, ..)), Some((_, next, ..))) if next.checked_sub(number).is_some_and(|step| step > 1) => {
            Cause::MissingSegment
        }
        (_, Some(_), Some(_)) => Cause::ClockJump,
        _ => Cause::NoRecording,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_micros(millis * 1000)
    }

    /// Segment `number` of stream `id` from `start` for `length` ms; its DTS goes with its number, 5 s each.
    fn placed(id: u8, number: u64, start: i64, length: i64, state: State) -> Placed {
        let dts = i64::try_from(number).unwrap() * 5_000_000_000;
        Placed { start: at(start), end: at(start + length), state, stream: Some(([id; 16], number, dts, start * 1_000_000)) }
    }

    fn gaps(segments: &[Placed], from: i64, to: i64) -> Vec<(i64, i64, &'static str)> {
        let coverage = cover(segments, at(from), at(to));
        coverage.gaps.iter().map(|gap| (gap.start.micros() / 1000, gap.end.micros() / 1000, gap.cause.as_str())).collect()
    }

    /// The two streams of the samples: numbers overlap on the wall clock, and MediaMTX says 15.895 s and 7.912 s.
    #[test]
    fn spans_are_those_of_mediamtx() {
        use State::{Complete, Truncated};
        let segments = [
            placed(1, 0, 13, 5000, Complete),
            placed(1, 1, 4909, 5000, Complete),
            placed(1, 2, 9909, 5000, Complete),
            placed(1, 3, 14_909, 999, Truncated),
            placed(2, 0, 90_945, 5475, Complete),
            placed(2, 1, 95_822, 3035, Complete),
        ];
        let coverage = cover(&segments, at(0), at(120_000));
        let lengths: Vec<i64> = coverage.spans.iter().map(|span| (span.end.micros() - span.start.micros()) / 1000).collect();
        assert_eq!(lengths, [15_895, 7912]);
        assert_eq!(
            gaps(&segments, 0, 120_000),
            [(0, 13, "not_started"), (15_908, 90_945, "truncated"), (98_857, 120_000, "no_recording")]
        );
    }

    #[test]
    fn every_gap_says_why() {
        use State::{Complete, Deleted, Live};
        assert_eq!(gaps(&[], 0, 10), [(0, 10, "no_recording")]);
        let restart = [placed(1, 0, 0, 5000, Complete), placed(2, 0, 9000, 5000, Complete)];
        assert_eq!(gaps(&restart, 0, 14_000), [(5000, 9000, "recorder_restart")]);
        let skipped = [placed(1, 0, 0, 5000, Complete), placed(1, 2, 10_000, 5000, Complete)];
        assert_eq!(gaps(&skipped, 0, 15_000), [(5000, 10_000, "missing_segment")]);
        let deleted = [placed(1, 0, 0, 5000, Complete), placed(1, 1, 5100, 4900, Deleted), placed(1, 2, 10_000, 5000, Complete)];
        assert_eq!(gaps(&deleted, 0, 15_000), [(5100, 10_000, "deleted")]);
        let jump = [placed(1, 0, 0, 5000, Complete), placed(1, 1, 8000, 5000, Complete)];
        assert_eq!(gaps(&jump, 0, 13_000), [(5000, 8000, "clock_jump")]);
        let live = [placed(1, 0, 0, 5000, Complete), placed(1, 1, 5000, 2000, Live)];
        assert_eq!(gaps(&live, 0, 8000), [(7000, 8000, "not_yet")]);
    }

    #[test]
    fn drift_is_no_gap_and_neighbours_without_numbers_touch() {
        let drifting = [placed(1, 0, 0, 4600, State::Complete), placed(1, 1, 5000, 5000, State::Complete)];
        assert_eq!(gaps(&drifting, 0, 10_000), []);
        let plain = |start: i64| Placed { stream: None, ..placed(1, 0, start, 5000, State::Complete) };
        assert_eq!(gaps(&[plain(0), plain(5900)], 0, 10_900), []);
        assert_eq!(gaps(&[plain(0), plain(6100)], 0, 11_100), [(5000, 6100, "no_recording")]);
    }

    /// What lies beside the stretch explains the gaps at its ends.
    #[test]
    fn a_stretch_between_two_streams_knows_why_it_is_empty() {
        let around = [placed(1, 0, 0, 5000, State::Complete), placed(2, 0, 9000, 5000, State::Complete)];
        assert_eq!(gaps(&around, 6000, 8000), [(6000, 8000, "recorder_restart")]);
    }

    proptest! {
        #[test]
        fn spans_and_gaps_are_the_whole_stretch(
            segments in prop::collection::vec((0_u8..3, 0_u64..6, 0_i64..40_000, 0_i64..8000, 0_usize..4), 0..12),
            from in 0_i64..20_000,
            length in 1_i64..30_000,
        ) {
            let states = [State::Complete, State::Truncated, State::Deleted, State::Live];
            let all: Vec<Placed> =
                segments.iter().map(|(id, number, start, length, state)| placed(*id, *number, *start, *length, states[*state])).collect();
            let coverage = cover(&all, at(from), at(from + length));
            let mut pieces: Vec<(Timestamp, Timestamp)> = coverage.spans.iter().map(|span| (span.start, span.end)).collect();
            let covered: i64 = pieces.iter().map(|(start, end)| end.micros() - start.micros()).sum();
            prop_assert_eq!(covered, coverage.covered_micros);
            pieces.extend(coverage.gaps.iter().map(|gap| (gap.start, gap.end)));
            pieces.sort();
            prop_assert_eq!(pieces.first().map(|piece| piece.0), Some(at(from)));
            prop_assert_eq!(pieces.last().map(|piece| piece.1), Some(at(from + length)));
            prop_assert!(pieces.windows(2).all(|pair| pair[0].1 == pair[1].0));
            prop_assert!(pieces.iter().all(|(start, end)| start < end));
        }
    }
}
