//! The folder in which hooks wait for a daemon. `session-store hook` puts them there, the daemon takes them.

use std::fs::{self, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::runtime::folders;

use super::beneath::{self, Folder};
use super::layout;

/// So many may wait. Of more, the newest are not kept: nobody but the daemon deletes one that waits, and in the end the
/// recordings themselves tell.
const MAX_WAITING: usize = 10_000;
/// Larger files are no hooks.
const MAX_BYTES: u64 = 64 << 10;
/// MediaMTX's user shares the daemon's group, and nobody else looks in.
const FOLDER_MODE: u32 = 0o770;
/// Whoever may look in may read, for the daemon may have another group than who wrote.
const FILE_MODE: u32 = 0o644;
/// A temporary name so old is what is left of a command that was killed.
const DEAD_AFTER: Duration = Duration::from_secs(60);

/// The folder.
#[derive(Debug, Clone)]
pub struct Spool {
    root: PathBuf,
}

impl Spool {
    /// The folder at `root`, which need not exist yet.
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// Its path.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Makes the folder where it is missing.
    pub fn prepare(&self) -> io::Result<()> {
        if self.root.is_dir() {
            return Ok(());
        }
        folders::make(&self.root)?;
        fs::set_permissions(&self.root, Permissions::from_mode(FOLDER_MODE))
    }

    /// Deletes what killed commands have left half-written.
    pub fn sweep(&self) -> io::Result<()> {
        let folder = Folder::root(&self.root)?;
        for name in folder.names()?.iter().filter_map(|name| name.to_str().ok()).filter(|name| layout::is_unready_hook(name)) {
            let written = beneath::open(&self.root, &[name]).and_then(|file| file.metadata()?.modified());
            let age = written.ok().and_then(|written| SystemTime::now().duration_since(written).ok());
            if age.is_some_and(|age| age >= DEAD_AFTER) {
                folder.delete(name)?;
            }
        }
        Ok(())
    }

    /// Puts a hook there, whole and durable or not at all.
    ///
    /// # Errors
    /// Also where too many wait already.
    pub fn put(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.prepare()?;
        let folder = Folder::root(&self.root)?;
        if folder.names()?.len() >= MAX_WAITING {
            return Err(io::Error::other(format!("{MAX_WAITING} hooks wait there already")));
        }
        let unready = layout::unready_hook(name);
        let written = folder.create(&unready).and_then(|mut file| {
            file.set_permissions(Permissions::from_mode(FILE_MODE))?;
            file.write_all(bytes)?;
            file.sync_all()?;
            folder.rename(&unready, &folder, name)
        });
        if written.is_err() {
            // It is nothing yet; if it stays, it is swept.
            let _ = folder.delete(&*unready);
            return written;
        }
        folder.sync()
    }

    /// The names of the hooks that wait, the earliest event first.
    pub fn waiting(&self) -> io::Result<Vec<String>> {
        let names = Folder::root(&self.root)?.names()?;
        let mut waiting: Vec<_> = names.into_iter().filter_map(|name| name.into_string().ok()).collect();
        waiting.retain(|name| layout::is_waiting_hook(name));
        waiting.sort_unstable();
        Ok(waiting)
    }

    /// What one file holds.
    pub fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        beneath::open(&self.root, &[name])?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {MAX_BYTES} bytes")));
        }
        Ok(bytes)
    }

    /// Deletes one; it may be gone already.
    pub fn delete(&self, name: &str) -> io::Result<()> {
        beneath::gone_is_fine(Folder::root(&self.root)?.delete(name))
    }

    /// Makes deletions durable.
    pub fn sync(&self) -> io::Result<()> {
        Folder::root(&self.root)?.sync()
    }

    /// Moves one out of the way, to where nobody takes it. Says whether it was still there.
    pub fn set_aside(&self, name: &str) -> io::Result<bool> {
        let folder = Folder::root(&self.root)?;
        let aside = folder.make_or_open(layout::REFUSED_HOOKS)?;
        match folder.rename(name, &aside, name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            other => other.map(|()| true),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn hooks_come_back_in_their_order_and_half_ones_never() {
        let folder = tempfile::tempdir().expect("a folder");
        let spool = Spool::new(folder.path().join("a/spool"));
        for name in ["20260101T000000000002Z-x.json", "20260101T000000000001Z-y.json"] {
            spool.put(name, b"{}").expect("put");
        }
        let unready = spool.root().join(layout::unready_hook("20260101T000000000000Z-z.json"));
        File::create(&unready).expect("made");
        assert_eq!(spool.waiting().expect("listed"), ["20260101T000000000001Z-y.json", "20260101T000000000002Z-x.json"]);
        spool.sweep().expect("swept");
        assert!(unready.exists(), "it may still be written");
        let long_ago = SystemTime::now() - DEAD_AFTER;
        File::options().write(true).open(&unready).and_then(|file| file.set_modified(long_ago)).expect("aged");
        spool.sweep().expect("swept");
        assert!(!unready.exists());
        assert_eq!(spool.waiting().expect("listed").len(), 2);
    }

    #[test]
    fn beyond_the_bound_the_oldest_are_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let spool = Spool::new(folder.path().to_owned());
        for number in 0..MAX_WAITING {
            File::create(folder.path().join(format!("{number:06}.json"))).expect("made");
        }
        let error = spool.put("999999.json", b"{}").expect_err("refused");
        assert!(error.to_string().contains("10000"), "{error}");
        let waiting = spool.waiting().expect("listed");
        assert_eq!((waiting.len(), waiting[0].as_str()), (MAX_WAITING, "000000.json"));
    }
}
