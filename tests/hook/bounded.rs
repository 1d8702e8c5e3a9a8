//! Whatever is wrong, MediaMTX is not held and the exit status is 0.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Instant;

use super::command::{COMPLETE, LIMIT, PUBLISH, complained, home, hook, told, waiting};
use crate::support::daemon::{Home, command};
use crate::support::until;

/// A configuration that names this port of loopback.
fn at_port(port: u16) -> Home {
    let home = Home::new("");
    let spool = home.dir().join("spool");
    home.configure(&format!("[server]\nport = {port}\n[mediamtx]\nspool_path = \"{}\"\n", spool.display()));
    home
}

#[test]
fn a_daemon_that_accepts_and_never_answers_is_left_in_time_and_the_hook_waits() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let home = at_port(silent.local_addr().unwrap().port());
    let said = complained(&mut hook(&home, "segment-complete", COMPLETE));
    assert!(said.contains("does not answer in time"), "{said}");
    assert_eq!(waiting(&home).len(), 1);
}

/// While a disk heals the daemon answers 500.
#[test]
fn a_daemon_that_fails_is_asked_again_until_it_does_not() {
    let failing = TcpListener::bind("127.0.0.1:0").unwrap();
    let home = at_port(failing.local_addr().unwrap().port());
    let server = std::thread::spawn(move || {
        let mut requests = Vec::new();
        for status in ["500 Internal Server Error", "503 Service Unavailable", "200 OK"] {
            let (mut stream, _) = failing.accept().unwrap();
            let mut bytes = vec![0; 4096];
            let read = stream.read(&mut bytes).unwrap();
            requests.push(String::from_utf8_lossy(&bytes[..read]).into_owned());
            write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}").unwrap();
        }
        requests
    });
    told(&mut hook(&home, "publish", PUBLISH));
    let requests = server.join().unwrap();
    let event = |request: &String| request.split_once("eventTs\":\"").unwrap().1[..27].to_owned();
    assert!(requests.iter().all(|request| request.starts_with("POST /hooks/mediamtx/publish HTTP/1.1\r\n")), "{requests:?}");
    assert!(requests.iter().all(|request| event(request) == event(&requests[0])), "the event's time is its start: {requests:?}");
    assert_eq!(waiting(&home), [""; 0]);
}

#[test]
fn what_is_wrong_is_said_and_not_suffered() {
    let home = home("");
    let broken = Home::new("");
    std::fs::write(broken.config(), "[server\nport = ").unwrap();
    let mistaken = Home::new("");
    std::fs::write(mistaken.config(), "[mediamtx]\nspool_path = 5\n").unwrap();
    let gone = Home::new("");
    std::fs::remove_file(gone.config()).unwrap();
    let bare = |args: &[&str]| {
        let mut bare = command(home.dir());
        bare.args(args).envs(PUBLISH.iter().copied());
        bare
    };
    let mut cases: Vec<(Command, &str)> = vec![
        (hook(&broken, "publish", PUBLISH), "line 1"),
        (hook(&mistaken, "publish", PUBLISH), "mediamtx.spool_path"),
        (hook(&gone, "publish", PUBLISH), "cannot be read"),
        (hook(&home, "publish", &[]), "MTX_PATH"),
        (hook(&home, "segment-create", PUBLISH), "MTX_SEGMENT_PATH"),
        (hook(&home, "segment-complete", PUBLISH), "MTX_SEGMENT_PATH"),
        (hook(&home, "publihs", PUBLISH), "publihs"),
        (bare(&["hook"]), "segment-complete"),
    ];
    for (command, named) in &mut cases {
        let begin = Instant::now();
        let said = complained(command);
        assert!(said.contains(*named), "{named}: {said}");
        assert!(begin.elapsed().as_secs() < 2, "there is nothing to wait for: {said}");
    }
    assert_eq!(waiting(&home), [""; 0]);
}

#[test]
fn a_hook_that_can_neither_be_told_nor_kept_says_that_it_is_lost() {
    let home = home("");
    home.configure(&format!("[mediamtx]\nspool_path = \"{}/spool\"\n", home.config().display()));
    let said = complained(&mut hook(&home, "publish", PUBLISH));
    assert!(said.contains("lost") && said.contains("spool_path"), "{said}");
}

/// A disk that hangs holds the command's thread, as this FIFO does; its process ends all the same.
#[test]
fn a_disk_that_hangs_does_not_hold_it() {
    let home = home("");
    std::fs::remove_file(home.config()).unwrap();
    let made = Command::new("mkfifo").arg(home.config()).status().unwrap();
    assert!(made.success());
    let said = complained(&mut hook(&home, "publish", PUBLISH));
    assert!(said.contains("hangs"), "{said}");
}

/// What MediaMTX's errors are piped into may have stopped reading.
#[test]
fn an_error_that_nobody_reads_does_not_hold_it() {
    let home = home("");
    let (_reader, mut full) = std::io::pipe().unwrap();
    // A pipe holds 64 KiB.
    full.write_all(&[b' '; 64 << 10]).unwrap();
    let begin = Instant::now();
    let mut hook = hook(&home, "publish", &[]).stdin(Stdio::null()).stderr(full).spawn().unwrap();
    let status = until("its end", LIMIT, || hook.try_wait().unwrap());
    assert!(status.success() && begin.elapsed() < LIMIT, "{status}");
}
