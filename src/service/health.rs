//! How the daemon is.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::Serialize;

use crate::media::disk;
use crate::store::{StoreError, guarded};

use super::central::Central;
use super::ledger::Watching;
use super::retention::Retention;
use super::{Service, blocking};

/// Below so many free bytes a volume is called nearly full.
const LOW_SPACE_BYTES: u64 = 64 << 20;

/// What `/health` tells beside the fixed fields.
#[derive(Debug, Clone, Serialize)]
pub struct Health {
    /// Whole sentences; none when all is well.
    pub reasons: Vec<String>,
    /// Work of the start that still runs.
    pub starting: Vec<&'static str>,
    /// The store's UUID, once it is open.
    pub store_uuid: Option<String>,
    /// Length of the database file in bytes.
    pub store_bytes: Option<u64>,
    /// Sessions in the store.
    pub sessions: Option<u64>,
    /// Of these, open.
    pub sessions_open: Option<u64>,
    /// Detections in the store.
    pub detections: Option<u64>,
    /// Beaten frames whose files wait to be deleted.
    pub frames_to_delete: Option<u64>,
    /// The feed's newest number.
    pub feed_head: Option<u64>,
    /// Changes that wait for the writer.
    pub queue_depth: usize,
    /// Milliseconds since the last commit of this process.
    pub last_commit_age_ms: Option<u64>,
    /// Free bytes of each folder's volume.
    pub free_bytes: FreeBytes,
    /// Segments of recordings that are known.
    pub segments: Option<u64>,
    /// How the watching of recordings goes; null where none are watched.
    pub recordings: Option<Watching>,
    /// Whether a central database is configured: `available` or `not configured`.
    pub central_database: &'static str,
    /// How the sync with it is; null where there is none.
    pub sync: Option<Central>,
    /// How retention is; null where there are no rules.
    pub retention: Option<Retention>,
}

/// Free bytes of each folder's volume; null where it cannot be told.
#[derive(Debug, Clone, Serialize)]
pub struct FreeBytes {
    /// Of the database's.
    pub database: Option<u64>,
    /// Of the frames'.
    pub frames: Option<u64>,
    /// Of the tracks'.
    pub tracks: Option<u64>,
}

impl Service {
    /// How the daemon is, as far as can be told without waiting for the store.
    pub async fn health(&self) -> Health {
        let service = self.clone();
        let told = blocking(move || Ok(service.examine())).await;
        told.unwrap_or_else(|error| Health { reasons: vec![error.to_string()], ..Health::unknown() })
    }

    fn examine(&self) -> Health {
        let mut health = Health::unknown();
        let inner = &self.inner;
        if inner.settings.has_central_database {
            health.central_database = "available";
        }
        health.reasons.extend(inner.pairing.problem());
        health.sync.clone_from(&inner.central.borrow());
        health.reasons.extend(health.sync.iter().flat_map(Central::problems));
        if !self.settings().retention.is_empty() {
            let retention = inner.retention.borrow().clone();
            health.reasons.extend(retention.problems.iter().cloned());
            health.retention = Some(retention);
        }
        let stuck = inner.stuck_folders.load(Ordering::Relaxed);
        if stuck > 0 {
            health.reasons.push(format!(
                "The folders of {stuck} deleted sessions cannot be deleted, and the log names the first: may the daemon's group write in the \
                 tracks folder and in each session's?"
            ));
        }
        let free = |path: &Path| disk::volume(path).ok().map(|volume| volume.free);
        health.free_bytes.frames = free(inner.frames.root());
        health.free_bytes.tracks = free(inner.tracks.root());
        let Some(store) = self.opened() else {
            health.starting.push("opening the store");
            return health;
        };
        if !inner.pairing.is_known() {
            health.starting.push("pairing the frames folder");
        }
        if !self.record_paths().is_empty() {
            let watching = self.watching();
            if watching.is_first_scan {
                health.starting.push("scanning the recordings");
            }
            health.reasons.extend(watching.problems.iter().cloned());
            health.recordings = Some(watching);
        }
        health.free_bytes.database = free(store.path());
        for (name, bytes) in [("database", health.free_bytes.database), ("frames", health.free_bytes.frames)] {
            if bytes.is_some_and(|bytes| bytes < LOW_SPACE_BYTES) {
                health.reasons.push(format!("The volume of the {name} folder is nearly full: make room there."));
            }
        }
        if !store.is_in_place() {
            health.reasons.push(
                "The database was deleted or replaced while it is open: nothing more is stored. Take what it holds with `session-store \
                 backup`, stop, and `restore` that; or put the same file back."
                    .to_owned(),
            );
        }
        health.reasons.extend(store.damage());
        if store.is_read_only() {
            health.reasons.push(
                "The volume of the database is read-only, perhaps after an error of its disk: nothing is stored until it can be written \
                 again. What is there is still read: take it with `session-store backup`, then look at the kernel's log."
                    .to_owned(),
            );
        }
        if store.is_disk_full() {
            health.reasons.push("The disk is full: frames are refused until there is room.".to_owned());
        }
        health.store_uuid = Some(store.identity().uuid.clone());
        health.store_bytes = std::fs::metadata(store.path()).map(|file| file.len()).ok();
        health.queue_depth = store.queue_depth();
        health.last_commit_age_ms = store.last_commit_age().map(millis);
        health.feed_head = Some(*store.feed_head().borrow());
        let counted = guarded(|| {
            let snapshot = store.read()?;
            health.sessions = snapshot.session_count().ok();
            health.sessions_open = snapshot.open_session_count().ok();
            health.detections = snapshot.detection_count().ok();
            health.segments = snapshot.segment_count().ok();
            health.frames_to_delete = snapshot.beaten_frame_count().ok();
            Ok::<_, StoreError>(())
        });
        match counted {
            Ok(()) => {}
            // Said already.
            Err(_) if store.damage().is_some() => {}
            Err(error) => health.reasons.push(format!("The store cannot be read: {error}.")),
        }
        health
    }
}

impl Health {
    fn unknown() -> Self {
        Self {
            reasons: Vec::new(),
            starting: Vec::new(),
            store_uuid: None,
            store_bytes: None,
            sessions: None,
            sessions_open: None,
            detections: None,
            frames_to_delete: None,
            feed_head: None,
            queue_depth: 0,
            last_commit_age_ms: None,
            free_bytes: FreeBytes { database: None, frames: None, tracks: None },
            segments: None,
            recordings: None,
            central_database: "not configured",
            sync: None,
            retention: None,
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
