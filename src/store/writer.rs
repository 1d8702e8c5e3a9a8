//! The writer thread's other end: changes go in, answers come out.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::journal::Journal;
use super::queue::{Asked, Lazy, Queue, Urgency};
use super::worker::Worker;
use super::{Shared, StoreError, Transaction, WriteError};

/// Ingests that may wait before a further one is told to come later.
const MAX_WAITING_INGESTS: usize = 1024;
/// While the database is being healed, an ingest waits so long before it is told to come later …
const INGEST_PATIENCE: Duration = Duration::from_secs(2);
/// … and anything else so long before it fails: a hook gives up after 5 s.
const URGENT_PATIENCE: Duration = Duration::from_secs(4);

/// The writer thread's other end.
pub struct Writer {
    queue: Arc<Queue>,
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    pub(super) fn start(shared: Arc<Shared>, journal: Journal) -> Result<Self, StoreError> {
        let queue = Arc::new(Queue::default());
        let worker = Worker::new(Arc::clone(&queue), Arc::clone(&shared), journal);
        let thread = std::thread::Builder::new().name("store-writer".into()).spawn(move || {
            // Without its writer the daemon would keep clients waiting for good; systemd starts it anew.
            if catch_unwind(AssertUnwindSafe(|| worker.run())).is_err() {
                std::process::abort();
            }
        })?;
        Ok(Self { queue, shared, thread: Mutex::new(Some(thread)) })
    }

    pub async fn submit<T, F>(&self, urgency: Urgency, change: F) -> Result<T, WriteError>
    where
        T: Send + 'static,
        F: FnMut(&mut Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let mut answer = self.push(urgency, change)?;
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
