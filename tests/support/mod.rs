//! What every test crate here shares: the daemon, an HTTP client, the edge agent's habits, records, small file systems.
#![allow(dead_code, reason = "each test crate uses its own part")]

pub mod agent;
pub mod daemon;
pub mod http;
pub mod records;
pub mod volume;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// Asks until there is an answer; fails with `what` when the deadline has passed.
#[track_caller]
pub fn until<T>(what: &str, deadline: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + deadline;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < end, "{what}: not within {deadline:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Copies a folder with all that is in it.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("the folder") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        if entry.file_type().expect("its type").is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).expect("a copy");
        }
    }
}

/// The JSON object's keys in their order on the wire.
pub fn keys(value: &serde_json::Value) -> Vec<String> {
    value.as_object().expect("an object").keys().cloned().collect()
}

/// The text of a JSON field, or a panic that shows the record.
#[track_caller]
pub fn text<'a>(value: &'a serde_json::Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("{key} is no text in {value}"))
}
