//! Taking in an export's lines while the daemon runs: through the one writer, a bounded piece at a time. Whoever brings them
//! brings the pictures first; a picture is named by its row or by none.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use crate::domain::detection::Detection;
use crate::domain::frame::Jpeg;
use crate::domain::ids::{FileName, SessionId};
use crate::domain::session::MAX_CLASSES;
use crate::media::frames::FramesFolder;
use crate::media::layout;
use crate::store::{FrameFile, Snapshot, StoreError, Urgency};

use super::import::{self, Batch, Files, Imported, Seen};
use super::line::Entry;
use super::migrate::{self, Piece, Refused, without_session};
use super::sessions::SESSION_NOT_FOUND;
use super::{INGEST_PATIENCE, Service, ServiceError, ingest};

/// The most lines of one piece: ingests wait no longer than its commit takes.
pub const MAX_LINES: usize = 500;

/// One piece or picture is taken in at a time. What is seen of a file then holds until its row is written: between the two nobody
/// else can name it, and have it beaten.
pub struct Turn(Arc<Semaphore>);

impl Default for Turn {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

impl Turn {
    async fn take(&self) -> Result<OwnedSemaphorePermit, ServiceError> {
        let turn = tokio::time::timeout(INGEST_PATIENCE, Arc::clone(&self.0).acquire_owned()).await;
        turn.ok().and_then(Result::ok).ok_or(ServiceError::Busy)
    }
}

/// The lines of a body, without the empty ones.
pub fn lines(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty())
}

impl Service {
    /// Takes in those of at most [`MAX_LINES`] lines that break no rule, in one commit; says what was left out. When this
    /// returns, what it says is durable.
    ///
    /// # Errors
    /// [`ServiceError::Busy`] and [`ServiceError::Full`], as for an ingest.
    pub async fn take_in(&self, body: Bytes) -> Result<(Imported, Vec<Refused>), ServiceError> {
        let turn = self.inner.intake.take().await?;
        let frames = self.inner.pairing.known().await?.then(|| self.inner.frames.clone());
        let looked = self.look(Urgency::Ingest, move |store, snapshot| {
            if store.is_disk_full() {
                return Err(ServiceError::Full);
            }
            let piece = sift(&body);
            let seen = frames.map(|frames| see(snapshot, &frames, &piece.batch)).transpose()?.unwrap_or_default();
            Ok((store.clone(), piece, seen))
        });
        let (store, Piece { batch, mut refused }, seen) = looked.await?;
        for (_, entry) in &batch {
            // Its agent may be there, and has had no chance to show it.
            if let Entry::Session(session) = entry
                && session.is_open()
            {
                self.note_activity(&session.id);
            }
        }
        let files = Files::Seen(seen);
        let (done, early) = store
            .write_ingest(move |tx| {
                // Its end is the change's: who waits for it may be gone before.
                let _turn = &turn;
                let (done, early) = import::apply(tx, &files, &batch)?;
                Ok((done, import::numbers(&early)))
            })
            .await?;
        refused.extend(without_session(early));
        Ok((done, refused))
    }

    /// Which of the lines, by their places, want their picture: it would be shown, and is not there.
    ///
    /// # Errors
    /// [`ServiceError::Conflict`] where no pictures can be taken.
    pub async fn frames_wanted(&self, body: Bytes) -> Result<Vec<usize>, ServiceError> {
        let _turn = self.inner.intake.take().await?;
        let frames = self.usable_frames().await?;
        self.look(Urgency::Ingest, move |_, snapshot| {
            let mut wanted = Vec::new();
            for (number, entry) in sift(&body).batch {
                if let Entry::Detection(id, detection, of) = entry
                    && is_wanted(snapshot, &frames, &id, &detection, of)?
                {
                    wanted.push(usize::try_from(number).unwrap_or(usize::MAX));
                }
            }
            Ok(wanted)
        })
        .await
    }

    /// What differs between the lines and the store, a sentence each.
    pub async fn compare(&self, body: Bytes, with_frames: bool) -> Result<Vec<String>, ServiceError> {
        self.read(move |snapshot| Ok(migrate::compare(snapshot, lines(&body), with_frames)?)).await
    }

    /// Writes a session's frame that a row is to name, whole and durably, and says what it is called: as asked, unless a file of
    /// that name just waits to be deleted. One that a row names already stays as it is.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`] where there is no such session, [`ServiceError::Conflict`] where no pictures can be taken.
    pub async fn bring_frame(&self, session: SessionId, file: FileName, jpeg: Jpeg) -> Result<String, ServiceError> {
        let _turn = self.inner.intake.take().await?;
        let frames = self.usable_frames().await?;
        let service = self.clone();
        self.look(Urgency::Ingest, move |store, snapshot| {
            if snapshot.session(&session)?.is_none() {
                return Err(ServiceError::NotFound(SESSION_NOT_FOUND));
            }
            let mut name = file.as_str().to_owned();
            if snapshot.is_frame_beaten(&session, &name)? {
                name = layout::frame_name(store.now(), Uuid::new_v4().as_u64_pair().1);
            } else if snapshot.is_frame_named(&session, &name)? && frames.length(&session, &name).is_ok() {
                // The enricher may have drawn into it.
                return Ok(name);
            }
            if store.is_disk_full() || !ingest::has_room(&frames, jpeg.bytes().len()) {
                return Err(ServiceError::Full);
            }
            let written = frames.write(&session, name.clone(), jpeg.bytes());
            // It stays: nobody deletes a file that no row has named.
            written.inspect_err(|_| service.inner.pairing.doubt())?.may_be_named();
            Ok(name)
        })
        .await
    }

    async fn usable_frames(&self) -> Result<FramesFolder, ServiceError> {
        if self.inner.pairing.known().await? {
            return Ok(self.inner.frames.clone());
        }
        Err(ServiceError::Conflict("The frames folder cannot be used now; /health says why"))
    }
}

/// Parses lines, of which a running store takes sessions and detections alone, and such as cost its writer little.
fn sift(body: &[u8]) -> Piece {
    let mut piece = Piece::sift(lines(body));
    let Piece { batch, refused } = &mut piece;
    batch.retain(|(number, entry)| {
        let reason = match entry {
            Entry::Session(session) if session.configured_classes.len().max(session.detected_classes.len()) > MAX_CLASSES => {
                format!("a session must have at most {MAX_CLASSES} classes")
            }
            Entry::Session(_) | Entry::Detection(..) => return true,
            _ => "a running store takes in sessions and detections alone".to_owned(),
        };
        refused.push(Refused { index: usize::try_from(*number).unwrap_or(usize::MAX), reason });
        false
    });
    piece
}

/// The files that `batch` names, as far as they are there.
fn see(snapshot: &Snapshot, frames: &FramesFolder, batch: &Batch) -> Result<HashMap<u64, Seen>, StoreError> {
    let mut seen = HashMap::new();
    for (number, entry) in batch {
        if let Entry::Detection(id, detection, _) = entry
            && let Some(picture) = &detection.picture
            && let Some(bytes) = length(snapshot, frames, id, &picture.file)?
        {
            seen.insert(*number, Seen { bytes, was_shown: snapshot.is_frame_named(id, &picture.file)? });
        }
    }
    Ok(seen)
}

/// The length of a file that is there and does not wait to be deleted. The snapshot is older than the look: a file that neither
/// is named in it nor waits stays.
fn length(snapshot: &Snapshot, frames: &FramesFolder, id: &SessionId, file: &str) -> Result<Option<u64>, StoreError> {
    if !import::is_file_name(file) || snapshot.is_frame_beaten(id, file)? {
        return Ok(None);
    }
    Ok(frames.length(id, file).ok())
}

fn is_wanted(
    snapshot: &Snapshot,
    frames: &FramesFolder,
    id: &SessionId,
    theirs: &Detection,
    of: Option<FrameFile>,
) -> Result<bool, StoreError> {
    let Some(picture) = &theirs.picture else { return Ok(false) };
    let Some((at, _)) = snapshot.session(id)? else { return Ok(false) };
    let ours = snapshot.detection(at, &theirs.track)?.and_then(|ours| ours.picture);
    if ours.as_ref().is_some_and(|ours| ours.file != picture.file && ours.conf >= picture.conf) {
        return Ok(false);
    }
    let there = length(snapshot, frames, id, &picture.file)?;
    // One that a row names may have been drawn into; another one may be half of it, from elsewhere.
    Ok(match there {
        None => true,
        Some(there) if of.is_none_or(|of| of.bytes == there) => false,
        Some(_) => !snapshot.is_frame_named(id, &picture.file)?,
    })
}
