//! Compression: where it pays, whole, with its own `Content-Length`, `ETag` and `Vary`.

use std::io::Read;

use crate::support::agent::{FINISHED, copy_tracks, open};
use crate::support::daemon::Daemon;
use crate::support::http::{Request, Response};

fn inflated(answer: &Response) -> Vec<u8> {
    let mut plain = Vec::new();
    flate2::read::MultiGzDecoder::new(answer.body.as_slice()).read_to_end(&mut plain).expect("gzip");
    plain
}

/// A daemon with large answers, and their targets.
fn large() -> (Daemon, [String; 3]) {
    let daemon = Daemon::start();
    copy_tracks(daemon.home(), FINISHED);
    for n in 0..10 {
        open(&daemon, &format!("s{n}"));
    }
    let segment = format!("/sessions/{FINISHED}/tracks/seg-0000.jsonl");
    (daemon, ["/sessions".to_owned(), segment, "/changes".to_owned()])
}

fn with(target: &str, accept: &str) -> Request {
    Request::get(target).header("Accept-Encoding", accept)
}

#[test]
fn json_and_ndjson_of_1_kb_and_more_are_gzipped_for_who_accepts_it() {
    let (daemon, targets) = large();
    for target in &targets {
        let plain = daemon.get(target).is(200);
        assert_eq!(plain.header("content-encoding"), None, "{target}");
        for accept in ["gzip", "gzip, deflate, br", "br;q=1.0, gzip;q=0.8", "GZIP", "identity;q=0.5, gzip"] {
            let small = daemon.send(&with(target, accept)).is(200);
            assert_eq!(small.must("content-encoding"), "gzip", "{target} {accept}");
            assert_eq!(small.must("content-length"), small.body.len().to_string());
            assert!(small.body.len() < plain.body.len(), "{target}");
            assert!(inflated(&small) == plain.body, "{target}");
            assert_eq!(small.header("content-type"), plain.header("content-type"));
            assert_ne!(small.must("etag"), plain.must("etag"), "{target}");
        }
    }
}

#[test]
fn who_does_not_accept_gzip_gets_it_plain() {
    let (daemon, targets) = large();
    for target in &targets {
        for accept in ["", "identity", "br", "deflate", "gzip;q=0", "gzip; q=0.0, *", "x-gzipped"] {
            let answer = daemon.send(&with(target, accept)).is(200);
            assert_eq!(answer.header("content-encoding"), None, "{target} {accept:?}");
            assert!(answer.body.starts_with(b"{"), "{target}");
        }
    }
}

#[test]
fn vary_names_accept_encoding_whether_compressed_or_not() {
    let (daemon, targets) = large();
    for target in &targets {
        for accept in ["identity", "gzip"] {
            let whole = daemon.send(&with(target, accept)).is(200);
            let known = with(target, accept).header("If-None-Match", whole.must("etag"));
            for answer in [whole.clone(), daemon.send(&known).is(304)] {
                let vary = answer.items("vary");
                assert!(vary.contains(&"accept-encoding".to_owned()), "{target} {accept}: {vary:?}");
                assert!(vary.contains(&"origin".to_owned()), "{target} {accept}: {vary:?}");
            }
        }
    }
}

#[test]
fn the_gzip_etag_gives_304() {
    let (daemon, targets) = large();
    for target in &targets {
        let etag = daemon.send(&with(target, "gzip")).is(200).must("etag").to_owned();
        let answer = daemon.send(&with(target, "gzip").header("If-None-Match", &etag)).is(304);
        assert_eq!(answer.must("etag"), etag, "{target}");
    }
}

#[test]
fn range_answers_are_never_gzipped() {
    let (daemon, targets) = large();
    let plain = daemon.get(&targets[1]).is(200);
    let answer = daemon.send(&with(&targets[1], "gzip").header("Range", "bytes=0-1999")).is(206);
    assert_eq!(answer.header("content-encoding"), None);
    assert!(answer.body == plain.body[..2000]);
    assert_eq!(answer.must("etag"), plain.must("etag"), "the tag of the plain bytes");
}

#[test]
fn small_answers_and_errors_are_not_worth_it() {
    let daemon = Daemon::start();
    open(&daemon, "s");
    for target in ["/sessions/s", "/sessions/nobody", "/nothing", "/ingest/detections/s"] {
        let answer = daemon.send(&with(target, "gzip"));
        assert_eq!(answer.header("content-encoding"), None, "{target}");
        answer.json();
    }
}
