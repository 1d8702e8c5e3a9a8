//! Export lines, for stores that are filled by `import`.

use serde_json::{Value, json};

/// A session's line, closed by the client; `change` replaces or adds fields.
pub fn session_line(id: &str, start: &str, end: &str, classes: &[&str], change: &Value) -> Value {
    let mut record = json!({
        "session_id": id, "device_id": "cam-local", "path": "cam-local", "status": "closed",
        "start_ts": start, "end_ts": end, "postroll_sec": null, "reason": null,
        "media_connect_ts": null, "media_start_ts": null, "media_end_ts": null, "recommended_start_offset_ms": null,
        "configured_classes": [], "detected_classes": classes,
        "created_at": start, "updated_at": end, "end_reason": "client", "extra": {}
    });
    merge(&mut record, change);
    json!({ "session": record })
}

/// A detection's line, seen once; `change` replaces or adds fields.
pub fn detection_line(session: &str, track: &str, cls: &str, at: &str, change: &Value) -> Value {
    let mut record = json!({
        "session_id": session, "track_id": track, "cls": cls, "conf": 0.5,
        "bbox": {"x": 0.1, "y": 0.2, "w": 0.3, "h": 0.4}, "url_frame": null,
        "first_ts": at, "last_ts": at, "capture_ts": at, "ingest_ts": at,
        "created_at": at, "updated_at": at, "attributes": null, "enriched": false, "extra": {}
    });
    merge(&mut record, change);
    json!({ "detection": record })
}

/// What the enricher writes for a colour.
pub fn colour(name: &str) -> Value {
    json!({"enriched": true, "attributes": {"color":
        {"name": name, "rgb": [0.1, 0.2, 0.5], "hex": "#1a3380", "family": "blue", "confidence": 0.9}}})
}

/// A moment on the day of most tests, with microseconds.
pub fn at(minute: usize, second: usize) -> String {
    format!("2025-10-11T{:02}:{:02}:{second:02}.000000Z", 12 + minute / 60, minute % 60)
}

fn merge(record: &mut Value, change: &Value) {
    for (key, value) in change.as_object().into_iter().flatten() {
        record[key] = value.clone();
    }
}
