//! Opening, closing and finding sessions.

use crate::domain::detection::Detection;
use crate::domain::ids::SessionId;
use crate::domain::query::{Page, SessionKey, SessionQuery};
use crate::domain::session::{Close, End, EndReason, Open, Session};

use super::{Service, ServiceError, orphans, placing};

/// The sentence for a session that is not there.
pub const SESSION_NOT_FOUND: &str = "Session not found";

impl Service {
    /// Opens a session. The second value says whether it is new; one that exists stays as it is.
    pub async fn open_session(&self, open: Open) -> Result<(Session, bool), ServiceError> {
        let (preroll, offset) = (self.preroll_micros(), self.settings().start_offset_ms);
        self.note_activity(&open.id);
        self.write(move |tx| {
            if let Some((_, session)) = tx.session(&open.id)? {
                return Ok((session, false));
            }
            let mut session = open.clone().into_session(tx.now());
            // The stream comes up before the session opens: its hook may have been here already.
            if let Some(published) = tx.take_published(&session.path)?
                && published >= session.start.plus_micros(-preroll)
            {
                session.media_connect = Some(published);
                session.recommended_start_offset_ms = Some(offset);
            }
            let at = tx.add_session(&session)?;
            orphans::supersede(tx, &session, preroll)?;
            let session = placing::measure(tx, at, session, preroll, false)?;
            Ok((session, true))
        })
        .await
    }

    /// Closes a session; the last close wins.
    pub async fn close_session(&self, close: Close) -> Result<Session, ServiceError> {
        let preroll = self.preroll_micros();
        let closed = self
            .write(move |tx| {
                let Some((at, mut session)) = tx.session(&close.id)? else { return Ok(None) };
                let before = session.clone();
                session.end = Some(End { at: close.end, reason: Some(EndReason::Client) });
                session.postroll_sec = close.postroll_sec;
                if session != before {
                    session.updated_at = tx.now();
                    tx.put_session(at, &session)?;
                    session = placing::measure(tx, at, session, preroll, false)?;
                }
                Ok(Some(session))
            })
            .await?;
        closed.ok_or(ServiceError::NotFound(SESSION_NOT_FOUND))
    }

    /// One session.
    pub async fn session(&self, id: SessionId) -> Result<Session, ServiceError> {
        let found = self.read(move |snapshot| Ok(snapshot.session(&id)?)).await?;
        found.map(|(_, session)| session).ok_or(ServiceError::NotFound(SESSION_NOT_FOUND))
    }

    /// One page of sessions, newest first, and where the next begins.
    pub async fn sessions(&self, query: SessionQuery, page: Page) -> Result<(Vec<Session>, Option<SessionKey>), ServiceError> {
        self.read(move |snapshot| Ok(snapshot.sessions(&query, page)?)).await
    }

    /// A session's detections by the last time they were seen; none for an unknown session.
    pub async fn detections(&self, id: SessionId) -> Result<Vec<Detection>, ServiceError> {
        self.read(move |snapshot| match snapshot.session(&id)? {
            Some((at, _)) => Ok(snapshot.detections(at)?),
            None => Ok(Vec::new()),
        })
        .await
    }
}
