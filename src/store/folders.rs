//! Which deleted sessions' folders are still there.

use redb::ReadableTable as _;

use crate::domain::ids::SessionId;

use super::tables::{BEATEN_FRAMES, DELETED_FOLDERS};
use super::{Snapshot, StoreError, Transaction};

/// What becomes of a deleted session's tracks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tracks {
    /// They are the worker's affair.
    Stay,
    /// They go with the session.
    Go,
}

/// A deleted session whose folders are still there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletedFolders {
    /// The session that was.
    pub session: SessionId,
    /// Whether the folder of its tracks is to go, too.
    pub tracks: Tracks,
    /// Whether frames in its folder still wait to be deleted.
    pub has_frames: bool,
}

impl Transaction<'_> {
    /// Has the folders of a deleted session deleted.
    pub(super) fn delete_folders(&mut self, id: &SessionId, tracks: Tracks) -> Result<(), StoreError> {
        self.changed = true;
        self.deleted_folders.insert(id.as_str(), tracks == Tracks::Go)
    }

    /// A session of this name is there again, and so its folders stay.
    pub(super) fn keep_folders(&mut self, id: &SessionId) -> Result<(), StoreError> {
        if self.deleted_folders.get(id.as_str())?.is_some() {
            self.deleted_folders.remove(id.as_str())?;
        }
        Ok(())
    }

    /// Takes sessions whose folders are gone off the queue.
    pub fn forget_folders(&mut self, ids: &[SessionId]) -> Result<(), StoreError> {
        self.changed |= !ids.is_empty();
        ids.iter().try_for_each(|id| self.deleted_folders.remove(id.as_str()))
    }
}

impl Snapshot {
    /// At most `limit` deleted sessions, behind the one called `after`, whose folders are still there.
    pub fn deleted_folders(&self, after: Option<&SessionId>, limit: usize) -> Result<Vec<DeletedFolders>, StoreError> {
        let beaten = self.table(BEATEN_FRAMES)?;
        let mut all = Vec::new();
        let behind = after.map_or("", SessionId::as_str);
        for entry in self.table(DELETED_FOLDERS)?.range(behind..)? {
            let (id, tracks) = entry?;
            if Some(id.value()) == after.map(SessionId::as_str) {
                continue;
            }
            let session = SessionId::new("session id", id.value()).map_err(|invalid| StoreError::Record(invalid.0))?;
            let has_frames = match beaten.range((id.value(), "")..)?.next().transpose()? {
                Some((first, _)) => first.value().0 == id.value(),
                None => false,
            };
            all.push(DeletedFolders { session, tracks: if tracks.value() { Tracks::Go } else { Tracks::Stay }, has_frames });
            if all.len() == limit {
                break;
            }
        }
        Ok(all)
    }
}
