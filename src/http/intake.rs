//! `/import`: an export's lines and their pictures, piece by piece, from `session-store import-postgres`.

use std::sync::Arc;

use bytes::{Buf, Bytes};
use futures_util::Stream;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use warp::Filter as _;
use warp::filters::BoxedFilter;

use crate::domain::Invalid;
use crate::domain::frame::Jpeg;
use crate::domain::ids::{FileName, SessionId};
use crate::service::intake::{MAX_LINES, lines};

use super::Api;
use super::body::{FaultNote, MAX_JSON_BYTES, check_plain, declared_length, media_type, read_all};
use super::error::ApiError;
use super::ingest::{Admission, room};
use super::query::Query;
use super::reply::{Answer, Carrier, Reply};
use super::routes::{Address, IMPORT, IMPORT_FRAME, at, note, query};

/// The largest body of lines.
pub const MAX_LINES_BYTES: usize = MAX_JSON_BYTES;
/// What such a body is.
pub const LINES_TYPE: &str = "application/x-ndjson";
/// What a picture is.
pub const FRAME_TYPE: &str = "image/jpeg";

/// Its two addresses.
pub fn routes(api: &Arc<Api>) -> BoxedFilter<(Carrier,)> {
    route(api, &IMPORT).or(route(api, &IMPORT_FRAME)).unify().boxed()
}

fn route(api: &Arc<Api>, address: &'static Address) -> BoxedFilter<(Carrier,)> {
    let api = Arc::clone(api);
    at(address)
        .and(query())
        .and(warp::header::headers_cloned())
        .and(note())
        .and(warp::body::stream())
        .then(move |values: Vec<String>, query: String, headers: HeaderMap, note: FaultNote, body| {
            let api = Arc::clone(&api);
            async move {
                let body = Box::pin(body);
                Carrier::from(match values.as_slice() {
                    [session, file] => frame(&api, session, file, &headers, &note, body).await,
                    _ => piece(&api, &query, &headers, &note, body).await,
                })
            }
        })
        .boxed()
}

/// `POST /import`.
async fn piece(
    api: &Api,
    query: &str,
    headers: &HeaderMap,
    note: &FaultNote,
    body: impl Stream<Item = Result<impl Buf, warp::Error>> + Unpin,
) -> Answer {
    let query = Query::parse(query);
    let (_room, body) = read(api, LINES_TYPE, MAX_LINES_BYTES, headers, note, body).await?;
    if lines(&body).count() > MAX_LINES {
        return Err(ApiError::bad(format!("The body has more than {MAX_LINES} lines")));
    }
    match query.get("only") {
        None => {
            let (done, refused) = api.service.take_in(body).await?;
            let refused: Vec<Value> = refused.iter().map(|one| json!({ "line": one.index + 1, "reason": one.reason })).collect();
            let answer = json!({
                "lines": done.lines, "sessions": done.sessions, "detections": done.detections, "unchanged": done.unchanged,
                "frames_missing": done.frames_missing, "refused": refused,
            });
            Reply::json(StatusCode::OK, &answer)
        }
        Some("frames") => {
            let wanted: Vec<usize> = api.service.frames_wanted(body).await?.into_iter().map(|index| index + 1).collect();
            Reply::json(StatusCode::OK, &json!({ "frames_wanted": wanted }))
        }
        Some("compare") => {
            let differences = api.service.compare(body, query.flag("frames")).await?;
            Reply::json(StatusCode::OK, &json!({ "differences": differences }))
        }
        Some(_) => Err(Invalid::field("only", "must be frames or compare, or not be given").into()),
    }
}

/// `PUT /import/frames/:sessionId/:file`.
async fn frame(
    api: &Api,
    session: &str,
    file: &str,
    headers: &HeaderMap,
    note: &FaultNote,
    body: impl Stream<Item = Result<impl Buf, warp::Error>> + Unpin,
) -> Answer {
    let (session, file) = (SessionId::from_url("sessionId", session)?, FileName::from_url("file", file)?);
    let max = api.settings().max_frame_bytes;
    let (_room, body) = read(api, FRAME_TYPE, max, headers, note, body).await?;
    let name = api.service.bring_frame(session, file, Jpeg::new("frame", body)?).await?;
    Reply::json(StatusCode::OK, &json!({ "file": name }))
}

/// Reads a body once there is room for it; what is of another type or too large is refused before.
async fn read(
    api: &Api,
    wanted: &str,
    max: usize,
    headers: &HeaderMap,
    note: &FaultNote,
    body: impl Stream<Item = Result<impl Buf, warp::Error>> + Unpin,
) -> Result<(Admission, Bytes), ApiError> {
    let length = declared_length(headers)?;
    // No page elsewhere can send one of these types unasked.
    if media_type(headers).as_deref() != Some(wanted) {
        return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, format!("The body must be {wanted} (Content-Type)")));
    }
    check_plain(headers)?;
    if length.is_some_and(|length| length > max) {
        return Err(ApiError::too_large("The body", max));
    }
    let room = room(api, length.unwrap_or(max)).await?;
    Ok((room, read_all(body, max, length, note).await?.into()))
}
