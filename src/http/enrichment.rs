//! `/enrichment/pending` and `/sessions/:id/detections/:track/attributes`.

use http::header::IF_MATCH;
use http::{HeaderMap, StatusCode};
use serde::Serialize;

use crate::domain::ids::{SessionId, TrackId};
use crate::domain::time::Timestamp;
use crate::domain::wire::{DetectionJson, Form};
use crate::service::enrichment::{MAX_ATTRIBUTES_BYTES, Seen, tag};

use super::Api;
use super::body::declared_length;
use super::error::ApiError;
use super::query::Query;
use super::reply::{Answer, Reply};
use super::routes::Json;

#[derive(Serialize)]
struct List<'a> {
    pending: Vec<Entry<'a>>,
    next: u64,
}

#[derive(Serialize)]
struct Entry<'a> {
    etag: String,
    detection: DetectionJson<'a>,
}

/// `GET /enrichment/pending`.
pub async fn pending(api: &Api, query: &str) -> Answer {
    let query = Query::parse(query);
    let found = api.service.pending_enrichment(query.after()?, query.changes_limit(), query.wait()?).await?;
    let pending = found.detections.iter().map(|(id, detection)| Entry {
        etag: format!("\"{}\"", tag(detection)),
        detection: DetectionJson(id, detection, Form::Wire, None),
    });
    Reply::json(StatusCode::OK, &List { pending: pending.collect(), next: found.next })
}

/// `PATCH /sessions/:id/detections/:track/attributes`.
pub async fn patch(api: &Api, id: &str, track: &str, headers: &HeaderMap, body: Json) -> Answer {
    let (id, track) = (SessionId::from_url("sessionId", id)?, TrackId::from_url("trackId", track)?);
    if declared_length(headers)?.is_some_and(|length| length > MAX_ATTRIBUTES_BYTES) {
        return Err(ApiError::too_large("The request", MAX_ATTRIBUTES_BYTES));
    }
    let detection = api.service.patch_attributes(id.clone(), track, seen(headers)?, body).await?;
    Reply::json(StatusCode::OK, &DetectionJson(&id, &detection, Form::Wire, None))
}

/// What `If-Match` says: an `etag` of the list, or a `capture_ts`.
fn seen(headers: &HeaderMap) -> Result<Seen, ApiError> {
    let mut given = headers.get_all(IF_MATCH).iter();
    let Some(value) = given.next() else { return Ok(Seen::Anything) };
    let text = value.to_str().unwrap_or_default().trim();
    if given.next().is_some() || text.contains(',') {
        return Err(ApiError::bad("If-Match must name one etag or one capture_ts"));
    }
    if text == "*" {
        return Ok(Seen::Anything);
    }
    let text = text.strip_prefix("W/").unwrap_or(text).trim_matches('"');
    if let Some(capture) = Timestamp::parse(text) {
        return Ok(Seen::Capture(capture));
    }
    let is_tag = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    Ok(if is_tag { Seen::Tag(text.to_ascii_lowercase()) } else { Seen::Nothing })
}
