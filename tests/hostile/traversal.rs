//! Ways out of a folder, in every value that comes near a path, in every spelling.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::agent::{
    END, START, copy_tracks_as, encode, frame_target, ingest, jpeg, meta, open, opening, pictures, post_meta, sighting,
};
use crate::support::agent::{FINISHED, detection};
use crate::support::daemon::Daemon;
use crate::support::http::{Multipart, Request};

/// `..`, a slash and a separator's other spellings, each as a URL may hold it.
const DOTS: [&str; 6] = ["..", "%2e%2e", "%2E.", ".%2e", "%252e%252e", "%u002e%u002e"];
const SLASHES: [&str; 13] =
    ["/", "%2f", "%2F", "%252f", "%5c", "\\", "%c0%af", "%c1%9c", "%e0%80%af", "%f0%80%80%af", "%ef%bc%8f", "%u2215", "%00/"];

/// The secret, and what must not be found in any answer.
const SECRET: &str = "the-secret-beside-the-folders";

/// A daemon with a session `s` that has a picture and tracks, and secrets wherever a way out could lead.
fn guarded() -> Daemon {
    let daemon = Daemon::start();
    open(&daemon, "s");
    ingest(&daemon, "s", &[("1", "cup", 0.5)], START, Some(&jpeg(1))).is(200);
    copy_tracks_as(daemon.home(), FINISHED, "s");
    for place in ["secret", "index.json", "meta.json", "frames/secret", "tracks/secret", "tracks/index.json", "tracks/meta.json"]
    {
        fs::write(daemon.dir().join(place), format!("{{\"secret\":\"{SECRET}\"}}")).unwrap();
    }
    fs::create_dir(daemon.dir().join("tracks/tracks")).unwrap();
    fs::write(daemon.dir().join("tracks/tracks/secret"), SECRET).unwrap();
    daemon
}

/// Every file below a folder, the database aside, with its content.
fn files(below: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![below.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.strip_prefix(below).unwrap().starts_with("data") {
                found.insert(path.strip_prefix(below).unwrap().display().to_string(), fs::read(&path).unwrap());
            }
        }
    }
    found
}

#[test]
fn no_spelling_of_a_way_out_reaches_a_file_by_any_url() {
    let daemon = guarded();
    let mut client = daemon.client();
    let mut asked = 0;
    let routes = [
        "/sessions/{}",
        "/sessions/{}/tracks/index",
        "/sessions/{}/tracks/index.json",
        "/sessions/{}/tracks/meta",
        "/sessions/{}/tracks/meta.json",
        "/sessions/{}/tracks/secret",
        "/sessions/s/tracks/{}",
        "/ingest/detections/{}",
        "/frames/{}",
        "/frames/{}/secret",
        "/frames/s/{}",
        "/{}",
        "/health/{}",
    ];
    for route in routes {
        for dots in DOTS {
            for slash in SLASHES {
                for way in [
                    format!("{dots}{slash}secret"),
                    format!("{dots}{slash}{dots}{slash}secret"),
                    format!("{dots}{slash}{dots}{slash}{dots}{slash}secret"),
                    format!("s{slash}{dots}{slash}secret"),
                    format!("{dots}{slash}"),
                    format!("{slash}{dots}"),
                    format!("{slash}etc{slash}passwd"),
                    format!("{dots}%00{slash}secret"),
                ] {
                    let target = route.replace("{}", &way);
                    let answer = client.send(&Request::get(&target));
                    let text = answer.text();
                    assert!(!text.contains(SECRET) && !text.contains("root:"), "{target}: {text}");
                    // An id that is odd, but stays in its place, is nobody's: no detections, not found.
                    let nobody = route.starts_with("/ingest/detections/") && answer.status == 200 && answer.json()["count"] == 0;
                    assert!(nobody || matches!(answer.status, 400 | 404), "{target}: {} {text}", answer.status);
                    asked += 1;
                }
            }
        }
    }
    assert!(asked > 8000, "{asked}");
}

/// What a value in JSON or in a form may be called to get out.
fn ways_out() -> Vec<String> {
    let mut ways: Vec<String> =
        ["..", ".", "../x", "../../x", "/etc/x", "a/../../x", "\\..\\x", "..\\x", "a\0b", "../x\0.jpg", "//x", "./x"]
            .iter()
            .map(ToString::to_string)
            .collect();
    for dots in DOTS {
        ways.extend(SLASHES.iter().map(|slash| format!("{dots}{slash}x")));
    }
    ways.extend(
        [
            "\u{2025}/x",
            "\u{ff0e}\u{ff0e}\u{2215}x",
            "\u{ff0e}\u{ff0e}\u{ff0f}x",
            "..\u{2044}x",
            "~/x",
            "C:\\x",
            "file:///x",
            "$HOME",
            "\\store",
            "\\tmp",
        ]
        .map(String::from),
    );
    ways
}

#[test]
fn a_session_id_in_json_is_one_folder_or_refused() {
    let daemon = guarded();
    let before = files(daemon.dir());
    let mut taken = 0;
    for id in ways_out() {
        let is_out = id.contains(['/', '\\', '\0']) || id == "." || id == "..";
        let status = daemon.post("/sessions/open", &opening(&id)).status;
        assert_eq!(status, if is_out { 400 } else { 201 }, "{id:?}");
        let close = daemon.post("/sessions/close", &json!({"sessionId": id, "endTs": END})).status;
        let ingested = ingest(&daemon, &id, &[("1", "cup", 0.5)], START, Some(&jpeg(2)));
        assert_eq!((close, ingested.status), if is_out { (400, 400) } else { (200, 200) }, "{id:?}");
        if !is_out {
            taken += 1;
            let file = &pictures(&daemon, &id)[0];
            let answer = daemon.get(frame_target(&format!("/frames/{id}/{file}"))).is(200);
            assert_eq!(answer.body, jpeg(2), "{id:?}");
        }
    }
    // All that is new lies where it should: one folder and one picture each, and what was there is as it was.
    let after = files(daemon.dir());
    assert!(before.iter().all(|(path, content)| after.get(path) == Some(content)));
    let new: Vec<_> = after.keys().filter(|path| !before.contains_key(*path)).collect();
    assert_eq!(new.len(), taken, "{new:?}");
    assert!(new.iter().all(|path| path.starts_with("frames/") && path.matches('/').count() == 2), "{new:?}");
}

#[test]
fn names_in_a_form_decide_nothing() {
    let daemon = guarded();
    let before = files(daemon.dir());
    for (n, name) in ways_out().iter().filter(|name| !name.contains('\0')).enumerate() {
        let conf = 0.6 + f64::from(u32::try_from(n).unwrap()) / 1000.0;
        let said = meta("s", START, &[sighting("1", "cup", conf)]).to_string();
        let quoted = name.replace('\\', "\\\\");
        for form in [
            Multipart::new().file("meta", name, "application/json", &said).file("frame", name, "image/jpeg", jpeg(3)),
            Multipart::new().file("meta", &quoted, "application/json", &said).file("frame", &quoted, "image/jpeg", jpeg(3)),
            Multipart::new()
                .field("meta", &said)
                .part(&[&format!("Content-Disposition: form-data; name=\"frame\"; filename*=UTF-8''{}", encode(name))], &jpeg(3)),
            // A part by another name is nobody's.
            Multipart::new().field("meta", &said).file(name, name, "image/jpeg", jpeg(2)),
        ] {
            let answer = daemon.send(&form.request());
            assert!(matches!(answer.status, 200 | 400), "{name:?}: {} {}", answer.status, answer.text());
        }
    }
    let after = files(daemon.dir());
    assert!(after.keys().all(|path| before.contains_key(path) || path.starts_with("frames/s/2025")), "{:?}", after.keys());
    assert!(before.iter().all(|(path, content)| path.starts_with("frames/s/") || after.get(path) == Some(content)));
}

/// Track ids, classes, devices, paths and the files that hooks name are words to the store, never files.
#[test]
fn words_in_json_decide_nothing() {
    let daemon = guarded();
    fs::write(daemon.dir().join("x"), SECRET).unwrap();
    let before = files(daemon.dir());
    for (n, word) in ways_out().iter().enumerate() {
        let id = format!("w{n}");
        let opening =
            json!({"sessionId": id, "devId": word, "path": word, "reason": word, "configuredClasses": [word], "startTs": START});
        assert_eq!(daemon.post("/sessions/open", &opening).status, if word.contains('\0') { 400 } else { 201 }, "{word:?}");
        for hook in [
            ("/hooks/mediamtx/publish", json!({"path": word, "eventTs": START})),
            ("/hooks/mediamtx/record/segment/complete", json!({"path": word, "segmentPath": word, "eventTs": END})),
        ] {
            let answer = daemon.post(hook.0, &hook.1);
            assert!(matches!(answer.status, 200 | 400), "{word:?}: {}", answer.text());
            assert!(!answer.text().contains(SECRET));
        }
        let mut seen = sighting(word, word, 0.5);
        seen["frame"] = json!(word);
        seen["url_frame"] = json!(word);
        let mut said = meta(&id, START, &[seen]);
        said["file"] = json!(word);
        said["url_frame"] = Value::from(word.as_str());
        let answer = post_meta(&daemon, &said, Some(&jpeg(1)));
        if answer.status == 200 {
            let url = detection(&daemon, &id, word)["url_frame"].as_str().unwrap().to_owned();
            let file = url.strip_prefix(&format!("/frames/{id}/")).unwrap_or_else(|| panic!("{url}"));
            assert!(!file.contains(['/', '\\', '%']) && !file.contains(".."), "{url}");
        } else {
            assert!(word.contains('\0'), "{word:?}: {}", answer.text());
        }
    }
    let after = files(daemon.dir());
    assert!(before.iter().all(|(path, content)| after.get(path) == Some(content)), "nothing was touched");
    assert!(after.keys().all(|path| before.contains_key(path) || path.starts_with("frames/w")), "{:?}", after.keys());
}
