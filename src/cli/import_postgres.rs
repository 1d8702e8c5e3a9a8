//! `session-store import-postgres`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use crate::config::Loaded;
use crate::media::frames::FramesFolder;
use crate::service::import::Imported;
use crate::service::migrate;
use crate::store::Store;
use crate::sync::address::{Address, Passwords};
use crate::sync::source::{Line, Source};

use super::offline;

/// Reasons that are printed; all are counted.
const SHOWN: usize = 1000;

#[derive(Args)]
pub struct Arguments {
    /// The earlier service's database: postgres://user:password@host:5432/session_store
    #[arg(value_name = "URL")]
    url: String,
    /// Copy the frames that the rows name from below this folder, too
    #[arg(long, value_name = "DIR")]
    frames: Option<PathBuf>,
    /// Compare both sides row by row afterwards
    #[arg(long)]
    verify: bool,
    /// Only compare
    #[arg(long, conflicts_with = "verify")]
    only_verify: bool,
}

/// Takes it in.
pub fn run(arguments: &Arguments, loaded: &Loaded) -> Result<ExitCode, String> {
    let config = &loaded.config;
    let address = Address::parse(&arguments.url, config.sync.ca_file.as_deref(), &Passwords::of_process())
        .map_err(|error| format!("The Postgres to import cannot be used: {error}."))?;
    let store = offline::open(config, offline::CACHE_BYTES)?;
    let frames = FramesFolder::new(config.frames.storage_path.clone());
    let done = work(arguments, &config.database.path, &address, &store, &frames);
    store.close();
    done
}

fn work(
    arguments: &Arguments,
    database: &Path,
    address: &Address,
    store: &Store,
    frames: &FramesFolder,
) -> Result<ExitCode, String> {
    let source = Source::open(address)?;
    let mut is_well = true;
    if !arguments.only_verify {
        if arguments.frames.is_some() {
            migrate::prepare_frames(store, frames)?;
        }
        is_well = take_in(arguments, database, address, &source, store, frames)?;
    }
    if arguments.verify || arguments.only_verify {
        is_well &= verify(arguments, &source, store)?;
    }
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// How far an import that was interrupted had come.
struct Place {
    path: PathBuf,
    of: String,
}

impl Place {
    fn new(database: &Path, address: &Address, arguments: &Arguments) -> Self {
        let mut path = database.as_os_str().to_owned();
        path.push(".import-postgres");
        let name = address.config.get_dbname().unwrap_or_default();
        Self { path: path.into(), of: format!("{}/{name} {}", address.shown, arguments.frames.is_some()) }
    }

    fn read(&self) -> String {
        let text = fs::read_to_string(&self.path).unwrap_or_default();
        text.split_once('\n').filter(|(of, _)| *of == self.of).map(|(_, session)| session.to_owned()).unwrap_or_default()
    }

    /// All up to `session` is stored. Losing this only means that more is looked at again.
    fn write(&self, session: &str) {
        let new = self.path.with_extension("import-postgres.new");
        if fs::write(&new, format!("{}\n{session}", self.of)).is_ok() {
            let _ = fs::rename(&new, &self.path);
        }
    }

    fn end(&self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn take_in(
    arguments: &Arguments,
    database: &Path,
    address: &Address,
    source: &Source,
    store: &Store,
    frames: &FramesFolder,
) -> Result<bool, String> {
    let place = Place::new(database, address, arguments);
    let mut after = place.read();
    let left = source.count(&after)?;
    if !after.is_empty() {
        eprintln!("going on behind session {after}");
    }
    let bar = progress_bar(left, "imported");
    let (mut stored, mut refused) = (Imported::default(), 0_usize);
    loop {
        let mut take = |lines: Vec<Line>| {
            let texts: Vec<_> = lines.iter().map(|line| (line.text.clone(), line.url_frame.clone())).collect();
            let (done, skipped) = migrate::take_in(store, frames, arguments.frames.as_deref(), &texts)?;
            stored.add(done);
            for one in skipped {
                refused += 1;
                if refused <= SHOWN
                    && let Some(line) = lines.get(one.index)
                {
                    bar.suspend(|| eprintln!("{}: {}", named(line), one.reason));
                }
            }
            Ok(())
        };
        let Some((last, sessions)) = source.page(&after, &mut take)? else { break };
        place.write(&last);
        after = last;
        bar.inc(sessions);
    }
    bar.finish_and_clear();
    place.end();
    eprintln!(
        "{} sessions and {} detections stored, {} rows were there already, {} frames are missing, {refused} rows or frames left out",
        stored.sessions, stored.detections, stored.unchanged, stored.frames_missing
    );
    Ok(refused == 0)
}

fn verify(arguments: &Arguments, source: &Source, store: &Store) -> Result<bool, String> {
    let bar = progress_bar(source.count("")?, "compared");
    let mut after = String::new();
    let (mut sessions, mut detections, mut differences) = (0, 0, 0_usize);
    let mut compare = |lines: Vec<Line>| {
        let tracks = lines.iter().filter(|line| line.track.is_some()).count();
        (sessions, detections) = (sessions + lines.len() - tracks, detections + tracks);
        let texts: Vec<_> = lines.into_iter().map(|line| (line.text, line.url_frame)).collect();
        for difference in migrate::compare(store, &texts, arguments.frames.is_some())? {
            differences += 1;
            if differences <= SHOWN {
                bar.suspend(|| println!("{difference}"));
            }
        }
        Ok(())
    };
    while let Some((last, count)) = source.page(&after, &mut compare)? {
        after = last;
        bar.inc(count);
    }
    bar.finish_and_clear();
    eprintln!("{sessions} sessions and {detections} detections compared, {differences} differ");
    Ok(differences == 0)
}

fn named(line: &Line) -> String {
    match &line.track {
        Some(track) => format!("detection {track} of session {}", line.session),
        None => format!("session {}", line.session),
    }
}

/// Shows itself on a terminal only.
fn progress_bar(sessions: u64, what: &str) -> ProgressBar {
    let template = format!("{{bar:40}} {{percent:>3}} % {{pos}}/{{len}} sessions {what}, {{eta}} left");
    let bar = ProgressBar::new(sessions);
    match ProgressStyle::with_template(&template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
