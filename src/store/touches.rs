//! Touches held in memory: sightings that improved nothing but were seen later (or earlier)
//! than the record says. See invariant 1 in `docs/design/storage.md`.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::domain::detection::Detection;
use crate::domain::ids::TrackId;
use crate::domain::query::SessionKey;
use crate::domain::time::Timestamp;

/// After a failed commit, touches wait so much longer.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// A touch is committed at once when so many tracks hold one.
const MAX_HELD: usize = 50_000;

/// How far one object's time is to be widened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Touch {
    first: Timestamp,
    last: Timestamp,
    /// When the newest of its sightings reached the store.
    at: Timestamp,
}

impl Touch {
    /// Widens `detection` as the held sightings did; says whether that changed anything.
    pub fn apply(self, detection: &mut Detection) -> bool {
        let widened = detection.widen(self.first, self.last);
        if widened {
            detection.updated_at = detection.updated_at.max(self.at);
        }
        widened
    }
}

/// The touches of one session, by track.
pub type SessionTouches = BTreeMap<String, Touch>;
/// All that is held, by session. Shared with readers, hence copied on write.
pub type Held = HashMap<SessionKey, Arc<SessionTouches>>;

/// The touches that wait for a commit.
pub struct Touches {
    interval: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    held: Arc<Held>,
    tracks: usize,
    /// When the oldest of each session came. One for all would not do: a commit carries the touches of its own sessions
    /// alone, and must not put off those of the others.
    since: HashMap<SessionKey, Instant>,
}

impl Touches {
    /// Holds touches for at most `interval`.
    pub fn new(interval: Duration) -> Self {
        Self { interval, state: Mutex::default() }
    }

    /// What is held now.
    pub fn held(&self) -> Arc<Held> {
        Arc::clone(&self.lock().held)
    }

    /// Holds a sighting of `tracks` at `capture`, which came at `now`. Says whether the writer should look.
    pub fn hold(&self, session: SessionKey, tracks: &[TrackId], capture: Timestamp, now: Timestamp) -> bool {
        let mut state = self.lock();
        let at = session;
        let session = Arc::make_mut(&mut state.held).entry(at).or_default();
        let session = Arc::make_mut(session);
        let before = session.len();
        for track in tracks {
            let touch = session.entry(track.as_str().to_owned()).or_insert(Touch { first: capture, last: capture, at: now });
            touch.first = touch.first.min(capture);
            touch.last = touch.last.max(capture);
            touch.at = touch.at.max(now);
        }
        let added = session.len() - before;
        state.tracks += added;
        let first = state.since.is_empty();
        state.since.entry(at).or_insert_with(Instant::now);
        first || state.tracks >= MAX_HELD
    }

    /// When the writer must commit what is held; `None` when nothing is.
    pub fn due(&self) -> Option<Instant> {
        let state = self.lock();
        let since = *state.since.values().min()?;
        Some(if state.tracks >= MAX_HELD { since } else { since + self.interval })
    }

    /// Lets what is held wait anew, after a commit of it failed.
    pub fn postpone(&self) {
        let again = Instant::now() + AFTER_FAILURE;
        self.lock().since.values_mut().for_each(|since| *since = again);
    }

    /// Forgets what was `committed`. A touch that has grown meanwhile stays.
    pub fn settle(&self, committed: &[(SessionKey, Arc<SessionTouches>)]) {
        if committed.is_empty() {
            return;
        }
        let mut guard = self.lock();
        let state = &mut *guard;
        let held = Arc::make_mut(&mut state.held);
        for (at, done) in committed {
            let Some(session) = held.get_mut(at) else { continue };
            let grown = !Arc::ptr_eq(session, done);
            if grown {
                Arc::make_mut(session).retain(|track, touch| done.get(track) != Some(touch));
            }
            if grown && !session.is_empty() {
                // What grew meanwhile is younger than this commit.
                state.since.insert(*at, Instant::now());
            } else {
                held.remove(at);
                state.since.remove(at);
            }
        }
        state.tracks = state.held.values().map(|session| session.len()).sum();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
