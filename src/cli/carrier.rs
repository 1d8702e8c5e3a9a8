//! Carrying rows and frames to a running daemon, piece by piece. It may be busy, or be started anew meanwhile.

use std::collections::HashSet;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::config::Config;
use crate::http::client::{Answered, Caller};
use crate::http::{FRAME_TYPE, LINES_TYPE, MAX_LINES_BYTES};
use crate::service::import::Imported;
use crate::service::intake::MAX_LINES;
use crate::service::migrate::{OldFrame, Refused, frame_left_out, with_frame};
use crate::sync::source::Line;

use super::daemon;

/// A daemon that does not answer, or is busy, is asked again for so long …
const PATIENCE: Duration = Duration::from_secs(60);
/// … or, before it has ever answered, for so long.
const FIRST_PATIENCE: Duration = Duration::from_secs(10);
/// The pauses between two tries: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// The way to a daemon.
pub struct Carrier {
    daemon: Caller,
    patience: Duration,
}

#[derive(Deserialize)]
struct Taken {
    lines: u64,
    sessions: u64,
    detections: u64,
    unchanged: u64,
    frames_missing: u64,
    refused: Vec<LeftOut>,
}

#[derive(Deserialize)]
struct LeftOut {
    line: usize,
    reason: String,
}

#[derive(Deserialize)]
struct Wanted {
    frames_wanted: Vec<usize>,
}

#[derive(Deserialize)]
struct Compared {
    differences: Vec<String>,
}

#[derive(Deserialize)]
struct Brought {
    file: String,
}

/// A row on its way: where it stands in what was given, and its line.
type Row<'l> = (usize, &'l Line, String);

impl Carrier {
    /// The way to the daemon at `url`.
    ///
    /// # Errors
    /// A sentence.
    pub fn new(url: String, config: &Config) -> Result<Self, String> {
        let daemon = Caller::new(url, daemon::full_secret(config))?;
        Ok(Self { daemon, patience: FIRST_PATIENCE })
    }

    /// The UUID of the daemon's store.
    ///
    /// # Errors
    /// A sentence.
    pub fn store(&mut self) -> Result<String, String> {
        let end = Instant::now() + FIRST_PATIENCE;
        loop {
            let answer = self.ask(&Method::GET, "/health", LINES_TYPE, &Bytes::new())?;
            let health: Value = self.json(&answer)?;
            match health.get("store_uuid") {
                Some(Value::String(uuid)) => {
                    self.patience = PATIENCE;
                    return Ok(uuid.clone());
                }
                None if health.get("status").is_some() => return Err(self.refused(StatusCode::UNAUTHORIZED, "Unauthorized")),
                _ if Instant::now() < end => std::thread::sleep(PAUSES.0),
                _ => return Err(format!("The daemon at {} has not opened its store.", self.daemon.base())),
            }
        }
    }

    /// Takes in `lines`, with the frames that they name below `from`; says what was left out.
    ///
    /// # Errors
    /// A sentence. What came before is stored.
    pub fn take_in(&mut self, from: Option<&Path>, lines: &[Line]) -> Result<(Imported, Vec<Refused>), String> {
        let (mut done, mut refused) = (Imported::default(), Vec::new());
        let rows = lines.iter().enumerate().map(|(index, line)| (index, line, line.text.clone())).collect();
        for mut piece in pieces(rows, &mut |index, bytes| refused.push(too_long(index, bytes))) {
            if let Some(from) = from {
                self.bring_frames(from, &mut piece, &mut refused)?;
            }
            // With the names of frames in them, the lines may be longer.
            for some in pieces(piece, &mut |index, bytes| refused.push(too_long(index, bytes))) {
                let taken: Taken = self.post("/import", &some)?;
                done.add(Imported {
                    lines: taken.lines,
                    sessions: taken.sessions,
                    detections: taken.detections,
                    deleted: 0,
                    unchanged: taken.unchanged,
                    frames_missing: taken.frames_missing,
                });
                let of_row = |one: LeftOut| Some(Refused { index: row(&some, one.line)?, reason: one.reason });
                refused.extend(taken.refused.into_iter().filter_map(of_row));
            }
        }
        Ok((done, refused))
    }

    /// What differs between `lines` and the store, a sentence each.
    ///
    /// # Errors
    /// A sentence.
    pub fn compare(&mut self, lines: &[Line], with_frames: bool) -> Result<Vec<String>, String> {
        let path = if with_frames { "/import?only=compare&frames=1" } else { "/import?only=compare" };
        let mut differences = Vec::new();
        let rows = lines.iter().enumerate().map(|(index, line)| (index, line, line.text.clone())).collect();
        for piece in pieces(rows, &mut |index, bytes| {
            let session = lines.get(index).map_or("", |line| line.session.as_str());
            differences.push(format!("a row of session {session} cannot be compared: {}", too_long(index, bytes).reason));
        }) {
            let compared: Compared = self.post(path, &piece)?;
            differences.extend(compared.differences);
        }
        Ok(differences)
    }

    /// Sends the frames of `piece` that the daemon wants, and has the rows name them as it does.
    fn bring_frames(&mut self, from: &Path, piece: &mut [Row<'_>], refused: &mut Vec<Refused>) -> Result<(), String> {
        let mut asked = Vec::new();
        for (place, (index, line, text)) in piece.iter().enumerate() {
            let Some(url) = &line.url_frame else { continue };
            match OldFrame::find(from, url) {
                Ok(frame) => {
                    if let Some(named) = with_frame(text, &line.session, frame.name.as_str(), frame.bytes) {
                        asked.push((place, *index, *line, named));
                    }
                }
                Err(reason) => refused.push(frame_left_out(*index, &reason)),
            }
        }
        let rows: Vec<Row> = asked.iter().map(|(_, index, line, named)| (*index, *line, named.clone())).collect();
        let mut wanted = HashSet::new();
        for some in pieces(rows, &mut |_, _| ()) {
            let answer: Wanted = self.post("/import?only=frames", &some)?;
            wanted.extend(answer.frames_wanted.into_iter().filter_map(|line| row(&some, line)));
        }
        for (place, index, line, mut named) in asked {
            if wanted.contains(&index) {
                match self.bring(from, line)? {
                    Ok((file, bytes)) => {
                        let Some(renamed) = with_frame(&line.text, &line.session, &file, bytes) else { continue };
                        named = renamed;
                    }
                    Err(reason) => {
                        refused.push(frame_left_out(index, &reason));
                        continue;
                    }
                }
            }
            piece[place].2 = named;
        }
        Ok(())
    }

    /// Sends the frame of `line`; says what it is called there and how long it is, or why it is left out.
    fn bring(&mut self, from: &Path, line: &Line) -> Result<Result<(String, u64), String>, String> {
        let old = OldFrame::find(from, line.url_frame.as_deref().unwrap_or_default());
        let read = old.and_then(|old| Ok((old.name.clone(), old.read()?)));
        let (name, jpeg) = match read {
            Ok(read) => read,
            Err(reason) => return Ok(Err(reason)),
        };
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let path = format!("/import/frames/{}/{}", encoded(&line.session), encoded(name.as_str()));
        let answer = self.ask(&Method::PUT, &path, FRAME_TYPE, jpeg.bytes())?;
        match answer.status {
            StatusCode::OK => {
                let brought: Brought = self.json(&answer)?;
                Ok(Ok((brought.file, jpeg.bytes().len() as u64)))
            }
            StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND | StatusCode::PAYLOAD_TOO_LARGE => Ok(Err(said(&answer))),
            status => Err(self.refused(status, &said(&answer))),
        }
    }

    fn post<T: DeserializeOwned>(&mut self, path: &str, rows: &[Row<'_>]) -> Result<T, String> {
        let mut body = Vec::with_capacity(rows.iter().map(|(_, _, text)| text.len() + 1).sum());
        for (_, _, text) in rows {
            // A line break in JSON is as good as a space.
            body.extend(text.bytes().map(|byte| if byte == b'\n' { b' ' } else { byte }));
            body.push(b'\n');
        }
        let answer = self.ask(&Method::POST, path, LINES_TYPE, &body.into())?;
        self.json(&answer)
    }

    /// Asks until there is an answer that will not be another one later.
    fn ask(&mut self, method: &Method, path: &str, content_type: &str, body: &Bytes) -> Result<Answered, String> {
        let (end, mut pause) = (Instant::now() + self.patience, PAUSES.0);
        let mut is_told = false;
        loop {
            let (reason, wait) = match self.daemon.send(method.clone(), path, content_type, body.clone()) {
                Err(reason) => (format!("gives no answer: {reason}"), pause),
                Ok(answer) if is_passing(answer.status) => {
                    let reason = format!("answers {}: {}", answer.status, said(&answer));
                    (reason, answer.again_after.unwrap_or(pause).min(PAUSES.1))
                }
                Ok(answer) => return Ok(answer),
            };
            if Instant::now() + wait >= end {
                let base = self.daemon.base();
                return Err(format!("The daemon at {base} {reason}. Run this again later: it goes on where it was."));
            }
            if pause == PAUSES.1 && !is_told {
                is_told = true;
                eprintln!("the daemon {reason}; it is asked for a minute");
            }
            std::thread::sleep(wait);
            pause = PAUSES.1.min(pause * 2);
        }
    }

    fn json<T: DeserializeOwned>(&self, answer: &Answered) -> Result<T, String> {
        if answer.status != StatusCode::OK {
            return Err(self.refused(answer.status, &said(answer)));
        }
        let unclear = |error| format!("The answer of the daemon at {} cannot be read: {error}.", self.daemon.base());
        serde_json::from_slice(&answer.body).map_err(unclear)
    }

    fn refused(&self, status: StatusCode, said: &str) -> String {
        let base = self.daemon.base();
        let advice = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                " It asks for a token: set [server] api_token here to the daemon's."
            }
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => " It may be an older version: restart it.",
            _ => "",
        };
        format!("The daemon at {base} answers {status}: {said}.{advice}")
    }
}

/// Whether the same may be answered otherwise in a while.
fn is_passing(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS
            | StatusCode::REQUEST_TIMEOUT
            | StatusCode::INTERNAL_SERVER_ERROR
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    )
}

/// The sentence of a refusal.
fn said(answer: &Answered) -> String {
    let json: Option<Value> = serde_json::from_slice(&answer.body).ok();
    let sentence = json.and_then(|json| json["error"].as_str().map(ToOwned::to_owned));
    sentence.unwrap_or_else(|| String::from_utf8_lossy(&answer.body).trim().to_owned())
}

fn too_long(index: usize, bytes: usize) -> Refused {
    let reason = format!("with {bytes} bytes it is longer than the {MAX_LINES_BYTES} that a running daemon takes");
    Refused { index, reason }
}

/// Where the row that was sent as this line of `rows` stands in what was given.
fn row(rows: &[Row<'_>], line: usize) -> Option<usize> {
    rows.get(line.checked_sub(1)?).map(|(index, ..)| *index)
}

/// Splits `rows` into what one request may hold; one that is too long for any is told to `too_long`.
fn pieces<'l>(rows: Vec<Row<'l>>, too_long: &mut dyn FnMut(usize, usize)) -> Vec<Vec<Row<'l>>> {
    let mut pieces: Vec<Vec<Row>> = Vec::new();
    let mut left = 0;
    for row in rows {
        let bytes = row.2.len() + 1;
        if bytes > MAX_LINES_BYTES {
            too_long(row.0, bytes);
            continue;
        }
        match pieces.last_mut() {
            Some(piece) if bytes <= left && piece.len() < MAX_LINES => piece.push(row),
            _ => {
                pieces.push(vec![row]);
                left = MAX_LINES_BYTES;
            }
        }
        left -= bytes;
    }
    pieces
}
