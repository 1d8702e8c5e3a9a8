//! The tour in `README.md`: every command of it is run, as it stands there, against the real binary.
//! In a line that begins with `# →`, the pieces between `…` must occur in the block's output, in their order.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "support/mod.rs"]
mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use support::copy;
use support::daemon::{Daemon, binary, run};

const README: &str = include_str!("../README.md");
/// The daemon's address on that page.
const ADDRESS: &str = "http://127.0.0.1:8080";
const EXPECTED: &str = "# → ";
/// The default folders, which other tests keep elsewhere.
const CONFIG: &str = "\
[database]
path = \"data/session-store.redb\"
[frames]
storage_path = \"data/frames\"
[tracks]
storage_path = \"data/tracks\"
";

/// The shell blocks below the heading, in their order.
fn blocks() -> Vec<&'static str> {
    let (_, tour) = README.split_once("\n## A tour\n").expect("README.md has a tour");
    let tour = tour.split("\n## ").next().unwrap_or_default();
    tour.split("\n```sh\n").skip(1).map(|rest| rest.split("\n```").next().unwrap_or_default()).collect()
}

/// What of `block`'s expectations is not in `output`.
fn missing<'b>(block: &'b str, output: &str) -> Option<&'b str> {
    let mut rest = output;
    let expected = block.lines().filter_map(|line| line.strip_prefix(EXPECTED));
    for piece in expected.flat_map(|line| line.split('…')).filter(|piece| !piece.is_empty()) {
        let Some((_, behind)) = rest.split_once(piece) else { return Some(piece) };
        rest = behind;
    }
    None
}

/// Makes `dir` look like the top of the repository after `cargo build --release`.
fn furnish(dir: &Path) {
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data"), &dir.join("tests/data"));
    fs::create_dir_all(dir.join("target/release")).expect("a folder");
    symlink(binary(), dir.join("target/release/session-store")).expect("a link");
}

/// A shell in `dir`, without what the caller's environment would tell curl and the program.
fn shell(dir: &Path, script: &str) -> Command {
    let mut command = Command::new("bash");
    command.args(["-euo", "pipefail", "-c", script]).current_dir(dir).env("no_proxy", "*");
    for name in ["SESSION_STORE_CONFIG", "JOURNAL_STREAM", "CDPATH"] {
        command.env_remove(name);
    }
    command
}

#[test]
fn every_command_of_the_tour_does_what_the_page_says() {
    let daemon = Daemon::with(CONFIG);
    furnish(daemon.dir());
    let address = format!("http://{}", daemon.address);
    for block in blocks() {
        let ran = run(&mut shell(daemon.dir(), &block.replace(ADDRESS, &address)), b"");
        assert_eq!(ran.code, Some(0), "{block}\n{}\n{}", ran.stdout, ran.stderr);
        if let Some(piece) = missing(block, &ran.stdout) {
            panic!("no {piece:?} at its place in the output of\n{block}\nwhich was\n{}\n{}", ran.stdout, ran.stderr);
        }
    }
}

/// The test above would also pass on a page without commands.
#[test]
fn the_tour_is_an_agents_whole_day_and_each_block_says_what_it_prints() {
    let blocks = blocks();
    for block in &blocks {
        assert!(block.lines().any(|line| line.starts_with(EXPECTED)), "no {EXPECTED:?} in\n{block}");
    }
    let whole = blocks.join("\n");
    for part in [
        "/health",
        "/sessions/open",
        "/ingest",
        "/ingest/detections/",
        "/sessions?limit=",
        "/sessions/range?",
        "/sessions?classes=",
        "/hooks/mediamtx/publish",
        "/hooks/mediamtx/record/segment/complete",
        "/tracks/index",
        "/changes?",
        "/sessions/close",
        "session-store health",
        "session-store export",
        " import ",
    ] {
        assert!(whole.contains(part), "{part} is not in the tour");
    }
}

#[test]
fn a_piece_that_is_missing_or_out_of_order_is_told() {
    let block = "command\n# → one…two\n# → three";
    assert_eq!(missing(block, "one, two, three"), None);
    assert_eq!(missing(block, "two, one, three"), Some("two"));
    assert_eq!(missing(block, "one, two"), Some("three"));
}
