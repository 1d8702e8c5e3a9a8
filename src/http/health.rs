//! `/health`.

use std::time::{Duration, Instant};

use http::StatusCode;
use serde::Serialize;
use serde_json::json;
use tokio::sync::Mutex;

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

/// What strangers are told may be so old. However many ask, it is found out for one at a time …
const TOLD_FOR: Duration = Duration::from_secs(1);
/// … and the others wait no longer than this, as where a folder's volume hangs.
const FOUND_WITHIN: Duration = Duration::from_secs(2);

const DEGRADED: &str = "degraded";

/// The status that strangers were last told, and since when it is known.
#[derive(Default)]
pub struct LastStatus(Mutex<Option<(Instant, &'static str)>>);

/// `GET /health` of who brings no token where one is needed: the fields that every client knows, and nothing of what is kept here.
pub async fn status_alone(api: &Api) -> Answer {
    let status = match tokio::time::timeout(FOUND_WITHIN, api.last_status.0.lock()).await {
        Err(_) => DEGRADED,
        Ok(last) if last.is_some_and(|(since, _)| since.elapsed() < TOLD_FOR) => last.map_or(DEGRADED, |(_, status)| status),
        Ok(mut last) => {
            let status = status_of(&api.service.health().await);
            *last = Some((Instant::now(), status));
            status
        }
    };
    let timestamp = api.service.now().to_millis();
    Reply::json(StatusCode::OK, &json!({"status": status, "timestamp": timestamp, "service": "session-store"}))
}

fn status_of(health: &Health) -> &'static str {
    if health.reasons.is_empty() { "ok" } else { DEGRADED }
}

/// `GET /health`.
pub async fn health(api: &Api) -> Answer {
    let health = api.service.health().await;
    let shown = Shown {
        status: status_of(&health),
        timestamp: api.service.now().to_millis(),
        service: "session-store",
        version: env!("CARGO_PKG_VERSION"),
        uptime_sec: api.started.elapsed().as_secs(),
        log_records_lost: (api.log_losses)(),
        health,
    };
    Reply::json(StatusCode::OK, &shown)
}
