//! `[mediamtx]`: the recorder and its hooks.

use std::path::PathBuf;
use std::time::Duration;

use super::Reader;

/// The recorder.
#[derive(Debug, Clone)]
pub struct MediaMtx {
    /// What `X-Hook-Token` must be; `None` lets every hook in.
    pub hook_token: Option<String>,
    /// Where its playback server answers.
    pub playback_base_url: String,
    /// `recordSegmentDuration` in seconds.
    pub segment_duration_sec: u32,
    /// How long before a session's start its video may begin.
    pub preroll: Duration,
    /// Where hooks wait that found no daemon.
    pub spool_path: PathBuf,
}

const SECTION: &str = "mediamtx";

impl MediaMtx {
    pub(super) fn read(reader: &mut Reader) -> Self {
        let hook_token = reader.optional_secret(SECTION, "hook_token");
        let is_url = |text: &str| text.starts_with("http://") || text.starts_with("https://");
        let playback_base_url = reader.checked_text(
            SECTION,
            "playback_base_url",
            "http://127.0.0.1:9996",
            "a URL that begins with http:// or https://",
            is_url,
        );
        reader.mask_user_info(SECTION, "playback_base_url");
        let segment_duration_sec = reader.integer(SECTION, "segment_duration_sec", 300, 1..=86_400);
        let preroll_sec = reader.integer(SECTION, "preroll_sec", 10, 0..=3600);
        let spool_path = reader.text(SECTION, "spool_path", "data/spool");
        Self {
            hook_token,
            playback_base_url,
            segment_duration_sec: u32::try_from(segment_duration_sec).unwrap_or_default(),
            preroll: Duration::from_secs(preroll_sec.unsigned_abs()),
            spool_path: PathBuf::from(spool_path),
        }
    }
}
