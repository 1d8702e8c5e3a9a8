//! `/changes` and `/export`.

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::domain::wire::{DetectionJson, Form, SessionJson};
use crate::service::export::export_some;
use crate::store::Change;

use super::Api;
use super::error::ApiError;
use super::query::Query;
use super::reply::{Answer, Reply};

/// Pieces of an export that may be ready before the client takes them.
const PIECES_AHEAD: usize = 2;

/// `GET /changes`.
pub async fn changes(api: &Api, query: &str) -> Answer {
    let query = Query::parse(query);
    let epoch = query.get("epoch").map(ToOwned::to_owned);
    let (epoch, page) = api.service.changes(query.since()?, epoch, query.changes_limit(), query.wait()?).await?;
    let changes = page.changes.iter().map(|(seq, change)| entry(*seq, change)).collect::<Result<Vec<_>, _>>();
    let changes = changes.map_err(|error| ApiError::internal(error.to_string()))?;
    Reply::json(StatusCode::OK, &json!({"epoch": epoch, "changes": changes, "next": page.next}))
}

fn entry(seq: u64, change: &Change) -> Result<Value, serde_json::Error> {
    Ok(match change {
        Change::Session(session) => {
            json!({"seq": seq, "type": "session", "session": serde_json::to_value(SessionJson(session, Form::Wire))?})
        }
        Change::Detection(id, detection) => {
            json!({"seq": seq, "type": "detection", "detection": serde_json::to_value(DetectionJson(id, detection, Form::Wire))?})
        }
        Change::SessionDeleted(id) => json!({"seq": seq, "type": "session_deleted", "session_id": id.as_str()}),
    })
}

/// `GET /export`: NDJSON for `import`, from `since` on.
pub async fn export(api: &Api, query: &str) -> Answer {
    let since = Query::parse(query).since()?;
    let store = api.service.opened().ok_or_else(|| ApiError::internal("the store is still being opened"))?;
    let (pieces, received) = mpsc::channel(PIECES_AHEAD);
    let mut first = Vec::new();
    let mut next = export_some(&store, since, &mut first)?;
    let _ = pieces.try_send(Bytes::from(first));
    tokio::task::spawn_blocking(move || {
        while let Some(since) = next {
            let mut piece = Vec::new();
            match export_some(&store, since, &mut piece) {
                Ok(more) => next = more,
                Err(error) => return tracing::error!(%error, "an export was broken off"),
            }
            if pieces.blocking_send(piece.into()).is_err() {
                return;
            }
        }
    });
    Ok(Reply::stream(received, "application/x-ndjson"))
}
