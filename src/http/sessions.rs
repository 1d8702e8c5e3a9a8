//! `/sessions`, `/sessions/range`, `/sessions/open`, `/sessions/close`, `/sessions/:id`.

use http::StatusCode;
use serde::Serialize;

use crate::domain::ids::SessionId;
use crate::domain::query::{SessionKey, Window};
use crate::domain::session::Session;
use crate::domain::wire::{DetectionJson, Form, SessionJson};
use crate::service::ServiceError;

use super::Api;
use super::error::ApiError;
use super::query::Query;
use super::reply::{Answer, Reply};
use super::routes::Json;
use super::wire;

#[derive(Serialize)]
struct List<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    sessions: Vec<SessionJson<'a>>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    classes: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    color: Option<&'a str>,
    next: Option<String>,
}

/// `GET /sessions`.
pub async fn list(api: &Api, query: &str) -> Answer {
    answer_list(api, &Query::parse(query), None).await
}

/// `GET /sessions/range`.
pub async fn range(api: &Api, query: &str) -> Answer {
    let query = Query::parse(query);
    let (Some(from), Some(to)) = (query.time("from"), query.time("to")) else {
        return Err(ApiError::bad("from and to query parameters are required and must be valid ISO dates"));
    };
    answer_list(api, &query, Some(Window { from, to })).await
}

async fn answer_list(api: &Api, query: &Query<'_>, window: Option<Window>) -> Answer {
    let asked = crate::domain::query::SessionQuery { window, ..query.sessions()? };
    let page = query.page()?;
    let (sessions, next) = api.service.sessions(asked.clone(), page).await?;
    let list = List {
        from: window.map(|window| window.from.to_millis()),
        to: window.map(|window| window.to.to_millis()),
        sessions: sessions.iter().map(|session| SessionJson(session, Form::Wire)).collect(),
        classes: &asked.classes,
        color: asked.color.as_deref(),
        next: next.map(SessionKey::to_cursor),
    };
    Reply::json(StatusCode::OK, &list)
}

fn record(status: StatusCode, session: &Session) -> Answer {
    Reply::json(status, &SessionJson(session, Form::Wire))
}

/// `POST /sessions/open`.
pub async fn open(api: &Api, body: Json) -> Answer {
    let (session, is_new) = api.service.open_session(wire::open(&body)?).await?;
    record(if is_new { StatusCode::CREATED } else { StatusCode::OK }, &session)
}

/// `POST /sessions/close`.
pub async fn close(api: &Api, body: Json) -> Answer {
    let session = api.service.close_session(wire::close(&body)?).await?;
    record(StatusCode::OK, &session)
}

/// `GET /sessions/:id`.
pub async fn one(api: &Api, id: &str) -> Answer {
    let id = SessionId::from_url("sessionId", id)?;
    match api.service.session(id.clone()).await {
        Ok(session) => record(StatusCode::OK, &session),
        // These are addresses of their own, and a session may be called so all the same.
        Err(ServiceError::NotFound(_)) if matches!(id.as_str(), "open" | "close") => {
            Err(ApiError::method("POST, OPTIONS".to_owned()))
        }
        Err(error) => Err(error.into()),
    }
}

#[derive(Serialize)]
struct Detections<'a> {
    #[serde(rename = "sessionId")]
    session_id: &'a str,
    count: usize,
    detections: Vec<DetectionJson<'a>>,
}

/// `GET /ingest/detections/:sessionId`.
pub async fn detections(api: &Api, id: &str) -> Answer {
    let id = SessionId::from_url("sessionId", id)?;
    let detections = api.service.detections(id.clone()).await?;
    let shown = Detections {
        session_id: id.as_str(),
        count: detections.len(),
        detections: detections.iter().map(|detection| DetectionJson(&id, detection, Form::Wire, None)).collect(),
    };
    Reply::json(StatusCode::OK, &shown)
}
