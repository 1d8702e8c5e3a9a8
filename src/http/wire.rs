//! What clients send, from JSON to the domain. `camelCase`, as they spell it.

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::domain::Invalid;
use crate::domain::bbox::clean_bbox;
use crate::domain::detection::Sighting;
use crate::domain::frame::{Frame, MAX_DETECTIONS};
use crate::domain::ids::{SessionId, TrackId, check_text};
use crate::domain::segment::Said;
use crate::domain::session::{Close, MAX_TEXT_BYTES, Open, clean_classes};
use crate::domain::time::Timestamp;
use crate::service::hooks::SegmentComplete;

type Object = Map<String, Value>;

fn given<'a>(object: &'a Object, field: &str) -> Option<&'a Value> {
    object.get(field).filter(|value| !value.is_null())
}

fn text<'a>(object: &'a Object, field: &str) -> Result<Option<&'a str>, Invalid> {
    match given(object, field) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Invalid::field(field, "must be a text")),
    }
}

fn required<'a>(object: &'a Object, field: &str) -> Result<&'a str, Invalid> {
    text(object, field)?.ok_or_else(|| Invalid::field(field, "is required"))
}

/// A text that may be missing or empty.
fn filled<'a>(object: &'a Object, field: &str) -> Result<Option<&'a str>, Invalid> {
    let Some(text) = text(object, field)?.filter(|text| !text.is_empty()) else { return Ok(None) };
    check_text(field, text, MAX_TEXT_BYTES)?;
    Ok(Some(text))
}

/// `POST /sessions/open`.
pub fn open(object: &Object) -> Result<Open, Invalid> {
    let id = SessionId::new("sessionId", required(object, "sessionId")?)?;
    let device_id = required(object, "devId")?;
    check_text("devId", device_id, MAX_TEXT_BYTES)?;
    let path = filled(object, "path")?.or(filled(object, "streamPath")?).unwrap_or(device_id);
    let start = Timestamp::parse_field("startTs", required(object, "startTs")?)?;
    let reason = filled(object, "reason")?;
    let configured_classes = match given(object, "configuredClasses").or_else(|| given(object, "configured_classes")) {
        None => Vec::new(),
        Some(value) => classes(value)?,
    };
    Ok(Open {
        id,
        device_id: device_id.to_owned(),
        path: path.to_owned(),
        start,
        reason: reason.map(ToOwned::to_owned),
        configured_classes,
    })
}

fn classes(value: &Value) -> Result<Vec<String>, Invalid> {
    const FIELD: &str = "configuredClasses";
    let list = value.as_array().and_then(|all| all.iter().map(Value::as_str).collect::<Option<Vec<_>>>());
    let list = list.ok_or_else(|| Invalid::field(FIELD, "must be a list of texts"))?;
    clean_classes(FIELD, list.into_iter().map(ToOwned::to_owned))
}

/// `POST /sessions/close`.
pub fn close(object: &Object) -> Result<Close, Invalid> {
    let id = SessionId::new("sessionId", required(object, "sessionId")?)?;
    let end = Timestamp::parse_field("endTs", required(object, "endTs")?)?;
    // The edge agent in the field spells it with a capital R.
    let postroll = given(object, "postrollSec").or_else(|| given(object, "postRollSec"));
    Ok(Close { id, end, postroll_sec: postroll.and_then(whole_seconds) })
}

/// `POST /sessions/:id/hold` at `now`: the reason, and the end where there is one.
pub fn hold(object: &Object, now: Timestamp) -> Result<(String, Option<Timestamp>), Invalid> {
    let reason = filled(object, "reason")?.map(str::trim).filter(|reason| !reason.is_empty());
    let reason = reason.ok_or_else(|| Invalid::field("reason", "is required"))?;
    let until = text(object, "until")?.map(|text| Timestamp::parse_field("until", text)).transpose()?;
    if until.is_some_and(|until| until <= now) {
        return Err(Invalid::field("until", "must be in the future"));
    }
    Ok((reason.to_owned(), until))
}

/// A whole number from 0 on that Postgres' INTEGER can hold; 5.0 is one.
fn whole_seconds(value: &Value) -> Option<i32> {
    let seconds = value.as_f64()?;
    let is_whole = seconds.fract() == 0.0 && (0.0..=f64::from(i32::MAX)).contains(&seconds);
    #[expect(clippy::cast_possible_truncation)]
    is_whole.then_some(seconds as i32)
}

/// A hook's time; an empty text is none. Whole Unix seconds are taken too: a script may know no better.
fn hook_time(object: &Object, field: &str) -> Result<Option<Timestamp>, Invalid> {
    match given(object, field) {
        None => Ok(None),
        Some(Value::String(text)) if text.trim().is_empty() => Ok(None),
        Some(Value::Number(seconds)) => {
            let micros = seconds.as_i64().and_then(|seconds| seconds.checked_mul(1_000_000)).map(Timestamp::from_micros);
            micros.map(Some).ok_or_else(|| Invalid::field(field, "must be an ISO 8601 time"))
        }
        Some(Value::String(text)) => Timestamp::parse_field(field, text).map(Some),
        Some(_) => Err(Invalid::field(field, "must be an ISO 8601 time")),
    }
}

fn hook_text(object: &Object, field: &str) -> Result<Option<String>, Invalid> {
    Ok(filled(object, field)?.map(ToOwned::to_owned))
}

/// `POST /hooks/mediamtx/publish`: the path and the time.
pub fn publish(object: &Object) -> Result<(String, Timestamp), Invalid> {
    match (hook_text(object, "path")?, hook_time(object, "eventTs")?) {
        (Some(path), Some(event)) => Ok((path, event)),
        _ => Err(Invalid("Missing required fields: path, eventTs".to_owned())),
    }
}

fn hook_segment(object: &Object) -> Result<(String, String), Invalid> {
    match (hook_text(object, "path")?, hook_text(object, "segmentPath")?) {
        (Some(path), Some(file)) => Ok((path, file)),
        _ => Err(Invalid("Missing required fields: path, segmentPath".to_owned())),
    }
}

/// `POST /hooks/mediamtx/record/segment/create`: the path and the file. Its time is looked at no further: the file has a better one.
pub fn segment_create(object: &Object) -> Result<(String, String), Invalid> {
    hook_time(object, "eventTs")?;
    hook_segment(object)
}

/// `POST /hooks/mediamtx/record/segment/complete`.
pub fn segment_complete(object: &Object) -> Result<SegmentComplete, Invalid> {
    let (path, file) = hook_segment(object)?;
    // What a script could not work out is no reason to lose the segment.
    let hint = |field| hook_time(object, field).unwrap_or_default();
    let said = Said { event: hook_time(object, "eventTs")?, start: hint("segmentStartTs"), end: hint("segmentEndTs") };
    Ok(SegmentComplete { path, file, said })
}

/// The `meta` of an ingest. Values are kept as text until each is looked at, so that a large
/// request costs little memory and a bad value is named.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta<'a> {
    #[serde(borrow)]
    session_id: Option<&'a RawValue>,
    #[serde(borrow)]
    capture_ts: Option<&'a RawValue>,
    #[serde(borrow)]
    detections: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawSighting<'a> {
    #[serde(borrow)]
    track_id: Option<&'a RawValue>,
    #[serde(borrow)]
    cls: Option<&'a RawValue>,
    #[serde(borrow)]
    conf: Option<&'a RawValue>,
    #[serde(borrow)]
    bbox: Option<&'a RawValue>,
}

/// The detections of a request; of more than are allowed only one more is read.
struct Detections<'a>(Vec<&'a RawValue>);

impl<'de> Deserialize<'de> for Detections<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bounded;

        impl<'de> Visitor<'de> for Bounded {
            type Value = Detections<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Self::Value, A::Error> {
                let mut detections = Vec::new();
                while let Some(detection) = all.next_element()? {
                    if detections.len() <= MAX_DETECTIONS {
                        detections.push(detection);
                    }
                }
                Ok(Detections(detections))
            }
        }

        deserializer.deserialize_seq(Bounded)
    }
}

fn raw<'a, T: Deserialize<'a>>(value: Option<&'a RawValue>) -> Option<T> {
    serde_json::from_str(value?.get()).ok()
}

/// `POST /ingest`: the `meta` part.
pub fn frame(meta: &[u8]) -> Result<Frame, Invalid> {
    let invalid = |_| Invalid("Invalid JSON in meta field".to_owned());
    // A JSON array would be read as the fields in their order.
    if meta.trim_ascii_start().first() != Some(&b'{') {
        serde_json::from_slice::<&RawValue>(meta).map_err(invalid)?;
        return Err(Invalid("Missing sessionId in metadata".to_owned()));
    }
    let meta: Meta = serde_json::from_slice(meta).map_err(invalid)?;
    let session = match meta.session_id.map(RawValue::get) {
        None | Some("\"\"") => return Err(Invalid("Missing sessionId in metadata".to_owned())),
        Some(_) => raw::<String>(meta.session_id).ok_or_else(|| Invalid::field("sessionId", "must be a text"))?,
    };
    let session = SessionId::new("sessionId", session)?;
    let Some(Detections(detections)) = raw(meta.detections) else {
        return Err(Invalid("Detections must be an array".to_owned()));
    };
    if detections.len() > MAX_DETECTIONS {
        return Err(Invalid::field("detections", format_args!("must hold at most {MAX_DETECTIONS} detections")));
    }
    let capture = match meta.capture_ts {
        None => return Err(Invalid::field("captureTs", "is required")),
        given => raw::<String>(given).ok_or_else(|| Invalid::field("captureTs", "must be an ISO 8601 time"))?,
    };
    let capture = Timestamp::parse_field("captureTs", &capture)?;
    let sightings =
        detections.iter().enumerate().map(|(index, detection)| sighting(index, detection)).collect::<Result<_, _>>()?;
    Ok(Frame { session, capture, sightings, jpeg: None })
}

fn sighting(index: usize, detection: &RawValue) -> Result<Sighting, Invalid> {
    let field = |name: &str| format!("detections[{index}].{name}");
    let is_object = detection.get().starts_with('{');
    let detection: Option<RawSighting> = is_object.then(|| serde_json::from_str(detection.get()).ok()).flatten();
    let Some(detection) = detection else {
        return Err(Invalid::field(&format!("detections[{index}]"), "must be an object"));
    };
    let track = raw::<String>(detection.track_id).or_else(|| raw(detection.track_id).as_ref().map(number_text));
    let track = track.ok_or_else(|| Invalid::field(&field("trackId"), "must be a text or a number"))?;
    let track = TrackId::new(&field("trackId"), track)?;
    let cls = raw::<String>(detection.cls).ok_or_else(|| Invalid::field(&field("cls"), "must be a text"))?;
    let cls = cls.trim();
    check_text(&field("cls"), cls, MAX_TEXT_BYTES)?;
    let conf = raw::<f64>(detection.conf).filter(|conf| (0.0..=1.0).contains(conf));
    let conf = conf.ok_or_else(|| Invalid::field(&field("conf"), "must be a number from 0 to 1"))?;
    let bbox = detection.bbox.map_or("null", RawValue::get);
    // Adding 0 makes -0 plain 0.
    Ok(Sighting { track, cls: cls.to_owned(), conf: conf + 0.0, bbox: clean_bbox(&field("bbox"), bbox)? })
}

/// A number as JavaScript writes it: 7.0 is 7.
fn number_text(number: &serde_json::Number) -> String {
    match number.as_f64() {
        Some(value) if value.fract() == 0.0 && value.abs() < 9e15 => format!("{value:.0}"),
        _ => number.to_string(),
    }
}
