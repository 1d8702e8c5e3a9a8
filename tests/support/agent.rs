//! What the edge agent and the AI worker do, in short words.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::daemon::{Daemon, Home};
use super::http::{Multipart, Response};
use super::until;

/// The start of every session that says no other.
pub const START: &str = "2025-10-11T12:00:00.000Z";
/// The end that most tests close with.
pub const END: &str = "2025-10-11T12:10:00.000Z";
/// The AI worker's finished session among the samples.
pub const FINISHED: &str = "sess_cam-local_1760184000000_1";
/// The one that still runs.
pub const RUNNING: &str = "sess_cam-local_1760187600000_2";

/// The body that opens a session on path `cam-local`.
pub fn opening(id: &str) -> Value {
    json!({"sessionId": id, "devId": "cam-local", "startTs": START})
}

/// Opens a session and gives its record.
#[track_caller]
pub fn open(daemon: &Daemon, id: &str) -> Value {
    daemon.post("/sessions/open", &opening(id)).is(201).json()
}

/// Opens a session on a path at a time.
#[track_caller]
pub fn open_at(daemon: &Daemon, id: &str, path: &str, start: &str) -> Value {
    let body = json!({"sessionId": id, "devId": "dev", "path": path, "startTs": start});
    daemon.post("/sessions/open", &body).is(201).json()
}

/// Closes a session and gives its record.
#[track_caller]
pub fn close(daemon: &Daemon, id: &str, end: &str) -> Value {
    daemon.post("/sessions/close", &json!({"sessionId": id, "endTs": end})).is(200).json()
}

/// The session's record.
#[track_caller]
pub fn session(daemon: &Daemon, id: &str) -> Value {
    daemon.get(format!("/sessions/{}", encode(id))).is(200).json()
}

/// All sessions, newest start first.
#[track_caller]
pub fn sessions(daemon: &Daemon) -> Vec<Value> {
    daemon.get("/sessions?limit=1000").is(200).json()["sessions"].as_array().expect("a list").clone()
}

/// The session's detections.
#[track_caller]
pub fn detections(daemon: &Daemon, id: &str) -> Vec<Value> {
    let answer = daemon.get(format!("/ingest/detections/{}", encode(id))).is(200).json();
    answer["detections"].as_array().expect("a list").clone()
}

/// One of them.
#[track_caller]
pub fn detection(daemon: &Daemon, id: &str, track: &str) -> Value {
    let all = detections(daemon, id);
    let found = all.iter().find(|one| one["track_id"] == track);
    found.unwrap_or_else(|| panic!("no track {track} in {all:?}")).clone()
}

/// A sighting as it stands in `meta`.
pub fn sighting(track: &str, cls: &str, conf: f64) -> Value {
    json!({"trackId": track, "cls": cls, "conf": conf, "bbox": {"x": 0.1, "y": 0.2, "w": 0.3, "h": 0.4}})
}

/// The `meta` part.
pub fn meta(id: &str, capture: &str, sightings: &[Value]) -> Value {
    json!({"sessionId": id, "seqNo": 1, "captureTs": capture, "detections": sightings})
}

/// Posts a `meta` of any shape.
#[track_caller]
pub fn post_meta(daemon: &Daemon, meta: &Value, frame: Option<&[u8]>) -> Response {
    let mut form = Multipart::new().field("meta", meta.to_string());
    if let Some(frame) = frame {
        form = form.frame(frame);
    }
    daemon.send(&form.request())
}

/// Posts sightings `(track, class, confidence)` of one moment.
#[track_caller]
pub fn ingest(daemon: &Daemon, id: &str, sightings: &[(&str, &str, f64)], capture: &str, frame: Option<&[u8]>) -> Response {
    let sightings: Vec<Value> = sightings.iter().map(|(track, cls, conf)| sighting(track, cls, *conf)).collect();
    post_meta(daemon, &meta(id, capture, &sightings), frame)
}

/// The counts of an ingest's answer: inserted, updated, skipped, total, frameSaved.
#[track_caller]
pub fn counts(answer: Response) -> (u64, u64, u64, u64, bool) {
    let json = answer.is(200).json();
    let number = |key: &str| json[key].as_u64().unwrap_or_else(|| panic!("{key} in {json}"));
    let saved = json["frameSaved"].as_bool().unwrap_or_else(|| panic!("frameSaved in {json}"));
    (number("inserted"), number("updated"), number("skipped"), number("total"), saved)
}

/// Percent-encodes everything but letters, digits, `-`, `_`, `.` and `~`.
pub fn encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// The request target of a `url_frame`, which is a raw path.
pub fn frame_target(url_frame: &str) -> String {
    url_frame.split('/').map(encode).collect::<Vec<_>>().join("/")
}

/// Gets the picture that a detection names.
#[track_caller]
pub fn picture(daemon: &Daemon, detection: &Value) -> Response {
    daemon.get(frame_target(super::text(detection, "url_frame")))
}

/// The file that a detection names, found as the enricher finds it.
pub fn picture_file(home: &Home, detection: &Value) -> PathBuf {
    let url = super::text(detection, "url_frame");
    home.frames_dir().join(url.strip_prefix("/frames/").expect("/frames/ in front"))
}

/// The pictures of a session on disk.
pub fn pictures(daemon: &Daemon, id: &str) -> Vec<String> {
    let Ok(files) = std::fs::read_dir(daemon.frames_dir().join(id)) else {
        return Vec::new();
    };
    let names = files.filter_map(|file| file.ok()?.file_name().into_string().ok());
    names.filter(|name| Path::new(name).extension().is_some_and(|kind| kind == "jpg")).collect()
}

/// Waits until exactly so many pictures of a session are on disk.
#[track_caller]
pub fn pictures_become(daemon: &Daemon, id: &str, count: usize) {
    let what = format!("{count} pictures of {id}");
    until(&what, Duration::from_secs(5), || (pictures(daemon, id).len() == count).then_some(()));
}

/// A file of `tests/data`.
pub fn sample(name: &str) -> Vec<u8> {
    let path = samples().join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

/// Sample frame 1, 2 or 3.
pub fn jpeg(number: u8) -> Vec<u8> {
    sample(&format!("frames/frame_{number}.jpg"))
}

/// A JPEG of exactly `size` bytes: a sample with comment segments put in.
pub fn jpeg_of(size: usize) -> Vec<u8> {
    let base = jpeg(1);
    let mut missing = size.checked_sub(base.len()).expect("larger than the sample");
    let mut picture = base[..2].to_vec();
    while missing > 0 {
        let mut segment = missing.min(60_000);
        if (1..4).contains(&(missing - segment)) {
            segment -= 4;
        }
        assert!(segment >= 4, "a comment takes at least 4 bytes");
        let length = u16::try_from(segment - 2).expect("a short segment");
        picture.extend([0xff, 0xfe]);
        picture.extend(length.to_be_bytes());
        picture.extend(vec![b'.'; segment - 4]);
        missing -= segment;
    }
    picture.extend_from_slice(&base[2..]);
    picture
}

/// Puts a sample session's tracks where the AI worker writes them.
pub fn copy_tracks(home: &Home, id: &str) -> PathBuf {
    copy_tracks_as(home, id, id)
}

/// The same under another session's name.
pub fn copy_tracks_as(home: &Home, sample_id: &str, id: &str) -> PathBuf {
    let (from, to) = (samples().join("tracks").join(sample_id), home.tracks_dir().join(id));
    for dir in ["", "tracks"] {
        std::fs::create_dir_all(to.join(dir)).expect("a folder");
        for entry in std::fs::read_dir(from.join(dir)).expect("the samples") {
            let entry = entry.expect("an entry");
            if entry.file_type().expect("its type").is_file() {
                std::fs::copy(entry.path(), to.join(dir).join(entry.file_name())).expect("a copy");
            }
        }
    }
    to
}

/// Replaces a file as the AI worker does, by rename.
pub fn replace(path: &Path, content: &[u8]) {
    let new = path.with_extension("new");
    std::fs::write(&new, content).expect("written");
    std::fs::rename(&new, path).expect("renamed");
}
