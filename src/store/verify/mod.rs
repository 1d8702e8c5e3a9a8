//! Comparing every table with the others, a page of rows and a snapshot at a time. Within one snapshot all must
//! fit, whatever is written meanwhile.

mod detections;
mod feed;
mod sessions;

use std::ops::Bound;

use redb::ReadableTableMetadata as _;

use crate::domain::ids::SessionId;
use crate::domain::query::SessionKey;
use crate::domain::session::Session;

use super::feed::Entity;
use super::schema::{FORMAT, KEY_EPOCH, KEY_FEED_FLOOR, KEY_FORMAT, KEY_UUID};
use super::tables::{
    BEATEN_FRAMES, BY_CLASS, BY_COLOR, BY_DEVICE, BY_PATH, CLOSED_SESSIONS, DETECTIONS, FEED, FRAMES, HELD_SESSIONS, META,
    OPEN_SESSIONS, SEGMENTS, SEGMENTS_BY_TIME, SESSION_IDS, SESSIONS, TOMBSTONES, raw,
};
use super::{FrameFile, Snapshot, StoreError, record};

/// A frame that a row names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedFrame {
    /// In whose folder it lies.
    pub session: SessionId,
    /// Its name there.
    pub file: String,
    /// What it was when it was stored.
    pub of: FrameFile,
}

/// What looking at one page of rows brought.
#[derive(Debug, Default)]
pub struct Looked {
    /// Rows looked at.
    pub rows: u64,
    /// What does not fit, a sentence each.
    pub misfits: Vec<String>,
    /// Frames whose files should be there.
    pub frames: Vec<NamedFrame>,
}

/// Where a walk over all tables stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    part: usize,
    after: After,
}

/// The last key seen of a table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum After {
    #[default]
    Nothing,
    Number(u64),
    Session(i64, u64),
    Class(u8, i64, u64),
    Text(String),
    Word(String, i64, u64),
    Texts(String, String),
    Within(u64, String),
    Segment(String, u8, i64, String),
}

/// The tables in the order in which they are looked at.
const PARTS: [&str; 16] = [
    "meta",
    "sessions",
    "session_ids",
    "open_sessions",
    "closed_sessions",
    "sessions_by_class",
    "sessions_by_path",
    "sessions_by_device",
    "sessions_by_color",
    "detections",
    "frames",
    "beaten_frames",
    "segments",
    "segments_by_time",
    "feed and tombstones",
    "held_sessions",
];

impl Place {
    /// The table in which it lies; `None` behind the last.
    pub fn table(&self) -> Option<&'static str> {
        PARTS.get(self.part).copied()
    }
}

/// The keys of a table behind one of them.
type Behind<K> = (Bound<K>, Bound<K>);

fn behind<K>(key: Option<K>) -> Behind<K> {
    (key.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded)
}

impl Snapshot {
    /// How many rows [`Snapshot::verify`] will look at.
    pub fn row_count(&self) -> Result<u64, StoreError> {
        Ok(self.table(SESSIONS)?.len()?
            + self.table(SESSION_IDS)?.len()?
            + self.table(OPEN_SESSIONS)?.len()?
            + self.table(CLOSED_SESSIONS)?.len()?
            + self.table(BY_CLASS)?.len()?
            + self.table(BY_PATH)?.len()?
            + self.table(BY_DEVICE)?.len()?
            + self.table(BY_COLOR)?.len()?
            + 2 * self.table(DETECTIONS)?.len()?
            + 2 * self.table(FRAMES)?.len()?
            + self.table(BEATEN_FRAMES)?.len()?
            + self.table(SEGMENTS)?.len()?
            + self.table(SEGMENTS_BY_TIME)?.len()?
            + self.table(FEED)?.len()?
            + self.table(TOMBSTONES)?.len()?
            + self.table(HELD_SESSIONS)?.len()?)
    }

    /// Looks at about `limit` rows behind `place`, and moves it on. At the end its table is `None`.
    pub fn verify(&self, place: &mut Place, limit: u64) -> Result<Looked, StoreError> {
        let mut look = Look { snapshot: self, limit, looked: Looked::default() };
        let after = std::mem::take(&mut place.after);
        let next = match place.part {
            0 => look.meta()?,
            1 => look.sessions(&after)?,
            2 => look.session_ids(&after)?,
            3 => look.open_sessions(&after)?,
            4 => look.closed_sessions(&after)?,
            5 => look.words(BY_CLASS, &after, |session, word| session.detected_classes.iter().any(|class| class == word))?,
            6 => look.words(BY_PATH, &after, |session, word| session.path == word)?,
            7 => look.words(BY_DEVICE, &after, |session, word| session.device_id == word)?,
            8 => look.colors(&after)?,
            9 => look.detections(&after)?,
            10 => look.frames(&after)?,
            11 => look.beaten_frames(&after)?,
            12 => look.segments(&after)?,
            13 => look.segments_by_time(&after)?,
            14 => look.feed(&after)?,
            15 => look.held_sessions(&after)?,
            _ => None,
        };
        match next {
            Some(after) => place.after = after,
            None => place.part += 1,
        }
        Ok(look.looked)
    }
}

/// One page of a walk.
struct Look<'s> {
    snapshot: &'s Snapshot,
    limit: u64,
    looked: Looked,
}

/// Where to go on within the table; `None` at its end.
type Next = Result<Option<After>, StoreError>;

impl Look<'_> {
    fn misfit(&mut self, sentence: String) {
        self.looked.misfits.push(sentence);
    }

    /// Counts a row; says whether the page is full.
    fn is_full(&mut self) -> bool {
        self.looked.rows += 1;
        self.looked.rows >= self.limit
    }

    fn session(&self, at: SessionKey) -> Result<Option<Session>, StoreError> {
        // One that cannot be read is told of where sessions are looked at.
        Ok(self
            .snapshot
            .table(SESSIONS)?
            .get(raw(at))?
            .and_then(|bytes| record::decode_session(bytes.value()).ok())
            .map(|it| it.0))
    }

    fn has_session(&self, at: SessionKey) -> Result<bool, StoreError> {
        Ok(self.snapshot.table(SESSIONS)?.get(raw(at))?.is_some())
    }

    /// Whether the feed holds `entity` at `seq`.
    fn feed_holds(&self, seq: u64, entity: &Entity) -> Result<bool, StoreError> {
        let feed = self.snapshot.table(FEED)?;
        Ok(feed.get(seq)?.and_then(|bytes| record::decode_entity(bytes.value()).ok()).as_ref() == Some(entity))
    }

    fn meta(&mut self) -> Next {
        let meta = self.snapshot.table(META)?;
        for name in [KEY_UUID, KEY_EPOCH] {
            if meta.get(name)?.is_none_or(|value| value.value().is_empty()) {
                self.misfit(format!("meta: the store does not say its {name}"));
            }
        }
        for (name, most) in [(KEY_FORMAT, u64::from(FORMAT)), (KEY_FEED_FLOOR, u64::MAX)] {
            let number = meta.get(name)?.and_then(|value| value.value().parse::<u64>().ok());
            if number.is_none_or(|number| number > most) {
                self.misfit(format!("meta: {name} is no number of this format"));
            }
        }
        Ok(None)
    }
}

fn reason(error: &StoreError) -> String {
    format!("cannot be read: {error}")
}
