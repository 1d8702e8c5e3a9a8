//! A real Postgres of the test's own: in a temporary folder, by an unprivileged user, on a loopback port.

#![allow(dead_code, reason = "the benchmark uses a part of it")]

use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use crate::support::until;

pub const USER: &str = "boss";
pub const PASSWORD: &str = "p@ss/w:rd#?&=% '\"\\ü";

/// The programs of Postgres: where Debian puts them, else by PATH.
fn program(name: &str) -> PathBuf {
    let mut versions: Vec<PathBuf> =
        std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect();
    versions.sort();
    let found = versions.into_iter().rev().map(|version| version.join("bin").join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| PathBuf::from(name))
}

/// User and group that may run Postgres, where this process is root, who may not.
fn servant() -> Option<(u32, u32)> {
    let number = |args: &[&str]| {
        let out = Command::new("id").args(args).output().ok()?;
        String::from_utf8(out.stdout).ok()?.trim().parse::<u32>().ok()
    };
    if number(&["-u"]) != Some(0) {
        return None;
    }
    ["postgres", "nobody"].iter().find_map(|user| Some((number(&["-u", user])?, number(&["-g", user])?)))
}

fn as_servant(program: &Path) -> Command {
    let Some((user, group)) = servant() else { return Command::new(program) };
    let mut command = Command::new("setpriv");
    command.arg(format!("--reuid={user}")).arg(format!("--regid={group}")).arg("--clear-groups").arg(program);
    command
}

fn give(path: &Path) {
    if let Some((user, group)) = servant() {
        chown(path, Some(user), Some(group)).expect("given to who runs Postgres");
    }
}

/// A server; killed when dropped.
pub struct Postgres {
    dir: TempDir,
    data: PathBuf,
    child: Option<Child>,
    pub port: u16,
    settings: Vec<String>,
}

impl Postgres {
    /// A new server with these settings (`name=value`).
    pub fn start(settings: &[&str]) -> Self {
        Self::start_on(None, settings)
    }

    /// The same with its data on a file system of their own, which may be small: their journal is in pieces of 1 MB.
    pub fn start_on(volume: Option<&Path>, settings: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        give(dir.path());
        volume.into_iter().for_each(give);
        let data = volume.unwrap_or(dir.path()).join("data");
        let secret = dir.path().join("secret");
        std::fs::write(&secret, PASSWORD).expect("written");
        give(&secret);
        let mut init = as_servant(&program("initdb"));
        init.arg("-D").arg(&data).args(["-U", USER, "-A", "scram-sha-256", "-E", "UTF8", "--no-locale", "-N"]);
        init.arg("--pwfile").arg(&secret);
        init.args(volume.map(|_| "--wal-segsize=1"));
        let done = init.current_dir(dir.path()).output().expect("initdb runs: is Debian's package postgresql installed?");
        assert!(done.status.success(), "initdb: {}", String::from_utf8_lossy(&done.stderr));
        let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|one| one.local_addr()).expect("a port").port();
        let settings = settings.iter().map(|one| (*one).to_owned()).collect();
        let mut new = Self { dir, data, child: None, port, settings };
        new.up();
        new
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn data(&self) -> &Path {
        &self.data
    }

    /// All that it has said.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir().join("log")).unwrap_or_default()
    }

    /// Adds a setting for the next start.
    pub fn set(&mut self, setting: &str) {
        self.settings.push(setting.to_owned());
    }

    /// Puts a file where the server can read it.
    pub fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.dir().join(name);
        std::fs::write(&path, content).expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("permissions");
        give(&path);
        path
    }

    /// Starts it, and waits until it answers.
    pub fn up(&mut self) {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let mut command = as_servant(&program("postgres"));
            command.arg("-D").arg(self.data()).arg("-k").arg(self.dir()).arg("-p").arg(self.port.to_string());
            command.args(["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "shared_buffers=64MB"]);
            command.args(["-c", "autovacuum_naptime=1h", "-c", "max_connections=120"]);
            for setting in &self.settings {
                command.arg("-c").arg(setting);
            }
            let log = std::fs::File::options().create(true).append(true).open(self.dir().join("log")).expect("a log");
            command.current_dir(self.dir()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
            let mut child = command.spawn().expect("postgres starts");
            loop {
                if self.try_connect().is_ok() {
                    self.child = Some(child);
                    return;
                }
                assert!(Instant::now() < end, "Postgres does not answer: {}", self.log());
                // Memory of the one before may still be in use.
                if child.try_wait().expect("waiting").is_some() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Waits until it answers again after a failure of its own; starts it where it has given up.
    pub fn up_again(&mut self) {
        let has_ended = until("Postgres to be back or gone", Duration::from_secs(60), || {
            let ended = self.child.as_mut().is_none_or(|child| child.try_wait().expect("waiting").is_some());
            (ended || self.try_connect().is_ok()).then_some(ended)
        });
        if has_ended {
            self.child = None;
            self.up();
        }
    }

    /// Ends it in order.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Fast shutdown: connections are cut.
            signal(child.id(), "INT");
            drop(child.wait());
        }
    }

    /// Ends it and all its processes without a word.
    pub fn kill9(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let children = children_of(child.id());
        drop(child.kill());
        drop(child.wait());
        for id in &children {
            signal(*id, "KILL");
        }
        until("the server's processes to end", Duration::from_secs(10), || {
            children.iter().all(|id| !Path::new(&format!("/proc/{id}/stat")).exists() || is_zombie(*id)).then_some(())
        });
    }

    /// Copies the data folder of the stopped server.
    pub fn save(&self, name: &str) {
        let to = self.dir().join(name);
        drop(std::fs::remove_dir_all(&to));
        let done = as_servant(Path::new("cp")).arg("-a").arg(self.data()).arg(&to).status().expect("cp runs");
        assert!(done.success(), "copied");
    }

    /// Puts such a copy back, as after a restore of last night's backup.
    pub fn put_back(&self, name: &str) {
        std::fs::remove_dir_all(self.data()).expect("removed");
        let done = as_servant(Path::new("cp")).arg("-a").arg(self.dir().join(name)).arg(self.data()).status().expect("cp runs");
        assert!(done.success(), "copied");
    }

    /// The address for the gateway; `port` of a proxy, perhaps.
    pub fn url_at(port: u16) -> String {
        format!("postgres://{USER}:{}@127.0.0.1:{port}/postgres?sslmode=disable", crate::support::agent::encode(PASSWORD))
    }

    pub fn url(&self) -> String {
        Self::url_at(self.port)
    }

    fn try_connect(&self) -> Result<Db, tokio_postgres::Error> {
        self.try_connect_as(USER, PASSWORD, "postgres")
    }

    fn try_connect_as(&self, user: &str, password: &str, database: &str) -> Result<Db, tokio_postgres::Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let mut config = tokio_postgres::Config::new();
        config.host("127.0.0.1").port(self.port).user(user).password(password).dbname(database);
        config.connect_timeout(Duration::from_secs(5));
        let client = runtime.block_on(async {
            let (client, connection) = config.connect(NoTls).await?;
            tokio::spawn(connection);
            Ok::<_, tokio_postgres::Error>(client)
        })?;
        Ok(Db { runtime, client })
    }

    /// A connection.
    #[track_caller]
    pub fn db(&self) -> Db {
        self.try_connect().expect("Postgres answers")
    }

    /// One as somebody else, or to another database.
    #[track_caller]
    pub fn db_as(&self, user: &str, password: &str, database: &str) -> Db {
        self.try_connect_as(user, password, database).expect("Postgres answers")
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.kill9();
    }
}

fn signal(id: u32, name: &str) {
    drop(Command::new("kill").arg(format!("-{name}")).arg(id.to_string()).stderr(Stdio::null()).status());
}

fn stat_of(id: u32) -> Option<(char, u32)> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

fn is_zombie(id: u32) -> bool {
    stat_of(id).is_none_or(|(state, _)| state == 'Z')
}

fn children_of(parent: u32) -> Vec<u32> {
    let all = std::fs::read_dir("/proc").expect("/proc");
    let ids = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    ids.filter(|id| stat_of(*id).is_some_and(|(_, of)| of == parent)).collect()
}

/// A connection for statements; values come as text.
pub struct Db {
    runtime: Runtime,
    client: Client,
}

impl Db {
    pub fn try_rows(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>, tokio_postgres::Error> {
        let messages = self.runtime.block_on(self.client.simple_query(sql))?;
        let mut rows = Vec::new();
        for message in messages {
            if let SimpleQueryMessage::Row(row) = message {
                rows.push((0..row.len()).map(|column| row.get(column).map(ToOwned::to_owned)).collect());
            }
        }
        Ok(rows)
    }

    #[track_caller]
    pub fn rows(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        self.try_rows(sql).unwrap_or_else(|error| panic!("{sql}: {error} {:?}", error.as_db_error()))
    }

    /// The only value.
    #[track_caller]
    pub fn one(&self, sql: &str) -> String {
        self.rows(sql).first().and_then(|row| row.first().cloned().flatten()).unwrap_or_default()
    }

    #[track_caller]
    pub fn run(&self, sql: &str) {
        drop(self.rows(sql));
    }

    pub fn count(&self, of: &str) -> u64 {
        self.one(&format!("SELECT count(*) FROM {of}")).parse().expect("a number")
    }
}

/// What the enricher does, with its own words: it takes what is not enriched and writes a colour.
pub fn enrich(db: &Db, limit: usize, color: &str) -> usize {
    enrich_after(db, limit, color, |_| ()).len()
}

/// The same; looks at each one's `url_frame` first. Says which tracks it were.
#[track_caller]
pub fn enrich_after(db: &Db, limit: usize, color: &str, mut look: impl FnMut(&str)) -> Vec<String> {
    let asked = "SELECT session_id, track_id, url_frame FROM detections WHERE enriched = FALSE ORDER BY created_at LIMIT";
    let found = db.rows(&format!("{asked} {limit}"));
    for row in &found {
        let [session, track, url] = [0, 1, 2].map(|at| row[at].clone().unwrap_or_default());
        look(&url);
        db.run(&format!(
            "UPDATE detections SET attributes = '{{\"color\":{{\"name\":\"{color}\",\"confidence\":0.90}}}}', enriched = TRUE, \
             updated_at = '2001-01-01' WHERE session_id = '{session}' AND track_id = '{track}'"
        ));
    }
    found.into_iter().map(|mut row| row[1].take().unwrap_or_default()).collect()
}
