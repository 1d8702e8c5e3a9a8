//! A backup folder: generations, each whole in itself, unchanged frames shared between them by hard links.

use std::fs::{self, File, FileTimes, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{ioctl_ficlone, syncfs};

use crate::domain::frame::Jpeg;
use crate::domain::ids::{FileName, SessionId};
use crate::domain::time::Timestamp;

use super::frames::FramesFolder;
use super::layout;

/// A frame that was written less long ago may be just being rewritten in place.
const SETTLED_AFTER: Duration = Duration::from_secs(2);
/// Such a one is copied so often …
const TRIES: u32 = 8;
/// … at this distance, until the copy is whole.
const TRY_AGAIN: Duration = Duration::from_millis(150);

/// How a frame came into a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// It was there already.
    There,
    /// Shared with the generation before.
    Linked,
    /// Sharing its blocks with the frame, until either is rewritten.
    Cloned,
    /// Byte by byte.
    Copied,
    /// The frame is gone.
    Gone,
}

/// A backup folder.
pub struct Generations {
    root: PathBuf,
}

impl Generations {
    /// The folder at `root`, which need not exist.
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// The number and the folder of the newest whole generation.
    ///
    /// # Errors
    /// Where the folder cannot be read.
    pub fn newest(&self) -> io::Result<Option<(u64, PathBuf)>> {
        let entries = match fs::read_dir(&self.root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            entries => entries?,
        };
        let mut newest = None;
        for entry in entries {
            let name = entry?.file_name();
            let Some(number) = name.to_str().and_then(|name| name.split_once('-')?.0.parse::<u64>().ok()) else { continue };
            let path = self.root.join(&name);
            if layout::generation_manifest(&path).is_file() {
                newest = newest.max(Some((number, path)));
            }
        }
        Ok(newest)
    }

    /// Begins a new generation; what an interrupted one left is swept.
    ///
    /// # Errors
    /// `ResourceBusy` where another backup into this folder is under way.
    pub fn begin(&self) -> io::Result<Unfinished> {
        fs::create_dir_all(&self.root)?;
        let lock = File::options().create(true).write(true).truncate(false).open(layout::backup_lock(&self.root))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => io::Error::from(io::ErrorKind::ResourceBusy),
            TryLockError::Error(error) => error,
        })?;
        let path = layout::unfinished_generation(&self.root);
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::create_dir(&path)?;
        Ok(Unfinished { root: self.root.clone(), path, previous: self.newest()?, folder: None, _lock: lock })
    }
}

/// A generation being made. It appears under its name when it is whole and on the disk.
pub struct Unfinished {
    root: PathBuf,
    path: PathBuf,
    previous: Option<(u64, PathBuf)>,
    /// The session whose folder was made last.
    folder: Option<SessionId>,
    _lock: File,
}

impl Unfinished {
    /// Makes the file for its lines, to be written and read again.
    pub fn catalogue(&self) -> io::Result<File> {
        File::options().create_new(true).read(true).write(true).open(layout::generation_catalogue(&self.path))
    }

    /// Whether there is a generation before it.
    pub fn is_incremental(&self) -> bool {
        self.previous.is_some()
    }

    /// Adds a frame: shared with the generation before where it has not changed since, else as a copy. Never a hard
    /// link to the frame itself, which may be rewritten in place.
    pub fn add(&mut self, frames: &FramesFolder, session: &SessionId, file: &FileName) -> io::Result<Added> {
        let target = layout::generation_frame(&self.path, session, file);
        if self.folder.as_ref() != Some(session) {
            fs::create_dir_all(target.parent().unwrap_or(&self.path))?;
            self.folder = Some(session.clone());
        }
        if target.exists() {
            return Ok(Added::There);
        }
        if let Some((_, previous)) = &self.previous
            && let Ok(earlier) = fs::symlink_metadata(layout::generation_frame(previous, session, file))
        {
            let now = match frames.open(session, file.as_str()) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Added::Gone),
                opened => opened?.metadata()?,
            };
            let is_same = earlier.is_file() && earlier.len() == now.len() && earlier.modified()? == now.modified()?;
            if is_same && fs::hard_link(layout::generation_frame(previous, session, file), &target).is_ok() {
                return Ok(Added::Linked);
            }
        }
        copy(frames, session, file, &target)
    }

    /// Makes it durable and gives it its name, which is made of `moment`.
    pub fn finish(self, moment: Timestamp, manifest: &[u8]) -> io::Result<PathBuf> {
        fs::write(layout::generation_manifest(&self.path), manifest)?;
        // One sync for a million files; rename and the folder's own sync come after it.
        syncfs(File::open(&self.root)?)?;
        let number = self.previous.as_ref().map_or(0, |(number, _)| *number) + 1;
        let moment: String = moment.to_micros().chars().filter(char::is_ascii_alphanumeric).collect();
        let place = layout::generation(&self.root, &format!("{number:06}-{moment}"));
        fs::rename(&self.path, &place)?;
        File::open(&self.root)?.sync_all()?;
        Ok(place)
    }
}

/// Copies a frame with its time of change, which tells the next generation whether it has changed.
fn copy(frames: &FramesFolder, session: &SessionId, file: &FileName, target: &Path) -> io::Result<Added> {
    let mut tries = 0;
    loop {
        tries += 1;
        let source = match frames.open(session, file.as_str()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Added::Gone),
            opened => opened?,
        };
        let before = source.metadata()?;
        let to = File::options().create(true).truncate(true).write(true).open(target)?;
        let added = if ioctl_ficlone(&to, &source).is_ok() {
            Added::Cloned
        } else {
            io::copy(&mut &source, &mut &to)?;
            Added::Copied
        };
        let after = source.metadata()?;
        to.set_times(FileTimes::new().set_modified(before.modified()?))?;
        let is_steady = before.len() == after.len() && before.modified()? == after.modified()?;
        if (is_steady && is_settled(before.modified()?)) || tries == TRIES || Jpeg::new("", fs::read(target)?.into()).is_ok() {
            return Ok(added);
        }
        std::thread::sleep(TRY_AGAIN);
    }
}

pub(super) fn is_settled(modified: SystemTime) -> bool {
    modified.elapsed().is_ok_and(|age| age >= SETTLED_AFTER)
}

#[cfg(test)]
mod tests {
    use super::*;

    const JPEG: &[u8] = include_bytes!("../../tests/data/frames/frame_1.jpg");

    #[test]
    fn a_frame_that_is_rewritten_in_place_is_copied_anew_and_the_earlier_generation_keeps_its_own() {
        let home = tempfile::tempdir().expect("a folder");
        let frames = FramesFolder::new(home.path().join("frames"));
        let (session, file) = (SessionId::new("", "s").expect("valid"), FileName::new("", "a.jpg").expect("valid"));
        fs::create_dir_all(home.path().join("frames/s")).expect("made");
        let live = home.path().join("frames/s/a.jpg");
        fs::write(&live, JPEG).expect("written");
        let generations = Generations::new(home.path().join("backup"));
        let mut made = Vec::new();
        for expected in [None, Some(Added::Linked), None] {
            if made.len() == 2 {
                let mut padded = JPEG.to_vec();
                padded.push(0);
                fs::write(&live, padded).expect("rewritten in place");
            }
            let mut generation = generations.begin().expect("begun");
            let added = generation.add(&frames, &session, &file).expect("added");
            assert!(expected.is_none_or(|expected| added == expected), "{added:?}");
            assert_eq!(generation.add(&frames, &session, &file).expect("added"), Added::There);
            made.push(generation.finish(Timestamp::from_micros(0), b"{}").expect("finished"));
        }
        let lengths: Vec<_> = made.iter().map(|place| fs::read(place.join("frames/s/a.jpg")).expect("there").len()).collect();
        assert_eq!(lengths, [JPEG.len(), JPEG.len(), JPEG.len() + 1]);
        assert_eq!(generations.newest().expect("read").map(|(number, _)| number), Some(3));
    }

    #[test]
    fn two_backups_at_once_and_what_one_left_unfinished_are_told_apart() {
        let home = tempfile::tempdir().expect("a folder");
        let generations = Generations::new(home.path().join("backup"));
        let first = generations.begin().expect("begun");
        assert_eq!(generations.begin().err().map(|error| error.kind()), Some(io::ErrorKind::ResourceBusy));
        drop(first);
        assert_eq!(generations.newest().expect("read"), None, "it was never finished");
        assert!(generations.begin().is_ok());
    }
}
