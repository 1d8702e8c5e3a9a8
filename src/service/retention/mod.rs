//! Retention: deleting what the operator's rules say, session by session, and nothing that is open or held.

mod clock;
mod keeper;
mod plan;
mod survey;

use std::time::Duration;

use serde::Serialize;

use crate::domain::retention::Policy;
use crate::media::frames::FramesFolder;
use crate::media::tracks::TracksFolder;
use crate::store::{Store, Urgency};

pub use plan::Leaver;

use keeper::Keeper;
use plan::{Planner, Volumes};
use survey::{Size, Survey};

use super::{Service, ServiceError, blocking};

/// Free room is looked at so often, where a limit is of it.
const LOOK_EVERY: Duration = Duration::from_secs(2);
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
            let is_soon = policy.wants_room() || (!keeper.has_looked() && !policy.is_empty());
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
            pending: Size::default(),
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
