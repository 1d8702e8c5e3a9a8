//! Sessions whose agent has vanished: closed by the store, at their last evidence.

use std::time::Duration;

use crate::domain::ids::SessionId;
use crate::domain::query::{SessionKey, SessionQuery, Status};
use crate::domain::session::{End, EndReason, Session};
use crate::domain::time::Timestamp;
use crate::store::{StoreError, Transaction, Urgency};

use super::placing::measure;
use super::{Service, ServiceError};

/// Idle sessions are looked for so often, or more often where they close sooner.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Sessions closed in one change.
const AT_ONCE: usize = 100;

/// Closes what `newer`, which has just been opened, supersedes: an agent has one session at a time for a device and path.
pub(super) fn supersede(tx: &mut Transaction<'_>, newer: &Session, preroll_micros: i64) -> Result<(), StoreError> {
    for (at, older) in tx.open_sessions_of(&newer.device_id, &newer.path, newer.start)? {
        close(tx, at, older, EndReason::Superseded, newer.start, preroll_micros)?;
    }
    Ok(())
}

/// Closes a session at its last evidence, but no later than `latest`.
fn close(
    tx: &mut Transaction<'_>,
    at: SessionKey,
    mut session: Session,
    reason: EndReason,
    latest: Timestamp,
    preroll_micros: i64,
) -> Result<(), StoreError> {
    let end = last_evidence(tx, at, &session)?.min(latest.max(session.start));
    session.end = Some(End { at: end, reason: Some(reason) });
    session.updated_at = tx.now();
    tx.put_session(at, &session)?;
    measure(tx, at, session, preroll_micros, false).map(drop)
}

/// The last that is known of a session: a sighting, the end of a recorded picture, or its start.
fn last_evidence(tx: &Transaction<'_>, at: SessionKey, session: &Session) -> Result<Timestamp, StoreError> {
    let seen = tx.last_sighting(at)?;
    let latest = [seen, session.media_end].into_iter().flatten().max().unwrap_or(session.start);
    // What claims to be from the future is no evidence.
    Ok(latest.min(tx.now()).max(session.start))
}

impl Service {
    /// Remembers that the agent of a session is there, where that matters.
    pub(super) fn note_activity(&self, id: &SessionId) {
        if self.inner.settings.idle_close.is_some() {
            self.inner.activity.of_session(id, self.inner.clock.monotonic());
        }
    }

    /// Closes sessions that have been idle for too long, until the daemon stops.
    pub async fn close_idle_sessions(&self) {
        let Some(idle) = self.inner.settings.idle_close else { return };
        if self.store(Urgency::Urgent).await.is_err() {
            return;
        }
        let mut stopping = self.inner.stopping.subscribe();
        let mut told = false;
        while !*stopping.borrow() {
            match self.close_idle(idle).await {
                Ok(()) => told = false,
                Err(error) if !told => {
                    told = true;
                    tracing::warn!(%error, "idle sessions cannot be closed; trying on");
                }
                Err(_) => {}
            }
            let _ = tokio::time::timeout(LOOK_EVERY.min(idle / 4), stopping.wait_for(|stopping| *stopping)).await;
        }
    }

    async fn close_idle(&self, idle: Duration) -> Result<(), ServiceError> {
        let now = self.inner.clock.monotonic();
        let Some(before) = now.checked_sub(idle) else { return Ok(()) };
        let service = self.clone();
        let idle_ids = self.read(move |snapshot| {
            let mut ids = Vec::new();
            let open = SessionQuery { status: Some(Status::Open), ..SessionQuery::default() };
            snapshot.each_session(&open, None, |_, session| {
                if service.inner.activity.last(&session.id, &session.path) < before {
                    ids.push(session.id);
                }
                ids.len() < AT_ONCE
            })?;
            Ok(ids)
        });
        let ids = idle_ids.await?;
        if !ids.is_empty() {
            let (service, preroll) = (self.clone(), self.preroll_micros());
            let closed = self.write(move |tx| {
                let mut closed = Vec::new();
                for id in &ids {
                    let Some((at, session)) = tx.session(id)? else { continue };
                    // It may have been closed, or have posted a frame, since it was found.
                    if !session.is_open() || service.inner.activity.last(id, &session.path) >= before {
                        continue;
                    }
                    close(tx, at, session, EndReason::Idle, Timestamp::MAX, preroll)?;
                    closed.push(id.clone());
                }
                Ok(closed)
            });
            for id in closed.await? {
                tracing::info!("session {id} was idle for {} s and is closed at its last evidence", idle.as_secs());
            }
        }
        self.inner.activity.forget(before);
        Ok(())
    }
}
