//! `[server] unix_socket`: the same addresses, for processes of this machine.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::command::{home, socket};
use crate::support::agent::{open, opening, session};
use crate::support::daemon::{Daemon, Home};
use crate::support::http::Request;
use crate::support::until;

fn send(socket: &Path, request: &Request) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(&request.bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn every_route_is_there_for_owner_and_group_and_the_file_goes_with_the_daemon() {
    let daemon = Daemon::on(home(""));
    let socket = socket(daemon.home());
    let found = fs::metadata(&socket).unwrap();
    assert!(found.file_type().is_socket());
    assert_eq!(found.permissions().mode() & 0o777, 0o660);
    assert_eq!(fs::read_dir(socket.parent().unwrap()).unwrap().count(), 1, "and nothing beside it");
    let answer = send(&socket, &Request::post("/sessions/open").header("Connection", "close").json(&opening("s")));
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    assert_eq!(session(&daemon, "s")["status"], "open");
    let answer = send(&socket, &Request::get("/sessions/s").header("Connection", "close"));
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("\"session_id\":\"s\""), "{answer}");
    let answer = send(&socket, &Request::get("/\u{1}"));
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("\"error\""), "a broken head: {answer}");
    until("three records of it", Duration::from_secs(5), || {
        (daemon.logs().iter().filter(|line| line.contains("\"ip\":\"unix\"")).count() == 3).then_some(())
    });
    daemon.stop();
    assert!(!socket.exists());
}

#[test]
fn what_a_killed_daemon_left_is_replaced() {
    let mut daemon = Daemon::on(home(""));
    open(&daemon, "s");
    daemon.kill9();
    let socket = socket(daemon.home());
    assert!(socket.exists());
    daemon.restart();
    let answer = send(&socket, &Request::get("/sessions/s").header("Connection", "close"));
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[test]
fn one_that_another_process_serves_and_what_is_no_socket_are_left_alone() {
    let daemon = Daemon::on(home(""));
    let taken = socket(daemon.home());
    let file = daemon.dir().join("file");
    fs::write(&file, "precious").unwrap();
    for (at, reason) in [(&taken, "Another process serves"), (&file, "is no socket")] {
        let other = Home::new(&format!("[server]\nunix_socket = \"{}\"\n", at.display()));
        let ran = other.run(&["serve"], b"");
        assert_eq!(ran.code, Some(1), "{ran:?}");
        let said = ran.stdout + &ran.stderr;
        assert!(said.contains(reason) && said.contains(at.to_str().unwrap()) && said.contains("unix_socket"), "{said}");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    let answer = send(&taken, &Request::get("/health").header("Connection", "close"));
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}
