//! Sessions' records beside their frames, for the loss of the database.

use std::io::{self, Read as _, Write as _};

use crate::domain::ids::SessionId;

use super::beneath::{self, Folder};
use super::frames::FramesFolder;
use super::layout;

/// A longer sidecar is none of ours.
const MAX_BYTES: u64 = 256 << 20;

impl FramesFolder {
    /// Puts `lines` beside the frames of `session`, whole and durably. Says whether they were other ones before.
    pub fn write_sidecar(&self, session: &SessionId, lines: &[u8]) -> io::Result<bool> {
        let root = Folder::root(self.root())?;
        let folder = match root.folder(layout::session_folder(session)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.make_session_folder(&root, layout::session_folder(session))?
            }
            other => other?,
        };
        if folder.length(layout::SIDECAR).is_ok_and(|length| length == lines.len() as u64)
            && self.read_sidecar(session).is_ok_and(|known| known == lines)
        {
            return Ok(false);
        }
        put(&root, "sidecar", lines, &folder, layout::SIDECAR)?;
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
        match self.session(session).and_then(|folder| folder.delete(layout::SIDECAR)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            other => other?,
        }
        self.sync_session(session)?;
        Ok(true)
    }

    /// How far the sidecars follow the feed: its epoch and the number.
    pub fn sidecars_place(&self) -> Option<(String, u64)> {
        let mut text = String::new();
        beneath::open(self.root(), &[layout::SIDECARS]).ok()?.read_to_string(&mut text).ok()?;
        let (epoch, number) = text.trim().split_once(' ')?;
        Some((epoch.to_owned(), number.parse().ok()?))
    }

    /// Remembers how far they do.
    pub fn set_sidecars_place(&self, epoch: &str, number: u64) -> io::Result<()> {
        let root = Folder::root(self.root())?;
        put(&root, "sidecars", format!("{epoch} {number}\n").as_bytes(), &root, layout::SIDECARS)
    }

    /// The UUID of the store that the folder belongs to, where it says one.
    pub fn owner(&self) -> io::Result<Option<String>> {
        Ok(self.marker()?.filter(|uuid| !uuid.is_empty()))
    }
}

/// Puts `bytes` into `folder` under `name`, whole and durably, by way of `temporary` among the store's own names below `root`.
fn put(root: &Folder, temporary: &str, bytes: &[u8], folder: &Folder, name: &str) -> io::Result<()> {
    let own = root.folder(layout::FRAMES_TEMPORARY)?;
    beneath::gone_is_fine(own.delete(temporary))?;
    let mut file = own.create(temporary)?;
    file.write_all(bytes)?;
    file.sync_data()?;
    own.rename(temporary, folder, name)?;
    folder.sync()
}
