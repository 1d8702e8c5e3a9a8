//! The whole catalogue, or what changed since some feed number, as NDJSON.

use std::io::Write as _;

use serde::Serialize;

use crate::domain::wire::{DetectionJson, Form, SessionJson};
use crate::store::{Change, FeedError, Store, StoreError};

use super::ServiceError;

/// Feed entries read in one snapshot.
const AT_ONCE: usize = 500;

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Line<'a> {
    Session(SessionJson<'a>),
    Detection(DetectionJson<'a>),
    SessionDeleted { session_id: &'a str },
}

/// Appends the lines of the next entries after `since` to `out`. Returns the number to go on after,
/// or `None` at the end.
///
/// # Errors
/// [`ServiceError::Restarted`] where `since` is not a place in this feed.
pub fn export_some(store: &Store, since: u64, out: &mut Vec<u8>) -> Result<Option<u64>, ServiceError> {
    let page = store.read()?.changes(since, AT_ONCE).map_err(|error| match error {
        FeedError::Restarted => ServiceError::Restarted,
        FeedError::Store(error) => error.into(),
    })?;
    for (_, change) in &page.changes {
        let line = match change {
            Change::Session(session) => Line::Session(SessionJson(session, Form::Export)),
            Change::Detection(id, detection) => Line::Detection(DetectionJson(id, detection, Form::Export)),
            Change::SessionDeleted(id) => Line::SessionDeleted { session_id: id.as_str() },
        };
        serde_json::to_writer(&mut *out, &line).map_err(|error| StoreError::Record(error.to_string()))?;
        out.write_all(b"\n")?;
    }
    Ok((!page.changes.is_empty()).then_some(page.next))
}
