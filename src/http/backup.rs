//! `/backup`: the catalogue for `session-store backup`, which takes the frames from their folder.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::domain::Invalid;
use crate::service::catalogue::Part;

use super::Api;
use super::error::ApiError;
use super::query::Query;
use super::reply::{Answer, Reply};

/// Pieces that may be ready before the client takes them.
const PIECES_AHEAD: usize = 2;

/// `GET /backup`: NDJSON; the last line is `end`.
pub async fn backup(api: &Api, query: &str) -> Answer {
    let query = Query::parse(query);
    let part = match (query.get("part"), query.get("since")) {
        (Some("segments"), _) => Part::Segments,
        (None, Some(_)) => Part::Since(query.since()?),
        (None, None) => Part::Whole,
        (Some(_), _) => return Err(Invalid::field("part", "must be segments, or not be given").into()),
    };
    let Ok(under_way) = Arc::clone(&api.exports).try_acquire_owned() else {
        return Err(ApiError::under_way("An export or a backup"));
    };
    let service = api.service.clone();
    // The first piece is made before the answer begins, so that a bad `since` has a status.
    let (mut catalogue, mut lines) = service.catalogue_some(service.catalogue(part).await?).await?;
    let (pieces, received) = mpsc::channel(PIECES_AHEAD);
    tokio::spawn(async move {
        let _under_way = under_way;
        while let Some(piece) = lines {
            if pieces.send(Ok(Bytes::from(piece))).await.is_err() {
                return;
            }
            (catalogue, lines) = match service.catalogue_some(catalogue).await {
                Ok(next) => next,
                Err(error) => {
                    tracing::error!(%error, "a backup was broken off");
                    // The client must not take what it has for the whole.
                    let _ = pieces.send(Err(io::Error::other(error.to_string()))).await;
                    return;
                }
            };
        }
    });
    Ok(Reply::stream(received, "application/x-ndjson"))
}
