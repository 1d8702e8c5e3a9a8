//! Query strings, and the cursors in them.

use std::time::Duration;

use session_store::domain::query::SessionKey;
use session_store::http::query::Query;

use crate::assert_sentence;

/// Reads `data` as a query string, and as a cursor.
pub fn run(data: &[u8]) {
    let Ok(raw) = std::str::from_utf8(data) else { return };
    cursor(raw);
    let query = Query::parse(raw);
    match query.page() {
        Ok(page) => {
            assert!((1..=1000).contains(&page.limit), "a page of {}", page.limit);
            if let Some(key) = page.after {
                cursor(&key.to_cursor());
            }
        }
        Err(error) => assert_sentence(&error.0),
    }
    assert!((1..=1000).contains(&query.changes_limit()));
    match query.wait() {
        Ok(wait) => assert!(wait <= Duration::from_secs(60)),
        Err(error) => assert_sentence(&error.0),
    }
    if let Err(error) = query.since() {
        assert_sentence(&error.0);
    }
    for key in ["from", "to"] {
        if let Some(time) = query.time(key) {
            let again = format!("{key}={}", time.to_micros());
            assert_eq!(Query::parse(&again).time(key), Some(time));
        }
    }
    let filters = match query.sessions() {
        Ok(filters) => filters,
        Err(error) => return assert_sentence(&error.0),
    };
    assert!(filters.classes.len() <= 100);
    for (index, class) in filters.classes.iter().enumerate() {
        assert!(!class.is_empty() && class.trim() == class && !class.contains(','), "the class {class:?}");
        assert!(!filters.classes[..index].contains(class), "{class:?} twice");
    }
    // Asked again in plain spelling, it is the same question.
    let mut plain = form_urlencoded::Serializer::new(String::new());
    plain.append_pair("classes", &filters.classes.join(","));
    for (key, value) in [("color", &filters.color), ("path", &filters.path), ("device_id", &filters.device_id)] {
        if let Some(value) = value {
            plain.append_pair(key, value);
        }
    }
    if let Some(status) = filters.status {
        plain.append_pair("status", &format!("{status:?}").to_lowercase());
    }
    let plain = plain.finish();
    let again = Query::parse(&plain).sessions().expect("what was taken once is taken again");
    assert_eq!(format!("{again:?}"), format!("{filters:?}"), "{raw:?} is not {plain:?}");
}

fn cursor(text: &str) {
    match SessionKey::from_cursor(text) {
        Ok(key) => {
            assert_eq!(key.to_cursor(), text.to_ascii_lowercase(), "a cursor comes back as another");
            assert!(key.before().is_none_or(|before| before < key));
        }
        Err(error) => assert_sentence(&error.0),
    }
}
