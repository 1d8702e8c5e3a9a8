//! `/holds` and `/sessions/:id/hold`.

use http::StatusCode;
use serde::Serialize;

use crate::domain::ids::SessionId;
use crate::domain::query::SessionKey;
use crate::domain::session::Session;
use crate::domain::wire::{Form, HoldJson};

use super::Api;
use super::query::Query;
use super::reply::{Answer, Reply};
use super::routes::Json;
use super::wire;

#[derive(Serialize)]
struct List<'a> {
    holds: Vec<Entry<'a>>,
    next: Option<String>,
}

#[derive(Serialize)]
struct Entry<'a> {
    session_id: &'a str,
    path: &'a str,
    hold: Option<HoldJson<'a>>,
}

fn entry(session: &Session) -> Entry<'_> {
    let hold = session.hold.as_ref().map(|hold| HoldJson(hold, Form::Wire));
    Entry { session_id: session.id.as_str(), path: &session.path, hold }
}

/// `GET /holds`.
pub async fn list(api: &Api, query: &str) -> Answer {
    let (sessions, next) = api.service.holds(Query::parse(query).page()?).await?;
    Reply::json(StatusCode::OK, &List { holds: sessions.iter().map(entry).collect(), next: next.map(SessionKey::to_cursor) })
}

/// `POST /sessions/:id/hold`.
pub async fn hold(api: &Api, id: &str, body: Json) -> Answer {
    let id = SessionId::from_url("sessionId", id)?;
    let (reason, until) = wire::hold(&body, api.service.now())?;
    Reply::json(StatusCode::OK, &entry(&api.service.hold(id, reason, until).await?))
}

/// `DELETE /sessions/:id/hold`.
pub async fn release(api: &Api, id: &str) -> Answer {
    let id = SessionId::from_url("sessionId", id)?;
    Reply::json(StatusCode::OK, &entry(&api.service.release(id).await?))
}
