//! `session-store backup`.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use crate::config::Loaded;
use crate::http::client::{self, Secret};
use crate::media::frames::FramesFolder;
use crate::media::generations::Generations;
use crate::media::tape::Tape;
use crate::runtime::clock::{Clock as _, SystemClock};
use crate::service::backup::{Told, back_up};
use crate::service::catalogue::{Catalogue, Part};
use crate::store::Store;

use super::{daemon, guard, offline};

#[derive(Args)]
pub struct Arguments {
    /// The backup's folder, which gets a new generation; - writes a tar archive to standard output
    #[arg(value_name = "DIR|-")]
    to: PathBuf,
    /// Ask the running daemon at this address [default: where a daemon has the store, its configured address]. Its frames
    /// folder must be the configured one
    #[arg(long, value_name = "URL")]
    from: Option<String>,
}

/// Makes the backup.
pub fn run(arguments: &Arguments, loaded: &Loaded) -> Result<ExitCode, String> {
    let config = &loaded.config;
    let frames = FramesFolder::new(config.frames.storage_path.clone());
    if let Some(url) = daemon::to_ask(arguments.from.as_ref(), config) {
        let secret = daemon::secret(config);
        return make(&arguments.to, &frames, &mut |part, file| ask_daemon(&url, secret.as_ref(), part, file));
    }
    let path = &config.database.path;
    if !path.exists() {
        return Err(format!("There is no store at {}: see [database] path.", path.display()));
    }
    guard::guard(config, || {
        let store = offline::open_to_look(config)?;
        let made = make(&arguments.to, &frames, &mut |part, file| ask_store(&store, part, file));
        store.close();
        made
    })
}

fn ask_daemon(url: &str, secret: Option<&Secret>, part: Part, file: &mut File) -> Result<(), String> {
    let url = match part {
        Part::Whole => format!("{url}/backup"),
        Part::Since(since) => format!("{url}/backup?since={since}"),
        Part::Segments => format!("{url}/backup?part=segments"),
    };
    let mut file = io::BufWriter::new(file);
    let answered = client::get(&url, secret, |chunk| file.write_all(chunk));
    answered.map_err(|reason| format!("{url} gives no answer: {reason}."))?;
    file.flush().map_err(|error| format!("The catalogue cannot be written: {error}."))
}

fn ask_store(store: &Store, part: Part, file: &mut File) -> Result<(), String> {
    let mut catalogue = Catalogue::new(store.clone(), part);
    while let Some(lines) = catalogue.step().map_err(|error| format!("The store cannot be read: {error}."))? {
        file.write_all(&lines).map_err(|error| format!("The catalogue cannot be written: {error}."))?;
    }
    Ok(())
}

type Ask<'a> = crate::service::backup::Ask<'a>;

fn make(to: &Path, frames: &FramesFolder, ask: &mut Ask<'_>) -> Result<ExitCode, String> {
    let clock = SystemClock::default();
    let bar = progress_bar();
    let mut progress = |done, of| {
        bar.set_length(of);
        bar.set_position(done);
    };
    let cannot = |error: io::Error| {
        if error.kind() == io::ErrorKind::ResourceBusy {
            return format!("Another backup into {} is under way.", to.display());
        }
        format!("The backup {} cannot be written: {error}.", to.display())
    };
    let json = |manifest| serde_json::to_vec_pretty(manifest).map_err(|error| error.to_string());
    let (told, place) = if to == Path::new("-") {
        let mut tape = Tape::new(io::BufWriter::with_capacity(1 << 16, io::stdout().lock()));
        let mut catalogue = spool().map_err(|error| format!("A temporary file cannot be made: {error}."))?;
        let now = clock.now();
        let (manifest, told) =
            back_up(frames, &mut catalogue, ask, &mut |session, file| tape.add(frames, session, file), now, &mut progress)?;
        io::Seek::rewind(&mut catalogue).map_err(cannot)?;
        let seconds = u64::try_from(now.micros() / 1_000_000).unwrap_or_default();
        tape.finish(catalogue, &json(&manifest)?, seconds).map_err(cannot)?;
        (told, "standard output".to_owned())
    } else {
        let mut generation = Generations::new(to.to_owned()).begin().map_err(cannot)?;
        let mut catalogue = generation.catalogue().map_err(cannot)?;
        let now = clock.now();
        let (manifest, told) =
            back_up(frames, &mut catalogue, ask, &mut |session, file| generation.add(frames, session, file), now, &mut progress)?;
        let place = generation.finish(now, &json(&manifest)?).map_err(cannot)?;
        (told, place.display().to_string())
    };
    bar.finish_and_clear();
    eprintln!("{}", summary(&told, &place));
    Ok(ExitCode::SUCCESS)
}

fn summary(told: &Told, place: &str) -> String {
    let Told { linked, cloned, copied, missing, .. } = told;
    let frames = linked + cloned + copied;
    let mut text =
        format!("{place}: {frames} frames, of which {linked} were in the generation before and {cloned} share their blocks");
    if *missing > 0 {
        text.push_str(&format!("; {missing} detections name frames that the store itself has lost: see `session-store verify`"));
    }
    text
}

/// A file without a name, for the lines of a backup that goes to standard output.
fn spool() -> io::Result<File> {
    let path = std::env::temp_dir().join(format!("session-store-{}.ndjson", uuid::Uuid::new_v4()));
    let file = File::options().create_new(true).read(true).write(true).open(&path)?;
    std::fs::remove_file(path)?;
    Ok(file)
}

fn progress_bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    match ProgressStyle::with_template("{bar:40} {percent:>3} % of the catalogue, {eta} left") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
