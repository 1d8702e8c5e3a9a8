//! Sessions whose agent has vanished.

use std::time::Duration;

use serde_json::json;

use crate::site::{self, close, open};
use crate::support::agent::{ingest, session};
use crate::support::daemon::Daemon;
use crate::support::until;
use crate::watched::Recorder;

fn see(daemon: &Daemon, id: &str, at: &str) {
    ingest(daemon, id, &[("1", "person", 0.9)], at, None).is(200);
}

#[test]
fn a_newer_session_of_the_same_device_and_path_supersedes() {
    let daemon = Daemon::start();
    open(&daemon, "old", "cam", "2026-01-01T10:00:00Z");
    open(&daemon, "elsewhere", "other", "2026-01-01T10:00:00Z");
    see(&daemon, "old", "2026-01-01T10:00:42Z");
    open(&daemon, "new", "cam", "2026-01-01T11:00:00Z");
    let old = session(&daemon, "old");
    assert_eq!((&old["status"], &old["end_reason"]), (&json!("closed"), &json!("superseded")));
    assert_eq!(old["end_ts"], "2026-01-01T10:00:42.000Z", "the last sighting");
    assert_eq!(session(&daemon, "elsewhere")["status"], "open");
    assert_eq!(session(&daemon, "new")["status"], "open");
}

#[test]
fn an_older_session_that_is_opened_late_supersedes_nothing() {
    let daemon = Daemon::start();
    open(&daemon, "new", "cam", "2026-01-01T11:00:00Z");
    open(&daemon, "old", "cam", "2026-01-01T10:00:00Z");
    assert_eq!(session(&daemon, "new")["status"], "open");
}

#[test]
fn an_idle_session_is_closed_at_its_last_evidence() {
    let daemon = Daemon::with("[sessions]\nidle_close_sec = 1\n");
    open(&daemon, "s", "cam", "2026-01-01T10:00:00Z");
    see(&daemon, "s", "2026-01-01T10:05:00Z");
    let closed = until("closed", Duration::from_secs(10), || {
        let now = session(&daemon, "s");
        (now["status"] == "closed").then_some(now)
    });
    assert_eq!((&closed["end_reason"], &closed["end_ts"]), (&json!("idle"), &json!("2026-01-01T10:05:00.000Z")));
    // A sighting that still comes, better or not, moves the end …
    see(&daemon, "s", "2026-01-01T10:06:00Z");
    let moved = until("moved", Duration::from_secs(5), || {
        let now = session(&daemon, "s");
        (now["end_ts"] == "2026-01-01T10:06:00.000Z").then_some(now)
    });
    assert_eq!((&moved["status"], &moved["end_reason"]), (&json!("closed"), &json!("idle")));
    // … and the client has the last word, which no sighting moves.
    close(&daemon, "s", "2026-01-01T10:05:30Z");
    ingest(&daemon, "s", &[("1", "person", 0.99)], "2026-01-01T10:07:00Z", None).is(200);
    let last = session(&daemon, "s");
    assert_eq!((&last["end_reason"], &last["end_ts"]), (&json!("client"), &json!("2026-01-01T10:05:30.000Z")));
}

#[test]
fn a_session_that_is_seen_stays_open() {
    let daemon = Daemon::with("[sessions]\nidle_close_sec = 2\n");
    open(&daemon, "quiet", "a", "2026-01-01T10:00:00Z");
    open(&daemon, "busy", "b", "2026-01-01T10:00:00Z");
    until("the quiet one closed", Duration::from_secs(15), || {
        see(&daemon, "busy", "2026-01-01T10:00:01Z");
        (session(&daemon, "quiet")["status"] == "closed").then_some(())
    });
    assert_eq!(session(&daemon, "busy")["status"], "open");
}

/// Nobody is seen, but the recording goes on: somebody is there.
#[test]
fn a_growing_recording_keeps_its_session_open() {
    let daemon = Daemon::on(site::home("[sessions]\nidle_close_sec = 4\n"));
    site::scanned(&daemon);
    open(&daemon, "recorded", "cam-local", "2026-11-23T11:32:30Z");
    open(&daemon, "quiet", "other", "2026-11-23T11:32:30Z");
    let folder = daemon.dir().join("local/cam-local");
    std::fs::create_dir_all(&folder).unwrap();
    let sample = std::fs::read(format!("{}/cam-local/2026-11-23_08-32-35-013765.mp4", site::SAMPLES)).unwrap();
    let mut recorder = Recorder::begin(&folder.join("2026-11-23_08-32-35-013765.mp4"), &sample);
    until("the quiet one closed", Duration::from_secs(20), || {
        // A file that is touched grows as far as its time tells.
        recorder.touch();
        (session(&daemon, "quiet")["status"] == "closed").then_some(())
    });
    assert_eq!(session(&daemon, "recorded")["status"], "open");
    until("closed, once it stands still", Duration::from_secs(20), || {
        (session(&daemon, "recorded")["status"] == "closed").then_some(())
    });
    let closed = session(&daemon, "recorded");
    assert_eq!((&closed["end_reason"], &closed["end_ts"]), (&json!("idle"), &closed["media_end_ts"]));
}
