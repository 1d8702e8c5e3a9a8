//! `session-store health`.

use std::process::ExitCode;

use clap::Args;

use crate::config::Loaded;
use crate::http::client::ANSWER_WITHIN;

use super::daemon;

/// The exit status where nobody answers.
const NO_ANSWER: u8 = 2;

#[derive(Args)]
pub struct Arguments {
    /// The daemon's address [default: the configured host and port]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

/// Asks, and tells by the exit status.
pub fn run(arguments: &Arguments, loaded: &Loaded) -> Result<ExitCode, String> {
    let url = arguments.url.clone().unwrap_or_else(|| daemon::address(&loaded.config));
    let asked = format!("{}/health", url.trim_end_matches('/'));
    let health = daemon::json(&asked, ANSWER_WITHIN, daemon::secret(&loaded.config).as_ref());
    Ok(match health {
        Err(reason) => {
            eprintln!("session-store: {url} gives no answer: {reason}");
            ExitCode::from(NO_ANSWER)
        }
        Ok(health) => {
            println!("{health:#}");
            if health["status"] == "ok" { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
    })
}
