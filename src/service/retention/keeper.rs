//! Retention at work.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::domain::retention::Policy;
use crate::domain::time::Timestamp;
use crate::store::{Store, StoreError, Tracks};

use super::plan::{Leaver, Planner};
use super::survey::{Size, Survey, may_go};
use super::{Of, Service, ServiceError, clock};

/// Sessions deleted in one change, and about so many of their detections and frames.
const SESSIONS_AT_ONCE: usize = 50;
const ROWS_AT_ONCE: u64 = 200;
/// While requests come in, so many times as long as a change took is waited before the next …
const YIELD_TIMES: u32 = 4;
/// … but no longer than this.
const YIELD_WITHIN: Duration = Duration::from_millis(200);
/// Files that were not deleted within this time are not counted as free any more.
const FILES_GONE_WITHIN: Duration = Duration::from_secs(900);
/// Files of sessions that an earlier run deleted are waited for so long.
const EARLIER_FILES_GONE_WITHIN: Duration = Duration::from_secs(60);
/// The belief in the clock is written down so often.
const BELIEF_WRITTEN_EVERY_MICROS: i64 = 3_600_000_000;
/// Deletes what the rules say, step by step, on a thread that may block.
pub struct Keeper {
    service: Service,
    store: Store,
    survey: Survey,
    /// The rules of the survey.
    policy: Arc<Policy>,
    /// When everything was last looked at.
    looked: Option<Instant>,
    /// What deleted sessions took whose files may still be there, and since when.
    pending: Size,
    pending_since: Instant,
    started: Instant,
    /// The clock at the start.
    began: Timestamp,
    is_anchored: bool,
    /// When the clock was last believed, and when that was last written down.
    believed: Option<Timestamp>,
    written: Option<Timestamp>,
    /// Nothing more can go until everything is looked at again.
    is_stuck: bool,
    /// What was said last, so that it is said once.
    told: Vec<String>,
}

impl Keeper {
    /// Begins with nothing known.
    pub fn new(service: Service, store: Store) -> Self {
        let began = store.now();
        Self {
            service,
            store,
            survey: Survey::default(),
            policy: Arc::default(),
            looked: None,
            pending: Size::default(),
            pending_since: Instant::now(),
            started: Instant::now(),
            began,
            is_anchored: false,
            believed: None,
            written: None,
            is_stuck: false,
            told: Vec::new(),
        }
    }

    /// Whether it has looked at everything by the rules of now.
    pub fn has_looked(&self) -> bool {
        self.looked.is_some()
    }

    /// Deletes what is to go now, and tells how it is.
    pub fn work(mut self) -> Self {
        let settings = self.service.settings();
        if self.policy != settings.retention {
            self.policy = Arc::clone(&settings.retention);
            self.survey.forget();
            self.looked = None;
        }
        let problems = match self.keep() {
            Ok(Some(problems)) => problems,
            Ok(None) => return self,
            Err(error) => vec![format!("Retention cannot work: {error}.")],
        };
        if problems != self.told {
            for problem in problems.iter().filter(|problem| !self.told.contains(problem)) {
                tracing::warn!("{problem}");
            }
            self.told.clone_from(&problems);
            self.service.inner.retention.send_modify(|retention| retention.problems = problems);
        }
        self
    }

    /// Returns what hinders it; `None` where it was not time to look.
    fn keep(&mut self) -> Result<Option<Vec<String>>, ServiceError> {
        self.anchor()?;
        if self.policy.is_empty() {
            self.service.inner.is_room_short.store(false, Ordering::Relaxed);
            return Ok(Some(Vec::new()));
        }
        // On an empty mount point another volume would be measured.
        if !self.service.inner.frames.is_paired(&self.store.identity().uuid) {
            return Ok(Some(vec!["Retention deletes nothing while the frames folder is not this store's own.".to_owned()]));
        }
        self.settle_pending()?;
        if self.looked.is_none() && self.started.elapsed() < EARLIER_FILES_GONE_WITHIN {
            // What an earlier run deleted would not be counted.
            if !self.store.read()?.deleted_folders(None, 1)?.is_empty() {
                return Ok(None);
            }
        }
        let policy = Arc::clone(&self.policy);
        let service = self.service.clone();
        let store = self.store.clone();
        let of = Of { store: &store, frames: &service.inner.frames, tracks: &service.inner.tracks, policy: &policy };
        let is_short = of.volumes()?.is_some_and(|volumes| volumes.are_short(&policy));
        service.inner.is_room_short.store(is_short, Ordering::Relaxed);
        let is_time = self.looked.is_none_or(|looked| looked.elapsed() >= policy.interval);
        if !is_time && (!is_short || self.is_stuck) {
            return Ok(None);
        }
        let now = store.now();
        if !policy.trust_clock
            && let Some(doubt) = clock::doubt(&store.read()?, now, self.believed)?
        {
            self.is_stuck = true;
            self.looked = Some(Instant::now());
            return Ok(Some(vec![format!("Retention deletes nothing: {doubt}.")]));
        }
        self.believe(now);
        let stopping = service.inner.stopping.subscribe();
        let mut pause = || {
            if store.is_busy() {
                std::thread::sleep(Duration::from_millis(5));
            }
            *stopping.borrow()
        };
        if is_time {
            if !self.survey.renew(&store, of.tracks, &policy, now, &mut pause)? {
                return Ok(None);
            }
            self.looked = Some(Instant::now());
        }
        loop {
            let mut batch = Vec::new();
            let mut rows = 0;
            let volumes = of.volumes()?;
            let planner = Planner {
                store: &store,
                tracks: of.tracks,
                policy: &policy,
                survey: &self.survey,
                now,
                volumes: volumes.as_ref(),
                pending: self.pending,
                pause: &mut pause,
            };
            let impossible = planner.plan(&mut |leaver| {
                rows += leaver.size.weight.detections + leaver.size.weight.frames;
                batch.push(leaver);
                batch.len() < SESSIONS_AT_ONCE && rows < ROWS_AT_ONCE
            })?;
            if batch.is_empty() {
                self.is_stuck = !impossible.is_empty();
                return Ok(Some(impossible));
            }
            // Changed rules hold at once.
            if pause() || *service.settings().retention != *policy {
                return Ok(None);
            }
            let began = Instant::now();
            self.delete(batch)?;
            if store.is_busy() && !store.is_disk_full() {
                std::thread::sleep((began.elapsed() * YIELD_TIMES).min(YIELD_WITHIN));
            }
        }
    }

    fn believe(&mut self, now: Timestamp) {
        self.believed = Some(now);
        if self.written.is_none_or(|written| (now.micros() - written.micros()).abs() >= BELIEF_WRITTEN_EVERY_MICROS) {
            self.written = Some(now);
            self.store.write_sometime(move |tx| tx.believe_clock(now));
        }
    }

    /// Takes the newest record of earlier runs for the clock's last word where it has none: records that come while it is
    /// wrong must not make it right.
    fn anchor(&mut self) -> Result<(), ServiceError> {
        if std::mem::replace(&mut self.is_anchored, true) || self.store.read()?.believed_clock()?.is_some() {
            return Ok(());
        }
        let began = self.began;
        if let Some(newest) = self.store.read()?.newest_record()?.filter(|newest| *newest < began) {
            self.store.write_blocking(move |tx| tx.believe_clock(newest))?;
        }
        Ok(())
    }

    /// Deletes sessions, those aside that were opened, held or seen anew since they were planned.
    fn delete(&mut self, batch: Vec<Leaver>) -> Result<(), ServiceError> {
        let policy = Arc::clone(&self.policy);
        let planned: Vec<_> = batch
            .iter()
            .map(|leaver| (leaver.at, leaver.session.id.clone(), leaver.rank, leaver.size.weight.record_bytes))
            .collect();
        let length = self.store.path().metadata()?.len();
        let deleted = self.store.write_blocking(move |tx| {
            let (mut deleted, mut freed) = (Vec::new(), 0);
            for (at, id, rank, bytes) in &planned {
                let now = tx.now();
                let is_same = tx
                    .session(id)?
                    .is_some_and(|(found, session)| found == *at && may_go(&session, now) && policy.rank(&session) == *rank);
                if is_same && tx.delete_session(id, Tracks::Go)? {
                    deleted.push(*at);
                    freed += bytes;
                }
            }
            if !deleted.is_empty() {
                tx.note_freed(freed, length)?;
            }
            Ok(deleted)
        })?;
        if self.pending == Size::default() {
            self.pending_since = Instant::now();
        }
        let mut bytes = 0;
        for Leaver { at, session, rank, by, why, size } in batch {
            if !deleted.contains(&at) {
                continue;
            }
            self.survey.remove(rank, at, &size);
            bytes += size.bytes();
            // Its records are noted as free pages already.
            self.pending += size.files();
            tracing::info!(
                session_id = session.id.as_str(),
                path = session.path,
                detections = size.weight.detections,
                frames = size.weight.frames,
                bytes = size.bytes(),
                "session {} of {} is deleted by {by}: {why}",
                session.id,
                session.start.to_millis()
            );
        }
        self.service.inner.retention.send_modify(|retention| {
            retention.sessions_deleted += deleted.len() as u64;
            retention.bytes_deleted += bytes;
        });
        Ok(())
    }

    /// Forgets sizes whose files are gone.
    fn settle_pending(&mut self) -> Result<(), StoreError> {
        if self.pending != Size::default()
            && (self.pending_since.elapsed() > FILES_GONE_WITHIN || self.store.read()?.deleted_folders(None, 1)?.is_empty())
        {
            self.pending = Size::default();
        }
        Ok(())
    }
}
