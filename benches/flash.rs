//! What an ingested frame costs a flash card in metadata (database and journal; the pictures lie elsewhere), at steady
//! rates from 16 cameras. Counted twice: what the daemon hands to `write` and `pwrite`, rounded up to the 4 KiB pages
//! touched by each sync (read off `strace`), and the sectors written on a loop device with ext4. Each run ends with a
//! clean stop, so that the whole journal's way into the database is counted. The ratio is against the picture itself.
//!
//! `cargo bench --bench flash [-- --daemon PATH]` (another build, to compare). As root, with `strace` and `mkfs.ext4`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::cast_precision_loss)]

mod support;

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use support::{Client, Daemon, ingest};

const FRAME: &[u8] = include_bytes!("../tests/data/frames/frame_1.jpg");
const CAMERAS: u32 = 16;
const PAGE: u64 = 4096;
const SECTOR: u64 = 512;
/// Frames a second over all cameras, and for how long.
const RATES: [(u32, u32); 4] = [(1, 60), (8, 30), (32, 20), (200, 20)];

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let daemon = arguments.iter().position(|word| word == "--daemon").map(|at| PathBuf::from(&arguments[at + 1]));
    println!("scene      frames/s frames  handed B/frame  sectors B/frame  of the picture");
    for improving in [true, false] {
        for (rate, seconds) in RATES {
            let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
            let volume = Volume::mount(folder.path());
            let (frames, handed, sectors) = run(folder.path(), &volume, daemon.as_deref(), rate, seconds, improving);
            let each = |bytes: u64| bytes as f64 / f64::from(frames);
            println!(
                "{:10} {rate:8} {frames:6} {:15.0} {:16.0} {:15.3}",
                if improving { "improving" } else { "steady" },
                each(handed),
                each(sectors),
                each(handed) / FRAME.len() as f64,
            );
        }
    }
}

/// Frames taken, bytes handed over, bytes that reached the device.
fn run(folder: &Path, volume: &Volume, binary: Option<&Path>, rate: u32, seconds: u32, improving: bool) -> (u32, u64, u64) {
    let mut daemon = Daemon::start_with(folder, &volume.mounted, binary);
    let mut client = Client::new(daemon.address);
    for camera in 0..CAMERAS {
        let open = format!("{{\"sessionId\":\"s{camera}\",\"devId\":\"cam-{camera}\",\"startTs\":\"2026-01-01T00:00:00Z\"}}");
        assert_eq!(client.post_json("/sessions/open", &open), 201);
        send(&mut client, camera, 0, 0.1);
    }
    volume.settle();
    let trace = Trace::attach(daemon.pid(), folder);
    let before = volume.written();
    let frames = rate * seconds;
    let started = Instant::now();
    for frame in 0..frames {
        let due = Duration::from_secs_f64(f64::from(frame) / f64::from(rate));
        std::thread::sleep(due.saturating_sub(started.elapsed()));
        let conf = if improving { 0.1 + f64::from(frame + 1) / 1e6 } else { 0.05 };
        send(&mut client, frame % CAMERAS, frame + 1, conf);
    }
    daemon.stop();
    let handed = trace.finish(&volume.mounted);
    volume.settle();
    (frames, handed, volume.written() - before)
}

/// A frame with one of two objects of its camera.
fn send(client: &mut Client, camera: u32, number: u32, conf: f64) {
    let (second, track) = (number / 20, number / CAMERAS % 2);
    let meta = format!(
        "{{\"sessionId\":\"s{camera}\",\"seqNo\":{number},\"captureTs\":\"2026-01-01T00:{:02}:{:02}.{:03}Z\",\"detections\":[{{\"trackId\":\"{track}\",\"cls\":\"person\",\"conf\":{conf},\"bbox\":{{\"x\":0.1234,\"y\":0.2345,\"w\":0.3456,\"h\":0.4567}}}}]}}",
        second / 60 % 60,
        second % 60,
        number % 20 * 50,
    );
    let (status, body) = client.send(&ingest(&meta, FRAME));
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
}

/// An ext4 file system of its own on a loop device.
struct Volume {
    mounted: PathBuf,
    device: String,
}

impl Volume {
    fn mount(folder: &Path) -> Self {
        let (image, mounted) = (folder.join("image"), folder.join("volume"));
        File::create(&image).and_then(|file| file.set_len(256 << 20)).expect("an image");
        std::fs::create_dir(&mounted).expect("made");
        succeed(Command::new("mkfs.ext4").arg("-q").args(["-E", "lazy_itable_init=0,lazy_journal_init=0"]).arg(&image));
        let device = Command::new("losetup").args(["--find", "--show"]).arg(&image).output().expect("losetup runs");
        assert!(device.status.success(), "{}", String::from_utf8_lossy(&device.stderr));
        let device = String::from_utf8_lossy(&device.stdout).trim().to_owned();
        succeed(Command::new("mount").arg(&device).arg(&mounted));
        Self { mounted, device }
    }

    /// Writes out what the kernel holds for it.
    fn settle(&self) {
        succeed(Command::new("sync").arg("--file-system").arg(&self.mounted));
    }

    /// Bytes ever written to the device.
    fn written(&self) -> u64 {
        let name = self.device.trim_start_matches("/dev/");
        let stat = std::fs::read_to_string(format!("/sys/block/{name}/stat")).expect("its figures");
        stat.split_whitespace().nth(6).expect("sectors written").parse::<u64>().expect("a number") * SECTOR
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.mounted).status();
        let _ = Command::new("losetup").arg("--detach").arg(&self.device).status();
    }
}

/// `strace` on the running daemon.
struct Trace {
    strace: Child,
    output: PathBuf,
}

impl Trace {
    fn attach(pid: u32, folder: &Path) -> Self {
        let output = folder.join("trace");
        let mut strace = Command::new("strace")
            .args(["-f", "-y", "-s", "0", "-e", "trace=write,pwrite64,fsync,fdatasync", "-p", &pid.to_string(), "-o"])
            .arg(&output)
            .stderr(Stdio::piped())
            .spawn()
            .expect("strace runs");
        // Its first line says that it is attached.
        let (mut line, mut said) = (String::new(), BufReader::new(strace.stderr.take().expect("a pipe")));
        said.read_line(&mut line).expect("read");
        assert!(line.contains("attached"), "{line}");
        // It tells of each new thread, and must not be killed for it.
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        Self { strace, output }
    }

    /// Bytes handed to files below `folder`, in whole pages a sync.
    fn finish(mut self, folder: &Path) -> u64 {
        self.strace.wait().expect("strace ends with the daemon");
        let below = format!("<{}/", folder.display());
        let mut touched: HashMap<String, HashSet<u64>> = HashMap::new();
        let mut pages = 0;
        for line in BufReader::new(File::open(&self.output).expect("there")).lines() {
            let line = line.expect("text");
            let Some((call, rest)) = line.split_once('(') else { continue };
            let call = call.rsplit(' ').next().expect("a name");
            let Some(path) = rest.split_once(&below).and_then(|(_, rest)| rest.split_once('>')).map(|(path, _)| path.to_owned())
            else {
                continue;
            };
            // With `-s 0` the data are shown as `""...`.
            let numbers: Vec<u64> = rest
                .split_once("\"\"...")
                .map_or("", |(_, after)| after)
                .split(|sign: char| !sign.is_ascii_digit())
                .filter_map(|word| word.parse().ok())
                .collect();
            match (call, numbers.as_slice()) {
                ("pwrite64", [length, offset, ..]) => {
                    touched.entry(path).or_default().extend(offset / PAGE..(offset + length).div_ceil(PAGE));
                }
                ("write", [length, ..]) => touched.entry(path).or_default().extend(0..length.div_ceil(PAGE)),
                _ => pages += touched.remove(&path).map_or(0, |touched| touched.len() as u64),
            }
        }
        (pages + touched.values().map(|touched| touched.len() as u64).sum::<u64>()) * PAGE
    }
}

fn succeed(command: &mut Command) {
    let output = command.output().expect("it runs");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
