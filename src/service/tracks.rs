//! Track files for clients.

use std::fs::File;
use std::io;

use crate::domain::ids::{FileName, SessionId};

use super::{Service, ServiceError, blocking};

impl Service {
    /// A session's `index.json`.
    pub async fn track_index(&self, session: SessionId) -> Result<Vec<u8>, ServiceError> {
        let tracks = self.inner.tracks.clone();
        blocking(move || json(tracks.index(&session), "Track index not found")).await
    }

    /// A session's `meta.json`.
    pub async fn track_meta(&self, session: SessionId) -> Result<Vec<u8>, ServiceError> {
        let tracks = self.inner.tracks.clone();
        blocking(move || json(tracks.meta(&session), "Track meta not found")).await
    }

    /// A segment of a session's track, and whether it will never change any more.
    pub async fn track_segment(&self, session: SessionId, segment: FileName) -> Result<(File, bool), ServiceError> {
        let tracks = self.inner.tracks.clone();
        blocking(move || not_there(tracks.segment(&session, &segment), "Segment not found")).await
    }
}

fn not_there<T>(read: io::Result<T>, sentence: &'static str) -> Result<T, ServiceError> {
    read.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => ServiceError::NotFound(sentence),
        _ => error.into(),
    })
}

fn json(read: io::Result<Vec<u8>>, sentence: &'static str) -> Result<Vec<u8>, ServiceError> {
    let bytes = not_there(read, sentence)?;
    // Checked only: the worker's own text goes out.
    match serde_json::from_slice::<serde::de::IgnoredAny>(&bytes) {
        Ok(_) => Ok(bytes),
        Err(error) => Err(ServiceError::Failed(format!("the worker's file is not valid JSON: {error}"))),
    }
}
