//! What a disk may hold after a power cut: all that was synced, and any part of the rest.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::random::Random;

use super::log::{Log, Node, Op, ROOT, Step, Tree};
use super::trace::Place;

const PAGE: usize = 4096;
const SECTOR: usize = 512;

/// What became of that which no sync had covered.
#[derive(Debug, Clone)]
pub enum Rest {
    /// All of it is there, as after a kill.
    All,
    /// Nothing.
    None,
    /// The names, and nothing of the files: folders often reach the disk first.
    Names,
    /// All names, and of each file its newest write alone: what was written before it and not synced is lost.
    Newest,
    /// A part by chance, in any order, pages torn between sectors.
    Some(u64),
}

/// A disk.
pub struct Image {
    names: BTreeMap<(Node, String), Node>,
    contents: BTreeMap<Node, Content>,
}

/// A file's bytes; what is behind them up to the length is zero.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
struct Content {
    bytes: Vec<u8>,
    length: usize,
}

impl Content {
    fn write(&mut self, offset: usize, data: &[u8]) {
        let end = offset + data.len();
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.bytes[offset..end].copy_from_slice(data);
        self.length = self.length.max(end);
    }

    fn resize(&mut self, length: usize) {
        self.bytes.truncate(length);
        self.length = length;
    }
}

impl Image {
    /// The disk when the power is cut at `cut`.
    pub fn at(log: &Log, cut: Place, rest: &Rest) -> Self {
        let mut random = Random(if let Rest::Some(seed) = rest { *seed } else { 0 });
        let begun: Vec<(usize, &Step)> = log.steps.iter().enumerate().filter(|(_, step)| step.begun < cut).collect();
        // For each node, from where on a step must have ended to be covered by a sync.
        let mut covered: BTreeMap<Node, Place> = BTreeMap::new();
        for (_, step) in &begun {
            if let Op::Sync { node } = step.op
                && step.ended < cut
            {
                let newest = covered.entry(node).or_default();
                *newest = step.begun.max(*newest);
            }
        }
        // A call that ended on the very line on which the sync began had ended before it.
        let is_durable = |node: Node, step: &Step| covered.get(&node).is_some_and(|sync| step.ended < *sync);
        let names = names(log, &begun, rest, &mut random, &is_durable);
        let mut changes: BTreeMap<Node, Vec<&Step>> = BTreeMap::new();
        for (_, step) in &begun {
            if let Op::Write { node, .. } | Op::Resize { node, .. } | Op::Extend { node, .. } = &step.op {
                changes.entry(*node).or_default().push(step);
            }
        }
        let mut contents = BTreeMap::new();
        for node in names.values().filter(|node| !log.nodes[**node].is_folder) {
            let base = Arc::clone(&log.nodes[*node].content);
            let mut content = Content { length: base.len(), bytes: base.to_vec() };
            let (durable, open): (Vec<&Step>, Vec<&Step>) =
                changes.get(node).into_iter().flatten().copied().partition(|step| is_durable(*node, step));
            durable.iter().for_each(|step| apply(&mut content, step));
            match rest {
                Rest::All => open.iter().for_each(|step| apply(&mut content, step)),
                Rest::None | Rest::Names => {}
                Rest::Newest => open.last().into_iter().for_each(|step| apply(&mut content, step)),
                Rest::Some(_) => apply_some(&mut content, open, &mut random),
            }
            contents.insert(*node, content);
        }
        Self { names, contents }
    }

    /// The paths of all that can be reached from the root.
    fn paths(&self) -> Vec<(PathBuf, Node)> {
        let mut paths = Vec::new();
        let mut folders = vec![(PathBuf::new(), ROOT)];
        while let Some((path, folder)) = folders.pop() {
            for ((_, name), node) in self.names.range((folder, String::new())..(folder + 1, String::new())) {
                let path = path.join(name);
                paths.push((path.clone(), *node));
                if !self.contents.contains_key(node) {
                    folders.push((path, *node));
                }
            }
        }
        paths.sort();
        paths
    }

    /// Puts it below `root`.
    pub fn write(&self, root: &Path) {
        for (path, node) in self.paths() {
            let path = root.join(path);
            match self.contents.get(&node) {
                None => fs::create_dir(&path).unwrap(),
                Some(content) => {
                    let file = File::create(&path).unwrap();
                    file.write_all_at(&content.bytes, 0).unwrap();
                    file.set_len(content.length as u64).unwrap();
                }
            }
        }
    }

    pub fn tree(&self, log: &Log) -> Tree {
        let content = |node: Node| {
            let content = self.contents.get(&node).cloned().unwrap_or_default();
            let mut bytes = content.bytes;
            bytes.resize(content.length, 0);
            (!log.nodes[node].is_folder).then_some(bytes)
        };
        self.paths().into_iter().map(|(path, node)| (path, content(node))).collect()
    }

    /// Two images with the same print are the same.
    pub fn print(&self) -> u64 {
        use std::hash::{DefaultHasher, Hash as _, Hasher as _};
        let mut hasher = DefaultHasher::new();
        for (path, node) in self.paths() {
            (path, self.contents.get(&node)).hash(&mut hasher);
        }
        hasher.finish()
    }
}

/// Each name holds something that it held since its folder was last synced.
fn names(
    log: &Log,
    begun: &[(usize, &Step)],
    rest: &Rest,
    random: &mut Random,
    is_durable: &impl Fn(Node, &Step) -> bool,
) -> BTreeMap<(Node, String), Node> {
    /// A name's past: what it held, by which step, and with which other step that came.
    type Past = Vec<(Option<usize>, Option<Node>, Option<usize>)>;
    let mut pasts: BTreeMap<(Node, String), (Past, usize)> = BTreeMap::new();
    let mut place_of = BTreeMap::new();
    for (place, node) in &log.names {
        pasts.insert(place.clone(), (vec![(None, Some(*node), None)], 0));
    }
    for (index, step) in begun {
        let Op::Name { folder, name, node, with } = &step.op else { continue };
        let place = (*folder, name.clone());
        let (past, durable) = pasts.entry(place.clone()).or_insert_with(|| (vec![(None, None, None)], 0));
        past.push((Some(*index), *node, *with));
        if is_durable(*folder, step) {
            *durable = past.len() - 1;
        }
        place_of.insert(*index, (place, past.len() - 1));
    }
    let mut chosen: BTreeMap<(Node, String), usize> = BTreeMap::new();
    for (place, (past, durable)) in &pasts {
        let at = match rest {
            Rest::All | Rest::Names | Rest::Newest => past.len() - 1,
            Rest::None => *durable,
            Rest::Some(_) => durable + random.index(past.len() - durable),
        };
        chosen.insert(place.clone(), at);
    }
    // A rename may leave the old name there, but it never loses the file: where the old name is gone, the new one is there.
    for (place, (past, _)) in &pasts {
        for (_, _, with) in &past[..=chosen[place]] {
            if let Some((new, at)) = with.and_then(|with| place_of.get(&with)) {
                let chosen = chosen.get_mut(new).unwrap();
                *chosen = (*at).max(*chosen);
            }
        }
    }
    pasts.into_iter().filter_map(|(place, (past, _))| Some((place.clone(), past[chosen[&place]].1?))).collect()
}

fn apply(content: &mut Content, step: &Step) {
    match &step.op {
        Op::Write { offset, data, .. } => content.write(*offset, data),
        Op::Resize { length, .. } => content.resize(*length),
        Op::Extend { length, .. } => content.length = content.length.max(*length),
        _ => {}
    }
}

/// Some of the steps, page by page. Writes come in any order between two changes of the length.
fn apply_some(content: &mut Content, mut open: Vec<&Step>, random: &mut Random) {
    // Now and then almost all or almost nothing, so that single pages are what is missing, or is there.
    let (keep, of) = [(1, 2), (1, 8), (7, 8)][random.index(3)];
    if random.once_in(2) {
        for run in open.split_mut(|step| !matches!(step.op, Op::Write { .. })) {
            random.shuffle(run);
        }
    }
    for step in open {
        let Op::Write { offset, data, .. } = &step.op else {
            if random.below(of) < keep {
                apply(content, step);
            }
            continue;
        };
        if random.once_in(4) {
            // The length is there and the data is not.
            content.length = content.length.max(offset + data.len());
        }
        let mut at = 0;
        while at < data.len() {
            let page_end = data.len().min(((offset + at) / PAGE + 1) * PAGE - offset);
            if random.below(of) < keep {
                if random.once_in(3) {
                    tear(content, *offset, &data[..page_end], at, random);
                } else {
                    content.write(offset + at, &data[at..page_end]);
                }
            }
            at = page_end;
        }
    }
}

/// Some sectors of a page.
fn tear(content: &mut Content, offset: usize, data: &[u8], from: usize, random: &mut Random) {
    let mut at = from;
    while at < data.len() {
        let end = data.len().min(((offset + at) / SECTOR + 1) * SECTOR - offset);
        if random.once_in(2) {
            content.write(offset + at, &data[at..end]);
        }
        at = end;
    }
}
