//! The tables of the contract where they are missing, and the gateways' own in a schema of their own, by versions.

use tokio_postgres::Client;

use super::trouble::Trouble;

const CONTRACT: &str = include_str!("schema/contract.sql");
/// One after the other; never change one that was released.
const VERSIONS: [&str; 1] = [include_str!("schema/001.sql")];
/// Fifty gateways may start at once.
const LOCK: i64 = 0x7365_7373_7374_6f72;

/// Makes what is missing.
pub async fn prepare(client: &mut Client) -> Result<(), Trouble> {
    let wanted = i32::try_from(VERSIONS.len()).unwrap_or(i32::MAX);
    if known(client).await? == (wanted, true) {
        return Ok(());
    }
    let tx = client.transaction().await?;
    tx.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK]).await?;
    let (version, has_tables) = known(&tx).await?;
    if version > wanted {
        return Err(Trouble::Away(format!(
            "the schema session_store has version {version}, and this program knows {wanted}: it was made by a newer session-store"
        )));
    }
    if version == 0 {
        // With IF NOT EXISTS it would ask for the right to make one all the same.
        let has_schema: bool = tx.query_one("SELECT to_regnamespace('session_store') IS NOT NULL", &[]).await?.get(0);
        if !has_schema {
            tx.batch_execute("CREATE SCHEMA session_store").await?;
        }
        tx.batch_execute(
            "CREATE TABLE IF NOT EXISTS session_store.migrations (version INTEGER PRIMARY KEY, at TIMESTAMPTZ NOT NULL DEFAULT now())",
        )
        .await?;
    }
    if !has_tables {
        tx.batch_execute(CONTRACT).await?;
    }
    for (number, statements) in (1_i32..).zip(VERSIONS).filter(|(number, _)| *number > version) {
        tx.batch_execute(statements).await?;
        tx.execute("INSERT INTO session_store.migrations (version) VALUES ($1)", &[&number]).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// The version of the own schema, 0 for none, and whether the contract's tables are there.
async fn known(client: &impl tokio_postgres::GenericClient) -> Result<(i32, bool), Trouble> {
    let found = "SELECT to_regclass('session_store.migrations') IS NOT NULL, \
                 to_regclass('sessions') IS NOT NULL AND to_regclass('detections') IS NOT NULL";
    let row = client.query_one(found, &[]).await?;
    let version = if row.get(0) {
        client.query_one("SELECT coalesce(max(version), 0) FROM session_store.migrations", &[]).await?.get(0)
    } else {
        0
    };
    Ok((version, row.get(1)))
}
