//! Only Postgres: keeps the catalogue in a central database that other services use too, and brings back what they add.
//! A reader of the change feed whose place is kept there, in the transaction that wrote the rows.
//! The reasons are in `docs/design/sync.md`.

pub mod address;
pub mod admin;
mod backlog;
mod bound;
mod connected;
mod connection;
mod detections;
mod frames;
mod limit;
mod place;
mod pull;
mod push;
pub mod receive;
mod schema;
mod send;
mod sessions;
mod set_aside;
pub mod source;
mod tls;
mod touches;
mod trouble;
mod worker;

use std::thread::JoinHandle;
use std::time::Duration;

use crate::domain::central::{DayWindow, FrameDelivery};
use crate::service::Service;

use address::Address;

/// What the sync needs to know of the configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The central database.
    pub address: Address,
    /// This gateway's name there; the store's UUID where there is none.
    pub gateway_id: Option<String>,
    /// How often the mere advance of a detection's times is pushed.
    pub touch_interval: Duration,
    /// How often is asked what came back.
    pub pull_interval: Duration,
    /// How often all rows are compared.
    pub sweep_interval: Duration,
    /// Whether central rows of deleted sessions are deleted.
    pub deletes: bool,
    /// Whether a better picture is to be looked at anew.
    pub re_enrich: bool,
    /// Attributes that come so soon behind a better picture are not taken.
    pub enrich_guard: Duration,
    /// How pictures get there.
    pub frames: FrameDelivery,
    /// Minutes of the local day, from and to, in which to sync at all.
    pub window: Option<DayWindow>,
    /// The most bytes in an hour; 0 for no limit.
    pub bytes_per_hour: u64,
    /// The most bytes of pictures in an hour; 0 for no limit of their own.
    pub frame_bytes_per_hour: u64,
    /// Classes whose rows go first in a backlog.
    pub first_classes: Vec<String>,
}

/// The running sync.
pub struct Sync {
    thread: JoinHandle<()>,
}

impl Sync {
    /// Starts it on a thread of its own, so that no request waits for it. It ends when the service stops.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(service: Service, settings: Settings) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(2)
            .thread_keep_alive(Duration::from_secs(60))
            .build()?;
        let thread = std::thread::Builder::new().name("sync".into()).spawn(move || {
            runtime.block_on(worker::run(service, settings));
            // A connection that does not answer holds nobody.
            runtime.shutdown_timeout(Duration::from_millis(500));
        })?;
        Ok(Self { thread })
    }

    /// Waits for its end, once the service stops.
    pub fn join(self) {
        if self.thread.join().is_err() {
            tracing::error!("the sync ended early");
        }
    }
}
