//! One line of an export or a backup, parsed into the domain.

use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::domain::Invalid;
use crate::domain::bbox::clean_bbox;
use crate::domain::detection::{Detection, Picture};
use crate::domain::hold::Hold;
use crate::domain::ids::{SessionId, TrackId, check_text};
use crate::domain::measured::Stream;
use crate::domain::segment::{Segment, State};
use crate::domain::session::{End, EndReason, MAX_TEXT_BYTES, Session};
use crate::domain::time::Timestamp;
use crate::domain::wire::file_of_frame_url;
use crate::store::FrameFile;

/// One line, valid.
#[derive(Clone)]
pub enum Entry {
    /// A session.
    Session(Box<Session>),
    /// A detection of the session with this id; what is known of its picture's file when it was stored.
    Detection(SessionId, Box<Detection>, Option<FrameFile>),
    /// A session that is no more.
    Deleted(SessionId),
    /// A recording's segment.
    Segment(Segment),
    /// What a backup says of itself.
    Aside,
}

/// The longest name of a recording's file: a hook's whole body.
const MAX_FILE_BYTES: usize = 1 << 20;

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    session: Option<&'a RawValue>,
    #[serde(borrow)]
    detection: Option<&'a RawValue>,
    session_deleted: Option<DeletedLine>,
    segment: Option<SegmentLine>,
    catalogue: Option<serde::de::IgnoredAny>,
    end: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct SessionLine {
    session_id: String,
    device_id: String,
    path: String,
    status: Option<String>,
    start_ts: String,
    end_ts: Option<String>,
    postroll_sec: Option<i32>,
    reason: Option<String>,
    media_connect_ts: Option<String>,
    media_start_ts: Option<String>,
    media_end_ts: Option<String>,
    recommended_start_offset_ms: Option<i32>,
    configured_classes: Option<Vec<String>>,
    detected_classes: Option<Vec<String>>,
    created_at: Option<String>,
    updated_at: Option<String>,
    end_reason: Option<String>,
    hold: Option<HoldLine>,
}

#[derive(Deserialize)]
struct HoldLine {
    reason: String,
    until: Option<String>,
    since: String,
}

impl HoldLine {
    fn into_hold(self) -> Result<Hold, Invalid> {
        check_text("hold.reason", &self.reason, MAX_TEXT_BYTES)?;
        let until = time("hold.until", self.until.as_ref())?;
        Ok(Hold { reason: self.reason, until, since: Timestamp::parse_field("hold.since", &self.since)? })
    }
}

#[derive(Deserialize)]
struct DetectionLine<'a> {
    session_id: String,
    track_id: String,
    cls: String,
    conf: f64,
    #[serde(borrow)]
    bbox: &'a RawValue,
    url_frame: Option<String>,
    first_ts: String,
    last_ts: String,
    capture_ts: String,
    ingest_ts: Option<String>,
    created_at: Option<String>,
    updated_at: Option<String>,
    #[serde(borrow)]
    attributes: Option<&'a RawValue>,
    #[serde(default)]
    enriched: bool,
    extra: Option<DetectionExtra>,
}

#[derive(Deserialize)]
struct DetectionExtra {
    frame_conf: Option<f64>,
    frame_bytes: Option<u64>,
    frame_hash: Option<String>,
}

#[derive(Deserialize)]
struct SegmentLine {
    path: String,
    file: String,
    start_ts: String,
    end_ts: String,
    state: Option<String>,
    #[serde(default)]
    bytes: u64,
    #[serde(default)]
    modified_nanos: i64,
    stream_id: Option<Uuid>,
    number: Option<u64>,
    dts_nanos: Option<i64>,
    ntp_nanos: Option<i64>,
    reason: Option<String>,
}

#[derive(Deserialize)]
struct DeletedLine {
    session_id: String,
}

fn json<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, Invalid> {
    serde_json::from_slice(text).map_err(|error| Invalid(error.to_string()))
}

fn time(field: &str, text: Option<&String>) -> Result<Option<Timestamp>, Invalid> {
    text.map(|text| Timestamp::parse_field(field, text)).transpose()
}

impl Entry {
    /// Reads a line.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &[u8]) -> Result<Self, Invalid> {
        let line: Line = json(text)?;
        match (line.session, line.detection, line.session_deleted, line.segment) {
            (Some(session), None, None, None) => Self::session(json(session.get().as_bytes())?),
            (None, Some(detection), None, None) => Self::detection(json(detection.get().as_bytes())?),
            (None, None, Some(deleted), None) => Ok(Self::Deleted(SessionId::new("session_id", deleted.session_id)?)),
            (None, None, None, Some(segment)) => Self::segment(segment),
            (None, None, None, None) if line.catalogue.is_some() || line.end.is_some() => Ok(Self::Aside),
            _ => Err(Invalid("it must hold one of session, detection, session_deleted and segment".to_owned())),
        }
    }

    fn session(line: SessionLine) -> Result<Self, Invalid> {
        check_text("device_id", &line.device_id, MAX_TEXT_BYTES)?;
        check_text("path", &line.path, MAX_TEXT_BYTES)?;
        let start = Timestamp::parse_field("start_ts", &line.start_ts)?;
        let reason = match line.end_reason.as_deref() {
            None => None,
            Some(word) => {
                Some(EndReason::parse(word).ok_or_else(|| Invalid::field("end_reason", "must be client, idle or superseded"))?)
            }
        };
        let end = time("end_ts", line.end_ts.as_ref())?.map(|at| End { at, reason });
        match (line.status.as_deref(), end.is_some()) {
            (Some("closed") | None, true) | (Some("open") | None, false) => {}
            (Some("closed"), false) => return Err(Invalid::field("end_ts", "must be given for a closed session")),
            (Some("open"), true) => return Err(Invalid::field("end_ts", "must be null for an open session")),
            _ => return Err(Invalid::field("status", "must be open or closed")),
        }
        let created_at = time("created_at", line.created_at.as_ref())?.unwrap_or(start);
        Ok(Self::Session(Box::new(Session {
            id: SessionId::new("session_id", line.session_id)?,
            device_id: line.device_id,
            path: line.path,
            start,
            end,
            postroll_sec: line.postroll_sec,
            reason: line.reason,
            media_connect: time("media_connect_ts", line.media_connect_ts.as_ref())?,
            media_start: time("media_start_ts", line.media_start_ts.as_ref())?,
            media_end: time("media_end_ts", line.media_end_ts.as_ref())?,
            recommended_start_offset_ms: line.recommended_start_offset_ms,
            configured_classes: line.configured_classes.unwrap_or_default(),
            detected_classes: line.detected_classes.unwrap_or_default(),
            created_at,
            updated_at: time("updated_at", line.updated_at.as_ref())?.unwrap_or(created_at),
            hold: line.hold.map(HoldLine::into_hold).transpose()?,
        })))
    }

    fn detection(line: DetectionLine<'_>) -> Result<Self, Invalid> {
        check_text("cls", &line.cls, MAX_TEXT_BYTES)?;
        if !(0.0..=1.0).contains(&line.conf) {
            return Err(Invalid::field("conf", "must be a number from 0 to 1"));
        }
        let capture = Timestamp::parse_field("capture_ts", &line.capture_ts)?;
        let ingest = time("ingest_ts", line.ingest_ts.as_ref())?.unwrap_or(capture);
        let created_at = time("created_at", line.created_at.as_ref())?.unwrap_or(ingest);
        let session = SessionId::new("session_id", line.session_id)?;
        // `null` reaches a RawValue as text.
        let attributes = line.attributes.map(RawValue::get).filter(|text| *text != "null");
        if let Some(attributes) = attributes {
            // A RawValue may hold what no reader can take, such as 1e400.
            serde_json::from_str::<serde_json::Value>(attributes).map_err(|error| Invalid::field("attributes", error))?;
        }
        let attributes = attributes.map(ToOwned::to_owned);
        let extra = line.extra.unwrap_or(DetectionExtra { frame_conf: None, frame_bytes: None, frame_hash: None });
        let file = line.url_frame.as_deref().map(|url| file_of_frame_url(url, &session).unwrap_or_default().to_owned());
        let hash = extra.frame_hash.as_deref().map(|hex| u64::from_str_radix(hex, 16)).transpose();
        let hash = hash.map_err(|_| Invalid::field("frame_hash", "must be a hexadecimal number of 16 digits"))?;
        let stored = extra.frame_bytes.map(|bytes| FrameFile { bytes, hash });
        let detection = Detection {
            track: TrackId::new("track_id", line.track_id)?,
            cls: line.cls,
            conf: line.conf,
            bbox: clean_bbox("bbox", line.bbox.get())?,
            picture: file.map(|file| Picture { file, conf: extra.frame_conf.unwrap_or(line.conf) }),
            first: Timestamp::parse_field("first_ts", &line.first_ts)?,
            last: Timestamp::parse_field("last_ts", &line.last_ts)?,
            capture,
            ingest,
            created_at,
            updated_at: time("updated_at", line.updated_at.as_ref())?.unwrap_or(created_at),
            attributes,
            enriched: line.enriched,
        };
        Ok(Self::Detection(session, Box::new(detection), stored))
    }

    fn segment(line: SegmentLine) -> Result<Self, Invalid> {
        check_text("path", &line.path, MAX_TEXT_BYTES)?;
        check_text("file", &line.file, MAX_FILE_BYTES)?;
        let state = line.state.as_deref().map_or(Some(State::Estimated), State::parse);
        let stream = match (line.stream_id, line.number, line.dts_nanos, line.ntp_nanos) {
            (Some(id), Some(number), Some(dts_nanos), Some(ntp_nanos)) => {
                Some(Stream { id: id.into_bytes(), number, dts_nanos, ntp_nanos })
            }
            _ => None,
        };
        Ok(Self::Segment(Segment {
            start: Timestamp::parse_field("start_ts", &line.start_ts)?,
            end: Timestamp::parse_field("end_ts", &line.end_ts)?,
            path: line.path,
            file: line.file,
            state: state.ok_or_else(|| Invalid::field("state", "is none that a segment can have"))?,
            bytes: line.bytes,
            modified_nanos: line.modified_nanos,
            stream,
            reason: line.reason,
        }))
    }
}
