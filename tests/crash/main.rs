//! SIGKILL under load, and power cuts replayed: every acknowledged session, detection and frame is there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic, missing_docs)]

#[path = "../support/mod.rs"]
mod support;

mod agent;
mod checker;
mod follower;
mod kills;
mod ledger;
mod picture;
mod power;
mod random;

const ROUNDS: usize = 25;
const SEED: u64 = 0x5e55_1015;

#[test]
fn after_sigkill_under_load_and_at_the_start_every_acknowledged_fact_is_there() {
    let tally = kills::run(ROUNDS, SEED, |line| println!("{line}"));
    assert!(tally.facts > 20 * ROUNDS as u64, "only {} facts in {} rounds: that was no load", tally.facts, tally.rounds);
    assert!(tally.kills > ROUNDS && tally.sessions > ROUNDS && tally.pictures > ROUNDS, "kills at the start, sessions, pictures");
}

/// So many things each of the agents does in the recording.
const STEPS: usize = 12;
const RANDOM_CUTS: usize = 100;

#[test]
fn after_a_power_cut_at_any_sync_and_at_random_every_acknowledged_fact_is_there() {
    if let Err(reason) = power::recording::is_possible() {
        eprintln!("power cuts are skipped: {reason}");
        return;
    }
    power::run(SEED, STEPS, RANDOM_CUTS, |line| println!("{line}"));
}
