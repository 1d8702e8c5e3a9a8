//! `Cache-Control`, `ETag` and 304, and HEAD, on every kind of answer.

use serde_json::Value;

use crate::support::agent::{FINISHED, RUNNING, START, copy_tracks, detection, frame_target, ingest, jpeg, open, replace};
use crate::support::daemon::{Daemon, Home};
use crate::support::http::Request;

/// A daemon with both sample sessions, a picture, and one target of every GET route.
fn full() -> (Daemon, Vec<String>) {
    let home = Home::new("");
    copy_tracks(&home, FINISHED);
    copy_tracks(&home, RUNNING);
    let daemon = Daemon::on(home);
    open(&daemon, FINISHED);
    open(&daemon, RUNNING);
    ingest(&daemon, FINISHED, &[("1", "cup", 0.5)], START, Some(&jpeg(1))).is(200);
    let url = detection(&daemon, FINISHED, "1")["url_frame"].as_str().unwrap().to_owned();
    let targets = vec![
        "/sessions".to_owned(),
        "/sessions/range?from=2025-10-11&to=2025-10-12".to_owned(),
        format!("/sessions/{FINISHED}"),
        format!("/sessions/{FINISHED}/tracks/index"),
        format!("/sessions/{FINISHED}/tracks/meta.json"),
        format!("/sessions/{FINISHED}/tracks/seg-0000.jsonl"),
        format!("/sessions/{RUNNING}/tracks/seg-0001.jsonl"),
        format!("/ingest/detections/{FINISHED}"),
        frame_target(&url),
        "/changes".to_owned(),
    ];
    (daemon, targets)
}

#[test]
fn what_the_client_has_is_304_with_its_etag_and_without_a_body() {
    let (daemon, targets) = full();
    let mut client = daemon.client();
    for target in targets {
        let whole = client.send(&Request::get(&target)).is(200);
        let etag = whole.must("etag");
        for known in [etag.to_owned(), format!("W/{}", etag.trim_start_matches("W/")), format!("\"a\", {etag}"), "*".to_owned()] {
            let answer = client.send(&Request::get(&target).header("If-None-Match", &known)).is(304);
            assert_eq!(answer.must("etag"), etag, "{target}");
            assert_eq!(answer.header("cache-control"), whole.header("cache-control"), "{target}");
            assert_eq!(answer.must("x-content-type-options"), "nosniff");
        }
        let answer = client.send(&Request::get(&target).header("If-None-Match", "\"other\"")).is(200);
        assert!(answer.body == whole.body, "{target}");
        let head = client.send(&Request::head(&target).header("If-None-Match", etag));
        assert_eq!(head.status, 304, "HEAD {target}");
    }
}

#[test]
fn a_changed_answer_is_200_with_another_etag() {
    let (daemon, _) = full();
    for target in
        ["/sessions".to_owned(), format!("/sessions/{FINISHED}"), format!("/ingest/detections/{FINISHED}"), "/changes".to_owned()]
    {
        let before = daemon.get(&target).is(200);
        let track = target.replace('/', "");
        ingest(&daemon, FINISHED, &[(&track, &track, 0.5)], START, None).is(200);
        let after = daemon.send(&Request::get(&target).header("If-None-Match", before.must("etag"))).is(200);
        assert_ne!(after.must("etag"), before.must("etag"), "{target}");
    }
}

#[test]
fn head_has_gets_headers_content_length_included_and_no_body() {
    let (daemon, mut targets) = full();
    targets.extend(["/sessions/nobody", "/nothing", "/sessions/range", "/sessions/%2e%2e"].map(str::to_owned));
    let mut client = daemon.client();
    let shown = |headers: &[(String, String)]| {
        let moving = ["date", "x-request-id", "connection"];
        let mut kept: Vec<(String, String)> = headers.iter().map(|(k, v)| (k.to_ascii_lowercase(), v.clone())).collect();
        kept.retain(|(name, _)| !moving.contains(&name.as_str()));
        kept.sort();
        kept
    };
    for target in targets {
        for encoding in ["identity", "gzip"] {
            let get = client.send(&Request::get(&target).header("Accept-Encoding", encoding));
            let head = client.send(&Request::head(&target).header("Accept-Encoding", encoding));
            assert_eq!(head.status, get.status, "{target}");
            assert_eq!(shown(&head.headers), shown(&get.headers), "{target} {encoding}");
            assert_eq!(get.must("content-length"), get.body.len().to_string(), "{target}");
        }
    }
    let health = client.send(&Request::head("/health")).is(200);
    assert!(health.must("content-type").starts_with("application/json"));
    assert_eq!(client.send(&Request::get("/health")).is(200).json()["status"], "ok", "no body stood between");
}

#[test]
fn head_honours_range_headers_no_more_than_it_may() {
    let (daemon, _) = full();
    let target = format!("/sessions/{FINISHED}/tracks/seg-0000.jsonl");
    let head = daemon.send(&Request::head(target).header("Range", "bytes=0-9"));
    assert!([200, 206].contains(&head.status), "{}", head.status);
    assert!(head.body.is_empty());
}

#[test]
fn a_closed_track_segment_is_immutable_and_an_open_one_no_cache() {
    let (daemon, _) = full();
    let control =
        |id: &str, name: &str| daemon.get(format!("/sessions/{id}/tracks/{name}")).is(200).must("cache-control").to_owned();
    for (id, name) in [(FINISHED, "seg-0000.jsonl"), (FINISHED, "seg-0002.jsonl"), (RUNNING, "seg-0000.jsonl")] {
        let closed = control(id, name);
        assert!(closed.contains("immutable") && closed.contains("max-age="), "{id} {name}: {closed}");
    }
    assert_eq!(control(RUNNING, "seg-0001.jsonl"), "no-cache");
    for name in ["index", "index.json", "meta", "meta.json"] {
        assert_eq!(control(RUNNING, name), "no-cache");
        assert_eq!(control(FINISHED, name), "no-cache");
    }
}

#[test]
fn a_segment_becomes_immutable_when_the_index_says_closed() {
    let (daemon, _) = full();
    let index = daemon.tracks_dir().join(RUNNING).join("index.json");
    let target = format!("/sessions/{RUNNING}/tracks/seg-0001.jsonl");
    let mut content: Value = serde_json::from_slice(&std::fs::read(&index).unwrap()).unwrap();
    content["segments"][1]["closed"] = Value::Bool(true);
    replace(&index, content.to_string().as_bytes());
    assert!(daemon.get(&target).is(200).must("cache-control").contains("immutable"));
    content["segments"][1]["closed"] = Value::Bool(false);
    replace(&index, content.to_string().as_bytes());
    assert_eq!(daemon.get(&target).is(200).must("cache-control"), "no-cache");
}

#[test]
fn a_segment_that_no_index_calls_closed_is_no_cache() {
    let (daemon, _) = full();
    let folder = daemon.tracks_dir().join(RUNNING);
    std::fs::write(folder.join("tracks/seg-0009.jsonl"), "{}\n").unwrap();
    let control = |name: &str| daemon.get(format!("/sessions/{RUNNING}/tracks/{name}")).is(200).must("cache-control").to_owned();
    assert_eq!(control("seg-0009.jsonl"), "no-cache", "not in the index");
    for broken in ["{", "[]", "{\"segments\":5}", "{\"segments\":[{\"url\":\"tracks/seg-0000.jsonl\",\"closed\":\"yes\"}]}"] {
        replace(&folder.join("index.json"), broken.as_bytes());
        assert_eq!(control("seg-0000.jsonl"), "no-cache", "{broken}");
    }
    std::fs::remove_file(folder.join("index.json")).unwrap();
    assert_eq!(control("seg-0000.jsonl"), "no-cache", "no index");
}

#[test]
fn an_immutable_segment_still_answers_304_and_ranges() {
    let (daemon, _) = full();
    let target = format!("/sessions/{FINISHED}/tracks/seg-0001.jsonl");
    let whole = daemon.get(&target).is(200);
    let known = Request::get(&target).header("If-None-Match", whole.must("etag"));
    assert!(daemon.send(&known).is(304).must("cache-control").contains("immutable"));
    let part = daemon.send(&Request::get(&target).header("Range", "bytes=5-9")).is(206);
    assert_eq!(part.body, whole.body[5..10]);
    assert!(part.must("cache-control").contains("immutable"));
}

#[test]
fn an_etag_survives_a_restart() {
    let (mut daemon, targets) = full();
    let known: Vec<_> = targets[2..9].iter().map(|target| (target, daemon.get(target).is(200).must("etag").to_owned())).collect();
    daemon.restart();
    for (target, etag) in known {
        daemon.send(&Request::get(target).header("If-None-Match", &etag)).is(304);
    }
}

#[test]
fn json_answers_are_no_cache() {
    let (daemon, targets) = full();
    for target in targets.iter().filter(|target| !target.contains(".jsonl")) {
        assert_eq!(daemon.get(target).is(200).must("cache-control"), "no-cache", "{target}");
    }
}

#[test]
fn no_error_is_cacheable() {
    let (daemon, _) = full();
    for target in [
        "/nothing",
        "/sessions/nobody",
        "/sessions/nobody/tracks/index",
        "/sessions/nobody/tracks/meta.json",
        "/sessions/nobody/tracks/seg-0000.jsonl",
        "/frames/nobody/x.jpg",
        "/sessions/range",
        "/sessions/%2e%2e",
    ] {
        for request in [Request::get(target), Request::get(target).header("If-None-Match", "*")] {
            let answer = daemon.send(&request);
            assert!(answer.status >= 400, "{target}: {}", answer.status);
            assert_eq!(answer.must("cache-control"), "no-store", "{target}");
            assert_eq!(answer.header("etag"), None, "{target}");
        }
    }
    let answer = daemon.send(&Request::post("/sessions/close").body("{}")).is(400);
    assert_eq!(answer.must("cache-control"), "no-store");
}
