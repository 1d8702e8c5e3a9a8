//! What MediaMTX's hooks tell. A hook is a hint: it may be lost, late or doubled.

use crate::domain::ids::SessionId;
use crate::domain::query::{Page, SessionQuery, Status, Window};
use crate::domain::segment::{Said, Segment};
use crate::domain::time::Timestamp;

use super::placing::place;
use super::{Service, ServiceError};

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
    /// The stream of `path` was published at `event`. Returns the path's newest open session, if any; where there is none, the
    /// one that opens next is told.
    pub async fn published(&self, path: String, event: Timestamp) -> Result<Option<SessionId>, ServiceError> {
        let offset = self.settings().start_offset_ms;
        self.write(move |tx| {
            let open = tx.newest_open_session(&path)?;
            let Some((at, mut session)) = open else {
                tx.remember_published(&path, event)?;
                return Ok(None);
            };
            let before = session.clone();
            session.media_connect.get_or_insert(event);
            session.recommended_start_offset_ms.get_or_insert(offset);
            if session != before {
                session.updated_at = tx.now();
                tx.put_session(at, &session)?;
            }
            Ok(Some(session.id))
        })
        .await
    }

    /// A segment was finished. Returns the newest session that it belongs to, if any.
    pub async fn segment_complete(&self, hook: SegmentComplete) -> Result<Option<SessionId>, ServiceError> {
        let told_end = hook.said.end.is_some() || hook.said.event.is_some();
        let now = self.inner.clock.now();
        let (service, preroll) = (self.clone(), self.preroll_micros());
        let (path, file) = (hook.path.clone(), hook.file.clone());
        // What the file says is better than any hook.
        let (read, name) = self.read(move |ledger| Ok(service.find_told(ledger, &path, &file))).await?;
        let file = name.unwrap_or(hook.file);
        let told = Segment::from_hook(hook.path, file, hook.said, now, self.settings().segment_duration_sec);
        self.write(move |tx| {
            let known = tx.segment(&told.path, &told.file)?;
            let (segment, shown) = match (&read, known) {
                // The watcher may have looked later.
                (Some(read), Some(known)) if known.modified_nanos > read.modified_nanos => (known.clone(), known),
                (Some(read), _) => (read.clone(), read.clone()),
                (None, Some(known)) if !known.is_hearsay() || !told_end => (known.clone(), known),
                // Of two words on one file that cannot both be true, one that knows the start is better than none, and the
                // later better than the earlier.
                (None, Some(known)) if told.end < known.start || told.start > known.end => {
                    (if told.is_guessed() { known } else { told.clone() }, told.clone())
                }
                // Told of again it keeps its start, and its end moves on.
                (None, Some(known)) if told.end <= known.end => (known, told.clone()),
                (None, Some(known)) => (Segment { end: told.end, ..known }, told.clone()),
                (None, None) => (told.clone(), told.clone()),
            };
            place(tx, &segment, preroll, true)?;
            let sessions = tx.sessions_within(&shown.path, Window { from: shown.start, to: shown.end })?;
            Ok(sessions.into_iter().next().map(|(_, session)| session.id))
        })
        .await
    }

    /// A segment has begun. Returns the path's newest open session, if any. Until its file can be read there is nothing to record.
    pub async fn segment_created(&self, path: String, file: String) -> Result<Option<SessionId>, ServiceError> {
        let (service, preroll) = (self.clone(), self.preroll_micros());
        let open = SessionQuery { path: Some(path.clone()), status: Some(Status::Open), ..SessionQuery::default() };
        let (read, newest) = self
            .read(move |ledger| {
                let (newest, _) = ledger.sessions(&open, Page { limit: 1, after: None })?;
                Ok((service.find_told(ledger, &path, &file).0, newest.into_iter().next().map(|session| session.id)))
            })
            .await?;
        if let Some(read) = read {
            self.write(move |tx| place(tx, &read, preroll, true)).await?;
        }
        Ok(newest)
    }
}
