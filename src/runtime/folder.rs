//! Making folders that survive a power cut.

use std::fs::{self, File};
use std::io;
use std::path::Path;

/// Makes `folder` and what is missing above it, each name durable.
///
/// # Errors
/// When one cannot be made or its parent cannot be synced.
pub fn make(folder: &Path) -> io::Result<()> {
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return Ok(());
    }
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make(parent)?;
    match fs::create_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {}
        other => other?,
    }
    File::open(parent)?.sync_all()
}
