//! What waits for the writer thread.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::oneshot;

use super::{StoreError, Transaction, WriteError};

/// How a change is queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// May be told to come later when the queue is full: its client tries again.
    Ingest,
    /// Always finds room: its client never tries again.
    Urgent,
}

/// A change with the way to answer it.
pub(super) trait Job: Send {
    fn apply(&mut self, tx: &mut Transaction<'_>) -> Result<(), StoreError>;
    fn finish(self: Box<Self>, outcome: Result<(), WriteError>);
}

pub(super) struct Asked<T, F> {
    pub change: F,
    pub result: Option<T>,
    pub reply: oneshot::Sender<Result<T, WriteError>>,
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

/// A change that nobody waits for.
pub(super) struct Lazy<F>(pub F);

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

/// A change that was taken to be committed.
pub(super) struct Pending {
    pub urgency: Urgency,
    pub is_lazy: bool,
    pub job: Box<dyn Job>,
}

impl Pending {
    /// A change that nobody waits for.
    pub fn lazy<F>(change: F) -> Self
    where
        F: FnMut(&mut Transaction<'_>) -> Result<(), StoreError> + Send + 'static,
    {
        Self { urgency: Urgency::Urgent, is_lazy: false, job: Box::new(Lazy(change)) }
    }
}

#[derive(Default)]
pub(super) struct Waiting {
    pub urgent: VecDeque<Box<dyn Job>>,
    pub ingest: VecDeque<Box<dyn Job>>,
    pub lazy: Vec<Box<dyn Job>>,
    pub lazy_since: Option<Instant>,
    /// A reader met an error after which redb answers nothing more.
    pub is_ill: bool,
    pub stopping: bool,
}

#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    pub news: Condvar,
}

impl Queue {
    pub fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// All that is urgent or lazy, and at most `ingests` ingests.
    pub fn take(&mut self, ingests: usize) -> Vec<Pending> {
        let mut jobs: Vec<_> =
            self.urgent.drain(..).map(|job| Pending { urgency: Urgency::Urgent, is_lazy: false, job }).collect();
        jobs.extend(self.take_lazy());
        let ingests = self.ingest.len().min(ingests);
        jobs.extend(self.ingest.drain(..ingests).map(|job| Pending { urgency: Urgency::Ingest, is_lazy: false, job }));
        jobs
    }

    /// What may wait.
    pub fn take_lazy(&mut self) -> Vec<Pending> {
        self.lazy_since = None;
        self.lazy.drain(..).map(|job| Pending { urgency: Urgency::Urgent, is_lazy: true, job }).collect()
    }

    /// Puts back what may wait.
    pub fn put_back_lazy(&mut self, job: Box<dyn Job>) {
        self.lazy.push(job);
        self.lazy_since.get_or_insert_with(Instant::now);
    }
}
