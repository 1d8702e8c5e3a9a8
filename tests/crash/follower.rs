//! A reader of the change feed that keeps its cursor through every crash, and never begins again.

use std::collections::HashMap;
use std::net::SocketAddr;

use serde_json::Value;

use crate::ledger::{Answer, now};
use crate::support::daemon::Daemon;
use crate::support::http::{Client, Request};
use crate::support::text;

/// A session, or a detection by its track.
pub type Entity = (String, Option<String>);

/// A page as it was read while the daemon worked.
#[derive(Clone)]
pub struct Page {
    pub answer: Answer,
    pub body: Value,
}

#[derive(Clone, Default)]
pub struct Follower {
    cursor: u64,
    epoch: String,
    /// Number and record of each entity, as they were last told.
    pub known: HashMap<Entity, (u64, Value)>,
}

impl Follower {
    pub fn cursor(&self) -> u64 {
        self.cursor
    }

    /// Its place in the feed alone.
    pub fn without_memory(&self) -> Self {
        Self { cursor: self.cursor, epoch: self.epoch.clone(), known: HashMap::new() }
    }

    /// Follows until the connection breaks or `is_over` says so. The pages are taken in later.
    pub fn follow(&self, address: SocketAddr, is_over: impl Fn() -> bool) -> Vec<Page> {
        let mut client = Client::connect(address);
        let mut reader = self.without_memory();
        let mut pages = Vec::new();
        while !is_over() {
            let Ok(response) = client.try_send(&Request::get(reader.target("&wait_sec=1"))) else { break };
            let response = response.is(200);
            let request = response.must("x-request-id").to_owned();
            let page = Page { answer: Answer { request, at: now(), ..Answer::default() }, body: response.json() };
            reader.take(&page.body);
            pages.push(page);
        }
        pages
    }

    fn target(&self, more: &str) -> String {
        let epoch = if self.epoch.is_empty() { String::new() } else { format!("&epoch={}", self.epoch) };
        format!("/changes?since={}&limit=1000{epoch}{more}", self.cursor)
    }

    /// Reads on to the end. Gives how many entries that were.
    pub fn catch_up(&mut self, client: &mut Client) -> usize {
        let mut read = 0;
        loop {
            let answer = client.send(&Request::get(self.target("")));
            assert_eq!(answer.status, 200, "a reader at {} of the feed is turned away: {}", self.cursor, answer.text());
            let count = self.take(&answer.json());
            read += count;
            if count == 0 {
                return read;
            }
        }
    }

    /// Takes a page in. Gives how many entries it had.
    pub fn take(&mut self, page: &Value) -> usize {
        let next = page["next"].as_u64().unwrap();
        let epoch = text(page, "epoch");
        assert!(self.epoch.is_empty() || self.epoch == epoch, "another epoch: {epoch} after {}", self.epoch);
        epoch.clone_into(&mut self.epoch);
        let changes = page["changes"].as_array().unwrap();
        let mut newest = self.cursor;
        for change in changes {
            let seq = change["seq"].as_u64().unwrap();
            assert!(newest < seq && seq <= next, "number {seq} after {newest}, with next {next}: {change}");
            newest = seq;
            let (entity, record) = match text(change, "type") {
                "session" => ((text(&change["session"], "session_id").to_owned(), None), &change["session"]),
                "detection" => {
                    let record = &change["detection"];
                    ((text(record, "session_id").to_owned(), Some(text(record, "track_id").to_owned())), record)
                }
                other => panic!("nothing is {other} here: {change}"),
            };
            if let Some((old, _)) = self.known.insert(entity, (seq, record.clone())) {
                assert!(old < seq, "{old} was its number before: {change}");
            }
        }
        self.cursor = next;
        changes.len()
    }

    /// Reads from `since` anew and holds it against what is known: the same entities at the same numbers, each once.
    pub fn agrees_with_feed_from(&self, since: u64, daemon: &Daemon) {
        let mut fresh = Self { cursor: since, epoch: self.epoch.clone(), known: HashMap::new() };
        let entries = fresh.catch_up(&mut daemon.client());
        assert_eq!(entries, fresh.known.len(), "an entity stands twice in the feed after {since}");
        assert_eq!(fresh.cursor, self.cursor, "the feed's end");
        for (entity, (seq, record)) in &fresh.known {
            let (known_seq, known) =
                self.known.get(entity).unwrap_or_else(|| panic!("a reader from before never sees {seq} {record}"));
            assert_eq!(known_seq, seq, "a reader from before knows {known}, and it is {record}");
            assert!(
                is_same(known, record),
                "number {seq} was given twice: a reader from before knows {known}, and it is {record}"
            );
        }
        for (entity, (seq, known)) in &self.known {
            assert!(*seq <= since || fresh.known.contains_key(entity), "only a reader from before knows {seq} {known}");
        }
    }
}

/// Whether a record is what a reader knows. A reader may have seen a touch that was held and then lost.
fn is_same(known: &Value, record: &Value) -> bool {
    if known == record {
        return true;
    }
    let time = |of: &Value, key: &str| of[key].as_str().unwrap_or_default().to_owned();
    let mut plain = known.clone();
    for key in ["first_ts", "last_ts", "updated_at"] {
        plain[key] = record[key].clone();
    }
    plain == *record && time(known, "first_ts") <= time(record, "first_ts") && time(known, "last_ts") >= time(record, "last_ts")
}
