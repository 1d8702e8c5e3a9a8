//! Runs the real binary, each in a folder of its own.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::http::{Client, Request, Response};
use super::until;

/// The binary under test; `SESSION_STORE_BIN` names another one. An example, to whom cargo names none, takes the one of its
/// own profile.
pub fn binary() -> PathBuf {
    std::env::var_os("SESSION_STORE_BIN")
        .map(PathBuf::from)
        .or_else(|| option_env!("CARGO_BIN_EXE_session-store").map(PathBuf::from))
        .or_else(beside_examples)
        .expect("no binary to test: build it (cargo build --release), run through cargo test, or set SESSION_STORE_BIN")
}

/// `target/<profile>/session-store` for `target/<profile>/examples/…`.
fn beside_examples() -> Option<PathBuf> {
    let example = std::env::current_exe().ok()?;
    Some(example.parent()?.parent()?.join("session-store")).filter(|binary| binary.is_file())
}

/// The binary as a command in `dir`, without what the caller's environment would tell it.
pub fn command(dir: &Path) -> Command {
    command_under(dir, &[])
}

fn command_under(dir: &Path, under: &[OsString]) -> Command {
    let mut words = under.iter().cloned().chain([binary().into_os_string()]);
    let mut command = Command::new(words.next().expect("at least the binary"));
    command.args(words).current_dir(dir);
    for name in ["SESSION_STORE_CONFIG", "JOURNAL_STREAM", "NOTIFY_SOCKET", "RUST_LOG", "INVOCATION_ID", "CREDENTIALS_DIRECTORY"]
    {
        command.env_remove(name);
    }
    command
}

/// The library of Debian's `faketime`; none, with a word on standard error, where it is not installed.
pub fn faketime() -> Option<String> {
    let library = format!("/usr/lib/{}-linux-gnu/faketime/libfaketime.so.1", std::env::consts::ARCH);
    let is_there = Path::new(&library).exists();
    if !is_there {
        eprintln!("skipped: faketime is not installed");
    }
    is_there.then_some(library)
}

/// A folder with a configuration, and the data of the daemons that run on it.
pub struct Home {
    dir: TempDir,
}

impl Home {
    /// A new folder whose `config.toml` is `config`, completed with what keeps tests apart.
    pub fn new(config: &str) -> Self {
        Self::within(&std::env::temp_dir(), config)
    }

    /// The same in a folder of `parent`.
    pub fn within(parent: &Path, config: &str) -> Self {
        let home = Self { dir: tempfile::tempdir_in(parent).expect("a temporary folder") };
        home.configure(config);
        home
    }

    /// Replaces the configuration.
    pub fn configure(&self, config: &str) {
        let at = |name: &str| format!("\"{}\"", self.dir().join(name).display());
        let text = completed(
            config,
            &[
                ("server", "port", "0".to_owned()),
                ("database", "path", at("data/session-store.redb")),
                ("frames", "storage_path", at("frames")),
                ("tracks", "storage_path", at("tracks")),
                ("mediamtx", "spool_path", at("spool")),
                ("log", "format", "\"json\"".to_owned()),
            ],
        );
        std::fs::write(self.config(), text).expect("config.toml written");
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn config(&self) -> PathBuf {
        self.dir().join("config.toml")
    }

    pub fn frames_dir(&self) -> PathBuf {
        self.dir().join("frames")
    }

    pub fn tracks_dir(&self) -> PathBuf {
        self.dir().join("tracks")
    }

    /// Runs a subcommand with `--config` of this home to its end.
    pub fn run(&self, args: &[&str], stdin: &[u8]) -> Ran {
        let mut command = command(self.dir());
        command.arg(args[0]).arg("--config").arg(self.config()).args(&args[1..]);
        run(&mut command, stdin)
    }

    /// Imports NDJSON lines into the stopped store; panics where it is refused.
    #[track_caller]
    pub fn import(&self, lines: &[Value]) -> Ran {
        let ran = self.run(&["import", "-"], ndjson(lines).as_bytes());
        assert_eq!(ran.code, Some(0), "import: {}", ran.stderr);
        ran
    }
}

/// One JSON value a line.
pub fn ndjson(lines: &[Value]) -> String {
    lines.iter().flat_map(|line| [line.to_string(), "\n".to_owned()]).collect()
}

/// What a finished command said.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Runs a command to its end, at most 30 s.
#[track_caller]
pub fn run(command: &mut Command, stdin: &[u8]) -> Ran {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary starts");
    let (mut input, bytes) = (child.stdin.take().expect("stdin"), stdin.to_vec());
    let writer = std::thread::spawn(move || drop(input.write_all(&bytes)));
    let stdout = collect(child.stdout.take().expect("stdout"));
    let stderr = collect(child.stderr.take().expect("stderr"));
    let end = Instant::now() + Duration::from_secs(30);
    let status = loop {
        match child.try_wait().expect("waiting") {
            Some(status) => break Some(status),
            None if Instant::now() > end => {
                drop(child.kill());
                drop(child.wait());
                break None;
            }
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    drop(writer.join());
    let (stdout, stderr) = (stdout.join().expect("stdout"), stderr.join().expect("stderr"));
    let status = status.unwrap_or_else(|| panic!("{command:?} did not end: {stdout}{stderr}"));
    Ran { code: status.code(), stdout, stderr }
}

fn collect(mut from: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        drop(from.read_to_end(&mut bytes));
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// A running daemon; killed when dropped.
pub struct Daemon {
    home: Option<Home>,
    /// What runs it: a program with its arguments, such as a tracer; usually nothing.
    under: Vec<OsString>,
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    pub address: SocketAddr,
}

impl Daemon {
    /// A daemon on an empty folder.
    pub fn start() -> Self {
        Self::with("")
    }

    /// A daemon on an empty folder with this configuration.
    pub fn with(config: &str) -> Self {
        Self::on(Home::new(config))
    }

    /// A daemon on a folder that is there already.
    pub fn on(home: Home) -> Self {
        Self::under(home, Vec::new())
    }

    /// The same, run by another program that becomes it (and so is killed with it).
    pub fn under(home: Home, under: Vec<OsString>) -> Self {
        let (child, lines, address) = launch(&home, &under);
        Self { home: Some(home), under, child, lines, address }
    }

    /// The same with variables in its environment.
    pub fn on_with(home: Home, variables: &[(&str, &OsStr)]) -> Self {
        let pairs = variables.iter().map(|(name, value)| [OsStr::new(name), value].join(OsStr::new("=")));
        Self::under(home, std::iter::once("env".into()).chain(pairs).collect())
    }

    pub fn home(&self) -> &Home {
        self.home.as_ref().expect("a home until the daemon is taken down")
    }

    pub fn dir(&self) -> &Path {
        self.home().dir()
    }

    pub fn frames_dir(&self) -> PathBuf {
        self.home().frames_dir()
    }

    pub fn tracks_dir(&self) -> PathBuf {
        self.home().tracks_dir()
    }

    /// Every line that it printed so far, standard output and error together.
    pub fn logs(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A connection of its own.
    pub fn client(&self) -> Client {
        Client::connect(self.address)
    }

    /// One request on a connection of its own.
    #[track_caller]
    pub fn send(&self, request: &Request) -> Response {
        self.client().send(request)
    }

    #[track_caller]
    pub fn get(&self, target: impl AsRef<[u8]>) -> Response {
        self.send(&Request::get(target))
    }

    #[track_caller]
    pub fn post(&self, target: impl AsRef<[u8]>, body: &Value) -> Response {
        self.send(&Request::post(target).json(body))
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it without a word, as a power cut would.
    pub fn kill9(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// Kills it if it still runs, and starts another one on the same folder.
    pub fn restart(&mut self) {
        self.kill9();
        (self.child, self.lines, self.address) = launch(self.home(), &self.under);
    }

    /// Sends a signal by name ("TERM").
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(status.expect("kill runs").success(), "kill -{name}");
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(&mut self, deadline: Duration) -> ExitStatus {
        let child = &mut self.child;
        until("the daemon's end", deadline, || child.try_wait().expect("waiting"))
    }

    /// SIGTERM, then how it ended and how long that took.
    #[track_caller]
    pub fn terminate(&mut self) -> (ExitStatus, Duration) {
        let begin = Instant::now();
        self.signal("TERM");
        let status = self.wait(Duration::from_secs(15));
        (status, begin.elapsed())
    }

    /// Stops it and gives its folder back.
    #[track_caller]
    pub fn stop(mut self) -> Home {
        let (status, _) = self.terminate();
        assert!(status.success(), "stopped with {status}");
        self.home.take().expect("a home")
    }
}

impl Daemon {
    /// Ends it without a word and gives its folder back.
    pub fn killed(mut self) -> Home {
        self.kill9();
        self.home.take().expect("a home")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill9();
        if std::thread::panicking() {
            let lines = self.logs();
            let last = lines.len().saturating_sub(15);
            eprintln!("the daemon's last lines:\n{}", lines[last..].join("\n"));
        }
    }
}

fn launch(home: &Home, under: &[OsString]) -> (Child, Arc<Mutex<Vec<String>>>, SocketAddr) {
    let mut child = command_under(home.dir(), under)
        .arg("serve")
        .arg("--config")
        .arg(home.config())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let lines = Arc::default();
    follow(child.stdout.take().expect("stdout"), Arc::clone(&lines));
    follow(child.stderr.take().expect("stderr"), Arc::clone(&lines));
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let said = lines.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(port) = said.iter().find_map(|line| port_in(line)) {
            return (child, lines, SocketAddr::from(([127, 0, 0, 1], port)));
        }
        let ended = child.try_wait().expect("waiting");
        if ended.is_some() || Instant::now() > end {
            drop(child.kill());
            drop(child.wait());
            panic!("the daemon did not listen ({ended:?}):\n{}", said.join("\n"));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn follow(from: impl Read + Send + 'static, into: Arc<Mutex<Vec<String>>>) {
    std::thread::spawn(move || {
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        while from.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            into.lock().unwrap_or_else(PoisonError::into_inner).push(text);
            line.clear();
        }
    });
}

/// The port in a record's `"address":"http://127.0.0.1:PORT"`.
fn port_in(line: &str) -> Option<u16> {
    let (_, rest) = line.split_once("\"address\":\"http://")?;
    let (address, _) = rest.split_once('"')?;
    address.rsplit_once(':')?.1.parse().ok()
}

/// `config` with each key that it lacks added to its section.
fn completed(config: &str, defaults: &[(&str, &str, String)]) -> String {
    let mut lines: Vec<String> = config.lines().map(|line| line.trim().to_owned()).collect();
    for (section, key, value) in defaults {
        let header = format!("[{section}]");
        let Some(at) = lines.iter().position(|line| *line == header) else {
            lines.extend([header, format!("{key} = {value}")]);
            continue;
        };
        let given = lines[at + 1..]
            .iter()
            .take_while(|line| !line.starts_with('['))
            .any(|line| line.split_once('=').is_some_and(|(name, _)| name.trim() == *key));
        if !given {
            lines.insert(at + 1, format!("{key} = {value}"));
        }
    }
    lines.join("\n") + "\n"
}
