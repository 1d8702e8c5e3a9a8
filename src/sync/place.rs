//! How far this gateway's feed is central. Kept there, so that neither side can be ahead of the other unnoticed.

use tokio_postgres::{Client, Statement, Transaction};

use super::trouble::Trouble;

/// Only from where this gateway believes it to be.
pub const ADVANCE: &str = "UPDATE session_store.gateways SET place = $3, seen_at = now() WHERE gateway_id = $1 AND place = $2";

/// Who is at which place.
#[derive(Debug, Clone)]
pub struct Place {
    /// The gateway.
    pub gateway: String,
    /// Up to which number of the feed all is central, by the central database.
    pub committed: i64,
}

/// Reads the place of `gateway`, or makes it. It is 0 where the feed is another one than was read before, or frames get there
/// in another way.
pub async fn load(
    client: &mut Client,
    gateway: &str,
    uuid: &str,
    epoch: &str,
    head: u64,
    frames: &str,
) -> Result<Place, Trouble> {
    let tx = client.transaction().await?;
    let row = tx
        .query_opt(
            "SELECT store_uuid, epoch, place, frames FROM session_store.gateways WHERE gateway_id = $1 FOR UPDATE",
            &[&gateway],
        )
        .await?;
    let mut committed = 0;
    match row {
        None => {
            tx.execute(
                "INSERT INTO session_store.gateways (gateway_id, store_uuid, epoch, place, frames) VALUES ($1, $2, $3, 0, $4)",
                &[&gateway, &uuid, &epoch, &frames],
            )
            .await?;
        }
        Some(row) => {
            let (known_epoch, place, known_frames): (&str, i64, &str) = (row.get(1), row.get(2), row.get(3));
            let is_behind = u64::try_from(place).is_ok_and(|place| place > head);
            if known_epoch == epoch && known_frames == frames && !is_behind {
                committed = place;
            } else {
                if known_epoch != epoch || is_behind {
                    tracing::warn!(
                        gateway,
                        "the change feed is not the one that the central database has followed, as after a restore: all is compared anew"
                    );
                }
                // What came back may be lost here as well.
                tx.execute(
                    "UPDATE session_store.gateways SET store_uuid = $2, epoch = $3, place = 0, frames = $4, \
                     swept_at = NULL, seen_at = now() WHERE gateway_id = $1",
                    &[&gateway, &uuid, &epoch, &frames],
                )
                .await?;
            }
        }
    }
    tx.commit().await?;
    Ok(Place { gateway: gateway.to_owned(), committed })
}

impl Place {
    /// Looks whether the place is still where it was.
    pub async fn check(&self, client: &Client) -> Result<(), Trouble> {
        let row = client.query_opt("SELECT place FROM session_store.gateways WHERE gateway_id = $1", &[&self.gateway]).await?;
        if row.is_some_and(|row| row.get::<_, i64>(0) == self.committed) { Ok(()) } else { Err(Trouble::Moved) }
    }

    /// Moves the place within the transaction that made it true; `advance` is `ADVANCE`, prepared.
    pub async fn advance(&self, tx: &Transaction<'_>, advance: &Statement, to: i64) -> Result<(), Trouble> {
        let moved = tx.execute(advance, &[&self.gateway, &self.committed, &to]).await?;
        // A rebuild was asked for, or an older backup was put back, or another store has the same name.
        if moved == 1 { Ok(()) } else { Err(Trouble::Moved) }
    }
}
