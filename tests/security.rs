//! `docs/ref/security.md` names the test that holds each of its promises: they must be there.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::fs;
use std::path::Path;

const PAGE: &str = include_str!("../docs/ref/security.md");

/// What stands between backquotes in `text`.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Whether a thing between backquotes is a test's name.
fn is_test(name: &str) -> bool {
    name.contains("::") || name.starts_with("tests/package/checks/")
}

/// What is wrong with a test's name: `FILE.rs::FUNCTION`, or a script.
fn problem(name: &str) -> Option<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (file, function) = name.split_once("::").map_or((name, None), |(file, function)| (file, Some(function)));
    let Ok(source) = fs::read_to_string(root.join(file)) else { return Some(format!("there is no {file}")) };
    let function = function?;
    let Some((before, _)) = source.split_once(&format!("fn {function}()")) else {
        return Some(format!("{file} has no {function}"));
    };
    // Its attribute stands right above, perhaps among others.
    let above = before.trim_end().lines().rev().take_while(|line| line.trim_start().starts_with(['#', '/', 'a']));
    let is_test = above.into_iter().any(|line| line.trim().ends_with("test]"));
    (!is_test).then(|| format!("{function} of {file} is no test"))
}

#[test]
fn every_test_that_the_page_names_exists() {
    let names: Vec<_> = quoted(PAGE).filter(|name| is_test(name)).collect();
    assert!(names.len() > 50, "only {} names were found", names.len());
    let problems: Vec<_> = names.into_iter().filter_map(problem).collect();
    assert!(problems.is_empty(), "{problems:#?}");
}

#[test]
fn every_row_of_the_page_names_a_test() {
    let rows: Vec<_> = PAGE.lines().filter(|line| line.starts_with("| ")).collect();
    let heads = ["| | |", "| who or what |"];
    let without: Vec<_> =
        rows.iter().filter(|row| !heads.iter().any(|head| row.starts_with(head)) && !quoted(row).any(is_test)).collect();
    assert!(rows.len() > 25 && without.is_empty(), "{} rows; without a test: {without:#?}", rows.len());
}

#[test]
fn a_name_that_is_not_there_is_told() {
    for (name, wrong) in [
        ("tests/security.rs::a_name_that_is_not_there_is_told", None),
        ("tests/security.rs::a_name_of_nothing", Some("has no")),
        ("tests/security.rs::quoted", Some("has no")),
        ("tests/nowhere.rs::any", Some("there is no")),
        ("tests/package/checks/00-nothing.sh", Some("there is no")),
    ] {
        let told = problem(name);
        assert_eq!(told.is_some(), wrong.is_some(), "{name}: {told:?}");
        assert!(told.is_none_or(|told| told.contains(wrong.unwrap())), "{name}");
    }
}
