//! Opening files below a folder without ever following a link out of it.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, openat};

/// Opens the regular file at `parts` below `root` for reading. Links are not followed, at no
/// step; what is not a regular file is as good as not there.
pub fn open(root: &Path, parts: &[&str]) -> io::Result<File> {
    let Some((file, folders)) = parts.split_last() else { return Err(io::ErrorKind::NotFound.into()) };
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let mut folder = openat(CWD, root, flags | OFlags::DIRECTORY, Mode::empty())?;
    for part in folders {
        folder = openat(&folder, *part, flags | OFlags::DIRECTORY | OFlags::NOFOLLOW, Mode::empty()).map_err(not_there)?;
    }
    // NONBLOCK: a planted FIFO must not hold the thread.
    let file = openat(&folder, *file, flags | OFlags::NOFOLLOW | OFlags::NONBLOCK, Mode::empty()).map_err(not_there)?;
    let file = File::from(file);
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::NotFound.into()) }
}

/// A link, a file in a folder's place or a name that is too long: nothing of ours lies there.
fn not_there(error: rustix::io::Errno) -> io::Error {
    match error {
        rustix::io::Errno::LOOP | rustix::io::Errno::NOTDIR | rustix::io::Errno::NAMETOOLONG | rustix::io::Errno::NXIO => {
            io::ErrorKind::NotFound.into()
        }
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
