//! All that can happen to the way there and to what is there, while the gateway goes on; in the end both sides are equal.
//! `SYNC_CHAOS_ROUNDS` says how many rounds (6), `SYNC_CHAOS_SEED` which ones.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::compare::become_equal;
use crate::main_path::config;
use crate::postgres::{Db, Postgres};
use crate::proxy::Proxy;
use crate::support::agent::{jpeg, meta, opening, sighting};
use crate::support::daemon::{Daemon, Home};
use crate::support::http::{Client, Multipart, Request};
use crate::support::records::at;

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn connect(address: &Mutex<SocketAddr>) -> Option<Client> {
    Client::try_connect(*address.lock().unwrap_or_else(PoisonError::into_inner)).ok()
}

/// Posts frames until told to stop. Whether one was taken makes no difference: equality is asked of what the gateway has.
fn agent(address: Arc<Mutex<SocketAddr>>, stop: Arc<AtomicBool>, seed: u64) -> std::thread::JoinHandle<u64> {
    std::thread::spawn(move || {
        let mut random = Random(seed | 1);
        let mut posted = 0;
        let mut client = connect(&address);
        while !stop.load(Ordering::SeqCst) {
            let id = format!("s{}", random.below(40));
            let request = match random.below(12) {
                0 => Request::post("/sessions/open").json(&opening(&id)),
                1 => Request::post("/sessions/close").json(&serde_json::json!({"sessionId": id, "endTs": at(50, 0)})),
                _ => {
                    #[expect(clippy::cast_precision_loss)]
                    let conf = random.below(1 << 53) as f64 / (1_u64 << 53) as f64;
                    let track = random.below(8).to_string();
                    let second = usize::try_from(random.below(60)).expect("small");
                    let form =
                        Multipart::new().field("meta", meta(&id, &at(second, 3), &[sighting(&track, "cup", conf)]).to_string());
                    let form = if random.below(3) == 0 { form.frame(jpeg(1)) } else { form };
                    form.request()
                }
            };
            // Killed, and back under another address.
            match client.as_mut().map(|client| client.try_send(&request)) {
                Some(Ok(_)) => posted += 1,
                _ => client = connect(&address),
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        posted
    })
}

/// The enricher goes on as well, with a clock of its own.
fn enrich_some(db: &Db) {
    if db.try_rows("SELECT 1 FROM detections LIMIT 1").is_ok() {
        drop(db.try_rows(
            "UPDATE detections SET attributes = jsonb_build_object('color', jsonb_build_object('name', 'rojo ' || conf)), \
             enriched = TRUE, updated_at = '1999-01-01' WHERE (session_id, track_id) IN \
             (SELECT session_id, track_id FROM detections WHERE enriched = FALSE ORDER BY created_at LIMIT 20)",
        ));
    }
}

/// The server changes its mind about writing, for a while.
fn read_only(db: &Db, pause: Duration) {
    db.run("ALTER SYSTEM SET default_transaction_read_only = on");
    db.run("SELECT pg_reload_conf()");
    std::thread::sleep(pause);
    db.run("SET default_transaction_read_only = off");
    db.run("ALTER SYSTEM RESET default_transaction_read_only");
    db.run("SELECT pg_reload_conf()");
}

#[test]
fn after_any_outage_both_sides_are_equal() {
    let rounds = number("SYNC_CHAOS_ROUNDS", 6);
    let seed = number("SYNC_CHAOS_SEED", 0x5eed);
    let pause = Duration::from_millis(number("SYNC_CHAOS_PAUSE_MS", 1500));
    let mut random = Random(seed | 1);
    let mut postgres = Postgres::start(&[]);
    let proxy = Proxy::to(postgres.port);
    let home = Home::new("");
    let shared = crate::main_path::shared(&home);
    home.configure(&config(
        &Postgres::url_at(proxy.port),
        &format!("frames = \"shared\"\nshared_path = \"{}\"\nenrich_guard_sec = 1\non_delete = \"delete\"", shared.display()),
    ));
    let mut daemon = Daemon::on(home);
    let address = Arc::new(Mutex::new(daemon.address));
    let mut saved = false;
    for round in 0..rounds {
        let stop = Arc::new(AtomicBool::new(false));
        let posting = agent(Arc::clone(&address), Arc::clone(&stop), seed + round * 7919);
        let begun = Instant::now();
        let restart = |daemon: &mut Daemon| {
            daemon.restart();
            *address.lock().unwrap_or_else(PoisonError::into_inner) = daemon.address;
        };
        let what = if round < 9 { round } else { random.below(9) };
        match what {
            0 => {
                for _ in 0..5 {
                    proxy.cut_after(1 + random.below(20_000));
                    std::thread::sleep(pause / 5);
                }
            }
            1 => {
                postgres.kill9();
                std::thread::sleep(pause / 2);
                postgres.up();
            }
            2 => restart(&mut daemon),
            3 => {
                postgres.stop();
                std::thread::sleep(pause);
                if saved && random.below(2) == 0 {
                    postgres.put_back("saved");
                } else {
                    postgres.save("saved");
                    saved = true;
                }
                postgres.up();
            }
            4 => {
                let db = postgres.db();
                if db.try_rows("BEGIN; LOCK TABLE sessions, detections IN ACCESS EXCLUSIVE MODE").is_ok() {
                    std::thread::sleep(pause);
                    db.run("ROLLBACK");
                }
            }
            5 => {
                postgres.stop();
                postgres.save("saved");
                saved = true;
                postgres.up();
                std::thread::sleep(pause);
                postgres.stop();
                postgres.put_back("saved");
                postgres.up();
            }
            6 => read_only(&postgres.db(), pause),
            7 => {
                proxy.close();
                std::thread::sleep(pause);
                proxy.open();
            }
            _ => {
                proxy.cut_after(1 + random.below(5000));
                restart(&mut daemon);
                postgres.kill9();
                postgres.up();
            }
        }
        enrich_some(&postgres.db());
        std::thread::sleep(pause.saturating_sub(begun.elapsed()) + Duration::from_millis(200));
        stop.store(true, Ordering::SeqCst);
        let posted = posting.join().expect("the agent");
        println!("round {round}: {what}, {posted} requests");
        if round % 10 == 9 {
            become_equal(&daemon, &postgres.db(), Duration::from_secs(90));
        }
    }
    let db = postgres.db();
    become_equal(&daemon, &db, Duration::from_secs(120));
    assert!(db.count("detections") > 50, "something happened");
    assert!(rounds < 5 || db.count("detections WHERE attributes IS NOT NULL") > 10, "the enricher had something to do");
    assert_eq!(db.count("session_store.set_aside"), 0);
}
