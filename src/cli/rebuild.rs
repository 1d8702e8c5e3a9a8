//! `session-store repair --from-files`.

use std::process::ExitCode;
use std::sync::Arc;

use indicatif::ProgressBar;

use crate::config::Config;
use crate::media::frames::FramesFolder;
use crate::runtime::clock::SystemClock;
use crate::service::rebuild::{Remark, rebuild};
use crate::store::Building;

use super::repair::move_strangers;
use super::restore::{prove, summary};
use super::{guard, offline};

/// What is told at the end, whatever came back.
const NOT_TOLD_BY_FILES: &str = "What no file tells has not come back: sessions that were open, or closed so shortly before the loss \
     that their record was not yet written; the list of MediaMTX's segments; the numbers of the change feed and what was deleted";

/// Builds the database anew.
pub fn run(config: &Config) -> Result<ExitCode, String> {
    guard::guard(config, || run_guarded(config))
}

fn run_guarded(config: &Config) -> Result<ExitCode, String> {
    let frames = FramesFolder::new(config.frames.storage_path.clone());
    let root = frames.root().display().to_string();
    let cannot = |error: std::io::Error| format!("The frames folder {root} cannot be read: {error}.");
    if !frames.root().is_dir() {
        return Err(format!("There is no frames folder at {root}: see [frames] storage_path."));
    }
    let owner = frames.owner().map_err(cannot)?;
    let building = Building::begin(&offline::options_to_build(config), Arc::new(SystemClock::default()))
        .map_err(|error| offline::sentence(&error))?;
    let bar = ProgressBar::new_spinner();
    let restored = rebuild(&building.store, &frames, &mut |remark| match remark {
        Remark::Sessions(sessions) => bar.set_message(format!("{sessions} sessions")),
        Remark::Unreadable(session, why) => bar.suspend(|| {
            println!("session {session}: the record beside its frames cannot be used: {why}; it does not come back");
        }),
        Remark::Recordless { folder, files, captures } => bar.suspend(|| {
            let when = captures.map_or(String::new(), |(first, last)| format!(", captured from {first} to {last}"));
            println!("{folder}: {files} files{when}, and no record of a session; it does not come back");
        }),
    })?;
    if let Some(uuid) = owner {
        let adopted = building.store.write_blocking(move |tx| tx.adopt(&uuid));
        adopted.map_err(|error| format!("The store cannot be written: {error}."))?;
    }
    building.finish().map_err(|error| offline::sentence(&error))?;
    // From here on a plain `repair` does the rest, should this be interrupted.
    let store = offline::open_to_look(config)?;
    let moved = move_strangers(&store, &frames, &bar)?;
    bar.finish_and_clear();
    let (report, proved) = prove(&store, &frames);
    store.close();
    eprintln!("{}; {moved} files went to quarantine. {NOT_TOLD_BY_FILES}.", summary(&restored));
    Ok(report.end(proved))
}
