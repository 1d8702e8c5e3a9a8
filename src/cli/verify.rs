//! `session-store verify`.

use std::process::ExitCode;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use crate::config::Loaded;
use crate::http::client::Secret;
use crate::media::frames::FramesFolder;
use crate::service::verify::{Verdict, Verification};
use crate::store::check_pages;

use super::{daemon, guard, offline};

/// The exit status where not everything could be looked at.
const COULD_NOT_LOOK: u8 = 2;

#[derive(Args)]
pub struct Arguments {
    /// Read each frame: whether it is a whole JPEG, and the one that was stored
    #[arg(long)]
    deep: bool,
    /// Ask the running daemon at this address [default: where a daemon has the store, its configured address]
    #[arg(long, value_name = "URL")]
    from: Option<String>,
    /// Print what is found as NDJSON
    #[arg(long)]
    json: bool,
}

/// Looks, tells, and says by the exit status.
pub fn run(arguments: &Arguments, loaded: &Loaded) -> ExitCode {
    let mut report = Report::new(arguments.json);
    let looked = match daemon::to_ask(arguments.from.as_ref(), &loaded.config) {
        Some(url) => online(&url, daemon::secret(&loaded.config).as_ref(), arguments.deep, &mut report),
        None => guard::guard(&loaded.config, || offline(arguments.deep, loaded, &mut report)),
    };
    report.end(looked)
}

/// Says why.
pub fn could_not_look(sentence: &str) -> ExitCode {
    eprintln!("session-store: {sentence}");
    ExitCode::from(COULD_NOT_LOOK)
}

fn online(url: &str, secret: Option<&Secret>, deep: bool, report: &mut Report) -> Result<(), String> {
    let url = format!("{url}/verify{}", if deep { "?deep=1" } else { "" });
    daemon::lines(&url, secret, |verdict| {
        report.take(&verdict);
        Ok(())
    })?;
    Ok(())
}

fn offline(deep: bool, loaded: &Loaded, report: &mut Report) -> Result<(), String> {
    let config = &loaded.config;
    let path = &config.database.path;
    if !path.exists() {
        return Err(format!("There is no store at {}: see [database] path.", path.display()));
    }
    report.bar.set_message("pages of the database");
    check_pages(path, offline::CACHE_BYTES).map_err(|error| offline::sentence(&error))?;
    let store = offline::open_to_look(config)?;
    let frames = FramesFolder::new(config.frames.storage_path.clone());
    let mut verification = Verification::new(store.clone(), frames, deep);
    while let Some(verdicts) = verification.step() {
        for verdict in &verdicts {
            report.take(verdict);
        }
    }
    drop(verification);
    store.close();
    Ok(())
}

/// Verdicts on their way to the terminal.
pub struct Report {
    bar: ProgressBar,
    json: bool,
    findings: u64,
    /// Whether everything was looked at.
    is_whole: bool,
    broken_off: Option<String>,
}

impl Report {
    /// For a person, or as NDJSON.
    pub fn new(json: bool) -> Self {
        let bar = ProgressBar::new(0);
        let bar = match ProgressStyle::with_template("{bar:40} {percent:>3} % {msg}, {eta} left") {
            Ok(style) => bar.with_style(style),
            Err(_) => bar,
        };
        Self { bar, json, findings: 0, is_whole: false, broken_off: None }
    }

    /// Tells of one verdict.
    pub fn take(&mut self, verdict: &Verdict) {
        match verdict {
            Verdict::Progress(progress) => {
                self.bar.set_length(progress.of);
                self.bar.set_position(progress.done);
                self.bar.set_message(progress.at.clone());
                return;
            }
            Verdict::Finding(_) => self.findings += 1,
            Verdict::Changed { .. } => {}
            Verdict::Summary(_) => self.is_whole = true,
            Verdict::BrokenOff(sentence) => self.broken_off = Some(sentence.clone()),
        }
        let line = if self.json { serde_json::to_string(verdict).ok() } else { sentence(verdict) };
        if let Some(line) = line {
            self.bar.suspend(|| println!("{line}"));
        }
    }

    /// The exit status; says what hindered the look.
    pub fn end(self, looked: Result<(), String>) -> ExitCode {
        self.bar.finish_and_clear();
        let hindrance = match (looked, self.broken_off) {
            (Err(sentence), _) | (Ok(()), Some(sentence)) => Some(sentence),
            (Ok(()), None) if !self.is_whole => Some("The answer broke off.".to_owned()),
            (Ok(()), None) => None,
        };
        match hindrance {
            Some(sentence) => could_not_look(&format!("{sentence} Not everything was looked at.")),
            None if self.findings > 0 => ExitCode::FAILURE,
            None => ExitCode::SUCCESS,
        }
    }
}

fn sentence(verdict: &Verdict) -> Option<String> {
    match verdict {
        Verdict::Finding(finding) => Some(finding.sentence.clone()),
        Verdict::Summary(summary) => Some(format!(
            "{} rows, {} frames and {} files looked at; {} frames were rewritten and are whole; {}",
            summary.rows,
            summary.frames,
            summary.files,
            summary.changed,
            if summary.findings == 0 { "all is well".to_owned() } else { format!("findings: {}", summary.findings) }
        )),
        Verdict::Changed { .. } | Verdict::Progress(_) | Verdict::BrokenOff(_) => None,
    }
}
