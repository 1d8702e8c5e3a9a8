//! Rounds of SIGKILL under load and at the start. Nobody starts again from nothing: agents, ledger and feed reader live through all.

use std::collections::HashSet;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::agent::{Agent, Lines};
use crate::checker::Checker;
use crate::follower::Follower;
use crate::ledger::{Ledger, now};
use crate::random::Random;
use crate::support::daemon::{Daemon, command};
use crate::support::until;

const AGENTS: u32 = 4;
/// Every so many rounds everything is checked, not only what the round wrote and a sample.
const ALL_EVERY: usize = 50;
const SAMPLE: usize = 10;

/// What the rounds came to.
pub struct Tally {
    pub rounds: usize,
    pub kills: usize,
    pub facts: u64,
    pub sessions: usize,
    pub pictures: usize,
}

/// Kills the daemon in `rounds` rounds; panics at the first thing that is not as it was told.
pub fn run(rounds: usize, seed: u64, progress: impl Fn(&str)) -> Tally {
    let begin = Instant::now();
    let mut random = Random(seed);
    let mut daemon = Daemon::start();
    let mut agents: Vec<Agent> = (0..AGENTS).map(|number| Agent::new(number, random.next())).collect();
    let (mut ledger, mut follower) = (Ledger::default(), Follower::default());
    let mut kills = 0;
    for round in 1..=rounds {
        let since = follower.cursor();
        let first_told = work_until_killed(&mut daemon, &mut agents, &mut follower, round, &mut random);
        let mut touched = HashSet::new();
        for agent in &mut agents {
            touched.extend(ledger.take(&std::mem::take(&mut agent.told), first_told));
        }
        kills += 1 + kill_while_it_starts(&mut daemon, &mut random);
        daemon.restart();

        let is_all = round % ALL_EVERY == 0 || round == rounds;
        let mut checked: HashSet<String> = touched.clone();
        if is_all {
            checked.extend(ledger.sessions.keys().cloned());
        } else {
            let all: Vec<&String> = ledger.sessions.keys().collect();
            checked.extend((0..SAMPLE).map(|_| all[random.index(all.len())].clone()));
        }
        let mut checker = Checker::new(&ledger, &daemon);
        // Two connections an agent.
        checker.sessions_are_there(&checked, round * AGENTS as usize * 2);
        checker.sessions_are_listed(if is_all { &checked } else { &touched });
        follower.catch_up(&mut daemon.client());
        follower.agrees_with_feed_from(if is_all { 0 } else { since }, &daemon);
        checker.feed_tells_of_all(&follower);
        checker.folders_are_known();
        if is_all {
            progress(&format!(
                "round {round}: {kills} kills, {} facts, {} sessions, {} pictures, {} in the feed, {:.0} s",
                ledger.facts,
                ledger.sessions.len(),
                ledger.pictures.len(),
                follower.known.len(),
                begin.elapsed().as_secs_f64()
            ));
        }
    }
    Tally { rounds, kills, facts: ledger.facts, sessions: ledger.sessions.len(), pictures: ledger.pictures.len() }
}

/// Lets the agents work, and kills the daemon at a random moment. Gives that moment.
fn work_until_killed(
    daemon: &mut Daemon,
    agents: &mut Vec<Agent>,
    follower: &mut Follower,
    round: usize,
    random: &mut Random,
) -> f64 {
    // One that all of them write to, so that they meet in one transaction.
    let shared = format!("shared-{round}");
    agents[0].open(&mut Lines::to(daemon.address), &shared).expect("opened before the load");
    for agent in &mut agents[1..] {
        agent.share(&shared);
    }
    let address = daemon.address;
    let answered = Arc::new(AtomicU64::new(0));
    let working: Vec<_> = agents
        .drain(..)
        .map(|mut agent| {
            let answered = Arc::clone(&answered);
            thread::spawn(move || {
                agent.work(address, &answered);
                agent
            })
        })
        .collect();
    let reader = follower.without_memory();
    let following = thread::spawn(move || reader.follow(address, || false));
    // So many answers, however fast the machine is, and a moment more, to fall amid the next ones.
    let life = 20 + random.below(120);
    until("answers", Duration::from_secs(60), || (answered.load(Ordering::Relaxed) >= life).then_some(()));
    // Now and then a long one: touches are held for a second.
    let more = if random.once_in(10) { random.below(2_500_000) } else { random.below(10_000) };
    thread::sleep(Duration::from_micros(more));
    let killed_at = now();
    daemon.kill9();
    agents.extend(working.into_iter().map(|agent| agent.join().expect("an agent that saw good answers alone")));
    for page in following.join().expect("a feed that a reader can follow") {
        follower.take(&page.body);
    }
    killed_at
}

/// In some rounds, starts the daemon and kills it at once, several times in a row. Gives how often.
fn kill_while_it_starts(daemon: &mut Daemon, random: &mut Random) -> usize {
    if !random.once_in(3) {
        return 0;
    }
    let times = 1 + random.index(4);
    for _ in 0..times {
        let mut command = command(daemon.dir());
        command.arg("serve").arg("--config").arg(daemon.home().config());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().expect("the binary starts");
        thread::sleep(Duration::from_micros(random.below(50_000)));
        drop(child.kill());
        drop(child.wait());
    }
    times
}
