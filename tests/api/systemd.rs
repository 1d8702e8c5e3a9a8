//! What the daemon tells the service manager, and the socket it is handed.

use std::ffi::OsStr;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::agent::open;
use crate::support::daemon::{Daemon, Home, command};
use crate::support::http::{Client, Request};
use crate::support::until;

/// A service manager's ear.
struct Ear(UnixDatagram);

impl Ear {
    fn at(home: &Home) -> (Self, std::path::PathBuf) {
        let path = home.dir().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        (Self(socket), path)
    }

    /// Listens until `wanted` is said, and returns all that was said so far.
    #[track_caller]
    fn hear(&self, wanted: &str) -> Vec<String> {
        let mut said: Vec<String> = Vec::new();
        until(&format!("{wanted} from the daemon"), Duration::from_secs(10), || {
            let mut bytes = [0; 4096];
            if let Ok(length) = self.0.recv(&mut bytes) {
                said.push(String::from_utf8_lossy(&bytes[..length]).into_owned());
            }
            said.iter().any(|message| message.contains(wanted)).then(|| said.clone())
        })
    }
}

fn told(watchdog_ms: u64) -> (Daemon, Ear) {
    told_with("", watchdog_ms)
}

fn told_with(config: &str, watchdog_ms: u64) -> (Daemon, Ear) {
    let home = Home::new(config);
    let (ear, path) = Ear::at(&home);
    let usec = (watchdog_ms * 1000).to_string();
    let variables = [("NOTIFY_SOCKET", path.as_os_str()), ("WATCHDOG_USEC", OsStr::new(&usec))];
    (Daemon::on_with(home, &variables), ear)
}

#[test]
fn it_says_when_it_is_ready_reloading_and_stopping_and_how_it_is() {
    let (mut daemon, ear) = told(60_000);
    ear.hear("READY=1");
    ear.hear("STATUS=ok, 0 open sessions");
    open(&daemon, "s");
    ear.hear("STATUS=ok, 1 open session");
    daemon.signal("HUP");
    let said = ear.hear("READY=1");
    let reloading = said.iter().find(|message| message.contains("RELOADING=1")).expect("a word before");
    let at = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).expect("when it began");
    assert!(at.parse::<u64>().is_ok_and(|at| at > 0), "{reloading}");
    let (status, _) = daemon.terminate();
    assert!(status.success());
    ear.hear("STOPPING=1");
}

#[test]
fn the_watchdog_is_fed_in_time_and_the_probes_are_not_logged() {
    let (daemon, ear) = told(400);
    ear.hear("WATCHDOG=1");
    let begin = Instant::now();
    for _ in 0..5 {
        ear.hear("WATCHDOG=1");
    }
    assert!(begin.elapsed() < Duration::from_secs(2), "each within its 400 ms: {:?}", begin.elapsed());
    assert!(!daemon.logs().iter().any(|line| line.contains("OPTIONS")), "{:?}", daemon.logs());
}

#[test]
fn the_watchdog_is_fed_where_nobody_may_ask_without_a_token() {
    let (daemon, ear) = told_with("[server]\napi_token = \"a-token-of-some-length\"\ntoken_exempt = \"none\"\n", 400);
    for _ in 0..3 {
        ear.hear("WATCHDOG=1");
    }
    daemon.get("/sessions").is(401);
}

#[test]
fn a_frozen_daemon_does_not_feed_the_watchdog() {
    let (daemon, ear) = told(400);
    ear.hear("WATCHDOG=1");
    daemon.signal("STOP");
    // What was said before lies in the socket still.
    while ear.0.recv(&mut [0; 4096]).is_ok() {}
    std::thread::sleep(Duration::from_millis(500));
    assert!(ear.0.recv(&mut [0; 4096]).is_err());
    daemon.signal("CONT");
    ear.hear("WATCHDOG=1");
}

/// An upgrade: the socket stays while one daemon ends and the next one starts, and what comes meanwhile is answered.
#[test]
fn a_socket_that_was_handed_over_is_served_and_refuses_nobody_over_a_restart() {
    let home = Home::new("");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let start = || {
        let program = command(home.dir());
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", "exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$@\"", "sh"]).arg(program.get_program());
        shell.args(["serve", "--config"]).arg(home.config()).current_dir(home.dir());
        shell.env_remove("NOTIFY_SOCKET").stdin(OwnedFd::from(listener.try_clone().unwrap())).stdout(Stdio::null());
        shell.stderr(Stdio::null()).spawn().unwrap()
    };
    let mut first = start();
    // It waits in the socket until somebody takes it.
    Client::connect(address).send(&Request::get("/health")).is(200);
    assert!(std::process::Command::new("kill").arg(first.id().to_string()).status().unwrap().success());
    let ended = until("its end", Duration::from_secs(10), || first.try_wait().unwrap());
    assert!(ended.success(), "{ended}");
    let mut between = Client::connect(address);
    between.write(&Request::get("/health").bytes()).unwrap();
    let mut second = start();
    let answer = between.read(false);
    drop(second.kill());
    drop(second.wait());
    answer.expect("an answer of the second one").is(200);
}
