//! Every sample gives the figures of its README, and what MediaMTX's own playback server says of it.

use std::fs;

use serde_json::{Value, json};

use crate::site::{FROM, SAMPLES, TO, causes, close, field, of_samples, open, recordings, states};

/// The README's table: file, number, NTP in microseconds of 11:3x UTC, length in ms.
const CAM_LOCAL: [(&str, u64, &str, i64); 6] = [
    ("2026-11-23_08-32-35-013765.mp4", 0, "2026-11-23T11:32:35.013765Z", 5000),
    ("2026-11-23_08-32-39-909135.mp4", 1, "2026-11-23T11:32:39.909135Z", 5000),
    ("2026-11-23_08-32-44-909135.mp4", 2, "2026-11-23T11:32:44.909135Z", 5000),
    ("2026-11-23_08-32-49-909059.mp4", 3, "2026-11-23T11:32:49.909059Z", 1000),
    ("2026-11-23_08-34-05-945758.mp4", 0, "2026-11-23T11:34:05.945758Z", 5475),
    ("2026-11-23_08-34-10-822712.mp4", 1, "2026-11-23T11:34:10.822712Z", 3035),
];

#[test]
fn cam_local_has_the_figures_of_its_readme() {
    let daemon = of_samples("");
    let recorded = recordings(&daemon, "cam-local", FROM, TO);
    let shown = recorded["segments"].as_array().unwrap();
    assert_eq!(shown.len(), CAM_LOCAL.len(), "{recorded}");
    for (segment, (file, number, start, length)) in shown.iter().zip(CAM_LOCAL) {
        assert_eq!(segment["file"], format!("cam-local/{file}"));
        assert_eq!((&segment["number"], &segment["start"]), (&json!(number), &json!(start)));
        assert_eq!(segment["duration_ms"], length);
        assert_eq!(segment["bytes"], fs::metadata(format!("{SAMPLES}/cam-local/{file}")).unwrap().len());
    }
    let is_first = |segment: &&Value| segment["stream_id"].as_str().unwrap().starts_with("ff21e766");
    assert_eq!(shown.iter().filter(is_first).count(), 4);
    assert_eq!(states(&recorded), ["complete", "complete", "complete", "truncated", "complete", "complete"]);
    assert_eq!(causes(&recorded), ["not_started", "truncated", "no_recording"]);
    assert_eq!(recorded["covered_ms"], 15_895 + 7912);
    assert_eq!(recorded["complete"], false);
}

/// `list.txt` is what MediaMTX's playback server answered to `/list`.
#[test]
fn playback_is_what_mediamtx_lists() {
    let daemon = of_samples("[playback]\nextra_seconds = 1\n");
    let text = fs::read_to_string(format!("{SAMPLES}/list.txt")).unwrap();
    let mut compared = 0;
    for part in text.split("== ").skip(1) {
        let (path, list) = part.split_once('\n').unwrap();
        let recorded = recordings(&daemon, path, FROM, TO);
        let playback = recorded["playback"].as_array().unwrap();
        let Ok(Value::Array(listed)) = serde_json::from_str::<Value>(list) else {
            assert_eq!(playback.len(), 0, "{path} is MPEG-TS, which is not served");
            continue;
        };
        if path == "cam-epoch" {
            // Its number 2 is not among the samples.
            assert_eq!(causes(&recorded), ["not_started", "missing_segment", "truncated"]);
            continue;
        }
        assert_eq!(playback.len(), listed.len(), "{path}: {recorded}");
        for (ours, theirs) in playback.iter().zip(&listed) {
            let micros =
                |value: &Value| chrono::DateTime::parse_from_rfc3339(value.as_str().unwrap()).unwrap().timestamp_micros();
            assert!((micros(&ours["start"]) - micros(&theirs["start"])).abs() <= 1000, "{path}: {ours} {theirs}");
            let seconds = |value: &Value| value["duration"].as_f64().unwrap();
            assert!((seconds(ours) - seconds(theirs)).abs() <= 0.001, "{path}: {ours} {theirs}");
            compared += 1;
        }
    }
    assert_eq!(compared, 3);
}

#[test]
fn the_address_of_a_span_is_encoded_as_playback_wants_it() {
    let daemon = of_samples("playback_base_url = \"http://127.0.0.1:9996/\"\n");
    let recorded = recordings(&daemon, "site/gate", FROM, TO);
    let url = recorded["playback"][0]["url"].as_str().unwrap();
    assert_eq!(
        url,
        "http://127.0.0.1:9996/get?path=site%2Fgate&start=2026-11-23T11%3A32%3A35.033740Z&duration=15.890287&format=mp4"
    );
}

/// A session is told what lies within it, and playback may be wider by what is asked for, but never reaches into a gap.
#[test]
fn a_session_is_told_of_its_own_stretch() {
    let daemon = of_samples("[playback]\nextra_seconds = 2\n");
    open(&daemon, "s", "cam-local", "2026-11-23T11:32:40Z");
    close(&daemon, "s", "2026-11-23T11:32:50Z");
    let recorded = daemon.get("/sessions/s/recordings").is(200).json();
    assert_eq!(recorded["session_id"], "s");
    assert_eq!(recorded["path"], "cam-local");
    assert_eq!(
        (&recorded["from"], &recorded["to"]),
        (&json!("2026-11-23T11:32:40.000000Z"), &json!("2026-11-23T11:32:50.000000Z"))
    );
    assert_eq!((&recorded["complete"], &recorded["covered_ms"]), (&json!(true), &json!(10_000)));
    assert_eq!(field(&recorded["segments"], "number"), [0, 1, 2, 3].map(Value::from), "{recorded}");
    assert_eq!(recorded["gaps"], json!([]));
    // Two seconds before; behind it the file was cut at 11:32:50.909.
    assert_eq!(recorded["playback"][0]["start"], "2026-11-23T11:32:38.000000Z");
    assert_eq!(recorded["playback"][0]["duration"], 12.909_059);
    let session = daemon.get("/sessions/s").json();
    assert_eq!(session["media_start_ts"], "2026-11-23T11:32:35.013Z", "the first reaches into it by 13 ms");
    assert_eq!(session["media_end_ts"], "2026-11-23T11:32:50.909Z");
    daemon.get("/sessions/none/recordings").is(404);
}

#[test]
fn mpeg_ts_is_an_estimate_from_its_packets() {
    let daemon = of_samples("");
    let recorded = recordings(&daemon, "cam-ts", FROM, TO);
    assert_eq!(states(&recorded), ["estimated", "estimated", "estimated"]);
    assert_eq!(recorded["segments"][0]["start"], "2026-11-23T11:32:35.022371Z");
    let length = recorded["segments"][0]["duration_ms"].as_i64().unwrap();
    assert!((4700..=5300).contains(&length), "{recorded}");
    assert_eq!(recorded["segments"][0]["stream_id"], Value::Null);
}

/// Of a file whose packets hold no times, its name and its last writing tell; of one that was copied much later, nothing does.
#[test]
fn mpeg_ts_without_times_is_an_estimate_from_name_and_time() {
    let home = crate::site::home("");
    let folder = home.dir().join("local/cam-ts");
    fs::create_dir_all(&folder).unwrap();
    for (name, written) in
        [("2026-11-23_08-32-35-000000.ts", "2026-11-23T11:32:39Z"), ("2026-11-23_08-33-00-000000.ts", "2026-11-24T11:33:00Z")]
    {
        let packet: Vec<u8> = [&[0x47, 0x1f, 0xff, 0x10][..], &[0xff; 184]].concat();
        fs::write(folder.join(name), packet.repeat(50)).unwrap();
        let moment = chrono::DateTime::parse_from_rfc3339(written).unwrap();
        fs::File::options().write(true).open(folder.join(name)).unwrap().set_modified(moment.into()).unwrap();
    }
    let daemon = crate::support::daemon::Daemon::on(home);
    crate::site::scanned(&daemon);
    let recorded = recordings(&daemon, "cam-ts", FROM, TO);
    assert_eq!(
        (states(&recorded), &recorded["segments"][0]["duration_ms"]),
        (vec![json!("estimated")], &json!(4000)),
        "{recorded}"
    );
    assert_eq!(recorded["unreadable"].as_array().unwrap().len(), 1);
}

/// MediaMTX was writing it when it was copied: nobody closed it, and nobody writes it any more.
#[test]
fn the_growing_file_is_measured_by_its_complete_parts() {
    let daemon = of_samples("");
    let recorded = recordings(&daemon, "growing", FROM, TO);
    assert_eq!(states(&recorded), ["truncated"]);
    assert_eq!(recorded["segments"][0]["start"], "2026-11-23T11:32:44.909135Z");
    assert_eq!(recorded["segments"][0]["duration_ms"].as_i64().unwrap() % 1000, 0, "whole parts of 1 s: {recorded}");
}

#[test]
fn the_zone_in_a_name_and_unix_seconds_need_no_time_zone() {
    let daemon = of_samples("");
    for (path, start) in [("site/gate", "2026-11-23T11:32:35.033740Z"), ("cam-epoch", "2026-11-23T11:32:35.014159Z")] {
        let recorded = recordings(&daemon, path, FROM, TO);
        assert_eq!(recorded["segments"][0]["start"], start);
    }
}

#[test]
fn a_window_must_be_one() {
    let daemon = of_samples("");
    for query in [
        "",
        "?path=cam-local",
        "?path=cam-local&from=x&to=y",
        "?path=cam-local&from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z",
    ] {
        daemon.get(format!("/recordings{query}")).is(400);
    }
}
