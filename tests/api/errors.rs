//! Errors of every route: unknown route, 405, 411, 413, 415, and what every answer carries.

use std::time::Duration;

use serde_json::json;

use crate::support::agent::{START, meta, open, opening};
use crate::support::daemon::Daemon;
use crate::support::http::{BOUNDARY, Multipart, Request};

const POSTS: [&str; 4] =
    ["/sessions/open", "/sessions/close", "/hooks/mediamtx/publish", "/hooks/mediamtx/record/segment/complete"];
const GETS: [&str; 11] = [
    "/health",
    "/sessions",
    "/sessions/",
    "/sessions/range",
    "/sessions/s",
    "/sessions/s/tracks/index",
    "/sessions/s/tracks/meta.json",
    "/sessions/s/tracks/seg-0000.jsonl",
    "/ingest/detections/s",
    "/frames/s/x.jpg",
    "/changes",
];

#[test]
fn an_unknown_route_is_404_not_found_with_its_path() {
    let daemon = Daemon::start();
    for path in [
        "/nothing",
        "/",
        "/sessions/a/b",
        "/sessions/a/tracks",
        "/hooks",
        "/hooks/mediamtx",
        "/frames/a/b/c",
        "/Sessions",
        "/healthz",
    ] {
        let answer = daemon.get(path).is(404);
        assert_eq!(answer.json(), json!({"error": "Not found", "path": path}));
    }
    let answer = daemon.get("/nothing?secret=1").is(404).json();
    assert_eq!(answer["error"], "Not found");
    for method in ["POST", "PUT", "DELETE"] {
        let answer = daemon.send(&Request::new(method, "/nothing").body("{}")).is(404);
        assert_eq!(answer.json(), json!({"error": "Not found", "path": "/nothing"}), "{method}");
    }
}

#[test]
fn the_wrong_method_is_405_with_allow() {
    let daemon = Daemon::start();
    open(&daemon, "s");
    for target in GETS {
        for method in ["POST", "PUT", "DELETE", "PATCH", "PURGE"] {
            let answer = daemon.send(&Request::new(method, target).body("{}"));
            assert_eq!(answer.status, 405, "{method} {target}: {}", answer.text());
            let allow = answer.items("allow");
            assert!(allow.contains(&"get".to_owned()) && allow.contains(&"head".to_owned()), "{target}: {allow:?}");
            assert!(!allow.contains(&method.to_lowercase()), "{method} {target}: {allow:?}");
            assert!(!answer.error().is_empty());
        }
    }
    for target in POSTS.into_iter().chain(["/ingest"]) {
        for method in ["PUT", "DELETE", "PATCH"] {
            let answer = daemon.send(&Request::new(method, target).body("{}"));
            assert_eq!(answer.status, 405, "{method} {target}: {}", answer.text());
            assert!(answer.items("allow").contains(&"post".to_owned()), "{target}");
        }
    }
    for target in ["/ingest", "/hooks/mediamtx/publish", "/hooks/mediamtx/record/segment/complete"] {
        let answer = daemon.get(target).is(405);
        assert_eq!(answer.items("allow").into_iter().filter(|one| one != "options").collect::<Vec<_>>(), ["post"]);
        assert_eq!(answer.header("etag"), None);
    }
}

#[test]
fn a_405_changes_nothing_and_comes_before_the_body_is_judged() {
    let daemon = Daemon::start();
    let opened = open(&daemon, "s");
    daemon.send(&Request::new("DELETE", "/sessions/s")).is(405);
    daemon.send(&Request::new("PUT", "/sessions/open").json(&opening("new"))).is(405);
    daemon.send(&Request::new("PUT", "/ingest").header("Content-Type", "text/plain").body("x")).is(405);
    assert_eq!(daemon.get("/sessions/s").is(200).json(), opened);
    daemon.get("/sessions/new").is(404);
}

#[test]
fn a_post_without_a_length_is_411() {
    let daemon = Daemon::start();
    for target in POSTS.into_iter().chain(["/ingest"]) {
        let media_type = if target == "/ingest" { "multipart/form-data; boundary=x" } else { "application/json" };
        let answer = daemon.send(&Request::post(target).header("Content-Type", media_type)).is(411);
        assert!(!answer.error().is_empty(), "{target}");
    }
}

#[test]
fn a_chunked_json_body_is_taken() {
    let daemon = Daemon::start();
    let body = opening("chunked").to_string();
    let request = Request::post("/sessions/open").header("Content-Type", "application/json");
    daemon.send(&request.chunked(body.as_bytes(), 7)).is(201);
}

#[test]
fn other_json_bodies_over_1_mib_are_413_refused_before_they_are_read() {
    let daemon = Daemon::start();
    for target in POSTS {
        let mut client = daemon.client();
        let request = Request::post(target).header("Content-Type", "application/json");
        client.patience(Duration::from_secs(5));
        let head = request.header("Content-Length", "1048577");
        let answer = client.try_send(&head).expect("an answer to the head alone").is(413);
        assert!(!answer.error().is_empty(), "{target}");
    }
}

#[test]
fn who_sends_a_large_body_whole_still_reads_the_413() {
    let daemon = Daemon::start();
    let mut body = opening("large");
    body["reason"] = json!("x".repeat(2 << 20));
    let answer = daemon.post("/sessions/open", &body).is(413);
    assert!(!answer.error().is_empty());
    daemon.get("/sessions/large").is(404);
    let media_type = format!("multipart/form-data; boundary={BOUNDARY}");
    let form = Multipart::new().field("meta", meta("s", START, &[]).to_string()).frame(vec![0; 20 << 20]).bytes();
    daemon.send(&Request::post("/ingest").header("Content-Type", &media_type).body(form)).is(413);
}

#[test]
fn who_expects_100_continue_gets_it_or_the_refusal_alone() {
    let daemon = Daemon::start();
    let body = opening("asked").to_string();
    let head = |length: usize| {
        Request::post("/sessions/open")
            .header("Content-Type", "application/json")
            .header("Expect", "100-continue")
            .header("Content-Length", &length.to_string())
    };
    let mut client = daemon.client();
    client.write(&head(body.len()).bytes()).unwrap();
    assert!(client.interim().unwrap().starts_with("HTTP/1.1 100"));
    client.write(body.as_bytes()).unwrap();
    client.read(false).unwrap().is(201);
    let mut client = daemon.client();
    client.write(&head(2 << 20).bytes()).unwrap();
    assert!(client.interim().unwrap().starts_with("HTTP/1.1 413"), "the body is never asked for");
}

#[test]
fn a_chunked_json_body_over_1_mib_is_413() {
    let daemon = Daemon::start();
    let mut body = opening("large");
    body["reason"] = json!("x".repeat(2 << 20));
    let request = Request::post("/sessions/open").header("Content-Type", "application/json");
    daemon.send(&request.chunked(body.to_string().as_bytes(), 1 << 14)).is(413).error();
    daemon.get("/sessions/large").is(404);
}

#[test]
fn a_json_body_of_exactly_1_mib_is_taken() {
    let daemon = Daemon::start();
    let mut body = opening("full").to_string();
    body.push_str(&" ".repeat((1 << 20) - body.len()));
    daemon.send(&Request::post("/sessions/open").header("Content-Type", "application/json").body(body)).is(201);
}

#[test]
fn an_ingest_of_a_length_beyond_every_limit_is_413_before_it_is_read() {
    let daemon = Daemon::start();
    open(&daemon, "s");
    let media_type = format!("multipart/form-data; boundary={BOUNDARY}");
    for length in ["104857600", "18446744073709551615"] {
        let mut client = daemon.client();
        client.patience(Duration::from_secs(5));
        let head = Request::post("/ingest").header("Content-Type", &media_type).header("Content-Length", length);
        let answer = client.try_send(&head).expect("an answer to the head alone");
        assert!(
            // The second is refused by hyper itself, as a head that it cannot take.
            [400, 413, 431].contains(&answer.status),
            "{length}: {}",
            answer.status
        );
        if length == "104857600" {
            assert!(!answer.is(413).error().is_empty());
        }
    }
}

#[test]
fn another_media_type_is_415() {
    let daemon = Daemon::start();
    for target in POSTS {
        for media_type in
            ["text/plain", "application/x-www-form-urlencoded", "application/xml", "multipart/form-data; boundary=x", "json"]
        {
            let body = opening("new").to_string();
            let answer = daemon.send(&Request::post(target).header("Content-Type", media_type).body(body));
            assert_eq!(answer.status, 415, "{target} {media_type}: {}", answer.text());
            assert!(!answer.error().is_empty());
        }
    }
    daemon.get("/sessions/new").is(404);
}

#[test]
fn every_answer_carries_nosniff_and_a_request_id() {
    let daemon = Daemon::start();
    open(&daemon, "s");
    let mut seen = std::collections::HashSet::new();
    for (request, status) in [
        (Request::get("/health"), 200),
        (Request::get("/sessions"), 200),
        (Request::get("/nothing"), 404),
        (Request::get("/sessions/nobody"), 404),
        (Request::get("/frames/s/x.jpg"), 404),
        (Request::get("/sessions/%00"), 400),
        (Request::head("/sessions/s"), 200),
        (Request::new("OPTIONS", "/sessions"), 204),
        (Request::new("DELETE", "/sessions"), 405),
        (Request::post("/ingest"), 411),
        (Request::post("/sessions/open").header("Content-Length", "9999999"), 413),
        (Request::post("/sessions/open").header("Content-Type", "text/css").body("x"), 415),
        (Request::post("/sessions/open").json(&opening("t")), 201),
    ] {
        let answer = daemon.send(&request);
        if status != 204 {
            assert_eq!(answer.status, status);
        }
        assert_eq!(answer.must("x-content-type-options"), "nosniff", "{status}");
        assert!(seen.insert(answer.must("x-request-id").to_owned()), "each request has its own");
    }
}

#[test]
fn errors_are_json_with_one_sentence() {
    let daemon = Daemon::start();
    for request in [
        Request::get("/nothing"),
        Request::get("/sessions/nobody"),
        Request::get("/sessions/range"),
        Request::get("/sessions/%2e"),
        Request::post("/sessions/open").json(&json!({})),
        Request::post("/sessions/open").json(&json!([])),
        Request::post("/ingest").body("x"),
        Request::new("PATCH", "/health"),
    ] {
        let answer = daemon.send(&request);
        assert!((400..500).contains(&answer.status));
        assert!(answer.must("content-type").starts_with("application/json"), "{:?}", answer.headers);
        let error = answer.error();
        assert!(!error.is_empty() && !error.contains('\n'), "{error}");
        assert_eq!(answer.must("content-length"), answer.body.len().to_string());
    }
}

#[test]
fn a_connection_is_kept_through_errors() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    for _ in 0..3 {
        client.send(&Request::get("/nothing")).is(404);
        client.send(&Request::post("/sessions/open").json(&json!({}))).is(400);
        client.send(&Request::get("/sessions/%2e%2e")).is(400);
        client.send(&Request::get("/health")).is(200);
    }
}
