//! A catalogue of any size, as NDJSON for `import`.

use std::io::{BufWriter, Write as _};
use std::path::Path;

/// Sessions begin so many seconds apart.
pub const APART: u64 = 20;

/// A moment so many seconds after the first session's start, in years of 336 days, up to the seconds.
fn moment(second: u64) -> String {
    let (day, rest) = (second / 86_400, second % 86_400);
    let (year, day) = (2024 + day / 336, day % 336);
    format!("{year:04}-{:02}-{:02}T{:02}:{:02}:{:02}", day / 28 + 1, day % 28 + 1, rest / 3600, rest / 60 % 60, rest % 60)
}

/// The moment as a client writes it.
pub fn time(second: u64) -> String {
    moment(second) + "Z"
}

/// The moment as an export writes it.
fn micros(second: u64) -> String {
    moment(second) + ".123456Z"
}

/// Sessions of a minute on 16 cameras, a rare one of a month; four detections each; one in ten has a colour.
pub fn write(file: &Path, sessions: u64) {
    let mut out = BufWriter::new(std::fs::File::create(file).expect("made"));
    for n in 0..sessions {
        let start = n * APART;
        let length = if n % 50_000 == 7 { 30 * 86_400 } else { 20 + n % 80 };
        let (begin, end) = (micros(start), micros(start + length));
        let second = match n % 1000 {
            500 => "giraffe",
            m if m % 3 == 0 => "cup",
            _ => "dog",
        };
        let camera = n % 16;
        writeln!(out, "{{\"session\":{{\"session_id\":\"sess_{n}\",\"device_id\":\"cam-{camera}\",\"path\":\"cam-{camera}\",\"status\":\"closed\",\"start_ts\":\"{begin}\",\"end_ts\":\"{end}\",\"postroll_sec\":5,\"reason\":\"relevance\",\"media_connect_ts\":null,\"media_start_ts\":\"{begin}\",\"media_end_ts\":\"{end}\",\"recommended_start_offset_ms\":200,\"configured_classes\":[\"person\",\"cup\"],\"detected_classes\":[\"person\",\"{second}\"],\"created_at\":\"{begin}\",\"updated_at\":\"{end}\",\"end_reason\":\"client\",\"extra\":{{}}}}}}").expect("written");
        for track in 0..4 {
            let class = if track == 3 { second } else { "person" };
            let (attributes, enriched) = match (n % 10, track) {
                (0, 0) => ("{\"color\":{\"name\":\"rojo\",\"hex\":\"#aa0000\",\"confidence\":0.9}}", true),
                (5, 0) => ("{\"color\":{\"name\":\"azul oscuro\",\"hex\":\"#1a3380\",\"confidence\":0.9}}", true),
                _ => ("null", false),
            };
            writeln!(out, "{{\"detection\":{{\"session_id\":\"sess_{n}\",\"track_id\":\"{track}\",\"cls\":\"{class}\",\"conf\":0.{},\"bbox\":{{\"x\":0.1,\"y\":0.2,\"w\":0.3,\"h\":0.4}},\"url_frame\":null,\"first_ts\":\"{begin}\",\"last_ts\":\"{end}\",\"capture_ts\":\"{begin}\",\"ingest_ts\":\"{begin}\",\"created_at\":\"{begin}\",\"updated_at\":\"{end}\",\"attributes\":{attributes},\"enriched\":{enriched},\"extra\":{{}}}}}}", 50 + n % 50).expect("written");
        }
    }
    out.flush().expect("written");
}
