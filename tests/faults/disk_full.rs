//! A full disk: frames are refused, what clients send once lives on the reserve, and it goes on when there is room.

use std::time::Duration;

use serde_json::json;

use crate::support::agent::{END, START, close, counts, detections, ingest, jpeg, open, picture, session};
use crate::support::daemon::{Daemon, Home};
use crate::support::until;
use crate::support::volume::Volume;

const CONFIG: &str = "[database]\nreserve_mb = 2\n";

#[test]
fn a_full_disk_is_507_for_frames_and_nothing_for_opens_closes_and_hooks() {
    let dir = tempfile::tempdir().unwrap();
    let Some(volume) = Volume::mount(dir.path(), 32) else { return };
    for left in [0, 16 << 10, 256 << 10] {
        let name = format!("left-{left}");
        let home = Home::new(&format!(
            "{CONFIG}path = \"{0}/{name}/store.redb\"\n[frames]\nstorage_path = \"{0}/{name}/frames\"\n",
            dir.path().display()
        ));
        let mut daemon = Daemon::on(home);
        open(&daemon, "before");
        ingest(&daemon, "before", &[("1", "cup", 0.5)], START, Some(&jpeg(1))).is(200);
        let kept = detections(&daemon, "before");
        volume.fill_up_to(left);
        let refused = ingest(&daemon, "before", &[("1", "cup", 0.9)], START, Some(&jpeg(2)));
        assert_eq!(refused.status, 507, "{}", refused.text());
        assert!(refused.error().contains("full"), "{}", refused.error());
        for n in 0..40 {
            let id = format!("while full {n}");
            open(&daemon, &id);
            close(&daemon, &id, END);
            daemon.post("/hooks/mediamtx/publish", &json!({"path": "cam-local", "eventTs": START})).is(200);
        }
        assert_eq!(detections(&daemon, "before"), kept, "nothing of a refused frame is stored, and reads go on");
        assert_eq!(picture(&daemon, &kept[0]).is(200).body, jpeg(1));
        assert_eq!(daemon.get("/health").is(200).json()["status"], "degraded");
        daemon.restart();
        assert_eq!(session(&daemon, "while full 39")["status"], "closed", "what was acknowledged on the reserve is durable");
        volume.empty();
        until("frames are taken again", Duration::from_secs(20), || {
            let answer = ingest(&daemon, "before", &[("1", "cup", 0.9)], START, Some(&jpeg(2)));
            (answer.status == 200).then(|| assert_eq!(counts(answer), (1, 1, 0, 1, true)))
        });
        let home = daemon.stop();
        let verified = home.run(&["verify", "--deep"], b"");
        assert_eq!(verified.code, Some(0), "{}{}", verified.stdout, verified.stderr);
        std::fs::remove_dir_all(dir.path().join(name)).unwrap();
    }
}
