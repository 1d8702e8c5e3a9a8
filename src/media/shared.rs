//! Copies of frames in a folder that other services write to as well.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use rustix::fs::ioctl_ficlone;
use rustix::io::Errno;
use uuid::Uuid;

use crate::domain::ids::SessionId;

use super::beneath::{self, Folder};
use super::frames::FramesFolder;

/// While a copy is written. No session can be called so.
const TEMPORARY: &str = "\\copying";
/// Nobody writes for so long at one picture.
const LEFT_BEHIND: Duration = Duration::from_secs(3600);

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
        let temporary = root.make_or_open(TEMPORARY)?;
        // What a crash left.
        let _ = temporary.delete(name);
        put(&temporary, name, &folder, name, |copy| clone_or_copy(&mut source, copy))
    }
}

/// Puts a picture that was received into `shared`, which must exist, as `name`: whole and durable. One that is there already stays.
/// Several may do so at once, also with the same picture.
pub fn put_received(shared: &Path, session: &SessionId, name: &str, bytes: &[u8]) -> io::Result<()> {
    let root = Folder::root(shared)?;
    let once = || {
        let folder = root.make_or_open(session.as_str())?;
        if folder.length(name).is_ok() {
            // Who put it there may have been killed before its name was durable.
            return folder.sync();
        }
        let temporary = root.make_or_open(TEMPORARY)?;
        put(&temporary, &Uuid::new_v4().to_string(), &folder, name, |copy| copy.write_all(bytes))
    };
    match once() {
        // Its session's folder was deleted meanwhile, as it was empty.
        Err(error) if error.kind() == io::ErrorKind::NotFound => once(),
        done => done,
    }
}

/// Deletes what those left behind that were killed while they put a picture into `shared`.
pub fn sweep_received(shared: &Path) -> io::Result<()> {
    let temporary = match Folder::root(shared)?.folder(TEMPORARY) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    for name in temporary.names()? {
        let Ok(name) = name.to_str() else { continue };
        let written = temporary.open(name).and_then(|file| file.metadata()?.modified());
        if written.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > LEFT_BEHIND)) {
            beneath::gone_is_fine(temporary.delete(name))?;
        }
    }
    Ok(())
}

/// Makes the file `name` in `folder`, by way of `own` in `temporary`: it is whole, or not there.
fn put(
    temporary: &Folder,
    own: &str,
    folder: &Folder,
    name: &str,
    fill: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    let mut copy = temporary.create(own)?;
    if let Err(error) = fill(&mut copy).and_then(|()| copy.sync_data()).and_then(|()| temporary.rename(own, folder, name)) {
        let _ = temporary.delete(own);
        return Err(error);
    }
    folder.sync()
}

/// Deletes a copy, and with the last of its session the folder; one that is gone is fine.
pub fn delete_copy(shared: &Path, session: &str, name: &str) -> io::Result<()> {
    // The folder itself must be there: where it is not mounted, nothing is gone.
    let root = Folder::root(shared)?;
    beneath::gone_is_fine(root.folder(session).and_then(|folder| folder.delete(name)))?;
    // Most often there are others in it.
    let _ = root.remove_empty(session);
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Two receivers of one picture wrote under one temporary name: one gave the final name to what the other had just begun.
    #[test]
    fn of_several_that_put_the_same_picture_each_finds_it_whole() {
        let shared = tempfile::tempdir().expect("a folder");
        let bytes = vec![7; 4 << 20];
        let session = SessionId::new("", "s").expect("valid");
        for round in 0..5 {
            let name = format!("{round}.jpg");
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        put_received(shared.path(), &session, &name, &bytes).expect("put");
                        assert!(std::fs::read(shared.path().join("s").join(&name)).expect("there") == bytes, "whole");
                    });
                }
            });
        }
        assert_eq!(std::fs::read_dir(shared.path().join(TEMPORARY)).expect("listed").count(), 0, "nothing is left");
    }
}
