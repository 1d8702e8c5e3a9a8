//! What may change while the daemon runs, and what a change of the rest waits for.

use super::{Config, Key};

/// Section and name of each key that [`Config::take_live`] takes over; all others need a restart.
pub const LIVE: [(&str, &str); 21] = [
    ("server", "max_connections"),
    ("server", "body_memory_mb"),
    ("server", "cors_origins"),
    ("server", "api_token"),
    ("server", "read_token"),
    ("server", "token_exempt"),
    ("server", "node_env"),
    ("frames", "max_bytes"),
    ("frames", "sidecar_delay_sec"),
    ("mediamtx", "hook_token"),
    ("mediamtx", "segment_duration_sec"),
    ("mediamtx", "preroll_sec"),
    ("playback", "start_offset_ms"),
    ("playback", "extra_seconds"),
    ("retention", "keep"),
    ("retention", "max_bytes"),
    ("retention", "min_free"),
    ("retention", "interval_sec"),
    ("retention", "trust_clock"),
    ("retention", "rule"),
    ("log", "level"),
];

impl Config {
    /// Takes over from `new` what may change while the daemon runs.
    pub fn take_live(&mut self, new: &Self) {
        self.server.max_connections = new.server.max_connections;
        self.server.body_memory_bytes = new.server.body_memory_bytes;
        self.server.cors_origins.clone_from(&new.server.cors_origins);
        self.server.api_token.clone_from(&new.server.api_token);
        self.server.read_token.clone_from(&new.server.read_token);
        self.server.token_exempt = new.server.token_exempt;
        self.frames.max_bytes = new.frames.max_bytes;
        self.frames.sidecar_delay = new.frames.sidecar_delay;
        self.mediamtx.hook_token.clone_from(&new.mediamtx.hook_token);
        self.mediamtx.segment_duration_sec = new.mediamtx.segment_duration_sec;
        self.mediamtx.preroll = new.mediamtx.preroll;
        self.playback = new.playback.clone();
        self.retention = new.retention.clone();
        self.log.level = new.log.level;
    }
}

impl Key {
    /// `section.name`.
    pub fn full_name(&self) -> String {
        format!("{}.{}", self.section, self.name)
    }

    /// Whether a change of it holds without a restart.
    pub fn is_live(&self) -> bool {
        LIVE.contains(&(self.section, self.name))
    }
}
