//! Which frame files are named by detections, and which are no longer.

use redb::ReadableTable as _;

use crate::domain::ids::SessionId;
use crate::domain::query::SessionKey;

use super::record::{self, FrameRecord};
use super::tables::{BEATEN_FRAMES, FRAMES, SESSION_IDS, key};
use super::{Snapshot, StoreError, Transaction};

/// A file that no detection shows any more, and the session in whose folder it lies.
pub type BeatenFrame = (SessionId, String);

/// What is known of a frame's file when it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameFile {
    /// Its length.
    pub bytes: u64,
    /// XXH3-64 of its bytes, where they were at hand.
    pub hash: Option<u64>,
}

impl Transaction<'_> {
    fn frame(&self, session: u64, file: &str) -> Result<Option<FrameRecord>, StoreError> {
        self.frames.get((session, file))?.map(|bytes| record::decode_frame(bytes.value())).transpose()
    }

    /// One more detection shows `file`.
    pub(super) fn show_frame(
        &mut self,
        session: u64,
        id: &SessionId,
        file: &str,
        of: Option<&FrameFile>,
    ) -> Result<(), StoreError> {
        let mut frame = match self.frame(session, file)? {
            Some(frame) => frame,
            None => {
                // An import may bring back what was beaten or deleted before its file was.
                self.beaten_frames.remove((id.as_str(), file))?;
                FrameRecord { shown_by: 0, bytes: of.map_or(0, |of| of.bytes), hash: of.and_then(|of| of.hash) }
            }
        };
        frame.shown_by += 1;
        self.frames.insert((session, file), record::encode_frame(frame)?.as_slice())?;
        Ok(())
    }

    /// One detection fewer shows `file`; without any it is beaten.
    pub(super) fn hide_frame(&mut self, session: u64, id: &SessionId, file: &str) -> Result<(), StoreError> {
        match self.frame(session, file)? {
            Some(mut frame) if frame.shown_by > 1 => {
                frame.shown_by -= 1;
                self.frames.insert((session, file), record::encode_frame(frame)?.as_slice())?;
            }
            known => {
                self.frames.remove((session, file))?;
                self.beaten_frames.insert((id.as_str(), file), ())?;
                self.beaten.0.push((id.clone(), file.to_owned()));
                self.beaten.1 += known.map_or(0, |frame| frame.bytes);
            }
        }
        Ok(())
    }

    /// Whether a detection of the session at `at` shows `file`.
    pub fn is_frame_shown(&self, at: SessionKey, file: &str) -> Result<bool, StoreError> {
        Ok(self.frame(at.number, file)?.is_some())
    }

    /// Queues `file` for deletion, unless a detection of the session `id` shows it.
    pub fn beat_unless_shown(&mut self, id: &SessionId, file: &str) -> Result<(), StoreError> {
        let at = self.session(id)?.map(|(at, _)| at);
        if let Some(at) = at
            && self.is_frame_shown(at, file)?
        {
            return Ok(());
        }
        self.changed = true;
        self.beaten_frames.insert((id.as_str(), file), ())?;
        self.beaten.0.push((id.clone(), file.to_owned()));
        Ok(())
    }

    /// Takes deleted files off the queue of beaten frames.
    pub fn forget_beaten(&mut self, files: &[BeatenFrame]) -> Result<(), StoreError> {
        self.changed = true;
        for (session, file) in files {
            self.beaten_frames.remove((session.as_str(), file.as_str()))?;
        }
        Ok(())
    }
}

impl Snapshot {
    /// What is known of `file` where a detection of the session `id` shows it.
    pub fn frame_file(&self, id: &SessionId, file: &str) -> Result<Option<FrameFile>, StoreError> {
        let Some(at) = self.table(SESSION_IDS)?.get(id.as_str())?.map(|at| key(at.value())) else { return Ok(None) };
        let Some(bytes) = self.table(FRAMES)?.get((at.number, file))? else { return Ok(None) };
        let frame = record::decode_frame(bytes.value())?;
        Ok(Some(FrameFile { bytes: frame.bytes, hash: frame.hash }))
    }

    /// Whether a detection of the session `id` shows `file`.
    pub fn is_frame_named(&self, id: &SessionId, file: &str) -> Result<bool, StoreError> {
        let Some(at) = self.table(SESSION_IDS)?.get(id.as_str())?.map(|at| key(at.value())) else { return Ok(false) };
        Ok(self.table(FRAMES)?.get((at.number, file))?.is_some())
    }

    /// Whether `file` of the session `id` waits to be deleted.
    pub fn is_frame_beaten(&self, id: &SessionId, file: &str) -> Result<bool, StoreError> {
        Ok(self.table(BEATEN_FRAMES)?.get((id.as_str(), file))?.is_some())
    }

    /// At most `limit` beaten frames, behind `after`.
    pub fn beaten_frames(
        &self,
        after: Option<&(SessionId, String)>,
        limit: usize,
    ) -> Result<Vec<(SessionId, String)>, StoreError> {
        let table = self.table(BEATEN_FRAMES)?;
        let lowest = after.map_or(("", ""), |(session, file)| (session.as_str(), file.as_str()));
        let mut files = Vec::new();
        for entry in table.range(lowest..)? {
            let (key, _) = entry?;
            let (session, file) = key.value();
            if (session, file) == lowest {
                continue;
            }
            let session = SessionId::new("session id", session).map_err(|invalid| StoreError::Record(invalid.0))?;
            files.push((session, file.to_owned()));
            if files.len() == limit {
                break;
            }
        }
        Ok(files)
    }
}
