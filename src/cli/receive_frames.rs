//! `session-store receive-frames`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::config::Loaded;
use crate::runtime::telemetry;
use crate::sync::receive;

use super::serve;

#[derive(Args)]
pub struct Arguments {
    /// The enricher's frames folder; it must exist
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Write out what has arrived, and end
    #[arg(long)]
    once: bool,
}

/// Does it.
pub fn run(arguments: &Arguments, loaded: &Loaded) -> Result<ExitCode, String> {
    let config = &loaded.config;
    let address = serve::central_address(config)?.ok_or("There is no central Postgres: set [sync] url.")?;
    let folder = &arguments.folder;
    if !folder.is_dir() {
        return Err(format!("{} is no folder: name the one in which the enricher looks for frames.", folder.display()));
    }
    let log = telemetry::start(config.log.level, serve::log_format(config))?;
    let received = receive::run(&address, folder, arguments.once);
    log.finish();
    let received = received?;
    eprintln!("{} pictures written, {} damaged, {} deleted", received.written, received.damaged, received.deleted);
    Ok(ExitCode::SUCCESS)
}
