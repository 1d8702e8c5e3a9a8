//! `session-store repair`.

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use clap::Args;
use indicatif::ProgressBar;

use crate::config::{Config, Loaded};
use crate::media::frames::FramesFolder;
use crate::service::repair::{Tell, quarantine, repair};
use crate::store::{Mended, Store, check_pages, set_aside_path};

use super::{guard, offline, rebuild};

#[derive(Args)]
pub struct Arguments {
    /// Read each frame; one that is no whole JPEG is treated as one that is gone
    #[arg(long)]
    deep: bool,
    /// After the loss of the database: make a new one from what lies in the frames folder
    #[arg(long, conflicts_with = "deep")]
    from_files: bool,
}

/// Repairs the stopped store.
pub fn run(arguments: &Arguments, loaded: &Loaded) -> Result<ExitCode, String> {
    let config = &loaded.config;
    if arguments.from_files {
        return rebuild::run(config);
    }
    guard::guard(config, || mend(arguments.deep, config))
}

#[derive(Default)]
struct Count {
    bare: u64,
    aside: u64,
    records: u64,
}

fn mend(deep: bool, config: &Config) -> Result<ExitCode, String> {
    let path = &config.database.path;
    if !path.exists() {
        return Err(format!(
            "There is no store at {}: see [database] path. If it is lost, `restore` a backup, or `repair --from-files`.",
            path.display()
        ));
    }
    check_pages(path, offline::CACHE_BYTES).map_err(|error| offline::sentence(&error))?;
    let store = offline::open_to_look(config)?;
    let frames = FramesFolder::new(config.frames.storage_path.clone());
    let aside = set_aside_path(path);
    let bar = ProgressBar::new_spinner();
    let count = Arc::new(Mutex::new(Count::default()));
    let tell = teller(&bar, Arc::clone(&count));
    repair(&store, &frames, deep, &aside, &tell)?;
    let moved = move_strangers(&store, &frames, &bar)?;
    store.close();
    bar.finish_and_clear();
    let count = count.lock().unwrap_or_else(PoisonError::into_inner);
    let Count { bare, aside: set_aside, records } = &*count;
    eprintln!(
        "{records} records put in order with new indexes and a new feed; {bare} detections lost their picture, {moved} files went \
         to quarantine, {set_aside} records were set aside{}",
        if *set_aside > 0 { format!(" in {}", aside.display()) } else { String::new() }
    );
    Ok(ExitCode::SUCCESS)
}

/// Moves what no row names, a line each.
pub fn move_strangers(store: &Store, frames: &FramesFolder, bar: &ProgressBar) -> Result<u64, String> {
    quarantine(store, frames, &mut |from, to| {
        bar.suspend(|| println!("{from}: no row names this file; it is now {}", to.display()));
    })
}

fn teller(bar: &ProgressBar, count: Arc<Mutex<Count>>) -> Tell {
    let bar = bar.clone();
    Arc::new(Mutex::new(move |mended| {
        let mut count = count.lock().unwrap_or_else(PoisonError::into_inner);
        match mended {
            Mended::Records(records) => {
                count.records = records;
                bar.set_message(format!("{records} records"));
                bar.tick();
            }
            Mended::Bare { session, track, file, why } => {
                count.bare += 1;
                let track = track.as_str();
                bar.suspend(|| {
                    println!("session {session}, track {track:?}: it had the picture {file}, and {why}; it is kept without");
                });
            }
            Mended::SetAside { table, key, why } => {
                count.aside += 1;
                bar.suspend(|| println!("{table}: the record of {key} cannot be used and is set aside: {why}"));
            }
        }
    }))
}
