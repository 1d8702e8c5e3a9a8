//! Copies of frames in a folder that other services write to as well.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use rustix::fs::ioctl_ficlone;
use rustix::io::Errno;

use crate::domain::ids::SessionId;

use super::beneath::{self, Folder};
use super::frames::FramesFolder;

/// While a copy is written. No session can be called so.
const TEMPORARY: &str = "\\copying";

impl FramesFolder {
    /// Puts a copy of a session's frame into `shared`, which must exist, as `name`: whole, durable, a clone where the file
    /// system can. One that is there already stays as it is: the enricher may have drawn into it.
    pub fn copy_to(&self, shared: &Path, session: &SessionId, file: &str, name: &str) -> io::Result<()> {
        let root = Folder::root(shared).map_err(|error| io::Error::other(error.to_string()))?;
        let folder = root.make_or_open(session.as_str())?;
        if folder.length(name).is_ok() {
            return Ok(());
        }
        let mut source = beneath::open(self.root(), &[session.as_str(), file])?;
        put(&root, &folder, name, |copy| clone_or_copy(&mut source, copy))
    }
}

/// Puts a picture that was received into `shared`, which must exist, as `name`: whole and durable. One that is there already stays.
pub fn put_received(shared: &Path, session: &SessionId, name: &str, bytes: &[u8]) -> io::Result<()> {
    let root = Folder::root(shared)?;
    let folder = root.make_or_open(session.as_str())?;
    if folder.length(name).is_ok() {
        return Ok(());
    }
    put(&root, &folder, name, |copy| copy.write_all(bytes))
}

/// Makes the file `name` in `folder`, below `root`: it is whole, or not there.
fn put(root: &Folder, folder: &Folder, name: &str, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let temporary = root.make_or_open(TEMPORARY)?;
    // What a crash left.
    let _ = temporary.delete(name);
    let mut copy = temporary.create(name)?;
    if let Err(error) = fill(&mut copy).and_then(|()| copy.sync_data()) {
        let _ = temporary.delete(name);
        return Err(error);
    }
    temporary.rename(name, folder, name)?;
    folder.sync()
}

/// Deletes a copy; one that is gone is fine.
pub fn delete_copy(shared: &Path, session: &str, name: &str) -> io::Result<()> {
    // The folder itself must be there: where it is not mounted, nothing is gone.
    let root = Folder::root(shared)?;
    beneath::gone_is_fine(root.folder(session).and_then(|folder| folder.delete(name)))
}

fn clone_or_copy(source: &mut File, copy: &mut File) -> io::Result<()> {
    match ioctl_ficlone(&*copy, &*source) {
        Ok(()) => Ok(()),
        Err(Errno::OPNOTSUPP | Errno::XDEV | Errno::INVAL | Errno::NOTTY | Errno::NOSYS | Errno::PERM) => {
            io::copy(source, copy).map(drop)
        }
        Err(error) => Err(error.into()),
    }
}
