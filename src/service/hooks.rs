//! What MediaMTX's hooks tell. A hook is a hint: it may be lost, late or doubled.

use crate::domain::ids::SessionId;
use crate::domain::query::{Page, SessionQuery, Status, Window};
use crate::domain::segment::{Said, Segment};
use crate::domain::session::Session;
use crate::domain::time::Timestamp;

use super::{Service, ServiceError};

/// Sessions that one segment may belong to; more overlap only by mistake.
const MAX_SESSIONS_PER_SEGMENT: usize = 1000;

/// A segment hook, valid.
#[derive(Debug, Clone)]
pub struct SegmentComplete {
    /// MediaMTX's path.
    pub path: String,
    /// The segment's file.
    pub file: String,
    /// Its times, as far as the hook could tell.
    pub said: Said,
}

impl Service {
    /// The stream of `path` was published at `event`. Returns the path's newest open session, if any.
    pub async fn published(&self, path: String, event: Timestamp) -> Result<Option<SessionId>, ServiceError> {
        let query = SessionQuery { path: Some(path), status: Some(Status::Open), ..SessionQuery::default() };
        let (newest, _) = self.sessions(query, Page { limit: 1, after: None }).await?;
        let Some(Session { id, .. }) = newest.into_iter().next() else { return Ok(None) };
        let offset = self.settings().start_offset_ms;
        self.write(move |tx| {
            // It may have been closed since it was found.
            let Some((at, mut session)) = tx.session(&id)?.filter(|(_, session)| session.is_open()) else { return Ok(None) };
            let before = session.clone();
            session.media_connect.get_or_insert(event);
            session.recommended_start_offset_ms.get_or_insert(offset);
            if session != before {
                session.updated_at = tx.now();
                tx.put_session(at, &session)?;
            }
            Ok(Some(id.clone()))
        })
        .await
    }

    /// A segment was finished. Returns the newest session that it belongs to, if any.
    pub async fn segment_complete(&self, hook: SegmentComplete) -> Result<Option<SessionId>, ServiceError> {
        let told_end = hook.said.end.is_some() || hook.said.event.is_some();
        let now = self.inner.clock.now();
        let segment = Segment::from_hook(hook.path, hook.file, hook.said, now, self.settings().segment_duration_sec);
        let segment = self.write(move |tx| tx.add_segment(segment.clone(), told_end)).await?;
        let query = SessionQuery {
            path: Some(segment.path.clone()),
            window: Some(Window { from: segment.start, to: segment.end }),
            ..SessionQuery::default()
        };
        let (sessions, _) = self.sessions(query, Page { limit: MAX_SESSIONS_PER_SEGMENT, after: None }).await?;
        let ids: Vec<_> = sessions.into_iter().map(|session| session.id).collect();
        if ids.is_empty() {
            return Ok(None);
        }
        let preroll = i64::try_from(self.settings().preroll.as_micros()).unwrap_or(i64::MAX);
        self.write(move |tx| {
            let mut newest = None;
            for id in &ids {
                let Some((at, mut session)) = tx.session(id)? else { continue };
                if !overlaps(&session, &segment) {
                    continue;
                }
                let before = session.clone();
                session.media_start.get_or_insert(segment.start.max(session.start.plus_micros(-preroll)));
                session.media_end = session.media_end.max(Some(segment.end));
                if session != before {
                    session.updated_at = tx.now();
                    tx.put_session(at, &session)?;
                }
                newest.get_or_insert_with(|| id.clone());
            }
            Ok(newest)
        })
        .await
    }
}

/// Whether some moment of `segment` lies within `session`; one that ends where the other begins does not.
fn overlaps(session: &Session, segment: &Segment) -> bool {
    session.start < segment.end && session.end.is_none_or(|end| end.at > segment.start)
}
