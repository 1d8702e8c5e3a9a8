//! Room kept for what must not be refused: redb is copy-on-write, so even a deletion needs free
//! pages. The reserve is a preallocated file that is given up when the disk is full, and made
//! anew when there is room again.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{FallocateFlags, fallocate, statvfs};

use super::database::beside;

/// Room that must be left over when the reserve is made.
const MARGIN_BYTES: u64 = 4 << 20;

/// The file `<database>.reserve`.
pub struct Reserve {
    path: PathBuf,
    bytes: u64,
    missing: AtomicBool,
}

impl Reserve {
    /// A reserve of `bytes` for `database`; made at the first [`Reserve::renew`]. No bytes, no reserve.
    pub fn new(database: &Path, bytes: u64) -> Self {
        Self { path: beside(database, "reserve"), bytes, missing: AtomicBool::new(false) }
    }

    /// Whether it is wanted and not there: the disk is, or lately was, too full.
    pub fn is_missing(&self) -> bool {
        self.missing.load(Ordering::Relaxed)
    }

    /// Gives the room up. Returns whether there was any.
    pub fn release(&self) -> bool {
        if self.bytes == 0 {
            return false;
        }
        self.missing.store(true, Ordering::Relaxed);
        let had = fs::metadata(&self.path).is_ok_and(|file| file.len() > 0);
        if had {
            tracing::warn!("the disk is full: the reserve is given up for opens, closes, hooks and deletions");
            if let Err(error) = fs::remove_file(&self.path) {
                tracing::error!(%error, "the reserve cannot be given up");
                return false;
            }
        }
        had
    }

    /// Makes the reserve where it is missing and the disk has room for it.
    pub fn renew(&self) {
        if self.bytes == 0 || (!self.is_missing() && fs::metadata(&self.path).is_ok_and(|file| file.len() == self.bytes)) {
            return;
        }
        let was_missing = self.is_missing();
        match self.make() {
            Ok(true) => {
                self.missing.store(false, Ordering::Relaxed);
                if was_missing {
                    tracing::info!("there is room on the disk again: frames are taken");
                }
            }
            Ok(false) => {
                self.missing.store(true, Ordering::Relaxed);
                if !was_missing {
                    tracing::warn!("the disk is too full for the reserve: frames are refused until there is room");
                }
            }
            Err(error) => {
                // A file system without preallocation, or a read-only one: go on without.
                if !was_missing {
                    tracing::warn!(%error, "the reserve {} cannot be made", self.path.display());
                }
            }
        }
    }

    fn make(&self) -> std::io::Result<bool> {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let present = fs::metadata(&self.path).map_or(0, |file| file.len());
        let volume = statvfs(folder)?;
        if volume.f_bavail * volume.f_frsize + present < self.bytes + MARGIN_BYTES {
            return Ok(false);
        }
        let file = File::options().create(true).write(true).truncate(true).open(&self.path)?;
        match fallocate(&file, FallocateFlags::empty(), 0, self.bytes) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::NOSPC) => {
                fs::remove_file(&self.path)?;
                Ok(false)
            }
            Err(error) => {
                fs::remove_file(&self.path)?;
                Err(error.into())
            }
        }
    }
}
