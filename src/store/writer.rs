//! One thread writes: it takes all changes that wait, applies them in one transaction, commits
//! once and answers them all.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::touches::SessionTouches;
use super::{Shared, StoreError, Transaction, WriteError};
use crate::domain::query::SessionKey;

/// Ingests that may wait before a further one is told to come later.
const MAX_WAITING_INGESTS: usize = 1024;
/// Ingests taken into one transaction.
const MAX_BATCH: usize = 256;
/// Ingests wait no longer than this for others that are on their way.
const MAX_GATHER: Duration = Duration::from_millis(10);
/// How long a lazy change may wait for another commit to ride along with.
const LAZY_WITHIN: Duration = Duration::from_secs(5);
/// How often the reserve is looked after, and how often while it is missing.
const UPKEEP_EVERY: Duration = Duration::from_secs(10);
const UPKEEP_WHILE_FULL_EVERY: Duration = Duration::from_millis(500);
/// How often old tombstones are looked for, and how many are dropped in one commit.
const TOMBSTONES_EVERY: Duration = Duration::from_secs(3600);
const TOMBSTONES_AT_ONCE: usize = 1000;
/// While the database is being healed, an ingest waits so long before it is told to come later …
const INGEST_PATIENCE: Duration = Duration::from_secs(2);
/// … and anything else so long before it fails: a hook gives up after 5 s.
const URGENT_PATIENCE: Duration = Duration::from_secs(4);
/// Pause between tries to open the database again.
const HEAL_EVERY: Duration = Duration::from_millis(200);

/// How a change is queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// May be told to come later when the queue is full: its client tries again.
    Ingest,
    /// Always finds room: its client never tries again.
    Urgent,
}

/// A change with the way to answer it.
trait Job: Send {
    fn apply(&mut self, tx: &mut Transaction<'_>) -> Result<(), StoreError>;
    fn finish(self: Box<Self>, outcome: Result<(), WriteError>);
}

struct Asked<T, F> {
    change: F,
    result: Option<T>,
    reply: oneshot::Sender<Result<T, WriteError>>,
}

impl<T, F> Job for Asked<T, F>
where
    T: Send,
    F: FnMut(&mut Transaction<'_>) -> Result<T, StoreError> + Send,
{
    fn apply(&mut self, tx: &mut Transaction<'_>) -> Result<(), StoreError> {
        self.result = Some((self.change)(tx)?);
        Ok(())
    }

    fn finish(self: Box<Self>, outcome: Result<(), WriteError>) {
        let Self { result, reply, .. } = *self;
        let answer = outcome.and_then(|()| result.ok_or_else(|| WriteError::Failed("the change was not applied".into())));
        // The one who asked may be gone; the change is made all the same.
        let _ = reply.send(answer);
    }
}

struct Lazy<F>(F);

impl<F: FnMut(&mut Transaction<'_>) -> Result<(), StoreError> + Send> Job for Lazy<F> {
    fn apply(&mut self, tx: &mut Transaction<'_>) -> Result<(), StoreError> {
        (self.0)(tx)
    }

    fn finish(self: Box<Self>, outcome: Result<(), WriteError>) {
        if let Err(error) = outcome {
            tracing::warn!(%error, "a deferred change was not made");
        }
    }
}

struct Pending {
    urgency: Urgency,
    is_lazy: bool,
    job: Box<dyn Job>,
}

#[derive(Default)]
struct Waiting {
    urgent: VecDeque<Box<dyn Job>>,
    ingest: VecDeque<Box<dyn Job>>,
    lazy: Vec<Box<dyn Job>>,
    lazy_since: Option<Instant>,
    /// A reader met an error after which redb answers nothing more.
    is_ill: bool,
    stopping: bool,
}

#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    news: Condvar,
    /// Ingests that are writing their frames and will be in the queue in a moment.
    announced: AtomicUsize,
}

/// Says that an ingest is about to come, until it is dropped.
pub struct Announcement(Arc<Queue>);

impl Drop for Announcement {
    fn drop(&mut self) {
        if self.0.announced.fetch_sub(1, Ordering::Relaxed) == 1 {
            let _waiting = self.0.lock();
            self.0.news.notify_one();
        }
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The writer thread's other end.
pub struct Writer {
    queue: Arc<Queue>,
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    pub(super) fn start(shared: Arc<Shared>) -> Result<Self, StoreError> {
        let queue = Arc::new(Queue::default());
        let worker = Worker { queue: Arc::clone(&queue), shared: Arc::clone(&shared) };
        let thread = std::thread::Builder::new().name("store-writer".into()).spawn(move || {
            // Without its writer the daemon would keep clients waiting for good; systemd starts it anew.
            if catch_unwind(AssertUnwindSafe(|| worker.run())).is_err() {
                std::process::abort();
            }
        })?;
        Ok(Self { queue, shared, thread: Mutex::new(Some(thread)) })
    }

    pub async fn submit<T, F>(&self, urgency: Urgency, announced: Option<Announcement>, change: F) -> Result<T, WriteError>
    where
        T: Send + 'static,
        F: FnMut(&mut Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let mut answer = self.push(urgency, change)?;
        drop(announced);
        let patience = if urgency == Urgency::Ingest { INGEST_PATIENCE } else { URGENT_PATIENCE };
        loop {
            match tokio::time::timeout(patience, &mut answer).await {
                Ok(answer) => return answer.unwrap_or_else(|_| Err(stopped())),
                // A slow disk is waited for; a database that cannot be opened is not.
                Err(_) if self.shared.handle.is_open() => {}
                Err(_) if urgency == Urgency::Ingest => return Err(WriteError::Busy),
                Err(_) => return Err(WriteError::Failed(StoreError::Unavailable.to_string())),
            }
        }
    }

    pub fn submit_blocking<T, F>(&self, change: F) -> Result<T, WriteError>
    where
        T: Send + 'static,
        F: FnMut(&mut Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.push(Urgency::Urgent, change)?.blocking_recv().unwrap_or_else(|_| Err(stopped()))
    }

    fn push<T, F>(&self, urgency: Urgency, change: F) -> Result<oneshot::Receiver<Result<T, WriteError>>, WriteError>
    where
        T: Send + 'static,
        F: FnMut(&mut Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = Box::new(Asked { change, result: None, reply });
        let mut waiting = self.queue.lock();
        if waiting.stopping {
            return Err(stopped());
        }
        match urgency {
            Urgency::Urgent => waiting.urgent.push_back(job),
            Urgency::Ingest if waiting.ingest.len() >= MAX_WAITING_INGESTS => return Err(WriteError::Busy),
            Urgency::Ingest => waiting.ingest.push_back(job),
        }
        drop(waiting);
        self.queue.news.notify_one();
        Ok(answer)
    }

    pub fn submit_lazy<F>(&self, change: F)
    where
        F: FnMut(&mut Transaction<'_>) -> Result<(), StoreError> + Send + 'static,
    {
        let mut waiting = self.queue.lock();
        waiting.lazy.push(Box::new(Lazy(change)));
        if waiting.lazy_since.is_none() {
            waiting.lazy_since = Some(Instant::now());
            self.queue.news.notify_one();
        }
    }

    pub fn announce(&self) -> Announcement {
        self.queue.announced.fetch_add(1, Ordering::Relaxed);
        Announcement(Arc::clone(&self.queue))
    }

    /// Makes the thread look at the touches again.
    pub fn wake(&self) {
        let _waiting = self.queue.lock();
        self.queue.news.notify_one();
    }

    /// Has the database opened again, as after a failed commit.
    pub fn heal(&self) {
        self.queue.lock().is_ill = true;
        self.queue.news.notify_one();
    }

    pub fn depth(&self) -> usize {
        let waiting = self.queue.lock();
        waiting.urgent.len() + waiting.ingest.len()
    }

    /// Commits what waits and is held, and ends the thread. Later changes fail.
    pub fn stop(&self) {
        self.queue.lock().stopping = true;
        self.queue.news.notify_one();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the writer thread panicked");
        }
    }
}

fn stopped() -> WriteError {
    WriteError::Failed("the store is stopping".into())
}

struct Worker {
    queue: Arc<Queue>,
    shared: Arc<Shared>,
}

enum Round {
    Heal,
    Commit { jobs: Vec<Pending>, all_touches: bool },
    Upkeep,
    Stop { lazy: Vec<Pending> },
}

/// Why an attempt failed: one job's doing, or everybody's misfortune.
enum Failure {
    OfJob(usize, StoreError),
    OfStore(StoreError),
}

impl<E: Into<StoreError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::OfStore(error.into())
    }
}

impl Worker {
    fn run(self) {
        self.shared.reserve.renew();
        let mut upkeep = Instant::now() + UPKEEP_EVERY;
        let mut tombstones = Instant::now();
        let mut gather = Duration::ZERO;
        loop {
            if Instant::now() >= tombstones {
                tombstones = Instant::now() + TOMBSTONES_EVERY;
                self.drop_tombstones();
            }
            match self.next(upkeep.min(tombstones), gather) {
                Round::Commit { jobs, all_touches } => {
                    let begun = Instant::now();
                    self.commit(jobs, all_touches);
                    // A commit that is shared is one that is saved: waiting pays for about as long as one takes.
                    gather = begun.elapsed().min(MAX_GATHER);
                }
                Round::Stop { lazy } => return self.commit(lazy, true),
                Round::Heal => self.heal(),
                Round::Upkeep => {}
            }
            if Instant::now() >= upkeep {
                self.shared.reserve.renew();
                let full = self.shared.reserve.is_missing();
                upkeep = Instant::now() + if full { UPKEEP_WHILE_FULL_EVERY } else { UPKEEP_EVERY };
            }
        }
    }

    /// Waits for something to do. `gather` is how long ingests wait for others that are announced.
    fn next(&self, upkeep: Instant, gather: Duration) -> Round {
        let mut waiting = self.queue.lock();
        let mut gathering = None;
        loop {
            let now = Instant::now();
            let is_alone = waiting.urgent.is_empty() && !waiting.ingest.is_empty() && waiting.ingest.len() < MAX_BATCH;
            if is_alone && self.queue.announced.load(Ordering::Relaxed) > 0 {
                let until = *gathering.get_or_insert(now + gather);
                if now < until {
                    waiting = self.queue.news.wait_timeout(waiting, until - now).unwrap_or_else(PoisonError::into_inner).0;
                    continue;
                }
            }
            if std::mem::take(&mut waiting.is_ill) {
                return Round::Heal;
            }
            let touches_due = self.shared.touches.due();
            let lazy_due = waiting.lazy_since.map(|since| since + LAZY_WITHIN);
            let is_due = |due: Option<Instant>| due.is_some_and(|due| due <= now);
            let asked = !waiting.urgent.is_empty() || !waiting.ingest.is_empty();
            if asked || is_due(touches_due) || is_due(lazy_due) {
                let mut jobs: Vec<_> =
                    waiting.urgent.drain(..).map(|job| Pending { urgency: Urgency::Urgent, is_lazy: false, job }).collect();
                jobs.extend(take_lazy(&mut waiting));
                let ingests = waiting.ingest.len().min(MAX_BATCH);
                jobs.extend(waiting.ingest.drain(..ingests).map(|job| Pending { urgency: Urgency::Ingest, is_lazy: false, job }));
                return Round::Commit { jobs, all_touches: is_due(touches_due) };
            }
            if waiting.stopping {
                return Round::Stop { lazy: take_lazy(&mut waiting) };
            }
            if upkeep <= now {
                return Round::Upkeep;
            }
            let until = [touches_due, lazy_due].into_iter().flatten().fold(upkeep, Instant::min);
            waiting = self.queue.news.wait_timeout(waiting, until - now).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Applies, commits and answers; where that fails, finds out whose fault it was and tries again without it.
    fn commit(&self, mut jobs: Vec<Pending>, all_touches: bool) {
        let mut healed = 0;
        loop {
            match self.attempt(&mut jobs, all_touches, healed > 0) {
                Ok(()) => {
                    for pending in jobs {
                        pending.job.finish(Ok(()));
                    }
                    return;
                }
                Err(Failure::OfJob(index, error)) => {
                    tracing::error!(%error, "a change cannot be made");
                    jobs.remove(index).job.finish(Err(WriteError::Failed(error.to_string())));
                }
                Err(Failure::OfStore(error)) => {
                    tracing::error!(%error, "a commit failed");
                    let full = error.is_disk_full();
                    let mut took_ingests = false;
                    if full {
                        // What is left may use the reserve.
                        let (ingests, others): (Vec<_>, Vec<_>) =
                            jobs.into_iter().partition(|pending| pending.urgency == Urgency::Ingest);
                        took_ingests = !ingests.is_empty();
                        self.give_up(ingests, || WriteError::Full);
                        jobs = others;
                    }
                    let found_room = full && self.shared.reserve.release();
                    if error.needs_reopening() {
                        self.heal();
                    }
                    healed += 1;
                    if healed > 2 || (full && !found_room && !took_ingests) {
                        let reason = error.to_string();
                        self.shared.touches.postpone();
                        return self.give_up(jobs, || if full { WriteError::Full } else { WriteError::Failed(reason.clone()) });
                    }
                }
            }
        }
    }

    /// One transaction over all of `jobs`. `again` after a commit that failed and may have taken hold all the
    /// same: then it is only durable once a further one is.
    fn attempt(&self, jobs: &mut [Pending], all_touches: bool, again: bool) -> Result<(), Failure> {
        let database = self.shared.handle.get()?;
        let mut txn = database.begin_write()?;
        txn.set_quick_repair(true);
        let mut tx = Transaction::new(&txn, self.shared.clock.now())?;
        let before = tx.head;
        for (index, pending) in jobs.iter_mut().enumerate() {
            match catch_unwind(AssertUnwindSafe(|| pending.job.apply(&mut tx))) {
                Ok(Ok(())) => {}
                Ok(Err(error)) if error.needs_reopening() || error.is_disk_full() => return Err(Failure::OfStore(error)),
                Ok(Err(error)) => return Err(Failure::OfJob(index, error)),
                Err(_) => return Err(Failure::OfJob(index, StoreError::Record("a change panicked".into()))),
            }
        }
        let committed = self.carry_touches(&mut tx, all_touches)?;
        let (changed, head, beaten) = (tx.changed, tx.head, std::mem::take(&mut tx.beaten));
        drop(tx);
        if changed || again {
            txn.commit()?;
            let at = u64::try_from(self.shared.clock.monotonic().as_millis()).unwrap_or(u64::MAX);
            self.shared.last_commit_ms.store(at.max(1), Ordering::Relaxed);
        } else {
            txn.abort()?;
        }
        self.shared.touches.settle(&committed);
        if head != before {
            self.shared.head.send_replace(head);
        }
        if !beaten.0.is_empty() {
            let mut all = self.shared.beaten.lock().unwrap_or_else(PoisonError::into_inner);
            all.0.extend(beaten.0);
            all.1 += beaten.1;
            drop(all);
            self.shared.beaten_news.notify_one();
        }
        Ok(())
    }

    /// Applies the held touches of the sessions written to, or all of them.
    fn carry_touches(&self, tx: &mut Transaction<'_>, all: bool) -> Result<Vec<(SessionKey, Arc<SessionTouches>)>, StoreError> {
        let held = self.shared.touches.held();
        let mut carried = Vec::new();
        for (at, touches) in held.iter() {
            if all || tx.written.contains(at) {
                tx.apply_touches(*at, touches)?;
                carried.push((*at, Arc::clone(touches)));
            }
        }
        Ok(carried)
    }

    /// Opens the database again, for as long as it takes or until the daemon stops.
    fn heal(&self) {
        let mut told = false;
        loop {
            match self.shared.handle.reopen() {
                Ok(()) => return tracing::warn!("the database was opened again"),
                Err(error) if !told => tracing::error!(%error, "the database cannot be opened again; trying on"),
                Err(_) => {}
            }
            told = true;
            if self.queue.lock().stopping {
                return;
            }
            std::thread::sleep(HEAL_EVERY);
        }
    }

    /// Answers `jobs` with `error`; deferred ones wait for better times.
    fn give_up(&self, jobs: Vec<Pending>, error: impl Fn() -> WriteError) {
        for pending in jobs {
            if pending.is_lazy {
                let mut waiting = self.queue.lock();
                waiting.lazy.push(pending.job);
                waiting.lazy_since.get_or_insert_with(Instant::now);
            } else {
                pending.job.finish(Err(error()));
            }
        }
    }

    fn drop_tombstones(&self) {
        let age = i64::try_from(self.shared.tombstone_age.as_micros()).unwrap_or(i64::MAX);
        let before = self.shared.clock.now().plus_micros(-age);
        self.commit(
            vec![Pending {
                urgency: Urgency::Urgent,
                is_lazy: false,
                job: Box::new(Lazy(move |tx: &mut Transaction<'_>| {
                    while tx.drop_tombstones(before, TOMBSTONES_AT_ONCE)? == TOMBSTONES_AT_ONCE {}
                    Ok(())
                })),
            }],
            false,
        );
    }
}

fn take_lazy(waiting: &mut Waiting) -> Vec<Pending> {
    waiting.lazy_since = None;
    waiting.lazy.drain(..).map(|job| Pending { urgency: Urgency::Urgent, is_lazy: true, job }).collect()
}
