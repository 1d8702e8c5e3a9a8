//! From a group of changes to one durable step: apply them, journal what they did, make it visible, answer.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use redb::{Database, Durability, WriteTransaction};

use crate::domain::query::SessionKey;
use crate::domain::time::Timestamp;

use super::journal::{Batch, Journal};
use super::queue::{Pending, Queue, Urgency};
use super::schema;
use super::touches::SessionTouches;
use super::{Shared, StoreError, Transaction, WriteError};

/// Pause between tries to open the database again.
const HEAL_EVERY: Duration = Duration::from_millis(200);
/// A group of changes is tried so often before it is given up.
const MAX_TRIES: usize = 3;

/// Commits groups of changes; lives in the writer thread.
pub struct Committer {
    queue: Arc<Queue>,
    shared: Arc<Shared>,
    /// In front of the database.
    pub journal: Journal,
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

impl Committer {
    pub(super) fn new(queue: Arc<Queue>, shared: Arc<Shared>, journal: Journal) -> Self {
        Self { queue, shared, journal }
    }

    /// Applies, makes durable and answers; where that fails, finds out whose fault it was and tries again without it.
    pub fn commit(&mut self, mut jobs: Vec<Pending>, all_touches: bool) {
        let mut failures = 0;
        loop {
            self.shared.pulse.beat();
            match self.attempt(&mut jobs, all_touches, failures > 0) {
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
                    if matches!(error, StoreError::Gone) {
                        self.shared.touches.postpone();
                        return self.give_up(jobs, || WriteError::Failed(error.to_string()));
                    }
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
                    failures += 1;
                    if failures == MAX_TRIES || (full && !found_room && !took_ingests) {
                        let reason = error.to_string();
                        self.shared.touches.postpone();
                        return self.give_up(jobs, || if full { WriteError::Full } else { WriteError::Failed(reason.clone()) });
                    }
                }
            }
        }
    }

    /// One transaction over all of `jobs`. `again` after a try that failed and may have taken hold all the same: then
    /// it is only durable once the database is.
    fn attempt(&mut self, jobs: &mut [Pending], all_touches: bool, again: bool) -> Result<(), Failure> {
        if !self.shared.handle.is_in_place() || !self.journal.is_in_place() {
            return Err(Failure::OfStore(StoreError::Gone));
        }
        if self.journal.is_full() {
            self.try_checkpoint()?;
        }
        let database = self.shared.handle.get()?;
        let mut txn = database.begin_write()?;
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
        let carried = self.carry_touches(&mut tx, all_touches)?;
        let (head, beaten, batch) = (tx.head, std::mem::take(&mut tx.beaten), tx.take_changes());
        let must_be_direct = again || tx.is_direct;
        if !tx.changed && !again {
            drop(tx);
            txn.abort()?;
            self.shared.touches.settle(&carried);
            return Ok(());
        }
        if !must_be_direct && self.journal.append(&batch)? {
            // Durable, whatever happens from here on. Now readers may see it, and the database may write it when it likes.
            drop(tx);
            if let Err(error) = show(txn) {
                tracing::error!(%error, "the database failed behind its journal");
                drop(database);
                self.heal();
            }
        } else {
            tx.set_journal_applied(self.journal.number())?;
            drop(tx);
            txn.set_quick_repair(true);
            txn.commit()?;
            self.journal.reset();
        }
        let at = u64::try_from(self.shared.clock.monotonic().as_millis()).unwrap_or(u64::MAX);
        self.shared.last_commit_ms.store(at.max(1), Ordering::Relaxed);
        self.shared.touches.settle(&carried);
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

    /// Makes the database durable, so that the journal's room is free again. Says whether it is.
    pub fn checkpoint(&mut self) -> bool {
        if self.journal.is_empty() {
            return true;
        }
        let done = self.try_checkpoint();
        let is_done = done.is_ok();
        if let Err(error) = done {
            tracing::error!(%error, "the database cannot be committed; the journal still holds what it lacks");
            if error.is_disk_full() {
                self.shared.reserve.release();
            }
            if error.needs_reopening() {
                self.heal();
            }
        }
        is_done
    }

    fn try_checkpoint(&mut self) -> Result<(), StoreError> {
        let database = self.shared.handle.get()?;
        let mut txn = database.begin_write()?;
        let mut tx = Transaction::new(&txn, self.shared.clock.now())?;
        tx.set_journal_applied(self.journal.number())?;
        drop(tx);
        txn.set_quick_repair(true);
        txn.commit()?;
        self.journal.reset();
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

    /// Opens the database again and catches up with the journal, for as long as it takes or until the daemon stops.
    pub fn heal(&mut self) {
        let mut told = false;
        loop {
            self.shared.pulse.beat();
            let (shared, journal) = (&self.shared, &mut self.journal);
            let healed = shared.handle.reopen(|database| {
                if !journal.is_of(&schema::prepare(database, shared.clock.now())?.0.uuid) {
                    return Err(StoreError::Gone);
                }
                let unapplied = journal.read(schema::journal_applied(database)?)?;
                catch_up(database, &unapplied.batch, shared.clock.now())
            });
            match healed {
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
                self.queue.lock().put_back_lazy(pending.job);
            } else {
                pending.job.finish(Err(error()));
            }
        }
    }
}

/// Makes changes visible that are durable already.
fn show(mut txn: WriteTransaction) -> Result<(), StoreError> {
    txn.set_durability(Durability::None)?;
    Ok(txn.commit()?)
}

/// Makes the changes in `batch`, which the journal holds and `database` does not.
pub fn catch_up(database: &Database, batch: &Batch, now: Timestamp) -> Result<(), StoreError> {
    let txn = database.begin_write()?;
    let mut tx = Transaction::new(&txn, now)?;
    tx.make(batch)?;
    drop(tx);
    show(txn)
}
