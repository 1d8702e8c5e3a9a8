//! The crash harness by hand, for as long as you like:
//!
//! ```text
//! cargo build --release && cargo run --release --example torture -- --rounds 1000 --seed 7
//! cargo build --release && cargo run --release --example torture -- powercut
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
mod power;
mod random;

use std::time::Instant;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Kills session-store in many ways and checks that nothing acknowledged is lost")]
struct Args {
    #[command(subcommand)]
    way: Option<Way>,
    #[command(flatten)]
    kills: Kills,
}

#[derive(Subcommand)]
enum Way {
    /// SIGKILL under load and at the start (what is done where no way is named)
    Kills(Kills),
    /// Power cuts around every sync of a recorded run, and at random; needs strace
    Powercut(PowerCuts),
}

#[derive(clap::Args)]
struct Kills {
    /// Rounds of load that end in a SIGKILL
    #[arg(long, default_value_t = 100)]
    rounds: usize,
    /// Where chance begins; the same seed asks for the same things, but kills never fall twice on the same moment
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(clap::Args)]
struct PowerCuts {
    /// What each of the three agents does
    #[arg(long, default_value_t = 60)]
    steps: usize,
    /// Cuts at random moments
    #[arg(long, default_value_t = 100)]
    random: usize,
    /// Where chance begins
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() {
    let args = Args::parse();
    println!("the daemon: {}", support::daemon::binary().display());
    // A finding is a panic on a thread of this name, and is told by whoever waits for the thread.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if std::thread::current().name() != Some("image") {
            hook(panic);
        }
    }));
    let progress = |line: &str| println!("{line}");
    match args.way {
        Some(Way::Powercut(PowerCuts { steps, random, seed })) => match power::recording::is_possible() {
            Ok(()) => power::run(seed, steps, random, progress),
            Err(reason) => println!("{reason}"),
        },
        Some(Way::Kills(Kills { rounds, seed })) => kill(rounds, seed, progress),
        None => kill(args.kills.rounds, args.kills.seed, progress),
    }
}

fn kill(rounds: usize, seed: u64, progress: impl Fn(&str)) {
    let begin = Instant::now();
    let tally = kills::run(rounds, seed, progress);
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
