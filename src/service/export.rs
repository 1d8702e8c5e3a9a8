//! The whole catalogue, or what changed since some feed number, as NDJSON.

use serde::Serialize;
use uuid::Uuid;

use crate::domain::detection::Detection;
use crate::domain::ids::SessionId;
use crate::domain::segment::Segment;
use crate::domain::session::Session;
use crate::domain::wire::{DetectionJson, Form, SessionJson};
use crate::store::{Change, FeedPage, Snapshot, StoreError};

use super::{Service, ServiceError};

/// Feed entries read in one snapshot.
const AT_ONCE: usize = 500;

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Line<'a> {
    Session(SessionJson<'a>),
    Detection(DetectionJson<'a>),
    SessionDeleted { session_id: &'a str },
    Segment(SegmentLine<'a>),
}

#[derive(Serialize)]
struct SegmentLine<'a> {
    path: &'a str,
    file: &'a str,
    start_ts: String,
    end_ts: String,
    state: &'a str,
    bytes: u64,
    modified_nanos: i64,
    stream_id: Option<Uuid>,
    number: Option<u64>,
    dts_nanos: Option<i64>,
    ntp_nanos: Option<i64>,
    reason: Option<&'a str>,
}

/// Lines, and the number to go on after.
pub type Piece = (Vec<u8>, u64);

impl Service {
    /// The feed's newest number, and the lines of the next entries after `since`; none at the end.
    ///
    /// # Errors
    /// [`ServiceError::Restarted`] where `since` is not a place in this feed.
    pub async fn export(&self, since: u64) -> Result<(u64, Option<Piece>), ServiceError> {
        self.read(move |snapshot| Ok((snapshot.feed_head()?, export_some(snapshot, since)?))).await
    }

    /// The lines of the next entries, for one who has just been given those before.
    pub async fn export_more(&self, since: u64) -> Result<Option<Piece>, ServiceError> {
        self.read(move |snapshot| Ok(export_more(snapshot, since)?)).await
    }
}

/// The lines of the next entries after `since`; none at the end.
///
/// # Errors
/// [`ServiceError::Restarted`] where `since` is not a place in this feed.
pub fn export_some(snapshot: &Snapshot, since: u64) -> Result<Option<Piece>, ServiceError> {
    Ok(lines_of(snapshot, &snapshot.changes(since, AT_ONCE)?)?)
}

/// The lines of the next entries, for one who has just been given those before.
pub fn export_more(snapshot: &Snapshot, since: u64) -> Result<Option<Piece>, StoreError> {
    lines_of(snapshot, &snapshot.more_changes(since, AT_ONCE)?)
}

fn lines_of(snapshot: &Snapshot, page: &FeedPage) -> Result<Option<Piece>, StoreError> {
    let mut lines = Lines::default();
    for (_, change) in &page.changes {
        match change {
            Change::Session(session) => lines.session(session)?,
            Change::Detection(id, detection) => lines.detection(snapshot, id, detection)?,
            Change::SessionDeleted(id) => lines.deleted(id)?,
        }
    }
    Ok((!page.changes.is_empty()).then_some((lines.0, page.next)))
}

/// Lines of an export.
#[derive(Default)]
pub struct Lines(pub Vec<u8>);

impl Lines {
    /// Adds a line of any shape.
    pub fn add(&mut self, line: &impl Serialize) -> Result<(), StoreError> {
        serde_json::to_writer(&mut self.0, line).map_err(|error| StoreError::Record(error.to_string()))?;
        self.0.push(b'\n');
        Ok(())
    }

    /// Adds a session.
    pub fn session(&mut self, session: &Session) -> Result<(), StoreError> {
        self.add(&Line::Session(SessionJson(session, Form::Export)))
    }

    /// Adds a detection of the session with this id.
    pub fn detection(&mut self, snapshot: &Snapshot, id: &SessionId, detection: &Detection) -> Result<(), StoreError> {
        let picture = detection.picture.as_ref();
        let file = picture.map(|picture| snapshot.frame_file(id, &picture.file)).transpose()?.flatten();
        self.add(&Line::Detection(DetectionJson(id, detection, Form::Export, file.map(|file| (file.bytes, file.hash)))))
    }

    /// Adds a session that is no more.
    pub fn deleted(&mut self, id: &SessionId) -> Result<(), StoreError> {
        self.add(&Line::SessionDeleted { session_id: id.as_str() })
    }

    /// Adds a segment.
    pub fn segment(&mut self, segment: &Segment) -> Result<(), StoreError> {
        let stream = segment.stream.as_ref();
        self.add(&Line::Segment(SegmentLine {
            path: &segment.path,
            file: &segment.file,
            start_ts: segment.start.to_micros(),
            end_ts: segment.end.to_micros(),
            state: segment.state.as_str(),
            bytes: segment.bytes,
            modified_nanos: segment.modified_nanos,
            stream_id: stream.map(|stream| Uuid::from_bytes(stream.id)),
            number: stream.map(|stream| stream.number),
            dts_nanos: stream.map(|stream| stream.dts_nanos),
            ntp_nanos: stream.map(|stream| stream.ntp_nanos),
            reason: segment.reason.as_deref(),
        }))
    }
}
