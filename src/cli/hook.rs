//! `session-store hook`: what MediaMTX starts when something happens. It must never hold MediaMTX, whatever is wrong.

use std::path::Path;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::Duration;

use clap::Args;
use http::StatusCode;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use crate::config::{Config, Loaded};
use crate::domain::hook::{Hook, Kind};
use crate::domain::time::Timestamp;
use crate::http::client::{self, Secret, Target};
use crate::media::layout;
use crate::media::spool::Spool;
use crate::runtime::clock::{Clock as _, SystemClock};
use crate::runtime::telemetry::{self, Format};

use super::daemon;

/// The daemon is asked again for so long.
const ASK_FOR: Duration = Duration::from_secs(5);
/// One answer may take so long.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// The pauses between two tries: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(800));
/// A hook that is not told after this time is spooled already, for what ends this command early: MediaMTX interrupts it when the
/// stream goes, and a stop of the system kills it.
const SPOOL_AFTER: Duration = Duration::from_secs(1);
/// The command has ended by then, even where the disk hangs.
const END_WITHIN: Duration = Duration::from_millis(5700);
/// Nobody has to hear what it says.
const SAY_WITHIN: Duration = Duration::from_millis(100);

#[derive(Args)]
pub struct Arguments {
    /// What happened: publish, segment-create or segment-complete
    #[arg(value_name = "KIND")]
    kind: Option<String>,
}

/// Tells the daemon, or spools. The exit status is always 0: what is wrong is said on standard error.
pub fn run(arguments: &Arguments, file: Option<&Path>) -> ExitCode {
    let event = SystemClock::default().now();
    let (kind, file) = (arguments.kind.clone(), file.map(Path::to_owned));
    let (ended, end) = mpsc::channel();
    let work = move || {
        // The other end is there until the process is not.
        let _ = ended.send(tell(kind.as_deref(), file.as_deref(), event));
    };
    // Reading a configuration, finding an address and writing a file may each hang: then the thread is left behind.
    let sentence = match std::thread::Builder::new().name("hook".into()).spawn(work) {
        Ok(_) => end
            .recv_timeout(END_WITHIN)
            .unwrap_or_else(|_| Err("something hangs, the disk perhaps; the hook may be lost.".to_owned())),
        Err(error) => Err(format!("no thread can be started, and the hook is lost: {error}.")),
    };
    if let Err(sentence) = sentence {
        say(sentence);
    }
    ExitCode::SUCCESS
}

fn tell(kind: Option<&str>, file: Option<&Path>, event: Timestamp) -> Result<(), String> {
    let kind = kind.and_then(Kind::named).ok_or_else(|| {
        let kinds = Kind::ALL.map(Kind::as_str).join(", ");
        format!(
            "say what happened, one of {kinds}; {} is none of them.",
            kind.map_or("nothing".to_owned(), |kind| format!("\"{kind}\""))
        )
    })?;
    let hook = Hook::from_environment(kind, event, |name| std::env::var(name).ok()).map_err(|invalid| format!("{invalid}."))?;
    let Loaded { config, .. } =
        Loaded::find(file).map_err(|mistakes| format!("{kind} is lost: {mistakes}", kind = kind.as_str()))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("The runtime cannot be started: {error}."))?;
    let result = runtime.block_on(deliver(&hook, event, &config));
    // A name that is still being looked up must not hold it.
    runtime.shutdown_background();
    result
}

/// How it went with the daemon.
enum Outcome {
    Told,
    /// It does not want it.
    Refused(String),
    /// It could not be told; the reason.
    Unreached(String),
}

async fn deliver(hook: &Hook, event: Timestamp, config: &Config) -> Result<(), String> {
    let target = match &config.server.unix_socket {
        Some(path) => Target::Socket(path.clone()),
        None => Target::Url(daemon::address(config)),
    };
    let mut kept = Kept { spool: Spool::new(config.mediamtx.spool_path.clone()), hook, event, name: None };
    let mut asking = pin!(ask(&target, hook, config));
    let mut interrupted = pin!(interrupted());
    let early = tokio::select! {
        outcome = &mut asking => Some(outcome),
        () = tokio::time::sleep(SPOOL_AFTER) => None,
        () = &mut interrupted => Some(Outcome::Unreached("this command was interrupted".to_owned())),
    };
    let outcome = match early {
        Some(outcome) => outcome,
        None => {
            // A failure is told in the end, if it is one still.
            let _ = kept.keep();
            tokio::select! {
                outcome = &mut asking => outcome,
                () = &mut interrupted => Outcome::Unreached("this command was interrupted".to_owned()),
            }
        }
    };
    match outcome {
        Outcome::Told => {
            kept.forget();
            Ok(())
        }
        Outcome::Refused(answer) => {
            kept.forget();
            Err(format!("{target} refuses {}: {answer}", hook.kind().as_str()))
        }
        Outcome::Unreached(reason) => {
            let said = format!("{target} could not be told of {}: {reason}", hook.kind().as_str());
            match kept.keep() {
                Ok(waits) => Err(format!("{said}; it waits as {waits}")),
                Err(problem) => {
                    let sentence = format!("{said}, and it is lost: {problem}");
                    tell_journal(&sentence);
                    Err(sentence)
                }
            }
        }
    }
}

/// Asks until there is an answer that stands, or the time is up.
async fn ask(target: &Target, hook: &Hook, config: &Config) -> Outcome {
    let secret = match (&config.mediamtx.hook_token, &config.server.api_token) {
        (Some(token), _) => Some(Secret::hook(token)),
        (None, token) => token.as_ref().map(|token| Secret::bearer(token)),
    };
    let secret = match secret {
        Some(None) => return Outcome::Unreached("[mediamtx] hook_token cannot be sent as a header".to_owned()),
        secret => secret.flatten(),
    };
    let until = Instant::now() + ASK_FOR;
    let mut pause = PAUSES.0;
    loop {
        let limit = until.min(Instant::now() + ANSWER_WITHIN);
        let reason = match tokio::time::timeout_at(limit, client::tell(target, hook, secret.as_ref())).await {
            Ok(Ok((status, _))) if status.is_success() => return Outcome::Told,
            Ok(Ok((status, answer))) if status == StatusCode::UNAUTHORIZED => {
                return Outcome::Refused(format!(
                    "{status} {answer}; [mediamtx] hook_token, or where there is none [server] api_token, must be the running daemon's"
                ));
            }
            Ok(Ok((status, answer))) if !status.is_server_error() => return Outcome::Refused(format!("{status} {answer}")),
            Ok(Ok((status, answer))) => format!("it answers {status} {answer}"),
            Ok(Err(reason)) => reason,
            Err(_) => "it does not answer in time".to_owned(),
        };
        if Instant::now() + pause >= until {
            return Outcome::Unreached(reason);
        }
        tokio::time::sleep(pause).await;
        pause = PAUSES.1.min(pause * 2);
    }
}

/// Returns when this command is asked to end.
async fn interrupted() {
    let signals = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    let (Ok(mut interrupt), Ok(mut terminate)) = signals else { return std::future::pending().await };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// A hook that may have to wait for a daemon.
struct Kept<'a> {
    spool: Spool,
    hook: &'a Hook,
    event: Timestamp,
    /// Its file, where it waits.
    name: Option<String>,
}

impl Kept<'_> {
    /// Spools it, unless it is already, and says where it waits.
    fn keep(&mut self) -> Result<String, String> {
        let root = self.spool.root();
        let name = match self.name.take() {
            Some(name) => name,
            None => {
                let unique = uuid::Uuid::new_v4().simple().to_string();
                let name = layout::waiting_hook(self.event, self.hook.kind().as_str(), &unique);
                self.spool.put(&name, self.hook.to_file().as_bytes()).map_err(|error| {
                    format!("the folder {} cannot be written: {error}. See [mediamtx] spool_path.", root.display())
                })?;
                name
            }
        };
        let at = root.join(&name).display().to_string();
        self.name = Some(name);
        Ok(if root.is_absolute() {
            format!("{at}.")
        } else {
            format!("{at} below this working directory: is it the daemon's too? Give [mediamtx] spool_path an absolute path.")
        })
    }

    /// Deletes its file. Where that fails the daemon is told twice, which is once.
    fn forget(&mut self) {
        if let Some(name) = self.name.take() {
            let _ = self.spool.delete(&name);
        }
    }
}

/// Says it on standard error, which is MediaMTX's: nobody may read it any more, and then writing hangs.
fn say(sentence: String) {
    let (ended, end) = mpsc::channel();
    let said = std::thread::Builder::new().spawn(move || {
        eprintln!("session-store hook: {sentence}");
        let _ = ended.send(());
    });
    if said.is_ok() {
        let _ = end.recv_timeout(SAY_WITHIN);
    }
}

/// Says it in the journal too, where there is one: standard error is MediaMTX's, and may lead nowhere.
fn tell_journal(sentence: &str) {
    if let Ok(log) = telemetry::start(tracing::Level::ERROR, Some(Format::Journald)) {
        tracing::error!("{sentence}");
        log.finish();
    }
}
