//! The tables of the contract where they are missing, and the gateways' own in a schema of their own, by versions.

use tokio_postgres::Client;

use super::trouble::Trouble;

const CONTRACT: &str = include_str!("schema/contract.sql");
/// One after the other; never change one that was released.
const VERSIONS: [&str; 2] = [include_str!("schema/001.sql"), include_str!("schema/002.sql")];
/// Fifty gateways may start at once.
const LOCK: i64 = 0x7365_7373_7374_6f72;

/// Makes what is missing.
pub async fn prepare(client: &mut Client) -> Result<(), Trouble> {
    let wanted = i32::try_from(VERSIONS.len()).unwrap_or(i32::MAX);
    let found = known(client).await?;
    if found.version >= wanted && found.needs <= wanted && found.has_tables {
        return Ok(());
    }
    let tx = client.transaction().await?;
    tx.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK]).await?;
    let Known { version, needs, has_tables } = known(&tx).await?;
    if needs > wanted {
        return Err(Trouble::Away(format!(
            "the schema session_store has version {version}, and this program knows {wanted}: it was made by a newer session-store; \
             upgrade this one"
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

/// What is there.
struct Known {
    /// The version of the own schema; 0 for none.
    version: i32,
    /// The version that a program must know to use it.
    needs: i32,
    /// Whether the contract's tables are there.
    has_tables: bool,
}

async fn known(client: &impl tokio_postgres::GenericClient) -> Result<Known, Trouble> {
    let found = "SELECT to_regclass('session_store.migrations') IS NOT NULL, \
                 to_regclass('sessions') IS NOT NULL AND to_regclass('detections') IS NOT NULL";
    let row = client.query_one(found, &[]).await?;
    let has_tables = row.get(1);
    if !row.get::<_, bool>(0) {
        return Ok(Known { version: 0, needs: 0, has_tables });
    }
    // The column came with version 2.
    let versions = "SELECT coalesce(max(version), 0), coalesce(max((to_jsonb(m) ->> 'needs')::integer), 1) \
                    FROM session_store.migrations m";
    let row = client.query_one(versions, &[]).await?;
    Ok(Known { version: row.get(0), needs: row.get(1), has_tables })
}
