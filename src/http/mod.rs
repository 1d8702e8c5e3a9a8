//! Only warp: the URLs, and what goes in and out by them. `routes.rs` is the map. What reads requests is public for the fuzz
//! targets (`fuzz/`) alone.

mod access;
mod backup;
pub mod body;
mod changes;
pub mod client;
pub mod conditional;
mod connection;
pub mod content;
mod cors;
pub mod enrichment;
mod error;
mod frames;
mod health;
mod hooks;
pub mod ingest;
pub mod query;
mod refusal;
pub mod reply;
mod routes;
mod server;
mod sessions;
mod tracks;
mod verify;
pub mod wire;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::config::CorsOrigins;
use crate::service::Service;

pub use changes::FEED_NEXT;
pub use server::{Listener, Server};

/// What the HTTP side needs to know of the configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Connections open at once.
    pub max_connections: usize,
    /// Bytes of request bodies held in memory at once.
    pub body_memory_bytes: usize,
    /// The largest frame taken.
    pub max_frame_bytes: usize,
    /// Origins of web pages that may read.
    pub cors_origins: CorsOrigins,
    /// What `X-Hook-Token` must be.
    pub hook_token: Option<String>,
}

/// The use cases with the limits of the wire.
pub struct Api {
    service: Service,
    settings: Settings,
    /// KiB of request bodies that may be read at once: ingests here …
    ingest_memory: Arc<Semaphore>,
    /// … and large bodies of the others here, so that neither starves the other.
    json_memory: Arc<Semaphore>,
    /// Exports under way.
    exports: Arc<Semaphore>,
    /// Verifications under way.
    verifications: Arc<Semaphore>,
    started: std::time::Instant,
    /// Lost log records; told by `/health`.
    log_losses: fn() -> u64,
}

/// KiB of large JSON bodies that may be read at once.
const JSON_MEMORY_KIB: usize = 1024;
/// Exports that may be under way at once.
const MAX_EXPORTS: usize = 2;
/// A request must be read within this time.
const REQUEST_WITHIN: Duration = Duration::from_secs(120);
/// No longer than this may pass without a byte of its body.
const BYTE_WITHIN: Duration = Duration::from_secs(10);

impl Api {
    /// The API over `service`.
    pub fn new(service: Service, settings: Settings, log_losses: fn() -> u64) -> Self {
        let ingest_kib = (settings.body_memory_bytes >> 10).max(1);
        Self {
            service,
            settings,
            ingest_memory: Arc::new(Semaphore::new(ingest_kib)),
            json_memory: Arc::new(Semaphore::new(JSON_MEMORY_KIB)),
            exports: Arc::new(Semaphore::new(MAX_EXPORTS)),
            verifications: Arc::new(Semaphore::new(1)),
            started: std::time::Instant::now(),
            log_losses,
        }
    }
}
