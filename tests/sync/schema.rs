//! The gateways' own tables, while gateways of several versions use them.

use std::time::Duration;

use crate::compare::{become_equal, health, until_health};
use crate::gateways::tables;
use crate::main_path::config;
use crate::postgres::Postgres;
use crate::support::agent::open;
use crate::support::daemon::Daemon;

#[test]
fn a_schema_of_the_first_version_goes_on_where_it_was() {
    let postgres = Postgres::start(&[]);
    let db = postgres.db();
    db.run("CREATE SCHEMA session_store; CREATE TABLE session_store.migrations (version INTEGER PRIMARY KEY, at TIMESTAMPTZ NOT NULL DEFAULT now())");
    db.run(include_str!("../../src/sync/schema/contract.sql"));
    db.run(include_str!("../../src/sync/schema/001.sql"));
    db.run("INSERT INTO session_store.migrations (version) VALUES (1)");
    db.run("INSERT INTO session_store.gateways (gateway_id, store_uuid, epoch, place, frames) VALUES ('another', 'u', 'e', 7, 'none')");
    let daemon = Daemon::with(&config(&postgres.url(), "first_classes = [\"cup\"]"));
    open(&daemon, "s");
    become_equal(&daemon, &db, Duration::from_secs(20));
    assert_eq!(db.one("SELECT place FROM session_store.gateways WHERE gateway_id = 'another'"), "7");
}

/// A thousand gateways are not upgraded in one night. One that is not yet goes on, unless the newer schema says that it cannot.
#[test]
fn a_newer_schema_is_used_where_it_can_be_and_else_refused_in_words() {
    let postgres = Postgres::start(&[]);
    let daemon = Daemon::with(&config(&postgres.url(), ""));
    let db = tables(&postgres);
    open(&daemon, "s");
    become_equal(&daemon, &db, Duration::from_secs(20));
    let home = daemon.stop();
    db.run("INSERT INTO session_store.migrations (version, needs) VALUES (99, 2)");
    let daemon = Daemon::on(home);
    open(&daemon, "t");
    become_equal(&daemon, &db, Duration::from_secs(20));
    let home = daemon.stop();
    db.run("UPDATE session_store.migrations SET needs = 99 WHERE version = 99");
    let daemon = Daemon::on(home);
    until_health(&daemon, "a word about it", |sync| {
        sync["last_error"].as_str().is_some_and(|text| text.contains("newer session-store; upgrade this one"))
    });
    open(&daemon, "u");
    assert_ne!(health(&daemon)["state"], "up to date");
    assert_eq!(db.count("sessions WHERE session_id = 'u'"), 0);
}
