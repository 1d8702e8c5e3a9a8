//! Reads what strace wrote: the system calls of all threads, with the order in which they began and ended.

use std::collections::HashMap;

/// The calls that change files, or by which answers leave. Those that the disk's model does not know are traced too, so that
/// their use is found rather than overlooked.
pub const CALLS: &str = "open,openat,openat2,creat,mkdir,mkdirat,lseek,write,pwrite64,writev,pwritev,pwritev2,sendto,sendmsg,\
    truncate,ftruncate,fallocate,fsync,fdatasync,sync_file_range,sync,syncfs,rename,renameat,renameat2,link,linkat,symlink,\
    symlinkat,unlink,unlinkat,rmdir,copy_file_range,sendfile,splice,io_uring_setup";

/// Where something stands in the log. Lines of the trace are `STEP` apart, so that mutations find room between them.
pub type Place = usize;
pub const STEP: Place = 4;
/// Of a call that had not ended when the process was killed.
pub const NEVER: Place = Place::MAX;

/// One argument.
#[derive(Debug, Clone, PartialEq)]
pub enum Arg {
    /// An open file, and what it is the file of.
    File(i64, String),
    Text(Vec<u8>),
    Word(String),
}

#[derive(Debug, Clone)]
pub struct Call {
    pub name: String,
    pub args: Vec<Arg>,
    /// What it returned; `None` where it never ended.
    pub result: Option<i64>,
    pub begun: Place,
    pub ended: Place,
    /// When it began, in seconds since 1970.
    pub at: f64,
}

/// The calls in the order in which they ended.
pub fn parse(trace: &str) -> Vec<Call> {
    let mut calls = Vec::new();
    let mut unfinished: HashMap<&str, (Place, f64, &str)> = HashMap::new();
    for (number, line) in trace.lines().enumerate() {
        let place = (number + 1) * STEP;
        let (thread, rest) = line.split_once(' ').unwrap();
        let (at, what) = rest.trim_start().split_once(' ').unwrap();
        let at: f64 = at.parse().unwrap_or_else(|_| panic!("a time in {line:.80}"));
        if what.starts_with("+++") || what.starts_with("---") {
            continue;
        }
        if let Some(begun) = what.strip_suffix(" <unfinished ...>") {
            unfinished.insert(thread, (place, at, begun));
        } else if let Some(resumed) = what.strip_prefix("<... ") {
            let (_, rest) = resumed.split_once(" resumed>").unwrap();
            let (begun, at, head) = unfinished.remove(thread).unwrap_or_else(|| panic!("nothing to resume: {line:.80}"));
            calls.push(call(&format!("{head}{rest}"), begun, place, at));
        } else {
            calls.push(call(what, place, place, at));
        }
    }
    for (begun, at, head) in unfinished.into_values() {
        calls.push(call(&format!("{head}) = ?"), begun, NEVER, at));
    }
    calls.sort_by_key(|call| (call.ended, call.begun));
    calls
}

fn call(text: &str, begun: Place, ended: Place, at: f64) -> Call {
    let (name, rest) = text.split_once('(').unwrap_or_else(|| panic!("no call: {text:.80}"));
    let (args, result) =
        rest.rsplit_once(") = ").or_else(|| rest.rsplit_once(')')).unwrap_or_else(|| panic!("no end: {text:.80}"));
    let result = result.trim_start_matches([' ', '=']);
    let number: String = result.chars().take_while(|char| char.is_ascii_digit() || *char == '-').collect();
    Call { name: name.to_owned(), args: arguments(args), result: number.parse().ok(), begun, ended, at }
}

/// Texts and paths are in hexadecimal, so that a comma is always one between arguments.
fn arguments(text: &str) -> Vec<Arg> {
    let mut args = Vec::new();
    for arg in text.split(", ").map(str::trim).filter(|arg| !arg.is_empty()) {
        // A list of buffers: `[{iov_base="…", iov_len=3}, …]`.
        let arg = arg.trim_start_matches(['[', '{']).trim_start_matches("iov_base=");
        if let Some(quoted) = arg.strip_prefix('"') {
            let (hex, cut) = quoted.split_once('"').unwrap_or_else(|| panic!("no end of {quoted:.40}"));
            assert!(!cut.starts_with("..."), "strace cut a text short");
            args.push(Arg::Text(bytes(hex)));
        } else if let Some((number, path)) = arg.split_once('<') {
            let (path, deleted) = path.split_once('>').unwrap_or((path, ""));
            let path = if path.starts_with("\\x") { String::from_utf8_lossy(&bytes(path)).into_owned() } else { path.to_owned() };
            let path = if deleted.is_empty() { path } else { format!("{path} (deleted)") };
            args.push(Arg::File(number.parse().unwrap_or(-100), path));
        } else {
            args.push(Arg::Word(arg.trim_end_matches([']', '}']).to_owned()));
        }
    }
    args
}

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |byte: u8| (byte as char).to_digit(16).unwrap_or_else(|| panic!("no hexadecimal: {hex:.40}")) as u8;
    hex.as_bytes().chunks_exact(4).map(|code| digit(code[2]) << 4 | digit(code[3])).collect()
}

impl Call {
    pub fn text(&self, index: usize) -> &[u8] {
        let texts = self.args.iter().filter_map(|arg| if let Arg::Text(text) = arg { Some(text) } else { None });
        texts.map(Vec::as_slice).nth(index).unwrap_or_default()
    }

    /// All buffers one after the other.
    pub fn data(&self) -> Vec<u8> {
        (0..).map(|index| self.text(index)).take_while(|text| !text.is_empty()).flatten().copied().collect()
    }

    pub fn file(&self) -> (i64, &str) {
        match self.args.first() {
            Some(Arg::File(number, path)) => (*number, path),
            _ => (-1, ""),
        }
    }

    pub fn word(&self, index: usize) -> &str {
        if let Some(Arg::Word(word)) = self.args.get(index) { word } else { "" }
    }

    pub fn number(&self, index: usize) -> u64 {
        self.word(index).parse().unwrap_or_else(|_| panic!("argument {index} of {} is no number", self.name))
    }

    /// The path in the text of this index, taken below the folder that the call names, if any.
    pub fn path(&self, index: usize) -> String {
        let text = String::from_utf8_lossy(self.text(index)).into_owned();
        let folders = self.args.iter().filter_map(|arg| if let Arg::File(_, path) = arg { Some(path) } else { None });
        match folders.clone().nth(index).or(folders.clone().next()) {
            Some(folder) if !text.starts_with('/') => format!("{folder}/{text}"),
            _ => text,
        }
    }
}
