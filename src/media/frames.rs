//! Frame files: written whole and synced under a temporary name, then renamed into place.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{CWD, RenameFlags, renameat_with, syncfs};

use crate::domain::ids::SessionId;
use crate::runtime::folders;

use super::beneath::{self, Folder, gone_is_fine};
use super::layout;
use super::walk::Found;

/// Folders for temporary names. The file system changes the names of one folder one after the other, and while it syncs
/// makes each wait: in one folder for all, concurrent frames take up to twice as long.
const LANES: usize = 64;

/// The folder of frames.
#[derive(Clone)]
pub struct FramesFolder {
    root: Arc<PathBuf>,
    /// Sessions' folders that were made and may not be on the disk yet. Where making one fails, the count stays up,
    /// and every later frame syncs the root for it.
    unsynced: Arc<AtomicUsize>,
    next_lane: Arc<AtomicUsize>,
    /// Frames that no row names yet, but may soon.
    unnamed: Arc<Mutex<HashSet<String>>>,
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
        Self { root: Arc::new(root), unsynced: Arc::default(), next_lane: Arc::default(), unnamed: Arc::default() }
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
        Ok(match self.marker()? {
            Some(text) if text == uuid => Pairing::Paired,
            Some(text) => Pairing::Foreign(text),
            None => Pairing::Unmarked,
        })
    }

    /// Whether it is there and belongs to the store with this UUID. On an empty mount point every file is "gone already".
    pub fn is_paired(&self, uuid: &str) -> bool {
        matches!(self.pairing(uuid), Ok(Pairing::Paired))
    }

    /// What its marker says, where there is one.
    pub(super) fn marker(&self) -> io::Result<Option<String>> {
        let mut text = String::new();
        match beneath::open(&self.root, &[layout::FRAMES_MARKER]).and_then(|mut marker| marker.read_to_string(&mut text)) {
            Ok(_) => Ok(Some(text.trim().to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes the folder where it is missing and marks it as this store's.
    pub fn pair(&self, uuid: &str) -> io::Result<()> {
        folders::make(&self.root)?;
        self.prepare()?;
        let root = Folder::root(&self.root)?;
        let temporary = root.folder(layout::FRAMES_TEMPORARY)?;
        let mut file = temporary.create("store")?;
        writeln!(file, "{uuid}")?;
        file.sync_all()?;
        temporary.rename("store", &root, layout::FRAMES_MARKER)?;
        root.sync()
    }

    /// Makes the folders for temporary names, and sweeps what a crash left there.
    pub fn prepare(&self) -> io::Result<()> {
        let root = Folder::root(&self.root)?;
        let temporary = root.make_or_open(layout::FRAMES_TEMPORARY)?;
        temporary.sweep()?;
        for lane in 0..LANES {
            temporary.make_or_open(&lane.to_string())?.sweep()?;
        }
        gone_is_fine(fs::remove_dir_all(layout::restoring(&self.root)))?;
        // A session's folder that a killed process made may not be on the disk yet.
        root.sync()
    }

    /// Whether a file can be made here: full is not what is asked.
    pub fn probe(&self) -> io::Result<()> {
        let temporary = Folder::root(&self.root)?.folder(layout::FRAMES_TEMPORARY)?;
        match temporary.create("probe").and_then(|_| temporary.delete("probe")) {
            Err(error) if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => Ok(()),
            other => other,
        }
    }

    /// Makes a session's folder, durably.
    pub(super) fn make_session_folder(&self, root: &Folder, name: &str) -> io::Result<Folder> {
        self.unsynced.fetch_add(1, Ordering::SeqCst);
        match root.make(name) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                self.unsynced.fetch_sub(1, Ordering::SeqCst);
                return Err(error);
            }
            _ => {}
        }
        root.sync()?;
        self.unsynced.fetch_sub(1, Ordering::SeqCst);
        root.folder(name)
    }

    /// Writes a frame called `name` whole and durably into `session`'s folder: under a temporary name,
    /// synced, renamed into place, the folder synced. What may now be named is deleted again when the
    /// result is dropped, unless a row may name it.
    pub fn write(&self, session: &SessionId, name: String, bytes: &[u8]) -> io::Result<UnnamedFrame> {
        let root = Folder::root(&self.root)?;
        let lane = self.next_lane.fetch_add(1, Ordering::Relaxed) % LANES;
        let temporary = root.folder(layout::FRAMES_TEMPORARY)?.folder(&lane.to_string())?;
        let mut file = temporary.create(&name)?;
        self.unnamed.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone());
        let unnamed = Arc::clone(&self.unnamed);
        let mut frame = UnnamedFrame { name, folder: temporary.clone(), may_be_named: false, unnamed };
        file.write_all(bytes)?;
        file.sync_data()?;
        let place = layout::session_folder(session);
        let mut folder = match root.folder(place) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.make_session_folder(&root, place)?,
            other => other?,
        };
        match temporary.rename(&frame.name, &folder, &frame.name) {
            // It was a deleted session's, and deleted between the two; the session has been opened anew.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                folder = self.make_session_folder(&root, place)?;
                temporary.rename(&frame.name, &folder, &frame.name)?;
            }
            done => done?,
        }
        frame.folder = folder.clone();
        // Another request has just made the folder, and it may not be on the disk yet.
        if self.unsynced.load(Ordering::SeqCst) > 0 {
            root.sync()?;
        }
        folder.sync()?;
        Ok(frame)
    }

    /// Whether a request of this process is just bringing a frame of this name. Once it is not, a row names the
    /// frame or none ever will.
    pub fn is_being_written(&self, file: &str) -> bool {
        self.unnamed.lock().unwrap_or_else(PoisonError::into_inner).contains(file)
    }

    /// Opens a session's frame.
    pub fn open(&self, session: &SessionId, file: &str) -> io::Result<File> {
        beneath::open(&self.root, &[session.as_str(), file])
    }

    /// Length of a session's frame in bytes.
    pub fn length(&self, session: &SessionId, file: &str) -> io::Result<u64> {
        self.session(session)?.length(file)
    }

    /// Deletes a session's frame; one that is gone already is fine.
    pub fn delete(&self, session: &SessionId, file: &str) -> io::Result<()> {
        gone_is_fine(self.session(session).and_then(|folder| folder.delete(file)))
    }

    /// Deletes a deleted session's folder with its record; says whether it is gone. One in which other files lie stays.
    pub fn delete_session_folder(&self, session: &SessionId) -> io::Result<bool> {
        let root = Folder::root(&self.root)?;
        let place = layout::session_folder(session);
        gone_is_fine(root.folder(place).and_then(|folder| folder.delete(layout::SIDECAR)))?;
        match root.remove_empty(place) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(false),
            done => gone_is_fine(done).map(|()| true),
        }
    }

    /// Makes deletions of sessions' folders durable.
    pub fn sync(&self) -> io::Result<()> {
        Folder::root(&self.root)?.sync()
    }

    /// Moves what lies in the folder and is named by no row out of the way, under a name that is free. Durable with
    /// [`FramesFolder::sync_everything`].
    pub fn quarantine(&self, found: &Found) -> io::Result<PathBuf> {
        let folder = layout::quarantine(&self.root, found.folder.as_deref());
        fs::create_dir_all(&folder)?;
        let mut place = folder.join(&found.name);
        for number in 1_u32.. {
            match renameat_with(CWD, found.path(&self.root), CWD, &place, RenameFlags::NOREPLACE) {
                Err(rustix::io::Errno::EXIST) => {
                    let mut name = found.name.clone();
                    name.push(format!(".{number}"));
                    place = folder.join(name);
                }
                done => {
                    done?;
                    break;
                }
            }
        }
        Ok(place)
    }

    /// Makes all that was done in the folder durable.
    pub fn sync_everything(&self) -> io::Result<()> {
        Ok(syncfs(File::open(self.root.as_path())?)?)
    }

    /// Makes deletions in a session's folder durable.
    pub fn sync_session(&self, session: &SessionId) -> io::Result<()> {
        gone_is_fine(self.session(session).and_then(|folder| folder.sync()))
    }

    pub(super) fn session(&self, session: &SessionId) -> io::Result<Folder> {
        Folder::root(&self.root)?.folder(layout::session_folder(session))
    }
}

/// A frame that is in its place, but that no row names yet.
pub struct UnnamedFrame {
    name: String,
    folder: Folder,
    may_be_named: bool,
    unnamed: Arc<Mutex<HashSet<String>>>,
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
            && let Err(error) = self.folder.delete(self.name.as_str())
        {
            tracing::warn!(%error, "a frame that is not needed cannot be deleted: {}", self.name);
        }
        self.unnamed.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}
