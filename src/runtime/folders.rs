//! Folders whose names are on the disk before anything is put into them.

use std::fs::{self, File};
use std::io;
use std::path::Path;

/// Makes `folder` and what is missing above it. Each is durable before the next is made in it: of those that are found,
/// only the lowest may have been made by a process that was killed before it could sync, so its name is synced again.
pub fn make(folder: &Path) -> io::Result<()> {
    let Some(above) = folder.parent() else { return Ok(()) };
    let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
    if folder.is_dir() {
        return match sync(above) {
            // Then no process of ours has made it.
            Err(error) if is_foreign(&error) => Ok(()),
            other => other,
        };
    }
    if above != Path::new(".") {
        make(above)?;
    }
    match fs::create_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {}
        other => other?,
    }
    sync(above)
}

/// Makes what was changed in a folder's list of names durable.
pub fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn is_foreign(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, PermissionDenied, ReadOnlyFilesystem};
    matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem | InvalidInput)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_missing_is_made_and_a_file_in_the_way_is_an_error() {
        let root = tempfile::tempdir().expect("a folder");
        let deep = root.path().join("a/b/c");
        for _ in 0..2 {
            make(&deep).expect("made");
            assert!(deep.is_dir());
        }
        fs::write(root.path().join("file"), "").expect("written");
        assert!(make(&root.path().join("file")).is_err());
        assert!(make(&root.path().join("file/below")).is_err());
        make(Path::new(".")).expect("there");
        make(Path::new("/")).expect("there");
    }
}
