//! Making all indexes and the feed anew from the records, in one transaction: it is done whole or not at all.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write as _;
use std::ops::Bound;

use redb::ReadableTable as _;
use uuid::Uuid;

use crate::domain::detection::Detection;
use crate::domain::ids::{SessionId, TrackId};
use crate::domain::query::SessionKey;

use super::feed::Entity;
use super::record::{self, FrameRecord};
use super::schema::{KEY_EPOCH, KEY_FEED_FLOOR};
use super::tables::{key, raw};
use super::{FrameFile, NamedFrame, StoreError, Transaction};

/// Rows read before they are worked on.
const AT_ONCE: usize = 500;
/// A number of the feed beyond this is damage: no store counts so far.
const MAX_NUMBER: u64 = 1 << 62;

/// What a repair tells of while it works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mended {
    /// A detection whose picture is gone; it stays without one.
    Bare {
        /// Its session.
        session: SessionId,
        /// Its track.
        track: TrackId,
        /// The file's name.
        file: String,
        /// What is wrong with the file.
        why: String,
    },
    /// A record that cannot be used; it was written into the file of such records.
    SetAside {
        /// The table it was in.
        table: &'static str,
        /// Its key.
        key: String,
        /// Why.
        why: String,
    },
    /// So many records are done.
    Records(u64),
}

/// What the file of a detection's picture is: what is known of it, or what is wrong with it.
pub type Picture = Result<FrameFile, String>;

/// What a repair asks and tells.
pub struct Mender<'m> {
    /// Looks at the file of a picture. Of what is known `bytes` is 0 where nothing is.
    ///
    /// # Errors
    /// Where it cannot be looked at: nothing is repaired then.
    pub look: &'m mut (dyn FnMut(&NamedFrame) -> Result<Picture, StoreError> + Send),
    /// Told of everything.
    pub tell: &'m mut (dyn FnMut(Mended) + Send),
    /// Takes records that cannot be used, a line of JSON each; synced before anything is committed.
    pub aside: &'m File,
}

/// A session's key and its record.
type RawSession = ((i64, u64), Vec<u8>);

/// A session or a detection with the number that its record gives it.
struct Numbered<T> {
    what: T,
    seq: u64,
    /// Whether the record must be written again.
    is_changed: bool,
}

impl Transaction<'_> {
    /// Makes session_ids, all indexes, the frames' counts and the feed anew from the sessions and detections. Numbers of
    /// the feed stay where the records have them, and the feed gets a new epoch.
    pub fn repair(&mut self, mender: &mut Mender<'_>) -> Result<(), StoreError> {
        self.changed = true;
        self.do_without_journal();
        self.find_head()?;
        let tombstones = self.known_tombstones()?;
        self.session_ids.clear()?;
        self.open_sessions.clear()?;
        self.closed_sessions.clear()?;
        self.held_sessions.clear()?;
        self.by_class.clear()?;
        self.by_path.clear()?;
        self.by_device.clear()?;
        self.by_color.clear()?;
        self.feed.clear()?;
        self.tombstones.clear()?;
        let mut done = 0;
        let mut after = None;
        loop {
            let page = self.session_page(after)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(*last);
            for (at, bytes) in page {
                done += 1 + self.repair_session(mender, key(at), &bytes)?;
                (mender.tell)(Mended::Records(done));
            }
        }
        self.set_orphans_aside(mender)?;
        self.set_segments_aside(mender)?;
        self.index_segments()?;
        for (seq, at, id) in tombstones {
            if self.feed.get(seq)?.is_none() {
                self.feed.insert(seq, record::encode_entity(&Entity::SessionDeleted(id))?.as_slice())?;
                self.tombstones.insert(seq, at)?;
            }
        }
        self.clean_beaten()?;
        self.meta.insert(KEY_EPOCH, Uuid::new_v4().to_string().as_str())?;
        let floor = self.meta.get(KEY_FEED_FLOOR)?.and_then(|floor| floor.value().parse::<u64>().ok());
        if floor.is_none_or(|floor| floor > self.head) {
            self.meta.insert(KEY_FEED_FLOOR, "0")?;
        }
        // What is set aside must be safe before it is gone from here.
        mender.aside.sync_all()?;
        Ok(())
    }

    /// New numbers must lie beyond every one that a record has.
    fn find_head(&mut self) -> Result<(), StoreError> {
        if self.head > MAX_NUMBER {
            self.head = 0;
        }
        let mut head = self.head;
        let mut see = |number: u64| head = head.max(if number > MAX_NUMBER { 0 } else { number });
        for entry in self.sessions.iter()? {
            let (at, bytes) = entry?;
            see(at.value().1);
            if let Ok((_, seq)) = record::decode_session(bytes.value()) {
                see(seq);
            }
        }
        for entry in self.detections.iter()? {
            let (at, bytes) = entry?;
            if let Ok((_, seq)) = record::decode_detection(at.value().1, bytes.value()) {
                see(seq);
            }
        }
        self.head = head;
        Ok(())
    }

    fn known_tombstones(&self) -> Result<Vec<(u64, i64, SessionId)>, StoreError> {
        let mut known = Vec::new();
        for entry in self.feed.iter()? {
            let (seq, bytes) = entry?;
            if let Ok(Entity::SessionDeleted(id)) = record::decode_entity(bytes.value()) {
                let at = self.tombstones.get(seq.value())?.map_or(self.now.micros(), |at| at.value());
                known.push((seq.value(), at, id));
            }
        }
        Ok(known)
    }

    fn session_page(&self, after: Option<(i64, u64)>) -> Result<Vec<RawSession>, StoreError> {
        let lowest = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut page = Vec::new();
        for entry in self.sessions.range::<(i64, u64)>((lowest, Bound::Unbounded))?.take(AT_ONCE) {
            let (at, bytes) = entry?;
            page.push((at.value(), bytes.value().to_vec()));
        }
        Ok(page)
    }

    fn detection_page(&self, after: (u64, &str), number: Option<u64>) -> Result<Vec<(u64, String, Vec<u8>)>, StoreError> {
        let highest = number.map_or(Bound::Unbounded, |number| Bound::Excluded((number + 1, "")));
        let mut page = Vec::new();
        for entry in self.detections.range::<(u64, &str)>((Bound::Excluded(after), highest))?.take(AT_ONCE) {
            let (at, bytes) = entry?;
            page.push((at.value().0, at.value().1.to_owned(), bytes.value().to_vec()));
        }
        Ok(page)
    }

    /// The record's own number where it is free, else a new one.
    fn keep_number<T>(&mut self, what: T, seq: u64, at_least: u64, entity: &Entity) -> Result<Numbered<T>, StoreError> {
        let is_usable = seq >= at_least.max(1) && seq <= MAX_NUMBER && self.feed.get(seq)?.is_none();
        let seq = if is_usable {
            seq
        } else {
            self.head += 1;
            self.head
        };
        self.feed.insert(seq, record::encode_entity(entity)?.as_slice())?;
        Ok(Numbered { what, seq, is_changed: !is_usable })
    }

    /// Returns how many detections it has.
    fn repair_session(&mut self, mender: &mut Mender<'_>, at: SessionKey, bytes: &[u8]) -> Result<u64, StoreError> {
        let decoded = record::decode_session(bytes);
        let problem = match &decoded {
            Err(error) => Some(error.to_string()),
            Ok((session, _)) if session.start.micros() != at.start => Some("it lies under another start than its own".to_owned()),
            Ok(_) if at.number == 0 || at.number > MAX_NUMBER => Some("its number is none".to_owned()),
            Ok((session, _)) if self.session_ids.get(session.id.as_str())?.is_some() => {
                Some(format!("there is another session called {}", session.id))
            }
            Ok(_) => None,
        };
        let (session, seq) = match (decoded, problem) {
            (Ok(found), None) => found,
            (_, problem) => {
                set_aside(mender, "sessions", &format!("{},{}", at.start, at.number), bytes, problem.unwrap_or_default())?;
                self.sessions.remove(raw(at))?;
                return Ok(0);
            }
        };
        self.index_session(at, &session, None)?;
        let numbered = self.keep_number(session, seq, at.number, &Entity::Session(at))?;
        if numbered.is_changed {
            self.sessions.insert(raw(at), record::encode_session(&numbered.what, numbered.seq)?.as_slice())?;
        }
        self.repair_detections(mender, at, &numbered.what.id)
    }

    fn repair_detections(&mut self, mender: &mut Mender<'_>, at: SessionKey, id: &SessionId) -> Result<u64, StoreError> {
        let mut known = HashMap::new();
        for entry in self.frames.range((at.number, "")..(at.number + 1, ""))? {
            let (file, bytes) = entry?;
            // What cannot be read is found again by looking at the file.
            known.insert(file.value().1.to_owned(), record::decode_frame(bytes.value()).ok());
        }
        let mut pictures: HashMap<String, (Picture, u32)> = HashMap::new();
        let mut colors: HashMap<String, u32> = HashMap::new();
        let (mut done, mut after) = (0, String::new());
        loop {
            let page = self.detection_page((at.number, &after), Some(at.number))?;
            let Some((_, last, _)) = page.last() else { break };
            after.clone_from(last);
            for (_, track, bytes) in page {
                done += 1;
                let (mut detection, seq) = match record::decode_detection(&track, &bytes) {
                    Ok(found) => found,
                    Err(error) => {
                        set_aside(mender, "detections", &format!("session {id}, track {track:?}"), &bytes, error.to_string())?;
                        self.detections.remove((at.number, track.as_str()))?;
                        continue;
                    }
                };
                let is_bare = self.lose_picture(mender, id, &mut detection, &known, &mut pictures)?;
                let seq = if is_bare { 0 } else { seq };
                let entity = Entity::Detection(at, detection.track.clone());
                let numbered = self.keep_number(detection, seq, 1, &entity)?;
                if let Some(color) = numbered.what.color_name() {
                    *colors.entry(color).or_default() += 1;
                }
                if numbered.is_changed {
                    let bytes = record::encode_detection(&numbered.what, numbered.seq)?;
                    self.detections.insert((at.number, track.as_str()), bytes.as_slice())?;
                }
            }
        }
        for (color, count) in colors {
            self.by_color.insert((color.as_str(), at.start, at.number), count)?;
        }
        for file in known.keys() {
            self.frames.remove((at.number, file.as_str()))?;
        }
        for (file, (picture, shown_by)) in pictures {
            if let Ok(of) = picture {
                let frame = FrameRecord { shown_by, bytes: of.bytes, hash: of.hash };
                self.frames.insert((at.number, file.as_str()), record::encode_frame(frame)?.as_slice())?;
            }
        }
        Ok(done)
    }

    /// Takes the picture from `detection` where its file is gone; says whether it did.
    fn lose_picture(
        &mut self,
        mender: &mut Mender<'_>,
        id: &SessionId,
        detection: &mut Detection,
        known: &HashMap<String, Option<FrameRecord>>,
        pictures: &mut HashMap<String, (Picture, u32)>,
    ) -> Result<bool, StoreError> {
        let Some(picture) = &detection.picture else { return Ok(false) };
        let file = picture.file.clone();
        if !pictures.contains_key(&file) {
            let of = known.get(&file).copied().flatten();
            let of = of.map_or(FrameFile { bytes: 0, hash: None }, |of| FrameFile { bytes: of.bytes, hash: of.hash });
            let looked = (mender.look)(&NamedFrame { session: id.clone(), file: file.clone(), of })?;
            pictures.insert(file.clone(), (looked, 0));
        }
        match pictures.get_mut(&file) {
            Some((Err(why), _)) => {
                let (session, track, why) = (id.clone(), detection.track.clone(), why.clone());
                (mender.tell)(Mended::Bare { session, track, file, why });
                detection.picture = None;
                detection.updated_at = detection.updated_at.max(self.now);
                Ok(true)
            }
            Some((Ok(_), shown_by)) => {
                *shown_by += 1;
                Ok(false)
            }
            None => Ok(false),
        }
    }

    /// Detections that no session led to, and frames without detections.
    fn set_orphans_aside(&mut self, mender: &mut Mender<'_>) -> Result<(), StoreError> {
        let mut after = (0, String::new());
        loop {
            let page = self.detection_page((after.0, &after.1), None)?;
            let Some((number, track, _)) = page.last() else { break };
            after = (*number, track.clone());
            for (number, track, bytes) in page {
                let seq = record::decode_detection(&track, &bytes).map_or(0, |(_, seq)| seq);
                let entity = self.feed.get(seq)?.and_then(|entity| record::decode_entity(entity.value()).ok());
                let is_led_to = matches!(entity, Some(Entity::Detection(at, of)) if at.number == number && of.as_str() == track);
                if !is_led_to {
                    let key = format!("session number {number}, track {track:?}");
                    set_aside(mender, "detections", &key, &bytes, "its session is not there".to_owned())?;
                    self.detections.remove((number, track.as_str()))?;
                }
            }
        }
        let mut alone = Vec::new();
        for entry in self.frames.iter()? {
            let (at, _) = entry?;
            let (number, file) = at.value();
            if self.detections.range((number, "")..(number + 1, ""))?.next().is_none() {
                alone.push((number, file.to_owned()));
            }
        }
        for (number, file) in alone {
            self.frames.remove((number, file.as_str()))?;
        }
        Ok(())
    }

    fn set_segments_aside(&mut self, mender: &mut Mender<'_>) -> Result<(), StoreError> {
        let mut bad = Vec::new();
        for entry in self.segments.iter()? {
            let (at, bytes) = entry?;
            let (path, file) = at.value();
            if let Err(error) = record::decode_segment(path, file, bytes.value()) {
                set_aside(mender, "segments", &format!("{path} {file}"), bytes.value(), error.to_string())?;
                bad.push((path.to_owned(), file.to_owned()));
            }
        }
        for (path, file) in bad {
            self.segments.remove((path.as_str(), file.as_str()))?;
        }
        Ok(())
    }

    /// A frame that is shown must not wait to be deleted.
    fn clean_beaten(&mut self) -> Result<(), StoreError> {
        let mut shown = Vec::new();
        for entry in self.beaten_frames.iter()? {
            let (at, ()) = entry.map(|(at, _)| (at, ()))?;
            let (session, file) = at.value();
            let number = self.session_ids.get(session)?.map(|at| at.value().1);
            let is_shown = match number {
                Some(number) => self.frames.get((number, file))?.is_some(),
                None => SessionId::new("session id", session).is_err(),
            };
            if is_shown {
                shown.push((session.to_owned(), file.to_owned()));
            }
        }
        for (session, file) in shown {
            self.beaten_frames.remove((session.as_str(), file.as_str()))?;
        }
        Ok(())
    }
}

fn set_aside(mender: &mut Mender<'_>, table: &'static str, key: &str, bytes: &[u8], why: String) -> Result<(), StoreError> {
    let hex = bytes.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    let line = serde_json::json!({ "table": table, "key": key, "why": why, "record": hex });
    let mut aside = mender.aside;
    writeln!(aside, "{line}")?;
    (mender.tell)(Mended::SetAside { table, key: key.to_owned(), why });
    Ok(())
}
