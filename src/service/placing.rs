//! What a segment means for the sessions of its path, and what those mean for theirs.

use std::collections::BTreeMap;

use crate::domain::query::{SessionKey, Window};
use crate::domain::segment::{Segment, State};
use crate::domain::session::Session;
use crate::domain::time::Timestamp;
use crate::store::{StoreError, Transaction};

/// Names of one segment that are looked through; a file that was copied a thousand times is nobody's recording.
const MAX_NAMES: usize = 16;

/// Records what is known of `segment`, and places it with every session of its path that it overlaps. What follows depends on
/// the segments alone, never on the order in which they came.
pub(super) fn place(tx: &mut Transaction<'_>, segment: &Segment, preroll_micros: i64) -> Result<(), StoreError> {
    let old = tx.put_segment(segment)?;
    if old.as_ref() == Some(segment) {
        return Ok(());
    }
    forget_old_name(tx, segment)?;
    let is_moved = |old: &Segment| (old.start, old.end) != (segment.start, segment.end);
    if old.as_ref().is_some_and(|old| !is_moved(old)) {
        return Ok(());
    }
    let mut affected: BTreeMap<SessionKey, Session> = BTreeMap::new();
    for segment in [old.as_ref(), Some(segment)].into_iter().flatten() {
        affected.extend(tx.sessions_within(&segment.path, Window { from: segment.start, to: segment.end })?);
    }
    for (at, session) in affected {
        measure(tx, at, session, preroll_micros, true)?;
    }
    Ok(())
}

/// A file that was renamed leaves its old name behind as deleted: it is the same segment.
fn forget_old_name(tx: &mut Transaction<'_>, segment: &Segment) -> Result<(), StoreError> {
    if segment.stream.is_none() || segment.state == State::Deleted {
        return Ok(());
    }
    let begin = Window { from: segment.start, to: segment.start.plus_micros(1) };
    for other in tx.segments_within(&segment.path, begin, MAX_NAMES)? {
        if other.stream == segment.stream && other.state == State::Deleted && other.file != segment.file {
            tx.remove_segment(&other)?;
        }
    }
    Ok(())
}

/// Sets what a session says of its media to what its segments say. Where it has none, it `forgets` what one that is gone
/// elsewhere had said, or keeps what it was told before there were any.
pub(super) fn measure(
    tx: &mut Transaction<'_>,
    at: SessionKey,
    mut session: Session,
    preroll_micros: i64,
    forgets: bool,
) -> Result<Session, StoreError> {
    let media = tx.media_within(&session.path, window_of(&session, Timestamp::MAX))?;
    if media.is_none() && !forgets {
        return Ok(session);
    }
    let (start, end) = media.unzip();
    let start = start.map(|start| start.max(session.start.plus_micros(-preroll_micros)));
    if (session.media_start, session.media_end) != (start, end) {
        (session.media_start, session.media_end) = (start, end);
        session.updated_at = tx.now();
        tx.put_session(at, &session)?;
    }
    Ok(session)
}

/// The time of a session; `now` is the end of an open one. Never empty.
pub(super) fn window_of(session: &Session, now: Timestamp) -> Window {
    let to = session.end.map_or(now, |end| end.at);
    Window { from: session.start, to: to.max(session.start.plus_micros(1)) }
}
