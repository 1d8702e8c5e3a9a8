//! A backup as one stream: a tar archive whose last entry says that it is whole.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Component, Path};
use std::time::{Duration, UNIX_EPOCH};

use crate::domain::frame::Jpeg;
use crate::domain::ids::{FileName, SessionId};

use super::beneath::Folder;
use super::frames::FramesFolder;
use super::generations::{Added, is_settled};
use super::layout;

/// A frame that is being rewritten in place is read so often …
const TRIES: u32 = 8;
/// … at this distance.
const TRY_AGAIN: Duration = Duration::from_millis(150);

/// An archive being written.
pub struct Tape<W: Write> {
    archive: tar::Builder<W>,
    session: Option<SessionId>,
    /// Frames of that session that are in it.
    written: HashSet<String>,
}

impl<W: Write> Tape<W> {
    /// An archive that goes to `output`.
    pub fn new(output: W) -> Self {
        Self { archive: tar::Builder::new(output), session: None, written: HashSet::new() }
    }

    /// Adds a frame.
    pub fn add(&mut self, frames: &FramesFolder, session: &SessionId, file: &FileName) -> io::Result<Added> {
        if self.session.as_ref() != Some(session) {
            self.session = Some(session.clone());
            self.written.clear();
        }
        if self.written.contains(file.as_str()) {
            return Ok(Added::There);
        }
        let mut tries = 0;
        let (bytes, modified) = loop {
            tries += 1;
            let mut source = match frames.open(session, file.as_str()) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Added::Gone),
                opened => opened?,
            };
            let modified = source.metadata()?.modified()?;
            let mut bytes = Vec::new();
            source.read_to_end(&mut bytes)?;
            if is_settled(modified) || tries == TRIES || Jpeg::new("", bytes.clone().into()).is_ok() {
                break (bytes, modified);
            }
            std::thread::sleep(TRY_AGAIN);
        };
        let seconds = modified.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let path = layout::generation_frame(Path::new(""), session, file);
        self.entry(&path, bytes.len() as u64, seconds, bytes.as_slice())?;
        self.written.insert(file.as_str().to_owned());
        Ok(Added::Copied)
    }

    /// Ends the archive with the lines and what it is.
    pub fn finish(mut self, catalogue: File, manifest: &[u8], seconds: u64) -> io::Result<()> {
        let length = catalogue.metadata()?.len();
        self.entry(Path::new(layout::CATALOGUE), length, seconds, catalogue)?;
        self.entry(Path::new(layout::MANIFEST), manifest.len() as u64, seconds, manifest)?;
        self.archive.into_inner()?.flush()
    }

    fn entry(&mut self, path: &Path, length: u64, seconds: u64, from: impl Read) -> io::Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(length);
        header.set_mtime(seconds);
        self.archive.append_data(&mut header, path, from.take(length))
    }
}

/// Unpacks an archive into `generation`, a folder that is empty. Only what a backup has in it is taken.
///
/// # Errors
/// Where the stream is no backup, or is cut.
pub fn unpack(input: impl Read, generation: &Folder) -> io::Result<()> {
    let strange = |what: &Path| io::Error::new(io::ErrorKind::InvalidData, format!("{} is no part of a backup", what.display()));
    for entry in tar::Archive::new(input).entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        if !entry.header().entry_type().is_file() {
            return Err(strange(&path));
        }
        let parts: Option<Vec<&str>> =
            path.components().map(|part| if let Component::Normal(part) = part { part.to_str() } else { None }).collect();
        let mut file = match parts.as_deref() {
            Some([one]) if [layout::CATALOGUE, layout::MANIFEST].contains(one) => generation.create(one)?,
            Some([layout::FRAMES, session, file]) => {
                let (Ok(session), Ok(file)) = (SessionId::new("", *session), FileName::new("", *file)) else {
                    return Err(strange(&path));
                };
                generation.make_or_open(layout::FRAMES)?.make_or_open(session.as_str())?.create(file.as_str())?
            }
            _ => return Err(strange(&path)),
        };
        io::copy(&mut entry, &mut file)?;
    }
    if generation.length(layout::MANIFEST).is_ok() {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the stream ends before the backup does"))
}
