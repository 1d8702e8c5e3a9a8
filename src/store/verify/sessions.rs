//! Sessions and the indexes that lead to them.

use std::collections::HashMap;

use redb::{ReadOnlyTable, Value};

use super::super::feed::Entity;
use super::super::sessions::duration_class;
use super::super::tables::{
    BY_CLASS, BY_COLOR, BY_DEVICE, BY_PATH, CLOSED_SESSIONS, DETECTIONS, FRAMES, HELD_SESSIONS, OPEN_SESSIONS, RawIndexKey,
    SESSION_IDS, SESSIONS, key, raw,
};
use super::super::{FrameFile, StoreError, record};
use super::{After, Look, NamedFrame, Next, behind, reason};
use crate::domain::ids::SessionId;
use crate::domain::query::SessionKey;
use crate::domain::session::Session;

impl Look<'_> {
    pub(super) fn sessions(&mut self, after: &After) -> Next {
        let after = if let After::Session(start, number) = after { Some((*start, *number)) } else { None };
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
        let is_listed = if session.is_open() {
            snapshot.table(OPEN_SESSIONS)?.get(raw(at))?.is_some()
        } else {
            snapshot.table(CLOSED_SESSIONS)?.get((duration_class(session), at.start, at.number))?.is_some()
        };
        if !is_listed {
            lacks.push(format!("{}_sessions lacks it", if session.is_open() { "open" } else { "closed" }));
        }
        if session.hold.is_some() && snapshot.table(HELD_SESSIONS)?.get(raw(at))?.is_none() {
            lacks.push("held_sessions lacks it".to_owned());
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

    pub(super) fn session_ids(&mut self, after: &After) -> Next {
        let after = if let After::Text(id) = after { Some(id.as_str()) } else { None };
        for entry in self.snapshot.table(SESSION_IDS)?.range::<&str>(behind(after))? {
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

    pub(super) fn open_sessions(&mut self, after: &After) -> Next {
        let after = if let After::Session(start, number) = after { Some((*start, *number)) } else { None };
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

    pub(super) fn held_sessions(&mut self, after: &After) -> Next {
        let after = if let After::Session(start, number) = after { Some((*start, *number)) } else { None };
        for entry in self.snapshot.table(HELD_SESSIONS)?.range::<(i64, u64)>(behind(after))? {
            let at = key(entry?.0.value());
            if self.session(at)?.is_none_or(|session| session.hold.is_none()) {
                self.misfit(format!("held_sessions: session number {} is not there, or not held", at.number));
            }
            if self.is_full() {
                return Ok(Some(After::Session(at.start, at.number)));
            }
        }
        Ok(None)
    }

    pub(super) fn closed_sessions(&mut self, after: &After) -> Next {
        let after = if let After::Class(class, start, number) = after { Some((*class, *start, *number)) } else { None };
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

    pub(super) fn words(
        &mut self,
        table: redb::TableDefinition<RawIndexKey, ()>,
        after: &After,
        has: impl Fn(&Session, &str) -> bool,
    ) -> Next {
        let name = redb::TableHandle::name(&table).to_owned();
        let table = self.snapshot.table(table)?;
        for entry in behind_word(&table, after)? {
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

    pub(super) fn colors(&mut self, after: &After) -> Next {
        let table = self.snapshot.table(BY_COLOR)?;
        for entry in behind_word(&table, after)? {
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
}

fn behind_word<V: Value + 'static>(
    table: &ReadOnlyTable<RawIndexKey, V>,
    after: &After,
) -> Result<redb::Range<'static, RawIndexKey, V>, StoreError> {
    let after = if let After::Word(word, start, number) = after { Some((word.as_str(), *start, *number)) } else { None };
    Ok(table.range::<(&str, i64, u64)>(behind(after))?)
}
