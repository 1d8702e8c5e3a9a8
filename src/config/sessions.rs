//! `[sessions]`: what becomes of sessions that nobody closes.

use std::time::Duration;

use super::Reader;

/// Sessions.
#[derive(Debug, Clone)]
pub struct Sessions {
    /// After so long without a sighting or a growing recording a session is closed; `None` is never.
    pub idle_close: Option<Duration>,
}

const SECTION: &str = "sessions";

impl Sessions {
    pub(super) fn read(reader: &mut Reader) -> Self {
        let seconds = reader.integer(SECTION, "idle_close_sec", 600, 0..=31_536_000);
        Self { idle_close: (seconds > 0).then(|| Duration::from_secs(seconds.unsigned_abs())) }
    }
}
