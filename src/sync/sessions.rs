//! Sessions: claiming them, and their rows.

use std::collections::HashSet;

use tokio_postgres::{Client, Statement, Transaction};

use crate::domain::ids::SessionId;
use crate::domain::session::Session;

use super::bound::Moment;
use super::trouble::Trouble;

/// A row that belongs to nobody is claimed by the first gateway that holds the same session.
const CLAIM: &str = "
INSERT INTO session_store.owners (session_id, gateway_id)
SELECT i.session_id, $1
FROM unnest($2::text[], $3::text[], $4::timestamptz[]) AS i(session_id, device_id, start_ts)
LEFT JOIN LATERAL (SELECT * FROM sessions s WHERE s.session_id = i.session_id LIMIT 1) AS s ON TRUE
WHERE s.session_id IS NULL OR (s.device_id = i.device_id AND s.start_ts = i.start_ts)
ON CONFLICT (session_id) DO NOTHING";

const OWNED: &str = "SELECT session_id FROM session_store.owners WHERE session_id = ANY($2::text[]) AND gateway_id = $1";

/// A session that ended is not opened again, as a gateway restored from an older backup would.
const UPSERT: &str = "
INSERT INTO sessions AS s (session_id, device_id, path, status, start_ts, end_ts, postroll_sec, reason, media_connect_ts,
    media_start_ts, media_end_ts, recommended_start_offset_ms, configured_classes, detected_classes, created_at, updated_at)
SELECT session_id, device_id, path, CASE WHEN end_ts IS NULL THEN 'open' ELSE 'closed' END, start_ts, end_ts, postroll_sec, reason,
    media_connect_ts, media_start_ts, media_end_ts, start_offset,
    ARRAY(SELECT jsonb_array_elements_text(configured::jsonb)), ARRAY(SELECT jsonb_array_elements_text(detected::jsonb)),
    created_at, updated_at
FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::timestamptz[], $6::int[], $7::text[], $8::timestamptz[],
    $9::timestamptz[], $10::timestamptz[], $11::int[], $12::text[], $13::text[], $14::timestamptz[], $15::timestamptz[])
    AS i(session_id, device_id, path, start_ts, end_ts, postroll_sec, reason, media_connect_ts, media_start_ts, media_end_ts,
         start_offset, configured, detected, created_at, updated_at)
ON CONFLICT (session_id) DO UPDATE SET
    device_id = excluded.device_id,
    path = excluded.path,
    status = CASE WHEN excluded.end_ts IS NULL AND s.end_ts IS NOT NULL THEN s.status ELSE excluded.status END,
    end_ts = coalesce(excluded.end_ts, s.end_ts),
    postroll_sec = CASE WHEN excluded.end_ts IS NULL AND s.end_ts IS NOT NULL THEN s.postroll_sec ELSE excluded.postroll_sec END,
    reason = excluded.reason,
    media_connect_ts = excluded.media_connect_ts,
    media_start_ts = excluded.media_start_ts,
    media_end_ts = excluded.media_end_ts,
    recommended_start_offset_ms = excluded.recommended_start_offset_ms,
    configured_classes = excluded.configured_classes,
    detected_classes = excluded.detected_classes,
    created_at = excluded.created_at,
    updated_at = excluded.updated_at
WHERE (s.device_id, s.path, s.status, s.end_ts, s.postroll_sec, s.reason, s.media_connect_ts, s.media_start_ts, s.media_end_ts,
       s.recommended_start_offset_ms, s.configured_classes, s.detected_classes, s.created_at)
    IS DISTINCT FROM
      (excluded.device_id, excluded.path, excluded.status, excluded.end_ts, excluded.postroll_sec, excluded.reason,
       excluded.media_connect_ts, excluded.media_start_ts, excluded.media_end_ts, excluded.recommended_start_offset_ms,
       excluded.configured_classes, excluded.detected_classes, excluded.created_at)";

/// First their detections, as whoever writes out a picture takes them before what is noted of it.
const LOCK: &str = "
SELECT FROM unnest($2::text[]) AS i(session_id) CROSS JOIN LATERAL (
    SELECT FROM detections d WHERE d.session_id = i.session_id AND EXISTS (
        SELECT FROM session_store.owners o WHERE o.session_id = i.session_id AND o.gateway_id = $1) FOR UPDATE) AS d";
/// Their pictures go as well, and what was noted of them.
const FORGET: &str = "
WITH mine AS (SELECT session_id FROM session_store.owners WHERE session_id = ANY($2::text[]) AND gateway_id = $1),
asked AS (DELETE FROM session_store.frames f USING mine m WHERE f.gateway_id = $1 AND f.session_id = m.session_id),
guarded AS (DELETE FROM session_store.guards g USING mine m WHERE g.gateway_id = $1 AND g.session_id = m.session_id),
diverged AS (DELETE FROM session_store.diverged v USING mine m WHERE v.gateway_id = $1 AND v.session_id = m.session_id)
INSERT INTO session_store.beaten_frames (gateway_id, url_frame)
SELECT $1, d.url_frame FROM detections d JOIN mine m USING (session_id) WHERE $3 AND d.url_frame IS NOT NULL
ON CONFLICT DO NOTHING";
const DELETE: &str = "
DELETE FROM sessions USING session_store.owners o
WHERE sessions.session_id = ANY($2::text[]) AND o.session_id = sessions.session_id AND o.gateway_id = $1";
const DISOWN: &str = "DELETE FROM session_store.owners WHERE session_id = ANY($2::text[]) AND gateway_id = $1";

/// Prepared on one connection.
pub struct Statements {
    claim: Statement,
    owned: Statement,
    upsert: Statement,
}

impl Statements {
    /// Prepares them.
    pub async fn prepare(client: &Client) -> Result<Self, Trouble> {
        Ok(Self {
            claim: client.prepare(CLAIM).await?,
            owned: client.prepare(OWNED).await?,
            upsert: client.prepare(UPSERT).await?,
        })
    }

    /// Claims `sessions` for `gateway` as far as nobody else has, and says which are its own.
    pub async fn claim(&self, tx: &Transaction<'_>, gateway: &str, sessions: &[&Session]) -> Result<HashSet<String>, Trouble> {
        let ids: Vec<&str> = sessions.iter().map(|session| session.id.as_str()).collect();
        let devices: Vec<&str> = sessions.iter().map(|session| session.device_id.as_str()).collect();
        let starts: Vec<Moment> = sessions.iter().map(|session| Moment(session.start)).collect();
        tx.execute(&self.claim, &[&gateway, &ids, &devices, &starts]).await?;
        let rows = tx.query(&self.owned, &[&gateway, &ids]).await?;
        Ok(rows.into_iter().map(|row| row.get(0)).collect())
    }

    /// Writes rows.
    pub async fn write(&self, tx: &Transaction<'_>, sessions: &[&Session]) -> Result<u64, Trouble> {
        macro_rules! column {
            ($session:ident => $value:expr) => {
                sessions.iter().map(|$session| $value).collect::<Vec<_>>()
            };
        }
        let list = |classes: &[String]| serde_json::to_string(classes).map_err(|error| Trouble::Row(error.to_string()));
        let configured = sessions.iter().map(|session| list(&session.configured_classes)).collect::<Result<Vec<_>, _>>()?;
        let detected = sessions.iter().map(|session| list(&session.detected_classes)).collect::<Result<Vec<_>, _>>()?;
        let written = tx
            .execute(
                &self.upsert,
                &[
                    &column!(session => session.id.as_str()),
                    &column!(session => session.device_id.as_str()),
                    &column!(session => session.path.as_str()),
                    &column!(session => Moment(session.start)),
                    &column!(session => session.end.map(|end| Moment(end.at))),
                    &column!(session => session.postroll_sec),
                    &column!(session => session.reason.as_deref()),
                    &column!(session => session.media_connect.map(Moment)),
                    &column!(session => session.media_start.map(Moment)),
                    &column!(session => session.media_end.map(Moment)),
                    &column!(session => session.recommended_start_offset_ms),
                    &configured,
                    &detected,
                    &column!(session => Moment(session.created_at)),
                    &column!(session => Moment(session.updated_at)),
                ],
            )
            .await?;
        Ok(written)
    }
}

/// Deletes the rows of sessions that are no more, as far as they are `gateway`'s; with their pictures, where some `sees` them.
pub async fn delete(tx: &Transaction<'_>, gateway: &str, ids: &[SessionId], sees: bool) -> Result<(), Trouble> {
    let ids: Vec<&str> = ids.iter().map(SessionId::as_str).collect();
    tx.execute(LOCK, &[&gateway, &ids]).await?;
    tx.execute(FORGET, &[&gateway, &ids, &sees]).await?;
    tx.execute(DELETE, &[&gateway, &ids]).await?;
    tx.execute(DISOWN, &[&gateway, &ids]).await?;
    Ok(())
}
