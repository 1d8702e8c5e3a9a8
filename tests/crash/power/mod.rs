//! Power cuts. A kill leaves what the kernel has in memory, a power cut does not: so the daemon's changes to its files are
//! recorded, and disks are built that hold what was synced and any part of the rest.

pub mod cuts;
pub mod image;
pub mod log;
pub mod mutation;
pub mod recording;
pub mod trace;

use std::time::Instant;

use image::Rest;
use log::{Log, Op};
use recording::Recording;
use trace::Place;

/// Recoveries that are recorded and cut in their turn.
const RECOVERIES: usize = 3;

/// Every sync of a recording, `random` further cuts, every sync of some recoveries, and all mutations. Panics with the findings.
pub fn run(seed: u64, steps: usize, random: usize, progress: impl Fn(&str)) {
    let begin = Instant::now();
    let tell = |what: &str| progress(&format!("{what} ({:.0} s)", begin.elapsed().as_secs_f64()));
    let recording = recording::of_a_day(seed, steps);
    tell(&told_of(&recording));
    recording.must_be_of_all_kinds();
    let systematic = cuts::around_every_sync(&recording.log, seed);
    judge("around every sync", &cuts::make(&recording, &systematic, false), &tell);
    judge("at random", &cuts::make(&recording, &cuts::at_random(&recording.log, random, seed), false), &tell);
    // Spread over the recording, each with a part by chance.
    let torn: Vec<_> = systematic.iter().filter(|cut| matches!(cut.rest, Rest::Some(_))).collect();
    for part in 0..RECOVERIES {
        let recovery = cuts::record_recovery(&recording, torn[torn.len() * (2 * part + 1) / (2 * RECOVERIES)]);
        let outcome = cuts::make(&recovery, &cuts::around_every_sync(&recovery.log, seed), false);
        judge("while it recovers from a cut", &outcome, &tell);
    }
    for kill in kills(&recording.log) {
        let restart = cuts::record_restart(&recording, kill);
        let mut after = cuts::around_every_sync_after(kill, &restart.log, seed);
        after.extend(cuts::with_the_newest_alone_after(kill, &restart.log));
        let outcome = cuts::make(&restart, &after, false);
        judge("after a kill and a start", &outcome, &tell);
    }
    // Before it, nobody was told anything that could be lost.
    let answers = recording.log.steps.iter().filter(|step| matches!(step.op, Op::Answer { .. }));
    let first_answer = answers.map(|step| step.begun).min().unwrap();
    for mutation in &mutation::ALL {
        let mut wrong = recording.clone();
        (mutation.apply)(&mut wrong.log);
        let outcome = cuts::make(&wrong, &cuts::around_every_sync_after(first_answer, &recording.log, seed), true);
        let finding = outcome.findings.first();
        let finding = finding.unwrap_or_else(|| panic!("nobody notices that {} ({} images)", mutation.name, outcome.images));
        tell(&format!("where {}, image {} shows: {finding:.300}", mutation.name, outcome.images));
    }
}

/// Where a kill may leave something unsynced that the next daemon relies on: just before the end of the first syncs of each
/// folder, and of the journal. (A record that was written and not yet synced was built upon: the one behind it could outlive it,
/// and then the store was refused as damaged.)
fn kills(log: &Log) -> Vec<Place> {
    let syncs = |of: &dyn Fn(&log::Described) -> bool, most: usize| -> Vec<Place> {
        let places = log.steps.iter().filter_map(|step| match step.op {
            Op::Sync { node } if of(&log.nodes[node]) && step.ended != trace::NEVER => Some(step.ended),
            _ => None,
        });
        places.take(most).collect()
    };
    let mut kills = syncs(&|node| node.path.as_os_str().is_empty(), 2);
    kills.extend(syncs(&|node| node.path.as_os_str() == "data", 2));
    kills.extend(syncs(&|node| node.path.as_os_str() == "frames", 2));
    kills.extend(syncs(&|node| node.is_folder && node.path.starts_with("frames/shared"), 1));
    // Its first sync is that of its making.
    kills.extend(syncs(&|node| node.path.to_string_lossy().contains(".redb.journal"), 4).into_iter().skip(1));
    kills
}

fn judge(what: &str, outcome: &cuts::Outcome, tell: &impl Fn(&str)) {
    let cuts::Outcome { cuts, images, facts, findings } = outcome;
    assert!(findings.is_empty(), "{} findings {what}:\n{}", findings.len(), findings.join("\n"));
    assert!(*images > 0, "no image was started {what}");
    tell(&format!("{what}: {cuts} cuts, {images} disks that differ, {facts} facts found on them: nothing lost, nothing torn"));
}

fn told_of(recording: &Recording) -> String {
    let log: &Log = &recording.log;
    let count = |is_it: fn(&Op) -> bool| log.steps.iter().filter(|step| is_it(&step.op)).count();
    format!(
        "recorded: {} answers, {} syncs, {} writes, {} changes of names",
        count(|op| matches!(op, Op::Answer { .. })),
        count(|op| matches!(op, Op::Sync { .. })),
        count(|op| matches!(op, Op::Write { .. })),
        count(|op| matches!(op, Op::Name { .. })),
    )
}
