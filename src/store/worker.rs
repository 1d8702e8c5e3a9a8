//! The writer thread: it takes all changes that wait, has them committed together and answered.

use std::sync::Arc;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::commit::Committer;
use super::journal::Journal;
use super::queue::{Pending, Queue};
use super::{Shared, Transaction};

/// Ingests taken into one transaction.
const MAX_BATCH: usize = 256;
/// How long a lazy change may wait for another commit to ride along with.
const LAZY_WITHIN: Duration = Duration::from_secs(5);
/// How often the reserve and the journal are looked after, and how often while the disk is full.
const UPKEEP_EVERY: Duration = Duration::from_secs(10);
const UPKEEP_WHILE_FULL_EVERY: Duration = Duration::from_millis(500);
/// A checkpoint that failed, on a full disk say, is not tried again at once.
const CHECKPOINT_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How often old tombstones are looked for, and how many are dropped in one commit.
const TOMBSTONES_EVERY: Duration = Duration::from_secs(3600);
const TOMBSTONES_AT_ONCE: usize = 1000;

/// The thread's own.
pub struct Worker {
    queue: Arc<Queue>,
    shared: Arc<Shared>,
    committer: Committer,
    /// No checkpoint is made for want of other work before this: the last one failed.
    no_checkpoint_before: Instant,
}

enum Round {
    Heal,
    Commit {
        jobs: Vec<Pending>,
        all_touches: bool,
    },
    /// Nothing waits, and the journal is filling: the best time to empty it.
    Checkpoint,
    Upkeep,
    Stop {
        lazy: Vec<Pending>,
    },
}

impl Worker {
    pub(super) fn new(queue: Arc<Queue>, shared: Arc<Shared>, journal: Journal) -> Self {
        let committer = Committer::new(Arc::clone(&queue), Arc::clone(&shared), journal);
        Self { queue, shared, committer, no_checkpoint_before: Instant::now() }
    }

    /// Works until the store is closed.
    pub fn run(mut self) {
        self.shared.reserve.renew();
        let mut upkeep = Instant::now() + UPKEEP_EVERY;
        let mut tombstones = Instant::now();
        loop {
            if Instant::now() >= tombstones {
                tombstones = Instant::now() + TOMBSTONES_EVERY;
                self.drop_tombstones();
            }
            self.shared.pulse.rest();
            let round = self.next(upkeep.min(tombstones));
            self.shared.pulse.begin();
            match round {
                Round::Commit { jobs, all_touches } => self.committer.commit(jobs, all_touches),
                Round::Checkpoint => {
                    if !self.committer.checkpoint() {
                        self.no_checkpoint_before = Instant::now() + CHECKPOINT_AGAIN_AFTER;
                    }
                }
                Round::Stop { lazy } => {
                    self.committer.commit(lazy, true);
                    self.committer.checkpoint();
                    return;
                }
                Round::Heal => self.committer.heal(),
                Round::Upkeep => {}
            }
            if Instant::now() >= upkeep {
                self.shared.reserve.renew();
                self.committer.journal.renew();
                self.committer.look_for_writable();
                let full = self.shared.reserve.is_missing();
                upkeep = Instant::now() + if full { UPKEEP_WHILE_FULL_EVERY } else { UPKEEP_EVERY };
            }
        }
    }

    /// Waits for something to do.
    fn next(&self, upkeep: Instant) -> Round {
        let mut waiting = self.queue.lock();
        loop {
            let now = Instant::now();
            if std::mem::take(&mut waiting.is_ill) {
                return Round::Heal;
            }
            let touches_due = self.shared.touches.due();
            let lazy_due = waiting.lazy_since.map(|since| since + LAZY_WITHIN);
            let is_due = |due: Option<Instant>| due.is_some_and(|due| due <= now);
            let asked = !waiting.urgent.is_empty() || !waiting.ingest.is_empty();
            if asked || is_due(touches_due) || is_due(lazy_due) {
                return Round::Commit { jobs: waiting.take(MAX_BATCH), all_touches: is_due(touches_due) };
            }
            if waiting.stopping {
                return Round::Stop { lazy: waiting.take_lazy() };
            }
            if upkeep <= now {
                return Round::Upkeep;
            }
            if self.committer.journal.is_filling() && now >= self.no_checkpoint_before {
                return Round::Checkpoint;
            }
            let until = [touches_due, lazy_due].into_iter().flatten().fold(upkeep, Instant::min);
            waiting = self.queue.news.wait_timeout(waiting, until - now).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn drop_tombstones(&mut self) {
        let age = i64::try_from(self.shared.tombstone_age.as_micros()).unwrap_or(i64::MAX);
        let before = self.shared.clock.now().plus_micros(-age);
        let drop_some = move |tx: &mut Transaction<'_>| {
            while tx.drop_tombstones(before, TOMBSTONES_AT_ONCE)? == TOMBSTONES_AT_ONCE {}
            Ok(())
        };
        self.committer.commit(vec![Pending::lazy(drop_some)], false);
    }
}
