//! From a group of changes to one durable step: apply them, journal what they did, make it visible, answer.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use redb::{Database, Durability, WriteTransaction};

use crate::domain::query::SessionKey;
use crate::domain::time::Timestamp;

use super::damage::guarded;
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
            match guarded(|| self.attempt(&mut jobs, all_touches, failures > 0)) {
                Ok(()) => {
                    for pending in jobs {
                        pending.job.finish(Ok(()));
                    }
                    return;
                }
                Err(Failure::OfJob(index, error)) => {
                    self.note_damage(&error);
                    tracing::error!(%error, "a change cannot be made");
                    jobs.remove(index).job.finish(Err(WriteError::Failed(error.to_string())));
                }
                Err(Failure::OfStore(error)) => {
                    if error.is_read_only() {
                        return self.wait_for_writable(jobs);
                    }
                    tracing::error!(%error, "a commit failed");
                    self.note_damage(&error);
                    if matches!(error, StoreError::Gone) || error.is_damage() {
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
        let txn = database.begin_write()?;
        let mut tx = Transaction::new(&txn, self.shared.clock.now())?;
        let before = tx.head;
        for (index, pending) in jobs.iter_mut().enumerate() {
            match guarded(|| pending.job.apply(&mut tx)) {
                Ok(()) => {}
                Err(error) if error.needs_reopening() || error.is_disk_full() => return Err(Failure::OfStore(error)),
                Err(error) => return Err(Failure::OfJob(index, error)),
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
            self.make_durable(txn)?;
        }
        self.found_writable();
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
        let done = guarded(|| self.try_checkpoint());
        let is_done = done.is_ok();
        if let Err(error) = done {
            if error.is_read_only() {
                self.wait_for_writable(Vec::new());
                return false;
            }
            tracing::error!(%error, "the database cannot be committed; the journal still holds what it lacks");
            self.note_damage(&error);
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
        let txn = database.begin_write()?;
        let mut tx = Transaction::new(&txn, self.shared.clock.now())?;
        tx.set_journal_applied(self.journal.number())?;
        drop(tx);
        self.make_durable(txn)
    }

    /// Commits durably a transaction that notes [`Journal::number`], so that the journal's room is free again.
    fn make_durable(&mut self, mut txn: WriteTransaction) -> Result<(), StoreError> {
        self.shared.handle.try_writing()?;
        txn.set_quick_repair(true);
        txn.commit()?;
        self.journal.reset();
        Ok(())
    }

    /// The volume is read-only: nothing was changed, reads go on, and `jobs` fail.
    fn wait_for_writable(&self, jobs: Vec<Pending>) {
        if !self.shared.is_read_only.swap(true, Ordering::Relaxed) {
            tracing::error!("the database's volume is read-only: nothing is stored until it can be written again");
        }
        self.shared.touches.postpone();
        self.give_up(jobs, || WriteError::Failed("the database's volume is read-only".into()));
    }

    /// Looks whether a volume that was read-only can be written again.
    pub fn look_for_writable(&self) {
        if self.shared.is_read_only.load(Ordering::Relaxed) && self.shared.handle.try_writing().is_ok() {
            self.found_writable();
        }
    }

    fn found_writable(&self) {
        if self.shared.is_read_only.swap(false, Ordering::Relaxed) {
            tracing::warn!("the database's volume can be written again");
        }
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
            let catch_up = |database: &Database| {
                if !journal.is_of(&schema::prepare(database, shared.clock.now())?.0.uuid) {
                    return Err(StoreError::Gone);
                }
                let unapplied = journal.read(schema::journal_applied(database)?)?;
                catch_up(database, &unapplied.batch, shared.clock.now())
            };
            match guarded(|| shared.handle.reopen(catch_up)) {
                Ok(()) => {
                    shared.damage.set_closed(None);
                    return tracing::warn!("the database was opened again");
                }
                Err(error) if !told => {
                    tracing::error!(%error, "the database cannot be opened again; trying on");
                    shared.damage.set_closed(Some(shared.handle.sentence(&error)));
                }
                Err(_) => {}
            }
            told = true;
            if self.queue.lock().stopping {
                return;
            }
            std::thread::sleep(HEAL_EVERY);
        }
    }

    fn note_damage(&self, error: &StoreError) {
        if error.is_damage() {
            self.shared.damage.note(&error.to_string());
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
