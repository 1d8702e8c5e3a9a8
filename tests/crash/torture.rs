//! The crash harness by hand, for as long as you like:
//!
//! ```text
//! cargo build --release && cargo run --release --example torture -- kills --rounds 1000 --seed 7
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic, missing_docs)]

#[path = "../support/mod.rs"]
mod support;

mod agent;
mod checker;
mod follower;
mod kills;
mod ledger;
mod picture;
mod random;

use std::time::Instant;

use clap::Parser;

#[derive(Parser)]
#[command(about = "Kills session-store in many ways and checks that nothing acknowledged is lost")]
struct Args {
    /// Rounds of load that end in a SIGKILL
    #[arg(long, default_value_t = 100)]
    rounds: usize,
    /// Where chance begins; the same seed asks for the same things, but kills never fall twice on the same moment
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() {
    let args = Args::parse();
    println!("the daemon: {}", support::daemon::binary().display());
    let begin = Instant::now();
    let tally = kills::run(args.rounds, args.seed, |line| println!("{line}"));
    println!(
        "{} rounds, {} kills, {} acknowledged facts of {} sessions with {} pictures, {:.0} s: nothing lost",
        tally.rounds,
        tally.kills,
        tally.facts,
        tally.sessions,
        tally.pictures,
        begin.elapsed().as_secs_f64()
    );
}
