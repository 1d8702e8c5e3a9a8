//! The clocks of gateway, database and enricher agree in nothing.

use std::time::Duration;

use crate::compare::become_equal;
use crate::gateways::tables;
use crate::main_path::{config, shared};
use crate::postgres::{Postgres, enrich};
use crate::support::agent::{detection, ingest, jpeg, open};
use crate::support::daemon::{Daemon, Home, faketime};
use crate::support::records::at;
use crate::support::until;

/// The enricher's clock says 2001 (`enrich`), the server's is right.
#[test]
fn colours_come_back_to_a_gateway_whose_clock_is_years_off_and_jumps() {
    let Some(library) = faketime() else { return };
    let postgres = Postgres::start(&[]);
    let home = Home::new("");
    let folder = shared(&home);
    let more = format!("frames = \"shared\"\nshared_path = \"{}\"\nenrich_guard_sec = 0", folder.display());
    home.configure(&config(&postgres.url(), &more));
    let time = home.dir().join("time");
    std::fs::write(&time, "+1000d").expect("written");
    let environment = [
        ("LD_PRELOAD", library.as_ref()),
        ("FAKETIME_TIMESTAMP_FILE", time.as_os_str()),
        ("FAKETIME_NO_CACHE", "1".as_ref()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".as_ref()),
    ];
    let daemon = Daemon::on_with(home, &environment);
    open(&daemon, "s");
    for (track, clock) in ["+1000d", "-1000d", "+0", "-1d", "+1d"].into_iter().enumerate() {
        std::fs::write(&time, clock).expect("written");
        let track = track.to_string();
        // A new one, and a better one of the first.
        let conf = 0.5 + 0.01 * f64::from(track.as_bytes()[0] - b'0');
        ingest(&daemon, "s", &[(&track, "cup", 0.5), ("0", "cup", conf)], &at(0, 1), Some(&jpeg(1))).is(200);
        let db = tables(&postgres);
        let name = format!("azul {track}");
        until("something to look at", Duration::from_secs(20), || (enrich(&db, 9, &name) > 0).then_some(()));
        for track in [&track, "0"] {
            until("its colour", Duration::from_secs(20), || {
                enrich(&db, 9, &name);
                (detection(&daemon, "s", track)["attributes"]["color"]["name"] == *name).then_some(())
            });
        }
        become_equal(&daemon, &db, Duration::from_secs(20));
    }
}
