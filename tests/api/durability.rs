//! Acknowledged means durable: what was answered is there after `kill -9`.

use std::time::Duration;

use serde_json::json;

use crate::support::agent::{
    END, START, close, detection, detections, ingest, jpeg, open, picture, pictures, pictures_become, session,
};
use crate::support::daemon::Daemon;
use crate::support::records::at;
use crate::support::until;

#[test]
fn what_was_acknowledged_is_there_after_kill_9() {
    let mut daemon = Daemon::start();
    open(&daemon, "open");
    open(&daemon, "shut");
    ingest(&daemon, "shut", &[("1", "cup", 0.5), ("2", "dog", 0.6)], START, Some(&jpeg(1))).is(200);
    daemon.post("/hooks/mediamtx/publish", &json!({"path": "cam-local", "eventTs": START})).is(200);
    close(&daemon, "shut", END);
    let before = (session(&daemon, "open"), session(&daemon, "shut"), detections(&daemon, "shut"));
    daemon.restart();
    assert_eq!((session(&daemon, "open"), session(&daemon, "shut"), detections(&daemon, "shut")), before);
    assert_eq!(picture(&daemon, &detection(&daemon, "shut", "1")).is(200).body, jpeg(1));
}

#[test]
fn each_answer_alone_survives_kill_9() {
    let mut daemon = Daemon::start();
    for n in 0..3_u8 {
        let id = format!("s{n}");
        open(&daemon, &id);
        daemon.restart();
        assert_eq!(session(&daemon, &id)["status"], "open");
        ingest(&daemon, &id, &[("1", "cup", 0.5)], START, Some(&jpeg(n + 1))).is(200);
        daemon.restart();
        assert_eq!(picture(&daemon, &detection(&daemon, &id, "1")).is(200).body, jpeg(n + 1));
        close(&daemon, &id, END);
        daemon.restart();
        assert_eq!(session(&daemon, &id)["status"], "closed");
    }
}

#[test]
fn a_beaten_frame_is_deleted_also_when_the_daemon_was_killed_between() {
    let mut daemon = Daemon::start();
    open(&daemon, "s");
    for n in 1..6_u32 {
        ingest(&daemon, "s", &[("1", "cup", f64::from(n) / 10.0)], START, Some(&jpeg(1))).is(200);
        daemon.restart();
        assert_eq!(picture(&daemon, &detection(&daemon, "s", "1")).is(200).body, jpeg(1));
    }
    pictures_become(&daemon, "s", 1);
}

#[test]
fn a_clean_stop_carries_every_held_touch() {
    let daemon = Daemon::with("[database]\ntouch_interval_ms = 60000\n");
    open(&daemon, "s");
    ingest(&daemon, "s", &[("1", "cup", 0.5)], &at(0, 1), None).is(200);
    ingest(&daemon, "s", &[("1", "cup", 0.4)], &at(0, 9), None).is(200);
    let daemon = Daemon::on(daemon.stop());
    assert_eq!(detection(&daemon, "s", "1")["last_ts"], "2025-10-11T12:00:09.000Z");
}

/// Found by the crash harness: each commit that carried the touches of a busy session began the interval of all others anew,
/// so a quiet session's touch stayed in memory for as long as another one was busy.
#[test]
fn a_busy_session_does_not_put_off_the_touches_of_a_quiet_one() {
    let daemon = Daemon::with("[database]\ntouch_interval_ms = 500\n");
    for id in ["quiet", "busy"] {
        open(&daemon, id);
        ingest(&daemon, id, &[("1", "cup", 0.5)], &at(0, 1), None).is(200);
    }
    let number = || {
        let feed = daemon.get("/changes").json();
        let entry = feed["changes"].as_array().unwrap().iter().find(|entry| entry["detection"]["session_id"] == "quiet").cloned();
        entry.unwrap()["seq"].as_u64().unwrap()
    };
    let before = number();
    ingest(&daemon, "quiet", &[("1", "cup", 0.4)], &at(0, 9), None).is(200);
    let mut step = 0_u16;
    until("the quiet session's touch is committed", Duration::from_secs(10), || {
        step += 1;
        let second = usize::from(step) % 3000;
        ingest(&daemon, "busy", &[("1", "cup", 0.1)], &at(1 + second / 60, second % 60), None).is(200);
        ingest(&daemon, "busy", &[("1", "cup", 0.5 + f64::from(step) / 1e6)], &at(0, 1), None).is(200);
        (number() > before).then_some(())
    });
}

#[test]
fn a_close_carries_the_held_touches_of_its_session() {
    let mut daemon = Daemon::with("[database]\ntouch_interval_ms = 60000\n");
    open(&daemon, "s");
    ingest(&daemon, "s", &[("1", "cup", 0.5)], &at(0, 1), None).is(200);
    ingest(&daemon, "s", &[("1", "cup", 0.4)], &at(0, 9), None).is(200);
    assert_eq!(detection(&daemon, "s", "1")["last_ts"], "2025-10-11T12:00:09.000Z", "a read shows it at once");
    close(&daemon, "s", END);
    daemon.restart();
    assert_eq!(detection(&daemon, "s", "1")["last_ts"], "2025-10-11T12:00:09.000Z");
}

#[test]
fn files_that_are_not_the_stores_own_are_left_alone() {
    let mut daemon = Daemon::start();
    open(&daemon, "s");
    ingest(&daemon, "s", &[("1", "cup", 0.5)], START, Some(&jpeg(1))).is(200);
    let stranger = daemon.frames_dir().join("s/stranger.jpg");
    std::fs::write(&stranger, jpeg(2)).unwrap();
    std::fs::write(daemon.frames_dir().join("notes.txt"), "mine").unwrap();
    daemon.restart();
    ingest(&daemon, "s", &[("1", "cup", 0.6)], START, Some(&jpeg(3))).is(200);
    pictures_become(&daemon, "s", 2);
    assert!(stranger.exists() && daemon.frames_dir().join("notes.txt").exists());
    assert_eq!(pictures(&daemon, "s").len(), 2);
}
