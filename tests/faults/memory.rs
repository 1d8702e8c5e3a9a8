//! Little memory: a control group's limit under full load.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::agent::{START, detections, jpeg_of, meta, open, sighting};
use crate::support::daemon::{Daemon, ndjson};
use crate::support::http::{Multipart, Request};

const LIMIT: u64 = 64 << 20;
const CLIENTS: usize = 24;

/// A control group, of whichever version is there; removed when dropped.
struct Group {
    folder: PathBuf,
    is_v2: bool,
}

impl Group {
    fn make() -> Result<Self, String> {
        let name = format!("session-store-test-{}", std::process::id());
        let is_v2 = !Path::new("/sys/fs/cgroup/memory").is_dir();
        let (root, file) =
            if is_v2 { ("/sys/fs/cgroup", "memory.max") } else { ("/sys/fs/cgroup/memory", "memory.limit_in_bytes") };
        let group = Self { folder: Path::new(root).join(name), is_v2 };
        fs::create_dir(&group.folder).map_err(|error| error.to_string())?;
        fs::write(group.folder.join(file), LIMIT.to_string()).map_err(|error| error.to_string())?;
        Ok(group)
    }

    fn add(&self, pid: u32) {
        fs::write(self.folder.join("cgroup.procs"), pid.to_string()).unwrap();
    }

    fn kills(&self) -> u64 {
        let events = if self.is_v2 { "memory.events" } else { "memory.oom_control" };
        let text = fs::read_to_string(self.folder.join(events)).unwrap();
        let line = text.lines().find(|line| line.starts_with("oom_kill ")).expect("a count of kills");
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.folder);
    }
}

/// Takes in pieces that are as large as may be, one after the other.
fn import_until(daemon: &Daemon, is_over: impl Fn() -> bool) {
    let mut connection = daemon.client();
    let attributes = "x".repeat(1600);
    for round in 0.. {
        if is_over() {
            return;
        }
        let mut lines =
            vec![json!({"session": {"session_id": format!("i{round}"), "device_id": "d", "path": "p", "start_ts": START}})];
        lines.extend((0..499).map(|track| {
            json!({"detection": {"session_id": format!("i{round}"), "track_id": track.to_string(), "cls": "cup", "conf": 0.5,
                "bbox": {"x": 0, "y": 0, "w": 1, "h": 1}, "first_ts": START, "last_ts": START, "capture_ts": START,
                "attributes": {"text": attributes}, "enriched": true}})
        }));
        let request = Request::post("/import").header("Content-Type", "application/x-ndjson").body(ndjson(&lines));
        let answer = connection.send(&request);
        assert!(matches!(answer.status, 200 | 429), "{}", answer.text());
    }
}

#[test]
fn it_works_within_64_mb_under_full_load() {
    let group = match Group::make() {
        Ok(group) => group,
        Err(reason) => return eprintln!("skipped: no control group can be made here: {reason}"),
    };
    let mut daemon = Daemon::start();
    group.add(daemon.id());
    let large = jpeg_of(3 << 20);
    // On a busy machine it takes longer to make it a load.
    let (end, at_last) = (Instant::now() + Duration::from_secs(5), Instant::now() + Duration::from_secs(40));
    let all = &AtomicU64::new(0);
    let is_over = move || Instant::now() > if all.load(Ordering::Relaxed) > 3 * CLIENTS as u64 { end } else { at_last };
    let taken: u64 = thread::scope(|scope| {
        scope.spawn(|| import_until(&daemon, is_over));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let (daemon, large) = (&daemon, &large);
                scope.spawn(move || {
                    let id = format!("s{client}");
                    open(daemon, &id);
                    let (mut connection, mut taken) = (daemon.client(), 0_u64);
                    while !is_over() {
                        let conf = 0.1 + f64::from(u32::try_from(taken).unwrap()) / 1e6;
                        let form = Multipart::new().field("meta", meta(&id, START, &[sighting("1", "cup", conf)]).to_string());
                        let answer = connection.send(&form.frame(large).request());
                        assert!(matches!(answer.status, 200 | 429), "{}", answer.text());
                        taken += u64::from(answer.status == 200);
                        all.fetch_add(u64::from(answer.status == 200), Ordering::Relaxed);
                    }
                    taken
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    });
    assert_eq!(group.kills(), 0);
    assert!(taken > CLIENTS as u64, "only {taken} frames: that was no load");
    assert_eq!(detections(&daemon, "s0").len(), 1);
    daemon.kill9();
}
