//! `export` and `import`: the lines, the options, what a bad line does.

use std::fs;

use serde_json::{Value, json};

use crate::sessions::ids;
use crate::support::agent::{END, close, detection, detections, ingest, jpeg, open, picture, session};
use crate::support::daemon::{Daemon, Home, command, ndjson, run};
use crate::support::keys;
use crate::support::records::{at, detection_line, session_line};

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))).collect()
}

fn export(home: &Home, args: &[&str]) -> String {
    let ran = home.run(&[&["export"], args].concat(), b"");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    ran.stdout
}

/// A stopped store with two sessions, two detections and a picture.
fn filled() -> Home {
    let daemon = Daemon::start();
    open(&daemon, "open");
    open(&daemon, "shut ü");
    ingest(&daemon, "shut ü", &[("1", "cup", 0.5), ("2", "dog", 0.75)], "2025-10-11T12:00:01.123456Z", Some(&jpeg(1))).is(200);
    close(&daemon, "shut ü", END);
    daemon.stop()
}

#[test]
fn export_writes_sessions_and_detections_in_the_wire_shape_with_microseconds_and_extra() {
    let home = filled();
    let lines = lines(&export(&home, &[]));
    assert_eq!(lines.len(), 4);
    let daemon = Daemon::on(home);
    for line in &lines {
        let (kind, record) = line.as_object().unwrap().iter().next().unwrap();
        assert_eq!(line.as_object().unwrap().len(), 1);
        let wire = match kind.as_str() {
            "session" => session(&daemon, record["session_id"].as_str().unwrap()),
            "detection" => detection(&daemon, record["session_id"].as_str().unwrap(), record["track_id"].as_str().unwrap()),
            other => panic!("a {other} line"),
        };
        let mut expected = keys(&wire);
        expected.push("extra".to_owned());
        assert_eq!(keys(record), expected);
        assert!(record["extra"].is_object());
        for (key, value) in wire.as_object().unwrap() {
            match value.as_str().filter(|_| key.ends_with("_ts") || key.ends_with("_at")) {
                None => assert_eq!(record[key], *value, "{key}"),
                Some(short) => {
                    let long = record[key].as_str().unwrap();
                    assert!(long.len() == 27 && long.ends_with('Z'), "{key} has microseconds: {long}");
                    assert_eq!(long[..23], short[..23], "{key}");
                }
            }
        }
    }
    let seen = lines.iter().find(|line| line["detection"]["track_id"] == "1").unwrap();
    assert_eq!(seen["detection"]["capture_ts"], "2025-10-11T12:00:01.123456Z");
}

#[test]
fn export_is_in_feed_order_and_since_gives_increments() {
    let home = filled();
    let whole = export(&home, &[]);
    let daemon = Daemon::on(home);
    let feed = daemon.get("/changes").is(200).json();
    let names = |records: &[Value]| -> Vec<String> {
        records.iter().map(|one| format!("{}{}", one["session"]["session_id"], one["detection"]["track_id"])).collect()
    };
    let feed_list = feed["changes"].as_array().unwrap().clone();
    assert_eq!(names(&lines(&whole)), names(&feed_list));
    let since = feed_list[1]["seq"].to_string();
    let end = feed["next"].to_string();
    let home = daemon.stop();
    let later = export(&home, &["--since", &since]);
    assert_eq!(names(&lines(&later)), names(&feed_list[2..]));
    assert_eq!(export(&home, &["--since", &end]), "");
}

#[test]
fn export_works_on_a_running_store_by_way_of_the_api() {
    let home = filled();
    let stopped = lines(&export(&home, &[]));
    let daemon = Daemon::on(home);
    let ran = daemon.home().run(&["export", "--from", &format!("http://{}", daemon.address)], b"");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let running = lines(&ran.stdout);
    assert_eq!(running.len(), stopped.len());
    for (one, other) in running.iter().zip(&stopped) {
        let (kind, record) = one.as_object().unwrap().iter().next().unwrap();
        for key in ["session_id", "track_id", "status", "cls", "conf", "url_frame", "detected_classes", "end_reason"] {
            assert_eq!(record[key], other[kind][key], "{key}");
        }
    }
}

#[test]
fn export_writes_to_a_file() {
    let home = filled();
    let out = home.dir().join("out.ndjson");
    assert_eq!(export(&home, &["--output", out.to_str().unwrap()]), "");
    assert_eq!(fs::read_to_string(out).unwrap(), export(&home, &["--output", "-"]));
}

#[test]
fn what_was_exported_is_imported_the_same() {
    let home = filled();
    let text = export(&home, &[]);
    let other = Home::new("");
    fs::write(other.dir().join("in.ndjson"), &text).unwrap();
    let ran = other.run(&["import", other.dir().join("in.ndjson").to_str().unwrap()], b"");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let mut expected = lines(&text);
    for line in &mut expected {
        if line.get("detection").is_some() {
            line["detection"]["url_frame"] = Value::Null;
        }
    }
    let strip = |mut records: Vec<Value>| {
        for line in &mut records {
            for record in line.as_object_mut().unwrap().values_mut() {
                record.as_object_mut().unwrap().remove("updated_at");
                record.as_object_mut().unwrap().remove("extra");
            }
        }
        records.sort_by_key(Value::to_string);
        records
    };
    assert_eq!(strip(lines(&export(&other, &[]))), strip(expected));
}

#[test]
fn a_url_frame_whose_file_is_not_there_becomes_null_and_is_counted() {
    let home = Home::new("");
    let mut lines = vec![session_line("s", &at(0, 0), &at(9, 0), &["cup"], &json!({}))];
    for n in 0..7 {
        let url = ["/frames/s/gone.jpg", "/frames/s/../../config.toml", "/etc/passwd"].get(n % 3);
        let change = json!({"url_frame": url.filter(|_| n < 5)});
        lines.push(detection_line("s", &n.to_string(), "cup", &at(1, 0), &change));
    }
    let ran = home.import(&lines);
    let mut numbers = ran.stderr.split(|letter: char| !letter.is_ascii_digit());
    assert!(numbers.any(|number| number == "5"), "the summary counts them: {}", ran.stderr);
    let daemon = Daemon::on(home);
    let seen = detections(&daemon, "s");
    assert_eq!(seen.len(), 7);
    assert!(seen.iter().all(|one| one["url_frame"].is_null()));
}

#[test]
fn importing_into_the_same_store_changes_nothing_and_keeps_its_pictures() {
    let home = filled();
    let text = export(&home, &[]);
    for _ in 0..2 {
        let ran = home.run(&["import", "-"], text.as_bytes());
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    }
    assert_eq!(export(&home, &[]), text);
    let daemon = Daemon::on(home);
    assert_eq!(picture(&daemon, &detection(&daemon, "shut ü", "1")).is(200).body, jpeg(1));
}

#[test]
fn an_import_twice_is_as_once() {
    let once =
        [session_line("s", &at(0, 0), &at(9, 0), &["cup"], &json!({})), detection_line("s", "1", "cup", &at(1, 0), &json!({}))];
    let home = Home::new("");
    home.import(&once);
    let text = export(&home, &[]);
    home.import(&once);
    home.import(&[once.clone(), once].concat());
    assert_eq!(export(&home, &[]), text, "the feed does not move either");
}

#[test]
fn a_bad_line_is_named_by_number_and_nothing_of_its_batch_is_half_stored() {
    let good = |n: usize| session_line(&format!("s{n}"), &at(n, 0), &at(n, 30), &[], &json!({})).to_string();
    let mut wrong_time = session_line("bad", &at(0, 0), &at(1, 0), &[], &json!({}));
    wrong_time["session"]["start_ts"] = json!("soon");
    let mut wrong_conf = detection_line("s1", "1", "cup", &at(0, 0), &json!({}));
    wrong_conf["detection"]["conf"] = json!(1.5);
    for bad in [
        "{".to_owned(),
        "[]".to_owned(),
        "{\"something\":{}}".to_owned(),
        "{\"session\":{}}".to_owned(),
        wrong_time.to_string(),
        wrong_conf.to_string(),
        session_line("a/b", &at(0, 0), &at(1, 0), &[], &json!({})).to_string(),
    ] {
        let home = Home::new("");
        let text = [good(1), good(2), bad.clone(), good(4)].join("\n") + "\n";
        let ran = home.run(&["import", "-"], text.as_bytes());
        assert_eq!(ran.code, Some(1), "{bad}: {ran:?}");
        assert!(ran.stderr.contains("line 3"), "{bad}: {}", ran.stderr);
        let daemon = Daemon::on(home);
        assert_eq!(daemon.get("/sessions").is(200).json()["sessions"], json!([]), "{bad}");
        let home = daemon.stop();
        let mended = [good(1), good(2), good(4)].join("\n");
        assert_eq!(home.run(&["import", "-"], mended.as_bytes()).code, Some(0), "the store is as it was");
    }
}

#[test]
fn empty_lines_and_unknown_fields_are_passed_over() {
    let mut line = session_line("s", &at(0, 0), &at(1, 0), &[], &json!({"extra": {"of_tomorrow": 1}}));
    line["session"]["colour_of_the_cat"] = json!("grey");
    let home = Home::new("");
    let ran = home.run(&["import", "-"], format!("\n{line}\n\n").as_bytes());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let daemon = Daemon::on(home);
    assert_eq!(ids(&daemon.get("/sessions").is(200).json()), ["s"]);
}

#[test]
fn import_and_export_of_a_store_in_use_are_refused_with_a_sentence() {
    let daemon = Daemon::start();
    open(&daemon, "s");
    let line = ndjson(&[session_line("t", &at(0, 0), &at(1, 0), &[], &json!({}))]);
    for (args, stdin) in [(vec!["import", "-"], line.as_bytes()), (vec!["export"], b"".as_slice())] {
        let ran = daemon.home().run(&args, stdin);
        assert!(ran.code.is_some_and(|code| code != 0), "{args:?}: {ran:?}");
        assert!(!ran.stderr.is_empty() && !ran.stderr.contains("panicked"), "{args:?}: {}", ran.stderr);
    }
    assert_eq!(ids(&daemon.get("/sessions").is(200).json()), ["s"]);
}

#[test]
fn a_missing_import_file_is_named() {
    let home = Home::new("");
    let ran = run(command(home.dir()).args(["import", "nowhere.ndjson"]), b"");
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("nowhere.ndjson"), "{}", ran.stderr);
}
