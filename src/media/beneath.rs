//! Files below a folder, without ever following a link out of it. The folder itself may be one: that is the operator's affair.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, mkdirat, openat, renameat, statat, syncfs, unlinkat};
use rustix::io::Errno;
use rustix::path::Arg;

/// A folder that was reached without following a link, whatever takes its name meanwhile.
#[derive(Debug, Clone)]
pub struct Folder(Arc<File>);

impl Folder {
    /// The folder at `root`.
    pub fn root(root: &Path) -> io::Result<Self> {
        Ok(Self::from(openat(CWD, root, FOLDER, Mode::empty())?))
    }

    /// The folder called `name` in this one.
    ///
    /// # Errors
    /// That it is not there, or that it is a link or a file.
    pub fn folder(&self, name: impl Arg + Copy) -> io::Result<Self> {
        match openat(&*self.0, name, FOLDER | OFlags::NOFOLLOW, Mode::empty()) {
            Ok(folder) => Ok(Self::from(folder)),
            // NOTDIR is what a link gives under DIRECTORY.
            Err(Errno::LOOP | Errno::NOTDIR) => {
                let name = name.to_string_lossy();
                Err(io::Error::new(io::ErrorKind::NotADirectory, format!("{name} is a link or a file where a folder must be")))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The folder at `parts` below the one at `root`.
    ///
    /// # Errors
    /// As [`Folder::folder`].
    pub fn below<'p>(root: &Path, parts: impl IntoIterator<Item = &'p str>) -> io::Result<Self> {
        parts.into_iter().try_fold(Self::root(root)?, |folder, part| folder.folder(part))
    }

    /// Makes the folder called `name` in this one.
    pub fn make(&self, name: &str) -> io::Result<()> {
        Ok(mkdirat(&*self.0, name, Mode::from_raw_mode(0o777))?)
    }

    /// The folder called `name` in this one, made where it is missing.
    pub fn make_or_open(&self, name: &str) -> io::Result<Self> {
        match self.make(name) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => self.folder(name),
        }
    }

    /// Deletes all files in it.
    pub fn sweep(&self) -> io::Result<()> {
        for name in self.names()? {
            match self.delete(name.as_c_str()) {
                Err(error) if error.kind() != io::ErrorKind::IsADirectory => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Opens the regular file called `name` for reading; what is none, or a link, is as good as not there.
    pub fn open(&self, name: &str) -> io::Result<File> {
        open_at(&*self.0, name)
    }

    /// Makes the file called `name`, which must not be there.
    pub fn create(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(openat(&*self.0, name, flags, Mode::from_raw_mode(0o666))?.into())
    }

    /// Moves the file called `name` into `to`, under `new`; what had that name there is replaced.
    pub fn rename(&self, name: &str, to: &Self, new: &str) -> io::Result<()> {
        Ok(renameat(&*self.0, name, &*to.0, new)?)
    }

    /// Deletes the file, or link, called `name`.
    pub fn delete(&self, name: impl Arg) -> io::Result<()> {
        Ok(unlinkat(&*self.0, name, AtFlags::empty())?)
    }

    /// Deletes what is called `name`: of a folder also what is in it, of a link only the link.
    pub fn remove(&self, name: impl Arg + Copy) -> io::Result<()> {
        match self.delete(name) {
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => {}
            done => return done,
        }
        let folder = self.folder(name)?;
        for inner in folder.names()? {
            folder.remove(inner.as_c_str())?;
        }
        self.remove_empty(name)
    }

    /// Deletes the folder called `name`, which must be empty.
    pub fn remove_empty(&self, name: impl Arg) -> io::Result<()> {
        Ok(unlinkat(&*self.0, name, AtFlags::REMOVEDIR)?)
    }

    /// Bytes that all below it takes on its volume, links not followed.
    pub fn room(&self) -> io::Result<u64> {
        let mut bytes = 0;
        for name in self.names()? {
            let found = match statat(&*self.0, name.as_c_str(), AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => continue,
                found => found?,
            };
            bytes += u64::try_from(found.st_blocks).unwrap_or(0) * BLOCK_BYTES;
            if rustix::fs::FileType::from_raw_mode(found.st_mode).is_dir() {
                bytes += self.folder(name.as_c_str()).and_then(|folder| folder.room()).or_else(|error| match error.kind() {
                    io::ErrorKind::NotFound => Ok(0),
                    _ => Err(error),
                })?;
            }
        }
        Ok(bytes)
    }

    /// Length of the regular file called `name`.
    pub fn length(&self, name: &str) -> io::Result<u64> {
        let found = statat(&*self.0, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let is_file = rustix::fs::FileType::from_raw_mode(found.st_mode).is_file();
        u64::try_from(found.st_size).ok().filter(|_| is_file).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// The names of all that is in it.
    pub fn names(&self) -> io::Result<Vec<CString>> {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&*self.0)? {
            let entry = entry?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                names.push(entry.file_name().to_owned());
            }
        }
        Ok(names)
    }

    /// Makes its names durable.
    pub fn sync(&self) -> io::Result<()> {
        self.0.sync_all()
    }

    /// Makes all durable that was written to its volume.
    pub fn sync_volume(&self) -> io::Result<()> {
        Ok(syncfs(&*self.0)?)
    }
}

impl From<OwnedFd> for Folder {
    fn from(folder: OwnedFd) -> Self {
        Self(Arc::new(File::from(folder)))
    }
}

/// What `st_blocks` counts.
const BLOCK_BYTES: u64 = 512;

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::DIRECTORY);

/// A deletion of what is not there is done.
pub fn gone_is_fine(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Opens the regular file at `parts` below `root` for reading. Links are not followed, at no
/// step; what is not a regular file is as good as not there.
pub fn open(root: &Path, parts: &[&str]) -> io::Result<File> {
    let Some((file, folders)) = parts.split_last() else { return Err(io::ErrorKind::NotFound.into()) };
    let mut folder = openat(CWD, root, FOLDER, Mode::empty())?;
    for part in folders {
        folder = openat(&folder, *part, FOLDER | OFlags::NOFOLLOW, Mode::empty()).map_err(not_there)?;
    }
    open_at(&folder, file)
}

fn open_at(folder: impl AsFd, name: &str) -> io::Result<File> {
    // NONBLOCK: a planted FIFO must not hold the thread.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = File::from(openat(folder, name, flags, Mode::empty()).map_err(not_there)?);
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::NotFound.into()) }
}

/// A link, a file in a folder's place or a name that is too long: nothing of ours lies there.
fn not_there(error: Errno) -> io::Error {
    match error {
        Errno::LOOP | Errno::NOTDIR | Errno::NAMETOOLONG | Errno::NXIO => io::ErrorKind::NotFound.into(),
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_planted_link_leads_nowhere() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().join("tracks");
        std::fs::create_dir_all(root.join("real")).expect("made");
        std::fs::write(root.join("real/index.json"), "{}").expect("written");
        std::fs::write(folder.path().join("secret"), "secret").expect("written");
        symlink(folder.path().join("secret"), root.join("real/meta.json")).expect("linked");
        symlink(folder.path(), root.join("linked")).expect("linked");
        assert!(open(&root, &["real", "index.json"]).is_ok());
        for parts in [&["real", "meta.json"][..], &["linked", "secret"], &["real"], &["real", "index.json", "x"], &["none"]] {
            let error = open(&root, parts).expect_err("refused");
            assert_eq!(error.kind(), io::ErrorKind::NotFound, "{parts:?}");
        }
    }
}
