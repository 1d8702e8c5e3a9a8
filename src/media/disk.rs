//! Volumes and their free room.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::statvfs;

/// The volume on which a folder lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Volume {
    /// Tells it from others.
    pub device: u64,
    /// Its size in bytes.
    pub total: u64,
    /// Bytes that an unprivileged process can still write.
    pub free: u64,
}

/// The volume of `path`, or of the nearest folder above it that exists.
pub fn volume(path: &Path) -> io::Result<Volume> {
    let mut at = path;
    loop {
        let place = if at.as_os_str().is_empty() { Path::new(".") } else { at };
        match statvfs(place) {
            Ok(volume) => {
                return Ok(Volume {
                    device: fs::metadata(place)?.dev(),
                    total: volume.f_blocks.saturating_mul(volume.f_frsize),
                    free: volume.f_bavail.saturating_mul(volume.f_frsize),
                });
            }
            Err(rustix::io::Errno::NOENT) => match at.parent() {
                Some(parent) => at = parent,
                None => return Err(rustix::io::Errno::NOENT.into()),
            },
            Err(error) => return Err(error.into()),
        }
    }
}
