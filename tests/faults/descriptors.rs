//! The process runs out of file descriptors, and gets some again.

use std::process::Command;
use std::time::Duration;

use crate::support::agent::{START, detection, ingest, jpeg, meta, open, picture, sighting};
use crate::support::daemon::Daemon;
use crate::support::http::Multipart;
use crate::support::until;

fn limit(daemon: &Daemon, descriptors: u32) {
    let limit = format!("--nofile={descriptors}:4096");
    let done = Command::new("prlimit").args([&limit, "--pid", &daemon.id().to_string()]).status();
    assert!(done.unwrap().success());
}

#[test]
fn without_descriptors_detections_are_kept_and_with_them_all_goes_on() {
    let daemon = Daemon::start();
    open(&daemon, "s");
    ingest(&daemon, "s", &[("1", "cup", 0.5)], START, Some(&jpeg(1))).is(200);
    let mut client = daemon.client();
    let send = |client: &mut crate::support::http::Client, conf: f64| {
        let form = Multipart::new().field("meta", meta("s", START, &[sighting("1", "cup", conf)]).to_string());
        client.send(&form.frame(jpeg(2)).request()).is(200).json()
    };
    assert_eq!(send(&mut client, 0.6)["frameSaved"], true);
    // Fewer than are open: nothing more can be opened.
    limit(&daemon, 5);
    let answer = send(&mut client, 0.7);
    assert_eq!((&answer["updated"], &answer["frameSaved"]), (&1.into(), &false.into()));
    limit(&daemon, 4096);
    until("pictures are stored again", Duration::from_secs(10), || {
        let conf = detection(&daemon, "s", "1")["conf"].as_f64().unwrap() + 0.00001;
        (send(&mut client, conf)["frameSaved"] == true).then_some(())
    });
    assert_eq!(picture(&daemon, &detection(&daemon, "s", "1")).is(200).body, jpeg(2));
}
