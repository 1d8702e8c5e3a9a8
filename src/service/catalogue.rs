//! The catalogue as lines for a backup: session by session, and what changed meanwhile after it.
//!
//! Each piece has a snapshot of its own, so that no page of the database is pinned for long. Together they are
//! consistent all the same: sessions are told as they are met, and after them everything that changed since the first of
//! these snapshots. At the last one, in which nothing more has changed, everything told holds at one and the same moment.

use crate::domain::ids::{SessionId, TrackId};
use crate::domain::query::SessionKey;
use crate::domain::segment::Segment;
use crate::store::{Change, Store, Urgency};

use super::export::Lines;
use super::{Service, ServiceError, blocking};

/// Rows read in one snapshot.
const AT_ONCE: usize = 500;
/// The form of the lines; a restore refuses a later one.
pub const FORMAT: u32 = 1;

/// What of the catalogue is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Everything but the segments.
    Whole,
    /// What changed after this number of the feed.
    Since(u64),
    /// The segments of recordings, which are no part of the feed.
    Segments,
}

/// A part of the catalogue on its way out.
pub struct Catalogue {
    store: Store,
    stage: Stage,
}

enum Stage {
    Begin(Part),
    Sessions { since: u64, after: Option<SessionKey>, within: Option<Within> },
    Changes { since: u64 },
    Segments { after: Option<Segment> },
    End,
}

/// A session of which only some detections were told.
struct Within {
    at: SessionKey,
    id: SessionId,
    after: Option<TrackId>,
}

impl Catalogue {
    /// This part of the catalogue of `store`.
    pub fn new(store: Store, part: Part) -> Self {
        Self { store, stage: Stage::Begin(part) }
    }

    /// The next lines; `None` behind the last. The last line is `end`: without it the rest is missing.
    ///
    /// # Errors
    /// [`ServiceError::Restarted`] where the number to begin after is not one of this feed.
    pub fn step(&mut self) -> Result<Option<Vec<u8>>, ServiceError> {
        let snapshot = self.store.read()?;
        let mut lines = Lines::default();
        match &mut self.stage {
            Stage::Begin(part) => {
                let identity = self.store.identity();
                lines.add(&serde_json::json!({
                    "catalogue": {
                        "format": FORMAT,
                        "store_uuid": identity.uuid,
                        "epoch": identity.epoch,
                        "frames_paired": snapshot.are_frames_paired()?,
                    }
                }))?;
                self.stage = match *part {
                    Part::Whole => Stage::Sessions { since: snapshot.feed_head()?, after: None, within: None },
                    Part::Since(since) if since > snapshot.feed_head()? => return Err(ServiceError::Restarted),
                    Part::Since(since) => Stage::Changes { since },
                    Part::Segments => Stage::Segments { after: None },
                };
            }
            Stage::Sessions { since, after, within } => {
                let mut rows = 0;
                while rows < AT_ONCE {
                    if let Some(Within { at, id, after }) = within {
                        let detections = snapshot.detections_behind(*at, after.as_ref(), AT_ONCE)?;
                        for detection in &detections {
                            lines.detection(&snapshot, id, detection)?;
                        }
                        rows += detections.len();
                        *after = detections.last().map(|last| last.track.clone());
                        if detections.len() == AT_ONCE {
                            break;
                        }
                        *within = None;
                    }
                    let Some((at, session)) = snapshot.sessions_behind(*after, 1)?.pop() else {
                        self.stage = Stage::Changes { since: *since };
                        break;
                    };
                    lines.session(&session)?;
                    rows += 1;
                    *after = Some(at);
                    *within = Some(Within { at, id: session.id, after: None });
                }
            }
            Stage::Changes { since } => {
                let page = snapshot.more_changes(*since, AT_ONCE)?;
                // A detection may have changed before its session did, and the session be a new one.
                let mut told: Option<SessionId> = None;
                for (_, change) in &page.changes {
                    match change {
                        Change::Session(session) => lines.session(session)?,
                        Change::SessionDeleted(id) => lines.deleted(id)?,
                        Change::Detection(id, detection) => {
                            if told.as_ref() != Some(id)
                                && let Some((_, session)) = snapshot.session(id)?
                            {
                                lines.session(&session)?;
                                told = Some(id.clone());
                            }
                            lines.detection(&snapshot, id, detection)?;
                        }
                    }
                }
                *since = page.next;
                if page.changes.len() < AT_ONCE {
                    lines.add(&end(page.next))?;
                    self.stage = Stage::End;
                }
            }
            Stage::Segments { after } => {
                let segments = snapshot.segments_behind(after.as_ref(), AT_ONCE)?;
                for segment in &segments {
                    lines.segment(segment)?;
                }
                match segments.into_iter().next_back() {
                    Some(last) => *after = Some(last),
                    None => {
                        lines.add(&end(snapshot.feed_head()?))?;
                        self.stage = Stage::End;
                    }
                }
            }
            Stage::End => return Ok(None),
        }
        Ok(Some(lines.0))
    }
}

fn end(next: u64) -> serde_json::Value {
    serde_json::json!({ "end": { "next": next } })
}

impl Service {
    /// A part of the catalogue of the running store.
    pub async fn catalogue(&self, part: Part) -> Result<Catalogue, ServiceError> {
        Ok(Catalogue::new(self.store(Urgency::Urgent).await?, part))
    }

    /// One [`Catalogue::step`].
    pub async fn catalogue_some(&self, mut catalogue: Catalogue) -> Result<(Catalogue, Option<Vec<u8>>), ServiceError> {
        blocking(move || {
            let lines = catalogue.step()?;
            Ok((catalogue, lines))
        })
        .await
    }
}
