//! The sync's life: connect, push, pull, wait; and when something fails, wait longer.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use crate::domain::ids::SessionId;
use crate::service::Service;

use super::backlog::Backlog;
use super::connected::Connected;
use super::connection::connect;
use super::detections::How;
use super::frames::Frames;
use super::limit::Limit;
use super::pull::Puller;
use super::push::Pusher;
use super::trouble::Trouble;
use super::{Settings, place, schema};

/// The first wait after a failure; it doubles.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// The longest.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// A connection that has lived so long begins to wait from the first again.
const GOOD_FOR: Duration = Duration::from_secs(30);
/// Where the link may be used again so soon, the connection is kept.
const KEEP_FOR: Duration = Duration::from_secs(20);
/// About what a connection costs before it carries the first row.
const CONNECTING_BYTES: usize = 20_000;

/// Syncs until the service stops.
pub async fn run(service: Service, settings: Settings) {
    let stop = service.clone();
    tokio::select! {
        () = Worker::new(service, settings).live() => {}
        () = stop.stopped() => {}
    }
}

/// What outlives a connection.
pub struct Worker {
    /// The gateway's own side.
    pub service: Service,
    settings: Settings,
    /// How pictures get there.
    pub frames: Frames,
    /// What may be used of the link.
    pub limit: Limit,
    /// The way back.
    pub puller: Puller,
    /// Sessions that are another gateway's.
    pub foreign: HashSet<SessionId>,
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
            limit: Limit::new(settings.window, settings.bytes_per_hour, settings.frame_bytes_per_hour),
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
        let (run, runs) = self.service.note_run().await?;
        let gateway = self.settings.gateway_id.clone().unwrap_or_else(|| uuid.clone());
        let mut client = connect(&self.settings.address).await?;
        self.limit.use_bytes(CONNECTING_BYTES);
        schema::prepare(&mut client).await?;
        let head = self.service.feed_head().await?;
        let feed = place::Feed { uuid: &uuid, epoch: &epoch, run: &run, runs: &runs, head };
        let place = place::load(&mut client, &gateway, feed, self.frames.word(), &self.settings.first_classes).await?;
        let mut committed = u64::try_from(place.committed.all).unwrap_or(0);
        let mut first = u64::try_from(place.committed.first).unwrap_or(0);
        if !self.service.has_feed_place(committed).await? {
            tracing::warn!("deletions were forgotten since the central database was last reached: all is compared anew");
            (committed, first) = (0, 0);
        }
        {
            let gateway = gateway.clone();
            self.service.report_central(move |central| central.gateway_id = gateway);
        }
        let how = How {
            re_enrich: self.settings.re_enrich,
            guard: self.settings.enrich_guard,
            sees: !self.frames.are_blind(),
            asks: self.frames.are_sent(),
        };
        let pusher =
            Pusher::new(&mut client, self.service.clone(), self.frames.clone(), how, self.settings.deletes, place).await?;
        self.puller.begin_anew();
        if committed == 0 {
            // All are claimed anew.
            self.foreign.clear();
            self.service.report_central(|central| central.foreign_sessions = 0);
        }
        // What is there now is the backlog; what comes from now on does not wait for it.
        let backlog = Backlog::new(self.settings.first_classes.clone(), first, committed, head);
        let live = head.max(committed);
        let mut connected = Connected::new(pusher, backlog, live, epoch, gateway, self.settings.touch_interval).await?;
        loop {
            let is_done = connected.step(self).await?;
            self.tell_good();
            self.report_lag(Some(connected.place())).await;
            let state = if connected.is_behind() { "catching up" } else { "up to date" };
            self.service.report_central(|central| central.state = state);
            match self.limit.wait() {
                Some(wait) if wait > KEEP_FOR => return Ok(()),
                Some(wait) => {
                    self.service.report_central(|central| central.state = "waiting");
                    tokio::time::sleep(wait).await;
                }
                None if is_done => connected.rest(self).await?,
                None => {}
            }
        }
    }
}
