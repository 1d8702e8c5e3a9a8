//! Frame files for clients.

use std::fs::File;
use std::io;

use crate::domain::ids::{FileName, SessionId};

use super::{Service, ServiceError, blocking};

/// The sentence for a frame that is not there.
const FRAME_NOT_FOUND: &str = "Frame not found";

impl Service {
    /// Opens the frame that a `url_frame` names.
    pub async fn frame(&self, session: SessionId, file: FileName) -> Result<File, ServiceError> {
        let frames = self.inner.frames.clone();
        blocking(move || {
            frames.open(&session, file.as_str()).map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => ServiceError::NotFound(FRAME_NOT_FOUND),
                _ => error.into(),
            })
        })
        .await
    }
}
