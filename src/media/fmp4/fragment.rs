//! `moof`: what a part of a segment says before its pictures.

use super::boxes::{Fields, boxes, first};
use super::header::{Track, micros};

/// When a part begins and ends, in microseconds of the segment's own clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    pub start: i64,
    pub end: i64,
}

/// What is said of a track's samples in a `tfhd`.
struct TrackHead<'a> {
    track: &'a Track,
    index: usize,
    sample_duration: u32,
}

/// Reads what a `moof` box holds. `ends` are the ends of the tracks so far in their ticks, for parts that do not say where
/// they begin. None where it cannot be understood.
pub fn read(moof: &[u8], tracks: &[Track], ends: &mut [i64]) -> Option<Part> {
    let mut part: Option<Part> = None;
    for (_, traf) in boxes(moof).filter(|(kind, _)| kind == b"traf") {
        let head = head(first(traf, *b"tfhd")?, tracks)?;
        let so_far = ends.get_mut(head.index)?;
        let begin = first(traf, *b"tfdt").map_or(Some(*so_far), decode_time)?;
        let runs = boxes(traf).filter(|(kind, _)| kind == b"trun");
        let end = runs.map(|(_, trun)| ticks(trun, head.sample_duration)).try_fold(begin, |end, run| end.checked_add(run?))?;
        *so_far = end;
        let (start, end) = (micros(begin, head.track.timescale)?, micros(end, head.track.timescale)?);
        part = Some(part.map_or(Part { start, end }, |part| Part { start: part.start.min(start), end: part.end.max(end) }));
    }
    part
}

fn head<'a>(tfhd: &[u8], tracks: &'a [Track]) -> Option<TrackHead<'a>> {
    let mut fields = Fields(tfhd);
    let (_, flags) = fields.version_and_flags()?;
    let id = fields.u32()?;
    let (index, track) = tracks.iter().enumerate().find(|(_, track)| track.id == id)?;
    // Where the samples lie, and which of its descriptions they have.
    for (flag, length) in [(0x01, 8), (0x02, 4)] {
        if flags & flag != 0 {
            fields.take(length)?;
        }
    }
    let sample_duration = if flags & 0x08 == 0 { track.sample_duration } else { fields.u32()? };
    Some(TrackHead { track, index, sample_duration })
}

/// Has a sign, as MediaMTX reads it: an audio track may begin before the picture that its segment begins with.
fn decode_time(tfdt: &[u8]) -> Option<i64> {
    let mut fields = Fields(tfdt);
    match fields.version_and_flags()? {
        (0, _) => fields.u32().map(i64::from),
        (1, _) => fields.i64(),
        _ => None,
    }
}

/// How long the samples of a run last together.
fn ticks(trun: &[u8], sample_duration: u32) -> Option<i64> {
    let mut fields = Fields(trun);
    let (_, flags) = fields.version_and_flags()?;
    let samples = i64::from(fields.u32()?);
    // Where they lie, and the flags of the first.
    for flag in [0x01, 0x04] {
        if flags & flag != 0 {
            fields.take(4)?;
        }
    }
    // Duration, size, flags and offset of composition, four bytes each.
    let width = 4 * usize::try_from((flags & 0xf00).count_ones()).ok()?;
    let table = fields.take(usize::try_from(samples).ok()?.checked_mul(width)?)?;
    if flags & 0x100 == 0 {
        return samples.checked_mul(i64::from(sample_duration));
    }
    table.chunks_exact(width).map(|sample| Fields(sample).u32()).try_fold(0_i64, |sum, ticks| sum.checked_add(i64::from(ticks?)))
}
