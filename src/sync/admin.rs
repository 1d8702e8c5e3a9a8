//! What an operator asks of the central database, beside the daemon.

use tokio_postgres::Client;

use super::address::Address;
use super::connection::connect;
use super::trouble::Trouble;

/// Rows that are shown of what was set aside.
const SHOWN: i64 = 20;

/// What is noted of a gateway's sessions, and by what.
const NOTED: [(&str, &[&str]); 3] = [
    ("guards", &["session_id", "track_id"]),
    ("frames", &["session_id", "track_id", "url_frame"]),
    ("beaten_frames", &["url_frame"]),
];
const REBUILD: &str = "UPDATE session_store.gateways SET place = -1, first_place = 0, swept_at = NULL WHERE gateway_id = $1";

/// How a gateway stands, by the central database.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    /// Up to which number of its feed all is central; none where the gateway has never been there.
    pub place: Option<u64>,
    /// Its sessions there.
    pub sessions: u64,
    /// Pictures that were asked for and are not yet sent.
    pub frames_wanted: u64,
    /// Pictures that were sent and are not yet written out by `receive-frames`.
    pub frames_sent: u64,
    /// Rows set aside.
    pub set_aside: u64,
    /// The first of them: session, track, error.
    pub examples: Vec<(String, String, String)>,
    /// Other gateways there, by how many sessions they have.
    pub others: Vec<(String, u64)>,
}

fn run<T>(address: &Address, work: impl AsyncFnOnce(&mut Client) -> Result<T, Trouble>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    let done = runtime.block_on(async {
        let mut client = connect(address).await?;
        work(&mut client).await
    });
    done.map_err(|trouble| format!("The central Postgres at {} cannot be used: {trouble}.", address.shown))
}

/// How `gateway` stands.
///
/// # Errors
/// A sentence.
pub fn standing(address: &Address, gateway: &str) -> Result<Standing, String> {
    run(address, async |client| {
        let place = client.query_opt("SELECT place FROM session_store.gateways WHERE gateway_id = $1", &[&gateway]).await?;
        let count = async |sql: &str| -> Result<u64, Trouble> {
            Ok(client.query_one(sql, &[&gateway]).await?.get::<_, i64>(0).unsigned_abs())
        };
        let examples = client
            .query(
                "SELECT session_id, track_id, error FROM session_store.set_aside WHERE gateway_id = $1 ORDER BY at DESC LIMIT $2",
                &[&gateway, &SHOWN],
            )
            .await?;
        let others = client
            .query(
                "SELECT gateway_id, count(*) FROM session_store.owners WHERE gateway_id <> $1 GROUP BY 1 ORDER BY 2 DESC LIMIT $2",
                &[&gateway, &SHOWN],
            )
            .await?;
        Ok(Standing {
            place: place.map(|row| row.get::<_, i64>(0).unsigned_abs()),
            sessions: count("SELECT count(*) FROM session_store.owners WHERE gateway_id = $1").await?,
            frames_wanted: count(
                "SELECT count(*) FROM session_store.frames WHERE gateway_id = $1 AND sent IS DISTINCT FROM length",
            )
            .await?,
            frames_sent: count("SELECT count(*) FROM session_store.frames WHERE gateway_id = $1 AND sent = length").await?,
            set_aside: count("SELECT count(*) FROM session_store.set_aside WHERE gateway_id = $1").await?,
            examples: examples.into_iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect(),
            others: others.into_iter().map(|row| (row.get(0), row.get::<_, i64>(1).unsigned_abs())).collect(),
        })
    })
}

/// Has what was set aside pushed again; says how many rows that are.
///
/// # Errors
/// A sentence.
pub fn retry(address: &Address, gateway: &str) -> Result<u64, String> {
    run(address, async |client| {
        Ok(client.execute("UPDATE session_store.set_aside SET retry = TRUE WHERE gateway_id = $1", &[&gateway]).await?)
    })
}

/// Has everything compared from the beginning; says whether the gateway is known there.
///
/// # Errors
/// A sentence.
pub fn rebuild(address: &Address, gateway: &str) -> Result<bool, String> {
    run(address, async |client| {
        let moved = client.execute(REBUILD, &[&gateway]).await?;
        Ok(moved > 0)
    })
}

/// Makes the sessions of the gateway `from` those of `gateway`; says how many. Then everything is to be compared.
///
/// # Errors
/// A sentence.
pub fn take_over(address: &Address, gateway: &str, from: &str) -> Result<u64, String> {
    run(address, async |client| {
        let tx = client.transaction().await?;
        let taken =
            tx.execute("UPDATE session_store.owners SET gateway_id = $1 WHERE gateway_id = $2", &[&gateway, &from]).await?;
        for (table, key) in NOTED {
            let columns = |of: &str| key.iter().map(|column| format!("{of}.{column}")).collect::<Vec<_>>().join(", ");
            // Where both have noted the same, one note is enough.
            let twice = format!(
                "DELETE FROM session_store.{table} t USING session_store.{table} m WHERE t.gateway_id = $2 AND m.gateway_id = $1 \
                 AND ({}) = ({})",
                columns("t"),
                columns("m")
            );
            tx.execute(&twice, &[&gateway, &from]).await?;
            let moved = format!("UPDATE session_store.{table} SET gateway_id = $1 WHERE gateway_id = $2");
            tx.execute(&moved, &[&gateway, &from]).await?;
        }
        tx.execute(REBUILD, &[&gateway]).await?;
        tx.commit().await?;
        Ok(taken)
    })
}
