//! `[database]`: the store's file and its economy.

use std::path::PathBuf;
use std::time::Duration;

use super::Reader;

/// The store.
#[derive(Debug, Clone)]
pub struct Database {
    /// The database file.
    pub path: PathBuf,
    /// Bytes of redb's page cache.
    pub cache_bytes: usize,
    /// How long the advance of a detection's times may be held in memory.
    pub touch_interval: Duration,
    /// Bytes preallocated for the time of a full disk.
    pub reserve_bytes: u64,
    /// The central Postgres, the optional target of a sync.
    pub url: Option<String>,
}

const SECTION: &str = "database";

impl Database {
    pub(super) fn read(reader: &mut Reader) -> Self {
        let path = reader.text(SECTION, "path", "data/session-store.redb");
        let cache_mb = reader.integer(SECTION, "cache_mb", 8, 1..=4096);
        let touch_interval_ms = reader.integer(SECTION, "touch_interval_ms", 1000, 0..=60_000);
        let reserve_mb = reader.integer(SECTION, "reserve_mb", 16, 0..=1024);
        let url = reader.optional_url(SECTION, "url");
        Self {
            path: PathBuf::from(path),
            cache_bytes: usize::try_from(cache_mb).unwrap_or_default() << 20,
            touch_interval: Duration::from_millis(touch_interval_ms.unsigned_abs()),
            reserve_bytes: reserve_mb.unsigned_abs() << 20,
            url,
        }
    }
}
