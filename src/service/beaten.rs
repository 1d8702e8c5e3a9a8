//! Deleting the frames that no detection shows any more, and the folders of deleted sessions, from queues that survive a crash.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::domain::ids::SessionId;
use crate::media::frames::FramesFolder;
use crate::media::tracks::TracksFolder;
use crate::store::{BeatenFrame, DeletedFolders, QUIET, Store, Tracks, Urgency};

use super::{Service, ServiceError, blocking};

/// Deleting yields to ingest: it waits until the store is quiet, or until so many bytes wait, or so many files. (On a file system mounted with `discard`, a deletion costs the
/// disk more than taking a frame in.)
const MAX_BACKLOG_BYTES: u64 = 256 << 20;
const MAX_BACKLOG: usize = 20_000;
/// Files deleted before the disk is looked at again.
const CHUNK: usize = 32;
/// A deletion comes off the queue when its folder is synced, which costs the disk as much as a frame: it is done
/// for all of so long at once.
const SETTLE_EVERY: Duration = Duration::from_secs(5);
/// Where room is short, it is made at once.
const SETTLE_EVERY_WHEN_SHORT: Duration = Duration::from_secs(1);
/// Folders that could not be deleted are tried again so much later: nothing but a person changes that.
const STUCK_FOLDERS_AGAIN: Duration = Duration::from_secs(600);
/// Folders deleted before they are taken off their queue.
const FOLDERS_AT_ONCE: usize = 200;
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
        let mut queue = Queue::empty(store.clone(), self.inner.frames.clone(), self.inner.tracks.clone());
        while !*stopping.borrow() {
            queue.is_room_short = self.inner.is_room_short.load(Ordering::Relaxed) || store.is_disk_full();
            let (returned, worked) = match blocking(move || Ok(queue.work())).await {
                Ok(done) => done,
                Err(error) => return tracing::error!(%error, "beaten frames are not deleted any more"),
            };
            queue = returned;
            self.inner.stuck_folders.store(queue.stuck_folders.len(), Ordering::Relaxed);
            if worked {
                continue;
            }
            let wait = match queue.waiting.is_empty() {
                true if queue.is_room_short => SETTLE_EVERY_WHEN_SHORT,
                true => SETTLE_EVERY,
                false => QUIET,
            };
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
    tracks: TracksFolder,
    /// Less is free than should be.
    is_room_short: bool,
    /// Whether what an earlier run left was read.
    is_read: bool,
    waiting: VecDeque<BeatenFrame>,
    bytes: u64,
    /// Could not be deleted; tried again at the next settling.
    stuck: Vec<BeatenFrame>,
    deleted: Vec<BeatenFrame>,
    settle_at: Instant,
    /// Deleted sessions whose folders could not be deleted, and when that is tried again.
    stuck_folders: HashSet<SessionId>,
    unstick_at: Instant,
}

impl Queue {
    fn empty(store: Store, frames: FramesFolder, tracks: TracksFolder) -> Self {
        let settle_at = Instant::now() + SETTLE_EVERY;
        Self {
            store,
            frames,
            tracks,
            is_room_short: false,
            is_read: false,
            waiting: VecDeque::new(),
            bytes: 0,
            stuck: Vec::new(),
            deleted: Vec::new(),
            settle_at,
            stuck_folders: HashSet::new(),
            unstick_at: settle_at,
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
        let is_pressing = self.is_room_short || self.bytes > MAX_BACKLOG_BYTES || self.waiting.len() > MAX_BACKLOG;
        let is_quiet = !self.store.is_busy();
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
        if !self.frames.is_paired(&self.store.identity().uuid) {
            self.waiting.extend(self.deleted.drain(deleted_before..));
            return (self, false);
        }
        (self, true)
    }

    /// Makes deletions durable, then takes them off the queue: a power cut must not bring back a file that is off it.
    fn settle(&mut self) {
        self.settle_at = Instant::now() + if self.is_room_short { SETTLE_EVERY_WHEN_SHORT } else { SETTLE_EVERY };
        self.delete_folders();
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

/// Folders of deleted sessions.
impl Queue {
    /// Deletes those in which no frame waits any more, then takes them off their queue.
    fn delete_folders(&mut self) {
        if Instant::now() >= self.unstick_at {
            self.unstick_at = Instant::now() + STUCK_FOLDERS_AGAIN;
            self.stuck_folders.clear();
        }
        let mut after = None;
        loop {
            let found = self.store.read().and_then(|snapshot| snapshot.deleted_folders(after.as_ref(), FOLDERS_AT_ONCE));
            let some = match found {
                Ok(some) => some,
                Err(error) => return tracing::warn!(%error, "the queue of folders to delete cannot be read yet"),
            };
            let Some(last) = some.last() else { return };
            after = Some(last.session.clone());
            let gone: Vec<_> = some.into_iter().filter(|folders| self.delete_folder(folders)).map(|it| it.session).collect();
            if gone.is_empty() {
                continue;
            }
            if !self.frames.is_paired(&self.store.identity().uuid) {
                return;
            }
            if let Err(error) = self.frames.sync().and_then(|()| self.tracks.sync()) {
                return tracing::warn!(%error, "deletions of sessions' folders cannot be made durable yet");
            }
            if let Err(error) = self.store.write_blocking(move |tx| tx.forget_folders(&gone)) {
                return tracing::warn!(%error, "deleted folders cannot be taken off their queue yet");
            }
        }
    }

    /// Says whether nothing of it is left that is to go.
    fn delete_folder(&mut self, folders: &DeletedFolders) -> bool {
        let DeletedFolders { session, tracks, has_frames } = folders;
        if self.stuck_folders.contains(session) {
            return false;
        }
        let done = match tracks {
            Tracks::Go => self.tracks.delete(session),
            Tracks::Stay => Ok(()),
        };
        let done = done.and_then(|()| self.frames.delete_session_folder(session));
        match done {
            Ok(true) => true,
            // Frames that wait make it wait. Else what lies there is nobody's, and stays for `verify` to find.
            Ok(false) => !has_frames,
            Err(error) => {
                if self.stuck_folders.is_empty() {
                    tracing::warn!(
                        %error,
                        "a folder of the deleted session {session} cannot be deleted; may session-store write in the tracks folder?"
                    );
                }
                self.stuck_folders.insert(session.clone());
                false
            }
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
