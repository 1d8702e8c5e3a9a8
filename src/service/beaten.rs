//! Deleting the frames that no detection shows any more, from a queue that survives a crash.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use crate::media::frames::{FramesFolder, Pairing};
use crate::store::{BeatenFrame, Store, Urgency};

use super::{Service, ServiceError, blocking};

/// Deleting yields to ingest: it waits until nothing was committed for so long …
const QUIET: Duration = Duration::from_millis(100);
/// … or until so many bytes wait, or so many files. (On a file system mounted with `discard`, a deletion costs the
/// disk more than taking a frame in.)
const MAX_BACKLOG_BYTES: u64 = 256 << 20;
const MAX_BACKLOG: usize = 20_000;
/// Files deleted before the disk is looked at again.
const CHUNK: usize = 32;
/// A deletion comes off the queue when its folder is synced, which costs the disk as much as a frame: it is done
/// for all of so long at once.
const SETTLE_EVERY: Duration = Duration::from_secs(5);
/// Queued files read in one snapshot.
const AT_ONCE: usize = 1000;

impl Service {
    /// Deletes beaten frames until the daemon stops. What is not deleted by then stays in the queue.
    pub async fn delete_beaten_frames(&self) {
        let Ok(store) = self.store(Urgency::Urgent).await else { return };
        if !self.frames_are_usable().await {
            return;
        }
        let mut stopping = self.inner.stopping.subscribe();
        let mut queue = Queue::empty(store.clone(), self.inner.frames.clone());
        while !*stopping.borrow() {
            let (returned, worked) = match blocking(move || Ok(queue.work())).await {
                Ok(done) => done,
                Err(error) => return tracing::error!(%error, "beaten frames are not deleted any more"),
            };
            queue = returned;
            if worked {
                continue;
            }
            let wait = if queue.waiting.is_empty() { SETTLE_EVERY } else { QUIET };
            tokio::select! {
                () = store.beaten() => {}
                () = tokio::time::sleep(wait) => {}
                _ = stopping.wait_for(|stopping| *stopping) => {}
            }
        }
    }
}

/// The queue as far as it is in memory.
struct Queue {
    store: Store,
    frames: FramesFolder,
    /// Whether what an earlier run left was read.
    is_read: bool,
    waiting: VecDeque<BeatenFrame>,
    bytes: u64,
    /// Could not be deleted; tried again at the next settling.
    stuck: Vec<BeatenFrame>,
    deleted: Vec<BeatenFrame>,
    settle_at: Instant,
}

impl Queue {
    fn empty(store: Store, frames: FramesFolder) -> Self {
        let settle_at = Instant::now() + SETTLE_EVERY;
        Self {
            store,
            frames,
            is_read: false,
            waiting: VecDeque::new(),
            bytes: 0,
            stuck: Vec::new(),
            deleted: Vec::new(),
            settle_at,
        }
    }

    /// Deletes some, or settles. Says whether there is more to do at once.
    fn work(mut self) -> (Self, bool) {
        if !self.is_read {
            match left_over(&self.store) {
                Ok(all) => {
                    self.waiting.extend(all);
                    self.is_read = true;
                }
                Err(error) => tracing::warn!(%error, "the queue of beaten frames cannot be read yet"),
            }
        }
        let (fresh, bytes) = self.store.take_beaten();
        self.waiting.extend(fresh);
        self.bytes += bytes;
        if Instant::now() >= self.settle_at {
            self.settle();
        }
        let is_pressing = self.bytes > MAX_BACKLOG_BYTES || self.waiting.len() > MAX_BACKLOG;
        let is_quiet = self.store.last_commit_age().is_none_or(|age| age >= QUIET);
        if self.waiting.is_empty() || !(is_quiet || is_pressing) {
            return (self, false);
        }
        let deleted_before = self.deleted.len();
        for _ in 0..CHUNK {
            let Some((session, file)) = self.waiting.pop_front() else {
                self.bytes = 0;
                break;
            };
            match self.frames.delete(&session, &file) {
                Ok(()) => self.deleted.push((session, file)),
                Err(error) => {
                    if self.stuck.is_empty() {
                        tracing::warn!(%error, "a beaten frame of session {session} cannot be deleted yet: {file}");
                    }
                    self.stuck.push((session, file));
                }
            }
        }
        // On an empty mount point every file is "gone already".
        if !matches!(self.frames.pairing(&self.store.identity().uuid), Ok(Pairing::Paired)) {
            self.waiting.extend(self.deleted.drain(deleted_before..));
            return (self, false);
        }
        (self, true)
    }

    /// Makes deletions durable, then takes them off the queue: a power cut must not bring back a file that is off it.
    fn settle(&mut self) {
        self.settle_at = Instant::now() + SETTLE_EVERY;
        self.waiting.extend(self.stuck.drain(..));
        let deleted = std::mem::take(&mut self.deleted);
        let sessions: HashSet<_> = deleted.iter().map(|(session, _)| session.clone()).collect();
        for session in &sessions {
            if let Err(error) = self.frames.sync_session(session) {
                tracing::warn!(%error, "deletions of beaten frames cannot be made durable yet");
                self.deleted = deleted;
                return;
            }
        }
        if !deleted.is_empty() {
            self.store.write_sometime(move |tx| tx.forget_beaten(&deleted));
        }
    }
}

/// What an earlier run left in the queue.
fn left_over(store: &Store) -> Result<Vec<BeatenFrame>, ServiceError> {
    let mut all: Vec<BeatenFrame> = Vec::new();
    loop {
        let some = store.read()?.beaten_frames(all.last(), AT_ONCE)?;
        if some.is_empty() {
            return Ok(all);
        }
        all.extend(some);
    }
}
