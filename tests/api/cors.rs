//! CORS: every answer carries it, or the page shows only "Failed to fetch".

use serde_json::json;

use crate::support::agent::{FINISHED, START, copy_tracks, detection, frame_target, ingest, jpeg, open, opening};
use crate::support::daemon::Daemon;
use crate::support::http::{Request, Response};

const PAGE: &str = "http://gateway.local:3000";

/// A request of the page, which lives on the same host at another port.
fn from(origin: &str, request: Request) -> Request {
    request.header("Host", "gateway.local:8080").header("Origin", origin)
}

fn allowed(answer: &Response) -> Option<&str> {
    assert!(answer.all("access-control-allow-origin").len() <= 1, "{:?}", answer.headers);
    answer.header("access-control-allow-origin")
}

#[test]
fn every_answer_carries_the_cors_headers_the_404s_included() {
    let daemon = Daemon::with("[mediamtx]\nhook_token = \"t\"\n");
    copy_tracks(daemon.home(), FINISHED);
    open(&daemon, "s");
    ingest(&daemon, "s", &[("1", "cup", 0.5)], START, Some(&jpeg(1))).is(200);
    let frame = frame_target(detection(&daemon, "s", "1")["url_frame"].as_str().unwrap());
    let segment = format!("/sessions/{FINISHED}/tracks/seg-0000.jsonl");
    let etag = daemon.get(&segment).is(200).must("etag").to_owned();
    let get = Request::get;
    for (request, status) in [
        (get("/health"), 200),
        (get("/sessions/"), 200),
        (get("/sessions/s"), 200),
        (get("/sessions/nobody"), 404),
        (get("/sessions/nobody/tracks/index"), 404),
        (get("/sessions/nobody/tracks/seg-0000.jsonl"), 404),
        (get("/frames/s/nothing.jpg"), 404),
        (get("/nothing"), 404),
        (get("/sessions/range"), 400),
        (get("/sessions/%2e%2e"), 400),
        (get("/ingest/detections/s"), 200),
        (get("/changes"), 200),
        (get("/changes?since=999999"), 409),
        (get(&frame), 200),
        (get(&segment), 200),
        (Request::head(&segment), 200),
        (get(&segment).header("If-None-Match", &etag), 304),
        (get(&segment).header("Range", "bytes=0-9"), 206),
        (get(&segment).header("Range", "bytes=99999999-"), 416),
        (get(&segment).header("Accept-Encoding", "gzip"), 200),
        (Request::post("/sessions/open").json(&opening("new")), 201),
        (Request::post("/sessions/open").json(&json!({})), 400),
        (Request::post("/sessions/open"), 411),
        (Request::post("/sessions/open").header("Content-Length", "99999999"), 413),
        (Request::post("/sessions/open").header("Content-Type", "text/plain").body("x"), 415),
        (Request::post("/hooks/mediamtx/publish").json(&json!({})), 401),
        (Request::new("DELETE", "/sessions/s"), 405),
        (Request::new("PUT", "/nothing"), 404),
    ] {
        let sent = String::from_utf8_lossy(&request.bytes()).lines().next().unwrap_or_default().to_owned();
        let answer = daemon.send(&from(PAGE, request));
        assert_eq!(answer.status, status, "{sent}: {}", answer.text());
        assert_eq!(allowed(&answer), Some(PAGE), "{sent} {status}");
        assert!(answer.items("vary").contains(&"origin".to_owned()), "{sent} {status}: {:?}", answer.headers);
        answer.must("access-control-expose-headers");
    }
}

#[test]
fn a_page_on_the_same_host_is_allowed_whatever_its_port_or_scheme() {
    let daemon = Daemon::start();
    for (host, origin) in [
        ("gateway.local:8080", "http://gateway.local"),
        ("gateway.local:8080", "http://gateway.local:3000"),
        ("gateway.local", "https://gateway.local:8443"),
        ("GATEWAY.local:8080", "http://gateway.LOCAL:3000"),
        ("192.168.1.7:8080", "http://192.168.1.7:5173"),
        ("[fe80::1]:8080", "http://[fe80::1]:3000"),
        ("localhost:8080", "http://127.0.0.1:3000"),
        ("127.0.0.1:8080", "http://localhost:3000"),
        ("[::1]:8080", "http://localhost:3000"),
        ("localhost", "http://[::1]:3000"),
    ] {
        let answer = daemon.send(&Request::get("/sessions").header("Host", host).header("Origin", origin)).is(200);
        assert_eq!(allowed(&answer), Some(origin), "{host}");
    }
}

#[test]
fn a_foreign_origin_gets_the_normal_answer_without_the_header() {
    let daemon = Daemon::start();
    for origin in [
        "http://evil.example",
        "http://gateway.local.evil.example",
        "http://evil-gateway.local",
        "http://evil.example:8080",
        "http://gateway.local@evil.example",
        "null",
        "gateway.local",
        "",
    ] {
        let answer = daemon.send(&from(origin, Request::get("/sessions"))).is(200);
        assert_eq!(allowed(&answer), None, "{origin:?}");
        assert_eq!(answer.json()["sessions"], json!([]));
        assert!(answer.items("vary").contains(&"origin".to_owned()), "a cache must know: {:?}", answer.headers);
    }
}

#[test]
fn preflight_is_204_with_methods_and_headers_on_every_route() {
    let daemon = Daemon::start();
    for target in [
        "/sessions",
        "/sessions/",
        "/sessions/range",
        "/sessions/open",
        "/sessions/a%20b/tracks/seg-0000.jsonl",
        "/ingest",
        "/ingest/detections/s",
        "/frames/s/x.jpg",
        "/hooks/mediamtx/publish",
        "/health",
        "/changes",
    ] {
        let request = Request::new("OPTIONS", target)
            .header("Access-Control-Request-Method", "POST")
            .header("Access-Control-Request-Headers", "content-type, x-hook-token, range, if-none-match");
        let answer = daemon.send(&from(PAGE, request)).is(204);
        assert_eq!(allowed(&answer), Some(PAGE), "{target}");
        let methods = answer.items("access-control-allow-methods");
        assert!(methods.contains(&"get".to_owned()) || methods.contains(&"post".to_owned()), "{target}: {methods:?}");
        let headers = answer.items("access-control-allow-headers");
        for needed in ["content-type", "range", "if-none-match"] {
            assert!(headers.contains(&needed.to_owned()) || headers == ["*"], "{target}: {headers:?}");
        }
        assert!(answer.body.is_empty());
    }
}

#[test]
fn preflight_allows_the_method_that_the_route_has() {
    let daemon = Daemon::start();
    for (target, method) in [("/sessions/open", "post"), ("/ingest", "post"), ("/sessions", "get"), ("/health", "get")] {
        let request = Request::new("OPTIONS", target).header("Access-Control-Request-Method", &method.to_uppercase());
        let answer = daemon.send(&from(PAGE, request)).is(204);
        let methods = answer.items("access-control-allow-methods");
        assert!(methods.contains(&method.to_owned()), "{target}: {methods:?}");
    }
}

#[test]
fn preflight_of_a_foreign_origin_allows_nothing() {
    let daemon = Daemon::start();
    let request = Request::new("OPTIONS", "/sessions/open").header("Access-Control-Request-Method", "POST");
    assert_eq!(allowed(&daemon.send(&from("http://evil.example", request))), None);
}

#[test]
fn cors_origins_lists_more_pages() {
    let daemon = Daemon::with("[server]\ncors_origins = [\"https://ui.example\", \"http://10.0.0.5:3000\"]\n");
    for origin in ["https://ui.example", "http://10.0.0.5:3000", PAGE] {
        assert_eq!(allowed(&daemon.send(&from(origin, Request::get("/health")))), Some(origin));
    }
    for origin in ["http://ui.example", "https://ui.example:444", "http://10.0.0.5", "https://ui.example.evil"] {
        assert_eq!(allowed(&daemon.send(&from(origin, Request::get("/health")))), None, "{origin}");
    }
}

#[test]
fn a_star_in_cors_origins_allows_every_page() {
    let daemon = Daemon::with("[server]\ncors_origins = [\"*\"]\n");
    for target in ["/sessions", "/nothing"] {
        let answer = daemon.send(&from("http://anything.example", Request::get(target)));
        assert_eq!(allowed(&answer), Some("*"), "{target}");
    }
}

#[test]
fn the_page_may_read_the_headers_it_needs() {
    let daemon = Daemon::start();
    let exposed = daemon.send(&from(PAGE, Request::get("/health"))).items("access-control-expose-headers");
    for needed in ["etag", "content-range", "retry-after", "x-request-id"] {
        assert!(exposed.contains(&needed.to_owned()), "{needed} in {exposed:?}");
    }
}
