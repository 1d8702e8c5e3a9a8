//! Bodies that say they are compressed: a few KiB could stand for GiB.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;

use crate::support::agent::{START, meta, open, opening, session};
use crate::support::daemon::Daemon;
use crate::support::http::{BOUNDARY, Multipart, Request};

/// What the larger bomb becomes.
const BOMB_MIB: usize = 32;

/// `length` spaces behind `start`, compressed.
fn bomb(start: &[u8], length: usize) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(start).unwrap();
    let piece = vec![b' '; 1 << 20];
    (0..length >> 20).for_each(|_| encoder.write_all(&piece).unwrap());
    encoder.finish().unwrap()
}

#[test]
fn a_compressed_body_is_415_and_never_inflated() {
    let daemon = Daemon::start();
    let opened = open(&daemon, "s");
    let bomb = bomb(opening("bomb").to_string().as_bytes(), BOMB_MIB << 20);
    assert!(bomb.len() < 1 << 20, "small on the wire");
    let form_type = format!("multipart/form-data; boundary={BOUNDARY}");
    let before = peak_kib(&daemon);
    for coding in ["gzip", "GZIP", "x-gzip", "deflate", "br", "zstd", "gzip, gzip", "identity, gzip", "unheard-of"] {
        for target in ["/sessions/open", "/sessions/close", "/hooks/mediamtx/publish", "/hooks/mediamtx/record/segment/complete"]
        {
            let request = Request::post(target).header("Content-Type", "application/json").header("Content-Encoding", coding);
            let error = daemon.send(&request.body(bomb.clone())).is(415).error();
            assert!(error.contains("Content-Encoding"), "{target} {coding}: {error}");
        }
        let request = Request::post("/ingest").header("Content-Type", &form_type).header("Content-Encoding", coding);
        let error = daemon.send(&request.body(bomb.clone())).is(415).error();
        assert!(error.contains("Content-Encoding"), "{coding}: {error}");
    }
    daemon.get("/sessions/bomb").is(404);
    assert_eq!(session(&daemon, "s"), opened);
    let grown = peak_kib(&daemon) - before;
    assert!(grown < (BOMB_MIB / 2) << 10, "grown by {grown} KiB: something was inflated");
}

#[test]
fn a_body_that_says_it_is_not_compressed_is_taken() {
    let daemon = Daemon::start();
    let request = Request::post("/sessions/open").header("Content-Encoding", "identity");
    daemon.send(&request.json(&opening("plain"))).is(201);
}

/// What is compressed without saying so is bytes like any others.
#[test]
fn compressed_bytes_that_do_not_say_so_are_no_json_no_form_and_no_picture() {
    let daemon = Daemon::start();
    open(&daemon, "s");
    let json_bomb = bomb(opening("bomb").to_string().as_bytes(), 8 << 20);
    daemon.send(&Request::post("/sessions/open").header("Content-Type", "application/json").body(json_bomb.clone())).is(400);
    let meta = meta("s", START, &[]).to_string();
    let part = ["Content-Disposition: form-data; name=\"meta\"", "Content-Encoding: gzip"];
    daemon.send(&Multipart::new().part(&part, &bomb(meta.as_bytes(), 8 << 20)).request()).is(400);
    daemon.send(&Multipart::new().field("meta", meta).frame(json_bomb).request()).is(400);
    assert_eq!(daemon.get("/ingest/detections/s").is(200).json()["count"], json!(0));
}

/// The most memory that the daemon's process has had.
fn peak_kib(daemon: &Daemon) -> usize {
    let text = std::fs::read_to_string(format!("/proc/{}/status", daemon.id())).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("VmHWM");
    line.trim().trim_end_matches("kB").trim().parse().unwrap()
}
