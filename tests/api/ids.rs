//! Ids that must never reach the disk, on every route that takes one.

use serde_json::json;

use crate::support::agent::{
    END, FINISHED, START, close, copy_tracks, counts, detection, encode, ingest, jpeg, open, opening, picture, pictures_become,
};
use crate::support::daemon::Daemon;
use crate::support::http::Request;

/// Spellings of ids that are refused: raw, encoded and mixed.
const BAD: [&str; 20] = [
    ".",
    "..",
    "%2e",
    "%2E%2E",
    ".%2e",
    "%2e.",
    "a%2Fb",
    "a%2fb",
    "%2F",
    "..%2F..%2Fetc%2Fpasswd",
    "%2e%2e%2fx",
    "a%5Cb",
    "a%5cb",
    "a\\b",
    "..\\..",
    "%5C",
    "%00",
    "a%00b",
    "..%00",
    "a%00.jpg",
];

/// Every route with an id, `{}` where it stands.
const ROUTES: [&str; 10] = [
    "/sessions/{}",
    "/sessions/{}/tracks/index",
    "/sessions/{}/tracks/index.json",
    "/sessions/{}/tracks/meta",
    "/sessions/{}/tracks/meta.json",
    "/sessions/{}/tracks/seg-0000.jsonl",
    "/sessions/known/tracks/{}",
    "/ingest/detections/{}",
    "/frames/{}/x.jpg",
    "/frames/known/{}",
];

fn refused(daemon: &Daemon, target: impl AsRef<[u8]>) {
    let target = target.as_ref();
    let shown = String::from_utf8_lossy(target).into_owned();
    for method in ["GET", "HEAD"] {
        let answer = daemon.send(&Request::new(method, target));
        assert_eq!(answer.status, 400, "{method} {shown}: {}", answer.text());
        if method == "GET" {
            assert!(!answer.error().is_empty(), "{shown}");
            assert!(!answer.error().contains(daemon.dir().to_str().unwrap()), "{shown}");
        }
    }
}

#[test]
fn an_id_that_is_dots_or_holds_slash_backslash_or_nul_is_400_on_every_route() {
    let daemon = Daemon::start();
    open(&daemon, "known");
    for route in ROUTES {
        for bad in BAD {
            refused(&daemon, route.replace("{}", bad));
        }
    }
}

#[test]
fn an_empty_id_is_400() {
    let daemon = Daemon::start();
    for target in ["/ingest/detections/", "/sessions//tracks/index", "/sessions//tracks/meta.json", "/sessions//tracks/a"] {
        refused(&daemon, target);
    }
    for target in ["/frames//x.jpg", "/frames/known/", "/sessions/known/tracks/"] {
        refused(&daemon, target);
    }
}

#[test]
fn an_id_that_is_no_text_or_a_broken_escape_is_400() {
    let daemon = Daemon::start();
    for route in ROUTES {
        for bad in ["%FF", "a%C3", "%ED%A0%80", "%C0%AF", "%", "%2", "%zz", "a%g0"] {
            refused(&daemon, route.replace("{}", bad));
        }
    }
}

#[test]
fn an_id_of_more_than_255_bytes_is_400() {
    let daemon = Daemon::start();
    let long = ["x".repeat(256), "%C3%A9".repeat(128), "x".repeat(5000)];
    for route in ROUTES {
        for id in &long {
            refused(&daemon, route.replace("{}", id));
        }
    }
    for id in ["x".repeat(255), "%C3%A9".repeat(127), "%78".repeat(255)] {
        daemon.get(format!("/sessions/{id}")).is(404);
    }
}

#[test]
fn a_nul_or_a_line_break_in_the_request_line_is_never_answered_with_a_file() {
    let daemon = Daemon::start();
    copy_tracks(daemon.home(), FINISHED);
    for bad in [b"\0".as_slice(), b"a\0b", b"\x0b", b"..\x01"] {
        let target = [b"/sessions/".as_slice(), bad, b"/tracks/index"].concat();
        let answer = daemon.client().try_send(&Request::get(target));
        assert!(answer.is_ok_and(|answer| answer.status == 400), "{bad:?}");
    }
    daemon.get("/health").is(200);
}

#[test]
fn raw_bytes_above_ascii_are_text_or_400() {
    let daemon = Daemon::start();
    open(&daemon, "ü");
    let answer = daemon.get("/sessions/ü");
    match answer.status {
        200 => assert_eq!(answer.json()["session_id"], "ü"),
        _ => drop(answer.is(400)),
    }
    daemon.get(b"/sessions/\xff\xfe").is(400);
}

#[test]
fn dot_segments_in_the_request_line_are_not_resolved() {
    let daemon = Daemon::start();
    copy_tracks(daemon.home(), FINISHED);
    std::fs::write(daemon.tracks_dir().join("secret.jsonl"), "secret").unwrap();
    for target in [
        format!("/sessions/{FINISHED}/tracks/../meta.json"),
        format!("/sessions/{FINISHED}/tracks/../../secret.jsonl"),
        format!("/sessions/{FINISHED}/tracks/..%2f..%2fsecret.jsonl"),
        format!("/sessions/../sessions/{FINISHED}"),
        "/sessions/../health".to_owned(),
        "/frames/../config.toml".to_owned(),
        "/frames/../../config.toml".to_owned(),
        "/frames/%2e%2e/config.toml".to_owned(),
        "/../health".to_owned(),
        "/./health".to_owned(),
    ] {
        let answer = daemon.get(&target);
        assert!([400, 404].contains(&answer.status), "{target}: {} {}", answer.status, answer.text());
        assert!(!answer.error().is_empty());
    }
}

#[test]
fn a_session_id_in_a_body_is_held_to_the_same_rule() {
    let daemon = Daemon::start();
    for id in [".", "..", "a/b", "/", "../x", "a\\b", "a\0b", "\0"] {
        let error = daemon.post("/sessions/open", &opening(id)).is(400).error();
        assert!(error.contains("sessionId"), "{id:?}: {error}");
        let close = json!({"sessionId": id, "endTs": END});
        assert_eq!(daemon.post("/sessions/close", &close).status, 400, "{id:?}");
        assert_eq!(ingest(&daemon, id, &[("1", "cup", 0.5)], START, Some(&jpeg(1))).status, 400, "{id:?}");
    }
    assert_eq!(daemon.get("/sessions").is(200).json()["sessions"], json!([]));
}

#[test]
fn session_ids_of_any_other_text_have_pictures_detections_and_tracks() {
    let daemon = Daemon::start();
    let long = "é".repeat(127);
    for id in ["a b", "100%", "a%2Fb", "...", ".hidden", "-rf", "*", "a?b#c", "x\ny", "日本", "lost+found", "tmp", &long] {
        open(&daemon, id);
        ingest(&daemon, id, &[("1", "cup", 0.5)], START, Some(&jpeg(1))).is(200);
        let seen = detection(&daemon, id, "1");
        let url = seen["url_frame"].as_str().expect("a picture");
        assert!(url.starts_with(&format!("/frames/{id}/")), "the raw path: {url}");
        assert_eq!(picture(&daemon, &seen).is(200).body, jpeg(1), "{id:?}");
        ingest(&daemon, id, &[("1", "cup", 0.6)], START, Some(&jpeg(2))).is(200);
        assert_eq!(picture(&daemon, &detection(&daemon, id, "1")).is(200).body, jpeg(2), "{id:?}");
        pictures_become(&daemon, id, 1);
        let tracks = daemon.tracks_dir().join(id).join("tracks");
        std::fs::create_dir_all(&tracks).unwrap();
        std::fs::write(tracks.join("seg-0000.jsonl"), "{}\n").unwrap();
        assert_eq!(daemon.get(format!("/sessions/{}/tracks/seg-0000.jsonl", encode(id))).is(200).text(), "{}\n");
        close(&daemon, id, END);
    }
}

#[test]
fn a_track_id_of_any_text_never_leaves_the_frames_folder_of_its_session() {
    let daemon = Daemon::start();
    open(&daemon, "s");
    let odd = ["../../evil", "/etc/evil", "a/b", "..", "a\0b", "\\evil", "%2e%2e%2fevil", "x\ny", &"t".repeat(200)];
    for track in odd {
        let answer = ingest(&daemon, "s", &[(track, "cup", 0.5)], START, Some(&jpeg(1)));
        assert!([200, 400].contains(&answer.status), "{track:?}: {} {}", answer.status, answer.text());
        if answer.status == 200 {
            assert_eq!(counts(answer), (1, 0, 0, 1, true), "{track:?}");
            let seen = detection(&daemon, "s", track);
            let url = seen["url_frame"].as_str().unwrap();
            let file = url.strip_prefix("/frames/s/").unwrap_or_else(|| panic!("{url}"));
            assert!(!file.contains('/') && !file.contains('\\'), "{url}");
            assert_eq!(picture(&daemon, &seen).is(200).body, jpeg(1), "{track:?}");
        }
    }
    let names = std::fs::read_dir(daemon.dir()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(!names.into_iter().any(|name| name.to_string_lossy().contains("evil")));
    assert!(!std::path::Path::new("/etc/evil").exists());
}
