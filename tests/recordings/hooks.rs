//! Hooks are hints: whatever becomes of them, the ledger is what the files say.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::site::{self, FROM, SAMPLES, TO, close, open, recordings, recordings_become, states};
use crate::support::daemon::Daemon;

const PATHS: [&str; 5] = ["cam-local", "site/gate", "cam-epoch", "cam-ts", "growing"];

struct Hook {
    path: String,
    file: Option<String>,
    at: f64,
    is_complete: bool,
}

fn hooks() -> Vec<Hook> {
    let text = fs::read_to_string(format!("{SAMPLES}/hooks.ndjson")).unwrap();
    let read = |line: &str| {
        let hook: Value = serde_json::from_str(line).unwrap();
        let word = |key: &str| hook[key].as_str().map(ToOwned::to_owned);
        Hook {
            path: word("MTX_PATH").unwrap(),
            file: word("MTX_SEGMENT_PATH"),
            at: hook["at"].as_f64().unwrap(),
            is_complete: hook["hook"] == "runOnRecordSegmentComplete",
        }
    };
    text.lines().map(read).collect()
}

/// As the curl scripts in the field post it: whole seconds, local time taken for UTC, or nothing where they could not tell.
fn post(daemon: &Daemon, hook: &Hook, late_by: f64) {
    let event = chrono::DateTime::from_timestamp((hook.at + late_by) as i64, 0).unwrap().format("%Y-%m-%dT%H:%M:%SZ").to_string();
    match &hook.file {
        None => drop(daemon.post("/hooks/mediamtx/publish", &json!({"path": hook.path, "eventTs": event})).is(200)),
        Some(file) if hook.is_complete => {
            let local = Path::new(file).file_stem().unwrap().to_str().unwrap().get(..19).filter(|name| name.contains('_'));
            let start = local
                .and_then(|name| name.split_once('_'))
                .map_or(String::new(), |(date, time)| format!("{date}T{}Z", time.replace('-', ":")));
            let body = json!({"path": hook.path, "segmentPath": file, "eventTs": event, "segmentStartTs": start});
            daemon.post("/hooks/mediamtx/record/segment/complete", &body).is(200);
        }
        Some(_) => {}
    }
}

/// All that is told of recordings and of the sessions that they belong to.
fn ledger(daemon: &Daemon) -> Vec<Value> {
    let mut all: Vec<Value> = PATHS.iter().map(|path| recordings(daemon, path, FROM, TO)).collect();
    for path in PATHS {
        let session = daemon.get(format!("/sessions/{}", id(path))).json();
        all.push(json!([session["media_start_ts"], session["media_end_ts"]]));
    }
    all
}

fn id(path: &str) -> String {
    format!("of-{}", path.replace('/', "-"))
}

fn open_all(daemon: &Daemon) {
    for path in PATHS {
        open(daemon, &id(path), path, "2026-11-23T11:32:30Z");
        close(daemon, &id(path), "2026-11-23T11:34:30Z");
    }
}

fn files_alone() -> Vec<Value> {
    let daemon = site::of_samples("");
    open_all(&daemon);
    ledger(&daemon)
}

#[test]
fn lost_doubled_delayed_and_reversed_hooks_leave_the_ledger_of_the_files() {
    let alone = files_alone();
    assert!(alone[0]["covered_ms"].as_i64().unwrap() > 20_000);
    let hooks = hooks();
    let in_order: Vec<usize> = (0..hooks.len()).collect();
    let doubled: Vec<usize> = in_order.iter().flat_map(|at| [*at, *at]).collect();
    let reversed: Vec<usize> = in_order.iter().rev().copied().collect();
    let every_other: Vec<usize> = in_order.iter().step_by(2).copied().collect();
    for (what, order, late_by) in [
        ("in order", &in_order, 0.0),
        ("doubled", &doubled, 0.0),
        ("delayed by an hour", &in_order, 3600.0),
        ("reversed", &reversed, 0.0),
        ("half lost", &every_other, 0.0),
    ] {
        // With the files there …
        let daemon = site::of_samples("");
        open_all(&daemon);
        for at in order {
            post(&daemon, &hooks[*at], late_by);
        }
        assert_eq!(ledger(&daemon), alone, "{what}, files first");
        // … and before them.
        let daemon = Daemon::on(site::home(""));
        site::scanned(&daemon);
        open_all(&daemon);
        for at in order {
            post(&daemon, &hooks[*at], late_by);
        }
        site::put_samples(daemon.dir());
        for (path, wanted) in PATHS.iter().zip(&alone) {
            recordings_become(&format!("{what}, hooks first: {path}"), &daemon, path, |now| now == wanted);
        }
        assert_eq!(ledger(&daemon), alone, "{what}, hooks first");
    }
}

/// A hook comes before its file can be seen: what it says is an estimate, until the file says better.
#[test]
fn a_hooks_estimate_is_replaced_by_the_file() {
    let daemon = Daemon::on(site::home(""));
    site::scanned(&daemon);
    open(&daemon, "s", "cam-local", "2026-11-23T11:32:30Z");
    let name = "2026-11-23_08-32-35-013765.mp4";
    let body =
        json!({"path": "cam-local", "segmentPath": format!("./recordings/cam-local/{name}"), "eventTs": "2026-11-23T11:32:41Z"});
    let answer = daemon.post("/hooks/mediamtx/record/segment/complete", &body).is(200).json();
    assert_eq!(answer, json!({"status": "ok", "session_id": "s"}));
    let estimate = recordings(&daemon, "cam-local", "2026-11-23T11:20:00Z", TO);
    assert_eq!(states(&estimate), ["estimated"]);
    assert_eq!(estimate["segments"][0]["end"], "2026-11-23T11:32:41.000000Z");
    let place = daemon.dir().join("local/cam-local");
    fs::create_dir_all(&place).unwrap();
    fs::copy(format!("{SAMPLES}/cam-local/{name}"), place.join(name)).unwrap();
    let read = recordings_become("the file", &daemon, "cam-local", |now| states(now) == ["complete"]);
    assert_eq!(read["segments"].as_array().unwrap().len(), 1, "{read}");
    assert_eq!(read["segments"][0]["end"], "2026-11-23T11:32:40.013765Z");
    let session = daemon.get("/sessions/s").json();
    assert_eq!(session["media_start_ts"], "2026-11-23T11:32:35.013Z");
    assert_eq!(session["media_end_ts"], "2026-11-23T11:32:40.013Z");
}

/// A gateway that had hooks alone is told where its recordings lie: what was known by the hooks' names is the same segment.
#[test]
fn what_hooks_told_before_the_folder_was_known_is_not_doubled() {
    let home = site::home("");
    let (patterns, name) = (site::config(home.dir(), ""), "2026-11-23_08-32-35-013765.mp4");
    home.configure("");
    let daemon = Daemon::on(home);
    open(&daemon, "s", "cam-local", "2026-11-23T11:32:30Z");
    for file in [name, "2026-11-23_08-32-00-000000.mp4"] {
        let body = json!({"path": "cam-local", "segmentPath": format!("/recordings/cam-local/{file}"), "eventTs": "2026-11-23T11:32:41Z"});
        daemon.post("/hooks/mediamtx/record/segment/complete", &body).is(200);
    }
    let home = daemon.stop();
    home.configure(&patterns);
    fs::create_dir_all(home.dir().join("local/cam-local")).unwrap();
    fs::copy(format!("{SAMPLES}/cam-local/{name}"), home.dir().join("local/cam-local").join(name)).unwrap();
    site::set_old(&home.dir().join("local/cam-local").join(name));
    let mut daemon = Daemon::on(home);
    site::scanned(&daemon);
    recordings_become("one name", &daemon, "cam-local", |now| {
        now["segments"].as_array().unwrap().iter().all(|one| one["file"].as_str().unwrap().starts_with("cam-local/"))
    });
    // The other one's file is not there: at the next scan it is called deleted.
    daemon.restart();
    site::scanned(&daemon);
    let recorded = recordings(&daemon, "cam-local", "2026-11-23T11:00:00Z", TO);
    let mut known = states(&recorded);
    known.sort_by_key(ToString::to_string);
    assert_eq!(known, ["complete", "deleted"], "{recorded}");
    assert_eq!(
        daemon.get("/sessions/s").json()["media_end_ts"],
        "2026-11-23T11:32:41.000Z",
        "it was recorded, as far as was told"
    );
}

/// The edge agent opens its session after the stream is up: the publish hook has been here before.
#[test]
fn a_publication_before_its_session_is_remembered() {
    let daemon = Daemon::start();
    let publish = |at: &str| daemon.post("/hooks/mediamtx/publish", &json!({"path": "cam", "eventTs": at})).is(200).json();
    let now = chrono::Utc::now();
    let at = |seconds: i64| (now + chrono::TimeDelta::seconds(seconds)).format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
    assert_eq!(publish(&at(-5)), json!({"status": "no_session"}));
    open(&daemon, "s", "cam", &at(0));
    let session = daemon.get("/sessions/s").json();
    assert_eq!(session["media_connect_ts"], at(-5));
    assert_eq!(session["recommended_start_offset_ms"], 200);
    // It is told once, and not to a session that began long after.
    close(&daemon, "s", &at(1));
    publish(&at(-5));
    open(&daemon, "later", "cam", &at(60));
    assert_eq!(daemon.get("/sessions/later").json()["media_connect_ts"], Value::Null);
}

/// A segment older than the row of its session belongs to it all the same.
#[test]
fn a_session_opened_late_finds_its_segments() {
    let daemon = site::of_samples("");
    open(&daemon, "late", "site/gate", "2026-11-23T11:32:36Z");
    let session = daemon.get("/sessions/late").json();
    assert_eq!(session["media_start_ts"], "2026-11-23T11:32:35.033Z");
    assert_eq!(session["media_end_ts"], "2026-11-23T11:32:50.924Z");
}

/// The stream comes up before the session: its picture may begin earlier, but not by more than the pre-roll.
#[test]
fn media_begins_no_earlier_than_the_preroll() {
    let daemon = site::of_samples("preroll_sec = 2\n");
    open(&daemon, "s", "cam-local", "2026-11-23T11:32:39Z");
    assert_eq!(daemon.get("/sessions/s").json()["media_start_ts"], "2026-11-23T11:32:37.000Z");
}
