//! Taking in an export: merging as ingest does, batch by batch, each whole or not at all.

use std::collections::{BTreeMap, HashMap};
use std::io::BufRead;
use std::sync::mpsc;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::domain::Invalid;
use crate::domain::bbox::clean_bbox;
use crate::domain::detection::{Detection, Picture};
use crate::domain::ids::{SessionId, TrackId, check_text};
use crate::domain::query::SessionKey;
use crate::domain::session::{End, EndReason, MAX_TEXT_BYTES, Session};
use crate::domain::time::Timestamp;
use crate::domain::wire::file_of_frame_url;
use crate::media::frames::FramesFolder;
use crate::store::{FrameFile, Store, StoreError, Transaction};

/// Lines taken into one commit.
const BATCH: usize = 10_000;
/// Batches read ahead of the store.
const AHEAD: usize = 2;

/// Detections kept until the line of their session comes. In the order of the feed a session that was
/// closed stands behind its detections; so many are those of thousands of sessions.
const MAX_EARLY: usize = 500_000;

/// What an import did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Imported {
    /// Lines read, empty ones aside.
    pub lines: u64,
    /// Sessions that were new or changed.
    pub sessions: u64,
    /// Detections that were new or changed.
    pub detections: u64,
    /// Sessions deleted.
    pub deleted: u64,
    /// Lines that changed nothing.
    pub unchanged: u64,
    /// Detections whose frame's file is not there.
    pub frames_missing: u64,
}

impl Imported {
    fn add(&mut self, other: Self) {
        self.lines += other.lines;
        self.sessions += other.sessions;
        self.detections += other.detections;
        self.deleted += other.deleted;
        self.unchanged += other.unchanged;
        self.frames_missing += other.frames_missing;
    }
}

/// Why an import stopped; what stands before the failing batch is stored.
#[derive(Debug)]
pub struct ImportError {
    /// A sentence that names the line.
    pub reason: String,
    /// What was stored.
    pub stored: Imported,
}

/// Reads `input` into `store`. `progress` is called after each batch, with all that is stored and the
/// bytes read for it.
///
/// # Errors
/// The first bad line, by its number; nothing of its batch is stored.
pub fn import(
    store: &Store,
    frames: &FramesFolder,
    input: impl BufRead + Send,
    mut progress: impl FnMut(Imported, u64),
) -> Result<Imported, ImportError> {
    let mut stored = Imported::default();
    std::thread::scope(|scope| {
        let (batches, received) = mpsc::sync_channel(AHEAD);
        scope.spawn(move || read_batches(input, &batches));
        let mut early = Batch::new();
        for batch in received {
            let (mut batch, bytes) = batch.map_err(|reason| ImportError { reason, stored })?;
            batch.splice(0..0, early);
            let frames = frames.clone();
            let (done, still_early) = store
                .write_blocking(move |tx| apply(tx, &frames, &batch))
                .map_err(|error| ImportError { reason: error.to_string(), stored })?;
            early = still_early;
            stored.add(done);
            if early.len() > MAX_EARLY {
                break;
            }
            progress(stored, bytes);
        }
        match early.first() {
            None => Ok(stored),
            Some((number, entry)) => {
                let reason =
                    format!("line {number}: session {} is neither in the store nor in a line that follows", entry.session_id());
                Err(ImportError { reason, stored })
            }
        }
    })
}

type Batch = Vec<(u64, Entry)>;

/// Parses lines into batches and sends each with the bytes read so far.
fn read_batches(mut input: impl BufRead, batches: &mpsc::SyncSender<Result<(Batch, u64), String>>) {
    let mut batch = Batch::new();
    let (mut number, mut bytes) = (0, 0);
    let mut line = Vec::new();
    loop {
        line.clear();
        number += 1;
        let failure = match input.read_until(b'\n', &mut line) {
            Ok(0) => {
                let _ = batches.send(Ok((batch, bytes)));
                return;
            }
            Ok(read) => {
                bytes += read as u64;
                let text = line.trim_ascii();
                if text.is_empty() {
                    continue;
                }
                match Entry::parse(text) {
                    Ok(entry) => {
                        batch.push((number, entry));
                        None
                    }
                    Err(invalid) => Some(format!("line {number}: {invalid}")),
                }
            }
            Err(error) => Some(format!("line {number} cannot be read: {error}")),
        };
        // A receiver that is gone has met a failure of its own.
        let sent = match failure {
            Some(reason) => {
                let _ = batches.send(Err(reason));
                return;
            }
            None if batch.len() == BATCH => batches.send(Ok((std::mem::take(&mut batch), bytes))),
            None => Ok(()),
        };
        if sent.is_err() {
            return;
        }
    }
}

/// One line, valid.
#[derive(Clone)]
enum Entry {
    Session(Box<Session>),
    Detection(SessionId, Box<Detection>, Option<String>),
    Deleted(SessionId),
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    session: Option<&'a RawValue>,
    #[serde(borrow)]
    detection: Option<&'a RawValue>,
    session_deleted: Option<DeletedLine>,
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
    fn session_id(&self) -> &SessionId {
        match self {
            Self::Session(session) => &session.id,
            Self::Detection(id, ..) | Self::Deleted(id) => id,
        }
    }

    fn parse(text: &[u8]) -> Result<Self, Invalid> {
        let line: Line = json(text)?;
        match (line.session, line.detection, line.session_deleted) {
            (Some(session), None, None) => Self::session(json(session.get().as_bytes())?),
            (None, Some(detection), None) => Self::detection(json(detection.get().as_bytes())?),
            (None, None, Some(deleted)) => Ok(Self::Deleted(SessionId::new("session_id", deleted.session_id)?)),
            _ => Err(Invalid("it must hold one of session, detection and session_deleted".to_owned())),
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
        let file = line.url_frame.as_deref().map(|url| file_of_frame_url(url, &session).unwrap_or_default().to_owned());
        let detection = Detection {
            track: TrackId::new("track_id", line.track_id)?,
            cls: line.cls,
            conf: line.conf,
            bbox: clean_bbox("bbox", line.bbox.get())?,
            picture: None,
            first: Timestamp::parse_field("first_ts", &line.first_ts)?,
            last: Timestamp::parse_field("last_ts", &line.last_ts)?,
            capture,
            ingest,
            created_at,
            updated_at: time("updated_at", line.updated_at.as_ref())?.unwrap_or(created_at),
            attributes,
            enriched: line.enriched,
        };
        let mut detection = Box::new(detection);
        if let Some(file) = &file {
            let conf = line.extra.and_then(|extra| extra.frame_conf).unwrap_or(line.conf);
            detection.picture = Some(Picture { file: file.clone(), conf });
        }
        Ok(Self::Detection(session, detection, file))
    }
}

/// Applies a batch. Also returns the detections whose session has not come yet.
fn apply(tx: &mut Transaction<'_>, frames: &FramesFolder, batch: &Batch) -> Result<(Imported, Batch), StoreError> {
    let mut work = Work { tx, frames, known: HashMap::new(), early: BTreeMap::new(), done: Imported::default() };
    for line in batch {
        work.apply(line)?;
    }
    let mut early: Batch = work.early.into_values().flatten().cloned().collect();
    early.sort_by_key(|(number, _)| *number);
    Ok((work.done, early))
}

/// A batch on its way into a transaction.
struct Work<'w, 't> {
    tx: &'w mut Transaction<'t>,
    frames: &'w FramesFolder,
    /// Detections of one session often stand together.
    known: HashMap<&'w SessionId, SessionKey>,
    early: BTreeMap<&'w SessionId, Vec<&'w (u64, Entry)>>,
    done: Imported,
}

impl<'w> Work<'w, '_> {
    fn apply(&mut self, line: &'w (u64, Entry)) -> Result<(), StoreError> {
        let changed = match &line.1 {
            Entry::Session(session) => {
                let changed = apply_session(self.tx, session)?;
                self.done.sessions += u64::from(changed);
                for waiting in self.early.remove(&session.id).unwrap_or_default() {
                    self.apply(waiting)?;
                }
                changed
            }
            Entry::Deleted(id) => {
                self.known.remove(id);
                let changed = self.tx.delete_session(id)?;
                self.done.deleted += u64::from(changed);
                changed
            }
            Entry::Detection(id, detection, file) => {
                let Some(at) = self.key(id)? else {
                    self.early.entry(id).or_default().push(line);
                    return Ok(());
                };
                let (changed, missing) = apply_detection(self.tx, self.frames, at, id, detection, file.as_deref())?;
                self.done.frames_missing += u64::from(missing);
                self.done.detections += u64::from(changed);
                changed
            }
        };
        self.done.lines += 1;
        self.done.unchanged += u64::from(!changed);
        Ok(())
    }

    fn key(&mut self, id: &'w SessionId) -> Result<Option<SessionKey>, StoreError> {
        if let Some(at) = self.known.get(id) {
            return Ok(Some(*at));
        }
        let found = self.tx.session(id)?.map(|(at, _)| at);
        if let Some(at) = found {
            self.known.insert(id, at);
        }
        Ok(found)
    }
}

fn apply_session(tx: &mut Transaction<'_>, session: &Session) -> Result<bool, StoreError> {
    let Some((at, mut mine)) = tx.session(&session.id)? else {
        tx.add_session(session)?;
        return Ok(true);
    };
    let changed = mine.merge(session);
    if changed {
        mine.updated_at = mine.updated_at.max(tx.now());
        tx.put_session(at, &mine)?;
    }
    Ok(changed)
}

/// Says whether anything changed, and whether a frame's file is missing.
fn apply_detection(
    tx: &mut Transaction<'_>,
    frames: &FramesFolder,
    at: SessionKey,
    id: &SessionId,
    detection: &Detection,
    file: Option<&str>,
) -> Result<(bool, bool), StoreError> {
    let mine = tx.detection(at, &detection.track)?;
    let is_shown = |file: &str| mine.as_ref().and_then(|mine| mine.picture.as_ref()).is_some_and(|picture| picture.file == file);
    let mut found = None;
    let mut missing = false;
    if let Some(file) = file.filter(|file: &&str| !is_shown(file)) {
        found = is_file_name(file).then(|| frames.length(id, file).ok()).flatten();
        missing = found.is_none();
    }
    let mut detection = detection.clone();
    if missing {
        detection.picture = None;
    }
    let merged = match mine {
        None => detection,
        Some(mut mine) => {
            if !mine.merge(&detection) {
                return Ok((false, missing));
            }
            mine.updated_at = mine.updated_at.max(tx.now());
            mine
        }
    };
    tx.put_detection(at, id, &merged, found.map(|bytes| FrameFile { bytes, hash: None }).as_ref())?;
    Ok((true, missing))
}

fn is_file_name(file: &str) -> bool {
    crate::domain::ids::FileName::new("url_frame", file).is_ok()
}
