//! `/health`.

use http::StatusCode;
use serde::Serialize;

use crate::service::health::Health;

use super::Api;
use super::reply::{Answer, Reply};

#[derive(Serialize)]
struct Shown {
    status: &'static str,
    timestamp: String,
    service: &'static str,
    version: &'static str,
    uptime_sec: u64,
    log_records_lost: u64,
    #[serde(flatten)]
    health: Health,
}

/// `GET /health`.
pub async fn health(api: &Api) -> Answer {
    let health = api.service.health().await;
    let shown = Shown {
        status: if health.reasons.is_empty() { "ok" } else { "degraded" },
        timestamp: api.service.now().to_millis(),
        service: "session-store",
        version: env!("CARGO_PKG_VERSION"),
        uptime_sec: api.started.elapsed().as_secs(),
        log_records_lost: (api.log_losses)(),
        health,
    };
    Reply::json(StatusCode::OK, &shown)
}
