//! What each kind tells the daemon, and by which way.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::command::{COMPLETE, CREATE, PUBLISH, complained, home, hook, requests, told, waiting};
use crate::support::agent::{open_at, session};
use crate::support::daemon::{Daemon, Home, command};
use crate::support::{text, until};

/// What MediaMTX's hooks found in their environments, one JSON object a line.
const SAMPLES: &str = include_str!("../data/recordings/hooks.ndjson");

/// Now, as the daemon shows it; `ago` seconds earlier.
fn now(daemon: &Daemon, ago: i64) -> String {
    let shown = daemon.get("/health").is(200).json()["timestamp"].as_str().unwrap().to_owned();
    let at = chrono::DateTime::parse_from_rfc3339(&shown).unwrap() - chrono::Duration::seconds(ago);
    at.to_utc().to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

fn millis(time: &str) -> i64 {
    chrono::DateTime::parse_from_rfc3339(time).unwrap().timestamp_millis()
}

#[test]
fn the_samples_environments_are_told_by_the_socket() {
    let daemon = Daemon::on(home(""));
    let start = now(&daemon, 60);
    let paths = ["cam-local", "cam-ts", "cam-epoch", "site/gate"];
    for path in paths {
        open_at(&daemon, &path.replace('/', "_"), path, &start);
    }
    let before = now(&daemon, 0);
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    // No more than a few of a kind: each is a process.
    for line in SAMPLES.lines() {
        let sample: BTreeMap<String, Value> = serde_json::from_str(line).unwrap();
        let kind = match sample["hook"].as_str().unwrap() {
            "runOnAvailable" => "publish",
            "runOnRecordSegmentCreate" => "segment-create",
            "runOnRecordSegmentComplete" => "segment-complete",
            _ => continue,
        };
        let variables: Vec<_> = sample
            .iter()
            .filter(|(name, _)| name.starts_with("MTX_"))
            .map(|(name, value)| (name.as_str(), value.as_str().unwrap()))
            .collect();
        told(&mut hook(daemon.home(), kind, &variables));
        *counts.entry(kind).or_default() += 1;
    }
    assert!(counts.values().all(|count| *count >= 5), "{counts:?}");
    let after = now(&daemon, 0);
    for path in paths {
        let record = session(&daemon, &path.replace('/', "_"));
        for field in ["media_connect_ts", "media_end_ts"] {
            let at = text(&record, field);
            assert!(before.as_str() <= at && at <= after.as_str(), "{field} of {path}: {at}, not in {before} – {after}");
        }
    }
    let requests = requests(&daemon);
    assert_eq!(requests.len(), counts.values().sum::<usize>());
    assert!(requests.iter().all(|request| request["ip"] == "unix" && request["status"] == 200), "{requests:?}");
    assert_eq!(waiting(daemon.home()), [""; 0]);
}

/// The scripts in the field know no start; the command works it out from the measured duration.
#[test]
fn a_finished_segment_begins_its_duration_before_its_end() {
    let daemon = Daemon::on(home(""));
    open_at(&daemon, "s", "cam-local", &now(&daemon, 60));
    told(&mut hook(daemon.home(), "segment-complete", COMPLETE));
    let record = session(&daemon, "s");
    let length = millis(text(&record, "media_end_ts")) - millis(text(&record, "media_start_ts"));
    assert!((5499..=5501).contains(&length), "{record}");
}

#[test]
fn without_a_socket_it_is_told_at_the_port_under_the_configured_token() {
    let mut daemon = Daemon::with("[mediamtx]\nhook_token = \"tok-en\"\n");
    open_at(&daemon, "s", "cam-local", &now(&daemon, 60));
    let config = |host: &str, token: &str| {
        let home = Home::new("");
        let port = daemon.address.port();
        home.configure(&format!("[server]\nhost = \"{host}\"\nport = {port}\n[mediamtx]\n{token}\n"));
        home
    };
    // On all interfaces is on loopback too.
    let right = config("0.0.0.0", "hook_token = \"tok-en\"");
    for (kind, variables) in [("publish", PUBLISH), ("segment-create", CREATE), ("segment-complete", COMPLETE)] {
        told(&mut hook(&right, kind, variables));
    }
    let record = session(&daemon, "s");
    assert!(record["media_connect_ts"].is_string() && record["media_end_ts"].is_string(), "{record}");
    assert!(requests(&daemon).iter().all(|request| request["ip"] == "127.0.0.1" && request["status"] == 200));
    // Nothing that is refused is told again or waits.
    for token in ["", "hook_token = \"other\""] {
        let wrong = config("127.0.0.1", token);
        let said = complained(&mut hook(&wrong, "publish", PUBLISH));
        assert!(said.contains("401") && said.contains("Unauthorized") && !said.contains("tok-en"), "{said}");
        assert_eq!(std::fs::read_dir(wrong.dir()).unwrap().count(), 1, "only its configuration");
    }
    until("five requests", Duration::from_secs(5), || (requests(&daemon).len() == 5).then_some(()));
    daemon.kill9();
}

#[test]
fn the_configuration_is_found_as_the_daemon_finds_it() {
    let daemon = Daemon::on(home(""));
    let told_with = |set: &dyn Fn(&mut std::process::Command)| {
        let before = requests(&daemon).len();
        let mut hook = command(&std::env::temp_dir());
        hook.args(["hook", "publish"]).envs(PUBLISH.iter().copied());
        set(&mut hook);
        told(&mut hook);
        // The log is written behind the answer.
        until("one more request", Duration::from_secs(5), || (requests(&daemon).len() == before + 1).then_some(()));
    };
    let file = daemon.home().config();
    told_with(&|hook| _ = hook.env("SESSION_STORE_CONFIG", &file));
    told_with(&|hook| _ = hook.arg("-c").arg(&file));
    told_with(&|hook| _ = hook.current_dir(daemon.dir()));
}

#[test]
fn a_created_segment_is_answered_like_a_finished_one() {
    const CREATED: &str = "/hooks/mediamtx/record/segment/create";
    let daemon = Daemon::start();
    let body = json!({"path": "cam-local", "segmentPath": "a.mp4", "eventTs": "2025-10-11T12:00:01Z"});
    assert_eq!(daemon.post(CREATED, &body).is(200).json(), json!({"status": "no_session"}));
    open_at(&daemon, "s", "cam-local", "2025-10-11T12:00:00Z");
    assert_eq!(daemon.post(CREATED, &body).is(200).json(), json!({"status": "ok", "session_id": "s"}));
    for bad in [json!({"path": "cam-local"}), json!({"segmentPath": "a.mp4"}), json!({"path": "", "segmentPath": "a.mp4"})] {
        assert_eq!(daemon.post(CREATED, &bad).is(400).error(), "Missing required fields: path, segmentPath");
    }
    let bad = json!({"path": "cam-local", "segmentPath": "a.mp4", "eventTs": "soon"});
    assert!(daemon.post(CREATED, &bad).is(400).error().contains("eventTs"));
}
