//! `[playback]`: what players are told.

use super::Reader;

/// What players are told.
#[derive(Debug, Clone)]
pub struct Playback {
    /// Milliseconds that a player should skip at the start of a session's video.
    pub start_offset_ms: i32,
    /// Seconds of video asked for beside what is wanted.
    pub extra_seconds: i64,
}

const SECTION: &str = "playback";

impl Playback {
    pub(super) fn read(reader: &mut Reader) -> Self {
        let start_offset_ms = reader.integer(SECTION, "start_offset_ms", 200, 0..=3_600_000);
        let extra_seconds = reader.integer(SECTION, "extra_seconds", 1, 0..=3600);
        Self { start_offset_ms: i32::try_from(start_offset_ms).unwrap_or_default(), extra_seconds }
    }
}
