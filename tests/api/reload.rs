//! SIGHUP: the configuration is read again without a dropped request.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;

use crate::support::agent::{START, open, opening, session};
use crate::support::daemon::Daemon;
use crate::support::http::Request;
use crate::support::until;

/// Changes the configuration and returns what the daemon says of it, up to the line that ends a reload.
#[track_caller]
fn reload(daemon: &Daemon, config: &str) -> Vec<String> {
    let before = daemon.logs().len();
    daemon.home().configure(config);
    daemon.signal("HUP");
    until("the reload's last line", Duration::from_secs(5), || {
        let said = daemon.logs().split_off(before);
        let ends = |line: &String| line.contains("was read again") || line.contains("has mistakes");
        said.iter().any(ends).then_some(said)
    })
}

#[test]
fn limits_origins_token_playback_and_log_level_change_without_a_restart() {
    let daemon = Daemon::with("[playback]\nstart_offset_ms = 100\n");
    open(&daemon, "s");
    let origin = || {
        let answer = daemon.send(&Request::get("/health").header("Origin", "http://ui.example:3000"));
        answer.header("access-control-allow-origin").map(ToOwned::to_owned)
    };
    assert_eq!(origin(), None);
    let said = reload(
        &daemon,
        "[server]\ncors_origins = [\"http://ui.example:3000\"]\nmax_connections = 8\nbody_memory_mb = 2\n[frames]\nmax_bytes = 1000\n\
         [mediamtx]\nhook_token = \"hunter2\"\n[playback]\nstart_offset_ms = 700\n[log]\nlevel = \"warn\"\n",
    );
    for key in ["cors_origins", "max_connections", "body_memory_mb", "max_bytes", "hook_token", "start_offset_ms", "log.level"] {
        assert!(said.iter().any(|line| line.contains(key) && line.contains("is now")), "{key} in {said:?}");
    }
    assert_eq!(origin().as_deref(), Some("http://ui.example:3000"));

    let publish = Request::post("/hooks/mediamtx/publish").json(&json!({"path": "cam-local", "eventTs": START}));
    daemon.send(&publish).is(401);
    daemon.send(&publish.header("X-Hook-Token", "hunter2")).is(200);
    assert_eq!(session(&daemon, "s")["recommended_start_offset_ms"], 700);
    let frame = vec![0; 6_000_000];
    let boundary = "multipart/form-data; boundary=x";
    daemon.send(&Request::post("/ingest").header("Content-Type", boundary).body(frame)).is(413);

    let before = daemon.logs().len();
    daemon.get("/sessions").is(200);
    open(&daemon, "t");
    assert_eq!(daemon.logs().len(), before, "requests are logged at info");
    let said = reload(&daemon, "[log]\nlevel = \"info\"\n");
    assert!(said.iter().any(|line| line.contains("log.level")), "{said:?}");
    assert!(daemon.logs().iter().all(|line| !line.contains("hunter2")), "{:?}", daemon.logs());
    daemon.get("/sessions").is(200);
    until("a request in the log", Duration::from_secs(5), || {
        daemon.logs().iter().skip(before).find(|line| line.contains("\"/sessions\"")).cloned()
    });
}

#[test]
fn what_needs_a_restart_is_named_and_stays_as_it_was() {
    let daemon = Daemon::start();
    open(&daemon, "s");
    let said = reload(&daemon, "[database]\ncache_mb = 9\npath = \"elsewhere.redb\"\n[frames]\nstorage_path = \"elsewhere\"\n");
    for key in ["database.cache_mb", "database.path", "frames.storage_path"] {
        assert!(said.iter().any(|line| line.contains(key) && line.contains("restart")), "{key} in {said:?}");
    }
    assert_eq!(session(&daemon, "s")["status"], "open");
    let again = reload(&daemon, "[database]\ncache_mb = 9\n");
    assert!(again.iter().any(|line| line.contains("database.cache_mb") && line.contains("restart")), "still: {again:?}");
    assert!(!again.iter().any(|line| line.contains("database.path")), "taken back: {again:?}");
}

#[test]
fn a_broken_file_changes_nothing_and_its_line_is_named() {
    let daemon = Daemon::with("[mediamtx]\nhook_token = \"right\"\n");
    let hook = |token: &str| {
        let body = json!({"path": "cam", "eventTs": START});
        daemon.send(&Request::post("/hooks/mediamtx/publish").json(&body).header("X-Hook-Token", token))
    };
    for (broken, key, named) in [
        ("[mediamtx]\nhook_token = \"wrong\"\npreroll_sec = \"long\"\n", "preroll_sec", ": mediamtx.preroll_sec = \\\"long\\\""),
        ("[mediamtx]\nhook_token = \"wrong\n", "hook_token", ""),
    ] {
        let said = reload(&daemon, broken);
        let file = std::fs::read_to_string(daemon.home().config()).unwrap();
        let line = file.lines().position(|line| line.starts_with(key)).unwrap() + 1;
        let named = format!("line {line}{named}");
        assert!(said.iter().any(|line| line.contains(&named)), "{named} in {said:?}");
        hook("right").is(200);
        hook("wrong").is(401);
    }
    std::fs::remove_file(daemon.home().config()).unwrap();
    daemon.signal("HUP");
    until("a word on it", Duration::from_secs(5), || daemon.logs().into_iter().find(|line| line.contains("cannot be read")));
    hook("right").is(200);
}

#[test]
fn no_request_is_dropped_while_the_configuration_is_read_over_and_over() {
    let daemon = Daemon::start();
    let done = AtomicBool::new(false);
    let opened = std::thread::scope(|scope| {
        let agents: Vec<_> = (0..4)
            .map(|agent| {
                let (daemon, done) = (&daemon, &done);
                scope.spawn(move || {
                    let mut client = daemon.client();
                    let mut count = 0;
                    while !done.load(Ordering::Relaxed) {
                        client.send(&Request::post("/sessions/open").json(&opening(&format!("s{agent}-{count}")))).is(201);
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        for round in 0..20 {
            reload(&daemon, &format!("[server]\nbody_memory_mb = {}\nmax_connections = {}\n", 1 + round % 3, 100 + round));
        }
        done.store(true, Ordering::Relaxed);
        agents.into_iter().map(|agent| agent.join().unwrap()).sum::<u64>()
    });
    assert!(opened > 20, "{opened} opens");
    assert_eq!(daemon.get("/health").is(200).json()["sessions"], opened);
}
