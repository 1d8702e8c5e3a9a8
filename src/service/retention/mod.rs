//! Retention: deleting what the operator's rules say, session by session, and nothing that is open or held.

mod clock;
mod plan;
mod survey;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::domain::retention::Policy;
use crate::domain::time::Timestamp;
use crate::media::frames::FramesFolder;
use crate::media::tracks::TracksFolder;
use crate::store::{Store, StoreError, Tracks, Urgency};

pub use plan::Leaver;

use plan::{Planner, Volumes};
use survey::{Size, Survey, may_go};

use super::{Service, ServiceError, blocking};

/// Free room is looked at so often, where a limit is of it.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Sessions deleted in one change, and about so many of their detections and frames.
const SESSIONS_AT_ONCE: usize = 50;
const ROWS_AT_ONCE: u64 = 200;
/// While requests come in, so many times as long as a change took is waited before the next …
const YIELD_TIMES: u32 = 4;
/// … but no longer than this.
const YIELD_WITHIN: Duration = Duration::from_millis(200);
/// Requests come in where something was committed so short a time ago.
const QUIET: Duration = Duration::from_millis(100);
/// Files that were not deleted within this time are not counted as free any more.
const FILES_GONE_WITHIN: Duration = Duration::from_secs(900);
/// Files of sessions that an earlier run deleted are waited for so long.
const EARLIER_FILES_GONE_WITHIN: Duration = Duration::from_secs(60);
/// The belief in the clock is written down so often.
const BELIEF_WRITTEN_EVERY_MICROS: i64 = 3_600_000_000;
/// Sessions of one plan; of more it says that there are more.
const MAX_PLANNED: usize = 200_000;

/// How retention is, for `/health`.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Retention {
    /// Sessions deleted since the start.
    pub sessions_deleted: u64,
    /// Bytes that they took.
    pub bytes_deleted: u64,
    /// Why nothing is deleted, or what cannot be reached.
    #[serde(skip)]
    pub problems: Vec<String>,
}

/// What would go now, and why.
#[derive(Debug, Default, Serialize)]
pub struct Plan {
    /// Why nothing goes for now, where it does not.
    pub waits_for: Option<String>,
    /// How many sessions go.
    pub sessions: u64,
    /// What they take.
    pub bytes: u64,
    /// Whether more go than were counted.
    pub has_more: bool,
    /// The same by rule and reason.
    pub by: Vec<Share>,
    /// What cannot be reached, a sentence each.
    pub impossible: Vec<String>,
    /// The first sessions that go, in their order.
    pub first: Vec<Leaver>,
}

/// What goes by one limit of one rule.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Share {
    /// The rule.
    pub rule: String,
    /// The limit's key.
    pub why: &'static str,
    /// Sessions.
    pub sessions: u64,
    /// What they take.
    pub bytes: u64,
}

impl Plan {
    fn add(&mut self, leaver: Leaver, limit: usize) {
        let (bytes, why) = (leaver.size.bytes(), leaver.why.key());
        self.sessions += 1;
        self.bytes += bytes;
        match self.by.iter_mut().find(|share| share.rule == leaver.by && share.why == why) {
            Some(share) => {
                share.sessions += 1;
                share.bytes += bytes;
            }
            None => self.by.push(Share { rule: leaver.by.clone(), why, sessions: 1, bytes }),
        }
        if self.first.len() < limit {
            self.first.push(leaver);
        }
    }
}

impl Service {
    /// Deletes what the rules say until the daemon stops.
    pub async fn keep_to_retention(&self) {
        let Ok(store) = self.store(Urgency::Urgent).await else { return };
        if !self.frames_are_usable().await {
            return;
        }
        let mut stopping = self.inner.stopping.subscribe();
        let mut keeper = Keeper::new(self.clone(), store);
        while !*stopping.borrow() {
            keeper = match blocking(move || Ok(keeper.work())).await {
                Ok(keeper) => keeper,
                Err(error) => return tracing::error!(%error, "retention has ended"),
            };
            let policy = &self.settings().retention;
            // Where it could not look yet it tries again soon.
            let is_soon = policy.wants_room() || (keeper.looked.is_none() && !policy.is_empty());
            let wait = if is_soon { policy.interval.min(LOOK_EVERY) } else { policy.interval };
            tokio::select! {
                _ = stopping.wait_for(|stopping| *stopping) => {}
                () = self.inner.changed.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// What would go now; the first `limit` of it by name.
    ///
    /// # Errors
    /// [`ServiceError::Busy`] while another plan is made.
    pub async fn retention_plan(&self, limit: usize) -> Result<Plan, ServiceError> {
        let store = self.store(Urgency::Urgent).await?;
        let service = self.clone();
        blocking(move || {
            // A plan reads everything: one at a time.
            let Ok(_one) = service.inner.planning.try_lock() else { return Err(ServiceError::Busy) };
            let settings = service.settings();
            let stopping = service.inner.stopping.subscribe();
            let of =
                Of { store: &store, frames: &service.inner.frames, tracks: &service.inner.tracks, policy: &settings.retention };
            of.plan(limit, &mut || *stopping.borrow())
        })
        .await
    }
}

/// What a plan is made for.
pub struct Of<'o> {
    /// The sessions …
    pub store: &'o Store,
    /// … their frames …
    pub frames: &'o FramesFolder,
    /// … and tracks.
    pub tracks: &'o TracksFolder,
    /// The rules.
    pub policy: &'o Policy,
}

impl Of<'_> {
    /// What would go now; the first `limit` of it by name. `pause` is called between pages and says whether to stop.
    ///
    /// # Errors
    /// When the store or a volume cannot be read.
    pub fn plan(&self, limit: usize, pause: &mut dyn FnMut() -> bool) -> Result<Plan, ServiceError> {
        let now = self.store.now();
        let mut plan = Plan::default();
        if self.policy.is_empty() {
            return Ok(plan);
        }
        if !self.policy.trust_clock {
            plan.waits_for = clock::doubt(&self.store.read()?, now, None)?;
        }
        let mut survey = Survey::default();
        survey.renew(self.store, self.tracks, self.policy, now, &mut *pause)?;
        let volumes = self.volumes()?;
        let planner = Planner {
            store: self.store,
            tracks: self.tracks,
            policy: self.policy,
            survey: &survey,
            now,
            volumes: volumes.as_ref(),
            pending: &[],
            pause,
        };
        let impossible = planner.plan(&mut |leaver| {
            plan.add(leaver, limit);
            plan.has_more = plan.sessions >= MAX_PLANNED as u64;
            !plan.has_more
        });
        plan.impossible = impossible?;
        Ok(plan)
    }

    fn volumes(&self) -> std::io::Result<Option<Volumes>> {
        self.policy.wants_room().then(|| Volumes::look(self.store, self.frames, self.tracks)).transpose()
    }
}

/// Retention at work.
struct Keeper {
    service: Service,
    store: Store,
    survey: Survey,
    /// The rules of the survey.
    policy: Arc<Policy>,
    /// When everything was last looked at.
    looked: Option<Instant>,
    /// Deleted sessions whose files may still be there, and since when.
    pending: Vec<Size>,
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
    fn new(service: Service, store: Store) -> Self {
        let began = store.now();
        Self {
            service,
            store,
            survey: Survey::default(),
            policy: Arc::default(),
            looked: None,
            pending: Vec::new(),
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

    /// Deletes what is to go now, and tells how it is.
    fn work(mut self) -> Self {
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
            return Ok(Some(Vec::new()));
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
            if is_busy(&store) {
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
                pending: &self.pending,
                pause: &mut pause,
            };
            let impossible = planner.plan(&mut |leaver| {
                rows += leaver.size.weight.detections + leaver.size.weight.frames;
                batch.push(leaver);
                batch.len() < SESSIONS_AT_ONCE && rows < ROWS_AT_ONCE
            })?;
            if batch.is_empty() || pause() {
                self.is_stuck = !impossible.is_empty();
                return Ok(Some(impossible));
            }
            let began = Instant::now();
            self.delete(batch)?;
            if is_busy(&store) && !store.is_disk_full() {
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
        let planned: Vec<_> = batch.iter().map(|leaver| (leaver.at, leaver.session.id.clone(), leaver.rank)).collect();
        let freed: u64 = batch.iter().map(|leaver| leaver.size.weight.record_bytes).sum();
        let length = self.store.path().metadata()?.len();
        let deleted = self.store.write_blocking(move |tx| {
            let mut deleted = Vec::new();
            for (at, id, rank) in &planned {
                let now = tx.now();
                let is_same = tx
                    .session(id)?
                    .is_some_and(|(found, session)| found == *at && may_go(&session, now) && policy.rank(&session) == *rank);
                if is_same && tx.delete_session(id, Tracks::Go)? {
                    deleted.push(*at);
                }
            }
            if !deleted.is_empty() {
                tx.note_freed(freed, length)?;
            }
            Ok(deleted)
        })?;
        if self.pending.is_empty() {
            self.pending_since = Instant::now();
        }
        let mut bytes = 0;
        for Leaver { at, session, rank, by, why, size } in batch {
            if !deleted.contains(&at) {
                continue;
            }
            self.survey.remove(rank, at, &size);
            bytes += size.bytes();
            self.pending.push(size);
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
        if !self.pending.is_empty()
            && (self.pending_since.elapsed() > FILES_GONE_WITHIN || self.store.read()?.deleted_folders(None, 1)?.is_empty())
        {
            self.pending.clear();
        }
        Ok(())
    }
}

/// Whether requests come in.
fn is_busy(store: &Store) -> bool {
    store.last_commit_age().is_some_and(|age| age < QUIET)
}
