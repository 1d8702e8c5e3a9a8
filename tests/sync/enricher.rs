//! The enricher, who remembers his own words: no push may take them away, change them or give them to another row. And what he is to look
//! at must be there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::postgres::Db;

type Key = (String, String);

/// What was written of a detection, and of which picture.
#[derive(Clone)]
struct Word {
    attributes: Value,
    url_frame: Option<String>,
    /// Whether it is known to have been written: a connection may break before the answer.
    is_certain: bool,
}

/// The last word on each detection, behind those that may have been it.
type Words = BTreeMap<Key, Vec<Word>>;

/// Writes a new word each time, by a clock of its own.
pub struct Enricher {
    /// Where pictures come.
    shared: PathBuf,
    /// Rows of an older data folder may name pictures that were beaten since, and are gone.
    gone: BTreeSet<String>,
    /// Sessions whose ids begin so may be deleted at any time, with his words.
    fleeting: &'static str,
    turns: u64,
    last: Words,
    /// What was the last word when the data folder was copied.
    saved: Words,
    /// Every word on each detection.
    all: BTreeMap<Key, BTreeSet<String>>,
}

impl Enricher {
    pub fn new(shared: PathBuf, fleeting: &'static str) -> Self {
        let (last, saved, all) = (Words::new(), Words::new(), BTreeMap::new());
        Self { shared, gone: BTreeSet::new(), fleeting, turns: 0, last, saved, all }
    }

    fn is_there(&self, url: &str) -> bool {
        self.shared.join(url.strip_prefix("/frames/").expect("/frames/ in front")).is_file()
    }

    /// Does some of what is to be done. A server that refuses is no reason to stop.
    pub fn work(&mut self, db: &Db) {
        let found = db.try_rows(
            "SELECT session_id, track_id, url_frame FROM detections WHERE enriched = FALSE
             ORDER BY created_at, session_id, track_id LIMIT 200",
        );
        let found = found.unwrap_or_default();
        let keys: Vec<Key> = found.iter().map(|row| key(row)).collect();
        let missing: BTreeSet<&String> = found
            .iter()
            .filter_map(|row| row[2].as_ref())
            .filter(|url| !self.is_there(url) && !self.gone.contains(*url))
            .collect();
        if keys.is_empty() {
            return;
        }
        self.turns += 1;
        let attributes = json!({"color": {"name": format!("rojo {}", self.turns), "confidence": 0.9}});
        for key in &keys {
            self.all.entry(key.clone()).or_default().insert(attributes.to_string());
        }
        let list: Vec<String> = keys.iter().map(|(session, track)| format!("('{session}', '{track}')")).collect();
        let written = db.try_rows(&format!(
            "UPDATE detections d SET attributes = '{attributes}', enriched = TRUE, updated_at = '1999-01-01'
             FROM (VALUES {}) AS k (session_id, track_id)
             WHERE d.session_id = k.session_id AND d.track_id = k.track_id AND d.enriched = FALSE
             RETURNING d.session_id, d.track_id, d.url_frame",
            list.join(", ")
        ));
        match written {
            Ok(rows) => {
                for row in rows {
                    // Named before it was looked for and still named now.
                    let is_missing = row[2].as_ref().is_some_and(|url| missing.contains(url));
                    assert!(!is_missing, "{row:?} came before its picture, or stayed behind it");
                    let word = Word { attributes: attributes.clone(), url_frame: row[2].clone(), is_certain: true };
                    self.last.insert(key(&row), vec![word]);
                }
            }
            // Refused in words is not written; 57 says that the server is going down, which may come behind the commit.
            Err(error) if error.code().is_some_and(|code| !code.code().starts_with("57")) => {}
            Err(_) => {
                for key in keys {
                    let word = Word { attributes: attributes.clone(), url_frame: None, is_certain: false };
                    self.last.entry(key).or_default().push(word);
                }
            }
        }
    }

    /// The stopped server's data were copied.
    pub fn data_saved(&mut self) {
        self.saved = self.last.clone();
    }

    /// That copy was put back. Of what was written since, the gateway may bring back what it knows; it need not.
    pub fn data_put_back(&mut self, db: &Db) {
        self.last = self.saved.clone();
        let urls = db.rows("SELECT url_frame FROM detections WHERE url_frame IS NOT NULL");
        let gone: Vec<String> = urls.into_iter().filter_map(|mut row| row[0].take()).filter(|url| !self.is_there(url)).collect();
        self.gone.extend(gone);
    }

    /// On how many detections he had a word.
    pub fn known(&self) -> usize {
        self.all.len()
    }

    /// Panics where a row does not say what he wrote last, or says what he never wrote of it.
    #[track_caller]
    pub fn all_is_there(&self, db: &Db) {
        // Under a guard without an end a picture is on its way, and the word is known to be of the one before.
        let rows = db.rows(
            "SELECT session_id, track_id, attributes, url_frame, enriched AND NOT EXISTS (SELECT FROM session_store.guards g
                WHERE g.session_id = d.session_id AND g.track_id = d.track_id AND g.until = 'infinity') FROM detections d",
        );
        let rows: BTreeMap<Key, Vec<Option<String>>> = rows.iter().map(|row| (key(row), row[2..].to_vec())).collect();
        for (key, words) in &self.last {
            let Some(row) = rows.get(key) else {
                let may_be_gone = key.0.starts_with(self.fleeting) || words.iter().all(|word| !word.is_certain);
                assert!(may_be_gone, "{key:?} is gone, with the enricher's word");
                continue;
            };
            let value = parsed(row[0].as_deref());
            let found = words.iter().rfind(|word| value.as_ref() == Some(&word.attributes));
            // The first one not certain: there may be none at all.
            if found.is_none() && value.is_none() && words.iter().all(|word| !word.is_certain) {
                continue;
            }
            let told: Vec<String> = words.iter().map(|word| word.attributes.to_string()).collect();
            let word = found.unwrap_or_else(|| panic!("{key:?}: the enricher wrote {told:?}, there is {row:?}"));
            assert!(
                !word.is_certain || row[2].as_deref() != Some("t") || row[1] == word.url_frame,
                "{key:?}: {value:?} was said of {:?}, and counts for {:?}",
                word.url_frame,
                row[1]
            );
        }
        for (key, row) in &rows {
            let Some(value) = parsed(row[0].as_deref()) else { continue };
            let is_known = self.all.get(key).is_some_and(|words| words.contains(&value.to_string()));
            assert!(is_known, "{key:?}: the enricher never wrote {value}");
        }
    }
}

fn key(row: &[Option<String>]) -> Key {
    (row[0].clone().unwrap_or_default(), row[1].clone().unwrap_or_default())
}

/// By the order of fields of Rust's words: Postgres keeps none.
fn parsed(text: Option<&str>) -> Option<Value> {
    let value: Value = serde_json::from_str(text?).expect("JSON");
    let color = &value["color"];
    Some(json!({"color": {"name": color["name"], "confidence": color["confidence"]}}))
}
