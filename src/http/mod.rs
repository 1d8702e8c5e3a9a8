//! Only warp: the URLs, and what goes in and out by them. `routes.rs` is the map. What reads requests is public for the fuzz
//! targets (`fuzz/`) alone.

mod access;
mod backup;
pub mod body;
mod brake;
mod changes;
pub mod client;
pub mod conditional;
mod connection;
pub mod content;
mod cors;
pub mod enrichment;
pub mod error;
mod frames;
mod health;
mod holds;
mod hooks;
pub mod ingest;
mod intake;
mod listener;
mod probe;
pub mod query;
mod recordings;
mod refusal;
pub mod reply;
mod retention;
mod routes;
mod server;
mod sessions;
mod stream;
mod tokens;
mod tracks;
mod verify;
pub mod wire;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::config::CorsOrigins;
use crate::service::Service;

pub use changes::FEED_NEXT;
pub use intake::{FRAME_TYPE, LINES_TYPE, MAX_LINES_BYTES};
pub use listener::Listener;
pub use probe::Probe;
pub use server::Server;
pub use tokens::Tokens;

use brake::Brake;
use health::LastStatus;

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
    /// Who may do what.
    pub tokens: Tokens,
}

/// The settings with what is made of them. They may change while the daemon runs; a request takes those of its moment.
struct InForce {
    settings: Arc<Settings>,
    /// KiB of ingests' bodies that may be read at once.
    ingest_memory: Arc<Semaphore>,
    /// Against guessing these tokens.
    brake: Arc<Brake>,
}

impl InForce {
    fn new(settings: Settings) -> Self {
        let ingest_memory = Arc::new(Semaphore::new(settings.body_memory_kib()));
        Self { settings: Arc::new(settings), ingest_memory, brake: Arc::default() }
    }
}

impl Settings {
    fn body_memory_kib(&self) -> usize {
        (self.body_memory_bytes >> 10).max(1)
    }
}

/// The use cases with the limits of the wire.
pub struct Api {
    service: Service,
    in_force: RwLock<InForce>,
    /// KiB of large bodies of others than ingests that may be read at once: neither starves the other.
    json_memory: Arc<Semaphore>,
    /// Exports under way.
    exports: Arc<Semaphore>,
    /// Verifications under way.
    verifications: Arc<Semaphore>,
    started: std::time::Instant,
    /// Lost log records; told by `/health`.
    log_losses: fn() -> u64,
    /// Marks the daemon's requests to itself.
    probe_key: String,
    /// What strangers are told.
    last_status: LastStatus,
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
        Self {
            service,
            in_force: RwLock::new(InForce::new(settings)),
            json_memory: Arc::new(Semaphore::new(JSON_MEMORY_KIB)),
            exports: Arc::new(Semaphore::new(MAX_EXPORTS)),
            verifications: Arc::new(Semaphore::new(1)),
            started: std::time::Instant::now(),
            log_losses,
            probe_key: uuid::Uuid::new_v4().to_string(),
            last_status: LastStatus::default(),
        }
    }

    /// The settings of this moment.
    pub fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.in_force.read().unwrap_or_else(PoisonError::into_inner).settings)
    }

    /// The room for ingests' bodies, with its size in KiB.
    fn ingest_memory(&self) -> (Arc<Semaphore>, usize) {
        let in_force = self.in_force.read().unwrap_or_else(PoisonError::into_inner);
        (Arc::clone(&in_force.ingest_memory), in_force.settings.body_memory_kib())
    }

    /// The brake on guessing the tokens in force.
    fn brake(&self) -> Arc<Brake> {
        Arc::clone(&self.in_force.read().unwrap_or_else(PoisonError::into_inner).brake)
    }

    /// Lets `settings` hold for what comes from now on. Bodies under way keep their room beside a new one of another size.
    pub fn change(&self, settings: Settings) {
        let mut in_force = self.in_force.write().unwrap_or_else(PoisonError::into_inner);
        let mut new = InForce::new(settings);
        if new.settings.body_memory_bytes == in_force.settings.body_memory_bytes {
            new.ingest_memory = Arc::clone(&in_force.ingest_memory);
        }
        // Of new tokens nobody has tried or shown one.
        if new.settings.tokens == in_force.settings.tokens {
            new.brake = Arc::clone(&in_force.brake);
        }
        *in_force = new;
    }
}
