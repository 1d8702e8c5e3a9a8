//! A MediaMTX on loopback that records into a daemon's home, and ffmpeg as the camera that publishes to it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{Read as _, Seek as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::support::daemon::{Daemon, Home, binary};
use crate::support::http::{Client, Request};
use crate::support::until;

/// The path that is published: one with a slash.
pub const PATH: &str = "site/gate-1";
/// The same in a URL.
pub const ENCODED: &str = "site%2Fgate-1";
/// File names are in its local time: not UTC, and not what the machine runs in.
const ZONE: &str = "America/Argentina/Cordoba";
const SEGMENT_SEC: u32 = 3;
/// What a slow machine may take for a few segments.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Whether MediaMTX and ffmpeg are there; says why the test is skipped where they are not.
pub fn is_there(test: &str) -> bool {
    let ffmpeg = Command::new("ffmpeg").arg("-version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let missing = if program().is_none() {
        "MEDIAMTX_BIN names no MediaMTX to test against"
    } else if !ffmpeg.is_ok_and(|status| status.success()) {
        "there is no ffmpeg to publish with (Debian has it)"
    } else {
        return true;
    };
    // Past what the test runner holds back of a test that passes.
    writeln!(std::io::stderr(), "\ntest {test} was skipped: {missing}").unwrap();
    false
}

fn program() -> Option<OsString> {
    std::env::var_os("MEDIAMTX_BIN").filter(|name| !name.is_empty())
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A home whose daemon knows of the recordings, and a MediaMTX that is not started yet.
pub struct Recorder {
    folder: PathBuf,
    rtsp: u16,
    playback: SocketAddr,
    /// What it printed; in no folder, for that of the test may be gone before it is looked at.
    log: File,
    child: Option<Child>,
    camera: Option<Child>,
}

impl Recorder {
    /// The two, in a folder of their own. `with_hooks` says whether MediaMTX tells anything.
    pub fn new(with_hooks: bool) -> (Self, Home) {
        let home = Home::new("");
        let folder = home.dir().to_owned();
        let (rtsp, playback) = (free_port(), SocketAddr::from(([127, 0, 0, 1], free_port())));
        let at = |name: &str| folder.join(name).display().to_string();
        let record_path = at("recordings/%path/%Y-%m-%d_%H-%M-%S-%f");
        home.configure(&format!(
            "[server]\nunix_socket = \"{}\"\n[mediamtx]\nhook_token = \"a token\"\nspool_path = \"{}\"\nplayback_base_url = \"http://{playback}\"\n\
             segment_duration_sec = {SEGMENT_SEC}\nrecord_path = \"{record_path}\"\ntime_zone = \"{ZONE}\"\n[playback]\nextra_seconds = 1\n",
            at("http.sock"),
            at("spool"),
        ));
        let hook = |kind: &str| format!("\"'{}' hook {kind} --config '{}'\"", binary().display(), home.config().display());
        let hooks = format!(
            "  runOnAvailable: {}\n  runOnRecordSegmentCreate: {}\n  runOnRecordSegmentComplete: {}\n",
            hook("publish"),
            hook("segment-create"),
            hook("segment-complete")
        );
        fs::write(
            folder.join("mediamtx.yml"),
            format!(
                "rtspAddress: 127.0.0.1:{rtsp}\nrtspTransports: [tcp]\nrtmp: no\nhls: no\nwebrtc: no\nsrt: no\nplayback: yes\n\
                 playbackAddress: {playback}\npathDefaults:\n  record: yes\n  recordPath: {record_path}\n  recordPartDuration: 1s\n  \
                 recordSegmentDuration: {SEGMENT_SEC}s\n{}paths:\n  all_others:\n",
                if with_hooks { hooks.as_str() } else { "" }
            ),
        )
        .unwrap();
        (Self { folder, rtsp, playback, log: tempfile::tempfile().unwrap(), child: None, camera: None }, home)
    }

    /// Starts it, and a camera.
    pub fn start(&mut self) {
        let log = self.log.try_clone().unwrap();
        let mut command = Command::new(program().unwrap());
        command.arg(self.folder.join("mediamtx.yml")).current_dir(&self.folder).env("TZ", ZONE).stdin(Stdio::null());
        // A server of newer versions, which older ones do not know in their file.
        command.env("MTX_MOQ", "no");
        self.child = Some(command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap());
        let rtsp = self.rtsp;
        until("MediaMTX listening", PATIENCE, || TcpStream::connect(("127.0.0.1", rtsp)).ok());
        self.plug();
    }

    /// Gives it a camera.
    pub fn plug(&mut self) {
        let url = format!("rtsp://127.0.0.1:{}/{PATH}", self.rtsp);
        let mut camera = Command::new("ffmpeg");
        // A key picture a second, where MediaMTX can cut.
        camera.args("-v error -nostdin -re -f lavfi -i testsrc2=size=160x120:rate=10 -c:v libx264 -preset ultrafast".split(' '));
        camera.args("-tune zerolatency -pix_fmt yuv420p -g 10 -f rtsp -rtsp_transport tcp".split(' ')).arg(url);
        self.camera = Some(camera.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    }

    /// Kills it as a crash would; its camera goes too.
    pub fn kill9(&mut self) {
        for mut child in [self.child.take(), self.camera.take()].into_iter().flatten() {
            drop(child.kill());
            drop(child.wait());
        }
    }

    /// Takes the camera away. MediaMTX closes what it records.
    pub fn unplug(&mut self) {
        let mut camera = self.camera.take().unwrap();
        drop(camera.kill());
        drop(camera.wait());
    }

    fn recordings(&self) -> PathBuf {
        self.folder.join("recordings").join(PATH)
    }

    /// How many segments' files there are.
    pub fn files(&self) -> usize {
        fs::read_dir(self.recordings()).map_or(0, Iterator::count)
    }

    /// Waits for so many further files, each with a part of video: as many segments less one are finished.
    pub fn record(&self, more: usize) {
        let wanted = self.files() + more;
        until("segments recorded", PATIENCE, || {
            let newest = fs::read_dir(self.recordings()).ok()?.map(|file| file.unwrap().path()).max()?;
            let has_a_part = fs::read(newest).ok()?.windows(4).any(|word| word == b"moof");
            (self.files() >= wanted && has_a_part).then_some(())
        });
    }

    /// What its playback server lists: start and length of each span, in microseconds.
    pub fn list(&self) -> Vec<(i64, i64)> {
        let answer = Client::connect(self.playback).send(&Request::get(format!("/list?path={ENCODED}"))).is(200).json();
        spans(&answer)
    }

    /// Whether its playback server gives video for `url`.
    pub fn plays(&self, url: &str) -> bool {
        let target = url.strip_prefix(&format!("http://{}", self.playback)).unwrap_or_else(|| panic!("{url} is elsewhere"));
        let answer = Client::connect(self.playback).send(&Request::get(target));
        answer.status == 200 && answer.body.get(4..8) == Some(b"ftyp")
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.kill9();
        if std::thread::panicking() {
            let mut said = String::new();
            let read = self.log.rewind().and_then(|()| self.log.read_to_string(&mut said));
            eprintln!("MediaMTX said ({read:?}):\n{said}");
        }
    }
}

/// Start and length of each span of a list, in microseconds.
pub fn spans(list: &Value) -> Vec<(i64, i64)> {
    let spans = list.as_array().unwrap_or_else(|| panic!("no list: {list}")).iter();
    spans.map(|span| (micros(&span["start"]), seconds(&span["duration"]))).collect()
}

pub fn micros(time: &Value) -> i64 {
    chrono::DateTime::parse_from_rfc3339(time.as_str().unwrap_or_else(|| panic!("no time: {time}"))).unwrap().timestamp_micros()
}

#[expect(clippy::cast_possible_truncation)]
fn seconds(length: &Value) -> i64 {
    (length.as_f64().unwrap_or_else(|| panic!("no number: {length}")) * 1e6).round() as i64
}

/// How many requests of this kind the daemon has answered well.
pub fn told(daemon: &Daemon, kind: &str) -> usize {
    let path = format!("\"path\":\"/hooks/mediamtx/{kind}\",\"status\":200");
    daemon.logs().iter().filter(|line| line.contains(&path)).count()
}
