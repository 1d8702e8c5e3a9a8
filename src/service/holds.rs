//! Holds: what an operator says must stay.

use crate::domain::hold::Hold;
use crate::domain::ids::SessionId;
use crate::domain::query::{Page, SessionKey};
use crate::domain::session::Session;
use crate::domain::time::Timestamp;

use super::sessions::SESSION_NOT_FOUND;
use super::{Service, ServiceError};

/// The sentence for a session that is not held.
const NOT_HELD: &str = "The session is not held";

impl Service {
    /// Holds a session, in place of an earlier hold. Retention leaves it alone from the moment this returns.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`] where there is no such session.
    pub async fn hold(&self, id: SessionId, reason: String, until: Option<Timestamp>) -> Result<Session, ServiceError> {
        let held = self.write(move |tx| {
            let Some((at, mut session)) = tx.session(&id)? else { return Ok(None) };
            let known = session.hold.as_ref();
            if known.is_none_or(|known| known.reason != reason || known.until != until) {
                session.hold = Some(Hold { reason: reason.clone(), until, since: tx.now() });
                session.updated_at = tx.now();
                tx.put_session(at, &session)?;
            }
            Ok(Some(session))
        });
        held.await?.ok_or(ServiceError::NotFound(SESSION_NOT_FOUND))
    }

    /// Takes a session's hold away.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`] where there is no such session, or no hold.
    pub async fn release(&self, id: SessionId) -> Result<Session, ServiceError> {
        let released = self.write(move |tx| {
            let Some((at, mut session)) = tx.session(&id)? else { return Ok(Err(SESSION_NOT_FOUND)) };
            if session.hold.take().is_none() {
                return Ok(Err(NOT_HELD));
            }
            session.updated_at = tx.now();
            tx.put_session(at, &session)?;
            Ok(Ok(session))
        });
        released.await?.map_err(ServiceError::NotFound)
    }

    /// One page of the sessions that are held, newest start first, and where the next begins.
    pub async fn holds(&self, page: Page) -> Result<(Vec<Session>, Option<SessionKey>), ServiceError> {
        let now = self.now();
        self.read(move |snapshot| {
            let found = snapshot.held_sessions(page.after, page.limit)?;
            let next = if found.len() == page.limit { found.last().map(|(at, _)| *at) } else { None };
            let is_held = |session: &Session| session.hold.as_ref().is_some_and(|hold| hold.holds(now));
            Ok((found.into_iter().map(|(_, session)| session).filter(is_held).collect(), next))
        })
        .await
    }
}
