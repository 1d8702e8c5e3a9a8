//! Comparing every table with the others, a page of rows and a snapshot at a time. Within one snapshot all must
//! fit, whatever is written meanwhile.

use std::collections::HashMap;
use std::ops::Bound;

use redb::{Key, ReadOnlyTable, ReadableTableMetadata as _, Value};

use crate::domain::ids::{SessionId, TrackId};
use crate::domain::query::SessionKey;
use crate::domain::session::Session;

use super::feed::Entity;
use super::schema::{FORMAT, KEY_EPOCH, KEY_FEED_FLOOR, KEY_FORMAT, KEY_UUID};
use super::sessions::duration_class;
use super::tables::{
    BEATEN_FRAMES, BY_CLASS, BY_COLOR, BY_DEVICE, BY_PATH, CLOSED_SESSIONS, DETECTIONS, FEED, FRAMES, META, OPEN_SESSIONS,
    RawIndexKey, SEGMENTS, SESSION_IDS, SESSIONS, TOMBSTONES, key, raw,
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
}

/// The tables in the order in which they are looked at.
const PARTS: [&str; 14] = [
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
    "feed and tombstones",
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
            + self.table(FEED)?.len()?
            + self.table(TOMBSTONES)?.len()?)
    }

    /// Looks at about `limit` rows behind `place`, and moves it on. At the end its table is `None`.
    pub fn verify(&self, place: &mut Place, limit: u64) -> Result<Looked, StoreError> {
        let mut look = Look { snapshot: self, limit, looked: Looked::default() };
        let after = std::mem::take(&mut place.after);
        let next = match place.part {
            0 => look.meta()?,
            1 => look.sessions(after)?,
            2 => look.session_ids(after)?,
            3 => look.open_sessions(after)?,
            4 => look.closed_sessions(after)?,
            5 => look.words(BY_CLASS, after, |session, word| session.detected_classes.iter().any(|class| class == word))?,
            6 => look.words(BY_PATH, after, |session, word| session.path == word)?,
            7 => look.words(BY_DEVICE, after, |session, word| session.device_id == word)?,
            8 => look.colors(after)?,
            9 => look.detections(after)?,
            10 => look.frames(after)?,
            11 => look.beaten_frames(after)?,
            12 => look.segments(after)?,
            13 => look.feed(after)?,
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

    fn sessions(&mut self, after: After) -> Next {
        let after = if let After::Session(start, number) = after { Some((start, number)) } else { None };
        let table = self.snapshot.table(SESSIONS)?;
        for entry in table.range::<(i64, u64)>(behind(after))? {
            let (at, bytes) = entry?;
            let at = key(at.value());
            match record::decode_session(bytes.value()) {
                Err(error) => self.misfit(format!("sessions: the record of session number {} {}", at.number, reason(&error))),
                Ok((session, seq)) => self.one_session(at, &session, seq)?,
            }
            if self.is_full() {
                return Ok(Some(After::Session(at.start, at.number)));
            }
        }
        Ok(None)
    }

    fn one_session(&mut self, at: SessionKey, session: &Session, seq: u64) -> Result<(), StoreError> {
        let snapshot = self.snapshot;
        let id = &session.id;
        let mut lacks = Vec::new();
        if session.start.micros() != at.start {
            lacks.push("it lies under another start than its own".to_owned());
        }
        if snapshot.table(SESSION_IDS)?.get(id.as_str())?.map(|found| found.value()) != Some(raw(at)) {
            lacks.push("session_ids does not lead to it".to_owned());
        }
        let is_listed = match session.is_open() {
            true => snapshot.table(OPEN_SESSIONS)?.get(raw(at))?.is_some(),
            false => snapshot.table(CLOSED_SESSIONS)?.get((duration_class(session), at.start, at.number))?.is_some(),
        };
        if !is_listed {
            lacks.push(format!("{}_sessions lacks it", if session.is_open() { "open" } else { "closed" }));
        }
        let mut words = vec![(BY_PATH, "sessions_by_path", &session.path), (BY_DEVICE, "sessions_by_device", &session.device_id)];
        words.extend(session.detected_classes.iter().map(|class| (BY_CLASS, "sessions_by_class", class)));
        for (table, name, word) in words {
            if snapshot.table(table)?.get((word.as_str(), at.start, at.number))?.is_none() {
                lacks.push(format!("{name} lacks it under {word:?}"));
            }
        }
        if !self.feed_holds(seq, &Entity::Session(at))? {
            lacks.push(format!("the feed does not hold it at its number {seq}"));
        }
        if at.number > snapshot.feed_head()? {
            lacks.push(format!("its own number {} lies beyond the feed's newest", at.number));
        }
        for lack in lacks {
            self.misfit(format!("session {id}: {lack}"));
        }
        self.detections_of(at, id)
    }

    /// The counts that a session's detections make: by colour, and by frame.
    fn detections_of(&mut self, at: SessionKey, id: &SessionId) -> Result<(), StoreError> {
        let mut colors: HashMap<String, u32> = HashMap::new();
        let mut shown: HashMap<String, u32> = HashMap::new();
        for entry in self.snapshot.table(DETECTIONS)?.range((at.number, "")..(at.number + 1, ""))? {
            let (track, bytes) = entry?;
            self.looked.rows += 1;
            // One that cannot be read is told of where detections are looked at.
            let Ok((detection, _)) = record::decode_detection(track.value().1, bytes.value()) else { continue };
            if let Some(color) = detection.color_name() {
                *colors.entry(color).or_default() += 1;
            }
            if let Some(picture) = detection.picture {
                *shown.entry(picture.file).or_default() += 1;
            }
        }
        let by_color = self.snapshot.table(BY_COLOR)?;
        for (color, count) in colors {
            let listed = by_color.get((color.as_str(), at.start, at.number))?.map(|count| count.value());
            if listed != Some(count) {
                let listed = listed.unwrap_or(0);
                self.misfit(format!("session {id}: sessions_by_color counts {listed} of {color:?}, its detections are {count}"));
            }
        }
        for entry in self.snapshot.table(FRAMES)?.range((at.number, "")..(at.number + 1, ""))? {
            let (file, bytes) = entry?;
            self.looked.rows += 1;
            let file = file.value().1;
            let Ok(frame) = record::decode_frame(bytes.value()) else { continue };
            let count = shown.remove(file).unwrap_or(0);
            if count != frame.shown_by {
                let listed = frame.shown_by;
                self.misfit(format!("session {id}: frames counts {listed} detections that show {file}, and they are {count}"));
            }
            self.looked.frames.push(NamedFrame {
                session: id.clone(),
                file: file.to_owned(),
                of: FrameFile { bytes: frame.bytes, hash: frame.hash },
            });
        }
        for (file, count) in shown {
            self.misfit(format!("session {id}: {count} detections show {file}, which frames lacks"));
            let of = FrameFile { bytes: 0, hash: None };
            self.looked.frames.push(NamedFrame { session: id.clone(), file, of });
        }
        Ok(())
    }

    fn session_ids(&mut self, after: After) -> Next {
        let after = if let After::Text(id) = after { Some(id) } else { None };
        for entry in self.snapshot.table(SESSION_IDS)?.range::<&str>(behind(after.as_deref()))? {
            let (id, at) = entry?;
            let (id, at) = (id.value(), key(at.value()));
            if self.session(at)?.is_none_or(|session| session.id.as_str() != id) {
                self.misfit(format!("session_ids: {id:?} leads to session number {}, which is not it", at.number));
            }
            if self.is_full() {
                return Ok(Some(After::Text(id.to_owned())));
            }
        }
        Ok(None)
    }

    fn open_sessions(&mut self, after: After) -> Next {
        let after = if let After::Session(start, number) = after { Some((start, number)) } else { None };
        for entry in self.snapshot.table(OPEN_SESSIONS)?.range::<(i64, u64)>(behind(after))? {
            let at = key(entry?.0.value());
            if self.session(at)?.is_none_or(|session| !session.is_open()) {
                self.misfit(format!("open_sessions: session number {} is not there, or not open", at.number));
            }
            if self.is_full() {
                return Ok(Some(After::Session(at.start, at.number)));
            }
        }
        Ok(None)
    }

    fn closed_sessions(&mut self, after: After) -> Next {
        let after = if let After::Class(class, start, number) = after { Some((class, start, number)) } else { None };
        for entry in self.snapshot.table(CLOSED_SESSIONS)?.range::<(u8, i64, u64)>(behind(after))? {
            let (class, start, number) = entry?.0.value();
            let session = self.session(SessionKey { start, number })?;
            if session.is_none_or(|session| session.is_open() || duration_class(&session) != class) {
                self.misfit(format!("closed_sessions: session number {number} is not there, not closed, or of another duration"));
            }
            if self.is_full() {
                return Ok(Some(After::Class(class, start, number)));
            }
        }
        Ok(None)
    }

    fn words(
        &mut self,
        table: redb::TableDefinition<RawIndexKey, ()>,
        after: After,
        has: impl Fn(&Session, &str) -> bool,
    ) -> Next {
        let name = redb::TableHandle::name(&table).to_owned();
        let table = self.snapshot.table(table)?;
        for entry in behind_word(&table, &after)? {
            let (key, _) = entry?;
            let (word, start, number) = key.value();
            if self.session(SessionKey { start, number })?.is_none_or(|session| !has(&session, word)) {
                self.misfit(format!("{name}: {word:?} leads to session number {number}, which is not there or has none of it"));
            }
            if self.is_full() {
                return Ok(Some(After::Word(word.to_owned(), start, number)));
            }
        }
        Ok(None)
    }

    fn colors(&mut self, after: After) -> Next {
        let table = self.snapshot.table(BY_COLOR)?;
        for entry in behind_word(&table, &after)? {
            let (key, count) = entry?;
            let (color, start, number) = key.value();
            // That the count is right is seen from the session's side.
            let is_there =
                count.value() > 0 && self.has_session(SessionKey { start, number })? && self.has_color(number, color)?;
            if !is_there {
                self.misfit(format!("sessions_by_color: {color:?} leads to session number {number}, which has none of it"));
            }
            if self.is_full() {
                return Ok(Some(After::Word(color.to_owned(), start, number)));
            }
        }
        Ok(None)
    }

    fn has_color(&self, session: u64, color: &str) -> Result<bool, StoreError> {
        for entry in self.snapshot.table(DETECTIONS)?.range((session, "")..(session + 1, ""))? {
            let (track, bytes) = entry?;
            let detection = record::decode_detection(track.value().1, bytes.value());
            if detection.is_ok_and(|(detection, _)| detection.color_name().as_deref() == Some(color)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn detections(&mut self, after: After) -> Next {
        let table = self.snapshot.table(DETECTIONS)?;
        for entry in behind_within(&table, &after)? {
            let (key, bytes) = entry?;
            let (number, track) = key.value();
            match record::decode_detection(track, bytes.value()) {
                Err(error) => {
                    self.misfit(format!(
                        "detections: the record of track {track:?} of session number {number} {}",
                        reason(&error)
                    ));
                }
                Ok((detection, seq)) => self.one_detection(number, &detection.track, seq)?,
            }
            if self.is_full() {
                return Ok(Some(After::Within(number, track.to_owned())));
            }
        }
        Ok(None)
    }

    fn one_detection(&mut self, number: u64, track: &TrackId, seq: u64) -> Result<(), StoreError> {
        let entity = self.snapshot.table(FEED)?.get(seq)?.and_then(|bytes| record::decode_entity(bytes.value()).ok());
        let about = match entity {
            Some(Entity::Detection(at, of)) if at.number == number && of == *track => Some(at),
            _ => None,
        };
        let track = track.as_str();
        match about {
            None => {
                self.misfit(format!("track {track:?} of session number {number}: the feed does not hold it at its number {seq}"))
            }
            Some(at) if !self.has_session(at)? => {
                self.misfit(format!("track {track:?} of session number {number}: its session is not there"));
            }
            Some(_) => {}
        }
        Ok(())
    }

    fn frames(&mut self, after: After) -> Next {
        let table = self.snapshot.table(FRAMES)?;
        for entry in behind_within(&table, &after)? {
            let (key, bytes) = entry?;
            let (number, file) = key.value();
            if let Err(error) = record::decode_frame(bytes.value()) {
                self.misfit(format!("frames: the record of {file} of session number {number} {}", reason(&error)));
            }
            // Where the session has detections, they were counted.
            if self.snapshot.table(DETECTIONS)?.range((number, "")..(number + 1, ""))?.next().is_none() {
                self.misfit(format!("frames: {file} of session number {number} is shown by no detection"));
            }
            if self.is_full() {
                return Ok(Some(After::Within(number, file.to_owned())));
            }
        }
        Ok(None)
    }

    fn beaten_frames(&mut self, after: After) -> Next {
        let after = if let After::Texts(session, file) = after { Some((session, file)) } else { None };
        let after = after.as_ref().map(|(session, file)| (session.as_str(), file.as_str()));
        for entry in self.snapshot.table(BEATEN_FRAMES)?.range::<(&str, &str)>(behind(after))? {
            let (key, _) = entry?;
            let (session, file) = key.value();
            match SessionId::new("session id", session) {
                Err(invalid) => self.misfit(format!("beaten_frames: {session:?} is no session's id: {invalid}")),
                Ok(id) if self.snapshot.is_frame_named(&id, file)? => {
                    self.misfit(format!("beaten_frames: {file} of session {session} is to be deleted, and is shown"));
                }
                Ok(_) => {}
            }
            if self.is_full() {
                return Ok(Some(After::Texts(session.to_owned(), file.to_owned())));
            }
        }
        Ok(None)
    }

    fn segments(&mut self, after: After) -> Next {
        let after = if let After::Texts(path, file) = after { Some((path, file)) } else { None };
        let after = after.as_ref().map(|(path, file)| (path.as_str(), file.as_str()));
        for entry in self.snapshot.table(SEGMENTS)?.range::<(&str, &str)>(behind(after))? {
            let (key, bytes) = entry?;
            let (path, file) = key.value();
            if let Err(error) = record::decode_segment(path, file, bytes.value()) {
                self.misfit(format!("segments: the record of {file} of path {path} {}", reason(&error)));
            }
            if self.is_full() {
                return Ok(Some(After::Texts(path.to_owned(), file.to_owned())));
            }
        }
        Ok(None)
    }

    fn feed(&mut self, after: After) -> Next {
        let after = if let After::Number(seq) = after { Some(seq) } else { None };
        if after.is_none() {
            // Few, and gone within the time that a deletion is remembered.
            for entry in self.snapshot.table(TOMBSTONES)?.range::<u64>(..)? {
                let seq = entry?.0.value();
                self.looked.rows += 1;
                let entity = self.snapshot.table(FEED)?.get(seq)?.map(|bytes| record::decode_entity(bytes.value()));
                if !matches!(entity, Some(Ok(Entity::SessionDeleted(_)))) {
                    self.misfit(format!("tombstones: the feed does not tell of a deletion at number {seq}"));
                }
            }
        }
        for entry in self.snapshot.table(FEED)?.range::<u64>(behind(after))? {
            let (seq, bytes) = entry?;
            let seq = seq.value();
            match record::decode_entity(bytes.value()) {
                Err(error) => self.misfit(format!("feed: the entry {seq} {}", reason(&error))),
                Ok(entity) => {
                    if let Some(misfit) = self.one_entry(seq, &entity)? {
                        self.misfit(format!("feed: the entry {seq} {misfit}"));
                    }
                }
            }
            if self.is_full() {
                return Ok(Some(After::Number(seq)));
            }
        }
        Ok(None)
    }

    fn one_entry(&self, seq: u64, entity: &Entity) -> Result<Option<String>, StoreError> {
        let own = match entity {
            Entity::Session(at) => {
                let bytes = self.snapshot.table(SESSIONS)?.get(raw(*at))?;
                bytes.map(|bytes| record::decode_session(bytes.value()).map(|(_, own)| own))
            }
            Entity::Detection(at, track) => {
                let bytes = self.snapshot.table(DETECTIONS)?.get((at.number, track.as_str()))?;
                bytes.map(|bytes| record::decode_detection(track.as_str(), bytes.value()).map(|(_, own)| own))
            }
            Entity::SessionDeleted(id) => {
                let is_buried = self.snapshot.table(TOMBSTONES)?.get(seq)?.is_some();
                return Ok((!is_buried).then(|| format!("tells that session {id} was deleted, which tombstones lacks")));
            }
        };
        Ok(match own {
            None => Some("names what is not there".to_owned()),
            Some(Ok(own)) if own != seq => Some(format!("names what says that it stands at number {own}")),
            // What cannot be read is told of in its own table.
            Some(_) => None,
        })
    }
}

fn behind_word<V: Value + 'static>(
    table: &ReadOnlyTable<RawIndexKey, V>,
    after: &After,
) -> Result<redb::Range<'static, RawIndexKey, V>, StoreError> {
    let after = if let After::Word(word, start, number) = after { Some((word.as_str(), *start, *number)) } else { None };
    Ok(table.range::<(&str, i64, u64)>(behind(after))?)
}

fn behind_within<V: Value + 'static>(
    table: &ReadOnlyTable<(u64, &'static str), V>,
    after: &After,
) -> Result<redb::Range<'static, (u64, &'static str), V>, StoreError>
where
    (u64, &'static str): Key,
{
    let after = if let After::Within(number, text) = after { Some((*number, text.as_str())) } else { None };
    Ok(table.range::<(u64, &str)>(behind(after))?)
}

fn reason(error: &StoreError) -> String {
    format!("cannot be read: {error}")
}
