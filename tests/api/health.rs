//! `GET /health`, and the `health` subcommand that asks it.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::agent::{START, counts, ingest, jpeg, open};
use crate::support::daemon::{Daemon, command, run};
use crate::support::http::Request;
use crate::support::until;

#[test]
fn health_is_status_timestamp_and_service() {
    let daemon = Daemon::start();
    let answer = daemon.get("/health").is(200);
    let health = answer.json();
    assert_eq!((&health["status"], &health["service"]), (&json!("ok"), &json!("session-store")));
    let timestamp = health["timestamp"].as_str().expect("a time");
    assert!(timestamp.len() == 24 && timestamp.ends_with('Z') && &timestamp[10..11] == "T", "{timestamp}");
    let year: u32 = timestamp[..4].parse().unwrap();
    assert!(year >= 2025, "{timestamp} is the present");
}

#[test]
fn health_is_never_taken_from_a_cache() {
    let daemon = Daemon::start();
    let control = daemon.get("/health").is(200).must("cache-control").to_owned();
    assert!(control.contains("no-store") || control.contains("no-cache"), "{control}");
}

#[test]
fn health_says_its_version() {
    let daemon = Daemon::start();
    let health = daemon.get("/health").is(200).json();
    let version = health["version"].as_str().expect("a version");
    let printed = run(command(daemon.dir()).arg("--version"), b"").stdout;
    assert!(printed.contains(version), "{printed} has {version}");
}

#[test]
fn health_counts_open_sessions() {
    let daemon = Daemon::start();
    let numbers = |health: &Value| {
        let mut found = Vec::new();
        let mut rest = vec![health.clone()];
        while let Some(value) = rest.pop() {
            for (key, value) in value.as_object().into_iter().flatten() {
                if key.contains("open") && value.is_u64() {
                    found.push(value.as_u64().unwrap());
                }
                rest.push(value.clone());
            }
        }
        found
    };
    open(&daemon, "a");
    open(&daemon, "b");
    open(&daemon, "c");
    assert!(numbers(&daemon.get("/health").is(200).json()).contains(&3), "{}", daemon.get("/health").text());
}

#[test]
fn database_url_alone_does_not_degrade_and_shows_no_password() {
    let daemon = Daemon::with(
        "[database]\nurl = \"postgres://user:hunter2@host.invalid:5432/session_store\"\n[mediamtx]\nplayback_base_url = \"http://me:hunter2@mediamtx:9996\"\n",
    );
    let answer = daemon.get("/health").is(200);
    assert_eq!(answer.json()["status"], "ok");
    assert!(!answer.text().contains("hunter2"), "{}", answer.text());
}

/// The agent gives up on a 500: the detection would be lost for the sake of its picture.
#[test]
fn a_session_folder_that_cannot_be_written_costs_the_picture_and_not_the_detection() {
    let daemon = Daemon::start();
    open(&daemon, "s");
    // It is made behind the open port.
    until("the frames folder", Duration::from_secs(10), || daemon.frames_dir().is_dir().then_some(()));
    let blocked = daemon.frames_dir().join("s");
    drop(fs::remove_dir_all(&blocked));
    fs::write(&blocked, "no folder").unwrap();
    let send = |conf: f64| counts(ingest(&daemon, "s", &[("1", "cup", conf)], START, Some(&jpeg(1))));
    assert_eq!(send(0.5), (1, 0, 0, 1, false));
    fs::remove_file(&blocked).unwrap();
    assert_eq!(send(0.6), (1, 1, 0, 1, true));
    assert_eq!(daemon.get("/ingest/detections/s").is(200).json()["count"], 1);
}

#[test]
fn the_health_subcommand_exits_0_when_ok_and_2_when_nobody_answers() {
    let daemon = Daemon::start();
    let url = format!("http://{}", daemon.address);
    let asked = run(command(daemon.dir()).args(["health", "--url", &url]), b"");
    assert_eq!(asked.code, Some(0), "{asked:?}");
    let home = daemon.stop();
    let asked = run(command(home.dir()).args(["health", "--url", &url]), b"");
    assert_eq!(asked.code, Some(2), "{asked:?}");
}

#[test]
fn health_answers_while_ingests_run() {
    let daemon = Daemon::start();
    open(&daemon, "s");
    std::thread::scope(|scope| {
        for worker in 0..3 {
            let daemon = &daemon;
            scope.spawn(move || {
                for n in 0..10 {
                    let conf = f64::from(n) / 10.0;
                    ingest(daemon, "s", &[(&worker.to_string(), "cup", conf)], START, Some(&jpeg(1))).is(200);
                }
            });
        }
        let mut client = daemon.client();
        for _ in 0..20 {
            assert_eq!(client.send(&Request::get("/health")).is(200).json()["status"], "ok");
        }
    });
}
