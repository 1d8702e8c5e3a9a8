//! Deleting the frames that no detection shows any more, from a queue that survives a crash.

use std::collections::HashSet;
use std::time::Duration;

use crate::domain::ids::SessionId;
use crate::media::frames::FramesFolder;
use crate::store::{Store, Urgency};

use super::{Service, ServiceError, blocking};

/// How long commits are gathered before the queue is looked at.
const GATHER: Duration = Duration::from_millis(50);
/// Files looked at in one snapshot.
const AT_ONCE: usize = 1000;

impl Service {
    /// Deletes beaten frames for as long as the daemon runs.
    pub async fn delete_beaten_frames(&self) -> Result<(), ServiceError> {
        let store = self.store(Urgency::Urgent).await?;
        let mut head = store.feed_head();
        let mut stopping = self.inner.stopping.subscribe();
        // Deleted, but perhaps not yet off the queue.
        let mut deleted = HashSet::new();
        loop {
            if self.inner.pairing.is_usable() {
                let (store, frames) = (store.clone(), self.inner.frames.clone());
                match blocking(move || Ok(sweep(&store, &frames, deleted))).await? {
                    Ok(still) => deleted = still,
                    Err(error) => {
                        tracing::warn!(%error, "beaten frames cannot be deleted now");
                        deleted = HashSet::new();
                    }
                }
            }
            tokio::select! {
                changed = head.changed() => if changed.is_err() { return Ok(()) },
                _ = stopping.wait_for(|stopping| *stopping) => return Ok(()),
            }
            tokio::time::sleep(GATHER).await;
        }
    }
}

/// Deletes what is queued and not among `deleted`; returns what is still queued.
fn sweep(
    store: &Store,
    frames: &FramesFolder,
    deleted: HashSet<(SessionId, String)>,
) -> Result<HashSet<(SessionId, String)>, ServiceError> {
    let mut still = HashSet::new();
    let mut last = None;
    loop {
        let queued = store.read()?.beaten_frames(last.as_ref(), AT_ONCE)?;
        let Some(end) = queued.last().cloned() else { return Ok(still) };
        let fresh: Vec<_> = queued.iter().filter(|file| !deleted.contains(*file)).cloned().collect();
        for (session, file) in &fresh {
            frames.delete(session, file)?;
        }
        // A power cut must not bring a file back that is off the queue.
        let sessions: HashSet<_> = fresh.iter().map(|(session, _)| session).collect();
        for session in sessions {
            frames.sync_session(session)?;
        }
        if !fresh.is_empty() {
            store.write_sometime(move |tx| tx.forget_beaten(&fresh));
        }
        still.extend(queued);
        last = Some(end);
    }
}
