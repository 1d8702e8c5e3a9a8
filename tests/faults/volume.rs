//! A small file system that a test mounts and takes away.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use rustix::fs::{FallocateFlags, fallocate, statvfs};

/// A tmpfs at a folder; unmounted when dropped.
pub struct Volume<'d> {
    at: &'d Path,
}

impl<'d> Volume<'d> {
    /// Mounts one of `mib`; none, with the reason on standard error, where this process may not.
    pub fn mount(at: &'d Path, mib: u32) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let output = Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={mib}m"), "none"]).arg(at).output();
        match output {
            Ok(output) if output.status.success() => Some(Self { at }),
            Ok(output) => {
                eprintln!("skipped: no file system can be mounted here: {}", String::from_utf8_lossy(&output.stderr));
                None
            }
            Err(error) => {
                eprintln!("skipped: mount cannot be run: {error}");
                None
            }
        }
    }

    fn ballast(&self) -> std::path::PathBuf {
        self.at.join("ballast")
    }

    /// Leaves about `bytes` free.
    pub fn fill_up_to(&self, bytes: u64) {
        let volume = statvfs(self.at).unwrap();
        let free = volume.f_bavail * volume.f_frsize;
        let file = File::create(self.ballast()).unwrap();
        fallocate(&file, FallocateFlags::empty(), 0, free.saturating_sub(bytes).max(1)).unwrap();
    }

    pub fn empty(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }
}

impl Drop for Volume<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.at).status();
    }
}
