//! A steady scene moves `last_ts` all the time. That alone is pushed only now and then.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use xxhash_rust::xxh3::Xxh3;

use crate::domain::detection::Detection;
use crate::domain::ids::{SessionId, TrackId};

/// Detections that are remembered; of others a touch is pushed at once.
const MAX_KNOWN: usize = 20_000;

/// What was pushed of a detection.
struct Known {
    /// Of all but what a touch moves.
    hash: u64,
    pushed: Instant,
    /// The first number in the feed of a touch that waits.
    waits_since: Option<u64>,
}

/// What was pushed a moment ago.
pub struct Touches {
    interval: Duration,
    known: HashMap<(SessionId, TrackId), Known>,
}

impl Touches {
    /// Touches wait for `interval` after what was pushed.
    pub fn new(interval: Duration) -> Self {
        Self { interval, known: HashMap::new() }
    }

    /// Whether the change `seq` of a detection was a mere touch that may wait; remembers that it does.
    pub fn holds(&mut self, session: &SessionId, detection: &Detection, seq: u64) -> bool {
        let key = (session.clone(), detection.track.clone());
        let Some(known) = self.known.get_mut(&key) else { return false };
        if known.hash != hash(detection) || known.pushed.elapsed() >= self.interval {
            return false;
        }
        known.waits_since.get_or_insert(seq);
        true
    }

    /// Notes what was pushed.
    pub fn pushed(&mut self, session: &SessionId, detection: &Detection) {
        if self.interval.is_zero() {
            return;
        }
        if self.known.len() >= MAX_KNOWN {
            // What waits must stay, or it would be forgotten.
            let interval = self.interval;
            self.known.retain(|_, known| known.waits_since.is_some() || known.pushed.elapsed() < interval / 4);
            if self.known.len() >= MAX_KNOWN {
                self.known.retain(|_, known| known.waits_since.is_some());
            }
        }
        let known = Known { hash: hash(detection), pushed: Instant::now(), waits_since: None };
        self.known.insert((session.clone(), detection.track.clone()), known);
    }

    /// Those that have waited long enough, at most `limit`. They wait on until they are pushed.
    pub fn due(&self, limit: usize) -> Vec<(SessionId, TrackId)> {
        let is_due = |known: &Known| known.waits_since.is_some() && known.pushed.elapsed() >= self.interval;
        self.known.iter().filter(|(_, known)| is_due(known)).map(|(key, _)| key.clone()).take(limit).collect()
    }

    /// Forgets one that is no more.
    pub fn forget(&mut self, key: &(SessionId, TrackId)) {
        self.known.remove(key);
    }

    /// The lowest number of the feed that waits.
    pub fn lowest(&self) -> Option<u64> {
        self.known.values().filter_map(|known| known.waits_since).min()
    }

    /// When the next one is due.
    pub fn next_due(&self) -> Option<Duration> {
        let waiting = self.known.values().filter(|known| known.waits_since.is_some());
        waiting.map(|known| self.interval.saturating_sub(known.pushed.elapsed())).min()
    }
}

fn hash(detection: &Detection) -> u64 {
    let mut hash = Xxh3::new();
    let mut add = |bytes: &[u8]| {
        hash.update(&bytes.len().to_le_bytes());
        hash.update(bytes);
    };
    add(detection.cls.as_bytes());
    add(&detection.conf.to_bits().to_le_bytes());
    add(detection.bbox.as_bytes());
    add(detection.picture.as_ref().map_or("", |picture| &picture.file).as_bytes());
    add(&detection.capture.micros().to_le_bytes());
    add(&detection.first.micros().to_le_bytes());
    add(detection.attributes.as_deref().unwrap_or("").as_bytes());
    add(&[u8::from(detection.enriched)]);
    hash.digest()
}
