//! `session-store export`.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use crate::config::Loaded;
use crate::http::{FEED_NEXT, client};
use crate::service::ServiceError;
use crate::service::export::{export_more, export_some};
use crate::store::StoreError;

use super::{daemon, offline};

#[derive(Args)]
pub struct Arguments {
    /// Only what changed after this number of the feed (an earlier export named it)
    #[arg(long, value_name = "N", default_value_t = 0)]
    since: u64,
    /// Ask the running daemon at this address instead of reading the store
    #[arg(long, value_name = "URL")]
    from: Option<String>,
    /// Where to write; - is standard output
    #[arg(long, short, value_name = "FILE", default_value = "-")]
    output: PathBuf,
}

/// Writes the export.
pub fn run(arguments: &Arguments, loaded: &Loaded) -> Result<ExitCode, String> {
    let mut output = open(&arguments.output)?;
    match &arguments.from {
        Some(url) => {
            let url = format!("{}/export?since={}", url.trim_end_matches('/'), arguments.since);
            let headers = client::get(&url, daemon::secret(&loaded.config).as_ref(), |chunk| output.write_all(chunk))?;
            output.flush().map_err(|error| broken(&error))?;
            if let Some(next) = headers.get(FEED_NEXT).and_then(|next| next.to_str().ok()) {
                eprintln!("next: --since {next}");
            }
        }
        None => {
            let path = &loaded.config.database.path;
            if !path.exists() {
                return Err(format!("There is no store at {}: see [database] path.", path.display()));
            }
            let store = offline::open(&loaded.config, 0)?;
            let mut next = arguments.since;
            let unreadable = |error: StoreError| format!("The store cannot be read: {error}.");
            let snapshot = store.read().map_err(unreadable)?;
            let mut piece = export_some(&snapshot, next).map_err(|error| match error {
                ServiceError::Restarted => format!("--since {next} is not a number of this store's feed: begin again at 0."),
                other => format!("The store cannot be read: {other}."),
            })?;
            drop(snapshot);
            while let Some((lines, after)) = piece {
                output.write_all(&lines).map_err(|error| broken(&error))?;
                next = after;
                piece = export_more(&store.read().map_err(unreadable)?, next).map_err(unreadable)?;
            }
            output.flush().map_err(|error| broken(&error))?;
            store.close();
            eprintln!("next: --since {next}");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn open(path: &Path) -> Result<Box<dyn Write>, String> {
    if path == Path::new("-") {
        return Ok(Box::new(io::BufWriter::new(io::stdout().lock())));
    }
    let file = File::create(path).map_err(|error| format!("{} cannot be written: {error}.", path.display()))?;
    Ok(Box::new(io::BufWriter::new(file)))
}

fn broken(error: &io::Error) -> String {
    format!("The export cannot be written: {error}.")
}
