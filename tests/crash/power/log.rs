//! What a daemon did to its files, in order: the calls of a trace, told of files instead of names.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::trace::{Arg, Call, NEVER, Place};

/// A file or folder, whatever its name at the time.
pub type Node = usize;
/// The folder below which all is recorded. It is on the disk.
pub const ROOT: Node = 0;

#[derive(Debug, Clone)]
pub enum Op {
    Write {
        node: Node,
        offset: usize,
        data: Arc<Vec<u8>>,
    },
    /// The length, as `ftruncate` sets it.
    Resize {
        node: Node,
        length: usize,
    },
    /// At least this length, as `fallocate` makes it.
    Extend {
        node: Node,
        length: usize,
    },
    /// `name` in `folder` is now `node`, or gone. `with` is the step that gave the file its new name, where it was renamed.
    Name {
        folder: Node,
        name: String,
        node: Option<Node>,
        with: Option<usize>,
    },
    Sync {
        node: Node,
    },
    /// An answer began to leave.
    Answer {
        request: String,
    },
}

#[derive(Debug, Clone)]
pub struct Step {
    pub begun: Place,
    pub ended: Place,
    pub at: f64,
    pub op: Op,
}

/// What is known of a node.
#[derive(Debug, Clone, Default)]
pub struct Described {
    pub is_folder: bool,
    /// Its first path, below the root.
    pub path: PathBuf,
    /// What it held when the recording began; that is on the disk.
    pub content: Arc<Vec<u8>>,
}

/// The whole.
#[derive(Clone)]
pub struct Log {
    pub nodes: Vec<Described>,
    pub steps: Vec<Step>,
    /// Names when the recording began, by folder; they are on the disk.
    pub names: BTreeMap<(Node, String), Node>,
}

struct Builder {
    root: String,
    log: Log,
    /// Names as a process sees them now.
    now: BTreeMap<(Node, String), Node>,
    offsets: HashMap<i64, usize>,
}

impl Log {
    /// The log of `calls` on the folder `root`, whose content was `before` when they began.
    pub fn of(calls: &[Call], root: &Path, before: &Tree) -> Self {
        let log =
            Log { nodes: vec![Described { is_folder: true, ..Described::default() }], steps: Vec::new(), names: BTreeMap::new() };
        let mut builder = Builder { root: root.display().to_string(), log, now: BTreeMap::new(), offsets: HashMap::new() };
        for (path, content) in before {
            let (folder, name) = builder.place(&format!("{}/{}", builder.root, path.display())).expect("a folder that is there");
            let node = builder.node(content.is_none(), path);
            builder.log.nodes[node].content = Arc::new(content.clone().unwrap_or_default());
            builder.now.insert((folder, name), node);
        }
        builder.log.names = builder.now.clone();
        for call in calls {
            builder.take(call);
        }
        builder.log
    }

    /// This log up to a kill, and on with the `calls` of the next process, for which the same folder is `root`.
    pub fn continued(&self, kill: Place, calls: &[Call], root: &Path) -> Self {
        let mut log = self.clone();
        // Steps name each other by number.
        let mut numbers = HashMap::new();
        log.steps.clear();
        for (number, step) in self.steps.iter().enumerate().filter(|(_, step)| step.begun < kill) {
            numbers.insert(number, log.steps.len());
            let mut step = step.clone();
            if let Op::Name { with: Some(with), .. } = &mut step.op {
                *with = numbers[with];
            }
            log.steps.push(step);
        }
        for step in log.steps.iter_mut().filter(|step| step.ended >= kill) {
            // What had begun is done by the kernel, only a sync is not waited for.
            step.ended = if matches!(step.op, Op::Sync { .. }) { NEVER } else { kill };
        }
        let mut now = log.names.clone();
        for step in &log.steps {
            if let Op::Name { folder, name, node, .. } = &step.op {
                match node {
                    Some(node) => now.insert((*folder, name.clone()), *node),
                    None => now.remove(&(*folder, name.clone())),
                };
            }
        }
        let mut builder = Builder { root: root.display().to_string(), log, now, offsets: HashMap::new() };
        for call in calls {
            let ended = if call.ended == NEVER { NEVER } else { call.ended + kill + 1 };
            builder.take(&Call { begun: call.begun + kill + 1, ended, ..call.clone() });
        }
        builder.log
    }

    /// Puts steps of an earlier log before all.
    pub fn put_before<'s>(&mut self, steps: impl Iterator<Item = &'s Step>) {
        let earlier: Vec<Step> = steps.map(|step| Step { begun: 0, ended: 0, ..step.clone() }).collect();
        for step in &mut self.steps {
            if let Op::Name { with: Some(with), .. } = &mut step.op {
                *with += earlier.len();
            }
        }
        self.steps.splice(0..0, earlier);
    }

    /// The content of the folder as the process saw it at the end.
    pub fn at_the_end(&self) -> Tree {
        super::image::Image::at(self, NEVER, &super::image::Rest::All).tree(self)
    }
}

/// Files and folders (without content) by path, folders before what is in them.
pub type Tree = BTreeMap<PathBuf, Option<Vec<u8>>>;

/// What is in a folder, without the configuration that tests put there.
pub fn tree(root: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root.join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let path = folder.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                folders.push(path.clone());
                tree.insert(path, None);
            } else if path != Path::new("config.toml") {
                tree.insert(path, Some(fs::read(entry.path()).unwrap()));
            }
        }
    }
    tree
}

impl Builder {
    fn node(&mut self, is_folder: bool, path: &Path) -> Node {
        self.log.nodes.push(Described { is_folder, path: path.to_owned(), content: Arc::default() });
        self.log.nodes.len() - 1
    }

    /// The folder and the name that a path says; `None` for what lies elsewhere.
    fn place(&self, path: &str) -> Option<(Node, String)> {
        let below = path.strip_prefix(&self.root)?.strip_prefix('/')?;
        let (folders, name) = below.rsplit_once('/').unwrap_or(("", below));
        let mut folder = ROOT;
        for part in folders.split('/').filter(|part| !part.is_empty()) {
            folder = *self.now.get(&(folder, part.to_owned()))?;
        }
        Some((folder, name.to_owned()))
    }

    fn find(&self, path: &str) -> Option<Node> {
        if path == self.root {
            return Some(ROOT);
        }
        self.now.get(&self.place(path)?).copied()
    }

    fn push(&mut self, call: &Call, op: Op) -> usize {
        self.log.steps.push(Step { begun: call.begun, ended: call.ended, at: call.at, op });
        self.log.steps.len() - 1
    }

    fn name(&mut self, call: &Call, place: (Node, String), node: Option<Node>, with: Option<usize>) -> usize {
        match node {
            Some(node) => self.now.insert(place.clone(), node),
            None => self.now.remove(&place),
        };
        let (folder, name) = place;
        self.push(call, Op::Name { folder, name, node, with })
    }

    fn below(&self, path: &str) -> PathBuf {
        PathBuf::from(path.strip_prefix(&self.root).unwrap().trim_start_matches('/'))
    }

    fn take(&mut self, call: &Call) {
        if call.result.is_some_and(|result| result < 0) {
            return;
        }
        match call.name.as_str() {
            "open" | "openat" | "openat2" | "creat" => self.open(call),
            "mkdir" | "mkdirat" => {
                let path = call.path(0);
                if let Some(place) = self.place(&path) {
                    let node = self.node(true, &self.below(&path));
                    self.name(call, place, Some(node), None);
                }
            }
            "lseek" => {
                let (fd, _) = call.file();
                self.offsets.insert(fd, usize::try_from(call.result.unwrap_or(0)).unwrap());
            }
            "write" | "writev" | "sendto" | "sendmsg" => self.write(call),
            "pwrite64" | "pwritev" => {
                let data = call.data();
                let Some(Arg::Word(offset)) = call.args.last() else { panic!("no offset: {}", call.name) };
                let offset = offset.parse().unwrap_or_else(|_| panic!("no offset: {offset}"));
                self.write_at(call, offset, data);
            }
            "ftruncate" => {
                if let Some(node) = self.find(call.file().1) {
                    self.push(call, Op::Resize { node, length: usize::try_from(call.number(1)).unwrap() });
                }
            }
            "fallocate" => {
                if let Some(node) = self.find(call.file().1) {
                    assert_eq!(call.word(1), "0", "a way to preallocate that the model does not know");
                    let length = usize::try_from(call.number(2) + call.number(3)).unwrap();
                    self.push(call, Op::Extend { node, length });
                }
            }
            "fsync" | "fdatasync" => {
                if let Some(node) = self.find(call.file().1) {
                    self.push(call, Op::Sync { node });
                }
            }
            "rename" | "renameat" | "renameat2" => self.rename(call),
            "unlink" | "unlinkat" | "rmdir" => {
                if let Some(place) = self.place(&call.path(0)) {
                    self.name(call, place, None, None);
                }
            }
            other => {
                let paths = call.args.iter().filter_map(|arg| match arg {
                    Arg::File(_, path) => Some(path.clone()),
                    Arg::Text(text) => Some(String::from_utf8_lossy(text).into_owned()),
                    Arg::Word(_) => None,
                });
                let touches = paths.into_iter().any(|path| path.starts_with(&self.root));
                assert!(!touches && other != "io_uring_setup", "the disk's model does not know {other}");
            }
        }
    }

    fn open(&mut self, call: &Call) {
        let path = call.path(0);
        let flags = call.args.iter().find_map(|arg| match arg {
            Arg::Word(word) if word.contains("O_RD") || word.contains("O_WR") => Some(word.clone()),
            _ => None,
        });
        let flags = flags.unwrap_or_default();
        if let Some(fd) = call.result {
            self.offsets.insert(fd, 0);
        }
        let Some(place) = self.place(&path) else { return };
        let unknown = ["O_SYNC", "O_DSYNC", "O_DIRECT", "O_TMPFILE", "O_APPEND"];
        assert!(!flags.split('|').any(|flag| unknown.contains(&flag)), "the disk's model does not know one of {flags}");
        let known = self.now.get(&place).copied();
        match known {
            Some(node) if flags.contains("O_TRUNC") => {
                self.push(call, Op::Resize { node, length: 0 });
            }
            None if flags.contains("O_CREAT") => {
                let node = self.node(false, &self.below(&path));
                self.name(call, place, Some(node), None);
            }
            _ => {}
        }
    }

    fn write(&mut self, call: &Call) {
        let (fd, path) = call.file();
        if path.starts_with("socket:") {
            let data = call.data();
            if data.starts_with(b"HTTP/1.1 ") {
                let head = String::from_utf8_lossy(&data).into_owned();
                let request = head.lines().find_map(|line| line.strip_prefix("x-request-id: "));
                let request = request.unwrap_or_else(|| panic!("an answer without an id: {head:.300}")).to_owned();
                self.push(call, Op::Answer { request });
            }
            return;
        }
        if self.find(path).is_some() {
            let offset = self.offsets.get(&fd).copied().unwrap_or(0);
            let data = call.data();
            *self.offsets.entry(fd).or_default() += data.len();
            self.write_at(call, offset, data);
        }
    }

    fn write_at(&mut self, call: &Call, offset: usize, mut data: Vec<u8>) {
        if let Some(node) = self.find(call.file().1) {
            data.truncate(call.result.map_or(data.len(), |written| usize::try_from(written).unwrap()));
            self.push(call, Op::Write { node, offset, data: Arc::new(data) });
        }
    }

    fn rename(&mut self, call: &Call) {
        assert!(
            !call.args.iter().any(|arg| matches!(arg, Arg::Word(word) if word.contains("EXCHANGE"))),
            "not modelled: an exchange"
        );
        let (from, to) = (call.path(0), call.path(1));
        let (Some(from), Some(to)) = (self.place(&from), self.place(&to)) else { return };
        let node = self.now.get(&from).copied().expect("what is renamed is there");
        let given = self.name(call, to, Some(node), None);
        self.name(call, from, None, Some(given));
    }
}
