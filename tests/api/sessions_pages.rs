//! Pages of both session lists: `next` and `cursor`.

use serde_json::{Value, json};

use crate::sessions::ids;
use crate::support::agent::{encode, open_at};
use crate::support::daemon::{Daemon, Home};
use crate::support::records::{at, colour, detection_line, session_line};

/// Follows `next` to the end; `between` runs before each further page.
fn walk(daemon: &Daemon, base: &str, mut between: impl FnMut(usize)) -> Vec<String> {
    let mut all = Vec::new();
    let mut target = base.to_owned();
    for page in 0..100 {
        let answer = daemon.get(&target).is(200).json();
        all.extend(ids(&answer));
        match &answer["next"] {
            Value::Null => return all,
            next => {
                target = format!("{base}&cursor={}", encode(next.as_str().expect("an opaque text")));
            }
        }
        between(page);
    }
    panic!("{base} never ends: {all:?}");
}

/// 23 sessions, many of the same start.
fn filled() -> Daemon {
    let home = Home::new("");
    let mut lines = Vec::new();
    for n in 0..23 {
        let (id, minute) = (format!("s{n:02}"), n / 4);
        let classes: &[&str] = if n % 2 == 0 { &["cup", "person"] } else { &["person"] };
        lines.push(session_line(&id, &at(minute, 0), &at(minute, 30), classes, &json!({"path": format!("p{}", n % 3)})));
        lines.push(detection_line(&id, "1", "person", &at(minute, 0), &colour(if n < 10 { "rojo" } else { "azul" })));
    }
    home.import(&lines);
    Daemon::on(home)
}

#[test]
fn pages_by_next_and_cursor_give_each_session_once_in_the_order_of_the_list() {
    let daemon = filled();
    let range = "/sessions/range?from=2025-10-11&to=2025-10-12";
    for query in ["", "&classes=cup", "&classes=cup,person", "&color=rojo", "&path=p1", "&color=o&classes=cup", "&status=closed"]
    {
        for base in [format!("/sessions?x=1{query}"), format!("{range}{query}")] {
            let whole = ids(&daemon.get(format!("{base}&limit=1000")).is(200).json());
            assert!(whole.len() >= 4, "{base}: {whole:?}");
            for limit in [1, 3, 4] {
                assert_eq!(walk(&daemon, &format!("{base}&limit={limit}"), |_| ()), whole, "{base} by {limit}");
            }
        }
    }
}

#[test]
fn next_is_null_at_the_end() {
    let daemon = filled();
    assert!(daemon.get("/sessions?limit=22").is(200).json()["next"].is_string());
    assert_eq!(daemon.get("/sessions?limit=1000").is(200).json()["next"], Value::Null);
    assert_eq!(daemon.get("/sessions/range?from=2030-01-01&to=2030-01-02").is(200).json()["next"], Value::Null);
}

#[test]
fn the_cursor_is_stable_while_sessions_are_added() {
    let daemon = filled();
    let whole = ids(&daemon.get("/sessions?limit=1000").is(200).json());
    let walked = walk(&daemon, "/sessions?limit=5", |page| {
        open_at(&daemon, &format!("new{page}"), "p", &at(100 + page, 0));
    });
    assert_eq!(walked, whole, "newer sessions do not shift the pages");
}

#[test]
fn a_cursor_survives_a_restart() {
    let mut daemon = filled();
    let first = daemon.get("/sessions?limit=10").is(200).json();
    let cursor = encode(first["next"].as_str().expect("a cursor"));
    let target = format!("/sessions?limit=10&cursor={cursor}");
    let second = ids(&daemon.get(&target).is(200).json());
    daemon.restart();
    assert_eq!(ids(&daemon.get(&target).is(200).json()), second);
}

#[test]
fn an_invalid_cursor_is_400_and_names_it() {
    let daemon = filled();
    for cursor in ["x", "%00", "AAAA", "-1", "%C3%A9", &"9".repeat(300)] {
        for base in ["/sessions?", "/sessions/range?from=2025-10-11&to=2025-10-12&"] {
            let error = daemon.get(format!("{base}cursor={cursor}")).is(400).error();
            assert!(error.contains("cursor"), "{cursor}: {error}");
        }
    }
}
