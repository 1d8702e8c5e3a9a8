//! Heads that are too large or no HTTP at all.

use std::time::Duration;

use crate::refused;
use crate::support::daemon::Daemon;
use crate::support::http::Request;
use crate::support::until;

/// hyper answered these by itself: no body, none of the headers that every answer has, no record in the log.
#[test]
fn a_head_that_is_too_large_is_refused_as_every_error_is() {
    let daemon = Daemon::start();
    let get = || Request::get("/health");
    let mut many = get();
    for n in 0..200 {
        many = many.header(&format!("X-{n}"), "1");
    }
    let address = |length: usize| [b"/".as_slice(), &vec![b'a'; length]].concat();
    for (what, request, status) in [
        ("200 headers", many, 431),
        ("one long header", get().header("X-Large", &"x".repeat(80 << 10)), 431),
        ("one endless header", get().header("X-Large", &"x".repeat(3 << 20)), 431),
        ("a long name", get().header(&"x".repeat(70 << 10), "1"), 431),
        ("a long address", Request::get(address(65_600)), 431),
        ("an endless address", Request::get(address(2 << 20)), 431),
    ] {
        let error = refused(&daemon, &request.bytes(), status).error();
        assert!(error.contains("65536 bytes") && error.contains("100 headers"), "{what}: {error}");
    }
    // Just within the limit of the whole head, hyper's own limit of an address does not matter.
    daemon.send(&Request::get(address(60_000))).is(404);
    let mut most = get();
    for n in 0..99 {
        most = most.header(&format!("X-{n}"), "1");
    }
    daemon.send(&most).is(200);
}

#[test]
fn a_length_beyond_all_measure_is_refused() {
    let daemon = Daemon::start();
    for length in ["18446744073709551615", "18446744073709551616", "99999999999999999999999999"] {
        let head = format!("POST /ingest HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
        let status = if length == "18446744073709551615" { 431 } else { 400 };
        refused(&daemon, head.as_bytes(), status);
    }
    let answer = daemon.send(&Request::post("/sessions/open").header("Content-Length", "9223372036854775807"));
    assert!(!answer.is(413).error().is_empty());
}

#[test]
fn what_is_no_http_is_refused_as_every_error_is_and_logged() {
    let daemon = Daemon::start();
    let noise: [&[u8]; 11] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"hello\r\n\r\n",
        b"GET /health\r\n\r\n",
        b"GET /health HTTP/9.9\r\n\r\n",
        b"GET /health HTTP/2.0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /he alth HTTP/1.1\r\n\r\n",
        b"GET /health HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\0y\r\n\r\n",
        b"GET http://[::1/health HTTP/1.1\r\n\r\n",
        b"\0\0\0\0\0\0\0\0\r\n\r\n",
    ];
    for bytes in noise {
        let error = refused(&daemon, bytes, 400).error();
        assert!(error.contains("HTTP/1.1"), "{error}");
    }
    until("each in the log", Duration::from_secs(5), || {
        let logged =
            daemon.logs().iter().filter(|line| line.contains("\"status\":400") && line.contains("\"path\":\"-\"")).count();
        (logged == noise.len()).then_some(())
    });
    daemon.get("/health").is(200);
}

/// A web page must be able to read why, as with every other error.
#[test]
fn a_refused_head_is_readable_by_a_page_of_any_allowed_origin() {
    let daemon = Daemon::with("[server]\ncors_origins = [\"*\"]\n");
    assert_eq!(refused(&daemon, b"GET /\x01 HTTP/1.1\r\n\r\n", 400).must("access-control-allow-origin"), "*");
}

#[test]
fn addresses_that_are_none_of_ours_are_answered_in_json() {
    let daemon = Daemon::start();
    for (line, statuses) in [
        ("CONNECT gateway:443 HTTP/1.1", &[400, 404, 405][..]),
        ("OPTIONS * HTTP/1.1", &[404]),
        ("GET http://elsewhere/nothing HTTP/1.1", &[404]),
        ("GET //health HTTP/1.1", &[404]),
        ("TRACE /health HTTP/1.1", &[405]),
        ("GET /health?%00%ff=\u{fffd} HTTP/1.1", &[200]),
        ("GET /%ff%fe HTTP/1.1", &[404]),
    ] {
        let mut client = daemon.client();
        client.write(format!("{line}\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
        let answer = client.read(false).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert!(statuses.contains(&answer.status), "{line}: {} {}", answer.status, answer.text());
        assert_eq!(answer.must("x-content-type-options"), "nosniff", "{line}");
        assert!(answer.json().is_object(), "{line}");
    }
}
