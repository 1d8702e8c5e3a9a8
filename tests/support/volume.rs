//! A small file system that a test mounts and takes away.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use rustix::io::Errno;

/// A tmpfs at a folder; unmounted when dropped.
pub struct Volume<'d> {
    at: &'d Path,
}

impl<'d> Volume<'d> {
    /// Mounts one of `mib`; none, with the reason on standard error, where this process may not.
    pub fn mount(at: &'d Path, mib: u32) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        Self::at(at, &["-t", "tmpfs", "-o", &format!("size={mib}m"), "none"])
    }

    fn at(at: &'d Path, what: &[&str]) -> Option<Self> {
        match Command::new("mount").args(what).arg(at).output() {
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

    /// The same with ext4, which lies in a file beside `at`. An error of its disk makes it read-only, as Debian mounts it.
    pub fn ext4(at: &'d Path, mib: u64) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let image = at.with_extension("image");
        File::create(&image).unwrap().set_len(mib << 20).unwrap();
        let made = Command::new("mkfs.ext4").arg("-q").arg(&image).status();
        if !made.is_ok_and(|status| status.success()) {
            eprintln!("skipped: mkfs.ext4 cannot be run");
            return None;
        }
        Self::at(at, &["-o", "loop,errors=remount-ro", image.to_str().unwrap()])
    }

    /// Mounts it again with other options; says whether that was done.
    pub fn remount(&self, options: &str) -> bool {
        let output = Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(self.at).output();
        output.unwrap().status.success()
    }

    /// Takes it away, has its journal replayed, and mounts it again, as an operator does after an error.
    pub fn recover(self) -> Self {
        let at = self.at;
        drop(self);
        let image = at.with_extension("image");
        // 1: errors were corrected.
        let checked = Command::new("fsck.ext4").args(["-y"]).arg(&image).output().unwrap();
        assert!(matches!(checked.status.code(), Some(0 | 1)), "{}", String::from_utf8_lossy(&checked.stdout));
        Self::at(at, &["-o", "loop", image.to_str().unwrap()]).unwrap()
    }

    fn ballast(&self) -> std::path::PathBuf {
        self.at.join("ballast")
    }

    /// Leaves about `bytes` free. Who runs on it may take some meanwhile.
    pub fn fill_up_to(&self, bytes: u64) {
        let file = File::create(self.ballast()).unwrap();
        loop {
            let volume = statvfs(self.at).unwrap();
            let free = volume.f_bavail * volume.f_frsize;
            match fallocate(&file, FallocateFlags::empty(), 0, free.saturating_sub(bytes).max(1)) {
                Err(Errno::NOSPC) if free > bytes => {}
                done => return done.unwrap(),
            }
        }
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
