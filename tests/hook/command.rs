//! A home for daemon and hooks, and the command as MediaMTX runs it.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::daemon::{Daemon, Home, Ran, command, run};

/// No hook may take longer.
pub const LIMIT: Duration = Duration::from_secs(6);

/// What MediaMTX gives each kind.
pub const PUBLISH: &[(&str, &str)] = &[("MTX_PATH", "cam-local"), ("MTX_SOURCE_TYPE", "rtspSession")];
pub const CREATE: &[(&str, &str)] = &[("MTX_PATH", "cam-local"), ("MTX_SEGMENT_PATH", "./recordings/cam-local/a.mp4")];
pub const COMPLETE: &[(&str, &str)] =
    &[("MTX_PATH", "cam-local"), ("MTX_SEGMENT_PATH", "./recordings/cam-local/a.mp4"), ("MTX_SEGMENT_DURATION", "5.5")];

/// A home whose daemon listens at a socket, with further settings of `[mediamtx]`.
pub fn home(mediamtx: &str) -> Home {
    let home = Home::new("");
    configure(&home, mediamtx);
    home
}

/// Replaces the home's configuration likewise.
pub fn configure(home: &Home, mediamtx: &str) {
    let (socket, spool) = (socket(home), spool(home));
    home.configure(&format!(
        "[server]\nunix_socket = \"{}\"\n[mediamtx]\nspool_path = \"{}\"\n{mediamtx}",
        socket.display(),
        spool.display()
    ));
}

pub fn socket(home: &Home) -> PathBuf {
    home.dir().join("run/http.sock")
}

pub fn spool(home: &Home) -> PathBuf {
    home.dir().join("spool")
}

/// The names of what waits, in order.
pub fn waiting(home: &Home) -> Vec<String> {
    let Ok(entries) = fs::read_dir(spool(home)) else { return Vec::new() };
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.ends_with(".json")).collect();
    names.sort();
    names
}

/// What one waiting hook says.
pub fn waiting_hook(home: &Home, name: &str) -> Value {
    serde_json::from_slice(&fs::read(spool(home).join(name)).unwrap()).unwrap()
}

/// `session-store hook KIND` with these variables, in a working directory of its own.
pub fn hook(home: &Home, kind: &str, variables: &[(&str, &str)]) -> Command {
    let mut command = command(home.dir());
    for name in ["MTX_PATH", "MTX_SEGMENT_PATH", "MTX_SEGMENT_DURATION"] {
        command.env_remove(name);
    }
    command.args(["hook", kind, "--config"]).arg(home.config()).envs(variables.iter().copied());
    command
}

/// Runs a hook to its end, and checks what holds for every hook: it exits with 0, in time, and prints nothing but complaints.
#[track_caller]
pub fn ended(command: &mut Command) -> Ran {
    let begin = Instant::now();
    let ran = run(command, b"");
    assert!(begin.elapsed() < LIMIT, "it took {:?}: {ran:?}", begin.elapsed());
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), ""), "{ran:?}");
    ran
}

/// The same for one that has nothing to complain of.
#[track_caller]
pub fn told(command: &mut Command) {
    assert_eq!(ended(command).stderr, "");
}

/// The same for one that complains; gives what it says.
#[track_caller]
pub fn complained(command: &mut Command) -> String {
    let ran = ended(command);
    assert!(ran.stderr.starts_with("session-store hook: ") && ran.stderr.ends_with('\n'), "{ran:?}");
    ran.stderr
}

/// Starts a hook and does not wait for it.
pub fn start(command: &mut Command) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// The records in the daemon's log of requests below `/hooks`.
pub fn requests(daemon: &Daemon) -> Vec<Value> {
    let records = daemon.logs().into_iter().filter_map(|line| serde_json::from_str::<Value>(&line).ok());
    records.filter(|record| record["path"].as_str().is_some_and(|path| path.starts_with("/hooks/"))).collect()
}
