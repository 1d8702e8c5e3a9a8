//! `/hooks/mediamtx/…`.

use http::{HeaderMap, StatusCode};
use serde_json::json;

use crate::domain::ids::SessionId;

use super::Api;
use super::error::ApiError;
use super::reply::{Answer, Reply};
use super::routes::Json;
use super::{tokens, wire};

/// Lets a hook in whose `X-Hook-Token` is right, where one is configured.
pub fn authorize(api: &Api, headers: &HeaderMap) -> Result<(), ApiError> {
    let settings = api.settings();
    let Some(token) = &settings.tokens.hook else { return Ok(()) };
    let given = headers.get("x-hook-token").map_or(&b""[..], |given| given.as_bytes());
    let is_right = tokens::is_same(given, token.as_bytes());
    if is_right { Ok(()) } else { Err(ApiError::new(StatusCode::UNAUTHORIZED, "Unauthorized")) }
}

fn answer(session: Option<SessionId>) -> Answer {
    match session {
        Some(id) => Reply::json(StatusCode::OK, &json!({"status": "ok", "session_id": id.as_str()})),
        None => Reply::json(StatusCode::OK, &json!({"status": "no_session"})),
    }
}

/// `POST /hooks/mediamtx/publish`.
pub async fn publish(api: &Api, body: Json) -> Answer {
    let (path, event) = wire::publish(&body)?;
    answer(api.service.published(path, event).await?)
}

/// `POST /hooks/mediamtx/record/segment/create`.
pub async fn segment_create(api: &Api, body: Json) -> Answer {
    let (path, file) = wire::segment_create(&body)?;
    answer(api.service.segment_created(path, file).await?)
}

/// `POST /hooks/mediamtx/record/segment/complete`.
pub async fn segment_complete(api: &Api, body: Json) -> Answer {
    answer(api.service.segment_complete(wire::segment_complete(&body)?).await?)
}
