//! `POST /ingest`: the answer, the parts, what a first sighting becomes.

use serde_json::{Value, json};

use crate::support::agent::{
    END, close, counts, detection, detections, ingest, jpeg, jpeg_of, meta, open, picture, pictures, post_meta, session, sighting,
};
use crate::support::daemon::Daemon;
use crate::support::http::{BOUNDARY, Multipart, Request};
use crate::support::keys;

const AT: &str = "2025-10-11T12:00:02.123Z";

#[test]
fn ingest_answers_200_with_session_id_inserted_updated_skipped_total_frame_saved() {
    let daemon = Daemon::start();
    open(&daemon, "s");
    let answer = ingest(&daemon, "s", &[("1", "person", 0.91)], AT, Some(&jpeg(1))).is(200).json();
    let expected = json!({"sessionId": "s", "inserted": 1, "updated": 0, "skipped": 0, "total": 1, "frameSaved": true});
    assert_eq!(answer, expected);
}

#[test]
fn a_first_sighting_becomes_a_detection_in_this_field_order() {
    let daemon = Daemon::start();
    open(&daemon, "s");
    ingest(&daemon, "s", &[("1", "person", 0.91)], AT, Some(&jpeg(1))).is(200);
    let record = detection(&daemon, "s", "1");
    let order = [
        "session_id",
        "track_id",
        "cls",
        "conf",
        "bbox",
        "url_frame",
        "first_ts",
        "last_ts",
        "capture_ts",
        "ingest_ts",
        "created_at",
        "updated_at",
        "attributes",
        "enriched",
    ];
    assert_eq!(keys(&record), order);
    let mut expected = json!({
        "session_id": "s", "track_id": "1", "cls": "person", "conf": 0.91,
        "bbox": {"x": 0.1, "y": 0.2, "w": 0.3, "h": 0.4}, "first_ts": AT, "last_ts": AT, "capture_ts": AT,
        "attributes": null, "enriched": false
    });
    let url = record["url_frame"].as_str().expect("a picture");
    assert!(url.starts_with("/frames/s/") && url.rsplit('.').next() == Some("jpg"), "{url}");
    for own in ["url_frame", "ingest_ts", "created_at", "updated_at"] {
        assert!(record[own].is_string(), "{own}");
        expected[own] = record[own].clone();
    }
    assert_eq!(record, expected);
    assert_eq!(keys(&record["bbox"]), ["x", "y", "w", "h"]);
    assert_eq!(picture(&daemon, &record).is(200).body, jpeg(1));
}

#[test]
fn a_sighting_without_a_frame_has_a_null_url_frame() {
    let daemon = Daemon::start();
    open(&daemon, "s");
    assert_eq!(counts(ingest(&daemon, "s", &[("1", "cup", 0.5)], AT, None)), (1, 0, 0, 1, false));
    assert_eq!(detection(&daemon, "s", "1")["url_frame"], Value::Null);
    assert!(pictures(&daemon, "s").is_empty());
}

#[test]
fn meta_may_be_a_file_part_or_a_plain_field_before_or_after_the_frame() {
    let daemon = Daemon::start();
    open(&daemon, "s");
    let body = |track: &str| meta("s", AT, &[sighting(track, "cup", 0.5)]).to_string();
    let forms = [
        Multipart::new().field("meta", body("t0")).frame(jpeg(1)),
        Multipart::new().frame(jpeg(1)).field("meta", body("t1")),
        Multipart::new().file("meta", "meta.json", "application/json", body("t2")).frame(jpeg(1)),
        Multipart::new().frame(jpeg(1)).file("meta", "blob", "application/octet-stream", body("t3")),
        Multipart::new().file("meta", "", "text/plain; charset=utf-8", body("t4")).frame(jpeg(1)),
        Multipart::new().field("other", "x").field("meta", body("t5")).field("more", "y").frame(jpeg(1)).field("z", ""),
    ];
    for (number, form) in forms.into_iter().enumerate() {
        assert_eq!(counts(daemon.send(&form.request())), (1, 0, 0, 1, true), "form {number}");
        assert_eq!(picture(&daemon, &detection(&daemon, "s", &format!("t{number}"))).is(200).body, jpeg(1));
    }
}

#[test]
fn a_frame_is_accepted_by_its_content_not_by_its_label() {
    let daemon = Daemon::start();
    open(&daemon, "s");
    let labels =
        [("frame.jpg", "image/jpeg"), ("frame.bin", "application/octet-stream"), ("frame.png", "image/png"), ("../../x", "a/b")];
    for (number, (name, media_type)) in labels.into_iter().enumerate() {
        let track = format!("t{number}");
        let form = Multipart::new().field("meta", meta("s", AT, &[sighting(&track, "cup", 0.5)]).to_string()).file(
            "frame",
            name,
            media_type,
            jpeg(2),
        );
        assert_eq!(counts(daemon.send(&form.request())), (1, 0, 0, 1, true), "{media_type}");
        let answer = picture(&daemon, &detection(&daemon, "s", &track)).is(200);
        assert_eq!((answer.must("content-type"), &answer.body), ("image/jpeg", &jpeg(2)));
    }
}

#[test]
fn a_quoted_boundary_a_preamble_and_a_chunked_body_are_read() {
    let daemon = Daemon::start();
    open(&daemon, "s");
    let form = |track: &str| {
        let form = Multipart::new().field("meta", meta("s", AT, &[sighting(track, "cup", 0.5)]).to_string());
        form.frame(jpeg(3)).bytes()
    };
    let quoted = format!("multipart/form-data; charset=utf-8; boundary=\"{BOUNDARY}\"");
    let request = Request::post("/ingest").header("Content-Type", &quoted).body(form("1"));
    assert_eq!(counts(daemon.send(&request)).0, 1);
    let plain = format!("Multipart/Form-Data; boundary={BOUNDARY}");
    for (track, size) in [("2", 1), ("3", 777), ("4", 1 << 20)] {
        let request = Request::post("/ingest").header("Content-Type", &plain).chunked(&form(track), size);
        assert_eq!(counts(daemon.send(&request)).0, 1, "chunks of {size}");
    }
}

#[test]
fn a_track_id_may_be_a_number() {
    let daemon = Daemon::start();
    open(&daemon, "s");
    let mut seven = sighting("", "cup", 0.5);
    seven["trackId"] = json!(7);
    assert_eq!(counts(post_meta(&daemon, &meta("s", AT, &[seven]), None)).0, 1);
    assert_eq!(detection(&daemon, "s", "7")["track_id"], "7");
    assert_eq!(counts(ingest(&daemon, "s", &[("7", "cup", 0.4)], AT, None)), (0, 0, 1, 1, false), "\"7\" is the same");
}

#[test]
fn unknown_fields_are_ignored_and_seq_no_may_be_missing() {
    let daemon = Daemon::start();
    open(&daemon, "s");
    let mut one = sighting("1", "cup", 0.5);
    one["velocity"] = json!([1, 2]);
    one["bbox"]["angle"] = json!(3);
    let mut body = meta("s", AT, &[one]);
    body.as_object_mut().unwrap().remove("seqNo");
    body["model"] = json!({"name": "x"});
    assert_eq!(counts(post_meta(&daemon, &body, None)).0, 1);
    body["seqNo"] = Value::Null;
    post_meta(&daemon, &body, None).is(200);
}

#[test]
fn bbox_is_kept_in_the_units_the_client_sent() {
    let daemon = Daemon::start();
    open(&daemon, "s");
    for (track, bbox) in [
        ("pixels", r#"{"x":100,"y":20,"w":1280,"h":720}"#),
        ("normalised", r#"{"x":0.1,"y":0.25,"w":0.333333333333,"h":1}"#),
        ("outside", r#"{"x":-5,"y":-0.5,"w":0,"h":0}"#),
        ("mixed", r#"{"x":100.5,"y":20,"w":3.25,"h":4}"#),
    ] {
        let body = format!(
            r#"{{"sessionId":"s","captureTs":"{AT}","detections":[{{"trackId":"{track}","cls":"c","conf":0.5,"bbox":{bbox}}}]}}"#
        );
        daemon.send(&Multipart::new().field("meta", body).request()).is(200);
        assert_eq!(detection(&daemon, "s", track)["bbox"].to_string(), bbox, "integers stay integers");
    }
}

#[test]
fn conf_0_and_1_are_allowed_and_no_digit_is_lost() {
    let daemon = Daemon::start();
    open(&daemon, "s");
    for (track, conf) in [("a", 0.0), ("b", 1.0), ("c", 0.91), ("d", 0.123_456_789_012), ("e", 1e-9)] {
        assert_eq!(counts(ingest(&daemon, "s", &[(track, "cup", conf)], AT, None)).0, 1, "{conf}");
        let kept = detection(&daemon, "s", track)["conf"].as_f64().expect("a number");
        assert!((kept - conf).abs() < f64::EPSILON * 0.01, "{kept} for {conf}");
    }
}

#[test]
fn no_detections_are_fine_and_keep_no_frame() {
    let daemon = Daemon::start();
    let opened = open(&daemon, "s");
    let answer = post_meta(&daemon, &meta("s", AT, &[]), Some(&jpeg(1)));
    assert_eq!(counts(answer), (0, 0, 0, 0, false));
    assert!(pictures(&daemon, "s").is_empty());
    assert_eq!(session(&daemon, "s"), opened);
}

#[test]
fn classes_seen_join_detected_classes_in_the_order_they_came() {
    let daemon = Daemon::start();
    open(&daemon, "s");
    ingest(&daemon, "s", &[("1", "person", 0.9), ("2", "cup", 0.5)], AT, None).is(200);
    ingest(&daemon, "s", &[("3", "dog", 0.5), ("1", "person", 0.3), ("1", "chair", 0.1)], AT, None).is(200);
    ingest(&daemon, "s", &[("2", "cup", 0.8), ("4", "bag", 0.2)], AT, None).is(200);
    let expected = json!(["person", "cup", "dog", "chair", "bag"]);
    assert_eq!(session(&daemon, "s")["detected_classes"], expected, "a skipped sighting's class was seen too");
}

#[test]
fn frames_that_land_after_the_close_are_200_and_merge_as_before() {
    let daemon = Daemon::start();
    open(&daemon, "s");
    ingest(&daemon, "s", &[("1", "cup", 0.5)], AT, Some(&jpeg(1))).is(200);
    close(&daemon, "s", END);
    let late = "2025-10-11T12:30:00.000Z";
    assert_eq!(counts(ingest(&daemon, "s", &[("1", "dog", 0.9)], late, Some(&jpeg(2)))), (1, 1, 0, 1, true));
    let seen = detection(&daemon, "s", "1");
    assert_eq!((&seen["first_ts"], &seen["last_ts"]), (&json!(AT), &json!(late)));
    assert_eq!(picture(&daemon, &seen).is(200).body, jpeg(2));
    let record = session(&daemon, "s");
    assert_eq!((&record["status"], &record["end_ts"]), (&json!("closed"), &json!(END)), "it stays closed");
    assert_eq!(record["detected_classes"], json!(["cup", "dog"]));
}

#[test]
fn a_frame_of_5242880_bytes_is_taken() {
    let daemon = Daemon::start();
    open(&daemon, "s");
    let largest = jpeg_of(5_242_880);
    assert_eq!(counts(ingest(&daemon, "s", &[("1", "cup", 0.5)], AT, Some(&largest))), (1, 0, 0, 1, true));
    assert_eq!(picture(&daemon, &detection(&daemon, "s", "1")).is(200).body, largest);
}

#[test]
fn ten_thousand_detections_in_one_request_are_handled() {
    let daemon = Daemon::start();
    open(&daemon, "s");
    let many: Vec<Value> = (0..10_000).map(|n| sighting(&n.to_string(), "cup", 0.5)).collect();
    let answer = post_meta(&daemon, &meta("s", AT, &many), Some(&jpeg(1)));
    assert_eq!(counts(answer), (10_000, 0, 0, 10_000, true));
    let seen = detections(&daemon, "s");
    assert_eq!(seen.len(), 10_000);
    assert_eq!(pictures(&daemon, "s").len(), 1, "one picture for all");
    assert!(seen.iter().all(|one| one["url_frame"] == seen[0]["url_frame"]));
}

#[test]
fn sessions_do_not_share_tracks() {
    let daemon = Daemon::start();
    for id in ["s", "s2"] {
        open(&daemon, id);
        assert_eq!(counts(ingest(&daemon, id, &[("1", "cup", 0.5)], AT, Some(&jpeg(1)))), (1, 0, 0, 1, true));
    }
    ingest(&daemon, "s2", &[("1", "dog", 0.9)], AT, None).is(200);
    assert_eq!(detection(&daemon, "s", "1")["cls"], "cup");
}
