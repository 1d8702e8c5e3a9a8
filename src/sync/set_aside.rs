//! Rows that the central database refused: kept there with their error, so that they hold up no other.

use tokio_postgres::{Client, GenericClient};

use crate::domain::ids::{SessionId, TrackId};

use super::trouble::Trouble;

/// What is set aside: a session, or a detection of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    /// The session.
    pub session: SessionId,
    /// The detection's track; none for the session itself.
    pub track: Option<TrackId>,
}

/// Texts with NUL are among what is refused.
fn writable(text: &str) -> String {
    text.replace('\0', "\u{2400}")
}

/// Sets a row aside.
pub async fn put(client: &Client, gateway: &str, key: &Key, error: &str, row: &str) -> Result<(), Trouble> {
    let track = key.track.as_ref().map_or("", TrackId::as_str);
    client
        .execute(
            "INSERT INTO session_store.set_aside (gateway_id, session_id, track_id, error, refused_row) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (gateway_id, session_id, track_id) \
             DO UPDATE SET error = excluded.error, refused_row = excluded.refused_row, at = now(), retry = FALSE",
            &[&gateway, &key.session.as_str(), &track, &writable(error), &writable(row)],
        )
        .await?;
    Ok(())
}

/// How many rows are set aside.
pub async fn count(client: &Client, gateway: &str) -> Result<u64, Trouble> {
    let row = client.query_one("SELECT count(*) FROM session_store.set_aside WHERE gateway_id = $1", &[&gateway]).await?;
    Ok(row.get::<_, i64>(0).unsigned_abs())
}

/// Those that are to be tried again.
pub async fn to_retry(client: &Client, gateway: &str, limit: i64) -> Result<Vec<Key>, Trouble> {
    let rows = client
        .query(
            "SELECT session_id, track_id FROM session_store.set_aside WHERE gateway_id = $1 AND retry \
             ORDER BY session_id, track_id LIMIT $2",
            &[&gateway, &limit],
        )
        .await?;
    let key = |row: tokio_postgres::Row| {
        let track: &str = row.get(1);
        let track = if track.is_empty() { None } else { Some(TrackId::new("track", track).ok()?) };
        Some(Key { session: SessionId::new("session", row.get::<_, String>(0)).ok()?, track })
    };
    Ok(rows.into_iter().filter_map(key).collect())
}

/// Takes rows back in: they are being written, or are no more.
pub async fn clear(client: &impl GenericClient, gateway: &str, keys: &[Key]) -> Result<(), Trouble> {
    let sessions: Vec<&str> = keys.iter().map(|key| key.session.as_str()).collect();
    let tracks: Vec<&str> = keys.iter().map(|key| key.track.as_ref().map_or("", TrackId::as_str)).collect();
    client
        .execute(
            "DELETE FROM session_store.set_aside s USING unnest($2::text[], $3::text[]) AS i(session_id, track_id) \
         WHERE s.gateway_id = $1 AND s.session_id = i.session_id AND s.track_id = i.track_id",
            &[&gateway, &sessions, &tracks],
        )
        .await?;
    Ok(())
}
