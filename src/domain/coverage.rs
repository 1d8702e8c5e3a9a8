//! What of a time there is video, and why the rest is missing.

use std::collections::HashMap;

use super::measured::Stream;
use super::segment::State;
use super::time::Timestamp;

/// Wall clock and decode time of one stream drift apart by hundreds of milliseconds from segment to segment; and an
/// estimated end is as far off. MediaMTX joins segments that are no further apart.
const TOLERANCE_MICROS: i64 = 1_000_000;

/// A segment on the wall clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// First picture.
    pub start: Timestamp,
    /// Its own end, whatever follows.
    pub end: Timestamp,
    /// What is known of its file.
    pub state: State,
    /// Its place in its stream.
    pub stream: Option<Stream>,
}

/// Why there is no video.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Nothing is known of before the first segment.
    NotStarted,
    /// The next segment is of another stream.
    RecorderRestart,
    /// A number of the stream was never seen.
    MissingSegment,
    /// The segment before was cut off.
    Truncated,
    /// A segment was there, and is deleted.
    Deleted,
    /// None of the others.
    NoRecording,
    /// The clock was set: between two segments of a stream the wall clock went on otherwise than the decode time.
    ClockJump,
    /// The segment before is still being written.
    NotYet,
}

impl Cause {
    /// The name on the wire.
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

/// Video without a break, of segments that MediaMTX's playback joins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// First picture.
    pub start: Timestamp,
    /// End of the last.
    pub end: Timestamp,
}

/// A time without video.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// End of the video before.
    pub start: Timestamp,
    /// Start of the next.
    pub end: Timestamp,
    /// Why.
    pub cause: Cause,
}

/// Spans and gaps together are the whole time, each once, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Where there is video. Two spans that touch are of segments that playback does not join.
    pub spans: Vec<Span>,
    /// Where there is none.
    pub gaps: Vec<Gap>,
    /// The spans' length.
    pub covered_micros: i64,
}

/// What `segments` of one path, in any order, cover of the time between `from` and `to`. Segments outside of it say why a gap
/// at its edge is there.
pub fn cover(segments: &[Placed], from: Timestamp, to: Timestamp) -> Coverage {
    let mut sorted: Vec<&Placed> = segments.iter().collect();
    sorted.sort_by_key(|segment| (segment.start, segment.end, segment.stream));
    let (deleted, present): (Vec<_>, Vec<_>) = sorted.into_iter().partition(|segment| segment.state == State::Deleted);
    let mut line = Line { deleted, passed: 0, window: (from, to), found: Coverage::default() };
    let mut last: Option<Reach> = None;
    for (segment, end) in ends(&present) {
        let cursor = last.map(|last| last.end);
        let is_joined = last.is_some_and(|last| touches(last.segment, segment));
        if cursor.is_none_or(|cursor| cursor < segment.start) {
            line.hole(last, Some(segment));
        }
        line.span(cursor.map_or(segment.start, |cursor| cursor.max(segment.start)), end, is_joined);
        // Of one that lies within another nothing is left, but that it goes on with its stream.
        if cursor.is_none_or(|cursor| end >= cursor) || is_joined {
            last = Some(Reach { segment, end: cursor.map_or(end, |cursor| cursor.max(end)) });
        }
    }
    line.hole(last, None);
    line.found
}

/// How far video reaches, and by which segment.
#[derive(Clone, Copy)]
struct Reach<'a> {
    segment: &'a Placed,
    end: Timestamp,
}

/// Segments with their ends: the start of the one that they are joined with, else their own.
fn ends<'a>(present: &'a [&'a Placed]) -> impl Iterator<Item = (&'a Placed, Timestamp)> {
    let named = present.iter().filter_map(|segment| segment.stream.map(|stream| ((stream.id, stream.number), *segment)));
    let by_number: HashMap<_, _> = named.collect();
    present.iter().enumerate().map(move |(index, segment)| {
        let next = segment.stream.and_then(|stream| by_number.get(&(stream.id, stream.number.checked_add(1)?)).copied());
        let next = next.or_else(|| present.get(index + 1).copied()).filter(|next| touches(segment, next));
        (*segment, next.map_or(segment.end, |next| next.start).max(segment.start))
    })
}

/// Whether one segment goes on where another ends.
fn touches(one: &Placed, next: &Placed) -> bool {
    let hole = next.start.micros() - one.end.micros();
    if next.start < one.start || hole > TOLERANCE_MICROS || hole > 0 && one.state == State::Truncated {
        return false;
    }
    match (one.stream, next.stream) {
        (Some(of), Some(next_of)) => {
            of.id == next_of.id && of.number.checked_add(1) == Some(next_of.number) && !is_clock_set(one, next)
        }
        _ => hole >= -TOLERANCE_MICROS,
    }
}

/// Whether the wall clock went on otherwise than the decode time between two segments of one stream.
fn is_clock_set(one: &Placed, next: &Placed) -> bool {
    let (Some(of), Some(next_of)) = (one.stream, next.stream) else { return false };
    let gone = |from: i64, to: i64| i128::from(to) - i128::from(from);
    let drift = gone(of.ntp_nanos, next_of.ntp_nanos) - gone(of.dts_nanos, next_of.dts_nanos);
    of.id == next_of.id && drift.abs() > i128::from(TOLERANCE_MICROS) * 1000
}

/// Why nothing is there between two segments that follow each other and do not touch.
fn cause(one: Option<&Placed>, next: Option<&Placed>) -> Cause {
    let (one, next) = match (one, next) {
        (Some(one), Some(next)) => (one, next),
        (None, Some(_)) => return Cause::NotStarted,
        (None, None) => return Cause::NoRecording,
        (Some(one), None) => {
            return match one.state {
                State::Live => Cause::NotYet,
                State::Truncated => Cause::Truncated,
                _ => Cause::NoRecording,
            };
        }
    };
    if is_clock_set(one, next) {
        return Cause::ClockJump;
    }
    match (one.stream, next.stream) {
        (Some(of), Some(next_of)) if of.id == next_of.id && next_of.number.saturating_sub(of.number) > 1 => Cause::MissingSegment,
        _ if one.state == State::Truncated => Cause::Truncated,
        (Some(of), Some(next_of)) if of.id != next_of.id => Cause::RecorderRestart,
        _ => Cause::NoRecording,
    }
}

/// Spans and gaps as they are found, in order, cut to the window.
struct Line<'a> {
    /// In order.
    deleted: Vec<&'a Placed>,
    /// How many of these end before all holes that are still to come.
    passed: usize,
    window: (Timestamp, Timestamp),
    found: Coverage,
}

impl<'a> Line<'a> {
    fn cut(&self, start: Timestamp, end: Timestamp) -> Option<(Timestamp, Timestamp)> {
        let (from, to) = self.window;
        let (start, end) = (start.max(from), end.min(to));
        (start < end).then_some((start, end))
    }

    fn span(&mut self, start: Timestamp, end: Timestamp, is_joined: bool) {
        let Some((start, end)) = self.cut(start, end) else { return };
        self.found.covered_micros += end.micros() - start.micros();
        match self.found.spans.last_mut() {
            Some(last) if is_joined && last.end == start => last.end = end,
            _ => self.found.spans.push(Span { start, end }),
        }
    }

    fn gap(&mut self, start: Timestamp, end: Timestamp, cause: Cause) {
        let Some((start, end)) = self.cut(start, end) else { return };
        match self.found.gaps.last_mut() {
            Some(last) if last.cause == cause && last.end == start => last.end = end,
            _ => self.found.gaps.push(Gap { start, end, cause }),
        }
    }

    /// The time between the end of the video before and `next`, if there is one of each: deleted segments, and between them
    /// other causes.
    fn hole(&mut self, before: Option<Reach<'a>>, next: Option<&'a Placed>) {
        let start = before.map_or(Timestamp::MIN, |before| before.end);
        let end = next.map_or(Timestamp::MAX, |next| next.start);
        let (mut one, mut cursor) = (before.map(|before| before.segment), start);
        while self.deleted.get(self.passed).is_some_and(|segment| segment.end <= start) {
            self.passed += 1;
        }
        for index in self.passed..self.deleted.len() {
            let segment = self.deleted[index];
            if segment.start >= end {
                break;
            }
            if segment.end <= cursor {
                continue;
            }
            let is_joined = one.is_some_and(|one| touches(one, segment));
            if !is_joined {
                self.gap(cursor, segment.start, cause(one, Some(segment)));
            }
            let begin = if is_joined { cursor } else { segment.start.max(cursor) };
            cursor = segment.end.min(end);
            self.gap(begin, cursor, Cause::Deleted);
            one = Some(segment);
        }
        let is_deleted = one.is_some_and(|one| one.state == State::Deleted && next.is_some_and(|next| touches(one, next)));
        self.gap(cursor, end, if is_deleted { Cause::Deleted } else { cause(one, next) });
    }
}

#[cfg(test)]
mod tests;
