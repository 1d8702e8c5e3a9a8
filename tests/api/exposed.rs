//! `docs/guide/exposing.md`: its nginx and its Caddy are run as they stand there, with a certificate of their own.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::agent::{START, ingest, jpeg, meta, open, opening, sighting};
use crate::support::daemon::{Daemon, Ran, run};
use crate::support::until;

const TOKEN: &str = "an-api-token-of-some-length";
const READER: &str = "a-read-token-of-some-length";
const GUIDE: &str = include_str!("../../docs/guide/exposing.md");

/// The blocks of `language` in the guide, each with the file that its first line names.
fn blocks(language: &str) -> Vec<(PathBuf, String)> {
    let fence = format!("\n```{language}\n");
    let parts = GUIDE.split(&fence).skip(1);
    let blocks = parts.map(|part| part.split("\n```").next().unwrap());
    blocks.map(|block| (PathBuf::from(block.lines().next().unwrap().trim_start_matches("# ")), block.to_owned())).collect()
}

/// A proxy in front of a daemon; ended when dropped.
struct Proxy {
    child: Child,
    daemon: Daemon,
    folder: PathBuf,
    port: u16,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // In order, so that its workers end too.
        drop(Command::new("kill").arg(self.child.id().to_string()).status());
        let end = Instant::now() + Duration::from_secs(5);
        while Instant::now() < end && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(5));
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Whether `program` is there; says so where it is not.
fn is_there(program: &str, asked: &str) -> bool {
    let found = Command::new(program).arg(asked).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !found {
        println!("skipped: {program} is not installed");
    }
    found
}

fn sh(folder: &Path, script: &str) -> String {
    let ran = run(Command::new("sh").args(["-euc", script]).current_dir(folder), b"");
    assert_eq!(ran.code, Some(0), "{script}: {ran:?}");
    ran.stdout.trim().to_owned()
}

impl Proxy {
    /// Runs what `language` is in the guide: `command` makes the program of the folder and the files' places in it.
    fn start(language: &str, edit: impl Fn(&str, &Path) -> String, command: impl Fn(&Path) -> Command) -> Self {
        let daemon = Daemon::with(&format!("[server]\napi_token = \"{TOKEN}\"\nread_token = \"{READER}\"\n"));
        let folder = daemon.dir().join("proxy");
        fs::create_dir_all(folder.join("srv/cameras")).unwrap();
        fs::write(folder.join("srv/cameras/index.html"), "the page").unwrap();
        sh(
            &folder,
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=gateway.example \
             -addext subjectAltName=DNS:gateway.example,DNS:cameras.example -keyout key.pem -out cert.pem 2>/dev/null",
        );
        // Taken again by the proxy at once.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        for (path, text) in blocks(language) {
            let text = text
                .replace("127.0.0.1:8080", &daemon.address.to_string())
                .replace("/etc/ssl/certs/gateway.pem", folder.join("cert.pem").to_str().unwrap())
                .replace("/etc/ssl/private/gateway.key", folder.join("key.pem").to_str().unwrap())
                .replace("/srv/cameras", folder.join("srv/cameras").to_str().unwrap())
                .replace("/etc/nginx/", &format!("{}/etc/nginx/", folder.display()))
                .replace("listen 443", &format!("listen 127.0.0.1:{port}"))
                .replace(".example {", &format!(".example:{port} {{"));
            let path = folder.join(path.strip_prefix("/").unwrap());
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, edit(&text, &folder)).unwrap();
        }
        let mut command = command(&folder);
        let log = fs::File::create(folder.join("log")).unwrap();
        command.current_dir(&folder).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let mut child = command.spawn().unwrap();
        until("the proxy's port", Duration::from_secs(10), || {
            let said = || fs::read_to_string(folder.join("log")).unwrap_or_default();
            assert!(matches!(child.try_wait(), Ok(None)), "it has ended: {}", said());
            std::net::TcpStream::connect(("127.0.0.1", port)).ok()
        });
        Self { child, daemon, folder, port }
    }

    fn curl(&self, host: &str, target: &str, args: &[&str]) -> Command {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "-m", "20", "--noproxy", "*", "--cacert"]).arg(self.folder.join("cert.pem"));
        curl.arg("--resolve").arg(format!("{host}:{}:127.0.0.1", self.port));
        curl.args(args).arg(format!("https://{host}:{}{target}", self.port));
        curl
    }

    /// Status, head and body of a request to `gateway.example` by this token.
    #[track_caller]
    fn ask(&self, token: &str, target: &str, args: &[&str]) -> (u16, Ran) {
        let header = format!("Authorization: Bearer {token}");
        let with_token: &[&str] = if token.is_empty() { &[] } else { &["-H", &header] };
        self.answered(self.curl("gateway.example", target, &[with_token, args].concat()))
    }

    /// The same to `cameras.example` by this name and password.
    #[track_caller]
    fn visit(&self, user: &str, target: &str, args: &[&str]) -> (u16, Ran) {
        let with_user: &[&str] = if user.is_empty() { &[] } else { &["-u", user] };
        self.answered(self.curl("cameras.example", target, &[with_user, args].concat()))
    }

    #[track_caller]
    fn answered(&self, mut curl: Command) -> (u16, Ran) {
        let ran = run(curl.args(["-w", "%{stderr}%{http_code} %header{www-authenticate} %header{retry-after}"]), b"");
        let status = ran.stderr.split(' ').next().and_then(|status| status.parse().ok());
        let log = || fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        (status.unwrap_or_else(|| panic!("{curl:?}: {ran:?}\n{}", log())), ran)
    }

    /// All that the guide promises of a proxy.
    fn keeps_the_guides_promises(&self) {
        // Tokens are asked for and passed on.
        open(&self.daemon, "here");
        let (status, ran) = self.ask("", "/sessions", &[]);
        assert!(status == 401 && ran.stdout == "{\"error\":\"Unauthorized\"}" && ran.stderr.contains("Bearer"), "{ran:?}");
        let post = ["-H", "Content-Type: application/json", "-d"];
        let body = opening("s").to_string();
        assert_eq!(self.ask("", "/sessions/open", &[&post[..], &[&body]].concat()).0, 401);
        assert_eq!(self.ask(READER, "/sessions/open", &[&post[..], &[&body]].concat()).0, 403);
        assert_eq!(self.ask(TOKEN, "/sessions/open", &[&post[..], &[&body]].concat()).0, 201);
        let (status, ran) = self.ask("", "/health", &[]);
        assert!(status == 200 && ran.stdout.contains("\"status\":\"ok\"") && !ran.stdout.contains("uuid"), "{ran:?}");

        // A request as large as they come: 5 MiB of frame, and meta beside it.
        let mut frame = jpeg(1);
        let padding = 5_242_880 - frame.len();
        frame.splice(frame.len() - 2..frame.len() - 2, std::iter::repeat_n(0, padding));
        fs::write(self.folder.join("frame.jpg"), &frame).unwrap();
        let mut meta = meta("s", START, &[sighting("1", "cup", 0.5)]);
        meta["padding"] = json!("x".repeat(4 << 20));
        fs::write(self.folder.join("meta.json"), meta.to_string()).unwrap();
        let at = |name: &str| self.folder.join(name).display().to_string();
        let (form, picture) = (format!("meta=<{}", at("meta.json")), format!("frame=@{}", at("frame.jpg")));
        let (status, ran) = self.ask(TOKEN, "/ingest", &["-F", &form, "-F", &picture]);
        assert!(status == 200 && ran.stdout.contains("\"frameSaved\":true"), "{status} {}", ran.stdout);

        self.serves_visitors(&frame);
        self.holds_nothing_back();

        // Each of its clients has a brake of its own; here there is one.
        for guess in 0..10 {
            assert_eq!(self.ask(&format!("guess-{guess}"), "/sessions", &[]).0, 401);
        }
        let (status, _) = self.ask("another-guess", "/sessions", &[]);
        assert_eq!(status, 429);
        assert_eq!(self.ask(TOKEN, "/sessions", &[]).0, 200, "a right token has come from there");
        self.daemon.get("/sessions").is(200);
    }

    /// By passwords, and reading only; whatever they send.
    fn serves_visitors(&self, frame: &[u8]) {
        let (status, ran) = self.visit("", "/sessions", &[]);
        assert!(status == 401 && ran.stderr.contains("Basic"), "{ran:?}");
        assert_eq!(self.visit("alice:wrong", "/sessions", &[]).0, 401);
        let alice = "alice:a password";
        assert_eq!(self.visit(alice, "/", &[]).1.stdout, "the page");
        let (status, ran) = self.visit(alice, "/ingest/detections/s", &[]);
        assert_eq!(status, 200);
        let detections: Value = serde_json::from_str(&ran.stdout).unwrap();
        let got = self.folder.join("got.jpg");
        let picture = detections["detections"][0]["url_frame"].as_str().unwrap();
        assert_eq!(self.visit(alice, picture, &["-o", got.to_str().unwrap()]).0, 200);
        assert!(fs::read(got).unwrap() == frame, "the picture");
        for (method, target) in [("POST", "/sessions/open"), ("DELETE", "/sessions/s"), ("PATCH", "/sessions/s")] {
            assert_eq!(self.visit(alice, target, &["-X", method]).0, 403, "{method}");
        }
        for closed in ["/export", "/backup", "/verify"] {
            assert_eq!(self.visit(alice, closed, &[]).0, 404, "{closed} is none of the page's");
        }
    }

    /// A long poll is answered when something happens, and a stream comes whole.
    fn holds_nothing_back(&self) {
        for number in 0..50 {
            open(&self.daemon, &format!("many-{number}"));
        }
        let (status, ran) = self.ask(TOKEN, "/export", &[]);
        assert_eq!((status, ran.stdout), (200, self.daemon.get("/export").is(200).text()));
        let next = self.daemon.get("/changes?since=0&limit=1000").is(200).json();
        let target = format!("/changes?since={}&wait_sec=15", next["next"]);
        let begin = Instant::now();
        std::thread::scope(|scope| {
            let poll = scope.spawn(|| self.ask(TOKEN, &target, &[]));
            std::thread::sleep(Duration::from_millis(300));
            ingest(&self.daemon, "here", &[("7", "cup", 0.7)], START, None).is(200);
            let (status, ran) = poll.join().unwrap();
            assert!(status == 200 && ran.stdout.contains("\"7\""), "{ran:?}");
        });
        assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    }
}

#[test]
fn the_guides_nginx_does_what_it_says() {
    if !is_there("nginx", "-v") || !is_there("curl", "-V") || !is_there("openssl", "version") {
        return;
    }
    let same = |text: &str, _: &Path| text.to_owned();
    let proxy = Proxy::start("nginx", same, |folder| {
        let conf = folder.join("etc/nginx");
        sh(folder, "printf 'alice:%s\\n' \"$(openssl passwd -6 'a password')\" >etc/nginx/cameras.htpasswd");
        let reader = format!("proxy_set_header Authorization \"Bearer {READER}\";\n");
        fs::write(conf.join("session-store-reader.conf"), reader).unwrap();
        let temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|kind| format!("{kind}_temp_path {kind};"));
        let whole = format!(
            "daemon off;\nworker_processes 1;\npid pid;\nerror_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n{}\ninclude {}/conf.d/*.conf;\n}}\n",
            temp.join("\n"),
            conf.display()
        );
        // Its workers would otherwise be somebody who may not look into this folder.
        let user = if is_root() { "user root root;\n" } else { "" };
        fs::write(conf.join("nginx.conf"), format!("{user}{whole}")).unwrap();
        let mut nginx = Command::new("nginx");
        nginx.arg("-p").arg(folder).arg("-e").arg("stderr").arg("-c").arg(conf.join("nginx.conf"));
        nginx
    });
    proxy.keeps_the_guides_promises();
}

fn is_root() -> bool {
    sh(Path::new("/"), "id -u") == "0"
}

#[test]
fn the_guides_caddy_does_what_it_says() {
    if !is_there("caddy", "version") || !is_there("curl", "-V") || !is_there("openssl", "version") {
        return;
    }
    let edit = |text: &str, folder: &Path| {
        let hash = sh(folder, "caddy hash-password --plaintext 'a password'");
        let global = "{\n\tadmin off\n\tauto_https disable_redirects\n\tdefault_bind 127.0.0.1\n}\n";
        format!("{global}{}", text.replace("$2a$14$…", &hash))
    };
    let proxy = Proxy::start("caddy", edit, |folder| {
        let mut caddy = Command::new("caddy");
        caddy.args(["run", "--adapter", "caddyfile", "--config"]).arg(folder.join("etc/caddy/Caddyfile"));
        for home in ["HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"] {
            caddy.env(home, folder);
        }
        caddy.env("READ_TOKEN", READER);
        caddy
    });
    proxy.keeps_the_guides_promises();
}
