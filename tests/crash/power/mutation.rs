//! Faults put into a recording on purpose, to see that the harness finds them.

use super::log::{Log, Node, Op, Step};
use super::trace::NEVER;

/// A fault, by what the program would have done wrong.
pub struct Mutation {
    pub name: &'static str,
    pub apply: fn(&mut Log),
}

pub const ALL: [Mutation; 8] = [
    Mutation { name: "sessions' folders are not synced", apply: |log| drop_syncs(log, is_session_folder) },
    Mutation { name: "the frames folder is not synced", apply: |log| drop_syncs(log, |log, node| is_path(log, node, "frames")) },
    Mutation { name: "a session's folder is made, and its name is not synced", apply: sync_frames_folder_once },
    Mutation { name: "the data folder is not synced", apply: |log| drop_syncs(log, |log, node| is_path(log, node, "data")) },
    Mutation { name: "a frame is synced after the record that names it", apply: sync_frames_late },
    Mutation { name: "a frame is not synced", apply: |log| drop_syncs(log, is_frame) },
    Mutation { name: "an answer leaves before the sync that it waits for", apply: answer_early },
    Mutation { name: "the database and its journal are not synced", apply: |log| drop_syncs(log, is_database) },
];

fn drop_syncs(log: &mut Log, of: impl Fn(&Log, Node) -> bool) {
    for index in 0..log.steps.len() {
        if let Op::Sync { node } = log.steps[index].op
            && of(log, node)
        {
            // Steps are named by their number, so it stays, and never ends.
            log.steps[index].ended = NEVER;
        }
    }
}

/// The mark is synced, and later nothing any more.
fn sync_frames_folder_once(log: &mut Log) {
    let mark = next(log, 0, |op| matches!(op, Op::Name { name, node: Some(_), .. } if name == "\\store"));
    let marked = next(log, mark, |op| matches!(op, Op::Sync { .. }));
    for index in 0..log.steps.len() {
        let Step { begun, op: Op::Sync { node }, .. } = log.steps[index] else { continue };
        if begun > marked && is_path(log, node, "frames") {
            log.steps[index].ended = NEVER;
        }
    }
}

fn sync_frames_late(log: &mut Log) {
    for index in 0..log.steps.len() {
        let Step { ended, op: Op::Sync { node }, .. } = log.steps[index] else { continue };
        if is_frame(log, node) {
            let answer = next(log, ended, |op| matches!(op, Op::Answer { .. }));
            (log.steps[index].begun, log.steps[index].ended) = (answer + 1, answer + 2);
        }
    }
}

fn answer_early(log: &mut Log) {
    for index in 0..log.steps.len() {
        let Step { begun, op: Op::Answer { .. }, .. } = log.steps[index] else { continue };
        let syncs = log.steps.iter().filter(|step| matches!(step.op, Op::Sync { .. }) && step.ended < begun);
        if let Some(sync) = syncs.map(|step| step.ended).max() {
            log.steps[index].begun = sync - 1;
        }
    }
}

/// The place of the next such step.
fn next(log: &Log, after: usize, is_it: impl Fn(&Op) -> bool) -> usize {
    let places = log.steps.iter().filter(|step| step.begun > after && is_it(&step.op)).map(|step| step.begun);
    places.min().unwrap_or(NEVER - 2)
}

fn is_path(log: &Log, node: Node, path: &str) -> bool {
    log.nodes[node].path.as_os_str() == path
}

/// A frame is written under a temporary name.
fn is_frame(log: &Log, node: Node) -> bool {
    let described = &log.nodes[node];
    !described.is_folder && described.path.extension().is_some_and(|kind| kind == "jpg")
}

fn is_session_folder(log: &Log, node: Node) -> bool {
    let described = &log.nodes[node];
    let name = described.path.strip_prefix("frames").ok().and_then(|name| name.to_str());
    described.is_folder && name.is_some_and(|name| !name.is_empty() && !name.starts_with('\\'))
}

/// By the name under which it was made: `….redb`, `….redb.new`, `….redb.journal`.
fn is_database(log: &Log, node: Node) -> bool {
    let name = log.nodes[node].path.to_string_lossy().into_owned();
    name.contains(".redb") && !log.nodes[node].is_folder
}
