//! `/sessions/:id/tracks/…`.

use http::StatusCode;

use crate::domain::ids::{FileName, SessionId};

use super::Api;
use super::reply::{Answer, Caching, Reply, Tag};

/// `GET /sessions/:id/tracks/index`.
pub async fn index(api: &Api, id: &str) -> Answer {
    let id = SessionId::from_url("sessionId", id)?;
    Ok(Reply::json_bytes(StatusCode::OK, api.service.track_index(id).await?))
}

/// `GET /sessions/:id/tracks/meta`.
pub async fn meta(api: &Api, id: &str) -> Answer {
    let id = SessionId::from_url("sessionId", id)?;
    Ok(Reply::json_bytes(StatusCode::OK, api.service.track_meta(id).await?))
}

/// `GET /sessions/:id/tracks/:segment`.
pub async fn segment(api: &Api, id: &str, segment: &str) -> Answer {
    let id = SessionId::from_url("sessionId", id)?;
    let segment = FileName::from_url("segment", segment)?;
    let (file, is_closed) = api.service.track_segment(id, segment).await?;
    let caching = if is_closed { Caching::Forever } else { Caching::Revalidated };
    Ok(Reply::file(file, Tag::Stat, "application/x-ndjson", caching))
}
