//! The sync's life: connect, push, pull, wait; and when something fails, wait longer.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio_postgres::Client;

use crate::domain::ids::SessionId;
use crate::service::{Service, ServiceError};
use crate::store::Change;

use super::connection::connect;
use super::detections::How;
use super::frames::Frames;
use super::limit::Limit;
use super::pull::Puller;
use super::push::{Batch, Pusher};
use super::touches::Touches;
use super::trouble::Trouble;
use super::{Settings, place, schema, set_aside};

/// Entries of the feed in one transaction.
const PAGE: usize = 1000;
/// The first wait after a failure; it doubles.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// The longest.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// A connection that has lived so long begins to wait from the first again.
const GOOD_FOR: Duration = Duration::from_secs(30);
/// Rows that are to be tried again are looked for so often.
const RETRY_EVERY: Duration = Duration::from_secs(5);
/// Live changes further behind than this are part of the backlog.
const LIVE_BEHIND: u64 = 10_000;
/// Copies of frames deleted at once.
const BEATEN_AT_ONCE: i64 = 500;

/// Syncs until the service stops.
pub async fn run(service: Service, settings: Settings) {
    let stop = service.clone();
    tokio::select! {
        () = Worker::new(service, settings).live() => {}
        () = stop.stopped() => {}
    }
}

struct Worker {
    service: Service,
    settings: Settings,
    frames: Frames,
    limit: Limit,
    puller: Puller,
    foreign: HashSet<SessionId>,
    /// Whether the present failure was told.
    told: Option<String>,
    /// Up to where all is central, as far as this process knows.
    place: u64,
    /// Since when something was not central.
    behind_since: Instant,
}

impl Worker {
    fn new(service: Service, settings: Settings) -> Self {
        Self {
            frames: Frames::new(settings.frames.clone(), service.clone()),
            limit: Limit::new(settings.window, settings.bytes_per_hour),
            puller: Puller::new(settings.pull_interval, settings.sweep_interval),
            foreign: HashSet::new(),
            told: None,
            place: 0,
            behind_since: Instant::now(),
            service,
            settings,
        }
    }

    async fn live(mut self) {
        let shown = self.settings.address.shown.clone();
        self.service.report_central(|central| {
            central.server = shown;
            central.state = "connecting";
        });
        let mut wait = FIRST_WAIT;
        loop {
            self.wait_for_link().await;
            let begun = Instant::now();
            let Err(trouble) = self.connected().await else { continue };
            if begun.elapsed() >= GOOD_FOR {
                wait = FIRST_WAIT;
            }
            self.tell(&trouble).await;
            // Between a half and the whole: a thousand gateways must not come back in one moment.
            let part = u32::from(uuid::Uuid::new_v4().as_bytes()[0]);
            tokio::time::sleep(wait / 2 + wait / 2 * part / 255).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// Told once, when it changes, not with each try.
    async fn tell(&mut self, trouble: &Trouble) {
        let text = trouble.to_string();
        if self.told.is_none() {
            let server = &self.settings.address.shown;
            match trouble {
                Trouble::Moved => tracing::warn!(server, "{text}: going on from there"),
                _ => tracing::warn!(server, "the central database cannot be used: {text}; trying on"),
            }
        }
        self.told = Some(text.clone());
        self.report_lag(None).await;
        self.service.report_central(|central| {
            central.state = "unreachable";
            central.last_error = Some(text);
        });
    }

    fn tell_good(&mut self) {
        if self.told.take().is_some() {
            tracing::info!(server = self.settings.address.shown, "the central database can be used again");
        }
        self.service.report_central(|central| central.last_error = None);
    }

    async fn wait_for_link(&mut self) {
        while let Some(wait) = self.limit.wait() {
            self.service.report_central(|central| central.state = "waiting");
            self.report_lag(None).await;
            tokio::time::sleep(wait.min(Duration::from_secs(30))).await;
        }
    }

    /// Tells how far behind the central database is; `place` where that was just learnt.
    async fn report_lag(&mut self, place: Option<u64>) {
        let Ok(head) = self.service.feed_head().await else { return };
        if place.is_some_and(|place| place >= head) {
            self.behind_since = Instant::now();
        }
        self.place = place.unwrap_or(self.place);
        let rows = head.saturating_sub(self.place);
        let seconds = self.behind_since.elapsed().as_secs();
        self.service.report_central(|central| {
            central.lag_rows = rows;
            central.lag_seconds = seconds;
        });
    }

    /// Works over one connection until something fails; returns without trouble where the link must rest.
    async fn connected(&mut self) -> Result<(), Trouble> {
        let (uuid, epoch) = self.service.identity().await?;
        let gateway = self.settings.gateway_id.clone().unwrap_or_else(|| uuid.clone());
        let mut client = connect(&self.settings.address).await?;
        schema::prepare(&mut client).await?;
        let head = self.service.feed_head().await?;
        let place = place::load(&mut client, &gateway, &uuid, &epoch, head, self.frames.word()).await?;
        let mut committed = u64::try_from(place.committed).unwrap_or(0);
        if !self.service.has_feed_place(committed).await? {
            tracing::warn!("deletions were forgotten since the central database was last reached: all is compared anew");
            committed = 0;
        }
        {
            let gateway = gateway.clone();
            self.service.report_central(move |central| central.gateway_id = gateway);
        }
        let how = How {
            re_enrich: self.settings.re_enrich,
            guard: self.settings.enrich_guard,
            deletes_pictures: !self.frames.are_blind(),
        };
        let pusher =
            Pusher::new(&mut client, self.service.clone(), self.frames.clone(), how, self.settings.deletes, place).await?;
        self.puller.begin_anew();
        if committed == 0 {
            // All are claimed anew.
            self.foreign.clear();
            self.service.report_central(|central| central.foreign_sessions = 0);
        }
        let mut connected = Connected {
            touches: Touches::new(self.settings.touch_interval),
            // What is there now is the backlog; what comes from now on does not wait for it.
            backlog: committed,
            backlog_end: head,
            live: head.max(committed),
            epoch,
            gateway,
            pusher,
            retry: Instant::now(),
            ahead: None,
        };
        loop {
            let is_done = connected.step(self).await?;
            self.tell_good();
            let place = connected.place();
            self.report_lag(Some(place)).await;
            let state = if connected.backlog < connected.backlog_end { "catching up" } else { "up to date" };
            self.service.report_central(|central| central.state = state);
            if self.limit.wait().is_some() {
                return Ok(());
            }
            if is_done {
                connected.rest(self).await?;
            }
        }
    }
}

/// The state of one connection.
struct Connected<'c> {
    pusher: Pusher<'c>,
    touches: Touches,
    epoch: String,
    gateway: String,
    /// How far the backlog is pushed …
    backlog: u64,
    /// … and where it ends.
    backlog_end: u64,
    /// How far what came since is pushed.
    live: u64,
    /// When rows that are to be tried again are looked for.
    retry: Instant,
    /// The backlog's next page, read while the one before was being written, and behind which number it begins.
    ahead: Option<(u64, Reading)>,
}

/// Changes by their numbers, and where to go on.
type Page = (Vec<(u64, Change)>, u64);
/// A page of the feed that is being read.
type Reading = JoinHandle<Result<Page, ServiceError>>;

async fn page(service: Service, since: u64) -> Result<Page, ServiceError> {
    let page = service.feed_page(since, PAGE).await?;
    Ok((page.changes, page.next))
}

impl Connected<'_> {
    /// Up to where all is central, but for touches that wait.
    fn reached(&self) -> u64 {
        if self.backlog < self.backlog_end { self.backlog } else { self.live }
    }

    /// Up to where all is central.
    fn place(&self) -> u64 {
        let reached = self.reached();
        self.touches.lowest().map_or(reached, |lowest| reached.min(lowest.saturating_sub(1)))
    }

    /// Does a little of everything that there is to do; says whether there was nothing more.
    async fn step(&mut self, worker: &mut Worker) -> Result<bool, Trouble> {
        if worker.puller.is_due() {
            self.pull(worker).await?;
        }
        self.retry(worker).await?;
        let mut is_done = true;
        // What comes now first …
        let head = worker.service.feed_head().await?;
        if self.backlog >= self.backlog_end && head.saturating_sub(self.live) > LIVE_BEHIND {
            (self.backlog, self.backlog_end, self.live) = (self.live, head, head);
        }
        if head > self.live {
            // The page that was read ahead may hold what is older than what is pushed now.
            self.ahead = None;
            let (batch, next) = self.read(worker, self.live, u64::MAX).await?;
            self.live = next;
            self.push(worker, batch).await?;
            is_done &= self.live >= head;
        }
        // … then the backlog …
        if self.backlog < self.backlog_end {
            let (batch, next) = self.read(worker, self.backlog, self.backlog_end).await?;
            self.backlog = next;
            if next < self.backlog_end {
                let reading = tokio::spawn(page(worker.service.clone(), next));
                self.ahead = Some((next, reading));
            }
            self.push(worker, batch).await?;
            is_done &= self.backlog >= self.backlog_end;
        }
        // … and touches that have waited.
        let due = self.touches.due(PAGE);
        if !due.is_empty() {
            self.ahead = None;
            let found = worker.service.detections_called(due.clone()).await?;
            let there: HashSet<_> = found.iter().map(|(id, detection)| (id.clone(), detection.track.clone())).collect();
            due.iter().filter(|key| !there.contains(*key)).for_each(|key| self.touches.forget(key));
            self.push(worker, Batch { detections: found, ..Batch::default() }).await?;
            is_done = false;
        }
        let place = self.place();
        if i64::try_from(place).is_ok_and(|place| place != self.pusher.place.committed) {
            self.push(worker, Batch::default()).await?;
        }
        Ok(is_done)
    }

    async fn pull(&mut self, worker: &mut Worker) -> Result<(), Trouble> {
        let Worker { puller, service, frames, limit, .. } = worker;
        puller.pull(self.pusher.client, &self.gateway, service, frames, limit).await?;
        delete_beaten(self.pusher.client, &self.gateway, frames).await
    }

    /// Waits for something to do.
    async fn rest(&mut self, worker: &mut Worker) -> Result<(), Trouble> {
        let mut wait = worker.puller.wait().min(RETRY_EVERY);
        if let Some(due) = self.touches.next_due() {
            wait = wait.min(due);
        }
        // A connection that has died in the meantime is noticed with the next statement.
        match worker.service.changes(self.live, Some(self.epoch.clone()), 1, wait).await {
            Ok(_) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn push(&mut self, worker: &mut Worker, batch: Batch) -> Result<(), Trouble> {
        let to = self.place();
        self.pusher.push(batch, Some(to), &mut worker.foreign, &mut self.touches, &mut worker.limit).await
    }

    /// A page of the feed behind `since`, up to `until`, without touches that may wait; and where to go on.
    async fn read(&mut self, worker: &Worker, since: u64, until: u64) -> Result<(Batch, u64), Trouble> {
        let (changes, next) = match self.ahead.take_if(|(begin, _)| *begin == since) {
            Some((_, reading)) => reading.await.map_err(|error| Trouble::Store(error.to_string()))??,
            None => page(worker.service.clone(), since).await?,
        };
        let mut batch = Batch::default();
        for (seq, change) in changes {
            if seq > until {
                break;
            }
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
        Ok((batch, next.min(until)))
    }

    /// Pushes again what was set aside, where that is asked for.
    async fn retry(&mut self, worker: &mut Worker) -> Result<(), Trouble> {
        if self.retry > Instant::now() {
            return Ok(());
        }
        self.retry = Instant::now() + RETRY_EVERY;
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
        self.ahead = None;
        self.push(worker, Batch { sessions, detections, deleted: Vec::new() }).await
    }
}

/// Deletes copies of frames that no row names any more.
async fn delete_beaten(client: &Client, gateway: &str, frames: &Frames) -> Result<(), Trouble> {
    if frames.are_blind() {
        return Ok(());
    }
    let rows = client
        .query(
            "SELECT b.url_frame FROM session_store.beaten_frames b WHERE b.gateway_id = $1 LIMIT $2",
            &[&gateway, &BEATEN_AT_ONCE],
        )
        .await?;
    if rows.is_empty() {
        return Ok(());
    }
    let gone = frames.delete(rows.iter().map(|row| row.get(0)).collect()).await?;
    client
        .execute("DELETE FROM session_store.beaten_frames WHERE gateway_id = $1 AND url_frame = ANY($2)", &[&gateway, &gone])
        .await?;
    Ok(())
}
