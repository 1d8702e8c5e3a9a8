//! The JSON of records: on the wire with milliseconds, in an export with microseconds and `extra`.
//! Field order and names are the contract's.

use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::detection::Detection;
use super::hold::Hold;
use super::ids::SessionId;
use super::session::Session;
use super::time::Timestamp;

/// Which of the two forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// For clients.
    Wire,
    /// For an import elsewhere.
    Export,
}

impl Form {
    fn time(self, at: Timestamp) -> String {
        match self {
            Self::Wire => at.to_millis(),
            Self::Export => at.to_micros(),
        }
    }
}

/// A session's JSON.
pub struct SessionJson<'a>(pub &'a Session, pub Form);

impl Serialize for SessionJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(session, form) = *self;
        let time = |at: Option<Timestamp>| at.map(|at| form.time(at));
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("session_id", session.id.as_str())?;
        map.serialize_entry("device_id", &session.device_id)?;
        map.serialize_entry("path", &session.path)?;
        map.serialize_entry("status", if session.is_open() { "open" } else { "closed" })?;
        map.serialize_entry("start_ts", &form.time(session.start))?;
        map.serialize_entry("end_ts", &time(session.end.map(|end| end.at)))?;
        map.serialize_entry("postroll_sec", &session.postroll_sec)?;
        map.serialize_entry("reason", &session.reason)?;
        map.serialize_entry("media_connect_ts", &time(session.media_connect))?;
        map.serialize_entry("media_start_ts", &time(session.media_start))?;
        map.serialize_entry("media_end_ts", &time(session.media_end))?;
        map.serialize_entry("recommended_start_offset_ms", &session.recommended_start_offset_ms)?;
        map.serialize_entry("configured_classes", &session.configured_classes)?;
        map.serialize_entry("detected_classes", &session.detected_classes)?;
        map.serialize_entry("created_at", &form.time(session.created_at))?;
        map.serialize_entry("updated_at", &form.time(session.updated_at))?;
        map.serialize_entry("end_reason", &session.end.and_then(|end| end.reason).map(super::session::EndReason::as_str))?;
        if let Some(hold) = &session.hold {
            map.serialize_entry("hold", &HoldJson(hold, form))?;
        }
        if form == Form::Export {
            map.serialize_entry("extra", &serde_json::Map::new())?;
        }
        map.end()
    }
}

/// A hold's JSON.
pub struct HoldJson<'a>(pub &'a Hold, pub Form);

impl Serialize for HoldJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(hold, form) = *self;
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("reason", &hold.reason)?;
        map.serialize_entry("until", &hold.until.map(|until| form.time(until)))?;
        map.serialize_entry("since", &form.time(hold.since))?;
        map.end()
    }
}

/// What the wire does not carry of a detection.
#[derive(Serialize)]
struct DetectionExtra {
    /// Confidence of the sighting whose picture `url_frame` names.
    frame_conf: Option<f64>,
    /// Length of its file when it was stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    frame_bytes: Option<u64>,
    /// XXH3-64 of its file when it was stored, hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    frame_hash: Option<String>,
}

/// The JSON of a detection of the session with this id; in an export with length and hash of its picture's file
/// when that was stored.
pub struct DetectionJson<'a>(pub &'a SessionId, pub &'a Detection, pub Form, pub Option<(u64, Option<u64>)>);

impl Serialize for DetectionJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(session, detection, form, file) = *self;
        let raw = |text: &String| RawValue::from_string(text.clone()).map_err(serde::ser::Error::custom);
        let url = detection.picture.as_ref().map(|picture| frame_url(session, &picture.file));
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("session_id", session.as_str())?;
        map.serialize_entry("track_id", detection.track.as_str())?;
        map.serialize_entry("cls", &detection.cls)?;
        map.serialize_entry("conf", &detection.conf)?;
        map.serialize_entry("bbox", &raw(&detection.bbox)?)?;
        map.serialize_entry("url_frame", &url)?;
        map.serialize_entry("first_ts", &form.time(detection.first))?;
        map.serialize_entry("last_ts", &form.time(detection.last))?;
        map.serialize_entry("capture_ts", &form.time(detection.capture))?;
        map.serialize_entry("ingest_ts", &form.time(detection.ingest))?;
        map.serialize_entry("created_at", &form.time(detection.created_at))?;
        map.serialize_entry("updated_at", &form.time(detection.updated_at))?;
        map.serialize_entry("attributes", &detection.attributes.as_ref().map(raw).transpose()?)?;
        map.serialize_entry("enriched", &detection.enriched)?;
        if form == Form::Export {
            let extra = DetectionExtra {
                frame_conf: detection.picture.as_ref().map(|picture| picture.conf),
                frame_bytes: file.map(|(bytes, _)| bytes),
                frame_hash: file.and_then(|(_, hash)| hash).map(|hash| format!("{hash:016x}")),
            };
            map.serialize_entry("extra", &extra)?;
        }
        map.end()
    }
}

/// The URL of a frame, raw, not percent-encoded: the enricher joins it to its own folder.
pub fn frame_url(session: &SessionId, file: &str) -> String {
    format!("/frames/{session}/{file}")
}

/// The file's name in a frame's URL, where it is one of `session`.
pub fn file_of_frame_url<'a>(url: &'a str, session: &SessionId) -> Option<&'a str> {
    url.strip_prefix("/frames/")?.strip_prefix(session.as_str())?.strip_prefix('/')
}
