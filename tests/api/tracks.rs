//! `GET /sessions/:id/tracks/…`.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::agent::{FINISHED, RUNNING, copy_tracks, copy_tracks_as, encode, open, replace, sample};
use crate::support::daemon::{Daemon, Home};
use crate::support::http::Request;

/// A daemon with a sample session's tracks, and their folder.
fn with_tracks(id: &str) -> (Daemon, PathBuf) {
    let home = Home::new("");
    let folder = copy_tracks(&home, id);
    let daemon = Daemon::on(home);
    open(&daemon, id);
    (daemon, folder)
}

#[test]
fn tracks_index_and_index_json_are_the_parsed_index_json() {
    let (daemon, _) = with_tracks(FINISHED);
    let expected: Value = serde_json::from_slice(&sample(&format!("tracks/{FINISHED}/index.json"))).unwrap();
    for name in ["index", "index.json"] {
        let answer = daemon.get(format!("/sessions/{FINISHED}/tracks/{name}")).is(200);
        assert!(answer.must("content-type").starts_with("application/json"));
        assert_eq!(answer.json(), expected, "{name}");
    }
}

#[test]
fn tracks_meta_and_meta_json_are_the_parsed_meta_json() {
    let (daemon, _) = with_tracks(RUNNING);
    let expected: Value = serde_json::from_slice(&sample(&format!("tracks/{RUNNING}/meta.json"))).unwrap();
    for name in ["meta", "meta.json"] {
        let answer = daemon.get(format!("/sessions/{RUNNING}/tracks/{name}")).is(200);
        assert!(answer.must("content-type").starts_with("application/json"));
        assert_eq!(answer.json(), expected, "{name}");
    }
}

#[test]
fn a_segment_is_the_file_as_ndjson_with_its_content_length() {
    let (daemon, _) = with_tracks(FINISHED);
    for name in ["seg-0000.jsonl", "seg-0001.jsonl", "seg-0002.jsonl"] {
        let file = sample(&format!("tracks/{FINISHED}/tracks/{name}"));
        let answer = daemon.get(format!("/sessions/{FINISHED}/tracks/{name}")).is(200);
        assert_eq!(answer.must("content-type"), "application/x-ndjson");
        assert_eq!(answer.must("content-length"), file.len().to_string());
        assert!(answer.body == file, "{name}");
    }
}

#[test]
fn segments_under_accept_application_json_are_never_406() {
    let (daemon, _) = with_tracks(FINISHED);
    for accept in ["application/json", "text/html", "image/png;q=0.1", "", "*/*;q=0"] {
        for name in ["seg-0000.jsonl", "index", "meta.json"] {
            let target = format!("/sessions/{FINISHED}/tracks/{name}");
            daemon.send(&Request::get(target).header("Accept", accept)).is(200);
        }
    }
}

#[test]
fn what_is_not_there_is_404_with_its_own_sentence() {
    let (daemon, folder) = with_tracks(FINISHED);
    open(&daemon, "bare");
    std::fs::create_dir(folder.join("tracks/folder")).unwrap();
    for id in ["bare", "nobody", "no%20body%3F"] {
        for (name, sentence) in [
            ("index", "Track index not found"),
            ("index.json", "Track index not found"),
            ("meta", "Track meta not found"),
            ("meta.json", "Track meta not found"),
            ("seg-0000.jsonl", "Segment not found"),
        ] {
            let answer = daemon.get(format!("/sessions/{id}/tracks/{name}")).is(404);
            assert_eq!(answer.json(), json!({ "error": sentence }), "{id} {name}");
            assert_eq!(answer.must("cache-control"), "no-store");
        }
    }
    for name in ["seg-0099.jsonl", "folder", "seg-0000", "SEG-0000.JSONL", "%20"] {
        let answer = daemon.get(format!("/sessions/{FINISHED}/tracks/{name}")).is(404);
        assert_eq!(answer.error(), "Segment not found", "{name}");
    }
}

#[test]
fn tracks_of_a_session_that_was_never_opened_are_served() {
    let daemon = Daemon::start();
    copy_tracks(daemon.home(), RUNNING);
    daemon.get(format!("/sessions/{RUNNING}/tracks/index")).is(200);
    daemon.get(format!("/sessions/{RUNNING}/tracks/seg-0000.jsonl")).is(200);
}

#[test]
fn session_and_segment_names_arrive_percent_encoded() {
    let daemon = Daemon::start();
    let id = "cam ü #1?%41";
    let folder = copy_tracks_as(daemon.home(), FINISHED, id);
    std::fs::write(folder.join("tracks/odd name%41.jsonl"), "{}\n").unwrap();
    let get = |name: &str| daemon.get(format!("/sessions/{}/tracks/{name}", encode(id)));
    get("index").is(200);
    assert_eq!(get("odd%20name%2541.jsonl").is(200).text(), "{}\n");
    assert_eq!(get("seg%2D0000%2Ejsonl").is(200).body, sample(&format!("tracks/{FINISHED}/tracks/seg-0000.jsonl")));
}

#[test]
fn a_segment_that_grows_is_answered_as_it_now_is() {
    let (daemon, folder) = with_tracks(RUNNING);
    let (target, path) = (format!("/sessions/{RUNNING}/tracks/seg-0001.jsonl"), folder.join("tracks/seg-0001.jsonl"));
    let mut file = OpenOptions::new().append(true).open(&path).unwrap();
    let mut known = daemon.get(&target).is(200);
    for n in 0..20 {
        writeln!(file, "{{\"n\":{n}}}").unwrap();
        let answer = daemon.send(&Request::get(&target).header("If-None-Match", known.must("etag"))).is(200);
        assert_eq!(answer.body, std::fs::read(&path).unwrap());
        assert_eq!(answer.must("content-length"), answer.body.len().to_string());
        assert_ne!(answer.must("etag"), known.must("etag"));
        known = answer;
    }
}

#[test]
fn an_answer_never_breaks_while_its_segment_grows() {
    let (daemon, folder) = with_tracks(RUNNING);
    let path = folder.join("tracks/seg-0001.jsonl");
    let line = sample(&format!("tracks/{RUNNING}/tracks/seg-0001.jsonl"));
    let line = &line[..=line.iter().position(|byte| *byte == b'\n').unwrap()];
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut file = OpenOptions::new().append(true).open(&path).unwrap();
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                file.write_all(line).unwrap();
                std::thread::sleep(std::time::Duration::from_micros(200));
            }
        });
        let mut client = daemon.client();
        for _ in 0..100 {
            let target = format!("/sessions/{RUNNING}/tracks/seg-0001.jsonl");
            let answer = client.try_send(&Request::get(target)).map(|answer| answer.is(200));
            let sound = answer.as_ref().is_ok_and(|answer| answer.body.starts_with(b"{\"t_rel_s\": 10.0"));
            if !sound {
                done.store(true, std::sync::atomic::Ordering::Relaxed);
            }
            assert!(sound, "{:?}", answer.map(|answer| answer.body.len()));
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn index_json_replaced_by_rename_is_never_answered_stale() {
    let (daemon, folder) = with_tracks(RUNNING);
    let target = format!("/sessions/{RUNNING}/tracks/index");
    let mut known = daemon.get(&target).is(200).must("etag").to_owned();
    for n in 100..140 {
        let content = json!({"segment_duration_s": 10.0, "segments": [], "n": n});
        replace(&folder.join("index.json"), content.to_string().as_bytes());
        let answer = daemon.send(&Request::get(&target).header("If-None-Match", &known)).is(200);
        assert_eq!(answer.json(), content, "same length, same moment, other content");
        known = answer.must("etag").to_owned();
    }
}

#[test]
fn an_index_that_cannot_be_read_is_an_error_that_shows_no_internals() {
    let (daemon, folder) = with_tracks(RUNNING);
    std::fs::write(folder.join("index.json"), "{\"segments\": [").unwrap();
    let answer = daemon.get(format!("/sessions/{RUNNING}/tracks/index"));
    assert!(answer.status >= 400, "half an index is no index");
    assert!(!answer.error().contains(folder.to_str().unwrap()));
    assert_eq!(answer.must("cache-control"), "no-store");
    daemon.get(format!("/sessions/{RUNNING}/tracks/seg-0000.jsonl")).is(200);
}

#[test]
fn a_segment_answers_range_206_and_416() {
    let (daemon, _) = with_tracks(FINISHED);
    let target = format!("/sessions/{FINISHED}/tracks/seg-0000.jsonl");
    let file = sample(&format!("tracks/{FINISHED}/tracks/seg-0000.jsonl"));
    let size = file.len();
    let get = |range: &str| daemon.send(&Request::get(&target).header("Range", range));
    for (range, from, to) in [
        ("bytes=0-99".to_owned(), 0, 100),
        ("bytes=100-199".to_owned(), 100, 200),
        ("bytes=0-0".to_owned(), 0, 1),
        ("bytes=64000-".to_owned(), 64_000, size),
        ("bytes=-100".to_owned(), size - 100, size),
        (format!("bytes={}-", size - 1), size - 1, size),
        ("bytes=0-99999999".to_owned(), 0, size),
        ("bytes=-99999999".to_owned(), 0, size),
    ] {
        let answer = get(&range).is(206);
        assert_eq!(answer.must("content-range"), format!("bytes {from}-{}/{size}", to - 1), "{range}");
        assert_eq!(answer.must("content-length"), (to - from).to_string(), "{range}");
        assert!(answer.body == file[from..to], "{range}");
        assert_eq!(answer.must("content-type"), "application/x-ndjson");
        answer.must("etag");
    }
    for range in [format!("bytes={size}-"), "bytes=99999999-".to_owned(), "bytes=-0".to_owned()] {
        let answer = get(&range).is(416);
        assert_eq!(answer.must("content-range"), format!("bytes */{size}"), "{range}");
        assert_eq!(answer.must("cache-control"), "no-store");
    }
    for odd in ["bytes=5-2", "lines=0-5", "bytes=a-b", "bytes", "bytes=--5"] {
        let answer = get(odd);
        assert!(answer.status == 416 || answer.is(200).body == file, "{odd} is no range");
    }
    assert_eq!(daemon.get(&target).is(200).must("accept-ranges"), "bytes");
}

#[test]
fn if_range_with_the_etag_is_206_and_with_another_the_whole_file() {
    let (daemon, _) = with_tracks(FINISHED);
    let target = format!("/sessions/{FINISHED}/tracks/seg-0000.jsonl");
    let whole = daemon.get(&target).is(200);
    let get = |tag: &str| daemon.send(&Request::get(&target).header("Range", "bytes=0-9").header("If-Range", tag));
    assert_eq!(get(whole.must("etag")).is(206).body, whole.body[..10]);
    for other in ["\"other\"".to_owned(), format!("W/{}", whole.must("etag"))] {
        assert!(get(&other).is(200).body == whole.body, "{other}");
    }
    let both = Request::get(&target).header("Range", "bytes=0-9").header("If-None-Match", whole.must("etag"));
    daemon.send(&both).is(304);
}
