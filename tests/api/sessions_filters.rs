//! Filters of both session lists: classes, color, path, `device_id`, status.

use serde_json::{Value, json};

use crate::sessions::ids;
use crate::support::agent::{encode, ingest, open};
use crate::support::daemon::{Daemon, Home};
use crate::support::records::{at, colour, detection_line, session_line};

const END: &str = "2025-10-11T12:30:00.000000Z";
const LISTS: [&str; 2] = ["/sessions?", "/sessions/range?from=2025-10-11&to=2025-10-12&"];

/// What both lists answer under one more query; they must agree.
#[track_caller]
fn filtered(daemon: &Daemon, query: &str) -> Value {
    let [list, range] = LISTS.map(|base| daemon.get(format!("{base}{query}")).is(200).json());
    assert_eq!(list["sessions"], range["sessions"], "{query}");
    assert_eq!((&list["classes"], &list["color"]), (&range["classes"], &range["color"]), "{query}");
    list
}

fn with_classes() -> Daemon {
    let home = Home::new("");
    home.import(&[
        session_line("none", &at(0, 0), END, &[], &json!({"configured_classes": ["person", "cup"]})),
        session_line("person", &at(1, 0), END, &["person"], &json!({})),
        session_line("both", &at(2, 0), END, &["cup", "person"], &json!({})),
        session_line("cup", &at(3, 0), END, &["cup"], &json!({})),
        session_line("odd", &at(4, 0), END, &["traffic light", "niño"], &json!({})),
    ]);
    Daemon::on(home)
}

#[test]
fn classes_finds_only_sessions_whose_detected_classes_hold_all_of_them() {
    let daemon = with_classes();
    for (query, found, echo) in [
        ("classes=person", vec!["both", "person"], json!(["person"])),
        ("classes=person,cup", vec!["both"], json!(["person", "cup"])),
        ("classes=cup,person", vec!["both"], json!(["cup", "person"])),
        ("classes=person%2Ccup", vec!["both"], json!(["person", "cup"])),
        ("classes=person&classes=cup", vec!["both"], json!(["person", "cup"])),
        ("classes=dog", vec![], json!(["dog"])),
        ("classes=person,dog", vec![], json!(["person", "dog"])),
        ("classes=traffic+light", vec!["odd"], json!(["traffic light"])),
        ("classes=traffic%20light,ni%C3%B1o", vec!["odd"], json!(["traffic light", "niño"])),
        ("classes=perso", vec![], json!(["perso"])),
    ] {
        let answer = filtered(&daemon, query);
        assert_eq!(ids(&answer), found, "{query}");
        assert_eq!(answer["classes"], echo, "{query}");
    }
}

#[test]
fn a_class_is_found_from_the_moment_it_was_detected() {
    let daemon = Daemon::start();
    open(&daemon, "s");
    assert!(ids(&filtered(&daemon, "classes=dog")).is_empty());
    ingest(&daemon, "s", &[("1", "dog", 0.3)], &at(0, 1), None).is(200);
    assert_eq!(ids(&filtered(&daemon, "classes=dog")), ["s"]);
    ingest(&daemon, "s", &[("1", "cat", 0.9)], &at(0, 2), None).is(200);
    assert_eq!(ids(&filtered(&daemon, "classes=cat,dog")), ["s"]);
}

#[test]
fn a_rare_class_in_a_narrow_window() {
    let home = Home::new("");
    let lines: Vec<Value> = (0..200)
        .map(|n| {
            let classes: &[&str] = if n == 77 { &["person", "bear"] } else { &["person"] };
            session_line(&format!("s{n:03}"), &at(n, 0), &at(n, 30), classes, &json!({}))
        })
        .collect();
    home.import(&lines);
    let daemon = Daemon::on(home);
    let found = |from: usize, to: usize, classes: &str| {
        let query = format!("/sessions/range?from={}&to={}&classes={classes}", at(from, 0), at(to, 0));
        ids(&daemon.get(query).is(200).json())
    };
    assert_eq!(found(70, 80, "bear"), ["s077"]);
    assert!(found(80, 90, "bear").is_empty());
    assert_eq!(found(76, 79, "person"), ["s078", "s077", "s076"]);
    assert_eq!(found(0, 200, "person,bear"), ["s077"]);
}

fn with_colours() -> Daemon {
    let home = Home::new("");
    let mut lines = Vec::new();
    for (minute, id) in ["blue", "red", "brown", "pending", "failed", "plain", "odd"].into_iter().enumerate() {
        lines.push(session_line(id, &at(minute, 0), END, &["person"], &json!({})));
    }
    let mut pending = colour("azul claro");
    pending["enriched"] = json!(false);
    for (id, track, change) in [
        ("blue", "1", colour("azul oscuro")),
        ("blue", "2", colour("rojo")),
        ("red", "1", colour("Rojo Vivo")),
        ("brown", "1", colour("MARRÓN")),
        ("pending", "1", pending),
        ("failed", "1", json!({"enriched": true, "attributes": {"error": "azul: cannot open frame"}})),
        ("odd", "1", json!({"enriched": true, "attributes": {"color": {"name": 5}}})),
        ("odd", "2", json!({"enriched": true, "attributes": {"color": "azul"}})),
        ("odd", "3", json!({"enriched": true, "attributes": null})),
    ] {
        lines.push(detection_line(id, track, "person", &at(1, 0), &change));
    }
    home.import(&lines);
    Daemon::on(home)
}

#[test]
fn color_finds_sessions_whose_color_name_contains_it_whatever_the_case() {
    let daemon = with_colours();
    for (color, found) in [
        ("rojo", vec!["red", "blue"]),
        ("ROJO", vec!["red", "blue"]),
        ("vivo", vec!["red"]),
        ("oscuro", vec!["blue"]),
        ("azul oscuro", vec!["blue"]),
        ("zul osc", vec!["blue"]),
        ("marrón", vec!["brown"]),
        ("Marr", vec!["brown"]),
        ("verde", vec![]),
    ] {
        let answer = filtered(&daemon, &format!("color={}", encode(color)));
        assert_eq!(ids(&answer), found, "{color}");
        assert_eq!(answer["color"], color, "echoed");
        assert!(answer.get("classes").is_none());
    }
}

#[test]
fn only_an_enriched_detection_gives_a_color_and_an_error_is_none() {
    let daemon = with_colours();
    assert_eq!(ids(&filtered(&daemon, "color=azul")), ["blue"], "neither pending, nor failed, nor odd");
    assert!(ids(&filtered(&daemon, "color=claro")).is_empty());
    assert!(ids(&filtered(&daemon, "color=error")).is_empty());
    assert!(ids(&filtered(&daemon, "color=frame")).is_empty());
}

#[test]
fn color_and_classes_hold_together() {
    let daemon = with_colours();
    let answer = filtered(&daemon, "color=rojo&classes=person");
    assert_eq!(ids(&answer), ["red", "blue"]);
    assert_eq!((&answer["color"], &answer["classes"]), (&json!("rojo"), &json!(["person"])));
    assert!(ids(&filtered(&daemon, "color=rojo&classes=dog")).is_empty());
    let narrow = format!("/sessions/range?from={}&to={}&color=rojo", at(1, 0), at(1, 30));
    assert_eq!(ids(&daemon.get(narrow).is(200).json()), ["red", "blue"]);
    let before = format!("/sessions/range?from={}&to={}&color=rojo", at(0, 0), at(0, 30));
    assert_eq!(ids(&daemon.get(before).is(200).json()), ["blue"]);
}

#[test]
fn a_color_with_percent_and_underscore_is_plain_text() {
    let daemon = with_colours();
    for color in ["%25", "_", "r_jo", "*", ".", "\\"] {
        let color = if color == "%25" { color.to_owned() } else { encode(color) };
        assert!(ids(&filtered(&daemon, &format!("color={color}"))).is_empty(), "{color}");
    }
}

#[test]
fn lists_filter_by_path_device_id_and_status() {
    let home = Home::new("");
    home.import(&[
        session_line("a", &at(0, 0), END, &["cup"], &json!({"path": "site/one", "device_id": "d1"})),
        session_line("b", &at(1, 0), END, &[], &json!({"path": "two", "device_id": "d1"})),
        session_line(
            "c",
            &at(2, 0),
            END,
            &["cup"],
            &json!({"path": "site/one", "device_id": "d2", "status": "open", "end_ts": null, "end_reason": null}),
        ),
    ]);
    let daemon = Daemon::on(home);
    for (query, found) in [
        ("path=site/one", vec!["c", "a"]),
        ("path=site%2Fone", vec!["c", "a"]),
        ("path=site", vec![]),
        ("device_id=d1", vec!["b", "a"]),
        ("status=open", vec!["c"]),
        ("status=closed", vec!["b", "a"]),
        ("path=site%2Fone&device_id=d1", vec!["a"]),
        ("path=site%2Fone&status=open&classes=cup", vec!["c"]),
        ("device_id=d2&status=closed", vec![]),
        ("device_id=d1&classes=cup", vec!["a"]),
    ] {
        assert_eq!(ids(&filtered(&daemon, query)), found, "{query}");
    }
    let error = daemon.get("/sessions?status=broken").is(400).error();
    assert!(error.contains("status"), "{error}");
}
