//! Somebody deletes or replaces the database under the running daemon.

use std::fs;

use crate::support::agent::{START, ingest, open, opening, session};
use crate::support::daemon::Daemon;

const DATABASE: &str = "data/session-store.redb";

/// What is written into a file without a name is gone with the process: it must not be acknowledged.
#[test]
fn what_would_go_into_a_file_without_a_name_is_not_acknowledged() {
    for (suffix, put_another) in [("", false), ("", true), (".journal", false)] {
        let daemon = Daemon::start();
        open(&daemon, "before");
        let path = daemon.dir().join(format!("{DATABASE}{suffix}"));
        let aside = daemon.dir().join("aside");
        fs::rename(&path, &aside).unwrap();
        if put_another {
            fs::write(&path, b"another file").unwrap();
        }
        let refused = daemon.post("/sessions/open", &opening("lost"));
        assert_eq!(refused.status, 500, "{}", refused.text());
        assert_eq!(ingest(&daemon, "before", &[("1", "cup", 0.5)], START, None).status, 500);
        assert_eq!(session(&daemon, "before")["status"], "open", "reads go on");
        if suffix.is_empty() {
            let health = daemon.get("/health").is(200).json();
            assert!(health["reasons"].to_string().contains("deleted or replaced"), "{health}");
        }
        let backup = daemon.dir().join("backup");
        let url = format!("http://{}", daemon.address);
        let ran = daemon.home().run(&["backup", "--from", &url, backup.to_str().unwrap()], b"");
        assert_eq!(ran.code, Some(0), "what is there can be saved: {}", ran.stderr);
        fs::rename(&aside, &path).unwrap();
        open(&daemon, "put back");
        let daemon = Daemon::on(daemon.stop());
        assert_eq!(session(&daemon, "put back")["status"], "open");
        daemon.get("/sessions/lost").is(404);
    }
}
