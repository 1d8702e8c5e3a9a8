//! `[frames]`: the pictures of best sightings.

use std::path::PathBuf;

use super::Reader;

/// Frame files.
#[derive(Debug, Clone)]
pub struct Frames {
    /// Their folder.
    pub storage_path: PathBuf,
    /// The largest frame taken, in bytes.
    pub max_bytes: usize,
}

const SECTION: &str = "frames";

impl Frames {
    pub(super) fn read(reader: &mut Reader) -> Self {
        let storage_path = reader.text(SECTION, "storage_path", "data/frames");
        let max_bytes = reader.integer(SECTION, "max_bytes", 5_242_880, 1..=104_857_600);
        Self { storage_path: PathBuf::from(storage_path), max_bytes: usize::try_from(max_bytes).unwrap_or_default() }
    }
}
