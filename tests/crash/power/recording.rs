//! A daemon at work, with every change that it makes to its files written down by strace.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::agent::{Agent, Lines};
use crate::follower::{Follower, Page};
use crate::ledger::{Asked, Moment, Told};
use crate::random::Random;
use crate::support::daemon::{Daemon, Home};
use crate::support::until;

use super::log::{Log, Op, Tree, tree};
use super::trace::{self, CALLS, Call, STEP};

/// Little memory and a short reserve: images are many.
pub const CONFIG: &str = "[database]\ncache_mb = 1\nreserve_mb = 1\n[frames]\nsidecar_delay_sec = 1";
/// A closed session's record, beside its frames.
const SIDECAR: &str = "\\session.ndjson";
const AGENTS: u32 = 3;
/// Long enough for a frame in hexadecimal and for a database's largest write.
const LONGEST_TEXT: &str = "16777216";

/// What happened, and what everybody was told meanwhile.
#[derive(Clone)]
pub struct Recording {
    pub log: Log,
    pub told: Vec<Told>,
    pub pages: Vec<Page>,
    /// When an earlier cut was, after which nobody was told anything more.
    pub crash: Option<Moment>,
}

impl Recording {
    /// Panics where something is missing that a cut must fall into.
    pub fn must_be_of_all_kinds(&self) {
        let asked: Vec<&Asked> = self.told.iter().filter(|told| told.answer.is_some()).map(|told| &told.asked).collect();
        assert!(asked.iter().any(|asked| matches!(asked, Asked::Open { .. })), "no session was opened");
        assert!(asked.iter().any(|asked| matches!(asked, Asked::Close { .. })), "no session was closed");
        assert!(asked.iter().any(|asked| matches!(asked, Asked::Publish { .. } | Asked::Segment { .. })), "no hook was told");
        let is_better = |told: &Told| told.answer.as_ref().is_some_and(|answer| answer.improved);
        let frames = self.told.iter().filter(|told| matches!(told.asked, Asked::Ingest(_)));
        assert!(
            frames.clone().any(is_better) && frames.clone().any(|told| !is_better(told)),
            "frames that improve, and that do not"
        );
        let folder_of = |op: &Op| match op {
            Op::Name { folder, name, node: None, with: None } if name.ends_with(".jpg") => Some(*folder),
            _ => None,
        };
        let sweep = self.log.steps.iter().filter_map(|step| Some((folder_of(&step.op)?, step.ended)));
        let is_synced = |(folder, after)| {
            self.log.steps.iter().any(|step| step.begun > after && matches!(step.op, Op::Sync { node } if node == folder))
        };
        assert!(sweep.into_iter().any(is_synced), "no beaten frame was deleted for good");
        let is_sidecar = |op: &Op| matches!(op, Op::Name { name, node: Some(_), .. } if name == SIDECAR);
        assert!(self.log.steps.iter().any(|step| is_sidecar(&step.op)), "no closed session's record was written");
        assert!(!self.pages.is_empty(), "nobody read the feed");
    }
}

/// Whether this machine lets us trace, or why not.
pub fn is_possible() -> Result<(), String> {
    let probe = Command::new("strace").args(["-f", "--seccomp-bpf", "-e", "trace=fsync", "true"]).stdin(Stdio::null()).output();
    match probe {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("strace cannot trace here: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => Err(format!("strace cannot be run ({error}); tests/run installs it")),
    }
}

/// From an empty folder: the schema, sessions opened, frames taken and beaten and deleted, a clean stop (with what the database
/// puts off until then), a start, further frames, hooks, a session closed and its record written beside its frames. A reader follows the feed through it all.
pub fn of_a_day(seed: u64, steps: usize) -> Recording {
    let mut random = Random(seed);
    let mut agents: Vec<Agent> = (0..AGENTS).map(|number| Agent::new(number, random.next())).collect();
    let mut pages = Vec::new();
    let morning = record(Home::new(CONFIG), Daemon::stop, |daemon| {
        agents[0].open(&mut Lines::to(daemon.address), "shared").expect("opened");
        agents[1..].iter_mut().for_each(|agent| agent.share("shared"));
        followed(daemon, &mut pages, || {
            work(daemon, &mut agents, steps * 3 / 4);
            // The beaten frames are deleted, their folders synced, and the queue is empty.
            until("no frame waits for its deletion", Duration::from_secs(30), || {
                thread::sleep(Duration::from_millis(200));
                (daemon.get("/health").json()["frames_to_delete"] == 0).then_some(())
            });
        });
    });
    let log = Log::of(&morning.calls, &morning.root, &Tree::new());
    morning.must_be(&log);
    let noon = log.steps.iter().map(|step| step.begun).max().unwrap() + STEP;
    let evening = record(morning.home, Daemon::killed, |daemon| {
        followed(daemon, &mut pages, || {
            work(daemon, &mut agents, steps / 4);
            // Chance may have left these out.
            let mut lines = Lines::to(daemon.address);
            agents[0].publish(&mut lines).expect("told");
            agents[0].segment(&mut lines).expect("told");
            agents[0].close(&mut lines).expect("closed");
            until("a closed session's record", Duration::from_secs(30), || {
                let mut folders = fs::read_dir(daemon.frames_dir()).ok()?.filter_map(Result::ok);
                folders.find(|folder| folder.path().join(SIDECAR).exists()).map(drop)
            });
        });
    });
    let log = log.continued(noon, &evening.calls, &evening.root);
    evening.must_be(&log);
    let told = agents.iter_mut().flat_map(|agent| std::mem::take(&mut agent.told)).collect();
    Recording { log, told, pages, crash: None }
}

fn work(daemon: &Daemon, agents: &mut [Agent], steps: usize) {
    let address = daemon.address;
    thread::scope(|scope| agents.iter_mut().for_each(|agent| drop(scope.spawn(move || agent.steps(address, steps)))));
}

/// Reads on in the feed while `work` goes on.
fn followed(daemon: &Daemon, pages: &mut Vec<Page>, work: impl FnOnce()) {
    let mut reader = Follower::default();
    for page in &*pages {
        reader.take(&page.body);
    }
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let following = scope.spawn(|| reader.follow(daemon.address, || is_over.load(Ordering::Relaxed)));
        work();
        is_over.store(true, Ordering::Relaxed);
        pages.extend(following.join().expect("a feed that a reader can follow"));
    });
}

/// A daemon's life as strace wrote it down.
pub struct Run {
    pub calls: Vec<Call>,
    pub root: PathBuf,
    /// What lay in the folder at its end.
    after: Tree,
    home: Home,
}

/// What a daemon does on this folder while `work` goes on, until `end` ends it.
pub fn record(home: Home, end: fn(Daemon) -> Home, work: impl FnOnce(&Daemon)) -> Run {
    let root = fs::canonicalize(home.dir()).unwrap();
    let traces = tempfile::tempdir().unwrap();
    let file = traces.path().join("trace");
    let daemon = Daemon::under(home, strace(&file));
    work(&daemon);
    let ended = format!("{} ", daemon.id());
    let home = end(daemon);
    // strace lives a moment longer than the daemon.
    let trace = until("the end of the trace", Duration::from_secs(30), || {
        let trace = fs::read_to_string(&file).unwrap();
        let mut last = trace.lines().rev().take_while(|line| line.contains("+++"));
        (trace.ends_with('\n') && last.any(|line| line.starts_with(&ended))).then_some(trace)
    });
    let after = tree(&root);
    Run { calls: trace::parse(&trace), root, after, home }
}

impl Run {
    /// Panics where the log does not come to what lay there: then it has overlooked a way to change files.
    pub fn must_be(&self, log: &Log) {
        let model = log.at_the_end();
        let (modelled, there): (Vec<_>, Vec<_>) = (model.keys().collect(), self.after.keys().collect());
        assert_eq!(modelled, there, "the model of the disk has other files than the disk");
        for (path, content) in model {
            assert!(self.after[&path] == content, "{} is another in the model of the disk", path.display());
        }
    }
}

fn strace(file: &Path) -> Vec<OsString> {
    // -D: the daemon is our child, and strace its; so a kill hits the daemon.
    let words = ["strace", "-D", "-f", "--seccomp-bpf", "-ttt", "-y", "-xx", "-s", LONGEST_TEXT, "-o"];
    let mut words: Vec<OsString> = words.iter().map(OsString::from).collect();
    words.push(file.into());
    words.extend(["-e".into(), format!("trace={CALLS}").into()]);
    words
}
