//! The whole catalogue, or what changed since some feed number, as NDJSON.

use serde::Serialize;

use crate::domain::wire::{DetectionJson, Form, SessionJson};
use crate::store::{Change, Snapshot, StoreError};

use super::{Service, ServiceError};

/// Feed entries read in one snapshot.
const AT_ONCE: usize = 500;

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Line<'a> {
    Session(SessionJson<'a>),
    Detection(DetectionJson<'a>),
    SessionDeleted { session_id: &'a str },
}

/// Lines, and the number to go on after.
pub type Piece = (Vec<u8>, u64);

impl Service {
    /// The feed's newest number, and the lines of the next entries after `since`; none at the end.
    ///
    /// # Errors
    /// [`ServiceError::Restarted`] where `since` is not a place in this feed.
    pub async fn export(&self, since: u64) -> Result<(u64, Option<Piece>), ServiceError> {
        self.read(move |snapshot| Ok((snapshot.feed_head()?, export_some(snapshot, since)?))).await
    }
}

/// The lines of the next entries after `since`; none at the end.
///
/// # Errors
/// [`ServiceError::Restarted`] where `since` is not a place in this feed.
pub fn export_some(snapshot: &Snapshot, since: u64) -> Result<Option<Piece>, ServiceError> {
    let page = snapshot.changes(since, AT_ONCE)?;
    let mut out = Vec::new();
    for (_, change) in &page.changes {
        let line = match change {
            Change::Session(session) => Line::Session(SessionJson(session, Form::Export)),
            Change::Detection(id, detection) => Line::Detection(DetectionJson(id, detection, Form::Export)),
            Change::SessionDeleted(id) => Line::SessionDeleted { session_id: id.as_str() },
        };
        serde_json::to_writer(&mut out, &line).map_err(|error| StoreError::Record(error.to_string()))?;
        out.push(b'\n');
    }
    Ok((!page.changes.is_empty()).then_some((out, page.next)))
}
