//! `session-store retention --dry-run`.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use crate::config::Loaded;
use crate::http::client::Secret;
use crate::media::frames::FramesFolder;
use crate::media::tracks::TracksFolder;
use crate::service::retention::Of;

use super::{daemon, guard, offline};

/// A plan reads everything: on a small box with a million sessions that takes a minute or two.
const PLAN_WITHIN: Duration = Duration::from_secs(600);

#[derive(Args)]
pub struct Arguments {
    /// Only say what would be deleted
    #[arg(long, required = true)]
    dry_run: bool,
    /// Name at most so many sessions; all are counted
    #[arg(long, value_name = "NUMBER", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    /// Ask the running daemon at this address [default: where a daemon has the store, its configured address]
    #[arg(long, value_name = "URL")]
    from: Option<String>,
    /// Print the plan as JSON
    #[arg(long)]
    json: bool,
}

/// Looks, and tells.
pub fn run(arguments: &Arguments, loaded: &Loaded) -> Result<ExitCode, String> {
    let limit = usize::from(arguments.limit);
    let plan = match daemon::to_ask(arguments.from.as_ref(), &loaded.config) {
        Some(url) => online(&url, daemon::secret(&loaded.config).as_ref(), limit)?,
        None => guard::guard(&loaded.config, || offline(limit, loaded))?,
    };
    if arguments.json {
        println!("{plan:#}");
    } else {
        tell(&plan);
    }
    Ok(ExitCode::SUCCESS)
}

fn online(url: &str, secret: Option<&Secret>, limit: usize) -> Result<Value, String> {
    let url = format!("{url}/retention/plan?limit={limit}");
    daemon::json(&url, PLAN_WITHIN, secret).map_err(|reason| format!("{url} gives no answer: {reason}."))
}

fn offline(limit: usize, loaded: &Loaded) -> Result<Value, String> {
    let config = &loaded.config;
    if !config.database.path.exists() {
        return Err(format!("There is no store at {}: see [database] path.", config.database.path.display()));
    }
    let store = offline::open_to_look(config)?;
    let frames = FramesFolder::new(config.frames.storage_path.clone());
    let tracks = TracksFolder::new(config.tracks.storage_path.clone());
    let of = Of { store: &store, frames: &frames, tracks: &tracks, policy: &config.retention.policy };
    let plan = of.plan(limit, &mut || false).map_err(|error| format!("No plan can be made: {error}."));
    store.close();
    serde_json::to_value(plan?).map_err(|error| error.to_string())
}

fn tell(plan: &Value) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if let Some(doubt) = plan["waits_for"].as_str() {
        println!("Nothing is deleted for now: {doubt}.");
    }
    let all = |value: &Value| value.as_array().cloned().unwrap_or_default();
    for session in all(&plan["first"]) {
        println!(
            "{} of {} on {}: {} detections, {} frames, {} bytes; {}: {}",
            text(&session["session_id"]),
            text(&session["start_ts"]),
            text(&session["path"]),
            session["detections"],
            session["frames"],
            session["bytes"],
            text(&session["rule"]),
            text(&session["reason"]),
        );
    }
    for share in all(&plan["by"]) {
        println!("{}, {}: {} sessions, {} bytes", text(&share["rule"]), text(&share["why"]), share["sessions"], share["bytes"]);
    }
    for sentence in all(&plan["impossible"]) {
        println!("{}", text(&sentence));
    }
    let more = if plan["has_more"] == true { ", and more" } else { "" };
    println!("{} sessions with {} bytes would be deleted{more}.", plan["sessions"], plan["bytes"]);
}
