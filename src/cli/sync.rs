//! `session-store sync`.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::Value;

use crate::config::Loaded;
use crate::http::client::ANSWER_WITHIN;
use crate::store;
use crate::sync::address::Address;
use crate::sync::admin;

use super::{daemon, offline, serve};

#[derive(Args)]
pub struct Arguments {
    /// The daemon's address [default: the configured host and port]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Tell how far behind the central database is, the last error, and what was set aside.
    ///
    /// Exit status: 0 all is central, 1 something is not, or the central database cannot be reached.
    Status,
    /// Have the daemon push again what was set aside.
    Retry,
    /// Have the daemon compare everything with the central database, from the beginning.
    Rebuild,
    /// Make another gateway's sessions this one's.
    TakeOver {
        /// The other gateway's name, as `status` lists it
        #[arg(value_name = "GATEWAY")]
        from: String,
    },
}

/// Does it.
pub fn run(arguments: &Arguments, loaded: &Loaded) -> Result<ExitCode, String> {
    let address = serve::central_address(&loaded.config)?.ok_or("There is no central Postgres: set [sync] url.")?;
    let health = health(arguments, loaded);
    let gateway = gateway(loaded, health.as_ref())?;
    match &arguments.command {
        Command::Status => status(&address, &gateway, health.as_ref()),
        Command::Retry => {
            let rows = admin::retry(&address, &gateway)?;
            println!("{rows} rows are to be pushed again.");
            Ok(ExitCode::SUCCESS)
        }
        Command::Rebuild => {
            if !admin::rebuild(&address, &gateway)? {
                return Err(format!("The gateway {gateway} has never been there: the daemon pushes everything anyway."));
            }
            println!("The daemon compares everything from the beginning.");
            Ok(ExitCode::SUCCESS)
        }
        Command::TakeOver { from } => {
            let taken = admin::take_over(&address, &gateway, from)?;
            println!("{taken} sessions of {from} are now those of {gateway}; the daemon compares everything.");
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// What the running daemon says of itself.
fn health(arguments: &Arguments, loaded: &Loaded) -> Option<Value> {
    if arguments.url.is_none() && !store::is_in_use(&loaded.config.database.path) {
        return None;
    }
    let url = arguments.url.clone().unwrap_or_else(|| daemon::address(&loaded.config));
    let url = format!("{}/health", url.trim_end_matches('/'));
    match daemon::json(&url, ANSWER_WITHIN, daemon::secret(&loaded.config).as_ref()) {
        Ok(health) => Some(health),
        Err(reason) => {
            eprintln!("session-store: {url} gives no answer: {reason}.");
            None
        }
    }
}

fn gateway(loaded: &Loaded, health: Option<&Value>) -> Result<String, String> {
    if let Some(id) = &loaded.config.sync.gateway_id {
        return Ok(id.clone());
    }
    if let Some(uuid) = health.and_then(|health| health["store_uuid"].as_str()) {
        return Ok(uuid.to_owned());
    }
    if !loaded.config.database.path.exists() {
        return Err(format!("There is no store at {}: see [database] path.", loaded.config.database.path.display()));
    }
    let store = offline::open_to_look(&loaded.config)?;
    let uuid = store.identity().uuid.clone();
    store.close();
    Ok(uuid)
}

fn status(address: &Address, gateway: &str, health: Option<&Value>) -> Result<ExitCode, String> {
    println!("gateway      {gateway}");
    println!("server       {}", address.shown);
    let mut is_behind = false;
    match health.map(|health| &health["sync"]).filter(|sync| sync.is_object()) {
        None => println!("daemon       does not run, or does not sync"),
        Some(sync) => {
            let number = |key: &str| sync[key].as_u64().unwrap_or(0);
            println!("state        {}", sync["state"].as_str().unwrap_or("unknown"));
            println!("behind       {} rows, {} seconds", number("lag_rows"), number("lag_seconds"));
            println!("pushed       {} rows by this process", number("pushed"));
            println!("came back    {} enrichments in this process", number("pulled"));
            if number("foreign_sessions") > 0 {
                println!("foreign      {} sessions are another gateway's and are not pushed", number("foreign_sessions"));
            }
            println!("last error   {}", sync["last_error"].as_str().unwrap_or("none"));
            is_behind = number("lag_rows") > 0 || number("foreign_sessions") > 0;
        }
    }
    let standing = admin::standing(address, gateway)?;
    match standing.place {
        None => println!("central      this gateway has never been there"),
        Some(place) => println!("central      {} sessions, the feed up to number {place}", standing.sessions),
    }
    if standing.frames_wanted + standing.frames_sent > 0 {
        let (wanted, sent) = (standing.frames_wanted, standing.frames_sent);
        println!("pictures     {wanted} to be sent, {sent} sent that wait for receive-frames");
    }
    println!("set aside    {} rows", standing.set_aside);
    for (session, track, error) in &standing.examples {
        let track = if track.is_empty() { String::new() } else { format!(", track {track}") };
        println!("  session {session}{track}: {error}");
    }
    if standing.sessions == 0 || is_behind {
        for (other, sessions) in &standing.others {
            println!("other        {other}: {sessions} sessions");
        }
    }
    let is_well = !is_behind && standing.set_aside == 0 && standing.place.is_some();
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
