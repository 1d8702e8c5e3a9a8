//! `[mediamtx]`: the recorder and its hooks.

use std::path::PathBuf;
use std::time::Duration;

use crate::domain::record_path::RecordPath;
use crate::domain::zone::Zone;

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
    /// Its `recordPath` patterns; none where recordings are known by hooks alone.
    pub record_paths: Vec<RecordPath>,
    /// IANA name of the zone of times in file names; the system's where it is not given.
    pub time_zone: Option<String>,
    /// How often all recordings are looked at, whatever the system told.
    pub scan_interval: Duration,
    /// How much longer than two parts a file may be silent and still count as being written.
    pub settle: Duration,
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
        let record_paths =
            reader.one_or_more(SECTION, "record_path", "a pattern such as ./recordings/%path/%Y-%m-%d_%H-%M-%S-%f", |text| {
                RecordPath::parse(text).map_err(|invalid| invalid.0)
            });
        let time_zone = reader.optional_parsed(SECTION, "time_zone", |text| {
            Zone::named(text).map(|_| text.to_owned()).map_err(|invalid| invalid.0)
        });
        let scan_interval_sec = reader.integer(SECTION, "scan_interval_sec", 300, 1..=86_400);
        let settle_ms = reader.integer(SECTION, "settle_ms", 1000, 0..=600_000);
        let spool_path = reader.text(SECTION, "spool_path", "data/spool");
        Self {
            record_paths,
            time_zone,
            scan_interval: Duration::from_secs(scan_interval_sec.unsigned_abs()),
            settle: Duration::from_millis(settle_ms.unsigned_abs()),
            hook_token,
            playback_base_url,
            segment_duration_sec: u32::try_from(segment_duration_sec).unwrap_or_default(),
            preroll: Duration::from_secs(preroll_sec.unsigned_abs()),
            spool_path: PathBuf::from(spool_path),
        }
    }
}
