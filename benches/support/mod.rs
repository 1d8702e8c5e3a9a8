//! What the benchmarks share: the real daemon, a bare HTTP client, and figures.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

pub mod catalogue;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A daemon of the binary under test, killed when it is dropped.
pub struct Daemon {
    child: Child,
    pub address: SocketAddr,
}

impl Daemon {
    /// Starts the daemon with its data in `folder`.
    pub fn start(folder: &Path) -> Self {
        Self::start_with(folder, folder, None)
    }

    /// The same with more in its configuration.
    pub fn start_configured(folder: &Path, more: &str) -> Self {
        Self::launch(folder, folder, None, more, &[])
    }

    /// The same with variables in its environment.
    pub fn start_under(folder: &Path, more: &str, variables: &[(&str, &str)]) -> Self {
        Self::launch(folder, folder, None, more, variables)
    }

    /// Starts `binary`, or the one under test, with the database in a folder of its own.
    pub fn start_with(folder: &Path, database: &Path, binary: Option<&Path>) -> Self {
        Self::launch(folder, database, binary, "", &[])
    }

    fn launch(folder: &Path, database: &Path, binary: Option<&Path>, more: &str, variables: &[(&str, &str)]) -> Self {
        let config = folder.join("config.toml");
        std::fs::write(
            &config,
            format!(
                "[server]\nport = 0\n[database]\npath = \"{1}/store.redb\"\n[frames]\nstorage_path = \"{0}/frames\"\n[tracks]\nstorage_path = \"{0}/tracks\"\n[log]\nformat = \"json\"\n{more}",
                folder.display(),
                database.display(),
            ),
        )
        .expect("the configuration is written");
        let mut child = Command::new(binary.unwrap_or(Path::new(env!("CARGO_BIN_EXE_session-store"))))
            .arg("--config")
            .arg(&config)
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the daemon starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        let address = loop {
            line.clear();
            assert!(lines.read_line(&mut line).expect("the log is read") > 0, "the daemon ended");
            if let Some((_, rest)) = line.split_once("\"address\":\"http://") {
                break rest.split('"').next().expect("an address").parse().expect("an address");
            }
        };
        // What it warns of, the reader of the figures should know.
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok).filter(|line| line.contains("\"WARN\"") || line.contains("\"ERROR\""))
            {
                eprintln!("{line}");
            }
        });
        Self { child, address }
    }

    /// Runs a command of the binary on the same data, to its end.
    pub fn run(folder: &Path, arguments: &[&str]) -> Duration {
        let started = Instant::now();
        let status = Command::new(env!("CARGO_BIN_EXE_session-store"))
            .arg("--config")
            .arg(folder.join("config.toml"))
            .args(arguments)
            .status()
            .expect("the command runs");
        assert!(status.success());
        started.elapsed()
    }

    /// Resident memory, and its peak, in KiB.
    pub fn memory_kib(&self) -> (u64, u64) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("its status");
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).expect("the field");
            line.split_whitespace().nth(1).expect("a number").parse().expect("a number")
        };
        (field("VmRSS:"), field("VmHWM:"))
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Stops it in order.
    pub fn stop(&mut self) {
        let told = Command::new("kill").arg(self.pid().to_string()).status().expect("kill runs");
        assert!(told.success() && self.child.wait().expect("it ends").success());
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}

/// One keep-alive connection.
pub struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    pub fn new(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("connects");
        stream.set_nodelay(true).expect("set");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("set");
        Self { stream, buffer: vec![0; 256 << 10] }
    }

    /// Sends a whole request and reads a whole answer; returns its status and body.
    pub fn send(&mut self, request: &[u8]) -> (u16, Vec<u8>) {
        self.stream.write_all(request).expect("sent");
        let mut filled = 0;
        let head = loop {
            let read = self.stream.read(&mut self.buffer[filled..]).expect("an answer");
            assert!(read > 0, "the connection was closed");
            filled += read;
            if let Some(end) = self.buffer[..filled].windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break end + 4;
            }
        };
        let text = String::from_utf8_lossy(&self.buffer[..head]).to_ascii_lowercase();
        let status = text[9..12].parse().expect("a status");
        let length = text.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
        let length: usize = length.expect("a length").parse().expect("a length");
        let mut body = self.buffer[head..filled].to_vec();
        let read = body.len();
        body.resize(length, 0);
        self.stream.read_exact(&mut body[read..]).expect("the body");
        (status, body)
    }

    pub fn get(&mut self, target: &str) -> Vec<u8> {
        let (status, body) = self.send(format!("GET {target} HTTP/1.1\r\nHost: bench\r\n\r\n").as_bytes());
        assert_eq!(status, 200, "{target}: {}", String::from_utf8_lossy(&body));
        body
    }

    pub fn post_json(&mut self, target: &str, body: &str) -> u16 {
        let head = format!(
            "POST {target} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        self.send(format!("{head}{body}").as_bytes()).0
    }
}

/// How long each of `requests` took, by so many connections; `target` is told the request's number.
pub fn gets(daemon: &Daemon, connections: usize, requests: usize, target: &(dyn Fn(u64) -> String + Sync)) -> Vec<Duration> {
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..connections)
            .map(|connection| {
                scope.spawn(move || {
                    let mut client = Client::new(daemon.address);
                    (0..requests / connections)
                        .map(|request| {
                            let target = target((request * connections + connection) as u64);
                            let begun = Instant::now();
                            client.get(&target);
                            begun.elapsed()
                        })
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        clients.into_iter().flat_map(|client| client.join().expect("no panic")).collect()
    })
}

/// A whole ingest request.
pub fn ingest(meta: &str, frame: &[u8]) -> Vec<u8> {
    let before = format!(
        "--b\r\nContent-Disposition: form-data; name=\"meta\"\r\n\r\n{meta}\r\n\
         --b\r\nContent-Disposition: form-data; name=\"frame\"; filename=\"f.jpg\"\r\nContent-Type: image/jpeg\r\n\r\n"
    );
    let behind = "\r\n--b--\r\n";
    let length = before.len() + frame.len() + behind.len();
    // Copied once: what the load costs, the daemon does not get.
    let mut request = Vec::with_capacity(length + 200);
    write!(
        request,
        "POST /ingest HTTP/1.1\r\nHost: bench\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: {length}\r\n\r\n{before}"
    )
    .expect("written");
    request.extend_from_slice(frame);
    request.extend_from_slice(behind.as_bytes());
    request
}

/// The value below which `share` of `times` lie.
pub fn quantile(times: &mut [Duration], share: f64) -> Duration {
    times.sort_unstable();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    let at = ((times.len() as f64 - 1.0) * share).round() as usize;
    times[at]
}

pub fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
