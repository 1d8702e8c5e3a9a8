//! One connection's work: live changes, the backlog, touches that have waited, pictures, and what comes back, each in its turn.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use tokio_postgres::Client;

use crate::store::Change;

use super::backlog::{Backlog, PAGE, page};
use super::frames::{Frames, delete_copies};
use super::place::Reached;
use super::push::{Batch, Pusher};
use super::send::Sender;
use super::set_aside;
use super::touches::Touches;
use super::trouble::Trouble;
use super::worker::Worker;

/// Rows that are to be tried again are looked for so often.
const RETRY_EVERY: Duration = Duration::from_secs(5);
/// About what that costs.
const RETRY_BYTES: usize = 1000;
/// Live changes further behind than this are part of the backlog.
const LIVE_BEHIND: u64 = 10_000;
/// Copies of frames deleted at once.
const BEATEN_AT_ONCE: i64 = 500;

/// The state of one connection.
pub struct Connected<'c> {
    pusher: Pusher<'c>,
    sender: Sender,
    touches: Touches,
    epoch: String,
    gateway: String,
    backlog: Backlog,
    /// How far what came since is pushed.
    live: u64,
    /// When rows that are to be tried again are looked for.
    retry: Instant,
    /// How long the next picture waits.
    frames_wait: Option<Duration>,
}

impl<'c> Connected<'c> {
    /// Pushes `backlog`, and what comes behind `live`.
    pub async fn new(
        pusher: Pusher<'c>,
        backlog: Backlog,
        live: u64,
        epoch: String,
        gateway: String,
        touch_interval: Duration,
    ) -> Result<Self, Trouble> {
        let sender = Sender::new(pusher.client).await?;
        let (touches, retry) = (Touches::new(touch_interval), Instant::now());
        Ok(Self { pusher, sender, touches, epoch, gateway, backlog, live, retry, frames_wait: None })
    }

    /// Whether there is a backlog.
    pub fn is_behind(&self) -> bool {
        !self.backlog.is_done()
    }

    /// Up to where all is central.
    pub fn place(&self) -> u64 {
        self.but_for_touches(if self.is_behind() { self.backlog.all() } else { self.live })
    }

    /// Up to where what goes first is central.
    fn first_place(&self) -> u64 {
        if self.is_behind() { self.but_for_touches(self.backlog.first()) } else { self.place() }
    }

    /// A crash must forget none that waits.
    fn but_for_touches(&self, place: u64) -> u64 {
        self.touches.lowest().map_or(place, |lowest| place.min(lowest.saturating_sub(1)))
    }

    /// Does a little of everything that there is to do; says whether there was nothing more.
    pub async fn step(&mut self, worker: &mut Worker) -> Result<bool, Trouble> {
        if worker.puller.is_due() {
            self.pull(worker).await?;
        }
        self.retry(worker).await?;
        let mut is_done = true;
        // What comes now first …
        let head = worker.service.feed_head().await?;
        if !self.is_behind() && head.saturating_sub(self.live) > LIVE_BEHIND {
            self.backlog.begin(self.live, head);
            self.live = head;
        }
        if head > self.live {
            self.backlog.forget_ahead();
            let (changes, next) = page(worker.service.clone(), self.live).await?;
            let batch = self.batch(worker, changes).await?;
            self.live = next;
            self.push(worker, batch).await?;
            is_done &= self.live >= head;
        }
        // … then the backlog …
        if self.is_behind() {
            let changes = self.backlog.next(&worker.service).await?;
            let batch = self.batch(worker, changes).await?;
            self.push(worker, batch).await?;
            is_done &= !self.is_behind();
        }
        // … touches that have waited …
        let due = self.touches.due(PAGE);
        if !due.is_empty() {
            self.backlog.forget_ahead();
            let found = worker.service.detections_called(due.clone()).await?;
            let there: HashSet<_> = found.iter().map(|(id, detection)| (id.clone(), detection.track.clone())).collect();
            due.iter().filter(|key| !there.contains(*key)).for_each(|key| self.touches.forget(key));
            self.push(worker, Batch { detections: found, ..Batch::default() }).await?;
            is_done = false;
        }
        self.push(worker, Batch::default()).await?;
        // … and pictures.
        self.frames_wait = None;
        if is_done && worker.frames.are_sent() {
            let Worker { service, limit, .. } = worker;
            self.frames_wait = self.sender.step(self.pusher.client, &self.gateway, service, limit).await?;
            is_done = self.frames_wait.is_none_or(|wait| !wait.is_zero());
        }
        Ok(is_done)
    }

    async fn pull(&mut self, worker: &mut Worker) -> Result<(), Trouble> {
        let Worker { puller, service, frames, limit, .. } = worker;
        puller.pull(self.pusher.client, &self.gateway, service, frames, limit).await?;
        delete_beaten(self.pusher.client, &self.gateway, frames).await
    }

    /// Waits for something to do.
    pub async fn rest(&mut self, worker: &mut Worker) -> Result<(), Trouble> {
        let mut wait = worker.puller.wait().min(RETRY_EVERY);
        for due in [self.touches.next_due(), self.frames_wait].into_iter().flatten() {
            wait = wait.min(due);
        }
        // A connection that has died in the meantime is noticed with the next statement.
        match worker.service.changes(self.live, Some(self.epoch.clone()), 1, wait).await {
            Ok(_) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn push(&mut self, worker: &mut Worker, batch: Batch) -> Result<(), Trouble> {
        if !batch.detections.is_empty() {
            self.sender.look_again();
        }
        let to = Reached::new(self.place(), self.first_place());
        self.pusher.push(batch, to, &mut worker.foreign, &mut self.touches, &mut worker.limit).await
    }

    /// What is to be written of `changes`, without touches that may wait.
    async fn batch(&mut self, worker: &Worker, changes: Vec<(u64, Change)>) -> Result<Batch, Trouble> {
        let mut batch = Batch::default();
        for (seq, change) in changes {
            match change {
                Change::Session(session) => batch.sessions.push(session),
                Change::Detection(id, detection) => {
                    if !self.touches.holds(&id, &detection, seq) {
                        batch.detections.push((id, detection));
                    }
                }
                Change::SessionDeleted(id) => batch.deleted.push(id),
            }
        }
        if !batch.deleted.is_empty() {
            // One of the same name that is there now is another.
            let there = worker.service.sessions_called(batch.deleted.clone()).await?;
            batch.deleted.retain(|id| there.iter().all(|session| session.id != *id));
        }
        Ok(batch)
    }

    /// Pushes again what was set aside, where that is asked for.
    async fn retry(&mut self, worker: &mut Worker) -> Result<(), Trouble> {
        if self.retry > Instant::now() {
            return Ok(());
        }
        let wait = RETRY_EVERY.max(worker.limit.ask(RETRY_BYTES));
        self.retry = Instant::now().checked_add(wait).unwrap_or(self.retry);
        self.pusher.place.check(self.pusher.client).await?;
        let keys = set_aside::to_retry(self.pusher.client, &self.gateway, 1000).await?;
        if keys.is_empty() {
            return Ok(());
        }
        let ids = keys.iter().filter(|key| key.track.is_none()).map(|key| key.session.clone()).collect();
        let tracks = keys.iter().filter_map(|key| Some((key.session.clone(), key.track.clone()?))).collect();
        let sessions = worker.service.sessions_called(ids).await?;
        let detections = worker.service.detections_called(tracks).await?;
        self.pusher.forget_set_aside(&keys).await?;
        self.backlog.forget_ahead();
        self.push(worker, Batch { sessions, detections, deleted: Vec::new() }).await
    }
}

/// Deletes copies of frames that no row names any more, where this gateway made them itself.
async fn delete_beaten(client: &Client, gateway: &str, frames: &Frames) -> Result<(), Trouble> {
    let Some(shared) = frames.shared() else { return Ok(()) };
    let rows = client
        .query("SELECT url_frame FROM session_store.beaten_frames WHERE gateway_id = $1 LIMIT $2", &[&gateway, &BEATEN_AT_ONCE])
        .await?;
    if rows.is_empty() {
        return Ok(());
    }
    let urls: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    delete_copies(shared.to_owned(), urls.clone()).await?;
    client
        .execute("DELETE FROM session_store.beaten_frames WHERE gateway_id = $1 AND url_frame = ANY($2)", &[&gateway, &urls])
        .await?;
    Ok(())
}
