//! Requests sent before the answers to earlier ones have come.

use std::time::Duration;

use serde_json::json;

use crate::assert_is_an_error;
use crate::support::agent::{START, ingest, jpeg, open, opening};
use crate::support::daemon::Daemon;
use crate::support::http::{Multipart, Request};

#[test]
fn answers_come_in_the_order_of_the_requests_and_none_is_mixed_up() {
    let daemon = Daemon::start();
    let mut wire = Vec::new();
    for n in 0..100 {
        let id = format!("s{n}");
        wire.extend(Request::post("/sessions/open").json(&opening(&id)).bytes());
        wire.extend(Request::post("/sessions/open").header("Content-Type", "text/plain").body("refused").bytes());
        wire.extend(Request::head(format!("/sessions/{id}")).bytes());
        wire.extend(Request::get(format!("/nothing/{n}")).bytes());
        wire.extend(Request::get(format!("/sessions/{id}")).bytes());
        let meta = json!({"sessionId": id, "captureTs": START, "detections": []}).to_string();
        wire.extend(Multipart::new().field("meta", meta).request().bytes());
        let chunked = Request::post("/sessions/close").header("Content-Type", "application/json");
        wire.extend(chunked.chunked(json!({"sessionId": id, "endTs": START}).to_string().as_bytes(), 9).bytes());
    }
    let mut client = daemon.client();
    client.write(&wire).unwrap();
    for n in 0..100 {
        let id = format!("s{n}");
        assert_eq!(client.read(false).unwrap().is(201).json()["session_id"], id.as_str());
        client.read(false).unwrap().is(415);
        client.read(true).unwrap().is(200);
        assert_eq!(client.read(false).unwrap().is(404).json()["path"], format!("/nothing/{n}"));
        assert_eq!(client.read(false).unwrap().is(200).json()["session_id"], id.as_str());
        assert_eq!(client.read(false).unwrap().is(200).json()["sessionId"], id.as_str());
        assert_eq!(client.read(false).unwrap().is(200).json()["session_id"], id.as_str());
    }
}

#[test]
fn a_broken_head_behind_good_requests_is_refused_after_their_answers() {
    let daemon = Daemon::start();
    open(&daemon, "s");
    ingest(&daemon, "s", &[("1", "cup", 0.5)], START, Some(&jpeg(1))).is(200);
    let good = [
        Request::get("/sessions/s"),
        Request::head("/sessions/s"),
        Request::new("OPTIONS", "/sessions"),
        Request::get("/changes"),
    ];
    for count in 1..=good.len() {
        let mut client = daemon.client();
        client.patience(Duration::from_secs(8));
        let mut wire: Vec<u8> = good[..count].iter().flat_map(Request::bytes).collect();
        wire.extend(b"GET /\x01 HTTP/1.1\r\n\r\n");
        wire.extend(Request::post("/sessions/open").json(&opening("behind")).bytes());
        client.write(&wire).unwrap();
        for (n, status) in [200, 200, 204, 200].into_iter().take(count).enumerate() {
            client.read(n == 1).unwrap().is(status);
        }
        let refusal = client.read(false).unwrap().is(400);
        assert_is_an_error(&refusal);
        assert!(client.drain().is_empty(), "nothing behind a broken head is looked at");
    }
    daemon.get("/sessions/behind").is(404);
}

/// A client that sends and sends and never reads is read from only as far as its answers can be kept.
#[test]
fn who_does_not_take_answers_is_not_read_without_end() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    client.send_within(Duration::from_secs(2));
    let wire: Vec<u8> = (0..1000).flat_map(|_| Request::get("/sessions").bytes()).collect();
    let sent = (0..2000).take_while(|_| client.write(&wire).is_ok()).count();
    assert!(sent < 2000, "{} MB of requests were taken", (sent * wire.len()) >> 20);
    daemon.get("/health").is(200);
}
