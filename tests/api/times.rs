//! Times: every form that is allowed in, the one form that goes out.

use serde_json::{Value, json};

use crate::support::agent::{START, detection, ingest, meta, open, post_meta, sighting};
use crate::support::daemon::{Daemon, Home};

/// What comes in and what must go out.
const GOOD: [(&str, &str); 27] = [
    ("2025-10-11T12:00:00Z", "2025-10-11T12:00:00.000Z"),
    ("2025-10-11T12:00:00.000Z", "2025-10-11T12:00:00.000Z"),
    ("2025-10-11T12:00:00.1Z", "2025-10-11T12:00:00.100Z"),
    ("2025-10-11T12:00:00.123Z", "2025-10-11T12:00:00.123Z"),
    ("2025-10-11T12:00:00.123456Z", "2025-10-11T12:00:00.123Z"),
    ("2025-10-11T12:00:00.1239999999999999999999999999Z", "2025-10-11T12:00:00.123Z"),
    ("2025-10-11T23:59:59.999999999999Z", "2025-10-11T23:59:59.999Z"),
    ("2025-10-11T12:00:00.0004Z", "2025-10-11T12:00:00.000Z"),
    ("2025-10-11T12:00:00+00:00", "2025-10-11T12:00:00.000Z"),
    ("2025-10-11T12:00:00-00:00", "2025-10-11T12:00:00.000Z"),
    ("2025-10-11T12:00:00+02:00", "2025-10-11T10:00:00.000Z"),
    ("2025-10-11T12:00:00-05:30", "2025-10-11T17:30:00.000Z"),
    ("2025-10-11T12:00:00.5+05:45", "2025-10-11T06:15:00.500Z"),
    ("2025-10-11T23:59:59-23:59", "2025-10-12T23:58:59.000Z"),
    ("2025-10-11T00:30:00+14:00", "2025-10-10T10:30:00.000Z"),
    ("2025-10-11 12:00:00Z", "2025-10-11T12:00:00.000Z"),
    ("2025-10-11 12:00:00.25+02:00", "2025-10-11T10:00:00.250Z"),
    ("2025-10-11 12:00:00", "2025-10-11T12:00:00.000Z"),
    ("2025-10-11T12:00:00", "2025-10-11T12:00:00.000Z"),
    ("2025-10-11T12:00:00.123456789", "2025-10-11T12:00:00.123Z"),
    ("2025-10-11", "2025-10-11T00:00:00.000Z"),
    ("2024-02-29", "2024-02-29T00:00:00.000Z"),
    ("2025-10-11t12:00:00z", "2025-10-11T12:00:00.000Z"),
    ("1969-12-31T23:59:59.9999Z", "1969-12-31T23:59:59.999Z"),
    ("1900-01-01T00:00:00.0019Z", "1900-01-01T00:00:00.001Z"),
    ("0001-01-01", "0001-01-01T00:00:00.000Z"),
    ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999Z"),
];

const BAD: [&str; 34] = [
    "",
    " ",
    "yesterday",
    "now",
    "null",
    "1760184000",
    "1760184000000",
    "2025",
    "2025-10",
    "2025-10-32",
    "2025-13-01",
    "2025-00-01",
    "2025-02-29",
    "2025-10-11T",
    "2025-10-11T25:00:00Z",
    "2025-10-11T12:60:00Z",
    "2025-10-11T12:00:61Z",
    "2025-10-11T12:00:00.Z",
    "2025-10-11T12:00:00+25:00",
    "2025-10-11T12:00:00+02:60",
    "2025-10-11T12:00:00+",
    "2025-10-11T12:00:00ZZ",
    "2025-10-11T12:00:00Z tomorrow",
    "2025-10-11T12:00:00 Europe/Madrid",
    "2025-10-11X12:00:00Z",
    "11/10/2025 12:00:00",
    "Sat, 11 Oct 2025 12:00:00 GMT",
    "2025-1-1T12:00:00Z",
    "-2025-10-11T12:00:00Z",
    "0000-01-01T00:00:00Z",
    "10000-01-01T00:00:00Z",
    "+12025-10-11T12:00:00Z",
    "9999-12-31T23:59:59-01:00",
    "２０２５-10-11T12:00:00Z",
];

#[test]
fn every_allowed_form_of_a_time_goes_out_as_utc_with_milliseconds_and_z() {
    let daemon = Daemon::start();
    for (number, (given, out)) in GOOD.into_iter().enumerate() {
        let id = format!("s{number}");
        let body = json!({"sessionId": id, "devId": "d", "startTs": given});
        let record = daemon.post("/sessions/open", &body).is(201).json();
        assert_eq!(record["start_ts"], out, "startTs {given}");
        let body = json!({"sessionId": id, "endTs": given});
        assert_eq!(daemon.post("/sessions/close", &body).is(200).json()["end_ts"], out, "endTs {given}");
        ingest(&daemon, &id, &[("1", "cup", 0.5)], given, None).is(200);
        let seen = detection(&daemon, &id, "1");
        for field in ["first_ts", "last_ts", "capture_ts"] {
            assert_eq!(seen[field], out, "captureTs {given}");
        }
    }
}

#[test]
fn a_bad_time_is_400_and_names_its_field() {
    let daemon = Daemon::start();
    open(&daemon, "s");
    for bad in BAD {
        let body = json!({"sessionId": "new", "devId": "d", "startTs": bad});
        let error = daemon.post("/sessions/open", &body).is(400).error();
        assert!(error.contains("startTs"), "{bad:?}: {error}");
        let error = daemon.post("/sessions/close", &json!({"sessionId": "s", "endTs": bad})).is(400).error();
        assert!(error.contains("endTs"), "{bad:?}: {error}");
        let error = ingest(&daemon, "s", &[("1", "cup", 0.5)], bad, None).is(400).error();
        assert!(error.contains("captureTs"), "{bad:?}: {error}");
        if !bad.is_empty() {
            let body = json!({"path": "cam-local", "eventTs": bad});
            let error = daemon.post("/hooks/mediamtx/publish", &body).is(400).error();
            assert!(error.contains("eventTs"), "{bad:?}: {error}");
        }
    }
    daemon.get("/sessions/new").is(404);
    assert_eq!(daemon.get("/sessions/s").is(200).json()["status"], "open", "a bad request changes nothing");
}

#[test]
fn a_time_that_is_no_text_is_400_and_names_its_field() {
    let daemon = Daemon::start();
    open(&daemon, "s");
    for bad in [json!(1_760_184_000_000_u64), json!(1.5), json!(true), json!({"ts": START}), json!([START]), Value::Null] {
        let body = json!({"sessionId": "new", "devId": "d", "startTs": bad});
        assert!(daemon.post("/sessions/open", &body).is(400).error().contains("startTs"), "{bad}");
        let mut body = meta("s", START, &[sighting("1", "cup", 0.5)]);
        body["captureTs"] = bad;
        assert!(post_meta(&daemon, &body, None).is(400).error().contains("captureTs"), "{body}");
    }
}

#[test]
fn a_leap_second_is_refused_or_shown_as_a_time_that_exists() {
    let daemon = Daemon::start();
    let body = json!({"sessionId": "leap", "devId": "d", "startTs": "2016-12-31T23:59:60Z"});
    let answer = daemon.post("/sessions/open", &body);
    if answer.status == 201 {
        let start = answer.json()["start_ts"].as_str().unwrap().to_owned();
        assert!(["2016-12-31T23:59:59.999Z", "2017-01-01T00:00:00.000Z"].contains(&start.as_str()), "{start}");
    } else {
        assert!(answer.is(400).error().contains("startTs"));
    }
}

#[test]
fn times_are_kept_to_the_microsecond_and_cut_not_rounded() {
    let daemon = Daemon::start();
    for (id, start) in
        [("b", "2025-10-11T12:00:00.1234569999Z"), ("a", "2025-10-11T12:00:00.123455Z"), ("c", "2025-10-11T12:00:00.123457Z")]
    {
        let body = json!({"sessionId": id, "devId": "d", "startTs": start});
        let record = daemon.post("/sessions/open", &body).is(201).json();
        assert_eq!(record["start_ts"], "2025-10-11T12:00:00.123Z");
    }
    let home: Home = daemon.stop();
    let export = home.run(&["export"], b"").stdout;
    for (id, start) in [("a", "123455"), ("b", "123456"), ("c", "123457")] {
        let line = export.lines().find(|line| line.contains(&format!("\"session_id\":\"{id}\""))).expect("its line");
        assert!(line.contains(&format!("\"start_ts\":\"2025-10-11T12:00:00.{start}Z\"")), "{line}");
    }
}

#[test]
fn two_times_of_one_millisecond_are_told_apart() {
    let daemon = Daemon::start();
    open(&daemon, "s");
    for capture in ["2025-10-11T12:00:00.000500Z", "2025-10-11T12:00:00.000900Z", "2025-10-11T12:00:00.000100Z"] {
        ingest(&daemon, "s", &[("1", "cup", 0.5)], capture, None).is(200);
    }
    let home = daemon.stop();
    let export = home.run(&["export"], b"").stdout;
    let line = export.lines().find(|line| line.contains("\"detection\"")).expect("its line");
    for kept in [
        "\"first_ts\":\"2025-10-11T12:00:00.000100Z\"",
        "\"last_ts\":\"2025-10-11T12:00:00.000900Z\"",
        "\"capture_ts\":\"2025-10-11T12:00:00.000500Z\"",
    ] {
        assert!(line.contains(kept), "{kept} in {line}");
    }
}
