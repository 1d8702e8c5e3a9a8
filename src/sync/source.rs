//! An earlier service's whole catalogue, read from its Postgres, as lines of an export.

use tokio::runtime::Runtime;
use tokio_postgres::Client;

use super::address::Address;
use super::connection::connect;
use super::trouble::Trouble;

/// Sessions of one page.
const SESSIONS: i64 = 500;
/// Detections of one piece of it.
const DETECTIONS: i64 = 2000;

/// A moment as an export has it; what it cannot hold is shown as Postgres has it, and refused by its name.
const AT: &str = "CREATE FUNCTION pg_temp.at(t TIMESTAMPTZ) RETURNS TEXT LANGUAGE sql IMMUTABLE AS $$ SELECT CASE WHEN isfinite(t) AND \
                  t >= '0001-01-01 00:00:00+00' AND t < '10000-01-01 00:00:00+00' \
                  THEN to_char(t AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') ELSE t::text END $$";
const SESSION_LINES: &str = "
SELECT session_id, json_build_object('session', json_build_object('session_id', session_id, 'device_id', device_id, 'path', path,
    'status', status, 'start_ts', pg_temp.at(start_ts), 'end_ts', pg_temp.at(end_ts), 'postroll_sec', postroll_sec, 'reason', reason,
    'media_connect_ts', pg_temp.at(media_connect_ts), 'media_start_ts', pg_temp.at(media_start_ts),
    'media_end_ts', pg_temp.at(media_end_ts), 'recommended_start_offset_ms', recommended_start_offset_ms,
    'configured_classes', configured_classes, 'detected_classes', coalesce(detected_classes, '{}'),
    'created_at', pg_temp.at(created_at), 'updated_at', pg_temp.at(updated_at)))::text
FROM sessions WHERE session_id > $1 ORDER BY session_id LIMIT $2";
const DETECTION_LINES: &str = "
SELECT session_id, track_id, json_build_object('detection', json_build_object('session_id', session_id, 'track_id', track_id,
    'cls', cls, 'conf', conf, 'bbox', bbox, 'url_frame', url_frame, 'first_ts', pg_temp.at(first_ts), 'last_ts', pg_temp.at(last_ts),
    'capture_ts', pg_temp.at(capture_ts), 'ingest_ts', pg_temp.at(ingest_ts), 'created_at', pg_temp.at(created_at),
    'updated_at', pg_temp.at(updated_at), 'attributes', attributes, 'enriched', enriched))::text, url_frame
FROM detections WHERE session_id > $1 AND session_id <= $2 AND (session_id, track_id) > ($3, $4)
ORDER BY session_id, track_id LIMIT $5";

/// One row as a line.
#[derive(Debug, Clone)]
pub struct Line {
    /// The row's session.
    pub session: String,
    /// Its track; none for a session.
    pub track: Option<String>,
    /// Its `url_frame`.
    pub url_frame: Option<String>,
    /// The line.
    pub text: String,
}

/// An open catalogue.
pub struct Source {
    runtime: Runtime,
    client: Client,
    shown: String,
}

impl Source {
    /// Connects.
    ///
    /// # Errors
    /// A sentence.
    pub fn open(address: &Address) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
        let shown = address.shown.clone();
        let connected = runtime.block_on(async {
            let client = connect(address).await?;
            client.batch_execute(AT).await?;
            Ok::<_, Trouble>(client)
        });
        let client = connected.map_err(|trouble| unusable(&shown, &trouble))?;
        Ok(Self { runtime, client, shown })
    }

    /// How many sessions there are behind `after`.
    ///
    /// # Errors
    /// A sentence.
    pub fn count(&self, after: &str) -> Result<u64, String> {
        let asked = "SELECT count(*) FROM sessions WHERE session_id > $1";
        let row = self.runtime.block_on(self.client.query_one(asked, &[&after]));
        let row = row.map_err(|error| unusable(&self.shown, &error.into()))?;
        Ok(row.get::<_, i64>(0).unsigned_abs())
    }

    /// The next sessions behind `after` with all their detections, handed to `take` in pieces, sessions first; and the
    /// last session, none at the end.
    ///
    /// # Errors
    /// A sentence, also what `take` says.
    pub fn page(
        &self,
        after: &str,
        take: &mut dyn FnMut(Vec<Line>) -> Result<(), String>,
    ) -> Result<Option<(String, u64)>, String> {
        let failed = |error: tokio_postgres::Error| unusable(&self.shown, &error.into());
        let rows = self.runtime.block_on(self.client.query(SESSION_LINES, &[&after, &SESSIONS])).map_err(failed)?;
        let Some(last) = rows.last() else { return Ok(None) };
        let to: String = last.get(0);
        let line = |row: &tokio_postgres::Row| Line { session: row.get(0), track: None, url_frame: None, text: row.get(1) };
        take(rows.iter().map(line).collect())?;
        let (mut session, mut track) = (after.to_owned(), String::new());
        loop {
            let bounds: [&(dyn tokio_postgres::types::ToSql + Sync); 5] = [&after, &to, &session, &track, &DETECTIONS];
            let found = self.runtime.block_on(self.client.query(DETECTION_LINES, &bounds)).map_err(failed)?;
            let Some(last) = found.last() else { break };
            (session, track) = (last.get(0), last.get(1));
            let line = |row: &tokio_postgres::Row| Line {
                session: row.get(0),
                track: Some(row.get(1)),
                url_frame: row.get(3),
                text: row.get(2),
            };
            take(found.iter().map(line).collect())?;
        }
        Ok(Some((to, rows.len() as u64)))
    }
}

fn unusable(shown: &str, trouble: &Trouble) -> String {
    format!("The Postgres at {shown} cannot be read: {trouble}.")
}
