//! An earlier service's Postgres is taken over by a daemon that goes on serving its agent.

use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::compare::{central, gateway};
use crate::import::{earlier, earlier_with_faults};
use crate::support::agent::{START, detection, detections, jpeg, meta, open, picture, pictures, session, sessions, sighting};
use crate::support::daemon::{Daemon, Home, Ran, command};
use crate::support::http::{Client, Multipart};
use crate::support::until;

/// `[server]` with a port that stays the same when the daemon is started anew.
fn with_port(more: &str) -> String {
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|one| one.local_addr()).expect("a port").port();
    format!("[server]\nport = {port}\n{more}")
}

/// A busy camera's pace.
const EVERY: Duration = Duration::from_millis(50);

/// An agent that posts one new object after the other into its session, each until it is acknowledged.
struct Agent {
    stop: Arc<AtomicBool>,
    /// How many objects were acknowledged, and the longest that the daemon took for one.
    thread: JoinHandle<(u32, Duration)>,
}

impl Agent {
    fn start(daemon: &Daemon) -> Self {
        open(daemon, "live");
        let (address, stop) = (daemon.address, Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let (mut track, mut longest) = (0, Duration::ZERO);
            while !stopped.load(Ordering::Relaxed) {
                let meta = meta("live", START, &[sighting(&track.to_string(), "person", 0.9)]);
                let request = Multipart::new().field("meta", meta.to_string()).frame(jpeg(3)).request();
                let begun = Instant::now();
                let answer = Client::try_connect(address).and_then(|mut client| client.try_send(&request));
                match answer {
                    Ok(answer) if answer.status == 200 => {
                        track += 1;
                        longest = longest.max(begun.elapsed());
                        std::thread::sleep(EVERY);
                    }
                    // The daemon is away, or tells it to come later.
                    _ => std::thread::sleep(Duration::from_millis(20)),
                }
            }
            (track, longest)
        });
        Self { stop, thread }
    }

    fn stop(self) -> (u32, Duration) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the agent")
    }
}

fn start(home: &Home, args: &[&str]) -> Child {
    let mut command = command(home.dir());
    command.arg("import-postgres").arg("--config").arg(home.config()).args(args);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts")
}

/// Waits until an import that runs has come to a further place than `before`.
#[track_caller]
fn comes_on(home: &Home, import: &mut Child, before: &str) -> String {
    let place = home.dir().join("data/session-store.redb.import-postgres");
    let further = until("the import comes on", Duration::from_secs(60), || {
        std::fs::read_to_string(&place).ok().filter(|text| text != before)
    });
    assert!(import.try_wait().expect("waiting").is_none(), "it is under way");
    further
}

#[track_caller]
fn frames_count(ran: &Ran) -> &str {
    ran.stderr.lines().find(|line| line.contains("frames are missing")).unwrap_or_else(|| panic!("{ran:?}"))
}

#[test]
fn a_catalogue_comes_into_a_running_daemon_whoever_is_killed_on_the_way() {
    let postgres = earlier(2000);
    let db = postgres.db();
    let old = tempfile::tempdir().expect("a folder");
    for number in (5..=2000).step_by(5) {
        let folder = old.path().join(format!("s{number}"));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("best.jpg"), jpeg(1)).unwrap();
    }
    db.run(
        "UPDATE detections SET url_frame = '/frames/' || session_id || '/best.jpg'
         WHERE track_id = '1' AND substr(session_id, 2)::int % 5 = 0",
    );
    let begun = Instant::now();
    let mut daemon = Daemon::with(&with_port(""));
    let agent = Agent::start(&daemon);
    let (url, frames) = (postgres.url(), old.path().display().to_string());
    let args = [url.as_str(), "--frames", &frames];

    let mut import = start(daemon.home(), &args);
    let place = comes_on(daemon.home(), &mut import, "");
    import.kill().expect("killed");
    import.wait().expect("ended");
    // The second one meets a daemon that goes and comes.
    let mut import = start(daemon.home(), &args);
    comes_on(daemon.home(), &mut import, &place);
    daemon.restart();
    let ended = until("the import's end", Duration::from_secs(100), || import.try_wait().expect("waiting"));
    assert!(ended.success(), "it waited for the daemon");

    let ran = daemon.home().run(&["import-postgres", &url, "--frames", &frames, "--verify"], b"");
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stderr.contains("0 sessions and 0 detections stored, 8000 rows were there already, 0 frames"), "{}", ran.stderr);
    assert!(ran.stderr.contains("2000 sessions and 6000 detections compared, 0 differ"), "{}", ran.stderr);
    let (acknowledged, longest) = agent.stop();
    println!("taken in, and compared, within {:?} beside {acknowledged} frames, each within {longest:?}", begun.elapsed());
    assert!(acknowledged > 20, "the agent got on: {acknowledged}");

    let (mut here_s, mut here_d) = gateway(&daemon);
    here_s.retain(|(session, _), _| session != "live");
    here_d.retain(|(session, _), _| session != "live");
    assert_eq!((here_s, here_d), central(&db));
    for number in (5..=2000).step_by(95) {
        let one = detection(&daemon, &format!("s{number}"), "1");
        assert_eq!(picture(&daemon, &one).is(200).body, jpeg(1));
    }
    let live = detections(&daemon, "live");
    for track in 0..acknowledged {
        let name = track.to_string();
        let one = live.iter().find(|one| one["track_id"] == name).expect("what was acknowledged is there");
        assert_eq!(picture(&daemon, one).is(200).body, jpeg(3));
    }
    // A frame of the agent's may have been written in the moment of the kill, and named by no row.
    let verdicts = daemon.get("/verify?deep=1").is(200).text();
    let findings: Vec<_> =
        verdicts.lines().filter(|line| line.contains("\"finding\"") && !line.contains("file_unnamed")).collect();
    assert!(findings.is_empty(), "{findings:?}");
    assert!(verdicts.contains("\"summary\""), "{verdicts}");
}

#[test]
fn what_breaks_a_rule_is_told_by_the_daemon_as_without_one() {
    let (postgres, old, _) = earlier_with_faults();
    let frames = old.path().display().to_string();
    let args = ["import-postgres", &postgres.url(), "--frames", &frames];
    let sorted = |ran: &Ran| {
        let mut lines: Vec<_> = ran.stderr.lines().map(ToOwned::to_owned).collect();
        lines.sort();
        (ran.code, lines)
    };
    let offline = sorted(&Home::new("").run(&args, b""));
    assert_eq!(offline.0, Some(1), "{offline:?}");
    let daemon = Daemon::with(&with_port(""));
    let ran = daemon.home().run(&args, b"");
    assert_eq!(sorted(&ran), offline);
    for (session, number) in [("s1", 1), ("s2", 2)] {
        assert_eq!(picture(&daemon, &detection(&daemon, session, "1")).is(200).body, jpeg(number));
    }
    assert!(detection(&daemon, "s2", "2")["url_frame"].is_null());
    assert_eq!(sessions(&daemon).len(), 3);

    // Again: nothing is stored or sent, and what the enricher drew into a frame stays.
    let drawn = daemon.frames_dir().join("s1/one.jpg");
    std::fs::write(&drawn, jpeg(3)).unwrap();
    let again = daemon.home().run(&args, b"");
    assert!(frames_count(&again).starts_with("0 sessions and 0 detections stored"), "{again:?}");
    assert_eq!(std::fs::read(&drawn).unwrap(), jpeg(3));
    assert_eq!(pictures(&daemon, "s1"), ["one.jpg"]);
    // What differs is told, a frame that is not there too.
    postgres.db().run("UPDATE detections SET cls = 'dog' WHERE session_id = 's2' AND track_id = '3'");
    let compared = daemon.home().run(&["import-postgres", &postgres.url(), "--frames", &frames, "--only-verify"], b"");
    assert_eq!(compared.code, Some(1));
    for difference in ["detection 3 of session s2 differs", "detection 2 of session s2 has no frame here", "session_id must not"]
    {
        assert!(compared.stdout.contains(difference), "{difference}: {}", compared.stdout);
    }
    let home = daemon.stop();
    let offline = home.run(&["import-postgres", &postgres.url(), "--frames", &frames, "--only-verify"], b"");
    assert_eq!(compared.stdout, offline.stdout);
}

#[test]
fn where_a_token_is_set_the_import_needs_the_one_that_may_write() {
    let postgres = earlier(3);
    let guarded =
        |more: &str| with_port(&format!("token_exempt = \"none\"\nread_token = \"a-read-token-of-some-length\"\n{more}"));
    let daemon = Daemon::with(&guarded("api_token = \"an-api-token-of-some-length\"\n"));
    let to = format!("http://{}", daemon.address);
    let args = ["import-postgres", &postgres.url(), "--to", &to];
    for config in [
        "",
        "[server]\nread_token = \"a-read-token-of-some-length\"\n",
        "[server]\napi_token = \"a-wrong-token-of-some-length\"\n",
    ] {
        let ran = Home::new(config).run(&args, b"");
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.stderr.contains("401") && ran.stderr.contains("set [server] api_token"), "{}", ran.stderr);
    }
    // Another user than the daemon's has the token, and another folder, which cannot be written.
    let elsewhere =
        Home::new("[server]\napi_token = \"an-api-token-of-some-length\"\n[database]\npath = \"/proc/none/store.redb\"\n");
    let ran = elsewhere.run(&args, b"");
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stderr.contains("3 sessions and 9 detections stored"), "{}", ran.stderr);
    // By its own configuration the daemon is found.
    let ran = daemon.home().run(&["import-postgres", &postgres.url(), "--only-verify"], b"");
    assert_eq!(ran.code, Some(0), "{ran:?}");
}

#[test]
fn an_open_session_goes_on_where_the_agent_now_posts() {
    let postgres = earlier(1);
    postgres.db().run("UPDATE sessions SET status = 'open', end_ts = NULL");
    let daemon = Daemon::with(&with_port(""));
    let frame =
        Multipart::new().field("meta", meta("s1", START, &[sighting("1", "cat", 0.99)]).to_string()).frame(jpeg(2)).request();
    daemon.send(&frame).is(404);
    let ran = daemon.home().run(&["import-postgres", &postgres.url()], b"");
    assert_eq!(ran.code, Some(0), "{ran:?}");
    daemon.send(&frame).is(200);
    // What was seen better since is not taken back by a further import.
    let ran = daemon.home().run(&["import-postgres", &postgres.url(), "--verify"], b"");
    assert_eq!(ran.code, Some(1));
    assert!(ran.stdout.contains("detection 1 of session s1 differs"), "{ran:?}");
    assert_eq!(detection(&daemon, "s1", "1")["conf"], json!(0.99));
    assert_eq!(session(&daemon, "s1")["status"], "open");
}
