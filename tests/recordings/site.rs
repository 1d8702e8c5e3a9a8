//! A daemon that watches folders of recordings, and the samples to put there.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

pub use crate::support::agent::close;
use crate::support::agent::encode;
use crate::support::daemon::{Daemon, Home};
use crate::support::until;

pub const SAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/recordings");
/// What the samples' README calls MediaMTX's time zone.
pub const ZONE: &str = "America/Argentina/Cordoba";
/// A window around all that the samples hold.
pub const FROM: &str = "2026-11-23T11:32:00Z";
pub const TO: &str = "2026-11-23T11:35:00Z";

/// The samples' own patterns, each below a root of its own.
pub fn config(home: &Path, more: &str) -> String {
    let root = |name: &str, rest: &str| format!("{:?}", format!("{}/{name}/{rest}", home.display()));
    let patterns = [
        root("local", "%path/%Y-%m-%d_%H-%M-%S-%f"),
        root("nested", "%path/%Y/%m/%d/%H-%M-%S-%f%z"),
        root("epoch", "%path/%s-%f"),
    ];
    format!("[mediamtx]\ntime_zone = \"{ZONE}\"\nrecord_path = [{}]\n{more}", patterns.join(", "))
}

/// A home whose recordings' folders are there and empty.
pub fn home(more: &str) -> Home {
    let home = Home::new("");
    for root in ["local", "nested", "epoch"] {
        fs::create_dir_all(home.dir().join(root)).unwrap();
        // An empty root would be taken for one that is not mounted.
        fs::write(home.dir().join(root).join("note.txt"), "not a recording").unwrap();
    }
    home.configure(&config(home.dir(), more));
    home
}

/// Puts the samples in their places, as old as they are.
pub fn put_samples(home: &Path) {
    copy(Path::new(SAMPLES).join("cam-local"), &home.join("local/cam-local"));
    copy(Path::new(SAMPLES).join("cam-ts"), &home.join("local/cam-ts"));
    copy(Path::new(SAMPLES).join("growing"), &home.join("local/growing"));
    copy(Path::new(SAMPLES).join("site"), &home.join("nested/site"));
    copy(Path::new(SAMPLES).join("cam-epoch"), &home.join("epoch/cam-epoch"));
}

fn copy(from: PathBuf, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let place = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(entry.path(), &place);
        } else {
            fs::write(&place, fs::read(entry.path()).unwrap()).unwrap();
            set_old(&place);
        }
    }
}

/// Makes a file look as if it had not been written to for long.
pub fn set_old(file: &Path) {
    let then = SystemTime::now() - Duration::from_secs(3600);
    File::options().write(true).open(file).unwrap().set_modified(then).unwrap();
}

/// Waits until the first scan is done.
pub fn scanned(daemon: &Daemon) -> Value {
    until("the first scan", Duration::from_secs(10), || {
        let health = daemon.get("/health").json();
        let scans = health["recordings"]["scans"].as_u64().unwrap_or(0);
        (scans > 0).then_some(health)
    })
}

/// A daemon that has scanned the samples.
pub fn of_samples(more: &str) -> Daemon {
    let home = home(more);
    put_samples(home.dir());
    let daemon = Daemon::on(home);
    scanned(&daemon);
    daemon
}

/// `GET /recordings`.
#[track_caller]
pub fn recordings(daemon: &Daemon, path: &str, from: &str, to: &str) -> Value {
    daemon.get(format!("/recordings?path={}&from={from}&to={to}", encode(path))).is(200).json()
}

/// Waits until the recordings of a path are as `check` says.
#[track_caller]
pub fn recordings_become(what: &str, daemon: &Daemon, path: &str, check: impl Fn(&Value) -> bool) -> Value {
    let within = Duration::from_secs(10);
    let end = std::time::Instant::now() + within;
    loop {
        let now = recordings(daemon, path, FROM, TO);
        if check(&now) {
            return now;
        }
        assert!(std::time::Instant::now() < end, "{what}: not within {within:?}: {now}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The values of one field of a list.
pub fn field(list: &Value, name: &str) -> Vec<Value> {
    list.as_array().unwrap().iter().map(|one| one[name].clone()).collect()
}

pub fn states(recorded: &Value) -> Vec<Value> {
    field(&recorded["segments"], "state")
}

/// Causes of the gaps.
pub fn causes(recorded: &Value) -> Vec<Value> {
    field(&recorded["gaps"], "cause")
}

/// Opens a session of a path, also its device.
pub fn open(daemon: &Daemon, id: &str, path: &str, start: &str) {
    let body = json!({"sessionId": id, "devId": path, "path": path, "startTs": start});
    daemon.post("/sessions/open", &body).is(201);
}
