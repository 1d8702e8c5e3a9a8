//! `POST /ingest`: what is refused, with which sentence; a bad request changes nothing.

use serde_json::{Value, json};

use crate::support::agent::{START, detections, ingest, jpeg, jpeg_of, meta, open, pictures, post_meta, session, sighting};
use crate::support::daemon::Daemon;
use crate::support::http::{BOUNDARY, Multipart, Request};

/// The session after refused requests is as it was opened.
#[track_caller]
fn untouched(daemon: &Daemon, opened: &Value) {
    assert_eq!(session(daemon, "s"), *opened);
    assert_eq!(detections(daemon, "s"), [] as [Value; 0]);
    assert!(pictures(daemon, "s").is_empty());
}

#[test]
fn missing_meta_is_400_missing_meta_field_in_multipart_request() {
    let daemon = Daemon::start();
    for form in [Multipart::new(), Multipart::new().frame(jpeg(1)), Multipart::new().field("Meta", "{}")] {
        let answer = daemon.send(&form.request()).is(400);
        assert_eq!(answer.json(), json!({"error": "Missing meta field in multipart request"}));
    }
}

#[test]
fn meta_that_is_no_json_is_400_invalid_json_in_meta_field() {
    let daemon = Daemon::start();
    for bad in ["", "{", "x", "{\"sessionId\":\"s\"", "{'a':1}", "{\"conf\":NaN}", "{\"conf\":Infinity}", "{} {}"] {
        let answer = daemon.send(&Multipart::new().field("meta", bad).frame(jpeg(1)).request()).is(400);
        assert_eq!(answer.json(), json!({"error": "Invalid JSON in meta field"}), "{bad}");
    }
    let answer = daemon.send(&Multipart::new().field("meta", [0xff, 0xfe, 0x00]).request()).is(400);
    assert_eq!(answer.error(), "Invalid JSON in meta field");
}

#[test]
fn meta_that_is_no_object_is_400() {
    let daemon = Daemon::start();
    for bad in ["null", "5", "\"s\"", "[]", "true"] {
        daemon.send(&Multipart::new().field("meta", bad).request()).is(400);
    }
}

#[test]
fn missing_session_id_is_400_missing_session_id_in_metadata() {
    let daemon = Daemon::start();
    for bad in [json!({}), json!({"detections": []}), json!({"sessionId": null}), json!({"sessionId": "", "detections": 5})] {
        let answer = post_meta(&daemon, &bad, None).is(400);
        assert_eq!(answer.json(), json!({"error": "Missing sessionId in metadata"}), "{bad}");
    }
}

#[test]
fn detections_that_are_no_list_are_400_detections_must_be_an_array() {
    let daemon = Daemon::start();
    let opened = open(&daemon, "s");
    for bad in [None, Some(Value::Null), Some(json!({})), Some(json!("1")), Some(json!(1))] {
        let mut body = json!({"sessionId": "s", "captureTs": START});
        if let Some(bad) = bad {
            body["detections"] = bad;
        }
        let answer = post_meta(&daemon, &body, Some(&jpeg(1))).is(400);
        assert_eq!(answer.json(), json!({"error": "Detections must be an array"}), "{body}");
    }
    untouched(&daemon, &opened);
}

#[test]
fn an_unknown_session_is_404_session_not_found_and_keeps_no_frame() {
    let daemon = Daemon::start();
    let answer = ingest(&daemon, "nobody", &[("1", "cup", 0.5)], START, Some(&jpeg(1))).is(404);
    assert_eq!(answer.json(), json!({"error": "Session not found"}));
    assert!(pictures(&daemon, "nobody").is_empty());
    assert!(!daemon.frames_dir().join("nobody").exists(), "not even a folder");
}

#[test]
fn a_bad_field_of_a_detection_is_400_names_it_and_changes_nothing() {
    let daemon = Daemon::start();
    let opened = open(&daemon, "s");
    let bad = json!({
        "trackId": [null, "", {}, [], true],
        "cls": [null, "", 5, {}, []],
        "conf": [null, "0.9", -0.01, 1.01, -1, 2, 91, {}, true],
        "bbox": [null, [0.1, 0.2, 0.3, 0.4], "x", 5, {}]
    });
    for (field, values) in bad.as_object().unwrap() {
        for value in values.as_array().unwrap().iter().map(Some).chain([None]) {
            let mut broken = sighting("2", "dog", 0.9);
            match value {
                Some(value) => broken[field] = value.clone(),
                None => drop(broken.as_object_mut().unwrap().remove(field)),
            }
            for order in [[sighting("1", "cup", 0.5), broken.clone()], [broken.clone(), sighting("1", "cup", 0.5)]] {
                let error = post_meta(&daemon, &meta("s", START, &order), Some(&jpeg(1))).is(400).error();
                assert!(error.contains(field.as_str()), "{broken}: {error}");
            }
        }
    }
    untouched(&daemon, &opened);
}

#[test]
fn a_bad_side_of_a_bbox_is_400_and_changes_nothing() {
    let daemon = Daemon::start();
    let opened = open(&daemon, "s");
    for (side, bad) in [
        ("x", Value::Null),
        ("x", json!("1")),
        ("y", json!({})),
        ("w", json!(-1)),
        ("w", json!(-0.001)),
        ("h", json!(-720)),
        ("h", Value::Null),
        ("w", json!(true)),
    ] {
        let mut broken = sighting("1", "cup", 0.5);
        broken["bbox"][side] = bad;
        let error = post_meta(&daemon, &meta("s", START, &[broken.clone()]), None).is(400).error();
        assert!(error.contains("bbox"), "{broken}: {error}");
        let mut missing = sighting("1", "cup", 0.5);
        missing["bbox"].as_object_mut().unwrap().remove(side);
        let error = post_meta(&daemon, &meta("s", START, &[missing.clone()]), None).is(400).error();
        assert!(error.contains("bbox"), "{missing}: {error}");
    }
    untouched(&daemon, &opened);
}

#[test]
fn numbers_beyond_every_bound_are_400() {
    let daemon = Daemon::start();
    let opened = open(&daemon, "s");
    for (conf, w) in [("1e999", "1"), ("-1e999", "1"), ("0.5", "1e999"), ("NaN", "1"), ("0.5", "Infinity")] {
        let body = format!(
            r#"{{"sessionId":"s","captureTs":"{START}","detections":[{{"trackId":"1","cls":"c","conf":{conf},"bbox":{{"x":0,"y":0,"w":{w},"h":1}}}}]}}"#
        );
        daemon.send(&Multipart::new().field("meta", body).request()).is(400);
    }
    untouched(&daemon, &opened);
}

#[test]
fn a_detection_that_is_no_object_is_400() {
    let daemon = Daemon::start();
    let opened = open(&daemon, "s");
    for bad in [Value::Null, json!(5), json!("1"), json!([])] {
        post_meta(&daemon, &meta("s", START, &[sighting("1", "cup", 0.5), bad]), Some(&jpeg(1))).is(400);
    }
    untouched(&daemon, &opened);
}

#[test]
fn missing_capture_ts_is_400_and_names_it() {
    let daemon = Daemon::start();
    let opened = open(&daemon, "s");
    let mut body = meta("s", START, &[sighting("1", "cup", 0.5)]);
    body.as_object_mut().unwrap().remove("captureTs");
    let error = post_meta(&daemon, &body, Some(&jpeg(1))).is(400).error();
    assert!(error.contains("captureTs"), "{error}");
    untouched(&daemon, &opened);
}

#[test]
fn more_than_10000_detections_are_refused_by_a_limit_that_says_its_number() {
    let daemon = Daemon::start();
    let opened = open(&daemon, "s");
    let many: Vec<Value> = (0..=10_000).map(|n| sighting(&n.to_string(), "cup", 0.5)).collect();
    let error = post_meta(&daemon, &meta("s", START, &many), None).is(400).error();
    assert!(error.replace([',', '_', ' '], "").contains("10000"), "{error}");
    untouched(&daemon, &opened);
}

#[test]
fn a_frame_that_is_no_jpeg_is_400_and_a_truncated_one_says_so() {
    let daemon = Daemon::start();
    let opened = open(&daemon, "s");
    let whole = jpeg(1);
    let png = [b"\x89PNG\r\n\x1a\n".as_slice(), &whole[8..]].concat();
    for bad in [b"".as_slice(), b"hello", &png, &whole[1..], b"\xff\xd8", &[0; 64]] {
        let error = ingest(&daemon, "s", &[("1", "cup", 0.5)], START, Some(bad)).is(400).error();
        assert!(error.to_lowercase().contains("frame"), "{error}");
    }
    for cut in [whole.len() - 1, whole.len() - 2, whole.len() / 2, 100] {
        let error = ingest(&daemon, "s", &[("1", "cup", 0.5)], START, Some(&whole[..cut])).is(400).error();
        assert!(error.contains("truncated"), "{cut} bytes: {error}");
    }
    untouched(&daemon, &opened);
}

#[test]
fn two_meta_parts_or_two_frames_are_400() {
    let daemon = Daemon::start();
    let opened = open(&daemon, "s");
    let body = meta("s", START, &[sighting("1", "cup", 0.5)]).to_string();
    let two = Multipart::new().field("meta", &body).field("meta", &body).frame(jpeg(1));
    assert!(daemon.send(&two.request()).is(400).error().contains("meta"));
    let two = Multipart::new().field("meta", &body).frame(jpeg(1)).frame(jpeg(2));
    assert!(daemon.send(&two.request()).is(400).error().contains("frame"));
    untouched(&daemon, &opened);
}

#[test]
fn a_multipart_body_that_breaks_off_is_400_and_changes_nothing() {
    let daemon = Daemon::start();
    let opened = open(&daemon, "s");
    let body = meta("s", START, &[sighting("1", "cup", 0.5)]).to_string();
    let whole = Multipart::new().field("meta", body).frame(jpeg(1)).bytes();
    let media_type = format!("multipart/form-data; boundary={BOUNDARY}");
    for cut in [0, 20, 120, 2_000, whole.len() - BOUNDARY.len() - 8] {
        let request = Request::post("/ingest").header("Content-Type", &media_type).body(&whole[..cut]);
        daemon.send(&request).is(400);
    }
    untouched(&daemon, &opened);
}

#[test]
fn ingest_that_is_no_multipart_is_415_and_without_boundary_400() {
    let daemon = Daemon::start();
    let opened = open(&daemon, "s");
    let body = meta("s", START, &[sighting("1", "cup", 0.5)]);
    daemon.send(&Request::post("/ingest").json(&body)).is(415).error();
    daemon.send(&Request::post("/ingest").body(body.to_string())).is(415).error();
    for media_type in ["text/plain", "application/x-www-form-urlencoded", "image/jpeg", "multipart/mixed; boundary=x"] {
        let request = Request::post("/ingest").header("Content-Type", media_type).body(body.to_string());
        assert_eq!(daemon.send(&request).status, 415, "{media_type}");
    }
    let request = Request::post("/ingest").header("Content-Type", "multipart/form-data").body(body.to_string());
    daemon.send(&request).is(400).error();
    untouched(&daemon, &opened);
}

#[test]
fn a_frame_over_5242880_bytes_or_a_meta_over_5_mib_is_413() {
    let daemon = Daemon::start();
    let opened = open(&daemon, "s");
    let large = jpeg_of(5_242_881);
    let body = meta("s", START, &[sighting("1", "cup", 0.5)]);
    post_meta(&daemon, &body, Some(&large)).is(413).error();
    let media_type = format!("multipart/form-data; boundary={BOUNDARY}");
    let form = Multipart::new().field("meta", body.to_string()).frame(&large).bytes();
    let chunked = Request::post("/ingest").header("Content-Type", &media_type).chunked(&form, 1 << 16);
    daemon.send(&chunked).is(413).error();
    for (spaces, status) in [(5 << 20, 413), ((5 << 20) - 2_000, 200)] {
        let empty = format!("{}{}", meta("s", START, &[]), " ".repeat(spaces));
        let answer = daemon.send(&Multipart::new().field("meta", empty).request());
        assert_eq!(answer.status, status, "meta with {spaces} spaces: {}", answer.text());
    }
    untouched(&daemon, &opened);
}
