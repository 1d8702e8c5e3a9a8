//! Both sides, row by row.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::postgres::Db;
use crate::support::daemon::Daemon;
use crate::support::until;

type Rows = BTreeMap<(String, String), Vec<Option<String>>>;

const SESSIONS: &str = "SELECT session_id, '', device_id, path, status, utc(start_ts), utc(end_ts), postroll_sec, reason, utc(media_connect_ts),
    utc(media_start_ts), utc(media_end_ts), recommended_start_offset_ms, to_json(configured_classes), to_json(detected_classes), utc(created_at)
    FROM sessions";
const DETECTIONS: &str =
    "SELECT session_id, track_id, cls, conf, bbox, first, last, capture, ingest, created, attributes, enriched, url FROM
    (SELECT session_id, track_id, cls, conf, bbox, utc(first_ts) AS first, utc(last_ts) AS last, utc(capture_ts) AS capture,
     utc(ingest_ts) AS ingest, utc(created_at) AS created, attributes, (enriched AND attributes IS NOT NULL)::text AS enriched,
     regexp_replace(url_frame, '~[0-9a-f]+', '') AS url FROM detections) AS d";

/// What lies centrally, `updated_at` left out.
pub fn central(db: &Db) -> (Rows, Rows) {
    db.run(
        "CREATE OR REPLACE FUNCTION pg_temp.utc(at TIMESTAMPTZ) RETURNS TEXT LANGUAGE sql AS
         $$ SELECT to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') $$",
    );
    let rows = |sql: &str| {
        let rows = db.rows(&sql.replace("utc(", "pg_temp.utc("));
        rows.into_iter()
            .map(|mut row| {
                let rest = row.split_off(2).into_iter().map(|value| value.map(|text| normal(&text))).collect();
                ((row[0].clone().unwrap_or_default(), row[1].clone().unwrap_or_default()), rest)
            })
            .collect()
    };
    (rows(SESSIONS), rows(DETECTIONS))
}

/// JSON as Rust writes it; numbers by their value.
fn normal(text: &str) -> String {
    serde_json::from_str::<Value>(text).map_or_else(|_| text.to_owned(), |value| canonical(&value))
}

fn canonical(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let sorted: BTreeMap<_, _> = fields.iter().map(|(key, value)| (key, canonical(value))).collect();
            format!("{sorted:?}")
        }
        Value::Array(items) => format!("{:?}", items.iter().map(canonical).collect::<Vec<_>>()),
        Value::Number(number) => number.as_f64().map_or_else(|| number.to_string(), |number| number.to_string()),
        other => other.to_string(),
    }
}

/// What lies at the gateway, by its export.
pub fn gateway(daemon: &Daemon) -> (Rows, Rows) {
    let (mut sessions, mut detections) = (Rows::new(), Rows::new());
    let export = daemon.get("/export").is(200).text();
    let text = |value: &Value| match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(canonical(other)),
    };
    for line in export.lines() {
        let line: Value = serde_json::from_str(line).expect("JSON");
        let of = |record: &Value, names: &[&str]| names.iter().map(|name| text(&record[*name])).collect::<Vec<_>>();
        if let Some(session) = line.get("session") {
            let names = [
                "device_id",
                "path",
                "status",
                "start_ts",
                "end_ts",
                "postroll_sec",
                "reason",
                "media_connect_ts",
                "media_start_ts",
                "media_end_ts",
                "recommended_start_offset_ms",
                "configured_classes",
                "detected_classes",
                "created_at",
            ];
            sessions.insert((text(&session["session_id"]).unwrap(), String::new()), of(session, &names));
        } else if let Some(one) = line.get("detection") {
            let names = [
                "cls",
                "conf",
                "bbox",
                "first_ts",
                "last_ts",
                "capture_ts",
                "ingest_ts",
                "created_at",
                "attributes",
                "enriched",
                "url_frame",
            ];
            detections.insert((text(&one["session_id"]).unwrap(), text(&one["track_id"]).unwrap()), of(one, &names));
        }
    }
    (sessions, detections)
}

/// The first difference between both sides.
pub fn difference(daemon: &Daemon, db: &Db) -> Option<String> {
    let ((here_s, here_d), (there_s, there_d)) = (gateway(daemon), central(db));
    for (what, here, there) in [("session", here_s, there_s), ("detection", here_d, there_d)] {
        for (key, row) in &here {
            match there.get(key) {
                None => return Some(format!("{what} {key:?} is not central ({} of {})", there.len(), here.len())),
                Some(other) if other != row => return Some(format!("{what} {key:?}:\nhere  {row:?}\nthere {other:?}")),
                Some(_) => {}
            }
        }
        if let Some((key, _)) = there.iter().find(|(key, _)| !here.contains_key(key)) {
            return Some(format!("{what} {key:?} is only central"));
        }
    }
    None
}

/// Waits until both sides are equal.
#[track_caller]
pub fn become_equal(daemon: &Daemon, db: &Db, within: Duration) {
    let mut last = None;
    let end = std::time::Instant::now() + within;
    loop {
        match difference(daemon, db) {
            None => return,
            some => last = some.or(last),
        }
        assert!(std::time::Instant::now() < end, "not equal within {within:?}: {}\n{}", last.unwrap_or_default(), health(daemon));
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// `/health`'s field.
pub fn health(daemon: &Daemon) -> Value {
    daemon.get("/health").is(200).json()["sync"].clone()
}

/// Waits until `/health` says so of the sync.
#[track_caller]
pub fn until_health(daemon: &Daemon, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    until(what, Duration::from_secs(30), || Some(health(daemon)).filter(&is))
}
