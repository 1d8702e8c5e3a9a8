//! How far this gateway's feed is central. Kept there, so that neither side can be ahead of the other unnoticed.

use tokio_postgres::{Client, Statement, Transaction};

use crate::store::Runs;

use super::trouble::Trouble;

/// Only from where this gateway believes it to be, in its own feed: in a first pass the place itself does not move for long.
pub const ADVANCE: &str = "UPDATE session_store.gateways SET place = $4, first_place = $5, seen_at = now()
WHERE gateway_id = $1 AND place = $2 AND first_place = $3 AND epoch = $6";

/// Up to which number of the feed what is central.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reached {
    /// All.
    pub all: i64,
    /// Rows of the classes that go first.
    pub first: i64,
}

impl Reached {
    /// By the feed's numbers.
    pub fn new(all: u64, first: u64) -> Self {
        let signed = |number| i64::try_from(number).unwrap_or(i64::MAX);
        Self { all: signed(all), first: signed(first) }
    }
}

/// Who is at which place.
#[derive(Debug, Clone)]
pub struct Place {
    /// The gateway.
    pub gateway: String,
    /// Up to which number of the feed what is central, by the central database.
    pub committed: Reached,
    /// Of which feed.
    epoch: String,
}

/// The own feed.
#[derive(Debug, Clone, Copy)]
pub struct Feed<'f> {
    /// The store.
    pub uuid: &'f str,
    /// Another one numbers anew.
    pub epoch: &'f str,
    /// This process.
    pub run: &'f str,
    /// Those that went on with the store.
    pub runs: &'f Runs,
    /// The newest number.
    pub head: u64,
}

/// Reads the place of `gateway`, or makes it. It is 0 where the feed is another one than was read before, or frames get there
/// in another way.
pub async fn load(
    client: &mut Client,
    gateway: &str,
    feed: Feed<'_>,
    frames: &str,
    first_classes: &[String],
) -> Result<Place, Trouble> {
    let Feed { uuid, epoch, run, runs, head } = feed;
    let classes = serde_json::to_string(first_classes).map_err(|error| Trouble::Store(error.to_string()))?;
    let tx = client.transaction().await?;
    let row = tx
        .query_opt(
            "SELECT epoch, place, frames, first_place, first_classes, run FROM session_store.gateways WHERE gateway_id = $1 FOR UPDATE",
            &[&gateway],
        )
        .await?;
    let mut committed = Reached { all: 0, first: 0 };
    match row {
        None => {
            tx.execute(
                "INSERT INTO session_store.gateways (gateway_id, store_uuid, epoch, place, frames, first_classes) \
                 VALUES ($1, $2, $3, 0, $4, $5)",
                &[&gateway, &uuid, &epoch, &frames, &classes],
            )
            .await?;
        }
        Some(row) => {
            let (known_epoch, place, known_frames): (&str, i64, &str) = (row.get(0), row.get(1), row.get(2));
            let (first, known_classes): (i64, &str) = (row.get(3), row.get(4));
            let known_run: &str = row.get(5);
            let reached = u64::try_from(place.max(first)).unwrap_or(0);
            // The first version noted none.
            let is_copy = !known_run.is_empty() && !runs.vouch_for(known_run, reached);
            let is_other = known_epoch != epoch || reached > head || is_copy;
            if is_other {
                tracing::warn!(
                    gateway,
                    "the change feed is not the one that the central database has followed, as after a restore: all is compared anew"
                );
            }
            if is_other || known_frames != frames {
                // What came back may be lost here as well.
                tx.execute(
                    "UPDATE session_store.gateways SET store_uuid = $2, epoch = $3, place = 0, frames = $4, first_classes = $5, \
                     first_place = 0, swept_at = NULL, seen_at = now() WHERE gateway_id = $1",
                    &[&gateway, &uuid, &epoch, &frames, &classes],
                )
                .await?;
                if known_frames != frames {
                    // What is still wanted is asked for anew, in the new way.
                    tx.execute("DELETE FROM session_store.frames WHERE gateway_id = $1", &[&gateway]).await?;
                    tx.execute("DELETE FROM session_store.guards WHERE gateway_id = $1 AND $2 = 'none'", &[&gateway, &frames])
                        .await?;
                }
            } else if known_classes == classes {
                committed = Reached { all: place, first };
            } else {
                // Which rows went first is not known of other classes.
                committed = Reached { all: place, first: place };
                tx.execute(
                    "UPDATE session_store.gateways SET first_classes = $2, first_place = place WHERE gateway_id = $1",
                    &[&gateway, &classes],
                )
                .await?;
            }
        }
    }
    tx.execute("UPDATE session_store.gateways SET run = $2 WHERE gateway_id = $1 AND run <> $2", &[&gateway, &run]).await?;
    tx.commit().await?;
    Ok(Place { gateway: gateway.to_owned(), committed, epoch: epoch.to_owned() })
}

impl Place {
    /// Looks whether the place is still where it was.
    pub async fn check(&self, client: &Client) -> Result<(), Trouble> {
        let found = "SELECT place, first_place, epoch FROM session_store.gateways WHERE gateway_id = $1";
        let row = client.query_opt(found, &[&self.gateway]).await?;
        let is_there = row.is_some_and(|row| {
            let reached = Reached { all: row.get(0), first: row.get(1) };
            reached == self.committed && row.get::<_, &str>(2) == self.epoch
        });
        if is_there { Ok(()) } else { Err(Trouble::Moved) }
    }

    /// Moves the place within the transaction that made it true; `advance` is `ADVANCE`, prepared.
    pub async fn advance(&self, tx: &Transaction<'_>, advance: &Statement, to: Reached) -> Result<(), Trouble> {
        let Reached { all, first } = self.committed;
        let moved = tx.execute(advance, &[&self.gateway, &all, &first, &to.all, &to.first, &self.epoch]).await?;
        // A rebuild was asked for, or an older backup was put back, or another store has the same name.
        if moved == 1 { Ok(()) } else { Err(Trouble::Moved) }
    }
}
