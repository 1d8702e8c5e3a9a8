//! What a segment means for the sessions of its path, and what those mean for theirs.

use crate::domain::query::{SessionKey, Window};
use crate::domain::segment::{Segment, State};
use crate::domain::session::Session;
use crate::domain::time::Timestamp;
use crate::store::{StoreError, Transaction};

/// Clocks may be so far apart.
const AHEAD_MICROS: i64 = 3600 * 1_000_000;
/// Names of one segment that are looked through; a file that was copied a thousand times is nobody's recording.
const MAX_NAMES: usize = 16;

/// Records what is known of `segment`, and places it with every session of its path that it overlaps. What follows depends on
/// the segments alone, never on the order in which they came. `may_be_renamed` where any segment is called deleted, or this one is.
pub(super) fn place(
    tx: &mut Transaction<'_>,
    segment: &Segment,
    preroll_micros: i64,
    may_be_renamed: bool,
) -> Result<(), StoreError> {
    let old = tx.put_segment(segment)?;
    if old.as_ref() == Some(segment) {
        return Ok(());
    }
    if may_be_renamed {
        forget_old_name(tx, segment)?;
    }
    match &old {
        Some(old) if (old.start, old.end) == (segment.start, segment.end) => return Ok(()),
        Some(old) => remeasure(tx, old, preroll_micros)?,
        None => {}
    }
    for (at, session) in sessions_of(tx, segment)? {
        measure(tx, at, session, preroll_micros, false)?;
    }
    Ok(())
}

/// Measures the sessions anew that `old` belonged to, which is not there any more, or elsewhere.
pub(super) fn remeasure(tx: &mut Transaction<'_>, old: &Segment, preroll_micros: i64) -> Result<(), StoreError> {
    if old.end > old.start {
        for (at, session) in sessions_of(tx, old)? {
            measure(tx, at, session, preroll_micros, true)?;
        }
    }
    Ok(())
}

fn sessions_of(tx: &Transaction<'_>, segment: &Segment) -> Result<Vec<(SessionKey, Session)>, StoreError> {
    tx.sessions_within(&segment.path, Window { from: segment.start, to: segment.end })
}

/// A file that was renamed leaves its old name behind as deleted: it is the same segment, whichever of the two is met first.
fn forget_old_name(tx: &mut Transaction<'_>, segment: &Segment) -> Result<(), StoreError> {
    if segment.stream.is_none() {
        return Ok(());
    }
    let begin = Window { from: segment.start, to: segment.start.plus_micros(1) };
    for other in tx.segments_within(&segment.path, begin, MAX_NAMES)? {
        if other.stream != segment.stream || other.file == segment.file {
            continue;
        }
        match (segment.state == State::Deleted, other.state == State::Deleted) {
            (false, true) => tx.remove_segment(&other)?,
            (true, false) => return tx.remove_segment(segment),
            _ => {}
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
    let media = tx.media_within(&session.path, window_of(&session, latest(tx.now(), &session)))?;
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

/// How far a recording can reach: a file that claims to be from the future, for a camera's clock or its name, says nothing of a
/// session that is open now. A clock that is behind the session's own start says nothing at all.
fn latest(now: Timestamp, session: &Session) -> Timestamp {
    if now < session.start { Timestamp::MAX } else { now.plus_micros(AHEAD_MICROS) }
}

/// The time of a session; `now` is the end of an open one. Never empty.
pub(super) fn window_of(session: &Session, now: Timestamp) -> Window {
    let to = session.end.map_or(now, |end| end.at);
    Window { from: session.start, to: to.max(session.start.plus_micros(1)) }
}
