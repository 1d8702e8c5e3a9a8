//! One record a request in the log.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;

use super::stream::Peer;

/// A request's id: unique among those of this process and, by its random part, of others.
#[derive(Debug, Clone)]
pub struct RequestId(pub String);

/// Makes request ids.
pub struct RequestIds {
    process: u32,
    next: AtomicU64,
}

impl Default for RequestIds {
    fn default() -> Self {
        Self { process: uuid::Uuid::new_v4().as_fields().0, next: AtomicU64::new(1) }
    }
}

impl RequestIds {
    /// The next one.
    pub fn next(&self) -> RequestId {
        RequestId(format!("{:08x}-{:x}", self.process, self.next.fetch_add(1, Ordering::Relaxed)))
    }
}

/// The record of one request. `path` has its query; neither tokens nor passwords travel in it.
pub fn log(method: &str, path: &str, status: StatusCode, elapsed: Duration, peer: Peer, id: &RequestId) {
    let elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    tracing::info!(
        target: "access",
        method,
        path,
        status = status.as_u16(),
        elapsed_ms,
        ip = %peer,
        request_id = id.0,
    );
}
