//! JSON bodies: opens, closes, hooks, and the `meta` of an ingest.

use serde_json::{Map, Value, json};
use session_store::domain::Invalid;
use session_store::domain::bbox::clean_bbox;
use session_store::domain::frame::{Frame, MAX_DETECTIONS};
use session_store::domain::ids::MAX_ID_BYTES;
use session_store::domain::segment::Segment;
use session_store::domain::time::Timestamp;
use session_store::http::wire;

use crate::assert_sentence;

/// Reads `data` as the body of every request that takes JSON.
pub fn run(data: &[u8]) {
    if let Some(frame) = taken(wire::frame(data)) {
        meta(&frame);
    }
    let Ok(Value::Object(object)) = serde_json::from_slice(data) else { return };
    if let Some(open) = taken(wire::open(&object)) {
        assert!(!open.device_id.is_empty() && !open.path.is_empty());
        assert!(open.configured_classes.iter().all(|class| !class.is_empty() && class.trim() == class));
        let again = json!({
            "sessionId": open.id.as_str(), "devId": open.device_id, "path": open.path, "startTs": open.start.to_micros(),
            "reason": open.reason, "configuredClasses": open.configured_classes,
        });
        assert_eq!(same(&open), wire::open(&fields(again)).as_ref().map_or_else(same, same));
    }
    if let Some(close) = taken(wire::close(&object)) {
        assert!(close.postroll_sec.is_none_or(|seconds| seconds >= 0));
        let again = json!({"sessionId": close.id.as_str(), "endTs": close.end.to_micros(), "postrollSec": close.postroll_sec});
        assert_eq!(same(&close), wire::close(&fields(again)).as_ref().map_or_else(same, same));
    }
    if let Some((path, event)) = taken(wire::publish(&object)) {
        let again = wire::publish(&fields(json!({"path": path, "eventTs": event.to_micros()})));
        assert_eq!(again, Ok((path, event)));
    }
    if let Some((path, file)) = taken(wire::segment_create(&object)) {
        assert!(!path.is_empty() && !file.is_empty());
    }
    if let Some(hook) = taken(wire::segment_complete(&object)) {
        let duration_sec = 300;
        let now = Timestamp::from_micros(1_760_184_000_000_000);
        let segment = Segment::from_hook(hook.path, hook.file, hook.said, now, duration_sec);
        // At the first allowed moment there is no room for a start before the end.
        assert!(segment.start < segment.end || segment.end == Timestamp::MIN, "{segment:?}");
        assert!(segment.end.micros() - segment.start.micros() <= 2 * i64::from(duration_sec) * 1_000_000, "{segment:?}");
    }
}

/// A frame's `meta`, said again in the plainest way, is the same frame.
fn meta(frame: &Frame) {
    assert!(frame.sightings.len() <= MAX_DETECTIONS && frame.jpeg.is_none());
    let mut detections = Vec::new();
    for sighting in &frame.sightings {
        let (track, cls) = (sighting.track.as_str(), &sighting.cls);
        assert!((1..=MAX_ID_BYTES).contains(&track.len()) && !track.contains('\0') && !cls.is_empty() && !cls.contains('\0'));
        assert!((0.0..=1.0).contains(&sighting.conf), "conf {}", sighting.conf);
        assert_eq!(clean_bbox("bbox", &sighting.bbox).as_ref(), Ok(&sighting.bbox), "a clean box is not clean");
        let bbox: Value = serde_json::from_str(&sighting.bbox).expect("a box is JSON");
        assert_eq!(bbox.as_object().map(Map::len), Some(4), "{bbox}");
        detections.push(json!({"trackId": track, "cls": cls, "conf": sighting.conf, "bbox": bbox}));
    }
    let again = json!({
        "sessionId": frame.session.as_str(), "captureTs": frame.capture.to_micros(), "detections": detections,
    });
    let again = wire::frame(again.to_string().as_bytes()).expect("what was taken once is taken again");
    assert_eq!((&again.session, again.capture), (&frame.session, frame.capture));
    assert_eq!(again.sightings, frame.sightings);
}

fn taken<T>(read: Result<T, Invalid>) -> Option<T> {
    read.map_err(|error| assert_sentence(&error.0)).ok()
}

fn fields(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        other => panic!("{other} is no object"),
    }
}

fn same(value: &impl std::fmt::Debug) -> String {
    format!("{value:?}")
}
