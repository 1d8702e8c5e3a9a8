//! Putting a backup's frames back into an empty frames folder.

use std::fs::{self, File, FileTimes};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use rustix::fs::ioctl_ficlone;

use crate::domain::ids::{FileName, SessionId};

use super::beneath::{self, Folder};
use super::frames::FramesFolder;
use super::generations::Generations;
use super::layout;

/// One generation of a backup, or what was unpacked of a stream.
pub struct Generation {
    path: PathBuf,
    /// Whether its frames may be taken out of it.
    is_ours: bool,
}

impl Generation {
    /// The newest generation in `backup`, or `backup` itself where it is one.
    ///
    /// # Errors
    /// `NotFound` where there is none.
    pub fn newest(backup: &Path) -> io::Result<Self> {
        if layout::generation_manifest(backup).is_file() {
            return Ok(Self { path: backup.to_owned(), is_ours: false });
        }
        let newest = Generations::new(backup.to_owned()).newest()?;
        let (_, path) = newest.ok_or(io::ErrorKind::NotFound)?;
        Ok(Self { path, is_ours: false })
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its lines.
    pub fn catalogue(&self) -> io::Result<File> {
        beneath::open(&self.path, &[layout::CATALOGUE])
    }

    /// What it says of itself.
    pub fn manifest(&self) -> io::Result<Vec<u8>> {
        let mut manifest = Vec::new();
        beneath::open(&self.path, &[layout::MANIFEST])?.read_to_end(&mut manifest)?;
        Ok(manifest)
    }
}

/// A frames folder that is being filled; marked as such, so that an interrupted restore can be begun again.
pub struct Filling {
    root: Folder,
    /// Where the mark lies, and what is unpacked of a stream.
    restoring: PathBuf,
    /// The folder of the session whose frames come.
    session: Option<(SessionId, Folder)>,
}

impl Filling {
    /// Begins to fill `frames`, which must be empty or hold what an interrupted restore left; that is swept.
    ///
    /// # Errors
    /// `DirectoryNotEmpty` where anything else is in it.
    pub fn begin(frames: &FramesFolder) -> io::Result<Self> {
        fs::create_dir_all(frames.root())?;
        let root = Folder::root(frames.root())?;
        let names = root.names()?;
        let is_there = |wanted: &str| names.iter().any(|name| name.to_bytes() == wanted.as_bytes());
        if root.folder(layout::RESTORING).is_ok() && !is_there(layout::FRAMES_MARKER) {
            // The mark last, or a further interruption would leave what nobody may sweep.
            for name in names.iter().filter(|name| name.to_bytes() != layout::RESTORING.as_bytes()) {
                root.remove(name.as_c_str())?;
            }
            root.remove(layout::RESTORING)?;
        } else if !names.is_empty() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        root.make(layout::RESTORING)?;
        root.sync()?;
        Ok(Self { root, restoring: layout::restoring(frames.root()), session: None })
    }

    /// Unpacks a stream beside the frames.
    pub fn unpack(&self, input: impl io::Read) -> io::Result<Generation> {
        super::tape::unpack(input, &self.root.folder(layout::RESTORING)?)?;
        Ok(Generation { path: self.restoring.clone(), is_ours: true })
    }

    /// Puts a frame into its place; says whether the backup has it.
    pub fn place(&mut self, from: &Generation, session: &SessionId, file: &FileName) -> io::Result<bool> {
        let folder = match &self.session {
            Some((open, folder)) if open == session => folder,
            _ => &self.session.insert((session.clone(), self.root.make_or_open(layout::session_folder(session))?)).1,
        };
        let name = file.as_str();
        let source = match beneath::open(&from.path, &[layout::FRAMES, session.as_str(), name]) {
            // Several detections may show one frame.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(folder.length(name).is_ok()),
            opened => opened?,
        };
        if from.is_ours {
            let unpacked = Folder::root(&from.path)?.folder(layout::FRAMES)?.folder(session.as_str())?;
            unpacked.rename(name, folder, name)?;
            return Ok(true);
        }
        let to = match folder.create(name) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(folder.length(name).is_ok()),
            made => made?,
        };
        let modified = source.metadata()?.modified()?;
        if ioctl_ficlone(&to, &source).is_err() {
            io::copy(&mut &source, &mut &to)?;
        }
        to.set_times(FileTimes::new().set_modified(modified))?;
        Ok(true)
    }

    /// Makes it durable; the mark stays.
    pub fn settle(&self) -> io::Result<()> {
        let mark = self.root.folder(layout::RESTORING)?;
        for name in mark.names()? {
            mark.remove(name.as_c_str())?;
        }
        self.root.sync_volume()
    }

    /// Takes the mark away.
    pub fn end(self) -> io::Result<()> {
        beneath::gone_is_fine(self.root.remove(layout::RESTORING))
    }
}
