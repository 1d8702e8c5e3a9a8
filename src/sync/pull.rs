//! What other services added comes back.
//!
//! Rows are found by `updated_at`, which the database's own clock writes, whatever the gateway's or the enricher's say. A
//! transaction writes the moment of its begin and shows it at its end. So each pull notes which transactions run, and when one of
//! them has ended, reads again from before its begin.
//! Now and then all rows are compared, for what no clock tells.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant, SystemTime};

use tokio_postgres::Client;

use crate::domain::ids::{SessionId, TrackId};
use crate::service::Service;
use crate::service::central::Enrichment;

use super::frames::{Frames, file_here};
use super::limit::Limit;
use super::trouble::Trouble;

/// Rows of one statement.
const PAGE: i64 = 500;
/// Sessions of one step of a comparison of all.
const SWEEP_SESSIONS: i64 = 500;
/// A clock that is set back by a few seconds misses nothing.
const ADVANCE: &str =
    "UPDATE session_store.gateways SET pulled_until = $2::timestamptz - interval '5 seconds' WHERE gateway_id = $1";
/// What is not asked for any more.
const FORGET_PUSHES: &str = "DELETE FROM session_store.pushes WHERE gateway_id = $1 AND at < $2::timestamptz - interval '1 hour'";
/// Where no index leads by `updated_at`, a pull reads the whole table: it may take one twentieth of the time.
const SHARE: u32 = 20;
/// About what a pull costs that finds nothing, with what TCP and TLS put around it.
const ASKING_BYTES: usize = 3000;

const COLUMNS: &str = "d.session_id, d.track_id, d.url_frame, d.attributes::text, d.enriched, d.updated_at";
/// Neither what this gateway wrote itself, nor what may be of a picture before.
const NEWS: &str = "
FROM detections d JOIN session_store.owners o ON o.session_id = d.session_id AND o.gateway_id = $1
WHERE NOT EXISTS (SELECT 1 FROM session_store.pushes p WHERE p.gateway_id = $1 AND p.xid = d.xmin::text::bigint)
  AND NOT EXISTS (SELECT 1 FROM session_store.guards g WHERE g.gateway_id = $1 AND g.session_id = d.session_id
                  AND g.track_id = d.track_id)";

/// What is remembered between pulls; lives as long as the daemon.
pub struct Puller {
    interval: Duration,
    sweep_interval: Duration,
    /// When the next pull is due.
    due: Instant,
    /// The moment of the last pull on this connection.
    last: Option<SystemTime>,
    /// The transactions that ran then, each with a moment before its begin.
    running: HashMap<String, SystemTime>,
    /// Where a comparison of all stands.
    sweep: Option<String>,
}

impl Puller {
    /// Pulls every `interval`, and compares all every `sweep_interval`.
    pub fn new(interval: Duration, sweep_interval: Duration) -> Self {
        Self { interval, sweep_interval, due: Instant::now(), last: None, running: HashMap::new(), sweep: None }
    }

    /// A new connection: what the last one saw is not certain.
    pub fn begin_anew(&mut self) {
        self.last = None;
        self.running.clear();
        self.sweep = None;
        self.due = Instant::now();
    }

    /// How long until the next pull.
    pub fn wait(&self) -> Duration {
        self.due.saturating_duration_since(Instant::now())
    }

    /// Whether it is time.
    pub fn is_due(&self) -> bool {
        self.wait().is_zero()
    }

    /// Asks for what came back, and takes it.
    pub async fn pull(
        &mut self,
        client: &Client,
        gateway: &str,
        service: &Service,
        frames: &Frames,
        limit: &mut Limit,
    ) -> Result<(), Trouble> {
        let begun = Instant::now();
        let between = limit.ask(ASKING_BYTES);
        self.end_guards(client, gateway, frames).await?;
        let mut taking = Taking { service, frames, limit };
        let marks = client
            .query_one(
                "SELECT clock_timestamp(), (SELECT coalesce(array_agg(virtualtransaction), '{}') FROM pg_locks \
                 WHERE locktype = 'virtualxid' AND pid <> pg_backend_pid()), pulled_until, \
                 coalesce(extract(epoch FROM now() - swept_at), 1e12)::float8 \
                 FROM session_store.gateways WHERE gateway_id = $1",
                &[&gateway],
            )
            .await?;
        let moment: SystemTime = marks.get(0);
        let running: HashSet<String> = marks.get::<_, Vec<String>>(1).into_iter().collect();
        let certain: Option<SystemTime> = marks.get(2);
        let since_sweep: f64 = marks.get(3);
        diverged(client, gateway, &mut taking).await?;
        // A transaction that was not there at the last pull began behind it; of one that was there at the first, nothing is known.
        let ended = self.running.iter().filter(|(id, _)| !running.contains(*id)).map(|(_, begun_behind)| *begun_behind);
        let from = ended.chain(self.last.or(certain)).min();
        if let Some(from) = from {
            changed_since(client, gateway, from, &mut taking).await?;
        }
        if since_sweep >= self.sweep_interval.as_secs_f64() || self.sweep.is_some() {
            self.sweep(client, gateway, &mut taking).await?;
        }
        let begun_behind = self.last.or(certain).unwrap_or(SystemTime::UNIX_EPOCH);
        let known = std::mem::take(&mut self.running);
        let behind = |id: String| (known.get(&id).copied().unwrap_or(begun_behind), id);
        self.running = running.into_iter().map(behind).map(|(behind, id)| (id, behind)).collect();
        let certain = self.running.values().copied().min().unwrap_or(moment);
        if certain > SystemTime::UNIX_EPOCH {
            client.execute(ADVANCE, &[&gateway, &certain]).await?;
            client.execute(FORGET_PUSHES, &[&gateway, &certain]).await?;
        }
        self.last = Some(moment);
        let pause = if self.sweep.is_some() { Duration::ZERO } else { self.interval.max(begun.elapsed() * SHARE).max(between) };
        self.due = Instant::now() + pause;
        Ok(())
    }

    /// The time of better pictures is over: what was written of them meanwhile is asked for once more. What the rows say comes back, also
    /// of those that are as they were in that time: it was not looked at then.
    async fn end_guards(&self, client: &Client, gateway: &str, frames: &Frames) -> Result<(), Trouble> {
        let asked = "
            WITH over AS (DELETE FROM session_store.guards WHERE gateway_id = $1 AND until < now() RETURNING session_id, track_id),
            asked AS (
                INSERT INTO session_store.diverged (gateway_id, session_id, track_id) SELECT $1, session_id, track_id FROM over
                ON CONFLICT DO NOTHING
            )
            UPDATE detections d SET enriched = FALSE FROM over o
            WHERE d.session_id = o.session_id AND d.track_id = o.track_id AND d.enriched AND d.attributes IS NOT NULL AND $2";
        client.execute(asked, &[&gateway, &!frames.are_blind()]).await?;
        Ok(())
    }

    /// Compares some of all rows; the rest with the next pull.
    async fn sweep(&mut self, client: &Client, gateway: &str, taking: &mut Taking<'_>) -> Result<(), Trouble> {
        let from = self.sweep.clone().unwrap_or_default();
        let last = client
            .query_one(
                "SELECT max(session_id) FROM (SELECT session_id FROM session_store.owners WHERE gateway_id = $1 AND session_id > $2 \
                 ORDER BY session_id LIMIT $3) AS page",
                &[&gateway, &from, &SWEEP_SESSIONS],
            )
            .await?;
        let Some(to) = last.get::<_, Option<String>>(0) else {
            self.sweep = None;
            client.execute("UPDATE session_store.gateways SET swept_at = now() WHERE gateway_id = $1", &[&gateway]).await?;
            return Ok(());
        };
        let statement = format!(
            "SELECT {COLUMNS} {NEWS} AND o.session_id > $2 AND o.session_id <= $3 AND (d.attributes IS NOT NULL OR d.enriched) \
             AND (d.session_id, d.track_id) > ($4, $5) ORDER BY d.session_id, d.track_id LIMIT $6"
        );
        let (mut session, mut track) = (from.clone(), String::new());
        loop {
            let rows = client.query(&statement, &[&gateway, &from, &to, &session, &track, &PAGE]).await?;
            let Some(last) = rows.last() else { break };
            (session, track) = (last.get(0), last.get(1));
            taking.take(&rows).await?;
        }
        self.sweep = Some(to);
        Ok(())
    }
}

/// What pushes found to be other than here.
async fn diverged(client: &Client, gateway: &str, taking: &mut Taking<'_>) -> Result<(), Trouble> {
    let statement = format!(
        "SELECT {COLUMNS} FROM session_store.diverged v JOIN detections d USING (session_id, track_id) \
         WHERE v.gateway_id = $1 AND NOT EXISTS (SELECT 1 FROM session_store.guards g WHERE g.gateway_id = $1 \
         AND g.session_id = d.session_id AND g.track_id = d.track_id) LIMIT $2"
    );
    loop {
        let rows = client.query(&statement, &[&gateway, &PAGE]).await?;
        if rows.is_empty() {
            return Ok(());
        }
        taking.take(&rows).await?;
        let sessions: Vec<&str> = rows.iter().map(|row| row.get(0)).collect();
        let tracks: Vec<&str> = rows.iter().map(|row| row.get(1)).collect();
        client
            .execute(
                "DELETE FROM session_store.diverged v USING unnest($2::text[], $3::text[]) AS i(session_id, track_id) \
                 WHERE v.gateway_id = $1 AND v.session_id = i.session_id AND v.track_id = i.track_id",
                &[&gateway, &sessions, &tracks],
            )
            .await?;
    }
}

/// What others wrote since `from`.
async fn changed_since(client: &Client, gateway: &str, from: SystemTime, taking: &mut Taking<'_>) -> Result<(), Trouble> {
    let statement = format!(
        "SELECT {COLUMNS} {NEWS} AND (d.updated_at, d.session_id, d.track_id) > ($2, $3, $4) AND d.updated_at >= $2 \
         ORDER BY d.updated_at, d.session_id, d.track_id LIMIT $5"
    );
    let (mut at, mut session, mut track) = (from, String::new(), String::new());
    loop {
        let rows = client.query(&statement, &[&gateway, &at, &session, &track, &PAGE]).await?;
        if let Some(last) = rows.last() {
            (session, track, at) = (last.get(0), last.get(1), last.get(5));
        }
        taking.take(&rows).await?;
        if i64::try_from(rows.len()).is_ok_and(|count| count < PAGE) {
            return Ok(());
        }
    }
}

struct Taking<'t> {
    service: &'t Service,
    frames: &'t Frames,
    limit: &'t mut Limit,
}

impl Taking<'_> {
    async fn take(&mut self, rows: &[tokio_postgres::Row]) -> Result<(), Trouble> {
        let mut enrichments = Vec::new();
        for row in rows {
            let attributes: Option<String> = row.get(3);
            self.limit.use_bytes(200 + attributes.as_ref().map_or(0, String::len));
            // What no gateway can have written cannot be its own.
            let Ok(session) = SessionId::new("session", row.get::<_, String>(0)) else { continue };
            let Ok(track) = TrackId::new("track", row.get::<_, String>(1)) else { continue };
            let picture = row.get::<_, Option<&str>>(2).and_then(|url| file_here(url, &session));
            let is_blind = self.frames.are_blind();
            enrichments.push(Enrichment { session, track, picture, attributes, enriched: row.get(4), is_blind });
        }
        if enrichments.is_empty() {
            return Ok(());
        }
        let taken = self.service.take_enrichments(enrichments).await?;
        self.service.report_central(|central| central.pulled += taken);
        Ok(())
    }
}
