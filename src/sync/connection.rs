//! One connection to the central database.

use std::time::Duration;

use tokio_postgres::Client;

use super::address::Address;
use super::tls;
use super::trouble::Trouble;

/// What no answer may take longer than: a lock, a statement, an answer at all.
const SETTINGS: &str = "SET lock_timeout = '15s'; SET statement_timeout = '120s'; SET idle_in_transaction_session_timeout = '60s'; \
                        SET client_encoding = 'UTF8'; SET datestyle = 'ISO'; SET timezone = 'UTC'; SET synchronous_commit = on";
const CONNECT_WITHIN: Duration = Duration::from_secs(20);

/// Connects.
pub async fn connect(address: &Address) -> Result<Client, Trouble> {
    let connector = tls::connector(address).map_err(Trouble::Away)?;
    let connected = tokio::time::timeout(CONNECT_WITHIN, address.config.connect(connector)).await;
    let connected = connected.map_err(|_| Trouble::Away(format!("{} does not answer", address.shown)))?;
    let (client, connection) = connected?;
    tokio::spawn(async move {
        // What breaks it is told to whoever uses it.
        let _ = connection.await;
    });
    client.batch_execute(SETTINGS).await?;
    Ok(client)
}
