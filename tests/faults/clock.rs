//! The time of day jumps: no network at the start, then a time server.

use std::fs;

use crate::support::agent::{START, close, detection, detections, ingest, open, session};
use crate::support::daemon::{Daemon, Home, faketime};
use crate::support::records::at;

#[test]
fn a_clock_that_jumps_a_day_forth_and_back_loses_nothing() {
    let Some(library) = faketime() else { return };
    let home = Home::new("[database]\ntouch_interval_ms = 200\n");
    let time = home.dir().join("time");
    fs::write(&time, "+0").unwrap();
    let environment = [
        ("LD_PRELOAD", library.as_ref()),
        ("FAKETIME_TIMESTAMP_FILE", time.as_os_str()),
        ("FAKETIME_NO_CACHE", "1".as_ref()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".as_ref()),
    ];
    let mut daemon = Daemon::on_with(home, &environment);
    let mut seen = Vec::new();
    for (n, jump) in ["+0", "+1d", "-1d", "+0"].iter().enumerate() {
        fs::write(&time, jump).unwrap();
        let id = format!("s{n}");
        open(&daemon, &id);
        ingest(&daemon, &id, &[("1", "cup", 0.5)], START, None).is(200);
        ingest(&daemon, &id, &[("1", "cup", 0.4)], &at(9, n), None).is(200);
        close(&daemon, &id, &at(10, n));
        assert_eq!(detection(&daemon, &id, "1")["last_ts"], format!("2025-10-11T12:09:0{n}.000Z"));
        seen.push((session(&daemon, &id), detections(&daemon, &id)));
    }
    let created = |n: usize| seen[n].0["created_at"].as_str().unwrap();
    assert!(created(2) < created(0) && created(0) < created(1), "the clock did jump");
    let changes = daemon.get("/changes?since=0&limit=100").is(200).json();
    let numbers: Vec<u64> = changes["changes"].as_array().unwrap().iter().map(|entry| entry["seq"].as_u64().unwrap()).collect();
    assert!(numbers.is_sorted() && numbers.len() == 8, "the feed does not follow the clock: {numbers:?}");
    daemon.restart();
    for (n, (record, found)) in seen.iter().enumerate() {
        assert_eq!((&session(&daemon, &format!("s{n}")), &detections(&daemon, &format!("s{n}"))), (record, found));
    }
}
