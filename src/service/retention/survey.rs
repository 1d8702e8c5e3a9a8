//! How much there is of each rule in each hour: where retention finds what is old without reading everything each time.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use crate::domain::query::SessionKey;
use crate::domain::retention::{Policy, Rank};
use crate::domain::session::Session;
use crate::domain::time::Timestamp;
use crate::media::tracks::TracksFolder;
use crate::store::{Snapshot, Store, StoreError, Weight};

const HOUR_MICROS: i64 = 3_600_000_000;
/// Sessions that began so long ago change seldom: they are looked at again with all others, once a day.
const FRESH_MICROS: i64 = 2 * HOUR_MICROS;
/// Sessions read in one snapshot.
const AT_ONCE: usize = 200;

/// What a session takes on its volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Size {
    /// Its frames and records.
    pub weight: Weight,
    /// Bytes of its tracks.
    pub track_bytes: u64,
}

impl Size {
    /// Measures the session at `at`. Tracks that cannot be read count nothing: they cannot be deleted either.
    pub fn measure(snapshot: &Snapshot, tracks: &TracksFolder, at: SessionKey, session: &Session) -> Result<Self, StoreError> {
        Ok(Self { weight: snapshot.weigh(at)?, track_bytes: tracks.room(&session.id).unwrap_or(0) })
    }

    /// Without its records.
    pub fn files(mut self) -> Self {
        self.weight.record_bytes = 0;
        self
    }

    /// All of it.
    pub fn bytes(&self) -> u64 {
        self.weight.frame_bytes + self.weight.record_bytes + self.track_bytes
    }
}

impl AddAssign for Size {
    fn add_assign(&mut self, other: Self) {
        let (mine, its) = (&mut self.weight, other.weight);
        mine.detections += its.detections;
        mine.frames += its.frames;
        mine.frame_bytes += its.frame_bytes;
        mine.record_bytes += its.record_bytes;
        self.track_bytes += other.track_bytes;
    }
}

/// Whether retention may delete a session, if a rule says so.
pub fn may_go(session: &Session, now: Timestamp) -> bool {
    !session.is_open() && session.hold.as_ref().is_none_or(|hold| !hold.holds(now))
}

/// Sessions of one rule that began in one hour.
#[derive(Debug, Clone, Copy, Default)]
struct Hour {
    sessions: u64,
    bytes: u64,
}

/// All sessions, by rule and hour.
#[derive(Default)]
pub struct Survey {
    hours: BTreeMap<(Rank, i64), Hour>,
    /// When everything was last looked at.
    whole_at: Option<Timestamp>,
}

impl Survey {
    /// Takes in what has changed since the last time. `pause` is called between pages; it says whether to stop, and then
    /// nothing is known.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn renew(
        &mut self,
        store: &Store,
        tracks: &TracksFolder,
        policy: &Policy,
        now: Timestamp,
        mut pause: impl FnMut() -> bool,
    ) -> Result<bool, StoreError> {
        let is_recent = |at: Timestamp| at <= now && now < at.plus_micros(24 * HOUR_MICROS);
        let first_hour = match self.whole_at.take().filter(|at| is_recent(*at)) {
            None => {
                self.hours.clear();
                i64::MIN
            }
            Some(at) => {
                self.whole_at = Some(at);
                hour(now.plus_micros(-FRESH_MICROS).micros())
            }
        };
        self.hours.retain(|(_, hour), _| *hour < first_hour);
        let known = self.whole_at.take();
        let mut after = (first_hour > i64::MIN).then(|| begin(first_hour));
        loop {
            let snapshot = store.read()?;
            let page = snapshot.sessions_behind(after, AT_ONCE)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(*last);
            for (at, session) in &page {
                let size = if policy.counts_bytes() { Size::measure(&snapshot, tracks, *at, session)? } else { Size::default() };
                let hour = self.hours.entry((policy.rank(session), hour(at.start))).or_default();
                hour.sessions += 1;
                hour.bytes += size.bytes();
            }
            drop(snapshot);
            if pause() {
                return Ok(false);
            }
        }
        self.whole_at = known.or(Some(now));
        Ok(true)
    }

    /// Has everything looked at anew.
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    /// Takes a deleted session out.
    pub fn remove(&mut self, rank: Rank, at: SessionKey, size: &Size) {
        let key = (rank, hour(at.start));
        if let Some(hour) = self.hours.get_mut(&key) {
            hour.sessions = hour.sessions.saturating_sub(1);
            hour.bytes = hour.bytes.saturating_sub(size.bytes());
            if hour.sessions == 0 {
                self.hours.remove(&key);
            }
        }
    }

    /// Bytes of all sessions of a rank, or of all.
    pub fn bytes(&self, rank: Option<Rank>) -> u64 {
        let of = |(known, _): &(Rank, i64)| rank.is_none_or(|rank| rank == *known);
        self.hours.iter().filter(|(key, _)| of(key)).map(|(_, hour)| hour.bytes).sum()
    }

    /// Hours in which sessions of `rank` began, oldest first.
    pub fn hours(&self, rank: Rank) -> impl Iterator<Item = i64> {
        self.hours.range((rank, i64::MIN)..=(rank, i64::MAX)).map(|((_, hour), _)| *hour)
    }
}

/// The hour in which a moment lies, since 1970.
pub fn hour(micros: i64) -> i64 {
    micros.div_euclid(HOUR_MICROS)
}

/// What lies before an hour.
pub fn begin(hour: i64) -> SessionKey {
    SessionKey { start: hour.saturating_mul(HOUR_MICROS).saturating_sub(1), number: u64::MAX }
}
