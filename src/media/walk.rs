//! Everything that lies in a frames folder, one name after the other.

use std::ffi::{OsStr, OsString};
use std::fs::{self, ReadDir};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::domain::ids::{FileName, SessionId};

use super::layout;

/// A name below the frames folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The folder in the frames folder; `None` where it lies in the frames folder itself.
    pub folder: Option<OsString>,
    /// The name there: a file's, or that of anything else that should not be there.
    pub name: OsString,
}

impl Found {
    /// Its path below the frames folder, to be shown.
    pub fn shown(&self) -> String {
        match &self.folder {
            Some(folder) => format!("{}/{}", folder.display(), self.name.display()),
            None => self.name.display().to_string(),
        }
    }

    /// Its path.
    pub fn path(&self, root: &Path) -> PathBuf {
        match &self.folder {
            Some(folder) => root.join(folder).join(&self.name),
            None => root.join(&self.name),
        }
    }

    /// The session in whose folder it lies, where the folder's name can be a session's.
    pub fn session(&self) -> Option<SessionId> {
        SessionId::new("session id", self.folder.as_ref()?.to_str()?).ok()
    }

    /// Its name, where a frame can have it.
    pub fn frame_name(&self) -> Option<&str> {
        self.name.to_str().filter(|name| FileName::new("file", *name).is_ok())
    }

    /// Whether it is a session's record beside its frames.
    pub fn is_sidecar(&self) -> bool {
        self.folder.is_some() && self.name == OsStr::new(layout::SIDECAR)
    }
}

/// A walk over a frames folder. The store's own names in it are passed over, and links not followed.
pub struct FramesWalk {
    path: PathBuf,
    root: ReadDir,
    folder: Option<(OsString, ReadDir)>,
}

impl FramesWalk {
    /// Begins at `root`.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn begin(root: &Path) -> io::Result<Self> {
        Ok(Self { path: root.to_owned(), root: fs::read_dir(root)?, folder: None })
    }

    /// The next name; `None` at the end.
    ///
    /// # Errors
    /// Where a folder cannot be read.
    pub fn step(&mut self) -> io::Result<Option<Found>> {
        loop {
            if let Some((folder, files)) = &mut self.folder {
                if let Some(file) = files.next() {
                    return Ok(Some(Found { folder: Some(folder.clone()), name: file?.file_name() }));
                }
                self.folder = None;
            }
            let Some(entry) = self.root.next() else { return Ok(None) };
            let name = entry?.file_name();
            if name.as_bytes().starts_with(b"\\") {
                continue;
            }
            let path = self.path.join(&name);
            match fs::symlink_metadata(&path) {
                Ok(found) if found.is_dir() => match fs::read_dir(&path) {
                    Ok(files) => self.folder = Some((name, files)),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                },
                Ok(_) => return Ok(Some(Found { folder: None, name })),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
}
