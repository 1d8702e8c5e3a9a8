//! An earlier service's Postgres is taken over. `SYNC_IMPORT_SESSIONS` says how many sessions it has (1500).

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::compare::{central, gateway};
use crate::postgres::Postgres;
use crate::support::agent::jpeg;
use crate::support::daemon::{Daemon, Home, command};

/// The tables as the earlier service left them.
pub fn earlier(sessions: usize) -> Postgres {
    let postgres = Postgres::start(&[]);
    let db = postgres.db();
    db.run("CREATE SCHEMA session_store");
    db.run(include_str!("../../src/sync/schema/contract.sql"));
    db.run(&format!(
        "INSERT INTO sessions SELECT 's' || n, 'dev' || n % 7, 'cam/' || n % 5, 'closed',
            '2025-10-11 12:00:00.123456+00'::timestamptz + n * interval '1 minute',
            '2025-10-11 12:03:00+00'::timestamptz + n * interval '1 minute', n % 9, 'relevance', NULL, NULL, NULL, n % 1000,
            ARRAY['person', 'a \"quoted\", one'], ARRAY['person'], now(), now() FROM generate_series(1, {sessions}) n"
    ));
    db.run(
        "INSERT INTO detections SELECT session_id, t::text, 'person', (0.1 + t * 0.0123456789012345)::numeric,
            jsonb_build_object('x', 0.1 * t, 'y', 3, 'w', 0.30, 'h', 1e2), NULL, start_ts, end_ts, start_ts, start_ts, now(), now(),
            CASE WHEN t = 1 THEN jsonb_build_object('color', jsonb_build_object('name', 'azul', 'confidence', 0.90)) END, t = 1
            FROM sessions, generate_series(1, 3) t",
    );
    postgres
}

#[test]
fn a_whole_catalogue_comes_over_though_killed_on_the_way_and_is_equal_row_by_row() {
    let sessions = std::env::var("SYNC_IMPORT_SESSIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(1500);
    let postgres = earlier(sessions);
    let home = Home::new("");
    let url = postgres.url();
    let args = ["import-postgres", "--config"];
    let mut kills = 0;
    let begun = Instant::now();
    // The larger it is, the further each comes.
    let further = (sessions as u64 / 5000).max(1);
    for wait in [300_u64, 500, 700].map(|wait| wait * further) {
        let mut command = command(home.dir());
        command.args(args).arg(home.config()).arg(&url).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().expect("starts");
        std::thread::sleep(Duration::from_millis(wait));
        kills += u32::from(child.try_wait().expect("waiting").is_none());
        drop(child.kill());
        drop(child.wait());
    }
    assert!(kills > 0, "it was killed on the way");
    // However long a large one takes.
    let run = |dir: &Path, more: &[&str]| {
        let ended = command(dir).args(args).arg(dir.join("config.toml")).arg(&url).args(more).output().expect("ends");
        let [out, err] = [ended.stdout, ended.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
        (ended.status.code(), out, err)
    };
    let (code, out, said) = run(home.dir(), &["--verify"]);
    assert_eq!(code, Some(0), "{said}{out}");
    assert!(said.contains(&format!("{sessions} sessions and {} detections compared, 0 differ", sessions * 3)), "{said}");
    println!("{sessions} sessions in {:?}", begun.elapsed());
    let (_, _, again) = run(home.dir(), &[]);
    assert!(again.contains("0 sessions and 0 detections stored"), "{again}");
    let daemon = Daemon::on(home);
    if sessions <= 5000 {
        assert_eq!(gateway(&daemon), central(&postgres.db()));
    }
    assert_eq!(daemon.get("/sessions?color=AZUL&limit=3").json()["sessions"].as_array().unwrap().len(), 3);
    let home = daemon.stop();
    postgres.db().run("UPDATE detections SET cls = 'dog' WHERE session_id = 's7' AND track_id = '2'");
    let (code, out, said) = run(home.dir(), &["--only-verify"]);
    assert_eq!((code, out.as_str()), (Some(1), "detection 2 of session s7 differs\n"), "{said}");
}

/// The same of three sessions, with frames below the folder that comes with it, and rows and frames that break rules; and what
/// is said of these.
pub fn earlier_with_faults() -> (Postgres, TempDir, [&'static str; 5]) {
    let postgres = earlier(3);
    let db = postgres.db();
    let old = tempfile::tempdir().expect("a temporary folder");
    let at = |name: &str| old.path().join(name);
    std::fs::create_dir_all(at("2025/s1")).unwrap();
    std::fs::create_dir_all(at("s2")).unwrap();
    std::fs::write(at("2025/s1/one.jpg"), jpeg(1)).unwrap();
    std::fs::write(at("s2/two.jpg"), jpeg(2)).unwrap();
    std::fs::write(at("s2/broken.jpg"), &jpeg(2)[..1000]).unwrap();
    for (session, track, url) in [
        ("s1", "1", "/frames/2025/s1/one.jpg"),
        ("s2", "1", "/frames/s2/two.jpg"),
        ("s2", "2", "/frames/s2/broken.jpg"),
        ("s3", "1", "/frames/../secret.jpg"),
    ] {
        db.run(&format!("UPDATE detections SET url_frame = '{url}' WHERE session_id = '{session}' AND track_id = '{track}'"));
    }
    db.run("INSERT INTO sessions (session_id, device_id, path, start_ts) VALUES ('a/b', 'd', 'p', now()), ('bc', 'd', 'p', '0044-03-15 BC')");
    db.run("UPDATE detections SET last_ts = 'infinity' WHERE session_id = 's3' AND track_id = '3'");
    let said =
        ["session a/b: ", "session bc: start_ts", "detection 3 of session s3: last_ts", "s2/broken.jpg", "secret.jpg leads out"];
    (postgres, old, said)
}

#[test]
fn frames_come_along_and_rows_that_break_a_rule_are_told_and_skipped() {
    let (postgres, old, said) = earlier_with_faults();
    let home = Home::new("");
    let ran = home.run(&["import-postgres", &postgres.url(), "--frames", &old.path().display().to_string()], b"");
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    for said in said {
        assert!(ran.stderr.contains(said), "{said} in {}", ran.stderr);
    }
    let daemon = Daemon::on(home);
    for (session, number) in [("s1", 1), ("s2", 2)] {
        let one = crate::support::agent::detection(&daemon, session, "1");
        assert_eq!(crate::support::agent::picture(&daemon, &one).is(200).body, jpeg(number));
    }
    assert!(crate::support::agent::detection(&daemon, "s2", "2")["url_frame"].is_null());
    assert_eq!(crate::support::agent::sessions(&daemon).len(), 3);
    let health = daemon.get("/health").json();
    assert_eq!(health["reasons"], serde_json::json!([]), "the folder is this store's");
}
