//! Only redb: the catalogue of sessions and detections, its indexes and its change feed.
//! Reads go by [`Snapshot`], writes by closures over [`Transaction`] that one thread
//! commits in groups. What the tables hold is told in `docs/design/storage.md`.

mod building;
mod commit;
mod damage;
mod database;
mod detections;
mod error;
mod feed;
mod folders;
mod frames;
mod holds;
mod index;
mod journal;
mod journaled;
mod length;
mod lock;
mod patched;
mod pulse;
mod queue;
mod record;
mod repair;
mod reserve;
mod retention;
mod runs;
mod schema;
mod segments;
mod sessions;
mod shadow;
mod snapshot;
mod tables;
mod touches;
mod transaction;
mod verify;
mod worker;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use crate::domain::ids::TrackId;
use crate::domain::query::SessionKey;
use crate::domain::time::Timestamp;
use crate::runtime::clock::Clock;

pub use building::Building;
pub use damage::guarded;
pub use error::{StoreError, WriteError};
pub use feed::{Change, Entity, FeedError, FeedPage};
pub use folders::{DeletedFolders, Tracks};
pub use frames::{BeatenFrame, FrameFile};
pub use lock::is_in_use;
pub use queue::Urgency;
pub use repair::{Mended, Mender, Picture};
pub use retention::Weight;
pub use runs::{Run, Runs};
pub use schema::Identity;
pub use shadow::check_pages;
pub use snapshot::Snapshot;
pub use transaction::Transaction;
pub use verify::{Looked, NamedFrame, Place};

use damage::Damage;
use database::Handle;
use journal::Journal;
use lock::FolderLock;
use pulse::Pulse;
use reserve::Reserve;
use touches::Touches;
use writer::Writer;

/// After so long without a commit there is time for what can wait.
pub const QUIET: Duration = Duration::from_millis(100);

/// How a store is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// The database file; its lock and its reserve lie beside it.
    pub path: PathBuf,
    /// Bytes of redb's page cache.
    pub cache_bytes: usize,
    /// How long a touch (see invariant 1) may be held in memory.
    pub touch_interval: Duration,
    /// Bytes preallocated for opens, closes, hooks and deletions on a full disk.
    pub reserve_bytes: u64,
    /// How long the feed remembers a deleted session.
    pub tombstone_age: Duration,
}

#[cfg(test)]
impl Options {
    /// A small store in `folder`, without a reserve, that holds no touch and remembers deletions for an hour.
    fn for_testing(folder: &Path) -> Self {
        Self {
            path: folder.join("store.redb"),
            cache_bytes: 1 << 20,
            touch_interval: Duration::ZERO,
            reserve_bytes: 0,
            tombstone_age: Duration::from_secs(3600),
        }
    }
}

/// An open store. Cheap to clone; [`Store::close`] ends it for all clones.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    writer: Writer,
    identity: Identity,
    run: Run,
    path: PathBuf,
}

/// What the writer thread and the readers have in common.
struct Shared {
    handle: Handle,
    touches: Touches,
    reserve: Reserve,
    clock: Arc<dyn Clock>,
    /// The feed's newest number.
    head: watch::Sender<u64>,
    /// Monotonic milliseconds of the last commit, by the clock; 0 before the first.
    last_commit_ms: AtomicU64,
    pulse: Pulse,
    tombstone_age: Duration,
    /// The volume took no writes when it was last tried.
    is_read_only: AtomicBool,
    damage: Damage,
    /// Beaten since they were last taken, and a word to whoever takes them.
    beaten: Mutex<(Vec<BeatenFrame>, u64)>,
    beaten_news: Notify,
    _lock: FolderLock,
}

/// Where a repair of the store at `database` puts records that cannot be used.
pub fn set_aside_path(database: &Path) -> PathBuf {
    database::beside(database, "set-aside.ndjson")
}

impl Store {
    /// Opens the store, or makes one where there is none. Blocks; after a crash for the time
    /// of redb's quick repair.
    ///
    /// # Errors
    /// A sentence where another process has the store, where it is damaged, or was written by
    /// a newer version.
    pub fn open(options: Options, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let path = options.path.clone();
        guarded(|| Self::open_unguarded(options, clock)).map_err(|error| match error {
            StoreError::Damaged => database::damaged(&path, "its pages make no sense"),
            error => error,
        })
    }

    fn open_unguarded(options: Options, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let lock = FolderLock::take(&options.path)?;
        let handle = Handle::open(&options.path, options.cache_bytes)?;
        let (identity, journal, head) = {
            let database = handle.get()?;
            let (mut identity, format) = schema::prepare(&database, clock.now())?;
            let (mut journal, unapplied) = Journal::open(&options.path, &identity.uuid, schema::journal_applied(&database)?)?;
            // Who made the two files may have been killed before their names were durable.
            database::sync_parent(&options.path)?;
            if unapplied.is_gap {
                tracing::warn!(
                    "the database is older than its journal, as if an older copy had been put back: what the journal holds does not fit it \
                     and is left out, and readers of the feed begin again"
                );
                identity.epoch = schema::begin_epoch(&database, journal.number())?;
                journal.reset();
                journal.renew();
            } else if !unapplied.batch.is_empty() {
                commit::catch_up(&database, &unapplied.batch, clock.now())?;
            }
            if format < schema::FORMAT {
                schema::upgrade(&database, format, journal.number(), clock.now())?;
                journal.reset();
            }
            let snapshot = Snapshot::new(database, Arc::default())?;
            (identity, journal, snapshot.feed_head()?)
        };
        let shared = Arc::new(Shared {
            handle,
            touches: Touches::new(options.touch_interval),
            reserve: Reserve::new(&options.path, options.reserve_bytes),
            clock,
            head: watch::Sender::new(head),
            last_commit_ms: AtomicU64::new(0),
            pulse: Pulse::default(),
            tombstone_age: options.tombstone_age,
            is_read_only: AtomicBool::new(false),
            damage: Damage::default(),
            beaten: Mutex::default(),
            beaten_news: Notify::new(),
            _lock: lock,
        });
        let writer = Writer::start(Arc::clone(&shared), journal)?;
        Ok(Self { inner: Arc::new(Inner { shared, writer, identity, run: Run::begin(head), path: options.path }) })
    }

    /// The store's clock.
    pub fn now(&self) -> Timestamp {
        self.inner.shared.clock.now()
    }

    /// The store's names for itself.
    pub fn identity(&self) -> &Identity {
        &self.inner.identity
    }

    /// This process, once somebody notes it by [`Transaction::note_run`].
    pub fn run(&self) -> &Run {
        &self.inner.run
    }

    /// The database file.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// A consistent view of all that is committed, with the touches that are held. It pins
    /// pages of the file: keep it for one page of an answer, not longer.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] while the database is being healed.
    pub fn read(&self) -> Result<Snapshot, StoreError> {
        // The touches first: one that is committed between the two is then seen twice, not never.
        let held = self.inner.shared.touches.held();
        Snapshot::new(self.inner.shared.handle.get()?, held)
    }

    /// The same without the touches that are held: only what a crash cannot take back.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] while the database is being healed.
    pub fn read_committed(&self) -> Result<Snapshot, StoreError> {
        Snapshot::new(self.inner.shared.handle.get()?, Arc::default())
    }

    /// Has `change` applied in the next group commit and returns what it returned, once that is
    /// durable. `change` may be run again on a fresh transaction when a commit failed, so it
    /// must not consume what it was given. It reads, decides, then writes; what it returns is
    /// an answer, never a reason to roll back.
    ///
    /// # Errors
    /// [`WriteError::Full`] when the disk is, [`WriteError::Failed`] otherwise.
    pub async fn write<T, F>(&self, change: F) -> Result<T, WriteError>
    where
        T: Send + 'static,
        F: FnMut(&mut Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.inner.writer.submit(Urgency::Urgent, change).await
    }

    /// [`Store::write`] of an ingest.
    ///
    /// # Errors
    /// As [`Store::write`], and [`WriteError::Busy`] when the queue is full.
    pub async fn write_ingest<T, F>(&self, change: F) -> Result<T, WriteError>
    where
        T: Send + 'static,
        F: FnMut(&mut Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.inner.writer.submit(Urgency::Ingest, change).await
    }

    /// [`Store::write`] for a thread outside of tokio; waits for room in the queue.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub fn write_blocking<T, F>(&self, change: F) -> Result<T, WriteError>
    where
        T: Send + 'static,
        F: FnMut(&mut Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.inner.writer.submit_blocking(change)
    }

    /// Has `change` carried by some later commit, within seconds. For work that a crash may
    /// repeat, such as forgetting a deleted file.
    pub fn write_sometime<F>(&self, change: F)
    where
        F: FnMut(&mut Transaction<'_>) -> Result<(), StoreError> + Send + 'static,
    {
        self.inner.writer.submit_lazy(change);
    }

    /// Holds the advance of `first_ts`/`last_ts` by sightings at `capture` that improved nothing.
    pub fn touch(&self, session: SessionKey, tracks: &[TrackId], capture: Timestamp) {
        let shared = &self.inner.shared;
        if shared.touches.hold(session, tracks, capture, shared.clock.now()) {
            self.inner.writer.wake();
        }
    }

    /// The feed's newest number, and a way to wait for the next.
    pub fn feed_head(&self) -> watch::Receiver<u64> {
        self.inner.shared.head.subscribe()
    }

    /// Frames that were committed as beaten since this was last called, and their bytes.
    pub fn take_beaten(&self) -> (Vec<BeatenFrame>, u64) {
        std::mem::take(&mut *self.inner.shared.beaten.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns when there may be something to take.
    pub async fn beaten(&self) {
        self.inner.shared.beaten_news.notified().await;
    }

    /// Changes that wait for the writer.
    pub fn queue_depth(&self) -> usize {
        self.inner.writer.depth()
    }

    /// Time since the last commit of this process; `None` before the first.
    pub fn last_commit_age(&self) -> Option<Duration> {
        let shared = &self.inner.shared;
        let at = shared.last_commit_ms.load(Ordering::Relaxed);
        (at > 0).then(|| shared.clock.monotonic().saturating_sub(Duration::from_millis(at)))
    }

    /// Whether requests come in: something was committed a moment ago.
    pub fn is_busy(&self) -> bool {
        self.last_commit_age().is_some_and(|age| age < QUIET)
    }

    /// How far the writer has come, where it has something to do. A number that stays the same is a disk that is stuck.
    pub fn writer_progress(&self) -> Option<u64> {
        let pulse = &self.inner.shared.pulse;
        (pulse.is_busy() || self.queue_depth() > 0).then(|| pulse.steps())
    }

    /// Has the database opened again: a reader met an error after which it answers nothing more.
    pub fn heal(&self) {
        self.inner.writer.heal();
    }

    /// Whether the disk is too full for frames: the reserve is given up, or could not be made.
    pub fn is_disk_full(&self) -> bool {
        self.inner.shared.reserve.is_missing()
    }

    /// Remembers that a read found something in the database that cannot be right.
    pub fn note_damage(&self, what: &str) {
        self.inner.shared.damage.note(what);
    }

    /// A sentence on the database's damage and the way out, if any was met or it cannot be opened again.
    pub fn damage(&self) -> Option<String> {
        self.inner.shared.damage.sentence()
    }

    /// Whether the database's volume takes no writes.
    pub fn is_read_only(&self) -> bool {
        self.inner.shared.is_read_only.load(Ordering::Relaxed)
    }

    /// Whether the open database still lies in its place. Where it does not, nothing is stored any more.
    pub fn is_in_place(&self) -> bool {
        self.inner.shared.handle.is_in_place()
    }

    /// Commits what is queued and held, stops the writer and closes the database.
    pub fn close(&self) {
        self.inner.writer.stop();
        self.inner.shared.handle.close();
    }
}
