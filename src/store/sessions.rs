//! Sessions: their records, their indexes, and lists of them.

use std::ops::Bound;

use redb::ReadableTable as _;

use crate::domain::ids::SessionId;
use crate::domain::query::{Page, SessionKey, SessionQuery, Status, Window};
use crate::domain::session::Session;
use crate::domain::time::Timestamp;

use super::feed::Entity;
use super::folders::Tracks;
use super::index::{AllOf, AnyOf, Cursor, Keys, Span};
use super::tables::{
    BY_CLASS, BY_COLOR, BY_DEVICE, BY_PATH, CLOSED_SESSIONS, OPEN_SESSIONS, RawSessionKey, SESSION_IDS, SESSIONS, key, raw,
};
use super::{Snapshot, StoreError, Transaction, length, record};

/// Up to this class (a good hour) sessions count as short.
const SHORT_CLASS: u8 = 12;

impl Transaction<'_> {
    /// The session called `id`, and where it stands.
    pub fn session(&self, id: &SessionId) -> Result<Option<(SessionKey, Session)>, StoreError> {
        let Some(at) = self.session_ids.get(id.as_str())?.map(|at| key(at.value())) else { return Ok(None) };
        Ok(self.stored_session(at)?.map(|(session, _)| (at, session)))
    }

    pub(super) fn stored_session(&self, at: SessionKey) -> Result<Option<(Session, u64)>, StoreError> {
        self.sessions.get(raw(at))?.map(|bytes| record::decode_session(bytes.value())).transpose()
    }

    /// Adds a session whose id is new.
    pub fn add_session(&mut self, session: &Session) -> Result<SessionKey, StoreError> {
        // Its first number in the feed is unique and rises, so it serves as the session's own.
        let at = SessionKey { start: session.start.micros(), number: self.head + 1 };
        self.keep_folders(&session.id)?;
        self.store_session(at, session, None)?;
        Ok(at)
    }

    /// Replaces the session at `at`, whose id, start, path and device stay as they are.
    pub fn put_session(&mut self, at: SessionKey, session: &Session) -> Result<(), StoreError> {
        let old = self.stored_session(at)?;
        self.store_session(at, session, old)
    }

    fn store_session(&mut self, at: SessionKey, session: &Session, old: Option<(Session, u64)>) -> Result<(), StoreError> {
        let (old, old_seq) = old.unzip();
        self.index_session(at, session, old.as_ref())?;
        let seq = self.number(&Entity::Session(at), old_seq)?;
        self.sessions.insert(raw(at), record::encode_session(session, seq)?.as_slice())?;
        self.written.insert(at);
        Ok(())
    }

    /// Has every index lead to a session, in place of what led to `old`.
    pub(super) fn index_session(&mut self, at: SessionKey, session: &Session, old: Option<&Session>) -> Result<(), StoreError> {
        if old.is_none() {
            self.session_ids.insert(session.id.as_str(), raw(at))?;
            self.by_path.insert((session.path.as_str(), at.start, at.number), ())?;
            self.by_device.insert((session.device_id.as_str(), at.start, at.number), ())?;
        }
        let old_end = old.map(|old| old.end.map(|_| duration_class(old)));
        let end = session.end.map(|_| duration_class(session));
        if old_end != Some(end) {
            match old_end {
                None => {}
                Some(None) => self.open_sessions.remove(raw(at))?,
                Some(Some(class)) => self.closed_sessions.remove((class, at.start, at.number))?,
            }
            match end {
                None => self.open_sessions.insert(raw(at), ())?,
                Some(class) => self.closed_sessions.insert((class, at.start, at.number), ())?,
            }
        }
        match (old.is_some_and(|old| old.hold.is_some()), session.hold.is_some()) {
            (false, true) => self.held_sessions.insert(raw(at), ())?,
            (true, false) => self.held_sessions.remove(raw(at))?,
            _ => {}
        }
        let known = old.map_or(&[][..], |old| &old.detected_classes);
        for class in session.detected_classes.iter().filter(|class| !known.contains(class)) {
            self.by_class.insert((class.as_str(), at.start, at.number), ())?;
        }
        Ok(())
    }

    /// The sessions of `path` that share a moment with `window`, newest start first. One that ends where the window begins
    /// does not.
    pub fn sessions_within(&self, path: &str, window: Window) -> Result<Vec<(SessionKey, Session)>, StoreError> {
        let (from, to) = (window.from.micros(), window.to.micros());
        let is_within = |session: &Session| {
            session.path == path
                && session.start < window.to
                && session.end.is_none_or(|end| end.at > window.from || (end.at <= session.start && session.start >= window.from))
        };
        let mut found = Vec::new();
        let mut add = |at: RawSessionKey| -> Result<(), StoreError> {
            if let Some((session, _)) = self.stored_session(key(at))?.filter(|(session, _)| is_within(session)) {
                found.push((key(at), session));
            }
            Ok(())
        };
        // Those of up to about an hour by their path; the few that are longer by how long they are.
        let nearby = length::lowest_reaching(SHORT_CLASS, from);
        for entry in self.by_path.range((path, nearby, 0)..(path, to, 0))? {
            let (_, start, number) = entry?.0.value();
            add((start, number))?;
        }
        for entry in self.open_sessions.range(..(nearby, 0))? {
            add(entry?.0.value())?;
        }
        let highest = self.closed_sessions.last()?.map_or(0, |(last, _)| last.value().0);
        for class in SHORT_CLASS + 1..=highest {
            let lowest = length::lowest_reaching(class, from);
            for entry in self.closed_sessions.range((class, lowest, 0)..(class, nearby, 0))? {
                let (_, start, number) = entry?.0.value();
                add((start, number))?;
            }
        }
        found.sort_unstable_by_key(|(at, _)| std::cmp::Reverse(*at));
        Ok(found)
    }

    /// The open session of `path` that began last.
    pub fn newest_open_session(&self, path: &str) -> Result<Option<(SessionKey, Session)>, StoreError> {
        for entry in self.open_sessions.iter()?.rev() {
            let at = key(entry?.0.value());
            if let Some((session, _)) = self.stored_session(at)?.filter(|(session, _)| session.path == path) {
                return Ok(Some((at, session)));
            }
        }
        Ok(None)
    }

    /// The open sessions of `device` on `path` that began before `before`.
    pub fn open_sessions_of(
        &self,
        device: &str,
        path: &str,
        before: Timestamp,
    ) -> Result<Vec<(SessionKey, Session)>, StoreError> {
        let mut found = Vec::new();
        for entry in self.open_sessions.range(..(before.micros(), 0))? {
            let at = key(entry?.0.value());
            let Some((session, _)) = self.stored_session(at)? else { continue };
            if session.device_id == device && session.path == path {
                found.push((at, session));
            }
        }
        Ok(found)
    }

    /// Deletes the session called `id` with all its detections, hands its frames to the queue
    /// of beaten ones and its folders to theirs, and leaves a tombstone. Says whether there was such a session.
    pub fn delete_session(&mut self, id: &SessionId, tracks: Tracks) -> Result<bool, StoreError> {
        let Some((at, session)) = self.session(id)? else { return Ok(false) };
        self.delete_detections(at, &session)?;
        let seq = self.stored_session(at)?.map(|(_, seq)| seq);
        self.session_ids.remove(id.as_str())?;
        self.sessions.remove(raw(at))?;
        if session.is_open() {
            self.open_sessions.remove(raw(at))?;
        } else {
            self.closed_sessions.remove((duration_class(&session), at.start, at.number))?;
        }
        for class in &session.detected_classes {
            self.by_class.remove((class.as_str(), at.start, at.number))?;
        }
        self.by_path.remove((session.path.as_str(), at.start, at.number))?;
        self.by_device.remove((session.device_id.as_str(), at.start, at.number))?;
        if session.hold.is_some() {
            self.held_sessions.remove(raw(at))?;
        }
        if let Some(seq) = seq {
            self.forget(seq)?;
        }
        self.delete_folders(id, tracks)?;
        self.written.remove(&at);
        self.bury(id)?;
        Ok(true)
    }
}

/// The class of a session's duration; one that ends before its start has none.
pub(super) fn duration_class(session: &Session) -> u8 {
    let end = session.end.map_or(session.start, |end| end.at);
    length::class(end.micros() - session.start.micros())
}

impl Snapshot {
    /// The session called `id`, and where it stands.
    pub fn session(&self, id: &SessionId) -> Result<Option<(SessionKey, Session)>, StoreError> {
        let Some(at) = self.table(SESSION_IDS)?.get(id.as_str())?.map(|at| key(at.value())) else { return Ok(None) };
        Ok(self.session_at(at)?.map(|session| (at, session)))
    }

    /// The session at `at`.
    pub fn session_at(&self, at: SessionKey) -> Result<Option<Session>, StoreError> {
        let bytes = self.table(SESSIONS)?.get(raw(at))?;
        Ok(bytes.map(|bytes| record::decode_session(bytes.value())).transpose()?.map(|(session, _)| session))
    }

    /// At most `limit` sessions behind the one at `after`, oldest start first.
    pub fn sessions_behind(&self, after: Option<SessionKey>, limit: usize) -> Result<Vec<(SessionKey, Session)>, StoreError> {
        let lowest = after.map_or(Bound::Unbounded, |after| Bound::Excluded(raw(after)));
        let mut sessions = Vec::new();
        for entry in self.table(SESSIONS)?.range::<RawSessionKey>((lowest, Bound::Unbounded))?.take(limit) {
            let (at, bytes) = entry?;
            sessions.push((key(at.value()), record::decode_session(bytes.value())?.0));
        }
        Ok(sessions)
    }

    /// One page of the sessions that `query` asks for, newest start first, and the key to go on
    /// after, if there are more.
    pub fn sessions(&self, query: &SessionQuery, page: Page) -> Result<(Vec<Session>, Option<SessionKey>), StoreError> {
        let mut found = Vec::new();
        let mut last = None;
        let full = self.each_session(query, page.after, |at, session| {
            if found.len() == page.limit {
                return false;
            }
            last = Some(at);
            found.push(session);
            true
        })?;
        Ok((found, if full { last } else { None }))
    }

    /// Shows the sessions that `query` asks for to `visit` until it returns false; says whether it did.
    pub fn each_session(
        &self,
        query: &SessionQuery,
        after: Option<SessionKey>,
        mut visit: impl FnMut(SessionKey, Session) -> bool,
    ) -> Result<bool, StoreError> {
        let mut bound = SessionKey::MAX;
        if let Some(after) = after {
            let Some(below) = after.before() else { return Ok(false) };
            bound = below;
        }
        let mut from = SessionKey::MIN;
        if let Some(Window { from: begin, to }) = query.window {
            if begin >= to {
                return Ok(false);
            }
            bound = bound.min(SessionKey { start: to.micros() - 1, number: u64::MAX });
            from = SessionKey { start: begin.micros(), number: 0 };
        }
        let Some(filters) = self.filters(query)? else { return Ok(false) };
        let sessions = self.table(SESSIONS)?;
        let mut walk = |cursor: &mut AllOf, mut bound: SessionKey| {
            while let Some(at) = cursor.seek(bound)? {
                let bytes = sessions.get(raw(at))?;
                let bytes = bytes
                    .ok_or_else(|| StoreError::Record(format!("an index names session {}, which is not there", at.number)))?;
                let (session, _) = record::decode_session(bytes.value())?;
                if query.window.is_none_or(|window| session.overlaps(window.from, window.to)) && !visit(at, session) {
                    return Ok(true);
                }
                let Some(below) = at.before() else { break };
                bound = below;
            }
            Ok::<bool, StoreError>(false)
        };

        // First what began within the window, where nearly everything belongs to the answer …
        let is_plain = filters.is_empty();
        let mut filters = AllOf { cursors: filters, lowest: from };
        if is_plain {
            filters.cursors.push(Box::new(self.all_sessions()?));
        }
        let stopped = walk(&mut filters, bound)?;
        if stopped || query.window.is_none() {
            return Ok(stopped);
        }
        // … then what began before it and lasted into it.
        let Some(before) = from.before() else { return Ok(false) };
        if is_plain {
            filters.cursors.clear();
        }
        filters.cursors.insert(0, Box::new(self.reaching(from)?));
        filters.lowest = SessionKey::MIN;
        walk(&mut filters, bound.min(before))
    }

    /// One cursor for each thing asked for besides the window; `None` where nothing can fit.
    fn filters(&self, query: &SessionQuery) -> Result<Option<Vec<Box<dyn Cursor>>>, StoreError> {
        let mut filters: Vec<Box<dyn Cursor>> = Vec::new();
        if let Some(path) = &query.path {
            filters.push(Box::new(Span::of_word(self.table(BY_PATH)?, path.clone())));
        }
        if let Some(device) = &query.device_id {
            filters.push(Box::new(Span::of_word(self.table(BY_DEVICE)?, device.clone())));
        }
        for class in &query.classes {
            filters.push(Box::new(Span::of_word(self.table(BY_CLASS)?, class.clone())));
        }
        if let Some(color) = &query.color {
            let mut colors: Vec<Box<dyn Cursor>> = Vec::new();
            for name in self.color_names_containing(color)? {
                colors.push(Box::new(Span::of_word(self.table(BY_COLOR)?, name)));
            }
            if colors.is_empty() {
                return Ok(None);
            }
            filters.push(Box::new(AnyOf(colors)));
        }
        match query.status {
            None => {}
            Some(Status::Open) => filters.push(Box::new(self.open_sessions()?)),
            Some(Status::Closed) => filters.push(Box::new(AnyOf(self.closed_sessions(SessionKey::MIN)?))),
        }
        Ok(Some(filters))
    }

    /// Names of colours that hold `part`, whatever the case. There are few names.
    fn color_names_containing(&self, part: &str) -> Result<Vec<String>, StoreError> {
        let part = part.to_lowercase();
        let colors = self.table(BY_COLOR)?;
        let mut names = Vec::new();
        let mut next = colors.first()?.map(|(first, _)| first.value().0.to_owned());
        while let Some(name) = next {
            // On to the first entry of the next name.
            let mut behind = colors.range((name.as_str(), i64::MAX, u64::MAX)..)?;
            next = behind.next().transpose()?.map(|(first, _)| first.value().0.to_owned());
            if name.contains(&part) {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn all_sessions(&self) -> Result<Span, StoreError> {
        let table = self.table(SESSIONS)?;
        Ok(Span::new(move |bound| -> Result<Keys, StoreError> {
            Ok(Box::new(table.range(..=raw(bound))?.rev().map(|entry| Ok(key(entry?.0.value())))))
        }))
    }

    fn open_sessions(&self) -> Result<Span, StoreError> {
        let table = self.table(OPEN_SESSIONS)?;
        Ok(Span::new(move |bound| -> Result<Keys, StoreError> {
            Ok(Box::new(table.range(..=raw(bound))?.rev().map(|entry| Ok(key(entry?.0.value())))))
        }))
    }

    /// A cursor for each class of duration that occurs, down to the lowest key that reaches `from`.
    fn closed_sessions(&self, from: SessionKey) -> Result<Vec<Box<dyn Cursor>>, StoreError> {
        let table = self.table(CLOSED_SESSIONS)?;
        let mut cursors: Vec<Box<dyn Cursor>> = Vec::new();
        let mut next = table.first()?.map(|(first, _)| first.value().0);
        while let Some(class) = next {
            let lowest = if from == SessionKey::MIN {
                from
            } else {
                SessionKey { start: length::lowest_reaching(class, from.start), number: 0 }
            };
            let table = self.table(CLOSED_SESSIONS)?;
            next = table.range((class + 1, i64::MIN, 0)..)?.next().transpose()?.map(|(first, _)| first.value().0);
            cursors.push(Box::new(Span::new(move |bound| -> Result<Keys, StoreError> {
                if bound < lowest {
                    return Ok(Box::new(std::iter::empty()));
                }
                let range = table.range((class, lowest.start, lowest.number)..=(class, bound.start, bound.number))?;
                Ok(Box::new(range.rev().map(|entry| {
                    let (_, start, number) = entry?.0.value();
                    Ok(SessionKey { start, number })
                })))
            })));
        }
        Ok(cursors)
    }

    /// Sessions that began before `from` and may have lasted until then: the open ones, and of each
    /// class of duration those that began less than that duration before. An index on the start alone
    /// would read everything below `from` once one session was never closed.
    fn reaching(&self, from: SessionKey) -> Result<AnyOf, StoreError> {
        let mut cursors = self.closed_sessions(from)?;
        cursors.push(Box::new(self.open_sessions()?));
        Ok(AnyOf(cursors))
    }
}
