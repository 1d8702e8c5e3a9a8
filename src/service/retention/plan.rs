//! Which sessions the rules say are to go, in order. Only looks.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::time::Duration;

use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use crate::domain::query::SessionKey;
use crate::domain::retention::{Limits, Policy, Rank, has_aged};
use crate::domain::session::Session;
use crate::domain::time::Timestamp;
use crate::media::disk::{self, Volume};
use crate::media::frames::FramesFolder;
use crate::media::tracks::TracksFolder;
use crate::store::{Store, StoreError};

use super::survey::{Size, Survey, begin, may_go};

/// Sessions read in one snapshot.
const AT_ONCE: usize = 200;

/// What makes a session go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It was kept for as long as it should be.
    Age(Duration),
    /// There are more bytes of its kind than these.
    MaxBytes(u64),
    /// There should be so many bytes free on its volume.
    MinFree(u64),
}

impl Why {
    /// The key of the configuration.
    pub fn key(self) -> &'static str {
        match self {
            Self::Age(_) => "keep",
            Self::MaxBytes(_) => "max_bytes",
            Self::MinFree(_) => "min_free",
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Age(keep) => write!(f, "kept for {} h", keep.as_secs() / 3600),
            Self::MaxBytes(limit) => write!(f, "more than {limit} bytes"),
            Self::MinFree(wanted) => write!(f, "less than {wanted} bytes free"),
        }
    }
}

/// A session that is to go.
#[derive(Debug, Clone)]
pub struct Leaver {
    /// Where it stands.
    pub at: SessionKey,
    /// It.
    pub session: Session,
    /// Where it belongs.
    pub rank: Rank,
    /// By which rule it goes: its own, or the one for all.
    pub by: String,
    /// What makes it go.
    pub why: Why,
    /// What it takes.
    pub size: Size,
}

impl Serialize for Leaver {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (session, weight) = (&self.session, &self.size.weight);
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("session_id", session.id.as_str())?;
        map.serialize_entry("path", &session.path)?;
        map.serialize_entry("start_ts", &session.start.to_millis())?;
        map.serialize_entry("end_ts", &session.end.map(|end| end.at.to_millis()))?;
        map.serialize_entry("detections", &weight.detections)?;
        map.serialize_entry("frames", &weight.frames)?;
        map.serialize_entry("bytes", &self.size.bytes())?;
        map.serialize_entry("rule", &self.by)?;
        map.serialize_entry("why", self.why.key())?;
        map.serialize_entry("reason", &self.why.to_string())?;
        map.end()
    }
}

/// The volumes on which sessions lie, and what is free there.
#[derive(Debug, Clone)]
pub struct Volumes {
    frames: Volume,
    tracks: Volume,
    database: Volume,
    /// Bytes free inside of the database's file.
    freed: u64,
}

impl Volumes {
    /// Looks at them.
    ///
    /// # Errors
    /// Where one cannot be looked at.
    pub fn look(store: &Store, frames: &FramesFolder, tracks: &TracksFolder) -> std::io::Result<Self> {
        let length = store.path().metadata()?.len();
        let freed = store.read().and_then(|snapshot| snapshot.freed_bytes(length)).unwrap_or(0);
        Ok(Self {
            frames: disk::volume(frames.root())?,
            tracks: disk::volume(tracks.root())?,
            database: disk::volume(store.path())?,
            freed,
        })
    }

    /// Each volume once.
    fn each(&self) -> Vec<Volume> {
        let mut all = vec![self.frames, self.tracks, self.database];
        all.sort_by_key(|volume| volume.device);
        all.dedup_by_key(|volume| volume.device);
        all
    }

    /// Free bytes of a volume, free pages of the database among them.
    fn free(&self, volume: Volume) -> u64 {
        volume.free + if volume.device == self.database.device { self.freed } else { 0 }
    }

    /// What `size` takes of a volume.
    pub fn share(&self, volume: Volume, size: &Size) -> u64 {
        let part = |of: Volume, bytes: u64| if of.device == volume.device { bytes } else { 0 };
        part(self.frames, size.weight.frame_bytes)
            + part(self.tracks, size.track_bytes)
            + part(self.database, size.weight.record_bytes)
    }

    /// Whether less than some limit wants is free on any.
    pub fn are_short(&self, policy: &Policy) -> bool {
        let wanted = policy.all_limits().filter_map(|limits| limits.min_free);
        wanted
            .flat_map(|wanted| self.each().into_iter().map(move |volume| (wanted, volume)))
            .any(|(wanted, volume)| self.free(volume) < wanted.of(volume.total))
    }
}

/// What a plan is made of.
pub struct Planner<'p> {
    /// The sessions.
    pub store: &'p Store,
    /// Their tracks.
    pub tracks: &'p TracksFolder,
    /// The rules.
    pub policy: &'p Policy,
    /// Where to look.
    pub survey: &'p Survey,
    /// The moment.
    pub now: Timestamp,
    /// The volumes; none where no limit is of free room.
    pub volumes: Option<&'p Volumes>,
    /// What sessions took that are deleted and whose files are not yet.
    pub pending: Size,
    /// Called between pages; says whether to stop.
    pub pause: &'p mut dyn FnMut() -> bool,
}

impl Planner<'_> {
    /// Shows `visit` one session after the other that is to go, until it has enough and says false. Returns what cannot be
    /// reached, a sentence each.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn plan(self, visit: &mut dyn FnMut(Leaver) -> bool) -> Result<Vec<String>, StoreError> {
        let mut run = Run {
            planner: self,
            visit,
            planned: HashSet::new(),
            bytes: BTreeMap::new(),
            by_volume: BTreeMap::new(),
            impossible: Vec::new(),
        };
        run.all()?;
        Ok(run.impossible)
    }
}

/// Whose sessions a limit is about: those of a rank, or all.
type Scope = Option<Rank>;

/// A reason to delete, on its way over the sessions.
#[derive(Clone, Copy)]
enum Step {
    Aged(Duration),
    /// So many bytes of the scope are too many.
    TooMuch {
        scope: Scope,
        limit: u64,
        excess: u64,
    },
    /// So many bytes are free on the volume, or will be.
    TooFull {
        scope: Scope,
        volume: Volume,
        wanted: u64,
        free: u64,
    },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    On,
    /// This step has reached its goal.
    Met,
    /// Nothing more is to be planned.
    Stop,
}

/// A plan being made, and what goes by it so far.
struct Run<'p, 'v> {
    planner: Planner<'p>,
    visit: &'v mut dyn FnMut(Leaver) -> bool,
    /// Numbers of sessions that go by a limit; those that go by age are told by their age.
    planned: HashSet<u64>,
    bytes: BTreeMap<Rank, u64>,
    by_volume: BTreeMap<u64, u64>,
    impossible: Vec<String>,
}

impl Run<'_, '_> {
    fn all(&mut self) -> Result<Flow, StoreError> {
        let policy = self.planner.policy;
        for rank in policy.ranks() {
            let Some(keep) = policy.keep(rank) else { continue };
            if self.age(rank, keep)? == Flow::Stop {
                return Ok(Flow::Stop);
            }
        }
        let own = policy.ranks().filter_map(|rank| Some((Some(rank), &policy.rules.get(rank.0)?.limits)));
        let scopes: Vec<(Scope, &Limits)> = own.chain([(None, &policy.all)]).collect();
        for (scope, limits) in &scopes {
            let Some(limit) = limits.max_bytes else { continue };
            let excess = self.planner.survey.bytes(*scope).saturating_sub(limit);
            if self.squeeze(*scope, Step::TooMuch { scope: *scope, limit, excess })? == Flow::Stop {
                return Ok(Flow::Stop);
            }
        }
        let Some(volumes) = self.planner.volumes else { return Ok(Flow::On) };
        for (scope, limits) in &scopes {
            let Some(wanted) = limits.min_free else { continue };
            for volume in volumes.each() {
                let pending = volumes.share(volume, &self.planner.pending);
                let (wanted, free) = (wanted.of(volume.total), volumes.free(volume) + pending);
                if self.squeeze(*scope, Step::TooFull { scope: *scope, volume, wanted, free })? == Flow::Stop {
                    return Ok(Flow::Stop);
                }
            }
        }
        Ok(Flow::On)
    }

    /// What was kept for as long as it should be.
    fn age(&mut self, rank: Rank, keep: Duration) -> Result<Flow, StoreError> {
        let latest = self.planner.now.plus_micros(i64::try_from(keep.as_micros()).unwrap_or(i64::MAX).saturating_neg());
        let hours: Vec<i64> = self.planner.survey.hours(rank).take_while(|hour| begin(*hour).start < latest.micros()).collect();
        for hour in hours {
            if self.walk(rank, hour, Step::Aged(keep))? == Flow::Stop {
                return Ok(Flow::Stop);
            }
        }
        Ok(Flow::On)
    }

    /// Has the oldest of the least valuable go until the goal of `step` is reached.
    fn squeeze(&mut self, scope: Scope, step: Step) -> Result<Flow, StoreError> {
        let policy = self.planner.policy;
        for rank in policy.ranks().filter(|rank| scope.is_none_or(|own| own == *rank)) {
            let hours: Vec<i64> = self.planner.survey.hours(rank).collect();
            for hour in hours {
                if self.lack(step) == 0 {
                    return Ok(Flow::Met);
                }
                match self.walk(rank, hour, step)? {
                    Flow::On => {}
                    end => return Ok(end),
                }
            }
        }
        let lack = self.lack(step);
        if lack > 0 {
            self.impossible.push(format!(
                "{}: {} cannot be reached: {lack} bytes more would have to go, and what is left is open, held, or not the store's.",
                self.name(scope),
                step.why().key()
            ));
        }
        Ok(Flow::On)
    }

    /// Bytes that must go yet to reach the goal of `step`.
    fn lack(&self, step: Step) -> u64 {
        match step {
            Step::Aged(_) => u64::MAX,
            Step::TooMuch { scope, excess, .. } => {
                let planned = self.bytes.iter().filter(|(rank, _)| scope.is_none_or(|own| own == **rank)).map(|(_, bytes)| bytes);
                excess.saturating_sub(planned.sum())
            }
            Step::TooFull { volume, wanted, free, .. } => {
                let planned = self.by_volume.get(&volume.device).copied().unwrap_or(0);
                wanted.saturating_sub(free.saturating_add(planned))
            }
        }
    }

    /// Plans what goes by `step` of the sessions of `rank` that began in `hour`.
    fn walk(&mut self, rank: Rank, hour: i64, step: Step) -> Result<Flow, StoreError> {
        let (mut after, end) = (begin(hour), begin(hour + 1));
        loop {
            let snapshot = self.planner.store.read()?;
            let page = snapshot.sessions_behind(Some(after), AT_ONCE)?;
            let Some((last, _)) = page.last() else { return Ok(Flow::On) };
            after = *last;
            for (at, session) in page {
                if at > end {
                    return Ok(Flow::On);
                }
                if self.planner.policy.rank(&session) != rank
                    || !may_go(&session, self.planner.now)
                    || self.is_planned(rank, at, &session, step)
                {
                    continue;
                }
                if self.lack(step) == 0 {
                    return Ok(Flow::Met);
                }
                let size = Size::measure(&snapshot, self.planner.tracks, at, &session)?;
                if !self.leave(Leaver { at, session, rank, by: self.name(step.scope(rank)), why: step.why(), size }, step) {
                    return Ok(Flow::Stop);
                }
            }
            drop(snapshot);
            if (self.planner.pause)() {
                return Ok(Flow::Stop);
            }
        }
    }

    /// Whether a session does not go by `step`, since it is too young for that or goes already.
    fn is_planned(&self, rank: Rank, at: SessionKey, session: &Session, step: Step) -> bool {
        let now = self.planner.now;
        match step {
            Step::Aged(keep) => !has_aged(session, keep, now),
            _ => {
                self.planned.contains(&at.number)
                    || self.planner.policy.keep(rank).is_some_and(|keep| has_aged(session, keep, now))
            }
        }
    }

    /// Has one go; says whether to go on.
    fn leave(&mut self, leaver: Leaver, step: Step) -> bool {
        let volumes = self.planner.volumes;
        let share = |volume: Volume| volumes.map_or(0, |volumes| volumes.share(volume, &leaver.size));
        if let Step::TooFull { volume, .. } = step
            && share(volume) == 0
        {
            return true;
        }
        if !matches!(step, Step::Aged(_)) {
            self.planned.insert(leaver.at.number);
        }
        *self.bytes.entry(leaver.rank).or_default() += leaver.size.bytes();
        for volume in volumes.map(Volumes::each).unwrap_or_default() {
            *self.by_volume.entry(volume.device).or_default() += share(volume);
        }
        (self.visit)(leaver)
    }

    fn name(&self, scope: Scope) -> String {
        scope.map_or_else(|| "retention".to_owned(), |rank| self.planner.policy.name(rank))
    }
}

impl Step {
    fn why(self) -> Why {
        match self {
            Self::Aged(keep) => Why::Age(keep),
            Self::TooMuch { limit, .. } => Why::MaxBytes(limit),
            Self::TooFull { wanted, .. } => Why::MinFree(wanted),
        }
    }

    /// Whose limit it is, for a session of `rank`.
    fn scope(self, rank: Rank) -> Scope {
        match self {
            Self::Aged(_) => Some(rank),
            Self::TooMuch { scope, .. } | Self::TooFull { scope, .. } => scope,
        }
    }
}
