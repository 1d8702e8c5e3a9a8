//! The command line: one file a subcommand.

mod backup;
mod carrier;
mod check_config;
mod daemon;
mod export;
mod guard;
mod health;
mod hook;
mod import;
mod import_postgres;
mod offline;
mod rebuild;
mod receive_frames;
mod reload;
mod repair;
mod restore;
mod retention;
mod serve;
mod sync;
mod verify;
mod watchdog;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::config::{Loaded, Mistakes};
use crate::runtime::arenas;

/// Keeps the sessions, detections and frames of a camera gateway, and answers for them.
///
/// Without a command it serves. It needs no configuration: by default it listens on
/// http://127.0.0.1:8080 and keeps its data under ./data.
#[derive(Parser)]
#[command(name = "session-store", version, arg_required_else_help = false)]
struct Arguments {
    /// The configuration file [default: $SESSION_STORE_CONFIG, else ./config.toml where it exists, else built-in defaults]
    #[arg(long, short, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Run the daemon (the default).
    ///
    /// Stops in order on SIGTERM or SIGINT: requests under way are answered, all that waits is
    /// committed. A second signal stops at once; what was acknowledged is safe either way.
    /// Reads the configuration again on SIGHUP; the log says what changed and what needs a restart.
    Serve,
    /// Print the settings in force, secrets masked, or every mistake in the configuration.
    ///
    /// Each mistake is named with its key, its value and what is allowed. Warnings go to standard
    /// error. Exit status: 0 when the configuration can be used, 1 when it cannot.
    CheckConfig,
    /// Ask a running daemon how it is.
    ///
    /// Prints what /health says. Exit status: 0 ok, 1 degraded (the reasons are printed), 2 no answer.
    Health(health::Arguments),
    /// Tell the daemon what MediaMTX has started this command for; docs/guide/mediamtx.md has the lines of its configuration.
    ///
    /// Reads MTX_PATH, MTX_SEGMENT_PATH and MTX_SEGMENT_DURATION from the environment. Asks for up to 5 s; where no daemon
    /// answers, the hook waits in [mediamtx] spool_path until one takes it. Exit status: always 0, within 6 s; what is wrong is
    /// said on standard error.
    Hook(hook::Arguments),
    /// Write sessions and detections as NDJSON, for `import`, a backup or another program.
    ///
    /// One line each, {"session":{…}} or {"detection":{…}}, in the order in which they last changed;
    /// {"session_deleted":{…}} for a session that is gone. Reads the store itself, which must not be
    /// running, or asks a running daemon by --from. The last line on standard error names the number
    /// for the next --since.
    Export(export::Arguments),
    /// Take in what `export` wrote. The daemon must be stopped.
    ///
    /// It merges, so that the same file again changes nothing: the higher confidence wins, times widen, a closed
    /// session is not reopened. A frame whose file is not there becomes null and is counted. A bad line stops
    /// the import and is named by its number; lines are stored in batches, and nothing of that batch is.
    Import(import::Arguments),
    /// Take in an earlier service's whole catalogue from its Postgres, also while the daemon runs.
    ///
    /// It merges as `import` does, may be interrupted and run again, and goes on where it was. A row that breaks a rule is listed
    /// with its reason and skipped. With --frames, the frame files that the rows name come along. Where a daemon has the store, it
    /// is asked to take everything in, and agents go on meanwhile; it needs the api_token where one is set. Exit status: 0 all is stored (and, with --verify, equal), 1 something was left out or differs.
    ImportPostgres(import_postgres::Arguments),
    /// Look after the sync with the central Postgres.
    ///
    /// `status` asks the running daemon and the central database; `retry` has the daemon push again what was set aside; `rebuild`
    /// has it compare everything from the beginning; `take-over` makes another gateway's sessions this one's, as after a restore,
    /// which makes a new store. The daemon sees to it by itself, within seconds.
    Sync(sync::Arguments),
    /// At the centre: write the frames that gateways sent into the enricher's folder.
    ///
    /// For gateways with [sync] frames = "table". Only when a frame lies in DIR, whole, does its row say that there is something to
    /// look at; frames that no row names any more are deleted. Runs until SIGTERM; needs no store, only [sync] url. Exit status with
    /// --once: 0 all that had arrived is written, 1 not.
    ReceiveFrames(receive_frames::Arguments),
    /// Compare the database with itself and with the frames folder. Changes nothing.
    ///
    /// Every index against the records and the records against every index, the change feed, and each frame by existence and
    /// length; with --deep also as a whole JPEG and by its hash. A frame that was rewritten in place and is whole is counted as
    /// changed, which is no finding. Asks the running daemon where there is one; only of a stopped store are the pages' checksums
    /// looked at. Exit status: 0 all is well, 1 there are findings, 2 not everything could be looked at.
    Verify(verify::Arguments),
    /// Copy the store into a folder, or as a tar archive to standard output, also while the daemon runs.
    ///
    /// Everything in it holds at one moment, near the end of the run: the catalogue and the frames that it names. A folder that
    /// holds an earlier backup gets a further generation, which shares unchanged frames with the one before; each is whole
    /// in itself, and older ones may be deleted. One that is interrupted is never taken for whole.
    Backup(backup::Arguments),
    /// Build a store from a backup, where none is, and prove it by `verify --deep`.
    ///
    /// The database must not exist and the frames folder must be empty; one that was interrupted is simply run again. The store
    /// is a new one with a new change feed: readers of the feed begin again. Exit status: 0 proved, 1 restored with findings or
    /// not restored, 2 restored and not all of it could be looked at.
    Restore(restore::Arguments),
    /// Say what retention would delete now, and why; nothing is deleted.
    ///
    /// Asks the running daemon, or looks into the stopped store itself. The daemon deletes by itself what [retention] says; which
    /// sessions, by which rule and how many bytes is in its log. Exit status: 0 looked, 1 not.
    Retention(retention::Arguments),
    /// Put a stopped store in order: what `verify` found.
    ///
    /// Makes all indexes and the change feed anew from the records; readers of the feed begin again. A detection whose frame is
    /// gone is kept without it, and listed. Files in the frames folder that no row names are moved to \quarantine in it, records
    /// that cannot be used to a file beside the database: nothing is deleted. It may be interrupted and run again.
    ///
    /// With --from-files, where the database is lost, sessions come back with their detections and frames as far as their records
    /// lie beside the frames, where the daemon writes them when a session is closed. What does not come back is listed.
    Repair(repair::Arguments),
}

/// The definition of the command line, from which its manual and completions are made (`packaging/manual.rs`).
pub fn definition() -> clap::Command {
    Arguments::command()
}

/// Runs the command line.
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    let file = arguments.config.as_deref();
    let loaded = || Loaded::find(file);
    let command = arguments.command.unwrap_or(Command::Serve);
    if matches!(command, Command::Serve) {
        arenas::limit();
    }
    match command {
        // It is bounded in time, which reading a configuration is not: it does that itself.
        Command::Hook(arguments) => hook::run(&arguments, file),
        Command::CheckConfig => check_config::run(loaded()),
        Command::Serve => with_config(loaded(), |loaded| serve::run(&loaded, file)),
        Command::Health(arguments) => with_config(loaded(), |loaded| health::run(&arguments, &loaded)),
        Command::Export(arguments) => with_config(loaded(), |loaded| export::run(&arguments, &loaded)),
        Command::Backup(arguments) => with_config(loaded(), |loaded| backup::run(&arguments, &loaded)),
        Command::Restore(arguments) => with_config(loaded(), |loaded| restore::run(&arguments, &loaded)),
        Command::Retention(arguments) => with_config(loaded(), |loaded| retention::run(&arguments, &loaded)),
        Command::Repair(arguments) => with_config(loaded(), |loaded| repair::run(&arguments, &loaded)),
        Command::Verify(arguments) => match loaded() {
            Ok(loaded) => verify::run(&arguments, &loaded),
            Err(mistakes) => verify::could_not_look(&mistakes.to_string()),
        },
        Command::Import(arguments) => with_config(loaded(), |loaded| import::run(&arguments, &loaded)),
        Command::ImportPostgres(arguments) => with_config(loaded(), |loaded| import_postgres::run(&arguments, &loaded)),
        Command::ReceiveFrames(arguments) => with_config(loaded(), |loaded| receive_frames::run(&arguments, &loaded)),
        Command::Sync(arguments) => with_config(loaded(), |loaded| sync::run(&arguments, &loaded)),
    }
}

/// Runs `command` with a configuration that has no mistakes; says what went wrong in one place.
fn with_config(loaded: Result<Loaded, Mistakes>, command: impl FnOnce(Loaded) -> Result<ExitCode, String>) -> ExitCode {
    let result = match loaded {
        Ok(loaded) => command(loaded),
        Err(mistakes) => Err(mistakes.to_string()),
    };
    result.unwrap_or_else(|sentence| {
        eprintln!("session-store: {sentence}");
        ExitCode::FAILURE
    })
}
