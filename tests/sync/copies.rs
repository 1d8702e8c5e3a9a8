//! A gateway whose card is replaced by an older image of itself.

use std::time::Duration;

use crate::compare::{become_equal, until_health};
use crate::gateways::tables;
use crate::main_path::config;
use crate::postgres::Postgres;
use crate::support::agent::open;
use crate::support::copy;
use crate::support::daemon::Daemon;

/// An older image of the card was put back, and the box went on without a network. When that came back its feed had grown past the
/// number up to which all was central, in other rows: those between were never pushed.
#[test]
fn an_older_image_that_went_on_offline_is_noticed_and_all_its_rows_get_there() {
    let mut postgres = Postgres::start(&[]);
    let daemon = Daemon::with(&config(&postgres.url(), ""));
    open(&daemon, "before");
    let db = tables(&postgres);
    become_equal(&daemon, &db, Duration::from_secs(20));
    let home = daemon.stop();
    let (data, image) = (home.dir().join("data"), home.dir().join("image"));
    copy(&data, &image);
    let daemon = Daemon::on(home);
    for number in 0..20 {
        open(&daemon, &format!("lost {number}"));
    }
    become_equal(&daemon, &db, Duration::from_secs(20));
    let home = daemon.stop();
    std::fs::remove_dir_all(&data).expect("the card breaks");
    copy(&image, &data);
    drop(db);
    postgres.stop();
    let mut daemon = Daemon::on(home);
    for number in 0..30 {
        open(&daemon, &format!("new {number}"));
    }
    daemon.restart();
    for number in 30..40 {
        open(&daemon, &format!("new {number}"));
    }
    postgres.up();
    until_health(&daemon, "all to be central", |sync| sync["state"] == "up to date" && sync["lag_rows"] == 0);
    let db = postgres.db();
    assert_eq!(db.count("sessions WHERE session_id LIKE 'new %'"), 40);
    assert_eq!(db.count("sessions WHERE session_id LIKE 'lost %'"), 20, "what only the central database knows stays there");
}
