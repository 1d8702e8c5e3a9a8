//! What systemd is told while the daemon runs: that it lives, and how it is.

use std::time::{Duration, Instant};

use crate::http::Probe;
use crate::runtime::systemd;
use crate::service::Service;
use crate::service::health::Health;
use crate::store::Store;

/// A writer that has work and does not finish a step of it within this time is stuck; a slow disk takes less.
const STUCK_AFTER: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_secs(1);
const STATUS_EVERY: Duration = Duration::from_secs(5);

/// Gives signs of life while the port answers and the writer gets on. Returns at once where nobody waits for them.
pub async fn give_signs_of_life(probe: Probe, store: Store) {
    let Some(period) = systemd::watchdog_period() else { return };
    let every = period / 2;
    let mut writer = Progress::default();
    let mut given = Instant::now();
    loop {
        tokio::time::sleep(LOOK_EVERY.min(every / 4)).await;
        let was_stuck = writer.is_stuck();
        writer.look(store.writer_progress(), Instant::now());
        if writer.is_stuck() && !was_stuck {
            tracing::error!("the disk has not finished a commit for {} s: the watchdog is no longer fed", STUCK_AFTER.as_secs());
        }
        if given.elapsed() < every || writer.is_stuck() {
            continue;
        }
        if probe.answers(every).await {
            systemd::alive();
        } else {
            tracing::error!("the port does not answer: the watchdog is not fed");
        }
        given = Instant::now();
    }
}

/// Whether the writer gets on.
#[derive(Default)]
struct Progress {
    seen: Option<u64>,
    same_for: Duration,
    looked: Option<Instant>,
}

impl Progress {
    fn look(&mut self, steps: Option<u64>, now: Instant) {
        let passed = self.looked.map_or(Duration::ZERO, |before| now.saturating_duration_since(before));
        self.same_for = if steps.is_some() && steps == self.seen { self.same_for + passed } else { Duration::ZERO };
        self.seen = steps;
        self.looked = Some(now);
    }

    fn is_stuck(&self) -> bool {
        self.same_for >= STUCK_AFTER
    }
}

/// Keeps the line up to date that `systemctl status` shows.
pub async fn tell_status(service: Service) {
    if !systemd::is_listening() {
        return;
    }
    let mut told = String::new();
    loop {
        let line = status(&service.health().await);
        if line != told {
            systemd::status(&line);
            told = line;
        }
        tokio::time::sleep(STATUS_EVERY).await;
    }
}

/// `ok, 12 open sessions`, or the first reason why not.
fn status(health: &Health) -> String {
    let is = health.reasons.first().map_or("ok".to_owned(), |reason| format!("degraded: {}", reason.replace('\n', " ")));
    match health.sessions_open {
        Some(1) => format!("{is}, 1 open session"),
        Some(open) => format!("{is}, {open} open sessions"),
        None => is,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_work_that_does_not_get_on_is_stuck() {
        let begin = Instant::now();
        let mut progress = Progress::default();
        let mut look = |second: u64, steps| {
            progress.look(steps, begin + Duration::from_secs(second));
            progress.is_stuck()
        };
        assert!(!look(0, None) && !look(100, None), "idle for long");
        assert!(!look(101, Some(7)) && !look(120, Some(7)), "19 s of one step");
        assert!(look(121, Some(7)), "20 s of it");
        assert!(!look(122, Some(8)), "it has got on after all");
        assert!(!look(141, Some(8)) && !look(142, None) && !look(150, Some(9)), "work comes and goes");
    }
}
