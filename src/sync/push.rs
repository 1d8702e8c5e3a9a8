//! From the change feed into rows.

use std::collections::{HashMap, HashSet};

use tokio_postgres::{Client, Statement};

use crate::domain::detection::Detection;
use crate::domain::ids::SessionId;
use crate::domain::session::Session;
use crate::domain::wire::{DetectionJson, Form, SessionJson};
use crate::service::Service;
use crate::service::central::Patched;

use super::detections::{How, Row};
use super::frames::Frames;
use super::limit::Limit;
use super::place::{ADVANCE, Place, Reached};
use super::set_aside::{self, Key};
use super::touches::Touches;
use super::trouble::Trouble;
use super::{detections, sessions};

/// Sessions whose owner is remembered.
const MAX_KNOWN: usize = 20_000;
/// Foreign sessions that are told of.
const MAX_FOREIGN: usize = 10_000;

/// A transaction of this gateway's: what it wrote need not come back.
const NOTE: &str = "
INSERT INTO session_store.pushes (gateway_id, xid) VALUES ($1, pg_current_xact_id()::text::bigint % 4294967296)
ON CONFLICT (gateway_id, xid) DO UPDATE SET at = now()";

/// What is to be written.
#[derive(Default)]
pub struct Batch {
    /// Sessions, as they now are.
    pub sessions: Vec<Session>,
    /// Detections, as they now are.
    pub detections: Vec<(SessionId, Detection)>,
    /// Sessions that are no more.
    pub deleted: Vec<SessionId>,
}

impl Batch {
    /// How many rows it is about.
    pub fn len(&self) -> usize {
        self.sessions.len() + self.detections.len() + self.deleted.len()
    }
}

/// A piece of a batch.
#[derive(Clone)]
enum Item {
    Deleted(SessionId),
    Session(Box<Session>),
    Detection(Box<Row>),
}

impl Item {
    fn key(&self) -> Key {
        match self {
            Self::Deleted(id) => Key { session: id.clone(), track: None },
            Self::Session(session) => Key { session: session.id.clone(), track: None },
            Self::Detection(row) => Key { session: row.session.clone(), track: Some(row.detection.track.clone()) },
        }
    }

    /// The row as text, for whoever looks at what was set aside.
    fn text(&self) -> String {
        let text = match self {
            Self::Deleted(id) => Ok(id.to_string()),
            Self::Session(session) => serde_json::to_string(&SessionJson(session.as_ref(), Form::Export)),
            Self::Detection(row) => serde_json::to_string(&DetectionJson(&row.session, &row.detection, Form::Export, None)),
        };
        text.unwrap_or_default()
    }
}

/// About how many bytes they are on the wire.
fn bytes(items: &[Item]) -> usize {
    items.iter().map(|item| if let Item::Detection(row) = item { row.bytes() } else { 400 }).sum()
}

/// Writes batches over one connection.
pub struct Pusher<'c> {
    /// The connection.
    pub client: &'c mut Client,
    service: Service,
    frames: Frames,
    how: How,
    deletes: bool,
    /// Where this gateway is.
    pub place: Place,
    note: Statement,
    advance: Statement,
    sessions: sessions::Statements,
    detections: detections::Statements,
    /// Whether a session is this gateway's.
    owned: HashMap<SessionId, bool>,
    /// How many rows are set aside.
    set_aside: u64,
    /// What was set aside of the rows that are being written.
    refused: HashSet<Key>,
}

impl<'c> Pusher<'c> {
    /// Over `client`, from `place` on.
    pub async fn new(
        client: &'c mut Client,
        service: Service,
        frames: Frames,
        how: How,
        deletes: bool,
        place: Place,
    ) -> Result<Self, Trouble> {
        let detections = detections::Statements::prepare(client).await?;
        let sessions = sessions::Statements::prepare(client).await?;
        let note = client.prepare(NOTE).await?;
        let advance = client.prepare(ADVANCE).await?;
        let set_aside = set_aside::count(client, &place.gateway).await?;
        let new = Self {
            client,
            service,
            frames,
            how,
            deletes,
            place,
            note,
            advance,
            sessions,
            detections,
            owned: HashMap::new(),
            set_aside,
            refused: HashSet::new(),
        };
        new.report_set_aside();
        Ok(new)
    }

    fn report_set_aside(&self) {
        let count = self.set_aside;
        self.service.report_central(|central| central.set_aside = count);
    }

    /// Takes rows back in that are about to be pushed again.
    pub async fn forget_set_aside(&mut self, keys: &[Key]) -> Result<(), Trouble> {
        set_aside::clear(self.client, &self.place.gateway, keys).await?;
        self.set_aside = set_aside::count(self.client, &self.place.gateway).await?;
        self.report_set_aside();
        Ok(())
    }

    /// Writes `batch`, and with it that all up to `to` is central. A row that is refused is set aside.
    pub async fn push(
        &mut self,
        batch: Batch,
        to: Reached,
        foreign: &mut HashSet<SessionId>,
        touches: &mut Touches,
        limit: &mut Limit,
    ) -> Result<(), Trouble> {
        let to = Some(to).filter(|to| *to != self.place.committed);
        if batch.len() == 0 && to.is_none() {
            return Ok(());
        }
        if self.owned.len() > MAX_KNOWN {
            self.owned.clear();
        }
        let items = self.items(batch, limit).await?;
        self.refused.clear();
        match self.write(&items, to, foreign).await {
            Err(Trouble::Row(_)) => self.isolate(items.clone(), to, foreign, limit).await?,
            Err(Trouble::Orphan(_)) => {
                // Somebody deleted sessions centrally: with their detections they come again.
                self.owned.clear();
                let again = self.with_sessions(items.clone()).await?;
                limit.use_bytes(bytes(&again));
                match self.write(&again, to, foreign).await {
                    Err(Trouble::Row(_) | Trouble::Orphan(_)) => self.isolate(again, to, foreign, limit).await?,
                    other => other?,
                }
            }
            other => other?,
        }
        let mut patched: Vec<Patched> = Vec::new();
        for item in &items {
            if let Item::Detection(row) = item {
                touches.pushed(&row.session, &row.detection);
                // By the number that was read with it: a newer note stays.
                if let Some(seq) = row.patched.filter(|_| !self.refused.contains(&item.key())) {
                    patched.push((row.session.clone(), row.detection.track.clone(), seq));
                }
            }
        }
        self.service.forget_patched(patched).await?;
        let count = items.len() as u64;
        self.service.report_central(|central| central.pushed += count);
        Ok(())
    }

    /// The batch in pieces, with the sessions that its detections need and with the pictures delivered.
    async fn items(&mut self, batch: Batch, limit: &mut Limit) -> Result<Vec<Item>, Trouble> {
        let tracks: Vec<_> = batch.detections.iter().map(|(id, detection)| (id.clone(), detection.track.clone())).collect();
        let patched = self.service.patched_of(tracks).await?;
        let mut patched: HashMap<_, _> = patched.into_iter().map(|(id, track, seq)| ((id, track), seq)).collect();
        // Of another gateway's session none is named, so none is delivered.
        let is_foreign = |id: &SessionId| self.owned.get(id) == Some(&false);
        let pictures: Vec<_> = batch
            .detections
            .iter()
            .filter(|(id, _)| !is_foreign(id))
            .filter_map(|(id, detection)| Some((id.clone(), detection.track.clone(), detection.picture.as_ref()?.file.clone())))
            .collect();
        let mut delivered = self.frames.deliver(pictures).await?.into_iter();
        let mut items: Vec<Item> = batch.deleted.into_iter().map(Item::Deleted).collect();
        items.extend(batch.sessions.into_iter().map(Box::new).map(Item::Session));
        for (session, detection) in batch.detections {
            let file = detection.picture.as_ref().map(|picture| picture.file.as_str());
            let is_undelivered = match file {
                Some(_) if !is_foreign(&session) => !delivered.next().unwrap_or(false),
                _ => true,
            };
            let url_frame = file.map(|file| self.frames.url(&session, &detection.track, file));
            let patched = if patched.is_empty() { None } else { patched.remove(&(session.clone(), detection.track.clone())) };
            items.push(Item::Detection(Box::new(Row { session, detection, url_frame, is_undelivered, patched })));
        }
        let items = self.with_sessions(items).await?;
        limit.use_bytes(bytes(&items));
        Ok(items)
    }

    /// Adds the sessions that are not known to be there, before all; leaves out what has none here any more.
    async fn with_sessions(&mut self, items: Vec<Item>) -> Result<Vec<Item>, Trouble> {
        let there: HashSet<&SessionId> =
            items.iter().filter_map(|item| if let Item::Session(session) = item { Some(&session.id) } else { None }).collect();
        let mut needed: HashSet<SessionId> = HashSet::new();
        for item in &items {
            if let Item::Detection(row) = item
                && !there.contains(&row.session)
                && !self.owned.contains_key(&row.session)
            {
                needed.insert(row.session.clone());
            }
        }
        if needed.is_empty() {
            return Ok(items);
        }
        let mut needed: Vec<_> = needed.into_iter().collect();
        needed.sort();
        let found = self.service.sessions_called(needed.clone()).await?;
        let known: HashSet<SessionId> = found.iter().map(|session| session.id.clone()).collect();
        let gone: HashSet<SessionId> = needed.into_iter().filter(|id| !known.contains(id)).collect();
        let mut all: Vec<Item> = found.into_iter().map(Box::new).map(Item::Session).collect();
        all.extend(items.into_iter().filter(|item| !matches!(item, Item::Detection(row) if gone.contains(&row.session))));
        Ok(all)
    }

    /// Writes `items` in one transaction.
    async fn write(&mut self, items: &[Item], to: Option<Reached>, foreign: &mut HashSet<SessionId>) -> Result<(), Trouble> {
        let mut all: Vec<&Session> = Vec::new();
        let mut rows: Vec<&Row> = Vec::new();
        let mut deleted: Vec<SessionId> = Vec::new();
        for item in items {
            match item {
                Item::Deleted(id) => deleted.push(id.clone()),
                Item::Session(session) => all.push(session),
                Item::Detection(row) => rows.push(row),
            }
        }
        // In one order, so that two gateways that claim the same do not wait for each other; each once.
        all.sort_by(|a, b| a.id.cmp(&b.id));
        all.dedup_by(|a, b| a.id == b.id);
        rows.sort_by(|a, b| (&a.session, &a.detection.track).cmp(&(&b.session, &b.detection.track)));
        rows.dedup_by(|a, b| a.session == b.session && a.detection.track == b.detection.track);
        let gateway = self.place.gateway.as_str();
        let tx = self.client.transaction().await?;
        if !items.is_empty() {
            tx.execute(&self.note, &[&gateway]).await?;
        }
        if self.deletes && !deleted.is_empty() {
            sessions::delete(&tx, gateway, &deleted, self.how.sees).await?;
        }
        let unknown: Vec<&Session> = all.iter().copied().filter(|session| !self.owned.contains_key(&session.id)).collect();
        let mut claimed = Vec::new();
        if !unknown.is_empty() {
            let mine = self.sessions.claim(&tx, gateway, &unknown).await?;
            claimed = unknown.iter().map(|session| (session.id.clone(), mine.contains(session.id.as_str()))).collect();
        }
        let fresh: HashMap<&SessionId, bool> = claimed.iter().map(|(id, mine)| (id, *mine)).collect();
        let is_mine = |id: &SessionId| fresh.get(id).or_else(|| self.owned.get(id)).copied().unwrap_or(true);
        all.retain(|session| is_mine(&session.id));
        rows.retain(|row| is_mine(&row.session));
        if !all.is_empty() {
            self.sessions.write(&tx, &all).await?;
        }
        if !rows.is_empty() {
            self.detections.write(&tx, gateway, &rows, self.how).await?;
        }
        if self.set_aside > 0 && !items.is_empty() {
            let keys: Vec<Key> = items.iter().map(Item::key).collect();
            set_aside::clear(&tx, gateway, &keys).await?;
        }
        if let Some(to) = to {
            self.place.advance(&tx, &self.advance, to).await?;
        }
        tx.commit().await?;
        if let Some(to) = to {
            self.place.committed = to;
        }
        let strangers = claimed.iter().filter(|(_, mine)| !mine).map(|(id, _)| id.clone());
        tell_foreign(&self.service, foreign, strangers.collect());
        for id in &deleted {
            self.owned.remove(id);
        }
        self.owned.extend(claimed);
        if self.set_aside > 0 && !items.is_empty() {
            self.set_aside = set_aside::count(self.client, &self.place.gateway).await?;
            self.report_set_aside();
        }
        Ok(())
    }

    /// Finds the rows at fault by halves, writes the others and sets those aside.
    async fn isolate(
        &mut self,
        items: Vec<Item>,
        to: Option<Reached>,
        foreign: &mut HashSet<SessionId>,
        limit: &mut Limit,
    ) -> Result<(), Trouble> {
        let mut pieces = vec![items];
        while let Some(mut piece) = pieces.pop() {
            limit.use_bytes(bytes(&piece));
            match self.write(&piece, None, foreign).await {
                Ok(()) => {}
                Err(Trouble::Row(error) | Trouble::Orphan(error)) if piece.len() <= 1 => {
                    let Some(item) = piece.pop() else { return Err(Trouble::Away(error)) };
                    let key = item.key();
                    tracing::warn!(error, session = %key.session, "the central database refuses a row; it is set aside");
                    set_aside::put(self.client, &self.place.gateway, &key, &error, &item.text()).await?;
                    self.refused.insert(key);
                    self.set_aside += 1;
                    self.report_set_aside();
                }
                // The first half first: sessions stand before their detections.
                Err(Trouble::Row(_) | Trouble::Orphan(_)) => {
                    let second = piece.split_off(piece.len() / 2);
                    pieces.push(second);
                    pieces.push(piece);
                }
                Err(other) => return Err(other),
            }
        }
        self.write(&[], to, foreign).await
    }
}

fn tell_foreign(service: &Service, foreign: &mut HashSet<SessionId>, fresh: Vec<SessionId>) {
    let fresh: Vec<_> = fresh.into_iter().filter(|id| !foreign.contains(id)).collect();
    let Some(first) = fresh.first() else { return };
    tracing::warn!(
        session = %first,
        count = fresh.len(),
        "sessions belong to another gateway in the central database, which had them first; they are not pushed"
    );
    foreign.extend(fresh.into_iter().take(MAX_FOREIGN.saturating_sub(foreign.len())));
    let count = foreign.len() as u64;
    service.report_central(|central| central.foreign_sessions = count);
}
