//! `moov`: what a segment says before its pictures.

use crate::domain::measured::Stream;

use super::boxes::{Fields, boxes, first};

/// A segment of MediaMTX's has one track of a kind.
const MAX_TRACKS: usize = 64;

/// What is needed of a `moov`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The duration that MediaMTX writes when it closes the file.
    pub duration_micros: Option<i64>,
    pub stream: Option<Stream>,
    pub tracks: Vec<Track>,
}

/// A track's clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Track {
    pub id: u32,
    /// Ticks in a second; never 0.
    pub timescale: u32,
    /// Of a sample of which nothing else is said, in ticks.
    pub sample_duration: u32,
}

impl Header {
    /// Reads what a `moov` box holds. Boxes that are broken are taken for missing.
    pub fn read(moov: &[u8]) -> Self {
        let mut header = Self::default();
        let mut defaults = Vec::new();
        for (kind, held) in boxes(moov) {
            match &kind {
                b"mvhd" => header.duration_micros = duration(held),
                b"trak" if header.tracks.len() < MAX_TRACKS => header.tracks.extend(track(held)),
                b"mvex" => {
                    let found = boxes(held).filter(|(kind, _)| kind == b"trex");
                    defaults.extend(found.filter_map(|(_, trex)| sample_default(trex)).take(MAX_TRACKS));
                }
                b"udta" => header.stream = first(held, *b"mtxi").and_then(stream),
                _ => {}
            }
        }
        for track in &mut header.tracks {
            let said = defaults.iter().find(|(id, _)| *id == track.id);
            track.sample_duration = said.map_or(0, |(_, duration)| *duration);
        }
        header
    }
}

fn duration(mvhd: &[u8]) -> Option<i64> {
    let mut fields = Fields(mvhd);
    let (version, _) = fields.version_and_flags()?;
    fields.by_version(version)?;
    fields.by_version(version)?;
    let timescale = fields.u32()?;
    let duration = fields.by_version(version)?;
    // All ones: not known.
    let is_known = duration != 0 && duration != if version == 0 { u64::from(u32::MAX) } else { u64::MAX };
    is_known.then(|| i64::try_from(duration).ok().and_then(|ticks| micros(ticks, timescale))).flatten()
}

fn track(trak: &[u8]) -> Option<Track> {
    let mut fields = Fields(first(trak, *b"tkhd")?);
    let (version, _) = fields.version_and_flags()?;
    fields.by_version(version)?;
    fields.by_version(version)?;
    let id = fields.u32()?;
    let mut fields = Fields(first(first(trak, *b"mdia")?, *b"mdhd")?);
    let (version, _) = fields.version_and_flags()?;
    fields.by_version(version)?;
    fields.by_version(version)?;
    let timescale = fields.u32().filter(|timescale| *timescale != 0)?;
    Some(Track { id, timescale, sample_duration: 0 })
}

/// A track's id and the duration of its samples.
fn sample_default(trex: &[u8]) -> Option<(u32, u32)> {
    let mut fields = Fields(trex);
    fields.version_and_flags()?;
    let id = fields.u32()?;
    // Which of its descriptions a sample has.
    fields.u32()?;
    Some((id, fields.u32()?))
}

/// MediaMTX's own box.
fn stream(mtxi: &[u8]) -> Option<Stream> {
    let mut fields = Fields(mtxi);
    let (version, _) = fields.version_and_flags()?;
    if version != 0 {
        return None;
    }
    let (id, number, dts_nanos, ntp_nanos) = (fields.array()?, fields.u64()?, fields.i64()?, fields.i64()?);
    Some(Stream { id, number, dts_nanos, ntp_nanos })
}

/// Ticks as microseconds, cut.
pub fn micros(ticks: i64, timescale: u32) -> Option<i64> {
    let micros = (i128::from(ticks) * 1_000_000).checked_div(i128::from(timescale))?;
    i64::try_from(micros).ok()
}
