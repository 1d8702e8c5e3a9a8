//! The use cases, one file each. They know the store and the files, and nothing of HTTP.

mod activity;
pub mod backup;
pub mod beaten;
pub mod catalogue;
pub mod central;
pub mod changes;
pub mod enrichment;
pub mod export;
pub mod frames;
pub mod health;
pub mod holds;
pub mod hooks;
pub mod import;
pub mod ingest;
pub mod intake;
pub mod ledger;
mod line;
pub mod migrate;
pub mod orphans;
pub mod pairing;
mod placing;
pub mod rebuild;
pub mod recordings;
pub mod repair;
pub mod restore;
pub mod retention;
pub mod sessions;
pub mod sidecars;
mod spool;
pub mod summary;
pub mod tracks;
pub mod verify;
pub mod whole;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use crate::domain::record_path::RecordPath;
use crate::domain::retention::Policy;
use crate::domain::time::Timestamp;
use crate::domain::zone::Zone;
use crate::media::frames::FramesFolder;
use crate::media::tracks::TracksFolder;
use crate::runtime::clock::Clock;
use crate::store::{FeedError, Snapshot, Store, StoreError, Transaction, Urgency, WriteError, guarded};

use activity::Activity;
use intake::Turn;
use ledger::RecordingsState;
use pairing::PairingState;

/// While the store is being opened or healed, an ingest waits so long …
const INGEST_PATIENCE: Duration = Duration::from_secs(2);
/// … and anything else so long: a hook gives up after 5 s.
const PATIENCE: Duration = Duration::from_secs(4);
/// How often a reader looks whether the database has been healed.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What the use cases need to know of the configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `[playback] start_offset_ms`.
    pub start_offset_ms: i32,
    /// `[mediamtx] segment_duration_sec`.
    pub segment_duration_sec: u32,
    /// `[mediamtx] preroll_sec`.
    pub preroll: Duration,
    /// Whether a central database is configured.
    pub has_central_database: bool,
    /// `[sync] re_enrich`: whether a better picture is to be looked at anew.
    pub re_enrich: bool,
    /// Whether there is a sync, which must know of attributes that are changed here.
    pub syncs: bool,
    /// `[frames] sidecar_delay_sec`.
    pub sidecar_delay: Duration,
    /// `[mediamtx] record_path`.
    pub record_paths: Vec<RecordPath>,
    /// `[mediamtx] time_zone`, or the system's.
    pub zone: Zone,
    /// `[mediamtx] settle_ms`.
    pub settle: Duration,
    /// `[mediamtx] playback_base_url`.
    pub playback_base_url: String,
    /// `[playback] extra_seconds`.
    pub extra: Duration,
    /// `[sessions] idle_close_sec`; `None` is never.
    pub idle_close: Option<Duration>,
    /// `[retention]`.
    pub retention: Arc<Policy>,
}

/// The use cases. Cheap to clone.
#[derive(Clone)]
pub struct Service {
    inner: Arc<Inner>,
}

struct Inner {
    /// As they were at the start …
    settings: Settings,
    /// … and as they are now, where they may change while the daemon runs.
    live: RwLock<Arc<Settings>>,
    /// Told when they change: retention need not wait for its next look.
    changed: Notify,
    clock: Arc<dyn Clock>,
    frames: FramesFolder,
    tracks: TracksFolder,
    /// None until the store is open.
    store: watch::Sender<Option<Store>>,
    pairing: PairingState,
    activity: Activity,
    intake: Turn,
    recordings: RecordingsState,
    /// Fires when the daemon stops, so that nobody goes on waiting.
    stopping: watch::Sender<bool>,
    /// How the sync is, where there is one.
    central: watch::Sender<Option<central::Central>>,
    /// How retention is.
    retention: watch::Sender<retention::Retention>,
    /// Held while a plan of retention is made.
    planning: Mutex<()>,
    /// Deleted sessions whose folders could not be deleted.
    stuck_folders: AtomicUsize,
    /// Less room is free than retention should keep: files are deleted at once.
    is_room_short: AtomicBool,
}

/// Why a use case did not succeed. Nothing was changed.
#[derive(Debug)]
pub enum ServiceError {
    /// What was asked for is not there; the sentence for the client.
    NotFound(&'static str),
    /// More is asked for than one answer can hold; the sentence for the client.
    TooMuch(&'static str),
    /// What the client saw is not so any more; the sentence for it.
    Conflict(&'static str),
    /// What is too large, and the limit in bytes.
    TooLarge(&'static str, usize),
    /// Come again.
    Busy,
    /// The disk is full.
    Full,
    /// The reader's place is not in the feed.
    Restarted,
    /// The database answers nothing more until it is opened again; the detail is for the log alone.
    Ill(String),
    /// The database holds what cannot be right; the detail is for the log alone.
    Damaged(String),
    /// Our fault; the detail is for the log alone.
    Failed(String),
}

impl fmt::Display for ServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound(sentence) | Self::TooMuch(sentence) | Self::Conflict(sentence) => f.write_str(sentence),
            Self::TooLarge(what, limit) => write!(f, "{what} would be larger than {limit} bytes"),
            Self::Busy => f.write_str("too many requests wait"),
            Self::Full => f.write_str("the disk is full"),
            Self::Restarted => f.write_str("the feed was restarted"),
            Self::Ill(detail) | Self::Damaged(detail) | Self::Failed(detail) => f.write_str(detail),
        }
    }
}

impl std::error::Error for ServiceError {}

impl From<StoreError> for ServiceError {
    fn from(error: StoreError) -> Self {
        match error.to_string() {
            detail if error.needs_reopening() => Self::Ill(detail),
            detail if error.is_damage() => Self::Damaged(detail),
            detail => Self::Failed(detail),
        }
    }
}

impl From<FeedError> for ServiceError {
    fn from(error: FeedError) -> Self {
        match error {
            FeedError::Restarted => Self::Restarted,
            FeedError::Store(error) => error.into(),
        }
    }
}

impl From<WriteError> for ServiceError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Busy => Self::Busy,
            WriteError::Full => Self::Full,
            WriteError::Failed(detail) => Self::Failed(detail),
        }
    }
}

impl From<std::io::Error> for ServiceError {
    fn from(error: std::io::Error) -> Self {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        if matches!(error.kind(), StorageFull | QuotaExceeded) { Self::Full } else { Self::Failed(error.to_string()) }
    }
}

impl Service {
    /// The use cases over a store that is yet to be given by [`Service::attach`].
    pub fn new(settings: Settings, frames: FramesFolder, tracks: TracksFolder, clock: Arc<dyn Clock>) -> Self {
        Self {
            inner: Arc::new(Inner {
                live: RwLock::new(Arc::new(settings.clone())),
                changed: Notify::new(),
                settings,
                clock,
                frames,
                tracks,
                store: watch::Sender::new(None),
                pairing: PairingState::default(),
                activity: Activity::default(),
                intake: Turn::default(),
                recordings: RecordingsState::default(),
                stopping: watch::Sender::new(false),
                central: watch::Sender::new(None),
                retention: watch::Sender::new(retention::Retention::default()),
                planning: Mutex::new(()),
                stuck_folders: AtomicUsize::new(0),
                is_room_short: AtomicBool::new(false),
            }),
        }
    }

    /// The settings of this moment: those of `config::live` may be others than at the start.
    fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.inner.live.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lets `settings` hold from now on.
    pub fn change(&self, settings: Settings) {
        *self.inner.live.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
        self.inner.changed.notify_one();
    }

    /// Gives the open store; requests that waited for it go on.
    pub fn attach(&self, store: Store) {
        self.inner.store.send_replace(Some(store));
    }

    /// Ends all waiting: long polls answer what they have.
    pub fn stop_waiting(&self) {
        self.inner.stopping.send_replace(true);
    }

    /// The time of day.
    pub fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    /// The store, where it is open.
    pub fn opened(&self) -> Option<Store> {
        self.inner.store.borrow().clone()
    }

    async fn store(&self, urgency: Urgency) -> Result<Store, ServiceError> {
        if let Some(store) = self.opened() {
            return Ok(store);
        }
        let mut opening = self.inner.store.subscribe();
        let patience = if urgency == Urgency::Ingest { INGEST_PATIENCE } else { PATIENCE };
        let opened = tokio::time::timeout(patience, opening.wait_for(Option::is_some)).await;
        match opened {
            Ok(Ok(store)) => store.clone().ok_or_else(|| ServiceError::Failed("the store is not open".into())),
            _ if urgency == Urgency::Ingest => Err(ServiceError::Busy),
            _ => Err(ServiceError::Failed("the store is still being opened".into())),
        }
    }

    /// Runs `work` over a snapshot, on a thread that may block: taking a snapshot alone may wait for a commit's
    /// sync. While the database is being healed it is waited for.
    async fn look<T, F>(&self, urgency: Urgency, work: F) -> Result<T, ServiceError>
    where
        T: Send + 'static,
        F: FnOnce(&Store, &Snapshot) -> Result<T, ServiceError> + Send + 'static,
    {
        let store = self.store(urgency).await?;
        let patience = if urgency == Urgency::Ingest { INGEST_PATIENCE } else { PATIENCE };
        let deadline = tokio::time::Instant::now() + patience;
        let mut work = work;
        loop {
            let reading = store.clone();
            let looked = blocking(move || {
                Ok(match guarded(|| reading.read()) {
                    Ok(snapshot) => Ok(guarded(|| work(&reading, &snapshot))),
                    Err(error) => Err((error, work)),
                })
            });
            let error = match looked.await? {
                Ok(answer) => {
                    match &answer {
                        Err(ServiceError::Ill(_)) => store.heal(),
                        Err(ServiceError::Damaged(what)) => store.note_damage(what),
                        _ => {}
                    }
                    return answer;
                }
                Err((error, unused)) => {
                    work = unused;
                    error
                }
            };
            if error.needs_reopening() {
                store.heal();
            } else if !matches!(error, StoreError::Unavailable) {
                if error.is_damage() {
                    store.note_damage(&error.to_string());
                }
                return Err(error.into());
            }
            if tokio::time::Instant::now() >= deadline {
                return Err(if urgency == Urgency::Ingest { ServiceError::Busy } else { error.into() });
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// [`Service::look`] for a question.
    async fn read<T, F>(&self, question: F) -> Result<T, ServiceError>
    where
        T: Send + 'static,
        F: FnOnce(&Snapshot) -> Result<T, ServiceError> + Send + 'static,
    {
        self.look(Urgency::Urgent, move |_, snapshot| question(snapshot)).await
    }

    async fn write<T, F>(&self, change: F) -> Result<T, ServiceError>
    where
        T: Send + 'static,
        F: FnMut(&mut Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        Ok(self.store(Urgency::Urgent).await?.write(change).await?)
    }
}

/// Runs `work` on a thread that may block.
async fn blocking<T, F>(work: F) -> Result<T, ServiceError>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, ServiceError> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(ServiceError::Failed(format!("a task ended early: {error}"))),
    }
}
