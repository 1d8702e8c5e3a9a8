//! `[tracks]`: the files that the AI worker writes.

use std::path::PathBuf;

use super::Reader;

/// Track files.
#[derive(Debug, Clone)]
pub struct Tracks {
    /// Their folder.
    pub storage_path: PathBuf,
}

impl Tracks {
    pub(super) fn read(reader: &mut Reader) -> Self {
        Self { storage_path: PathBuf::from(reader.text("tracks", "storage_path", "data/tracks")) }
    }
}
