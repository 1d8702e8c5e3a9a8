//! `session-store import`.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use crate::config::Loaded;
use crate::media::frames::FramesFolder;
use crate::service::import::{Imported, import};

use super::offline;

#[derive(Args)]
pub struct Arguments {
    /// The NDJSON to read; - is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Takes the file in.
pub fn run(arguments: &Arguments, loaded: &Loaded) -> Result<ExitCode, String> {
    let (input, length) = open(&arguments.file)?;
    let store = offline::open(&loaded.config, offline::CACHE_BYTES)?;
    let frames = FramesFolder::new(loaded.config.frames.storage_path.clone());
    let bar = progress_bar(length);
    let result = import(&store, &frames, input, |stored, bytes| {
        bar.set_position(bytes);
        bar.set_message(format!("{} lines", stored.lines));
    });
    store.close();
    bar.finish_and_clear();
    match result {
        Ok(stored) => {
            eprintln!("{}", summary(&stored));
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => Err(format!("{}\nNothing of its batch was stored; before it: {}", error.reason, summary(&error.stored))),
    }
}

fn summary(stored: &Imported) -> String {
    let Imported { lines, sessions, detections, deleted, unchanged, frames_missing } = stored;
    format!(
        "{lines} lines read: {sessions} sessions and {detections} detections stored, {deleted} sessions deleted, {unchanged} lines \
         changed nothing, {frames_missing} frames are missing"
    )
}

fn open(path: &Path) -> Result<(Box<dyn BufRead + Send>, Option<u64>), String> {
    if path == Path::new("-") {
        return Ok((Box::new(BufReader::new(io::stdin())), None));
    }
    let file = File::open(path).map_err(|error| format!("{} cannot be read: {error}.", path.display()))?;
    let length = file.metadata().map(|file| file.len()).ok();
    Ok((Box::new(BufReader::with_capacity(1 << 20, file)), length))
}

/// Shows itself on a terminal only.
fn progress_bar(length: Option<u64>) -> ProgressBar {
    let (bar, template) = match length {
        Some(length) => (ProgressBar::new(length), "{bar:40} {percent:>3} % {bytes}/{total_bytes} {msg}, {eta} left"),
        None => (ProgressBar::new_spinner(), "{spinner} {bytes} {msg}"),
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
