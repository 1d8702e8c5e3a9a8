//! Sessions' records beside their frames, for the loss of the database.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};

use crate::domain::ids::SessionId;

use crate::runtime::folders;

use super::frames::FramesFolder;
use super::{beneath, layout};

/// A longer sidecar is none of ours.
const MAX_BYTES: u64 = 256 << 20;

impl FramesFolder {
    /// Puts `lines` beside the frames of `session`, whole and durably. Says whether they were other ones before.
    pub fn write_sidecar(&self, session: &SessionId, lines: &[u8]) -> io::Result<bool> {
        let place = layout::sidecar(self.root(), session);
        if fs::symlink_metadata(&place).is_ok_and(|file| file.len() == lines.len() as u64)
            && self.read_sidecar(session).is_ok_and(|known| known == lines)
        {
            return Ok(false);
        }
        let temporary = layout::frames_temporary(self.root()).join("sidecar");
        let mut file = File::create(&temporary)?;
        file.write_all(lines)?;
        file.sync_data()?;
        let folder = layout::session_frames(self.root(), session);
        match fs::rename(&temporary, &place) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.make_session_folder(&folder)?;
                fs::rename(&temporary, &place)?;
            }
            other => other?,
        }
        folders::sync(&folder)?;
        Ok(true)
    }

    /// The lines beside the frames of `session`.
    pub fn read_sidecar(&self, session: &SessionId) -> io::Result<Vec<u8>> {
        let file = beneath::open(self.root(), &[session.as_str(), layout::SIDECAR])?;
        if file.metadata()?.len() > MAX_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let mut lines = Vec::new();
        file.take(MAX_BYTES).read_to_end(&mut lines)?;
        Ok(lines)
    }

    /// Takes the lines beside the frames of `session` away, durably. Says whether there were any.
    pub fn delete_sidecar(&self, session: &SessionId) -> io::Result<bool> {
        match fs::remove_file(layout::sidecar(self.root(), session)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            other => other?,
        }
        self.sync_session(session)?;
        Ok(true)
    }

    /// How far the sidecars follow the feed: its epoch and the number.
    pub fn sidecars_place(&self) -> Option<(String, u64)> {
        let text = fs::read_to_string(layout::sidecars_place(self.root())).ok()?;
        let (epoch, number) = text.trim().split_once(' ')?;
        Some((epoch.to_owned(), number.parse().ok()?))
    }

    /// Remembers how far they do.
    pub fn set_sidecars_place(&self, epoch: &str, number: u64) -> io::Result<()> {
        let temporary = layout::frames_temporary(self.root()).join("sidecars");
        let mut file = File::create(&temporary)?;
        writeln!(file, "{epoch} {number}")?;
        file.sync_data()?;
        fs::rename(&temporary, layout::sidecars_place(self.root()))?;
        folders::sync(self.root())
    }

    /// The UUID of the store that the folder belongs to, where it says one.
    pub fn owner(&self) -> io::Result<Option<String>> {
        match fs::read_to_string(layout::frames_marker(self.root())) {
            Ok(text) => Ok(Some(text.trim().to_owned()).filter(|uuid| !uuid.is_empty())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}
