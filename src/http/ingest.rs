//! `/ingest`.

use std::time::Duration;

use bytes::{Buf as _, Bytes};
use futures_util::StreamExt as _;
use http::{HeaderMap, StatusCode};
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;
use warp::multipart::{FormData, Part};

use crate::domain::frame::{Frame, Jpeg};

use super::Api;
use super::body::{FaultNote, check_plain, declared_length, media_type};
use super::error::ApiError;
use super::reply::{Answer, Reply};
use super::wire;

/// The largest request, `max_frame` bytes of frame included.
pub fn max_request_bytes(max_frame: usize) -> usize {
    max_frame + MAX_META_BYTES + OVERHEAD_BYTES
}

/// The largest `meta` part.
const MAX_META_BYTES: usize = 5 << 20;
/// Boundaries and part headers.
const OVERHEAD_BYTES: usize = 64 << 10;
/// How long an ingest waits, unread, for memory.
const MEMORY_WITHIN: Duration = Duration::from_secs(2);

/// Room in memory for one ingest.
pub type Admission = OwnedSemaphorePermit;

/// Refuses what is no multipart form or too large before it is read, and finds room for the rest.
pub async fn admit(api: &Api, headers: &HeaderMap) -> Result<Admission, ApiError> {
    let length = declared_length(headers)?;
    if media_type(headers).as_deref() != Some("multipart/form-data") {
        return Err(ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "The body must be a form (Content-Type: multipart/form-data)",
        ));
    }
    check_plain(headers)?;
    let max = max_request_bytes(api.settings().max_frame_bytes);
    let length = length.unwrap_or(max);
    if length > max {
        return Err(ApiError::too_large("The request", max));
    }
    room(api, length).await
}

/// Room in memory for a body of `length` bytes whose client tries again.
pub async fn room(api: &Api, length: usize) -> Result<Admission, ApiError> {
    let (memory, all) = api.ingest_memory();
    let kib = u32::try_from(length.div_ceil(1024).clamp(1, all)).unwrap_or(u32::MAX);
    let room = tokio::time::timeout(MEMORY_WITHIN, memory.acquire_many_owned(kib)).await;
    match room {
        Ok(Ok(room)) => Ok(room),
        Ok(Err(_)) => Err(ApiError::internal("the body memory is closed")),
        Err(_) => Err(ApiError::busy()),
    }
}

/// `POST /ingest`.
pub async fn ingest(api: &Api, _room: Admission, note: &FaultNote, form: FormData) -> Answer {
    let frame = posted(form, api.settings().max_frame_bytes, note).await?;
    let session = frame.session.as_str().to_owned();
    let done = api.service.ingest(frame).await?;
    Reply::json(
        StatusCode::OK,
        &json!({
            "sessionId": session, "inserted": done.inserted, "updated": done.updated, "skipped": done.skipped,
            "total": done.total, "frameSaved": done.frame_saved,
        }),
    )
}

/// The frame that `form` posts, with a picture of at most `max_frame` bytes.
pub async fn posted(mut form: FormData, max_frame: usize, note: &FaultNote) -> Result<Frame, ApiError> {
    let (mut meta, mut frame) = (None, None);
    while let Some(part) = form.next().await {
        let part = part.map_err(|error| note.explain(malformed(&error)))?;
        let (place, name, max) = match part.name() {
            "meta" => (&mut meta, "meta", MAX_META_BYTES),
            "frame" => (&mut frame, "frame", max_frame),
            _ => continue,
        };
        if place.is_some() {
            return Err(ApiError::bad(format!("{name} is given twice")));
        }
        *place = Some(read(part, name, max, note).await?);
    }
    let Some(meta) = meta else { return Err(ApiError::bad("Missing meta field in multipart request")) };
    let jpeg = frame.map(|bytes| Jpeg::new("frame", bytes)).transpose();
    // What the meta says comes first: it names the sender's mistake better than a picture can.
    let mut frame = wire::frame(&meta)?;
    frame.jpeg = jpeg?;
    Ok(frame)
}

async fn read(mut part: Part, name: &str, max: usize, note: &FaultNote) -> Result<Bytes, ApiError> {
    let mut bytes = Vec::new();
    while let Some(piece) = part.data().await {
        let mut piece = piece.map_err(|error| note.explain(malformed(&error)))?;
        if bytes.len() + piece.remaining() > max {
            return Err(ApiError::too_large(name, max));
        }
        while piece.has_remaining() {
            let chunk = piece.chunk();
            bytes.extend_from_slice(chunk);
            let length = chunk.len();
            piece.advance(length);
        }
    }
    Ok(bytes.into())
}

fn malformed(error: &warp::Error) -> ApiError {
    ApiError::bad(format!("The multipart form cannot be read: {error}"))
}
