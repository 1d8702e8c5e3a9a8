//! Detections' rows.

use std::time::Duration;

use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Statement, Transaction};

use crate::domain::detection::Detection;
use crate::domain::ids::SessionId;

use super::bound::Moment;
use super::trouble::Trouble;

/// Writes rows, and in the same statement finds out three things about them:
/// - whose attributes are other than the gateway has (they come back with the next pull);
/// - which got another picture (attributes that come now may still be of the one before);
/// - which pictures no row names any more.
///
/// What the enricher wrote stays, but for a new picture, which is to be looked at anew ($17): also where the gateway had a word on it
/// already and this database, restored from an older backup, has another one, on the picture before. A row that says "looked at" and
/// has no attributes is one whose picture is not there yet; so is one that gets the name of such a picture, and then its attributes, if
/// it has any, are of the one before, and under a guard without an end. The best confidence only rises: a gateway that was restored
/// from an older backup takes nothing back, and what it has seen, or delivered, is not of the row's picture. A row that would not
/// change is not written, so that no trigger moves its `updated_at`. Where pictures are sent behind their rows ($20), only who wrote one
/// out says that there is something to look at.
const UPSERT: &str = "
WITH input AS (
    SELECT * FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::timestamptz[],
        $9::timestamptz[], $10::timestamptz[], $11::timestamptz[], $12::timestamptz[], $13::timestamptz[], $14::text[],
        $15::bool[], $16::bool[])
    AS i(session_id, track_id, cls, conf, bbox, url_frame, first_ts, last_ts, capture_ts, ingest_ts, created_at, updated_at,
         attributes, enriched, undelivered)
), before AS MATERIALIZED (
    SELECT d.session_id, d.track_id, d.url_frame, d.attributes, d.enriched, EXISTS (SELECT FROM session_store.guards g
        WHERE g.gateway_id = $1 AND g.session_id = d.session_id AND g.track_id = d.track_id AND g.until = 'infinity') AS waits
    -- One by one: a join would read the whole table as soon as that looks cheaper for the moment.
    FROM input i CROSS JOIN LATERAL (
        SELECT * FROM detections d WHERE d.session_id = i.session_id AND d.track_id = i.track_id LIMIT 1) AS d
), written AS (
    INSERT INTO detections AS d (session_id, track_id, cls, conf, bbox, url_frame, first_ts, last_ts, capture_ts, ingest_ts,
        created_at, updated_at, attributes, enriched)
    SELECT session_id, track_id, cls, conf::numeric, bbox::jsonb, url_frame, first_ts, last_ts, capture_ts, ingest_ts, created_at,
        updated_at, CASE WHEN undelivered THEN NULL ELSE attributes::jsonb END, enriched OR undelivered
    FROM input
    ON CONFLICT (session_id, track_id) DO UPDATE SET
        cls = CASE WHEN excluded.conf >= d.conf THEN excluded.cls ELSE d.cls END,
        conf = greatest(excluded.conf, d.conf),
        bbox = CASE WHEN excluded.conf >= d.conf THEN excluded.bbox ELSE d.bbox END,
        url_frame = CASE WHEN excluded.conf >= d.conf THEN excluded.url_frame ELSE d.url_frame END,
        first_ts = least(excluded.first_ts, d.first_ts),
        last_ts = greatest(excluded.last_ts, d.last_ts),
        capture_ts = CASE WHEN excluded.conf >= d.conf THEN excluded.capture_ts ELSE d.capture_ts END,
        ingest_ts = CASE WHEN excluded.conf >= d.conf THEN excluded.ingest_ts ELSE d.ingest_ts END,
        created_at = least(excluded.created_at, d.created_at),
        updated_at = excluded.updated_at,
        attributes = CASE
            WHEN d.attributes IS NULL AND excluded.enriched AND excluded.attributes IS NOT NULL AND excluded.conf >= d.conf
                THEN excluded.attributes
            ELSE d.attributes END,
        enriched = CASE
            WHEN ($20 OR (excluded.enriched AND excluded.attributes IS NULL)) AND excluded.conf >= d.conf
                AND excluded.url_frame IS DISTINCT FROM d.url_frame THEN TRUE
            WHEN NOT excluded.enriched AND excluded.conf >= d.conf AND d.enriched AND (d.attributes IS NULL OR EXISTS (SELECT FROM session_store.guards g
                WHERE g.gateway_id = $1 AND g.session_id = d.session_id AND g.track_id = d.track_id AND g.until = 'infinity')) THEN FALSE
            WHEN NOT excluded.enriched AND $17 AND excluded.conf >= d.conf AND excluded.url_frame IS NOT NULL
                AND excluded.url_frame IS DISTINCT FROM d.url_frame THEN FALSE
            WHEN excluded.enriched AND $17 AND excluded.conf >= d.conf AND excluded.attributes <> d.attributes
                AND regexp_replace(excluded.url_frame, '~[0-9a-f]+', '') <> regexp_replace(d.url_frame, '~[0-9a-f]+', '') THEN FALSE
            WHEN d.attributes IS NULL AND excluded.enriched AND excluded.attributes IS NOT NULL AND excluded.conf >= d.conf THEN TRUE
            ELSE d.enriched END
    WHERE (excluded.conf >= d.conf AND (d.cls, d.conf, d.bbox, d.url_frame, d.capture_ts, d.ingest_ts) IS DISTINCT FROM
            (excluded.cls, excluded.conf, excluded.bbox, excluded.url_frame, excluded.capture_ts, excluded.ingest_ts))
        OR excluded.first_ts < d.first_ts OR excluded.last_ts > d.last_ts OR excluded.created_at < d.created_at
        OR (NOT excluded.enriched AND excluded.conf >= d.conf AND d.enriched AND (d.attributes IS NULL OR EXISTS (SELECT FROM session_store.guards g
                WHERE g.gateway_id = $1 AND g.session_id = d.session_id AND g.track_id = d.track_id AND g.until = 'infinity')))
        OR (d.attributes IS NULL AND excluded.enriched AND excluded.attributes IS NOT NULL AND excluded.conf >= d.conf)
    RETURNING d.session_id, d.track_id, d.url_frame, d.attributes, d.enriched
), outcome AS (
    SELECT i.session_id, i.track_id, i.attributes::jsonb AS mine, i.enriched AS mine_enriched, i.undelivered,
        b.url_frame AS old_url, w.url_frame AS new_url,
        CASE WHEN w.session_id IS NULL THEN b.attributes ELSE w.attributes END AS attributes,
        CASE WHEN w.session_id IS NULL THEN b.enriched ELSE w.enriched END AS enriched,
        w.session_id IS NOT NULL AND b.session_id IS NOT NULL AND w.url_frame IS DISTINCT FROM b.url_frame AS is_replaced,
        CASE WHEN w.session_id IS NULL THEN b.url_frame ELSE w.url_frame END IS NOT DISTINCT FROM i.url_frame AS is_mine,
        b.enriched AND b.attributes IS NULL AS was_undelivered, coalesce(b.waits, FALSE) AS waits,
        -- Looked at by the gateway's word alone, as after an older backup was put back: the picture may not be there.
        $20 AND i.enriched AND b.session_id IS NOT NULL AND w.url_frame = i.url_frame AND regexp_replace(w.url_frame, '~[0-9a-f]+', '')
            IS DISTINCT FROM regexp_replace(b.url_frame, '~[0-9a-f]+', '') AS is_unseen
    FROM input i LEFT JOIN before b USING (session_id, track_id) LEFT JOIN written w USING (session_id, track_id)
), diverging AS (
    INSERT INTO session_store.diverged (gateway_id, session_id, track_id)
    SELECT $1, session_id, track_id FROM outcome
    WHERE (attributes IS DISTINCT FROM mine AND NOT undelivered)
        OR (enriched <> mine_enriched AND NOT undelivered)
        OR (undelivered AND attributes IS NOT NULL AND attributes IS DISTINCT FROM mine)
    ON CONFLICT DO NOTHING
), guarding AS (
    -- Without an end where the picture is not there yet. One that nobody can have looked at needs none.
    INSERT INTO session_store.guards (gateway_id, session_id, track_id, until)
    SELECT $1, session_id, track_id, CASE WHEN undelivered OR is_unseen THEN 'infinity' ELSE now() + make_interval(secs => $18) END
    FROM outcome
    WHERE $19 AND (
        is_unseen
        OR (waits AND is_mine AND NOT undelivered AND NOT mine_enriched)
        OR (is_replaced AND (waits OR NOT was_undelivered)
            AND (undelivered OR ($17 AND $18 > 0 AND NOT ($20 AND mine_enriched)))))
    ON CONFLICT (gateway_id, session_id, track_id) DO UPDATE SET until = excluded.until
), beating AS (
    INSERT INTO session_store.beaten_frames (gateway_id, url_frame)
    SELECT $1, old_url FROM outcome WHERE is_replaced AND old_url IS NOT NULL AND $19
    ON CONFLICT DO NOTHING
)
SELECT count(*) FROM written";

/// New rows, which a backlog nearly always is: of those there is nothing to find out.
const INSERT: &str = "
INSERT INTO detections (session_id, track_id, cls, conf, bbox, url_frame, first_ts, last_ts, capture_ts, ingest_ts,
    created_at, updated_at, attributes, enriched)
SELECT session_id, track_id, cls, conf::numeric, bbox::jsonb, url_frame, first_ts, last_ts, capture_ts, ingest_ts, created_at,
    updated_at, CASE WHEN undelivered THEN NULL ELSE attributes::jsonb END, enriched OR undelivered
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[], $8::timestamptz[],
    $9::timestamptz[], $10::timestamptz[], $11::timestamptz[], $12::timestamptz[], $13::text[], $14::bool[], $15::bool[])
    AS i(session_id, track_id, cls, conf, bbox, url_frame, first_ts, last_ts, capture_ts, ingest_ts, created_at, updated_at,
         attributes, enriched, undelivered)
ON CONFLICT DO NOTHING";

/// Before rows are written whose pictures come behind them. Else `before` might show a row as it was before its picture was written out
/// and somebody looked at it, and no guard would be set. By the rows' order, as they are written.
const LOCK: &str = "
SELECT FROM unnest($1::text[], $2::text[]) AS i(session_id, track_id) CROSS JOIN LATERAL (
    SELECT FROM detections d WHERE d.session_id = i.session_id AND d.track_id = i.track_id LIMIT 1 FOR NO KEY UPDATE) AS d";

/// Asks for the pictures that are not there, and gives up those that no row names any more. A row says so itself: "looked at",
/// and without attributes or under a guard without an end. So asking again is harmless. What the row names is what counts: a gateway
/// that was restored from an older backup has another picture, and the row's may have been sent whole. One that is asked for again is
/// not to be deleted.
const ASK: &str = "
WITH named AS MATERIALIZED (
    SELECT d.*, i.undelivered, i.url_frame IS NOT DISTINCT FROM d.url_frame AS is_mine, EXISTS (SELECT FROM session_store.guards g
        WHERE g.gateway_id = $1 AND g.session_id = d.session_id AND g.track_id = d.track_id AND g.until = 'infinity') AS waits
    FROM unnest($2::text[], $3::text[], $4::text[], $5::bool[]) AS i(session_id, track_id, url_frame, undelivered)
    CROSS JOIN LATERAL (SELECT d.session_id, d.track_id, d.url_frame, d.capture_ts, d.attributes, d.enriched
        FROM detections d WHERE d.session_id = i.session_id AND d.track_id = i.track_id LIMIT 1) AS d
), given_up AS (
    DELETE FROM session_store.frames f USING named n
    WHERE f.gateway_id = $1 AND f.session_id = n.session_id AND f.track_id = n.track_id
        AND (f.url_frame IS DISTINCT FROM n.url_frame OR (n.is_mine AND NOT n.undelivered AND NOT n.waits))
), wanted AS MATERIALIZED (
    SELECT n.session_id, n.track_id, n.url_frame, n.capture_ts FROM named n
    WHERE n.is_mine AND n.url_frame IS NOT NULL AND n.enriched AND (n.waits OR (n.undelivered AND n.attributes IS NULL))
), kept AS (
    DELETE FROM session_store.beaten_frames b USING wanted w WHERE b.gateway_id = $1 AND b.url_frame = w.url_frame
)
INSERT INTO session_store.frames (gateway_id, session_id, track_id, url_frame, capture_ts, guard_sec)
SELECT $1, session_id, track_id, url_frame, capture_ts, $6 FROM wanted
ON CONFLICT DO NOTHING";

/// Attributes that were changed at the gateway join those that are here. What comes of it goes back there. The gateway's own enricher
/// has looked at the picture; so one that was to be sent ($5) is not, and nobody else looks.
const PATCH: &str = "
WITH input AS (SELECT * FROM unnest($2::text[], $3::text[], $4::text[]) AS i(session_id, track_id, attributes)),
patched AS (
    UPDATE detections d SET attributes = coalesce(d.attributes, '{}') || i.attributes::jsonb, enriched = TRUE
    FROM input i WHERE d.session_id = i.session_id AND d.track_id = i.track_id
        AND (NOT d.enriched OR d.attributes IS NULL OR NOT d.attributes @> i.attributes::jsonb)
), given_up AS (
    DELETE FROM session_store.frames f USING input i
    WHERE f.gateway_id = $1 AND f.session_id = i.session_id AND f.track_id = i.track_id
), unguarded AS (
    DELETE FROM session_store.guards g USING input i
    WHERE g.gateway_id = $1 AND g.session_id = i.session_id AND g.track_id = i.track_id AND (g.until = 'infinity' OR $5)
)
INSERT INTO session_store.diverged (gateway_id, session_id, track_id) SELECT $1, session_id, track_id FROM input
ON CONFLICT DO NOTHING";

/// So many rows at once are a backlog's, and new.
const BACKLOG: usize = 100;

/// A detection on its way.
#[derive(Debug, Clone)]
pub struct Row {
    /// Its session.
    pub session: SessionId,
    /// Itself.
    pub detection: Detection,
    /// The central `url_frame`.
    pub url_frame: Option<String>,
    /// Whether the enricher cannot open its picture.
    pub is_undelivered: bool,
    /// The number of the note that its attributes were changed here.
    pub patched: Option<u64>,
}

impl Row {
    /// About how many bytes it is on the wire.
    pub fn bytes(&self) -> usize {
        let texts = [&self.detection.cls, &self.detection.bbox];
        let texts: usize = texts.iter().map(|text| text.len()).sum();
        let options = [&self.detection.attributes, &self.url_frame];
        let options: usize = options.iter().filter_map(|text| text.as_ref().map(String::len)).sum();
        160 + self.session.as_str().len() + self.detection.track.as_str().len() + texts + options
    }
}

/// How rows are written.
#[derive(Debug, Clone, Copy)]
pub struct How {
    /// Whether a new picture is to be looked at anew.
    pub re_enrich: bool,
    /// How long attributes are not taken after that.
    pub guard: Duration,
    /// Whether pictures get there, in whatever way; then those that are named no more are to be deleted.
    pub sees: bool,
    /// Whether they are sent after the rows that ask for them.
    pub asks: bool,
}

/// Prepared on one connection.
pub struct Statements {
    insert: Statement,
    lock: Statement,
    upsert: Statement,
    ask: Statement,
    patch: Statement,
}

impl Statements {
    /// Prepares them.
    pub async fn prepare(client: &Client) -> Result<Self, Trouble> {
        // Generic plans know nothing of how many rows come.
        client.batch_execute("SET plan_cache_mode = force_custom_plan").await?;
        Ok(Self {
            insert: client.prepare(INSERT).await?,
            lock: client.prepare(LOCK).await?,
            upsert: client.prepare(UPSERT).await?,
            ask: client.prepare(ASK).await?,
            patch: client.prepare(PATCH).await?,
        })
    }

    /// Writes rows; says how many were new or other than before.
    pub async fn write(&self, tx: &Transaction<'_>, gateway: &str, rows: &[&Row], how: How) -> Result<u64, Trouble> {
        macro_rules! column {
            ($row:ident => $value:expr) => {
                rows.iter().map(|$row| $value).collect::<Vec<_>>()
            };
        }
        let sessions = column!(row => row.session.as_str());
        let tracks = column!(row => row.detection.track.as_str());
        let classes = column!(row => row.detection.cls.as_str());
        // The shortest text that is this number: NUMERIC keeps every digit of it.
        let confs = column!(row => row.detection.conf.to_string());
        let boxes = column!(row => row.detection.bbox.as_str());
        let urls = column!(row => row.url_frame.as_deref());
        let firsts = column!(row => Moment(row.detection.first));
        let lasts = column!(row => Moment(row.detection.last));
        let captures = column!(row => Moment(row.detection.capture));
        let ingests = column!(row => Moment(row.detection.ingest));
        let created = column!(row => Moment(row.detection.created_at));
        let updated = column!(row => Moment(row.detection.updated_at));
        let attributes = column!(row => row.detection.attributes.as_deref());
        let enriched = column!(row => row.detection.enriched);
        let undelivered = column!(row => row.is_undelivered && !row.detection.enriched);
        let columns: [&(dyn ToSql + Sync); 15] = [
            &sessions,
            &tracks,
            &classes,
            &confs,
            &boxes,
            &urls,
            &firsts,
            &lasts,
            &captures,
            &ingests,
            &created,
            &updated,
            &attributes,
            &enriched,
            &undelivered,
        ];
        // A few rows are changes, most often; they need not be sent twice.
        let mut count = if rows.len() >= BACKLOG { tx.execute(&self.insert, &columns).await? } else { 0 };
        if count < rows.len() as u64 {
            if how.asks {
                tx.execute(&self.lock, &[&sessions, &tracks]).await?;
            }
            let guard = how.guard.as_secs_f64();
            let mut values: Vec<&(dyn ToSql + Sync)> = vec![&gateway];
            values.extend(columns);
            values.extend([&how.re_enrich as &(dyn ToSql + Sync), &guard, &how.sees, &how.asks]);
            count += tx.query_one(&self.upsert, &values).await?.get::<_, i64>(0).unsigned_abs();
        }
        if how.asks {
            let guard = how.guard.as_secs_f64();
            tx.execute(&self.ask, &[&gateway, &sessions, &tracks, &urls, &undelivered, &guard]).await?;
        }
        let patched: Vec<&&Row> = rows.iter().filter(|row| row.patched.is_some()).collect();
        if !patched.is_empty() {
            let sessions: Vec<&str> = patched.iter().map(|row| row.session.as_str()).collect();
            let tracks: Vec<&str> = patched.iter().map(|row| row.detection.track.as_str()).collect();
            let attributes: Vec<&str> = patched.iter().map(|row| row.detection.attributes.as_deref().unwrap_or("{}")).collect();
            tx.execute(&self.patch, &[&gateway, &sessions, &tracks, &attributes, &how.asks]).await?;
        }
        Ok(count)
    }
}
