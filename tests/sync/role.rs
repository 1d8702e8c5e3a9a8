//! The role that `docs/guide/central.md` documents: its SQL is run as it stands there. It can do all that the sync does, and no more.

use std::time::Duration;

use serde_json::json;

use crate::centre::Centre;
use crate::compare::{become_equal, until_health};
use crate::gateways::sync;
use crate::main_path::{config, sharing};
use crate::postgres::{Db, PASSWORD, Postgres, USER, enrich};
use crate::support::agent::{END, START, close, detection, ingest, jpeg, open};
use crate::support::daemon::{Daemon, Home};
use crate::support::records::{at, session_line};
use crate::support::until;

const CONTRACT: &str = include_str!("../../src/sync/schema/contract.sql");
/// The password that takes the place of the document's `…`.
const SECRET: &str = "of the gateway";

/// The document's statements under "At the centre, once".
fn documented() -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/guide/central.md");
    let text = std::fs::read_to_string(path).expect("the document");
    let (_, section) = text.split_once("\n## At the centre, once\n").expect("the section");
    let (_, block) = section.split_once("```sql\n").expect("its statements");
    let (block, _) = block.split_once("```").expect("their end");
    assert!(block.contains('…'), "a password to fill in: {block}");
    block.replace('…', SECRET)
}

/// The database `central`, whose tables were made by the other services' user.
fn central(postgres: &Postgres) -> Db {
    let db = postgres.db();
    db.run("CREATE ROLE services LOGIN PASSWORD 'other'");
    db.run("CREATE DATABASE central OWNER services");
    let services = postgres.db_as("services", "other", "central");
    // Their trigger's function lies with their tables.
    services.run(&CONTRACT.replace("session_store.", ""));
    services.run("CREATE TABLE payroll (salary INTEGER); INSERT INTO payroll VALUES (1)");
    let db = postgres.db_as(USER, PASSWORD, "central");
    db.run(&documented());
    db
}

fn url(postgres: &Postgres) -> String {
    format!("postgres://gateway:{}@127.0.0.1:{}/central?sslmode=disable", SECRET.replace(' ', "%20"), postgres.port)
}

/// Whether `db`'s user may not run this.
#[track_caller]
fn is_refused(db: &Db, statement: &str) {
    let error = db.try_rows(statement).expect_err(statement);
    // 42501: insufficient privilege.
    assert_eq!(error.code().map(tokio_postgres::error::SqlState::code), Some("42501"), "{statement}: {error:?}");
}

#[test]
fn the_documented_role_can_do_all_that_the_sync_does() {
    let postgres = Postgres::start(&[]);
    let db = central(&postgres);
    let daemon = sharing(&url(&postgres), "enrich_guard_sec = 0\ngateway_id = \"one\"");
    open(&daemon, "s");
    ingest(&daemon, "s", &[("1", "cup", 0.5)], &at(0, 1), Some(&jpeg(1))).is(200);
    become_equal(&daemon, &db, Duration::from_secs(20));
    // The enricher is one of the other services.
    let services = postgres.db_as("services", "other", "central");
    assert_eq!(enrich(&services, 9, "azul"), 1);
    until("the colour", Duration::from_secs(10), || (detection(&daemon, "s", "1")["enriched"] == true).then_some(()));
    let before = db.one("SELECT url_frame FROM detections");
    ingest(&daemon, "s", &[("1", "cup", 0.9)], &at(0, 2), Some(&jpeg(2))).is(200);
    until("the better frame", Duration::from_secs(10), || (enrich(&services, 9, "gris") == 1).then_some(()));
    until("its colour", Duration::from_secs(10), || {
        (detection(&daemon, "s", "1")["attributes"]["color"]["name"] == "gris").then_some(())
    });
    assert_ne!(db.one("SELECT url_frame FROM detections"), before);
    let patch = crate::support::http::Request::new("PATCH", "/sessions/s/detections/1/attributes");
    daemon.send(&patch.json(&json!({"plate": "0000"}))).is(200);
    until("what was said here", Duration::from_secs(10), || {
        (db.count("detections WHERE attributes @> '{\"plate\":\"0000\",\"color\":{\"name\":\"gris\"}}'") == 1).then_some(())
    });
    become_equal(&daemon, &db, Duration::from_secs(10));

    services.run("ALTER TABLE detections ADD CONSTRAINT someone CHECK (cls <> 'dog')");
    ingest(&daemon, "s", &[("2", "dog", 0.5)], START, None).is(200);
    until_health(&daemon, "the refused row", |sync| sync["set_aside"] == 1);
    let ran = sync(&daemon, "status");
    assert!(ran.stdout.contains("session s, track 2"), "{}{}", ran.stdout, ran.stderr);
    services.run("ALTER TABLE detections DROP CONSTRAINT someone");
    assert_eq!(sync(&daemon, "retry").code, Some(0));
    until_health(&daemon, "all well", |sync| sync["set_aside"] == 0 && sync["lag_rows"] == 0);
    become_equal(&daemon, &db, Duration::from_secs(20));
    services.run("UPDATE sessions SET path = 'spoiled'");
    assert_eq!(sync(&daemon, "rebuild").code, Some(0));
    become_equal(&daemon, &db, Duration::from_secs(30));
    assert_eq!(sync(&daemon, "status").code, Some(0));

    let home = daemon.stop();
    home.configure(&config(&url(&postgres), "gateway_id = \"two\""));
    let daemon = Daemon::on(home);
    until_health(&daemon, "to be told", |sync| sync["foreign_sessions"] == 1);
    let address = format!("http://{}", daemon.address);
    let ran = daemon.home().run(&["sync", "--url", &address, "take-over", "one"], b"");
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    close(&daemon, "s", END);
    become_equal(&daemon, &db, Duration::from_secs(30));
}

#[test]
fn the_documented_role_carries_pictures_and_writes_them_out() {
    let postgres = Postgres::start(&[]);
    let db = central(&postgres);
    let daemon = Daemon::with(&config(&url(&postgres), "frames = \"table\"\nenrich_guard_sec = 0"));
    let centre = Centre::of(&url(&postgres));
    open(&daemon, "s");
    ingest(&daemon, "s", &[("1", "cup", 0.5)], &at(0, 1), Some(&jpeg(1))).is(200);
    until("it to be sent", Duration::from_secs(20), || {
        (db.try_rows("SELECT 1 FROM session_store.frames WHERE sent = length").ok()?.len() == 1).then_some(())
    });
    let ran = centre.receive();
    assert!(ran.stderr.contains("1 pictures written"), "{}", ran.stderr);
    assert_eq!(enrich(&postgres.db_as("services", "other", "central"), 9, "azul"), 1);
    until("the colour", Duration::from_secs(10), || (detection(&daemon, "s", "1")["enriched"] == true).then_some(()));
}

#[test]
fn the_documented_role_deletes_sessions_with_their_detections_where_that_is_asked_for() {
    let postgres = Postgres::start(&[]);
    let db = central(&postgres);
    let home = Home::new("");
    home.import(&[session_line("gone", START, END, &[], &json!({})), session_line("kept", START, END, &[], &json!({}))]);
    home.configure(&config(&url(&postgres), "on_delete = \"delete\""));
    let daemon = Daemon::on(home);
    ingest(&daemon, "gone", &[("1", "cup", 0.5)], START, None).is(200);
    become_equal(&daemon, &db, Duration::from_secs(20));
    assert_eq!(db.count("detections"), 1);
    let home = daemon.stop();
    home.import(&[json!({"session_deleted": {"session_id": "gone"}})]);
    let daemon = Daemon::on(home);
    become_equal(&daemon, &db, Duration::from_secs(20));
    assert_eq!((db.count("sessions"), db.count("detections")), (1, 0));
    // Without that right, all but the deleting goes on.
    db.run("REVOKE DELETE ON sessions FROM gateway");
    let home = daemon.stop();
    home.configure(&config(&url(&postgres), "on_delete = \"keep\""));
    home.import(&[json!({"session_deleted": {"session_id": "kept"}}), session_line("new", START, END, &[], &json!({}))]);
    let daemon = Daemon::on(home);
    until_health(&daemon, "all well", |sync| sync["state"] == "up to date" && sync["lag_rows"] == 0);
    assert_eq!(db.count("sessions WHERE session_id IN ('kept', 'new')"), 2);
}

#[test]
fn the_documented_role_can_do_no_more() {
    let postgres = Postgres::start(&[]);
    let db = central(&postgres);
    let daemon = Daemon::with(&config(&url(&postgres), ""));
    open(&daemon, "s");
    ingest(&daemon, "s", &[("1", "cup", 0.5)], START, None).is(200);
    become_equal(&daemon, &db, Duration::from_secs(20));
    let gateway = postgres.db_as("gateway", SECRET, "central");
    for statement in [
        "DROP TABLE sessions CASCADE",
        "DROP TABLE detections",
        "TRUNCATE detections",
        "TRUNCATE sessions CASCADE",
        "DELETE FROM detections",
        "ALTER TABLE sessions ADD COLUMN x TEXT",
        "ALTER TABLE detections DROP COLUMN attributes",
        "ALTER TABLE detections DISABLE TRIGGER ALL",
        "ALTER TABLE detections OWNER TO gateway",
        "CREATE INDEX x ON detections (conf)",
        "CREATE TRIGGER x BEFORE UPDATE ON detections FOR EACH ROW EXECUTE FUNCTION set_updated_at()",
        "CREATE TABLE session_store.x (id TEXT REFERENCES sessions)",
        "CREATE OR REPLACE FUNCTION public.set_updated_at() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "SELECT * FROM payroll",
        "INSERT INTO payroll VALUES (2)",
        "CREATE TABLE public.x ()",
        "CREATE SCHEMA x",
        "DROP SCHEMA public CASCADE",
        "CREATE ROLE x",
        "CREATE DATABASE x",
        "SELECT * FROM pg_authid",
        "COPY sessions TO '/tmp/sessions'",
        "COPY sessions TO PROGRAM 'cat'",
        "ALTER SYSTEM SET fsync = off",
        "SET ROLE services",
    ] {
        is_refused(&gateway, statement);
    }
    become_equal(&daemon, &db, Duration::from_secs(10));
}

#[test]
fn where_the_tables_are_missing_a_role_that_may_create_makes_them() {
    let postgres = Postgres::start(&[]);
    postgres.db().run("CREATE DATABASE central");
    let db = postgres.db_as(USER, PASSWORD, "central");
    let tables = |line: &&str| line.contains(" sessions") || line.contains(" detections");
    let rest: Vec<String> = documented().lines().filter(|line| !tables(line)).map(str::to_owned).collect();
    db.run(&rest.join("\n"));
    db.run("GRANT CREATE ON SCHEMA public TO gateway");
    let daemon = Daemon::with(&config(&url(&postgres), ""));
    open(&daemon, "s");
    until_health(&daemon, "all well", |sync| sync["state"] == "up to date" && sync["lag_rows"] == 0);
    db.run("REVOKE CREATE ON SCHEMA public FROM gateway");
    let mut daemon = daemon;
    daemon.restart();
    close(&daemon, "s", END);
    become_equal(&daemon, &db, Duration::from_secs(20));
}
