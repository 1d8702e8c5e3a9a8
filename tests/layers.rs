//! The floors of the house: data flows down, siblings never call each other. Read from the sources' own paths.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// What each floor may name besides itself: a whole floor, or one item of it where that is all it needs.
const RULES: [(&str, &[&str]); 11] = [
    ("main", &["cli"]),
    ("cli", &["http", "recordings", "sync", "service", "store", "media", "runtime", "config", "domain"]),
    // The feed's entries are shown as they are; the list of origins is the one setting that only HTTP understands.
    ("http", &["service", "domain", "store::Change", "config::CorsOrigins"]),
    ("recordings", &["service", "media::beneath", "media::recordings", "domain", "runtime"]),
    ("sync", &["service", "domain", "runtime", "store::Change", "store::Runs"]),
    ("service", &["store", "media", "runtime", "domain"]),
    ("store", &["runtime", "domain"]),
    ("media", &["runtime", "domain"]),
    ("runtime", &["domain"]),
    ("config", &["domain"]),
    ("domain", &[]),
];

/// A name of the language, or one sign; `::` is one.
#[derive(Debug, Clone, PartialEq)]
struct Token {
    text: String,
    line: usize,
}

/// The tokens of `source` without comments, strings and characters.
fn tokens(source: &str) -> Vec<Token> {
    let chars: Vec<char> = source.chars().collect();
    let at = |index: usize| chars.get(index).copied().unwrap_or('\0');
    let mut found = Vec::new();
    let (mut i, mut line) = (0, 1);
    while i < chars.len() {
        let begin = i;
        match chars[i] {
            '/' if at(i + 1) == '/' => i = end_of(&chars, i, |index| at(index) == '\n'),
            '/' if at(i + 1) == '*' => {
                let mut depth = 0;
                loop {
                    match (at(i), at(i + 1)) {
                        ('/', '*') => (depth, i) = (depth + 1, i + 2),
                        ('*', '/') => (depth, i) = (depth - 1, i + 2),
                        _ => i += 1,
                    }
                    if depth == 0 || i >= chars.len() {
                        break;
                    }
                }
            }
            '"' => i = string_end(&chars, i),
            // A character, or else a lifetime.
            '\'' if at(i + 1) == '\\' => i = end_of(&chars, i + 3, |index| at(index) == '\'') + 1,
            '\'' if at(i + 2) == '\'' => i += 3,
            'r' | 'b' if raw_hashes(&chars, i).is_some() => {
                let hashes = raw_hashes(&chars, i).unwrap_or_default();
                let first = end_of(&chars, i, |index| at(index) == '"');
                let closes = |index: usize| at(index) == '"' && (1..=hashes).all(|hash| at(index + hash) == '#');
                i = end_of(&chars, first + 1, closes) + hashes + 1;
            }
            ':' if at(i + 1) == ':' => {
                i += 2;
                found.push(Token { text: "::".into(), line });
            }
            letter if letter.is_alphanumeric() || letter == '_' => {
                i = end_of(&chars, i, |index| !at(index).is_alphanumeric() && at(index) != '_');
                found.push(Token { text: chars[begin..i].iter().collect(), line });
            }
            sign => {
                i += 1;
                if !sign.is_whitespace() {
                    found.push(Token { text: sign.into(), line });
                }
            }
        }
        i = i.min(chars.len());
        line += chars[begin..i].iter().filter(|letter| **letter == '\n').count();
    }
    found
}

/// The first index from `from` on where `ends`, or the end of the source.
fn end_of(chars: &[char], from: usize, ends: impl Fn(usize) -> bool) -> usize {
    (from..chars.len()).find(|index| ends(*index)).unwrap_or(chars.len())
}

/// Behind the string that begins at `from`.
fn string_end(chars: &[char], from: usize) -> usize {
    let mut i = from + 1;
    while i < chars.len() && chars[i] != '"' {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    i + 1
}

/// The number of `#` of the raw string that begins at `from`, if one does.
fn raw_hashes(chars: &[char], from: usize) -> Option<usize> {
    let is_part_of_a_name = from > 0 && (chars[from - 1].is_alphanumeric() || chars[from - 1] == '_');
    let behind = if chars[from] == 'b' { chars.get(from + 1) == Some(&'r') } else { true };
    let first = from + if chars[from] == 'b' { 2 } else { 1 };
    let hashes = chars.get(first..)?.iter().take_while(|sign| **sign == '#').count();
    (!is_part_of_a_name && behind && chars.get(first + hashes) == Some(&'"')).then_some(hashes)
}

/// The paths of the use tree, or plain path, that begins at token `i`.
fn tree(tokens: &[Token], i: &mut usize) -> Vec<Vec<String>> {
    let text = |index: usize| tokens.get(index).map_or("", |token| token.text.as_str());
    if text(*i) == "{" {
        *i += 1;
        let mut all = Vec::new();
        while !matches!(text(*i), "}" | "") {
            all.extend(tree(tokens, i));
            // Over `as name` and the comma.
            while !matches!(text(*i), "}" | "," | "") {
                *i += 1;
            }
            if text(*i) == "," {
                *i += 1;
            }
        }
        *i += 1;
        return all;
    }
    let name = text(*i).to_owned();
    *i += 1;
    if text(*i) != "::" || text(*i + 1) == "<" {
        return vec![vec![name]];
    }
    *i += 1;
    let mut below = tree(tokens, i);
    for path in &mut below {
        path.insert(0, name.clone());
    }
    below
}

/// A path that leads through the crate's root: the line, and what comes below the root.
type Named = (usize, Vec<String>);

/// Every path of `source`, the module `module` of the crate, that goes through the crate's root.
fn named(source: &str, module: &[&str]) -> Vec<Named> {
    let tokens = tokens(source);
    let text = |index: usize| tokens.get(index).map_or("", |token| token.text.as_str());
    let mut found = Vec::new();
    // For each open brace: whether it is an inline module's.
    let mut braces: Vec<bool> = Vec::new();
    let mut i = 0;
    while i < tokens.len() {
        let line = tokens[i].line;
        match text(i) {
            "{" => braces.push(i >= 2 && text(i - 2) == "mod"),
            "}" => drop(braces.pop()),
            "crate" | "session_store" | "super" | "self" if text(i + 1) == "::" && (i == 0 || text(i - 1) != "::") => {
                let depth = module.len() + braces.iter().filter(|is_module| **is_module).count();
                for path in tree(&tokens, &mut i) {
                    let supers = path.iter().skip_while(|part| *part == "self").take_while(|part| *part == "super").count();
                    let is_rooted = matches!(path[0].as_str(), "crate" | "session_store");
                    if is_rooted || (supers > 0 && supers >= depth) {
                        let below = path
                            .into_iter()
                            .skip_while(|part| matches!(part.as_str(), "crate" | "session_store" | "self" | "super"));
                        found.push((line, below.collect()));
                    }
                }
                continue;
            }
            _ => {}
        }
        i += 1;
    }
    found
}

/// What is wrong in one source, a line each. `file` is its path below `src`.
fn violations(file: &str, source: &str) -> Vec<String> {
    let stem = file.trim_end_matches(".rs").trim_end_matches("/mod");
    let module: Vec<&str> = stem.split('/').collect();
    if stem == "lib" {
        return named(source, &[])
            .iter()
            .map(|(line, _)| format!("src/lib.rs:{line}: the map of the house names no path"))
            .collect();
    }
    let floor = module[0];
    let Some((_, allowed)) = RULES.iter().find(|(name, _)| *name == floor) else {
        return vec![format!("src/{file}:1: {floor} is a floor without a rule")];
    };
    let mut found = Vec::new();
    for (line, path) in named(source, &module) {
        let target = path.join("::");
        let fits = |rule: &str| target == *rule || target.starts_with(&format!("{rule}::"));
        if path.first().is_some_and(|first| first == floor) || allowed.iter().any(|rule| fits(rule)) {
            continue;
        }
        let rule = if allowed.is_empty() { "nothing of the others".to_owned() } else { allowed.join(", ") };
        found.push(format!("src/{file}:{line}: crate::{target}; {floor} may use {rule}"));
    }
    found
}

fn sources(below: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(below).expect("the sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            into.push(path);
        }
    }
}

#[test]
fn no_floor_calls_one_above_it_or_beside_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    files.sort();
    let (mut told, mut named_at_all, mut floors) = (String::new(), 0, BTreeSet::new());
    for file in &files {
        let source = fs::read_to_string(file).expect("a source");
        let file = file.strip_prefix(&root).expect("below src").to_str().expect("a plain name");
        floors.insert(file.split('/').next().unwrap_or_default().to_owned());
        named_at_all += named(&source, &["x"; 9]).len();
        for violation in violations(file, &source) {
            writeln!(told, "{violation}").expect("text");
        }
    }
    assert!(told.is_empty(), "upward or sideways:\n{told}");
    // A checker that reads nothing finds nothing.
    for floor in ["cli", "http", "service", "store", "media", "runtime", "config", "domain"] {
        assert!(floors.contains(floor), "{floor} was not read");
    }
    assert!(named_at_all > 100, "only {named_at_all} paths were read");
}

#[test]
fn a_planted_violation_is_told_with_file_line_and_rule() {
    let told = violations("media/frames.rs", "use std::fs;\n\nuse crate::store::Store;\n");
    assert_eq!(told, ["src/media/frames.rs:3: crate::store::Store; media may use runtime, domain"]);
    for (file, planted) in [
        ("store/feed.rs", "use crate::media::layout;"),
        ("store/feed.rs", "use crate::{\n    domain::ids,\n    service::Service as Upstairs,\n};"),
        ("store/feed.rs", "fn f() { crate::service::hooks::g() }"),
        ("store/feed.rs", "use super::super::http::Api;"),
        ("store/mod.rs", "use super::http::Api;"),
        ("store/feed.rs", "mod tests { use super::super::super::media::frames; }"),
        ("domain/ids.rs", "use crate::runtime::clock::Clock;"),
        ("config/mod.rs", "pub(crate) use crate::runtime::zone;"),
        ("runtime/clock.rs", "type T = Vec<crate::config::Config>;"),
        ("http/sync.rs", "use crate::sync::reader;"),
        ("recordings/mod.rs", "use crate::http::Api;"),
        ("http/sessions.rs", "use crate::store::{Change, Store};"),
        ("http/sessions.rs", "use crate::store;"),
        ("http/sessions.rs", "use crate::config::Config;"),
        ("http/sessions.rs", "use crate::*;"),
        ("service/mod.rs", "use crate::http::wire;"),
        ("main.rs", "fn main() { session_store::store::open() }"),
        ("lib.rs", "use crate::store::Store;"),
        ("utils/mod.rs", ""),
        ("store/feed.rs", "const A: char = '\"'; use crate::service::Service; const B: char = '\"';"),
        ("store/feed.rs", r##"const A: &str = r#"""#; use crate::service::Service;"##),
        ("store/feed.rs", "fn f<'a>(_: &'a str) { crate::service::g() }"),
    ] {
        assert_eq!(violations(file, planted).len(), 1, "{file}: {planted}: {:?}", violations(file, planted));
    }
}

#[test]
fn what_is_allowed_or_no_path_at_all_is_not_told() {
    for (file, fine) in [
        ("store/feed.rs", "use crate::domain::ids::SessionId;\nuse super::{Snapshot, record};"),
        ("store/feed.rs", "// crate::http::Api\n/* crate::http /* crate::http */ crate::http */ /// crate::http\n"),
        ("store/feed.rs", "const A: &str = \"crate::http \\\" crate::http\"; const B: &str = r\"crate::http\";"),
        ("store/mod.rs", "mod tests { use super::service; }"),
        ("store/mod.rs", "mod service; use self::service::X; pub(crate) fn f() {}"),
        ("http/changes.rs", "use crate::store::Change; use crate::config::CorsOrigins; use crate::service;"),
        ("cli/serve.rs", "use crate::http::{self, Api}; use crate::{config::Config, store::Store};"),
        ("main.rs", "fn main() { session_store::cli::run() }"),
        ("lib.rs", "pub mod store;"),
    ] {
        assert!(violations(file, fine).is_empty(), "{file}: {fine}: {:?}", violations(file, fine));
    }
}
