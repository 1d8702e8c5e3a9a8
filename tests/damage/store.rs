//! A store with something of everything in it.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::agent::{END, close, detection, ingest, jpeg, open, picture_file};
use crate::support::daemon::{Daemon, Home, Ran, command};
use crate::support::records::{at, colour, detection_line, session_line};

/// A stopped store: a closed session with two pictures, an open one with one, one with colours, a deleted one, a segment.
pub fn filled() -> Home {
    filled_with("")
}

/// The same with this configuration.
pub fn filled_with(config: &str) -> Home {
    let home = Home::new(config);
    home.import(&[
        session_line("coloured", &at(0, 0), &at(9, 0), &["car"], &json!({})),
        detection_line("coloured", "1", "car", &at(1, 0), &colour("rojo")),
        detection_line("coloured", "2", "car", &at(1, 0), &colour("Rojo")),
        detection_line("coloured", "3", "car", &at(1, 0), &colour("azul")),
        session_line("gone", &at(0, 0), &at(9, 0), &["car"], &json!({})),
        detection_line("gone", "1", "car", &at(1, 0), &json!({})),
    ]);
    home.import(&[json!({"session_deleted": {"session_id": "gone"}})]);
    let daemon = Daemon::on(home);
    open(&daemon, "shut");
    open(&daemon, "open");
    ingest(&daemon, "shut", &[("1", "cup", 0.5), ("2", "dog", 0.75)], "2025-10-11T12:00:01.123456Z", Some(&jpeg(1))).is(200);
    ingest(&daemon, "shut", &[("2", "dog", 0.9)], "2025-10-11T12:00:02Z", Some(&jpeg(2))).is(200);
    ingest(&daemon, "open", &[("7", "cat", 0.5)], "2025-10-11T12:00:03Z", Some(&jpeg(3))).is(200);
    let hook = json!({"path": "cam-local", "segmentPath": "/r/1.mp4", "segmentStartTs": at(0, 0), "eventTs": at(1, 0)});
    daemon.post("/hooks/mediamtx/record/segment/complete", &hook).is(200);
    close(&daemon, "shut", END);
    daemon.stop()
}

/// The file of a detection's picture, by asking the daemon for a moment.
pub fn picture_of(home: Home, session: &str, track: &str) -> (Home, PathBuf) {
    let daemon = Daemon::on(home);
    let record = detection(&daemon, session, track);
    let home = daemon.stop();
    let file = picture_file(&home, &record);
    assert!(file.is_file());
    (home, file)
}

pub fn database(home: &Home) -> PathBuf {
    home.dir().join("data/session-store.redb")
}

/// `verify` with these arguments.
pub fn verify(home: &Home, args: &[&str]) -> Ran {
    home.run(&[&["verify"], args].concat(), b"")
}

/// The same, of a store that must have nothing wrong.
#[track_caller]
pub fn is_well(home: &Home) {
    let ran = verify(home, &["--deep"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
}

/// The kinds of the findings, sorted.
#[track_caller]
pub fn kinds(ran: &Ran) -> Vec<String> {
    let lines =
        ran.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{line}: {error}")));
    let mut kinds: Vec<_> = lines.filter_map(|line| line["finding"]["kind"].as_str().map(ToOwned::to_owned)).collect();
    kinds.sort();
    kinds
}

/// Every file below a folder with its bytes, for comparing before and after; the lock aside.
pub fn contents(below: &std::path::Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![below.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_none_or(|kind| kind != "lock") {
                found.push((path.clone(), fs::read(&path).expect("read")));
            }
        }
    }
    found.sort();
    found
}

/// Everything that an export tells, but for the order: by session and track.
pub fn catalogue(home: &Home) -> BTreeMap<String, Value> {
    let ran = home.run(&["export"], b"");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let lines = ran.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let lines = lines.filter(|line| line.get("session_deleted").is_none());
    let key = |line: &Value| {
        let (kind, record) = line.as_object().unwrap().iter().next().unwrap();
        format!("{kind} {} {}", record["session_id"], record["track_id"])
    };
    lines.map(|line| (key(&line), line)).collect()
}

/// Runs a subcommand and kills it after so many milliseconds; its exit status where it ended before.
pub fn killed_after(home: &Home, args: &[&str], delay: u64) -> Option<i32> {
    let mut child = command(home.dir())
        .arg("--config")
        .arg(home.config())
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(delay));
    drop(child.kill());
    child.wait().unwrap().code()
}
