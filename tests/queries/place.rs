//! A store to ask, and what is put into it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use session_store::domain::detection::{Detection, Sighting};
use session_store::domain::ids::{SessionId, TrackId};
use session_store::domain::query::SessionKey;
use session_store::domain::session::{End, EndReason, Session};
use session_store::domain::time::Timestamp;
use session_store::runtime::clock::ManualClock;
use session_store::store::{Options, Snapshot, Store, Tracks};

pub const SECOND: i64 = 1_000_000;
pub const DAY: i64 = 86_400 * SECOND;
/// 2025-10-11T12:00:00Z.
pub const BASE: i64 = 1_760_184_000 * SECOND;
pub const AGE: Duration = Duration::from_secs(90 * 86_400);
pub const PATHS: [&str; 3] = ["cam", "cam-1", "front door"];
pub const DEVICES: [&str; 2] = ["dev", "dev-2"];

/// A store in a folder of its own, by a clock that is moved by hand.
pub struct Place {
    pub dir: TempDir,
    pub clock: Arc<ManualClock>,
}

impl Place {
    pub fn new() -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp::from_micros(BASE + DAY)));
        Self { dir: tempfile::tempdir().unwrap(), clock }
    }

    pub fn open(&self) -> Store {
        open(self.dir.path(), &self.clock)
    }
}

fn open(dir: &Path, clock: &Arc<ManualClock>) -> Store {
    let options = Options {
        path: dir.join("store.redb"),
        cache_bytes: 4 << 20,
        touch_interval: Duration::from_secs(3600),
        reserve_bytes: 0,
        tombstone_age: AGE,
    };
    Store::open(options, Arc::<ManualClock>::clone(clock)).unwrap()
}

pub fn moment(micros: i64) -> Timestamp {
    Timestamp::from_micros(BASE + micros)
}

pub fn session_id(text: &str) -> SessionId {
    SessionId::new("session id", text).unwrap()
}

pub fn track(text: &str) -> TrackId {
    TrackId::new("track id", text).unwrap()
}

pub fn session(id: &str, start: i64, end: Option<i64>) -> Session {
    Session {
        id: session_id(id),
        device_id: DEVICES[0].into(),
        path: PATHS[0].into(),
        start: moment(start),
        end: end.map(|end| End { at: moment(end), reason: Some(EndReason::Client) }),
        postroll_sec: None,
        reason: None,
        media_connect: None,
        media_start: None,
        media_end: None,
        recommended_start_offset_ms: None,
        configured_classes: Vec::new(),
        detected_classes: Vec::new(),
        created_at: moment(0),
        updated_at: moment(0),
        hold: None,
    }
}

pub fn detection(name: &str, seen: i64) -> Detection {
    let sighting = Sighting { track: track(name), cls: "cup".into(), conf: 0.5, bbox: "{}".into() };
    Detection::first_seen(&sighting, moment(seen), None, moment(seen))
}

pub fn read(store: &Store) -> Snapshot {
    store.read().unwrap()
}

/// Adds sessions without end, and gives their keys.
pub fn add(store: &Store, ids: &[&str]) -> Vec<SessionKey> {
    let sessions: Vec<_> = ids.iter().map(|id| session(id, 0, None)).collect();
    store.write_blocking(move |tx| sessions.iter().map(|one| tx.add_session(one)).collect()).unwrap()
}

pub fn delete(store: &Store, id: &str) {
    let id = session_id(id);
    assert!(store.write_blocking(move |tx| tx.delete_session(&id, Tracks::Stay)).unwrap());
}
