//! Putting a backup's frames back into an empty frames folder.

use std::fs::{self, File, FileTimes};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{ioctl_ficlone, syncfs};

use crate::domain::ids::{FileName, SessionId};

use super::frames::FramesFolder;
use super::generations::Generations;
use super::{beneath, layout};

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
        File::open(layout::generation_catalogue(&self.path))
    }

    /// What it says of itself.
    pub fn manifest(&self) -> io::Result<Vec<u8>> {
        fs::read(layout::generation_manifest(&self.path))
    }
}

/// A frames folder that is being filled; marked as such, so that an interrupted restore can be begun again.
pub struct Filling {
    frames: FramesFolder,
    folder: Option<SessionId>,
}

impl Filling {
    /// Begins to fill `frames`, which must be empty or hold what an interrupted restore left; that is swept.
    ///
    /// # Errors
    /// `DirectoryNotEmpty` where anything else is in it.
    pub fn begin(frames: &FramesFolder) -> io::Result<Self> {
        let (root, mark) = (frames.root(), layout::restoring(frames.root()));
        fs::create_dir_all(root)?;
        if mark.is_dir() && !layout::frames_marker(root).exists() {
            for entry in fs::read_dir(root)? {
                let path = entry?.path();
                if path != mark {
                    remove(&path)?;
                }
            }
            fs::remove_dir_all(&mark)?;
        } else if fs::read_dir(root)?.next().is_some() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        fs::create_dir(&mark)?;
        File::open(root)?.sync_all()?;
        Ok(Self { frames: frames.clone(), folder: None })
    }

    /// Unpacks a stream beside the frames.
    pub fn unpack(&self, input: impl io::Read) -> io::Result<Generation> {
        let path = layout::restoring(self.frames.root());
        super::tape::unpack(input, &path)?;
        Ok(Generation { path, is_ours: true })
    }

    /// Puts a frame into its place; says whether the backup has it.
    pub fn place(&mut self, from: &Generation, session: &SessionId, file: &FileName) -> io::Result<bool> {
        let folder = layout::session_frames(self.frames.root(), session);
        if self.folder.as_ref() != Some(session) {
            match fs::create_dir(&folder) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => self.folder = Some(session.clone()),
            }
        }
        let target = folder.join(file.as_str());
        let source = match beneath::open(&from.path, &[layout::FRAMES, session.as_str(), file.as_str()]) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(target.is_file()),
            opened => opened?,
        };
        if from.is_ours {
            fs::rename(layout::generation_frame(&from.path, session, file), &target)?;
            return Ok(true);
        }
        let modified = source.metadata()?.modified()?;
        let to = File::create(&target)?;
        if ioctl_ficlone(&to, &source).is_err() {
            io::copy(&mut &source, &mut &to)?;
        }
        to.set_times(FileTimes::new().set_modified(modified))?;
        Ok(true)
    }

    /// Makes it durable; the mark stays.
    pub fn settle(&self) -> io::Result<()> {
        let mark = layout::restoring(self.frames.root());
        for entry in fs::read_dir(mark)? {
            remove(&entry?.path())?;
        }
        Ok(syncfs(File::open(self.frames.root())?)?)
    }

    /// Takes the mark away.
    pub fn end(self) -> io::Result<()> {
        match fs::remove_dir(layout::restoring(self.frames.root())) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

fn remove(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}
