//! The log: records are made where things happen, queued, and written by a thread of their own,
//! so that a stalled terminal or journal never stalls a request.

mod record;
mod sink;

use std::io::IsTerminal as _;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::mpsc::{self, SyncSender, TrySendError};
use std::thread::JoinHandle;
use std::time::Duration;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, Registry};

use record::Record;
use sink::Sink;

/// Records that may wait to be written; further ones are dropped and counted.
const QUEUE: usize = 4096;
/// How long the end of the daemon waits for the last records.
const FLUSH_WITHIN: Duration = Duration::from_secs(2);

/// Records that were dropped since the start.
static LOST: AtomicU64 = AtomicU64::new(0);

/// The least severe level that is kept, as its place in [`LEVELS`].
static LEVEL: AtomicU8 = AtomicU8::new(2);
const LEVELS: [Level; 5] = [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE];

/// Where the log goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// systemd's journal.
    Journald,
    /// JSON lines on standard output.
    Json,
    /// Readable lines on standard output.
    Text,
}

impl Format {
    /// The journal where standard output leads there (as systemd arranges it, which `JOURNAL_STREAM` then names
    /// by device and inode), text on a terminal, JSON otherwise.
    fn suitable() -> Self {
        let stdout = rustix::fs::fstat(std::io::stdout()).map(|file| format!("{}:{}", file.st_dev, file.st_ino));
        let journal = std::env::var("JOURNAL_STREAM");
        if stdout.is_ok_and(|stdout| journal.is_ok_and(|journal| journal == stdout)) {
            Self::Journald
        } else if std::io::stdout().is_terminal() {
            Self::Text
        } else {
            Self::Json
        }
    }
}

/// How many records were lost because the log could not be written fast enough.
pub fn lost_records() -> u64 {
    LOST.load(Ordering::Relaxed)
}

/// Keeps records of `level` and more severe ones from now on.
pub fn set_level(level: Level) {
    let place = LEVELS.iter().position(|known| *known == level).unwrap_or_default();
    LEVEL.store(u8::try_from(place).unwrap_or_default(), Ordering::Relaxed);
    // What each place of the code was told when it first had something to say.
    tracing::callsite::rebuild_interest_cache();
}

fn level() -> Level {
    LEVELS[usize::from(LEVEL.load(Ordering::Relaxed))]
}

/// Keeps the log going; write what is queued by [`Log::finish`].
pub struct Log {
    queue: Queue,
    thread: JoinHandle<()>,
    done: mpsc::Receiver<()>,
}

#[derive(Clone)]
struct Queue(SyncSender<Message>);

enum Message {
    Record(Record),
    Finish,
}

/// Starts the log for the whole process, in `format` or else in a suitable one.
///
/// # Errors
/// A sentence, where the journal is not there or a log was started before.
pub fn start(level: Level, format: Option<Format>) -> Result<Log, String> {
    let mut sink = match format {
        Some(format) => Sink::open(format)?,
        None => Sink::open(Format::suitable()).or_else(|_| Sink::open(Format::Json))?,
    };
    let (sender, receiver) = mpsc::sync_channel(QUEUE);
    let (finished, done) = mpsc::channel();
    let write = move || {
        let mut told = 0;
        for message in receiver {
            let Message::Record(record) = message else { break };
            sink.write(&record);
            let lost = lost_records();
            if lost > told {
                sink.write(&Record::of_loss(lost - told));
                told = lost;
            }
        }
        let _ = finished.send(());
    };
    let thread = std::thread::Builder::new().name("log".into()).spawn(write);
    let thread = thread.map_err(|error| format!("The log cannot be started: {error}."))?;
    let queue = Queue(sender);
    set_level(level);
    let registry = Registry::default().with(Recorder { queue: queue.clone() });
    registry.try_init().map_err(|error| format!("The log cannot be started: {error}."))?;
    Ok(Log { queue, thread, done })
}

impl Log {
    /// Writes what is queued, unless the sink is stalled.
    pub fn finish(self) {
        if self.queue.0.try_send(Message::Finish).is_ok() && self.done.recv_timeout(FLUSH_WITHIN).is_ok() {
            let _ = self.thread.join();
        }
    }
}

/// Makes records of events.
struct Recorder {
    queue: Queue,
}

impl<S: Subscriber> Layer<S> for Recorder {
    fn enabled(&self, metadata: &tracing::Metadata<'_>, _: Context<'_, S>) -> bool {
        // Libraries speak only of what goes wrong.
        let is_own = metadata.target().starts_with("session_store") || metadata.target() == "access";
        *metadata.level() <= if is_own { level() } else { level().min(Level::WARN) }
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        match self.queue.0.try_send(Message::Record(Record::of_event(event))) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            Err(TrySendError::Full(_)) => {
                LOST.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}
