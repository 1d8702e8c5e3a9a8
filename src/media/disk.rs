//! Free space.

use std::io;
use std::path::Path;

use rustix::fs::statvfs;

/// Bytes that an unprivileged process can still write on the volume of `path`, or of the nearest
/// folder above it that exists.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let mut at = path;
    loop {
        match statvfs(if at.as_os_str().is_empty() { Path::new(".") } else { at }) {
            Ok(volume) => return Ok(volume.f_bavail.saturating_mul(volume.f_frsize)),
            Err(rustix::io::Errno::NOENT) => match at.parent() {
                Some(parent) => at = parent,
                None => return Err(rustix::io::Errno::NOENT.into()),
            },
            Err(error) => return Err(error.into()),
        }
    }
}
