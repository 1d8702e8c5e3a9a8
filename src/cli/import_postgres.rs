//! `session-store import-postgres`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use crate::config::{Config, Loaded};
use crate::media::frames::FramesFolder;
use crate::service::import::Imported;
use crate::service::migrate::{self, Refused};
use crate::store::Store;
use crate::sync::address::{Address, Passwords};
use crate::sync::source::{Line, Source};

use super::carrier::Carrier;
use super::{daemon, offline};

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
    /// Have the running daemon at this address take it in [default: where a daemon has the store, its configured address]
    #[arg(long, value_name = "URL")]
    to: Option<String>,
}

/// Who takes it in: the daemon that runs, or this process where none does.
enum Receiver {
    Daemon(Carrier),
    Store(Store, FramesFolder),
}

impl Receiver {
    fn find(arguments: &Arguments, config: &Config) -> Result<Self, String> {
        if let Some(url) = daemon::to_ask(arguments.to.as_ref(), config) {
            return Ok(Self::Daemon(Carrier::new(url, config)?));
        }
        let store = offline::open(config, offline::CACHE_BYTES)?;
        Ok(Self::Store(store, FramesFolder::new(config.frames.storage_path.clone())))
    }

    /// The UUID of the store.
    fn store(&mut self) -> Result<String, String> {
        match self {
            Self::Daemon(carrier) => carrier.store(),
            Self::Store(store, _) => Ok(store.identity().uuid.clone()),
        }
    }

    fn prepare_frames(&self) -> Result<(), String> {
        match self {
            // It has seen to that itself.
            Self::Daemon(_) => Ok(()),
            Self::Store(store, frames) => migrate::prepare_frames(store, frames),
        }
    }

    fn take_in(&mut self, from: Option<&Path>, lines: &[Line]) -> Result<(Imported, Vec<Refused>), String> {
        match self {
            Self::Daemon(carrier) => carrier.take_in(from, lines),
            Self::Store(store, frames) => {
                let texts: Vec<_> = lines.iter().map(|line| (line.text.as_str(), line.url_frame.as_deref())).collect();
                migrate::take_in(store, frames, from, &texts)
            }
        }
    }

    fn compare(&mut self, lines: &[Line], with_frames: bool) -> Result<Vec<String>, String> {
        match self {
            Self::Daemon(carrier) => carrier.compare(lines, with_frames),
            Self::Store(store, _) => {
                let texts = lines.iter().map(|line| line.text.as_bytes());
                let compared = store.read().and_then(|snapshot| migrate::compare(&snapshot, texts, with_frames));
                compared.map_err(|error| format!("The store cannot be read: {error}."))
            }
        }
    }

    fn close(&self) {
        if let Self::Store(store, _) = self {
            store.close();
        }
    }
}

/// Takes it in.
pub fn run(arguments: &Arguments, loaded: &Loaded) -> Result<ExitCode, String> {
    let config = &loaded.config;
    let address = Address::parse(&arguments.url, config.sync.ca_file.as_deref(), &Passwords::of_process())
        .map_err(|error| format!("The Postgres to import cannot be used: {error}."))?;
    let mut receiver = Receiver::find(arguments, config)?;
    let done = work(arguments, &config.database.path, &address, &mut receiver);
    receiver.close();
    done
}

fn work(arguments: &Arguments, database: &Path, address: &Address, receiver: &mut Receiver) -> Result<ExitCode, String> {
    let uuid = receiver.store()?;
    let source = Source::open(address)?;
    let mut is_well = true;
    if !arguments.only_verify {
        if arguments.frames.is_some() {
            receiver.prepare_frames()?;
        }
        let place = Place::new(database, &uuid, address, arguments);
        is_well = take_in(arguments, &place, &source, receiver)?;
    }
    if arguments.verify || arguments.only_verify {
        is_well &= verify(arguments, &source, receiver)?;
    }
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// How far an import that was interrupted had come, whoever took it in. Where its file cannot be written, for the folder is another
/// user's, an import begins from the front again.
struct Place {
    path: PathBuf,
    of: String,
}

impl Place {
    fn new(database: &Path, store: &str, address: &Address, arguments: &Arguments) -> Self {
        let mut path = database.as_os_str().to_owned();
        path.push(".import-postgres");
        let name = address.config.get_dbname().unwrap_or_default();
        Self { path: path.into(), of: format!("{}/{name} {} {store}", address.shown, arguments.frames.is_some()) }
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

fn take_in(arguments: &Arguments, place: &Place, source: &Source, receiver: &mut Receiver) -> Result<bool, String> {
    let mut after = place.read();
    let left = source.count(&after)?;
    if !after.is_empty() {
        eprintln!("going on behind session {after}");
    }
    let bar = progress_bar(left, "imported");
    let (mut stored, mut refused) = (Imported::default(), 0_usize);
    loop {
        let mut take = |lines: Vec<Line>| {
            let (done, skipped) = receiver.take_in(arguments.frames.as_deref(), &lines)?;
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

fn verify(arguments: &Arguments, source: &Source, receiver: &mut Receiver) -> Result<bool, String> {
    let bar = progress_bar(source.count("")?, "compared");
    let mut after = String::new();
    let (mut sessions, mut detections, mut differences) = (0, 0, 0_usize);
    let mut compare = |lines: Vec<Line>| {
        let tracks = lines.iter().filter(|line| line.track.is_some()).count();
        (sessions, detections) = (sessions + lines.len() - tracks, detections + tracks);
        for difference in receiver.compare(&lines, arguments.frames.is_some())? {
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
