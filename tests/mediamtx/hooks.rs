//! MediaMTX's hooks reach the daemon by `session-store hook`, or wait for it.

use crate::recorder::{PATH, PATIENCE, Recorder, is_there, told};
use crate::support::agent::{open_at, session};
use crate::support::daemon::Daemon;
use crate::support::until;

#[test]
fn each_hook_arrives_and_those_that_find_no_daemon_wait() {
    if !is_there("hooks") {
        return;
    }
    let (mut recorder, home) = Recorder::new(true);
    let mut daemon = Daemon::on(home);
    let now = daemon.get("/health").json()["timestamp"].as_str().unwrap().to_owned();
    open_at(&daemon, "s", PATH, &now);
    recorder.start();
    recorder.record(3);
    for (kind, count) in [("publish", 1), ("record/segment/create", 3), ("record/segment/complete", 2)] {
        until(kind, PATIENCE, || (told(&daemon, kind) >= count).then_some(()));
    }
    let record = session(&daemon, "s");
    assert!(record["media_connect_ts"].is_string() && record["media_end_ts"].is_string(), "{record}");
    assert!(record["media_end_ts"].as_str() > record["media_start_ts"].as_str(), "{record}");

    let spool = daemon.dir().join("spool");
    let waiting =
        || std::fs::read_dir(&spool).unwrap().filter(|entry| entry.as_ref().unwrap().path().extension().is_some()).count();
    daemon.kill9();
    recorder.record(2);
    until("hooks that wait", PATIENCE, || (waiting() >= 3).then_some(()));
    let before = session_end(&record);
    daemon.restart();
    until("hooks taken", PATIENCE, || (waiting() == 0).then_some(()));
    until("the end moved", PATIENCE, || (session_end(&session(&daemon, "s")) > before).then_some(()));
    assert!(!daemon.logs().iter().any(|line| line.contains("\"status\":4")), "{:?}", daemon.logs());
}

fn session_end(record: &serde_json::Value) -> String {
    record["media_end_ts"].as_str().unwrap_or_else(|| panic!("no end in {record}")).to_owned()
}
