//! Frame files: written whole and synced under a temporary name, then renamed into place.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::domain::ids::SessionId;
use crate::runtime::folder;

use super::{beneath, layout};

/// The folder of frames.
#[derive(Clone)]
pub struct FramesFolder {
    root: Arc<PathBuf>,
    /// Sessions' folders that were made and may not be on the disk yet. Where making one fails, the count stays up,
    /// and every later frame syncs the root for it.
    unsynced: Arc<AtomicUsize>,
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
        Self { root: Arc::new(root), unsynced: Arc::default() }
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
        folder::make(&self.root)?;
        self.prepare()?;
        let unfinished = layout::frames_temporary(&self.root).join("store");
        let mut file = File::create(&unfinished)?;
        writeln!(file, "{uuid}")?;
        file.sync_all()?;
        fs::rename(&unfinished, layout::frames_marker(&self.root))?;
        folder::sync(&self.root)
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
        folder::sync(&self.root)
    }

    /// Makes a session's folder, durably.
    fn make_session_folder(&self, folder: &Path) -> io::Result<()> {
        self.unsynced.fetch_add(1, Ordering::SeqCst);
        match fs::create_dir(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                self.unsynced.fetch_sub(1, Ordering::SeqCst);
                return Err(error);
            }
            _ => {}
        }
        folder::sync(&self.root)?;
        self.unsynced.fetch_sub(1, Ordering::SeqCst);
        Ok(())
    }

    /// Writes a frame called `name` whole and durably into `session`'s folder: under a temporary name,
    /// synced, renamed into place, the folder synced. What may now be named is deleted again when the
    /// result is dropped, unless a row may name it.
    pub fn write(&self, session: &SessionId, name: String, bytes: &[u8]) -> io::Result<UnnamedFrame> {
        let temporary = layout::frames_temporary(&self.root).join(&name);
        let folder = layout::session_frames(&self.root, session);
        let place = folder.join(&name);
        let file = File::options().write(true).create_new(true).open(&temporary)?;
        let mut frame = UnnamedFrame { name, path: temporary, may_be_named: false };
        (&file).write_all(bytes)?;
        file.sync_data()?;
        match fs::rename(&frame.path, &place) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.make_session_folder(&folder)?;
                fs::rename(&frame.path, &place)?;
            }
            other => other?,
        }
        frame.path = place;
        // Another request has just made the folder, and it may not be on the disk yet.
        if self.unsynced.load(Ordering::SeqCst) > 0 {
            folder::sync(&self.root)?;
        }
        folder::sync(&folder)?;
        Ok(frame)
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
        match folder::sync(&layout::session_frames(&self.root, session)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
}

/// A frame that is in its place, but that no row names yet.
pub struct UnnamedFrame {
    name: String,
    path: PathBuf,
    may_be_named: bool,
}

impl UnnamedFrame {
    /// Its file's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Says that a row, or the queue of beaten frames, is about to name it. Should the commit fail, whether it took hold
    /// all the same only looking tells: the file stays from here on.
    pub fn may_be_named(&mut self) {
        self.may_be_named = true;
    }
}

impl Drop for UnnamedFrame {
    fn drop(&mut self) {
        if !self.may_be_named
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(%error, "a frame that is not needed cannot be deleted: {}", self.path.display());
        }
    }
}
