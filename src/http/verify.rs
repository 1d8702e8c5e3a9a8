//! `/verify`.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::service::verify::Verdict;

use super::Api;
use super::error::ApiError;
use super::query::Query;
use super::reply::{Answer, Reply};

/// Pieces that may be ready before the client takes them.
const PIECES_AHEAD: usize = 2;

/// `GET /verify`: verdicts as NDJSON while they are found; the last line is `summary` or `broken_off`.
pub async fn verify(api: &Api, query: &str) -> Answer {
    let deep = Query::parse(query).flag("deep");
    let Ok(under_way) = Arc::clone(&api.verifications).try_acquire_owned() else {
        return Err(ApiError::under_way("A verification"));
    };
    let service = api.service.clone();
    let mut verification = service.verification(deep).await?;
    let (pieces, received) = mpsc::channel(PIECES_AHEAD);
    tokio::spawn(async move {
        let _under_way = under_way;
        loop {
            let verdicts = match service.verify_some(verification).await {
                Ok((going_on, verdicts)) => {
                    verification = going_on;
                    let Some(verdicts) = verdicts else { return };
                    verdicts
                }
                Err(error) => {
                    tracing::error!(%error, "a verification was broken off");
                    // The client must not take what it has for the whole.
                    let _ = pieces.send(Err(io::Error::other(error.to_string()))).await;
                    return;
                }
            };
            if pieces.send(lines(&verdicts)).await.is_err() {
                return;
            }
        }
    });
    Ok(Reply::stream(received, "application/x-ndjson"))
}

fn lines(verdicts: &[Verdict]) -> io::Result<Bytes> {
    let mut out = Vec::new();
    for verdict in verdicts {
        serde_json::to_writer(&mut out, verdict)?;
        out.push(b'\n');
    }
    Ok(out.into())
}
