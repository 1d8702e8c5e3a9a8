//! How records lie in the tables: one version byte, then bincode (standard configuration:
//! variable-length integers, little endian). A reader knows every version ever written.

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bincode::{Decode, Encode};

use crate::domain::detection::{Detection, Picture};
use crate::domain::hold::Hold;
use crate::domain::ids::{SessionId, TrackId};
use crate::domain::measured::Stream;
use crate::domain::query::SessionKey;
use crate::domain::segment::{Segment, State, TOLD, TOLD_END};
use crate::domain::session::{End, EndReason, Session};
use crate::domain::time::Timestamp;

use super::StoreError;
use super::feed::Entity;
use super::journal::Batch;

/// A record longer than this is damage, not data.
const MAX_RECORD_BYTES: usize = 16 << 20;

const CONFIG: Configuration<LittleEndian, Varint, Limit<MAX_RECORD_BYTES>> =
    bincode::config::standard().with_limit::<MAX_RECORD_BYTES>();

/// The version that this program writes, of all records but segments and held sessions.
const VERSION: u8 = 1;
const SEGMENT_VERSION: u8 = 2;
const HELD_SESSION_VERSION: u8 = 2;

#[derive(Encode, Decode)]
struct SessionV1 {
    id: String,
    device_id: String,
    path: String,
    start: i64,
    end: Option<(i64, u8)>,
    postroll_sec: Option<i32>,
    reason: Option<String>,
    media_connect: Option<i64>,
    media_start: Option<i64>,
    media_end: Option<i64>,
    recommended_start_offset_ms: Option<i32>,
    configured_classes: Vec<String>,
    detected_classes: Vec<String>,
    created_at: i64,
    updated_at: i64,
    seq: u64,
}

/// A session that is held; one that is not is still written as [`SessionV1`].
#[derive(Encode, Decode)]
struct SessionV2 {
    session: SessionV1,
    hold: HoldV1,
}

#[derive(Encode, Decode)]
struct HoldV1 {
    reason: String,
    until: Option<i64>,
    since: i64,
}

#[derive(Encode, Decode)]
struct DetectionV1 {
    cls: String,
    conf: f64,
    bbox: String,
    picture: Option<(String, f64)>,
    first: i64,
    last: i64,
    capture: i64,
    ingest: i64,
    created_at: i64,
    updated_at: i64,
    attributes: Option<String>,
    enriched: bool,
    seq: u64,
}

#[derive(Encode, Decode)]
struct FrameV1 {
    shown_by: u32,
    bytes: u64,
    hash: Option<u64>,
}

#[derive(Encode, Decode)]
struct SegmentV1 {
    start: i64,
    end: i64,
    start_estimated: bool,
}

#[derive(Encode, Decode)]
struct SegmentV2 {
    start: i64,
    end: i64,
    state: u8,
    bytes: u64,
    modified_nanos: i64,
    /// Id, number, DTS and NTP in nanoseconds.
    stream: Option<([u8; 16], u64, i64, i64)>,
    reason: Option<String>,
}

#[derive(Encode, Decode)]
enum EntityV1 {
    Session { start: i64, number: u64 },
    Detection { start: i64, number: u64, track: String },
    SessionDeleted { id: String },
}

/// How many detections show a frame, and what its file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameRecord {
    /// Detections whose picture it is.
    pub shown_by: u32,
    /// The file's length when it was stored.
    pub bytes: u64,
    /// XXH3-64 of the file when it was stored; `None` for an imported one.
    pub hash: Option<u64>,
}

fn encode(record: impl Encode) -> Result<Vec<u8>, StoreError> {
    encode_as(VERSION, record)
}

fn encode_as(version: u8, record: impl Encode) -> Result<Vec<u8>, StoreError> {
    let mut bytes = vec![version];
    bincode::encode_into_std_write(record, &mut bytes, CONFIG).map_err(|error| StoreError::Record(error.to_string()))?;
    Ok(bytes)
}

fn decode<T: Decode<()>>(what: &str, bytes: &[u8]) -> Result<T, StoreError> {
    decode_as(VERSION, what, bytes)
}

fn decode_as<T: Decode<()>>(known: u8, what: &str, bytes: &[u8]) -> Result<T, StoreError> {
    let damaged = |reason: &str| StoreError::Record(format!("{what}: {reason}"));
    let Some((version, body)) = bytes.split_first() else { return Err(damaged("it is empty")) };
    if *version != known {
        return Err(damaged(&format!("its version is {version}; this program knows version {known}")));
    }
    let (record, used) = bincode::decode_from_slice(body, CONFIG).map_err(|error| damaged(&error.to_string()))?;
    if used != body.len() {
        return Err(damaged("bytes are left over behind it"));
    }
    Ok(record)
}

/// A session's record; `seq` is its number in the feed.
pub fn encode_session(session: &Session, seq: u64) -> Result<Vec<u8>, StoreError> {
    let micros = |at: Option<Timestamp>| at.map(Timestamp::micros);
    let record = SessionV1 {
        id: session.id.as_str().to_owned(),
        device_id: session.device_id.clone(),
        path: session.path.clone(),
        start: session.start.micros(),
        end: session.end.map(|end| (end.at.micros(), end_reason_code(end.reason))),
        postroll_sec: session.postroll_sec,
        reason: session.reason.clone(),
        media_connect: micros(session.media_connect),
        media_start: micros(session.media_start),
        media_end: micros(session.media_end),
        recommended_start_offset_ms: session.recommended_start_offset_ms,
        configured_classes: session.configured_classes.clone(),
        detected_classes: session.detected_classes.clone(),
        created_at: session.created_at.micros(),
        updated_at: session.updated_at.micros(),
        seq,
    };
    match &session.hold {
        None => encode(record),
        Some(Hold { reason, until, since }) => {
            let hold = HoldV1 { reason: reason.clone(), until: micros(*until), since: since.micros() };
            encode_as(HELD_SESSION_VERSION, SessionV2 { session: record, hold })
        }
    }
}

/// Reads [`encode_session`]'s bytes.
pub fn decode_session(bytes: &[u8]) -> Result<(Session, u64), StoreError> {
    let at = Timestamp::from_micros;
    let (record, hold) = if bytes.first() == Some(&HELD_SESSION_VERSION) {
        let SessionV2 { session, hold } = decode_as(HELD_SESSION_VERSION, "a session", bytes)?;
        (session, Some(Hold { reason: hold.reason, until: hold.until.map(at), since: at(hold.since) }))
    } else {
        (decode::<SessionV1>("a session", bytes)?, None)
    };
    let end = match record.end {
        None => None,
        Some((micros, code)) => Some(End { at: at(micros), reason: end_reason(code)? }),
    };
    let session = Session {
        id: SessionId::new("session id", record.id).map_err(|invalid| StoreError::Record(invalid.0))?,
        device_id: record.device_id,
        path: record.path,
        start: at(record.start),
        end,
        postroll_sec: record.postroll_sec,
        reason: record.reason,
        media_connect: record.media_connect.map(at),
        media_start: record.media_start.map(at),
        media_end: record.media_end.map(at),
        recommended_start_offset_ms: record.recommended_start_offset_ms,
        configured_classes: record.configured_classes,
        detected_classes: record.detected_classes,
        created_at: at(record.created_at),
        updated_at: at(record.updated_at),
        hold,
    };
    Ok((session, record.seq))
}

/// A detection's record; `seq` is its number in the feed. Its track is in its key.
pub fn encode_detection(detection: &Detection, seq: u64) -> Result<Vec<u8>, StoreError> {
    encode(DetectionV1 {
        cls: detection.cls.clone(),
        conf: detection.conf,
        bbox: detection.bbox.clone(),
        picture: detection.picture.as_ref().map(|picture| (picture.file.clone(), picture.conf)),
        first: detection.first.micros(),
        last: detection.last.micros(),
        capture: detection.capture.micros(),
        ingest: detection.ingest.micros(),
        created_at: detection.created_at.micros(),
        updated_at: detection.updated_at.micros(),
        attributes: detection.attributes.clone(),
        enriched: detection.enriched,
        seq,
    })
}

/// Reads [`encode_detection`]'s bytes, kept under `track`.
pub fn decode_detection(track: &str, bytes: &[u8]) -> Result<(Detection, u64), StoreError> {
    let record: DetectionV1 = decode("a detection", bytes)?;
    let at = Timestamp::from_micros;
    let detection = Detection {
        track: TrackId::new("track id", track).map_err(|invalid| StoreError::Record(invalid.0))?,
        cls: record.cls,
        conf: record.conf,
        bbox: record.bbox,
        picture: record.picture.map(|(file, conf)| Picture { file, conf }),
        first: at(record.first),
        last: at(record.last),
        capture: at(record.capture),
        ingest: at(record.ingest),
        created_at: at(record.created_at),
        updated_at: at(record.updated_at),
        attributes: record.attributes,
        enriched: record.enriched,
    };
    Ok((detection, record.seq))
}

/// A frame's record.
pub fn encode_frame(frame: FrameRecord) -> Result<Vec<u8>, StoreError> {
    encode(FrameV1 { shown_by: frame.shown_by, bytes: frame.bytes, hash: frame.hash })
}

/// Reads [`encode_frame`]'s bytes.
pub fn decode_frame(bytes: &[u8]) -> Result<FrameRecord, StoreError> {
    let record: FrameV1 = decode("a frame", bytes)?;
    Ok(FrameRecord { shown_by: record.shown_by, bytes: record.bytes, hash: record.hash })
}

/// A segment's record; its path and file are in its key.
pub fn encode_segment(segment: &Segment) -> Result<Vec<u8>, StoreError> {
    let stream = segment.stream.as_ref().map(|stream| (stream.id, stream.number, stream.dts_nanos, stream.ntp_nanos));
    let record = SegmentV2 {
        start: segment.start.micros(),
        end: segment.end.micros(),
        state: state_code(segment.state),
        bytes: segment.bytes,
        modified_nanos: segment.modified_nanos,
        stream,
        reason: segment.reason.clone(),
    };
    encode_as(SEGMENT_VERSION, record)
}

/// Reads [`encode_segment`]'s bytes.
pub fn decode_segment(path: &str, file: &str, bytes: &[u8]) -> Result<Segment, StoreError> {
    let at = Timestamp::from_micros;
    let (path, file) = (path.to_owned(), file.to_owned());
    if bytes.first() == Some(&VERSION) {
        let record: SegmentV1 = decode("a segment", bytes)?;
        let reason = if record.start_estimated { TOLD_END } else { TOLD };
        return Ok(Segment {
            path,
            file,
            start: at(record.start),
            end: at(record.end),
            state: State::Estimated,
            bytes: 0,
            modified_nanos: 0,
            stream: None,
            reason: Some(reason.to_owned()),
        });
    }
    let record: SegmentV2 = decode_as(SEGMENT_VERSION, "a segment", bytes)?;
    let stream = record.stream.map(|(id, number, dts_nanos, ntp_nanos)| Stream { id, number, dts_nanos, ntp_nanos });
    Ok(Segment {
        path,
        file,
        start: at(record.start),
        end: at(record.end),
        state: state(record.state)?,
        bytes: record.bytes,
        modified_nanos: record.modified_nanos,
        stream,
        reason: record.reason,
    })
}

/// A feed entry's record.
pub fn encode_entity(entity: &Entity) -> Result<Vec<u8>, StoreError> {
    encode(match entity {
        Entity::Session(key) => EntityV1::Session { start: key.start, number: key.number },
        Entity::Detection(key, track) => {
            EntityV1::Detection { start: key.start, number: key.number, track: track.as_str().to_owned() }
        }
        Entity::SessionDeleted(id) => EntityV1::SessionDeleted { id: id.as_str().to_owned() },
    })
}

/// Reads [`encode_entity`]'s bytes.
pub fn decode_entity(bytes: &[u8]) -> Result<Entity, StoreError> {
    let invalid = |invalid: crate::domain::Invalid| StoreError::Record(invalid.0);
    Ok(match decode("a feed entry", bytes)? {
        EntityV1::Session { start, number } => Entity::Session(SessionKey { start, number }),
        EntityV1::Detection { start, number, track } => {
            Entity::Detection(SessionKey { start, number }, TrackId::new("track id", track).map_err(invalid)?)
        }
        EntityV1::SessionDeleted { id } => Entity::SessionDeleted(SessionId::new("session id", id).map_err(invalid)?),
    })
}

/// Appends a journal record's body to `bytes`.
pub fn encode_batch(batch: &Batch, bytes: &mut Vec<u8>) -> Result<(), StoreError> {
    let written = bincode::encode_into_std_write(batch, bytes, CONFIG);
    written.map(drop).map_err(|error| StoreError::Record(error.to_string()))
}

/// Reads [`encode_batch`]'s bytes.
pub fn decode_batch(bytes: &[u8]) -> Result<Batch, StoreError> {
    match bincode::decode_from_slice(bytes, CONFIG) {
        Ok((batch, used)) if used == bytes.len() => Ok(batch),
        Ok(_) => Err(StoreError::Record("a record of the journal: bytes are left over behind it".into())),
        Err(error) => Err(StoreError::Record(format!("a record of the journal: {error}"))),
    }
}

fn state_code(state: State) -> u8 {
    match state {
        State::Live => 0,
        State::Complete => 1,
        State::Truncated => 2,
        State::Estimated => 3,
        State::Deleted => 4,
        State::Unreadable => 5,
    }
}

fn state(code: u8) -> Result<State, StoreError> {
    let all = [State::Live, State::Complete, State::Truncated, State::Estimated, State::Deleted, State::Unreadable];
    let state = all.get(usize::from(code)).copied();
    state.ok_or_else(|| StoreError::Record(format!("a segment: state {code} is unknown")))
}

fn end_reason_code(reason: Option<EndReason>) -> u8 {
    match reason {
        None => 0,
        Some(EndReason::Client) => 1,
        Some(EndReason::Idle) => 2,
        Some(EndReason::Superseded) => 3,
    }
}

fn end_reason(code: u8) -> Result<Option<EndReason>, StoreError> {
    Ok(match code {
        0 => None,
        1 => Some(EndReason::Client),
        2 => Some(EndReason::Idle),
        3 => Some(EndReason::Superseded),
        other => return Err(StoreError::Record(format!("a session: end reason {other} is unknown"))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_another_version_or_length_is_refused() {
        let frame = FrameRecord { shown_by: 2, bytes: 43_000, hash: Some(u64::MAX) };
        let good = encode_frame(frame).expect("encodes");
        assert_eq!(decode_frame(&good).expect("decodes"), frame);
        let mut newer = good.clone();
        newer[0] = 2;
        let mut longer = good.clone();
        longer.push(0);
        for bad in [&newer[..], &longer[..], &good[..good.len() - 1], &[]] {
            assert!(matches!(decode_frame(bad), Err(StoreError::Record(_))), "{bad:?}");
        }
    }
}
