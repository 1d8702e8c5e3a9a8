//! `[frames]`: the pictures of best sightings.

use std::path::PathBuf;
use std::time::Duration;

use super::Reader;

/// Frame files.
#[derive(Debug, Clone)]
pub struct Frames {
    /// Their folder.
    pub storage_path: PathBuf,
    /// The largest frame taken, in bytes.
    pub max_bytes: usize,
    /// How long after its last change a closed session's record is written beside its frames.
    pub sidecar_delay: Duration,
}

const SECTION: &str = "frames";

impl Frames {
    pub(super) fn read(reader: &mut Reader) -> Self {
        let storage_path = reader.text(SECTION, "storage_path", "data/frames");
        let max_bytes = reader.integer(SECTION, "max_bytes", 5_242_880, 1..=104_857_600);
        let sidecar_delay_sec = reader.integer(SECTION, "sidecar_delay_sec", 10, 0..=86_400);
        Self {
            storage_path: PathBuf::from(storage_path),
            max_bytes: usize::try_from(max_bytes).unwrap_or_default(),
            sidecar_delay: Duration::from_secs(sidecar_delay_sec.unsigned_abs()),
        }
    }
}
