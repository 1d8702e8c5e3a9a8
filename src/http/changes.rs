//! `/changes` and `/export`.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, StatusCode};
use serde::Serialize;
use tokio::sync::mpsc;

use crate::domain::wire::{DetectionJson, Form, SessionJson};
use crate::service::ServiceError;
use crate::store::Change;

use super::Api;
use super::error::ApiError;
use super::query::Query;
use super::reply::{Answer, Reply};

/// Pieces of an export that may be ready before the client takes them.
const PIECES_AHEAD: usize = 2;
/// Tells the reader of an export the number for its next `since`.
pub const FEED_NEXT: HeaderName = HeaderName::from_static("x-feed-next");

#[derive(Serialize)]
struct Page<'a> {
    epoch: &'a str,
    changes: Vec<Entry<'a>>,
    next: u64,
}

#[derive(Serialize)]
struct Entry<'a> {
    seq: u64,
    #[serde(flatten)]
    change: Shown<'a>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Shown<'a> {
    Session { session: SessionJson<'a> },
    Detection { detection: DetectionJson<'a> },
    SessionDeleted { session_id: &'a str },
}

/// `GET /changes`.
pub async fn changes(api: &Api, query: &str) -> Answer {
    let query = Query::parse(query);
    let (epoch, page) = api.service.changes(query.since()?, query.epoch(), query.changes_limit(), query.wait()?).await?;
    let changes = page.changes.iter().map(|(seq, change)| Entry { seq: *seq, change: shown(change) }).collect();
    Reply::json(StatusCode::OK, &Page { epoch: &epoch, changes, next: page.next })
}

fn shown(change: &Change) -> Shown<'_> {
    match change {
        Change::Session(session) => Shown::Session { session: SessionJson(session, Form::Wire) },
        Change::Detection(id, detection) => Shown::Detection { detection: DetectionJson(id, detection, Form::Wire, None) },
        Change::SessionDeleted(id) => Shown::SessionDeleted { session_id: id.as_str() },
    }
}

/// `GET /export`: NDJSON for `import`, from `since` on.
pub async fn export(api: &Api, query: &str) -> Answer {
    let since = Query::parse(query).since()?;
    let Ok(under_way) = Arc::clone(&api.exports).try_acquire_owned() else { return Err(ApiError::busy()) };
    // The first piece is made before the answer begins, so that a bad `since` has a status.
    let service = api.service.clone();
    let (head, first) = service.export(since).await?;
    let (pieces, received) = mpsc::channel(PIECES_AHEAD);
    tokio::spawn(async move {
        let _under_way = under_way;
        let mut piece = first;
        while let Some((lines, next)) = piece {
            if pieces.send(Ok(Bytes::from(lines))).await.is_err() {
                return;
            }
            piece = match service.export_more(next).await {
                Ok(piece) => piece,
                Err(error) => {
                    if !matches!(error, ServiceError::NotFound(_)) {
                        tracing::error!(%error, "an export was broken off");
                    }
                    // The client must not take what it has for the whole.
                    let _ = pieces.send(Err(io::Error::other(error.to_string()))).await;
                    return;
                }
            };
        }
    });
    let mut reply = Reply::stream(received, "application/x-ndjson");
    reply.set(FEED_NEXT, &head.to_string());
    Ok(reply)
}
