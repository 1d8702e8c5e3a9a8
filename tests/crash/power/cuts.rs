//! Cuts the power at places of a recording, starts the daemon on what the disk may then hold, and checks.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::checker::Checker;
use crate::follower::Follower;
use crate::ledger::{Ledger, Moment, Told};
use crate::random::Random;
use crate::support::daemon::{Daemon, Home};
use crate::support::until;

use super::image::{Image, Rest};
use super::log::{Log, Op, Tree, tree};
use super::recording::{CONFIG, Recording, Run, record};
use super::trace::{NEVER, Place, STEP};

/// A power cut, and what became of what no sync had covered.
#[derive(Clone, Debug)]
pub struct Cut {
    pub at: Place,
    pub rest: Rest,
}

/// What came of many.
#[derive(Default)]
pub struct Outcome {
    pub cuts: usize,
    /// Images that were started; the others were the same as one of these, with the same answers given.
    pub images: usize,
    /// Facts that were held against them, in sum.
    pub facts: u64,
    /// Sentences, with the cut that shows it.
    pub findings: Vec<String>,
}

/// Right before the end and right after the end of every sync.
pub fn around_every_sync(log: &Log, seed: u64) -> Vec<Cut> {
    let mut random = Random(seed);
    let syncs = log.steps.iter().filter(|step| matches!(step.op, Op::Sync { .. }) && step.ended != NEVER);
    let places: Vec<Place> = syncs.flat_map(|step| [step.ended, step.ended + 1]).collect();
    places.into_iter().flat_map(|at| kinds(at, &mut random)).collect()
}

/// Those of [`around_every_sync`] after `place`.
pub fn around_every_sync_after(place: Place, log: &Log, seed: u64) -> Vec<Cut> {
    around_every_sync(log, seed).into_iter().filter(|cut| cut.at > place).collect()
}

/// Before the end of every sync after `place`, with what was begun last alone: it must not stand on what a kill left unsynced.
pub fn with_the_newest_alone_after(place: Place, log: &Log) -> Vec<Cut> {
    let syncs = log.steps.iter().filter(|step| matches!(step.op, Op::Sync { .. }) && step.ended != NEVER && step.ended > place);
    syncs.map(|step| Cut { at: step.ended, rest: Rest::Newest }).collect()
}

/// At so many moments by chance, most with a part of the rest.
pub fn at_random(log: &Log, count: usize, seed: u64) -> Vec<Cut> {
    let mut random = Random(seed);
    let end = log.steps.iter().map(|step| step.begun).max().unwrap_or(0) + STEP;
    let mut cut = |_| {
        let [none, names, some] = kinds(random.index(end) + 1, &mut random);
        [none, names, some.clone(), some][random.index(4)].clone()
    };
    (0..count).map(&mut cut).collect()
}

fn kinds(at: Place, random: &mut Random) -> [Cut; 3] {
    [Rest::None, Rest::Names, Rest::Some(random.next())].map(|rest| Cut { at, rest })
}

/// Makes all cuts, side by side. With `stop_at_first` ends with the first finding.
pub fn make(recording: &Recording, cuts: &[Cut], stop_at_first: bool) -> Outcome {
    let left = answers(&recording.log);
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let made = Mutex::new((Outcome { cuts: cuts.len(), ..Outcome::default() }, HashSet::new()));
    let work = || {
        while let Some(cut) = cuts.get(next.fetch_add(1, Ordering::Relaxed)).filter(|_| !stop.load(Ordering::Relaxed)) {
            let image = Image::at(&recording.log, cut.at, &cut.rest);
            let answers = left.values().filter(|place| **place < cut.at).count();
            if !made.lock().unwrap().1.insert((image.print(), answers)) {
                continue;
            }
            let (ledger, follower) = known_at(recording, &left, cut.at);
            let facts = ledger.facts;
            let finding = check(&image, ledger, follower).err();
            let outcome = &mut made.lock().unwrap().0;
            outcome.images += 1;
            outcome.facts += facts;
            if let Some(finding) = finding {
                outcome.findings.push(format!("{} in {cut:?}: {finding}", describe(&recording.log, cut.at)));
                stop.store(stop_at_first || outcome.findings.len() >= 10, Ordering::Relaxed);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(work);
        }
    });
    made.into_inner().unwrap().0
}

/// What the daemon does on the disk that a cut leaves, up to the end of its recovery. All that was acknowledged before that cut
/// must survive a second one, whenever that is.
pub fn record_recovery(recording: &Recording, cut: &Cut) -> Recording {
    let image = Image::at(&recording.log, cut.at, &cut.rest);
    let (run, before) = start_on(recording, &image, cut.at);
    let mut log = Log::of(&run.calls, &run.root, &before);
    run.must_be(&log);
    log.put_before(recording.log.steps.iter().filter(|step| step.begun < cut.at && matches!(step.op, Op::Answer { .. })));
    Recording { log, crash: Some(moment_of(&recording.log, cut.at)), ..recording.clone() }
}

/// The recording up to a SIGKILL at `kill`, and on with what the next daemon does at its start: the kernel still has in memory
/// what the first one never synced, and a power cut takes that from both.
pub fn record_restart(recording: &Recording, kill: Place) -> Recording {
    let image = Image::at(&recording.log, kill, &Rest::All);
    let (run, _) = start_on(recording, &image, kill);
    let log = recording.log.continued(kill, &run.calls, &run.root);
    run.must_be(&log);
    Recording { log, crash: Some(moment_of(&recording.log, kill)), ..recording.clone() }
}

fn start_on(recording: &Recording, image: &Image, at: Place) -> (Run, Tree) {
    let (ledger, _) = known_at(recording, &answers(&recording.log), at);
    let home = Home::new(CONFIG);
    image.write(home.dir());
    let before = tree(home.dir());
    let run = record(home, Daemon::killed, |daemon| {
        until("the frames folder is paired", Duration::from_secs(10), || {
            (daemon.get("/health").json()["starting"] == json!([])).then_some(())
        });
        Checker::new(&ledger, daemon).sessions_are_there(ledger.sessions.keys(), usize::MAX);
    });
    (run, before)
}

/// Where each answer began to leave.
fn answers(log: &Log) -> HashMap<String, Place> {
    let answers = log.steps.iter().filter_map(|step| match &step.op {
        Op::Answer { request } => Some((request.clone(), step.begun)),
        _ => None,
    });
    answers.collect()
}

/// What was known to agents and to the feed's reader at a cut.
fn known_at(recording: &Recording, left: &HashMap<String, Place>, cut: Place) -> (Ledger, Follower) {
    let moment = recording.crash.unwrap_or_else(|| moment_of(&recording.log, cut));
    let is_left = |request: &str| left.get(request).is_some_and(|place| *place < cut);
    let told: Vec<Told> = recording
        .told
        .iter()
        .map(|told| Told { asked: told.asked.clone(), answer: told.answer.clone().filter(|answer| is_left(&answer.request)) })
        .collect();
    let mut ledger = Ledger::default();
    ledger.take(&told, moment);
    let mut follower = Follower::default();
    for page in recording.pages.iter().take_while(|page| is_left(&page.answer.request)) {
        follower.take(&page.body);
    }
    (ledger, follower)
}

fn moment_of(log: &Log, cut: Place) -> Moment {
    log.steps.iter().filter(|step| step.begun < cut).map(|step| step.at).fold(0.0, f64::max)
}

fn check(image: &Image, ledger: Ledger, mut follower: Follower) -> Result<(), String> {
    let home = Home::within(&fast_folder(), CONFIG);
    image.write(home.dir());
    let looking = thread::Builder::new().name("image".into()).spawn(move || {
        let daemon = Daemon::on(home);
        let mut checker = Checker::new(&ledger, &daemon);
        checker.sessions_are_there(ledger.sessions.keys(), usize::MAX);
        checker.sessions_are_listed(&ledger.sessions.keys().cloned().collect());
        checker.folders_are_known();
        follower.catch_up(&mut daemon.client());
        follower.agrees_with_feed_from(0, &daemon);
        checker.feed_tells_of_all(&follower);
        checker.goes_on();
    });
    looking.unwrap().join().map_err(|panic| match panic.downcast::<String>() {
        Ok(sentence) => *sentence,
        Err(panic) => panic.downcast::<&str>().map_or_else(|_| "a panic".to_owned(), |sentence| (*sentence).to_owned()),
    })
}

/// In memory where that can be had: what a daemon syncs after the cut costs nothing there.
fn fast_folder() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() }
}

/// The last thing that began before a cut.
fn describe(log: &Log, cut: Place) -> String {
    let last = log.steps.iter().filter(|step| step.begun < cut).max_by_key(|step| step.begun);
    let path = |node: usize| log.nodes[node].path.display().to_string();
    match last.map(|step| &step.op) {
        None => "before all".to_owned(),
        Some(Op::Write { node, offset, data }) => format!("after a write of {} bytes at {offset} of {}", data.len(), path(*node)),
        Some(Op::Resize { node, .. } | Op::Extend { node, .. }) => format!("after a new length of {}", path(*node)),
        Some(Op::Name { folder, name, .. }) => format!("after a change of the name {name} in /{}", path(*folder)),
        Some(Op::Sync { node }) => format!("at a sync of /{}", path(*node)),
        Some(Op::Answer { request }) => format!("after answer {request}"),
    }
}
