//! Frame files: written whole and synced under a temporary name, then renamed into place.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::domain::ids::SessionId;

use super::{beneath, layout};

/// The folder of frames.
#[derive(Clone)]
pub struct FramesFolder {
    root: Arc<PathBuf>,
}

/// How a frames folder and a store belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pairing {
    /// It carries this store's UUID.
    Paired,
    /// It carries nobody's.
    Unmarked,
    /// It carries another store's.
    Foreign(String),
}

impl FramesFolder {
    /// The folder at `root`, which need not exist yet.
    pub fn new(root: PathBuf) -> Self {
        Self { root: Arc::new(root) }
    }

    /// Its path.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether it belongs to the store with this UUID.
    ///
    /// # Errors
    /// When the folder or its marker cannot be read.
    pub fn pairing(&self, uuid: &str) -> io::Result<Pairing> {
        match fs::read_to_string(layout::frames_marker(&self.root)) {
            Ok(text) if text.trim() == uuid => Ok(Pairing::Paired),
            Ok(text) => Ok(Pairing::Foreign(text.trim().to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Pairing::Unmarked),
            Err(error) => Err(error),
        }
    }

    /// Makes the folder where it is missing and marks it as this store's.
    pub fn pair(&self, uuid: &str) -> io::Result<()> {
        fs::create_dir_all(self.root.as_path())?;
        self.prepare()?;
        let unfinished = layout::frames_temporary(&self.root).join("store");
        let mut file = File::create(&unfinished)?;
        writeln!(file, "{uuid}")?;
        file.sync_all()?;
        fs::rename(&unfinished, layout::frames_marker(&self.root))?;
        sync_folder(&self.root)
    }

    /// Makes the folder for temporary names, or sweeps what a crash left there.
    pub fn prepare(&self) -> io::Result<()> {
        let temporary = layout::frames_temporary(&self.root);
        match fs::create_dir(&temporary) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                for entry in fs::read_dir(&temporary)? {
                    fs::remove_file(entry?.path())?;
                }
            }
            other => other?,
        }
        // A session's folder that a killed process made may not be on the disk yet.
        sync_folder(&self.root)
    }

    /// A session's folder exists only durably, so a frame placed in it needs no sync but its own.
    fn make_session_folder(&self, folder: &Path) -> io::Result<()> {
        match fs::create_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
            other => other?,
        }
        sync_folder(&self.root).inspect_err(|_| {
            let _ = fs::remove_dir(folder);
        })
    }

    /// Writes and syncs a frame that is to be called `name`, not yet in its place.
    pub fn stage(&self, name: String, bytes: &[u8]) -> io::Result<StagedFrame> {
        let path = layout::frames_temporary(&self.root).join(&name);
        let file = File::options().write(true).create_new(true).open(&path)?;
        let staged = StagedFrame { folder: self.clone(), name, path, placed: false };
        (&file).write_all(bytes)?;
        file.sync_data()?;
        Ok(staged)
    }

    /// Opens a session's frame.
    pub fn open(&self, session: &SessionId, file: &str) -> io::Result<File> {
        beneath::open(&self.root, &[session.as_str(), file])
    }

    /// Length of a session's frame in bytes.
    pub fn length(&self, session: &SessionId, file: &str) -> io::Result<u64> {
        let found = fs::symlink_metadata(layout::session_frames(&self.root, session).join(file))?;
        if found.is_file() { Ok(found.len()) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    /// Deletes a session's frame; one that is gone already is fine.
    pub fn delete(&self, session: &SessionId, file: &str) -> io::Result<()> {
        match fs::remove_file(layout::session_frames(&self.root, session).join(file)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// Makes deletions in a session's folder durable.
    pub fn sync_session(&self, session: &SessionId) -> io::Result<()> {
        match sync_folder(&layout::session_frames(&self.root, session)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
}

/// A frame that is whole and synced, but perhaps not yet in its place.
pub struct StagedFrame {
    folder: FramesFolder,
    name: String,
    path: PathBuf,
    placed: bool,
}

impl StagedFrame {
    /// The name it will have.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Puts it in its place, once. Returns the folder to sync before a row may name it.
    pub fn place(&mut self, session: &SessionId) -> io::Result<PathBuf> {
        let folder = layout::session_frames(&self.folder.root, session);
        if !self.placed {
            let place = folder.join(&self.name);
            match fs::rename(&self.path, &place) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.folder.make_session_folder(&folder)?;
                    fs::rename(&self.path, &place)?;
                }
                other => other?,
            }
            self.placed = true;
        }
        Ok(folder)
    }
}

impl Drop for StagedFrame {
    /// Deletes a frame that was not needed. One that is in its place stays: whether a commit that
    /// failed behind it took hold all the same, only looking tells.
    fn drop(&mut self) {
        if !self.placed
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(%error, "a frame that is not needed cannot be deleted: {}", self.path.display());
        }
    }
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
