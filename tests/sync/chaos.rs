//! All that can happen to the way there and to what is there, while the gateway goes on; in the end both sides are equal, and what
//! the enricher wrote is there.
//! `SYNC_CHAOS_ROUNDS` says how many rounds (each kind once), `SYNC_CHAOS_SEED` which ones, `SYNC_CHAOS_PAUSE_MS` how long an
//! outage lasts, `SYNC_CHAOS_STOP_MS` how long Postgres is stopped (as long).

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::centre::Centre;
use crate::compare::{become_equal, health};
use crate::enricher::Enricher;
use crate::main_path::config;
use crate::postgres::Postgres;
use crate::proxy::Proxy;
use crate::support::agent::{jpeg, meta, opening, sighting};
use crate::support::daemon::{Daemon, Home};
use crate::support::http::{Client, Multipart, Request};
use crate::support::records::at;
use crate::support::until;
use crate::support::volume::Volume;

/// The path of sessions that retention deletes.
const FLEETING: &str = "fleeting";

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

/// So many minutes ago: what is older than two hours is looked at by retention once a day.
fn ago(minutes: i64) -> String {
    (chrono::Utc::now() - chrono::TimeDelta::minutes(minutes)).to_rfc3339()
}

/// Posts frames of 40 sessions until told to stop. With each round some are new: a best confidence is soon hard to beat. Whether one was taken makes no difference: equality is asked of what the gateway has.
fn agent(address: Arc<Mutex<SocketAddr>>, stop: Arc<AtomicBool>, seed: u64, since: u64) -> std::thread::JoinHandle<u64> {
    std::thread::spawn(move || {
        let mut random = Random(seed | 1);
        let (mut posted, mut fleeting) = (0, 0);
        let mut client = connect(&address);
        while !stop.load(Ordering::SeqCst) {
            let id = format!("s{}", since + random.below(40));
            let request = match random.below(12) {
                // Opened and closed once; retention deletes it soon, before or after it was central.
                0 if random.below(4) == 0 => {
                    fleeting += 1;
                    let id = format!("{FLEETING} {since} {fleeting}");
                    let opening = serde_json::json!({"sessionId": id, "devId": "cam-2", "path": FLEETING, "startTs": ago(100)});
                    let body = meta(&id, &ago(95), &[sighting("1", "cup", 0.5)]).to_string();
                    let requests =
                        [Request::post("/sessions/open").json(&opening), Multipart::new().field("meta", body).request()];
                    for request in requests {
                        drop(client.as_mut().map(|client| client.try_send(&request)));
                    }
                    Request::post("/sessions/close").json(&serde_json::json!({"sessionId": id, "endTs": ago(90)}))
                }
                0 => Request::post("/sessions/open").json(&opening(&id)),
                1 => Request::post("/sessions/close").json(&serde_json::json!({"sessionId": id, "endTs": at(50, 0)})),
                _ => {
                    #[expect(clippy::cast_precision_loss)]
                    let conf = random.below(1 << 53) as f64 / (1_u64 << 53) as f64;
                    let track = random.below(8).to_string();
                    let cls = if random.below(2) == 0 { "cup" } else { "dog" };
                    let second = usize::try_from(random.below(60)).expect("small");
                    let form =
                        Multipart::new().field("meta", meta(&id, &at(second, 3), &[sighting(&track, cls, conf)]).to_string());
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

/// What happens in a round.
#[derive(Debug, Clone, Copy)]
enum Kind {
    ConnectionsCut,
    PostgresKilled,
    DaemonKilled,
    /// For as long as `SYNC_CHAOS_STOP_MS`; perhaps it comes back with older data.
    Stopped,
    TablesLocked,
    OlderData,
    ReadOnly,
    NetworkGone,
    AllKilled,
    /// No room for a table's next page.
    NoRoomForRows,
    /// None for the next piece of the journal: Postgres panics, and cannot recover until there is room.
    NoRoomForJournal,
}

const KINDS: [Kind; 11] = [
    Kind::ConnectionsCut,
    Kind::PostgresKilled,
    Kind::DaemonKilled,
    Kind::Stopped,
    Kind::TablesLocked,
    Kind::OlderData,
    Kind::ReadOnly,
    Kind::NetworkGone,
    Kind::AllKilled,
    Kind::NoRoomForRows,
    Kind::NoRoomForJournal,
];
/// Those of `KINDS` that need no file system of their own.
const ANYWHERE: usize = 9;

const SAVED: &str = "saved";
/// A lock that is held so long is one that the gateway gave up waiting for.
const LONG_LOCK: Duration = Duration::from_secs(18);

struct Chaos<'v> {
    random: Random,
    pause: Duration,
    stopped: Duration,
    /// Where Postgres' data lie.
    volume: Option<&'v Volume<'v>>,
    postgres: Postgres,
    proxy: Proxy,
    daemon: Daemon,
    /// The daemon's, for the agent.
    address: Arc<Mutex<SocketAddr>>,
    enricher: Enricher,
    /// Where pictures come through the database.
    centre: Option<Centre>,
    has_saved: bool,
}

impl Chaos<'_> {
    fn restart(&mut self) {
        self.daemon.restart();
        *self.address.lock().unwrap_or_else(PoisonError::into_inner) = self.daemon.address;
    }

    fn is_connected(&self) -> bool {
        let state = health(&self.daemon)["state"].clone();
        state == "catching up" || state == "up to date"
    }

    /// An outage is one only to a gateway that is connected; one that waits long after many outages would sleep through it. So it is
    /// killed, and tries at once.
    fn connect(&mut self) {
        let end = Instant::now() + self.pause;
        while !self.is_connected() {
            if Instant::now() > end {
                self.restart();
                until("a connection", Duration::from_secs(60), || self.is_connected().then_some(()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn save(&mut self) {
        self.postgres.save(SAVED);
        self.enricher.data_saved();
        self.has_saved = true;
    }

    fn put_back(&mut self) {
        self.postgres.put_back(SAVED);
        self.postgres.up();
        self.enricher.data_put_back(&self.postgres.db());
    }

    fn happens(&mut self, kind: Kind) {
        match kind {
            Kind::ConnectionsCut => {
                for _ in 0..5 {
                    self.proxy.cut_after(1 + self.random.below(20_000));
                    std::thread::sleep(self.pause / 5);
                }
            }
            Kind::PostgresKilled => {
                self.postgres.kill9();
                std::thread::sleep(self.pause / 2);
                self.postgres.up();
            }
            Kind::DaemonKilled => self.restart(),
            Kind::Stopped => {
                self.postgres.stop();
                std::thread::sleep(self.stopped);
                if self.has_saved && self.random.below(2) == 0 {
                    self.put_back();
                } else {
                    self.save();
                    self.postgres.up();
                }
            }
            Kind::TablesLocked => {
                let db = self.postgres.db();
                if db.try_rows("BEGIN; LOCK TABLE sessions, detections IN ACCESS EXCLUSIVE MODE").is_ok() {
                    std::thread::sleep(self.stopped.min(LONG_LOCK));
                    db.run("ROLLBACK");
                }
            }
            Kind::OlderData => {
                self.postgres.stop();
                self.save();
                self.postgres.up();
                self.enricher.work(&self.postgres.db());
                std::thread::sleep(self.pause);
                self.enricher.work(&self.postgres.db());
                self.postgres.stop();
                self.put_back();
            }
            Kind::ReadOnly => self.read_only(),
            Kind::NetworkGone => {
                self.proxy.close();
                std::thread::sleep(self.pause);
                self.proxy.open();
            }
            Kind::AllKilled => {
                if let Some(centre) = &mut self.centre {
                    centre.kill9();
                    centre.start();
                }
                self.proxy.cut_after(1 + self.random.below(5000));
                self.restart();
                self.postgres.kill9();
                self.postgres.up();
            }
            Kind::NoRoomForRows => {
                self.no_room("INSERT INTO of_the_test SELECT repeat('x', 1500) FROM generate_series(1, 5000)");
            }
            Kind::NoRoomForJournal => {
                self.no_room("SELECT pg_logical_emit_message(TRUE, 'x', repeat('x', 1000000)) FROM generate_series(1, 20)");
            }
        }
    }

    /// The server changes its mind about writing, for a while.
    fn read_only(&mut self) {
        let db = self.postgres.db();
        db.run("ALTER SYSTEM SET default_transaction_read_only = on");
        db.run("SELECT pg_reload_conf()");
        std::thread::sleep(self.pause);
        db.run("SET default_transaction_read_only = off");
        db.run("ALTER SYSTEM RESET default_transaction_read_only");
        db.run("SELECT pg_reload_conf()");
    }

    /// The server's disk is full, for a while; `writing` must find that out.
    fn no_room(&mut self, writing: &str) {
        let volume = self.volume.expect("a kind that needs one");
        let db = self.postgres.db();
        db.run("CREATE TABLE IF NOT EXISTS of_the_test (x TEXT)");
        let full = |log: &str| log.matches("No space left on device").count();
        let before = full(&self.postgres.log());
        volume.fill_up_to(0);
        let error = db.try_rows(writing).expect_err("there is no room");
        // A page that is there already may still be written, so the enricher may succeed.
        self.enricher.work(&db);
        std::thread::sleep(self.pause);
        let refused = full(&self.postgres.log()) - before;
        println!("  {} ({refused} times full); the gateway: {}", plain(&error), health(&self.daemon)["last_error"]);
        assert!(refused > 0, "{error}: {}", self.postgres.log());
        volume.empty();
        self.postgres.up_again();
    }
}

fn plain(error: &tokio_postgres::Error) -> String {
    error.as_db_error().map_or_else(|| error.to_string(), ToString::to_string)
}

#[test]
fn after_any_outage_both_sides_are_equal() {
    let home = Home::new("");
    let shared = crate::main_path::shared(&home);
    let how = format!("frames = \"shared\"\nshared_path = \"{}\"", shared.display());
    chaos(home, &how, |_| (shared, None));
}

#[test]
fn after_any_outage_both_sides_are_equal_where_pictures_come_through_the_database_and_some_rows_first() {
    chaos(Home::new(""), "frames = \"table\"\nfirst_classes = [\"dog\"]", |postgres| {
        let mut centre = Centre::of(&postgres.url());
        centre.start();
        (centre.folder(), Some(centre))
    });
}

/// A gateway that syncs as `how` says; `centre` says where the enricher finds its pictures.
fn chaos(home: Home, how: &str, centre: impl FnOnce(&Postgres) -> (PathBuf, Option<Centre>)) {
    let disk = tempfile::tempdir().unwrap();
    let volume = Volume::mount(disk.path(), 192);
    if volume.is_none() {
        eprintln!("the rounds with a full disk are left out");
    }
    let kinds = &KINDS[..if volume.is_some() { KINDS.len() } else { ANYWHERE }];
    let rounds = number("SYNC_CHAOS_ROUNDS", kinds.len() as u64);
    let seed = number("SYNC_CHAOS_SEED", 0x5eed);
    let pause = number("SYNC_CHAOS_PAUSE_MS", 1500);
    println!("{rounds} rounds, seed {seed}");
    let postgres = Postgres::start_on(volume.as_ref().map(|_| disk.path()), &["min_wal_size=2MB", "max_wal_size=4MB"]);
    let proxy = Proxy::to(postgres.port);
    let syncing = config(&Postgres::url_at(proxy.port), &format!("{how}\nenrich_guard_sec = 1\non_delete = \"delete\""));
    let (pictures, centre) = centre(&postgres);
    home.configure(&format!(
        "{syncing}[retention]\ninterval_sec = 2\n[[retention.rule]]\npaths = [\"{FLEETING}\"]\nkeep = \"1h\"\n"
    ));
    let daemon = Daemon::on(home);
    let mut chaos = Chaos {
        random: Random(seed | 1),
        pause: Duration::from_millis(pause),
        stopped: Duration::from_millis(number("SYNC_CHAOS_STOP_MS", pause)),
        volume: volume.as_ref(),
        postgres,
        proxy,
        address: Arc::new(Mutex::new(daemon.address)),
        daemon,
        enricher: Enricher::new(pictures, FLEETING),
        centre,
        has_saved: false,
    };
    let begun = Instant::now();
    for round in 0..rounds {
        chaos.connect();
        let stop = Arc::new(AtomicBool::new(false));
        let posting = agent(Arc::clone(&chaos.address), Arc::clone(&stop), seed + round * 7919, round * 10);
        let round_begun = Instant::now();
        let kind = match kinds.get(usize::try_from(round).expect("few")) {
            Some(kind) => *kind,
            None => kinds[usize::try_from(chaos.random.below(kinds.len() as u64)).expect("few")],
        };
        chaos.enricher.work(&chaos.postgres.db());
        chaos.happens(kind);
        let db = chaos.postgres.db();
        chaos.enricher.work(&db);
        std::thread::sleep(chaos.pause.saturating_sub(round_begun.elapsed()) + Duration::from_millis(200));
        stop.store(true, Ordering::SeqCst);
        let posted = posting.join().expect("the agent");
        let fleeting = db.count(&format!("sessions WHERE path = '{FLEETING}'"));
        println!("round {round}, {} s: {kind:?}, {posted} requests, {fleeting} to be deleted", begun.elapsed().as_secs());
        chaos.enricher.all_is_there(&db);
        if round % 10 == 9 {
            become_equal(&chaos.daemon, &db, Duration::from_secs(90));
            assert_eq!(db.count("session_store.set_aside"), 0, "no outage is a row's fault");
        }
    }
    let db = chaos.postgres.db();
    become_equal(&chaos.daemon, &db, Duration::from_secs(120));
    chaos.enricher.all_is_there(&db);
    let ended = format!("sessions WHERE path = '{FLEETING}' AND end_ts IS NOT NULL");
    until("all that is deleted here to be deleted there", Duration::from_secs(30), || (db.count(&ended) == 0).then_some(()));
    let (rows, words) = (db.count("detections"), chaos.enricher.known());
    println!("{rounds} rounds in {} s: {rows} detections are equal, {words} have words", begun.elapsed().as_secs());
    assert!(rows > 50, "something happened");
    assert!(rounds < 5 || words > 10, "the enricher had something to do");
    assert_eq!(db.count("session_store.set_aside"), 0);
}
