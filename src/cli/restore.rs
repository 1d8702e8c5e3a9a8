//! `session-store restore`.

use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use crate::config::Loaded;
use crate::media::frames::FramesFolder;
use crate::media::restoring::{Filling, Generation};
use crate::runtime::clock::SystemClock;
use crate::service::restore::{Restored, check, restore};
use crate::service::verify::Verification;
use crate::store::{Building, Store};

use super::verify::Report;
use super::{guard, offline};

#[derive(Args)]
pub struct Arguments {
    /// The backup's folder (its newest generation is taken), one generation in it, or - for a tar archive on standard input
    #[arg(value_name = "DIR|-")]
    from: PathBuf,
}

/// Restores, and proves it.
pub fn run(arguments: &Arguments, loaded: &Loaded) -> Result<ExitCode, String> {
    guard::guard(&loaded.config, || run_guarded(arguments, loaded))
}

fn run_guarded(arguments: &Arguments, loaded: &Loaded) -> Result<ExitCode, String> {
    let config = &loaded.config;
    let frames = FramesFolder::new(config.frames.storage_path.clone());
    let is_stream = arguments.from == Path::new("-");
    let unreadable = |error: io::Error| format!("There is no backup at {} that can be read: {error}.", arguments.from.display());
    // Before anything is made.
    let generation = if is_stream {
        None
    } else {
        let generation = Generation::newest(&arguments.from).map_err(unreadable)?;
        check(&generation)?;
        Some(generation)
    };
    let building = Building::begin(&offline::options_to_build(config), Arc::new(SystemClock::default()))
        .map_err(|error| offline::sentence(&error))?;
    let root = frames.root().display().to_string();
    let mut filling = Filling::begin(&frames).map_err(|error| match error.kind() {
        io::ErrorKind::DirectoryNotEmpty => {
            format!("The frames folder {root} is not empty: nothing is restored over what is there. Move it away, or set [frames] storage_path.")
        }
        _ => format!("The frames folder {root} cannot be written: {error}."),
    })?;
    let generation = match generation {
        Some(generation) => generation,
        None => {
            let generation = filling.unpack(BufReader::with_capacity(1 << 20, io::stdin())).map_err(unreadable)?;
            check(&generation)?;
            generation
        }
    };
    let manifest = check(&generation)?;
    let bar = progress_bar(manifest.catalogue_bytes);
    let restored = restore(&building.store, &generation, &mut filling, &mut |done| bar.set_position(done))?;
    bar.finish_and_clear();
    let (report, proved) = prove(&building.store, &frames);
    let identity = building.store.identity().clone();
    building.finish().map_err(|error| offline::sentence(&error))?;
    // Only now: a mark without its store would make this folder somebody's. The other way round the daemon makes the mark.
    frames.pair(&identity.uuid).map_err(|error| format!("The frames folder {root} cannot be written: {error}."))?;
    filling.end().map_err(|error| format!("The frames folder {root} cannot be written: {error}."))?;
    eprintln!("{}, as of {}", summary(&restored), manifest.made_at);
    Ok(report.end(proved))
}

/// `verify --deep` of what was made.
pub fn prove(store: &Store, frames: &FramesFolder) -> (Report, Result<(), String>) {
    let mut report = Report::new(false);
    let mut verification = Verification::new(store.clone(), frames.clone(), true);
    while let Some(verdicts) = verification.step() {
        for verdict in &verdicts {
            report.take(verdict);
        }
    }
    (report, Ok(()))
}

/// What came back, for a person; what did not is listed.
pub fn summary(restored: &Restored) -> String {
    for (session, track) in &restored.missing {
        eprintln!(
            "session {session}, track {track:?}: its frame is missing, the detection has come back without it",
            track = track.as_str()
        );
    }
    let Restored { sessions, detections, frames, missing } = restored;
    format!("{sessions} sessions, {detections} detections, {frames} of them with their frames, {} without theirs", missing.len())
}

fn progress_bar(length: u64) -> ProgressBar {
    let bar = ProgressBar::new(length);
    match ProgressStyle::with_template("{bar:40} {percent:>3} % {bytes}/{total_bytes}, {eta} left") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
