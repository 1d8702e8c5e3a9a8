//! `[server] api_token` and `read_token`: who needs one, what it opens, and the brake on guessing. How they are set is in
//! [`super::tokens_set`].

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::agent::{START, jpeg, meta, open, opening, session, sessions, sighting};
use crate::support::daemon::{Daemon, Home};
use crate::support::http::{Client, Multipart, Request, Response};
use crate::support::keys;

pub const TOKEN: &str = "an-api-token-of-some-length";
pub const READER: &str = "a-read-token-of-some-length";

/// A daemon on all interfaces with these settings of `[server]`, and sections behind them.
pub fn exposed(settings: &str) -> Daemon {
    Daemon::with(&format!("[server]\nhost = \"0.0.0.0\"\n{settings}"))
}

fn with_token() -> Daemon {
    exposed(&format!("api_token = \"{TOKEN}\"\n"))
}

/// An address of this machine that is not loopback, where it has one.
fn own_address() -> Option<IpAddr> {
    // Nothing is sent: this only asks which way it would go.
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|ip| !ip.is_loopback() && !ip.is_unspecified())
}

/// Sends from beyond loopback; on a machine without a network as what a proxy passes on.
#[track_caller]
pub fn beyond(daemon: &Daemon, request: Request) -> Response {
    match own_address() {
        Some(ip) => Client::connect(SocketAddr::new(ip, daemon.address.port())).send(&request),
        None => daemon.send(&request.header("Via", "1.1 nobody")),
    }
}

pub fn bearing(request: Request, token: &str) -> Request {
    request.header("Authorization", &format!("Bearer {token}"))
}

#[track_caller]
fn is_unauthorized(answer: &Response) {
    assert_eq!((answer.status, answer.json()), (401, json!({"error": "Unauthorized"})));
    assert_eq!(answer.must("www-authenticate"), "Bearer");
    assert_eq!(answer.must("cache-control"), "no-store");
}

#[test]
fn without_tokens_everybody_may_do_everything() {
    let daemon = exposed("token_exempt = \"none\"\n");
    beyond(&daemon, Request::post("/sessions/open").json(&opening("s"))).is(201);
    beyond(&daemon, bearing(Request::get("/sessions/s"), "whatever")).is(200);
    assert!(daemon.logs().iter().any(|line| line.contains("WARN") && line.contains("api_token")), "{:?}", daemon.logs());
}

#[test]
fn from_beyond_loopback_every_address_needs_the_token() {
    let daemon = with_token();
    open(&daemon, "s");
    for (method, target) in [
        ("GET", "/sessions"),
        ("HEAD", "/sessions/s"),
        ("POST", "/sessions/open"),
        ("POST", "/ingest"),
        ("POST", "/import"),
        ("PUT", "/import/frames/s/a.jpg"),
        ("PATCH", "/sessions/s/detections/1/attributes"),
        ("GET", "/changes"),
        ("GET", "/export"),
        ("GET", "/backup"),
        ("GET", "/verify"),
        ("GET", "/frames/s/a.jpg"),
        ("POST", "/hooks/mediamtx/publish"),
        ("POST", "/health"),
        ("GET", "/nothing"),
        ("DELETE", "/sessions/s"),
        ("TRACE", "/"),
    ] {
        let answer = beyond(&daemon, Request::new(method, target));
        if method == "HEAD" {
            assert_eq!((answer.status, answer.must("www-authenticate")), (401, "Bearer"));
        } else {
            is_unauthorized(&answer);
        }
    }
    let wrong = [TOKEN.to_uppercase(), TOKEN[1..].to_owned(), format!("{TOKEN}x"), format!("\"{TOKEN}\""), "x".to_owned()];
    for token in &wrong {
        is_unauthorized(&beyond(&daemon, bearing(Request::post("/sessions/open").json(&opening("t")), token)));
    }
    for header in [TOKEN.to_owned(), format!("Basic {TOKEN}"), "Bearer".to_owned(), format!("Bearer{TOKEN}")] {
        is_unauthorized(&beyond(&daemon, Request::get("/sessions").header("Authorization", &header)));
    }
    is_unauthorized(&beyond(&daemon, bearing(bearing(Request::get("/sessions"), TOKEN), TOKEN)));
    is_unauthorized(&beyond(&daemon, Request::get(format!("/sessions?api_token={TOKEN}&access_token={TOKEN}"))));
    assert_eq!(sessions(&daemon).len(), 1, "refused requests change nothing");

    beyond(&daemon, bearing(Request::post("/sessions/open").json(&opening("t")), TOKEN)).is(201);
    beyond(&daemon, Request::get("/sessions/t").header("authorization", &format!("bearer {TOKEN}"))).is(200);
    beyond(&daemon, bearing(Request::get("/nothing"), TOKEN)).is(404);
}

/// The agent, the hooks and the page of today send no token.
#[test]
fn peers_on_loopback_and_at_the_socket_need_none_unless_nobody_is_exempt() {
    let socket = tempfile::tempdir().unwrap();
    let socket = socket.path().join("http.sock");
    let config = |exempt: &str| {
        let place = socket.display();
        format!("[server]\nhost = \"::\"\nunix_socket = \"{place}\"\napi_token = \"{TOKEN}\"\n{exempt}")
    };
    let get = || Request::get("/sessions");
    let daemon = Daemon::on(Home::new(&config("")));
    daemon.send(&get()).is(200);
    let six = SocketAddr::new("::1".parse().unwrap(), daemon.address.port());
    Client::connect(six).send(&get()).is(200);
    assert_eq!(at_socket(&socket, &get()), 200);
    drop(daemon);

    let daemon = Daemon::on(Home::new(&config("token_exempt = \"none\"\n")));
    for (token, status) in [(None, 401), (Some(TOKEN), 200)] {
        let request = || token.map_or_else(get, |token| bearing(get(), token));
        daemon.send(&request()).is(status);
        Client::connect(SocketAddr::new("::1".parse().unwrap(), daemon.address.port())).send(&request()).is(status);
        assert_eq!(at_socket(&socket, &request()), status);
    }
}

/// The status of a request by the unix socket.
fn at_socket(socket: &Path, request: &Request) -> u16 {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(&request.clone().header("Connection", "close").bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("no status in {answer:?}"))
}

/// A proxy on the gateway itself is a peer on loopback: it must not open the API to whom it speaks for.
#[test]
fn what_a_proxy_passes_on_is_never_exempt() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("http.sock");
    let config = format!("[server]\nunix_socket = \"{}\"\napi_token = \"{TOKEN}\"\n", socket.display());
    let daemon = Daemon::with(&config);
    for (name, value) in [
        ("Forwarded", "for=198.51.100.7"),
        ("Via", "1.1 caddy"),
        ("X-Forwarded-For", "127.0.0.1"),
        ("x-forwarded-proto", "https"),
        ("X-FORWARDED-HOST", ""),
        ("X-Forwarded-Whatever", "1"),
        ("X-Real-IP", "127.0.0.1"),
    ] {
        let request = Request::get("/sessions").header(name, value);
        is_unauthorized(&daemon.send(&request));
        assert_eq!(at_socket(&socket, &request), 401, "{name}");
        daemon.send(&bearing(request, TOKEN)).is(200);
    }
}

#[test]
fn the_read_token_is_good_for_get_and_head_alone() {
    for (tokens, writes) in
        [(format!("api_token = \"{TOKEN}\"\nread_token = \"{READER}\"\n"), true), (format!("read_token = \"{READER}\"\n"), false)]
    {
        let daemon = exposed(&tokens);
        open(&daemon, "s");
        for request in
            [Request::get("/sessions/s"), Request::head("/sessions/s"), Request::get("/export"), Request::get("/health")]
        {
            beyond(&daemon, bearing(request.clone(), READER)).is(200);
        }
        is_unauthorized(&beyond(&daemon, Request::get("/sessions/s")));
        let posted = Request::post("/sessions/open").json(&opening("t"));
        let import = [Request::post("/import").body("{}"), Request::new("PUT", "/import/frames/s/a.jpg").body("x")];
        let others = [posted.clone(), Request::new("DELETE", "/sessions/s"), Request::post("/hooks/mediamtx/publish")];
        for request in others.into_iter().chain(import) {
            let answer = beyond(&daemon, bearing(request, READER)).is(403);
            assert!(answer.error().contains("read_token") && answer.error().contains("api_token"), "{}", answer.error());
        }
        assert_eq!(sessions(&daemon).len(), 1);
        let answer = beyond(&daemon, bearing(posted, TOKEN));
        assert_eq!(answer.status, if writes { 201 } else { 401 }, "with a read_token alone nobody beyond loopback writes");
    }
}

/// Of what is kept here a stranger learns nothing; that the gateway lives, a monitor may.
#[test]
fn who_brings_no_token_is_told_the_status_alone() {
    let daemon = with_token();
    for target in ["/health", "/health/"] {
        let answer = beyond(&daemon, Request::get(target)).is(200);
        assert_eq!(keys(&answer.json()), ["status", "timestamp", "service"]);
        assert_eq!((&answer.json()["status"], &answer.json()["service"]), (&json!("ok"), &json!("session-store")));
    }
    assert_eq!(beyond(&daemon, Request::head("/health")).status, 200);
    is_unauthorized(&beyond(&daemon, bearing(Request::get("/health"), "wrong")));
    is_unauthorized(&beyond(&daemon, Request::post("/health")));
    let whole = beyond(&daemon, bearing(Request::get("/health"), TOKEN)).is(200).json();
    assert!(whole["store_uuid"].is_string(), "{whole}");
    assert!(daemon.get("/health").is(200).json()["store_uuid"].is_string(), "on loopback as ever");
}

#[test]
fn a_hook_needs_its_own_token_alone() {
    let daemon = exposed(&format!("api_token = \"{TOKEN}\"\n[mediamtx]\nhook_token = \"hook-token-for-mediamtx\"\n"));
    open(&daemon, "s");
    let hook = || Request::post("/hooks/mediamtx/publish").json(&json!({"path": "cam-local", "eventTs": START}));
    beyond(&daemon, hook()).is(401);
    beyond(&daemon, bearing(hook(), TOKEN)).is(401);
    assert_eq!(session(&daemon, "s")["media_connect_ts"], Value::Null);
    beyond(&daemon, hook().header("X-Hook-Token", "hook-token-for-mediamtx")).is(200);
    assert!(session(&daemon, "s")["media_connect_ts"].is_string());
    let other = Request::get("/sessions").header("X-Hook-Token", "hook-token-for-mediamtx");
    is_unauthorized(&beyond(&daemon, bearing(other, "hook-token-for-mediamtx")));
    daemon.send(&hook()).is(401);

    let daemon = with_token();
    is_unauthorized(&beyond(&daemon, hook()));
    beyond(&daemon, bearing(hook(), TOKEN)).is(200);
    daemon.send(&hook()).is(200);
}

/// A page's preflight cannot carry a token, and a refusal that it may not read is "Failed to fetch".
#[test]
fn a_page_may_ask_to_send_the_token_and_read_a_refusal() {
    let page = "http://ui.example:3000";
    let daemon = exposed(&format!("api_token = \"{TOKEN}\"\ncors_origins = [\"{page}\"]\n"));
    let preflight = Request::new("OPTIONS", "/sessions/open").header("Origin", page);
    let asked = preflight.clone().header("Access-Control-Request-Method", "POST");
    for request in [preflight.clone(), asked.clone().header("Access-Control-Request-Headers", "authorization, content-type")] {
        let answer = beyond(&daemon, request).is(204);
        assert!(answer.items("access-control-allow-headers").contains(&"authorization".to_owned()), "{:?}", answer.headers);
        assert_eq!(answer.header("access-control-allow-origin"), Some(page));
    }
    let refused = beyond(&daemon, Request::get("/sessions").header("Origin", page));
    is_unauthorized(&refused);
    assert_eq!(refused.header("access-control-allow-origin"), Some(page));
    beyond(&daemon, bearing(Request::get("/sessions").header("Origin", page), TOKEN)).is(200);
}

#[test]
fn the_token_is_asked_for_before_the_body_is() {
    let daemon = with_token();
    let form =
        Multipart::new().field("meta", meta("s", START, &[sighting("1", "cup", 0.5)]).to_string()).frame(jpeg(1)).request();
    is_unauthorized(&daemon.send(&form.clone().header("Via", "1.1 p")));
    // None of it has come, and it may never come.
    let mut client = daemon.client();
    client.write(&Request::post("/ingest").header("Via", "1.1 p").header("Content-Length", "5000000").bytes()).unwrap();
    let begin = Instant::now();
    is_unauthorized(&client.read(false).unwrap());
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    // Who waits for a word gets the refusal, and no leave to send.
    let mut client = daemon.client();
    let expecting =
        Request::post("/ingest").header("Via", "1.1 p").header("Expect", "100-continue").header("Content-Length", "9");
    client.write(&expecting.bytes()).unwrap();
    assert!(client.interim().unwrap().contains("401"));
    // What is sent all the same is taken, up to a limit, so that the refusal is read; the connection goes on.
    let mut client = daemon.client();
    let large = Request::post("/ingest").header("Via", "1.1 p").body(vec![0; 6 << 20]);
    is_unauthorized(&client.try_send(&large).unwrap());
    open(&daemon, "s");
}

#[test]
fn guessing_is_braked_for_the_address_it_comes_from() {
    let daemon = with_token();
    let via =
        |client: &str, token: &str| daemon.send(&bearing(Request::get("/sessions").header("X-Forwarded-For", client), token));
    for guess in 0..10 {
        is_unauthorized(&via("198.51.100.7", &format!("guess-{guess}")));
    }
    for token in ["guess-10", TOKEN] {
        let answer = via("198.51.100.7", token).is(429);
        let seconds: u64 = answer.must("retry-after").parse().unwrap();
        assert!((1..=30).contains(&seconds), "{seconds}");
        assert!(answer.error().contains("wrong tokens"), "{}", answer.error());
    }
    is_unauthorized(&daemon.send(&Request::get("/sessions").header("X-Forwarded-For", "198.51.100.7")));
    // A proxy on this machine says for whom it speaks: its other clients go on, whatever was written before the last.
    via("198.51.100.8", TOKEN).is(200);
    via("198.51.100.7, 198.51.100.8", TOKEN).is(200);
    via("198.51.100.8, 198.51.100.7", TOKEN).is(429);
    daemon.get("/sessions").is(200);
    let warnings: Vec<_> = daemon.logs().into_iter().filter(|line| line.contains("wrong tokens")).collect();
    assert!(warnings.len() == 1 && warnings[0].contains("198.51.100.7"), "{warnings:?}");
    assert!(!daemon.logs().iter().any(|line| line.contains(TOKEN) || line.contains("guess-")), "{:?}", daemon.logs());
}

/// A guesser behind a proxy on another machine shares its address with all its clients, and would lock them out.
#[test]
fn where_a_right_token_came_from_it_is_let_through_under_the_brake() {
    let daemon = exposed(&format!("api_token = \"{TOKEN}\"\nread_token = \"{READER}\"\n"));
    let send = |token: &str| beyond(&daemon, bearing(Request::get("/sessions").header("X-Forwarded-For", "203.0.113.9"), token));
    send(READER).is(200);
    for guess in 0..10 {
        send(&format!("guess-{guess}")).is(401);
    }
    send("guess").is(429);
    send(READER).is(200);
    send(TOKEN).is(429).must("retry-after");
}

#[test]
fn who_is_exempt_is_not_braked() {
    let daemon = Daemon::with(&format!("[server]\napi_token = \"{TOKEN}\"\n[mediamtx]\nhook_token = \"right-hook-token\"\n"));
    let hook = |token: &str| {
        let body = json!({"path": "cam", "eventTs": START});
        daemon.send(&Request::post("/hooks/mediamtx/publish").json(&body).header("X-Hook-Token", token).header("Via", "1.1 p"))
    };
    for _ in 0..30 {
        daemon.send(&bearing(Request::get("/sessions"), "wrong")).is(200);
        hook("wrong").is(401);
    }
    hook("right-hook-token").is(200);
}
