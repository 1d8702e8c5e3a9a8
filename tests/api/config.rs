//! The configuration and the command line: `check-config`, the earlier service's file, `--help`.

use std::fs;
use std::net::TcpStream;

use serde_json::json;

use crate::support::agent::{START, open, session};
use crate::support::daemon::{Daemon, Home, Ran, command, run};
use crate::support::http::Request;

/// The file in the contract, word for word.
const EARLIER: &str = r#"[server]
port = 8080
node_env = "production"
[database]
url = "postgres://user:password@host:5432/session_store"   # now the optional sync target
[mediamtx]
playback_base_url = "http://mediamtx:9996"
segment_duration_sec = 300
# hook_token = "optional-token"
[playback]
extra_seconds = 1
start_offset_ms = 1000
[frames]
storage_path = "/data/frames"
[tracks]
storage_path = "/data/tracks"
"#;

/// `check-config` of exactly this text.
fn check(text: &str) -> Ran {
    let home = Home::new("");
    fs::write(home.config(), text).unwrap();
    home.run(&["check-config"], b"")
}

/// The earlier file with its port and folders where a test may use them.
fn earlier() -> Daemon {
    let home = Home::new("");
    let text = EARLIER.replace("port = 8080", "port = 0").replace("/data/", &format!("{}/", home.dir().display()))
        + "[log]\nformat = \"json\"\n";
    fs::write(home.config(), text).unwrap();
    Daemon::on(home)
}

#[test]
fn a_file_written_for_the_earlier_service_loads_unchanged() {
    let ran = check(EARLIER);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for kept in ["8080", "/data/frames", "/data/tracks", "http://mediamtx:9996", "300", "1000", "host:5432"] {
        assert!(ran.stdout.contains(kept), "{kept} in {}", ran.stdout);
    }
    assert!(!ran.stdout.contains("user:password"), "the password is masked: {}", ran.stdout);
    assert!(!ran.stderr.contains("user:password"));
}

#[test]
fn a_file_written_for_the_earlier_service_works_unchanged() {
    let daemon = earlier();
    open(&daemon, "s");
    let body = json!({"path": "cam-local", "eventTs": START});
    assert_eq!(daemon.post("/hooks/mediamtx/publish", &body).is(200).json()["status"], "ok");
    assert_eq!(session(&daemon, "s")["recommended_start_offset_ms"], 1000);
    assert_eq!(daemon.get("/health").is(200).json()["status"], "ok");
}

#[test]
fn node_env_without_host_answers_every_origin_and_warns_naming_both_keys() {
    let daemon = earlier();
    for target in ["/sessions", "/nothing"] {
        let request = Request::get(target).header("Host", "gateway:8080").header("Origin", "http://elsewhere.example");
        let answer = daemon.send(&request);
        let allowed = answer.must("access-control-allow-origin");
        assert!(["*", "http://elsewhere.example"].contains(&allowed), "{allowed}");
    }
    let warned = daemon.logs().into_iter().any(|line| line.contains("node_env") && line.contains("host"));
    assert!(warned, "{:?}", daemon.logs());
}

#[test]
fn node_env_without_host_listens_on_all_interfaces_and_with_host_it_does_not() {
    let other_loopback = |daemon: &Daemon| TcpStream::connect(("127.0.0.2", daemon.address.port())).is_ok();
    assert!(other_loopback(&earlier()));
    assert!(!other_loopback(&Daemon::start()), "loopback is 127.0.0.1 alone unless asked for");
    let both = Daemon::with("[server]\nhost = \"127.0.0.1\"\nnode_env = \"production\"\n");
    assert!(!other_loopback(&both));
    let request = Request::get("/health").header("Origin", "http://elsewhere.example");
    assert_eq!(both.send(&request).header("access-control-allow-origin"), None);
}

#[test]
fn check_config_prints_the_effective_configuration_with_secrets_masked() {
    let ran = check(
        "[server]\nport = 8123\n[database]\nurl = \"postgres://user:hunter2@db:5432/x\"\n[mediamtx]\nhook_token = \"hunter3\"\n",
    );
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for (what, shown) in [("8123", true), ("127.0.0.1", true), ("hook_token", true), ("hunter2", false), ("hunter3", false)] {
        assert_eq!(ran.stdout.contains(what), shown, "{what}: {}", ran.stdout);
        assert!(shown || !ran.stderr.contains(what), "{what}: {}", ran.stderr);
    }
}

#[test]
fn what_check_config_prints_is_a_configuration_again() {
    let first = check("[server]\nport = 8123\ncors_origins = [\"http://ui.example\"]\n[log]\nlevel = \"debug\"\n");
    assert_eq!(first.code, Some(0), "{first:?}");
    let second = check(&first.stdout);
    assert_eq!((second.code, second.stdout), (Some(0), first.stdout), "{}", second.stderr);
}

#[test]
fn check_config_lists_every_mistake_with_its_key_and_value_and_exits_1() {
    let ran = check(
        "[server]\nport = 70000\nhost = 5\nmax_connections = -3\n[database]\ncache_mb = \"lots\"\n[log]\nformat = \"yaml\"\nlevel = \"loud\"\n[mediamtx]\nsegment_duration_sec = 0\n",
    );
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let said = ran.stdout + &ran.stderr;
    for (key, value) in [
        ("port", "70000"),
        ("host", "5"),
        ("max_connections", "-3"),
        ("cache_mb", "lots"),
        ("format", "yaml"),
        ("level", "loud"),
        ("segment_duration_sec", "0"),
    ] {
        assert!(said.lines().any(|line| line.contains(key) && line.contains(value)), "{key} = {value} in {said}");
    }
}

#[test]
fn an_unknown_key_is_a_warning_that_suggests_the_nearest_known_one() {
    let ran = check("[server]\nprot = 8123\n[frames]\nstorage_pth = \"x\"\n[trakcs]\nstorage_path = \"x\"\n");
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let said = ran.stdout + &ran.stderr;
    for (wrong, right) in [("prot", "port"), ("storage_pth", "storage_path"), ("trakcs", "tracks")] {
        assert!(said.lines().any(|line| line.contains(wrong) && line.contains(right)), "{wrong}: {said}");
    }
}

#[test]
fn a_file_that_is_no_toml_or_not_there_is_an_error_that_names_it() {
    let ran = check("[server\nport = 1");
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let home = Home::new("");
    for subcommand in ["check-config", "serve", "export"] {
        let ran = run(command(home.dir()).args([subcommand, "--config", "missing.toml"]), b"");
        assert_eq!(ran.code, Some(1), "{subcommand}: {ran:?}");
        assert!(ran.stderr.contains("missing.toml"), "{subcommand}: {ran:?}");
        assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    }
}

#[test]
fn serve_refuses_a_wrong_configuration_before_it_touches_anything() {
    let home = Home::new("[server]\nport = 0\nmax_connections = \"many\"\n");
    let ran = home.run(&["serve"], b"");
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("max_connections") && ran.stderr.contains("many"), "{}", ran.stderr);
    assert!(!home.dir().join("data").exists());
}

#[test]
fn the_configuration_is_found_by_option_then_environment_then_in_the_working_directory() {
    let home = Home::new("");
    let file = |name: &str, port: u16| {
        fs::write(home.dir().join(name), format!("[server]\nport = {port}\n")).unwrap();
    };
    file("option.toml", 8101);
    file("environment.toml", 8102);
    file("config.toml", 8103);
    let check = |args: &[&str], environment: bool| {
        let mut command = command(home.dir());
        command.arg("check-config").args(args);
        if environment {
            command.env("SESSION_STORE_CONFIG", "environment.toml");
        }
        run(&mut command, b"").stdout
    };
    assert!(check(&["--config", "option.toml"], true).contains("8101"));
    assert!(check(&[], true).contains("8102"));
    assert!(check(&[], false).contains("8103"));
    fs::remove_file(home.config()).unwrap();
    assert!(check(&[], false).contains("8080"), "else the defaults");
}

#[test]
fn relative_paths_are_relative_to_the_working_directory() {
    let home = Home::new("[database]\npath = \"here/store.redb\"\n[frames]\nstorage_path = \"here/frames\"\n");
    let daemon = Daemon::on(home);
    open(&daemon, "s");
    assert!(daemon.dir().join("here/store.redb").exists());
}

#[test]
fn help_of_each_subcommand_exits_0_and_an_unknown_one_does_not() {
    let home = Home::new("");
    for subcommand in ["serve", "check-config", "import", "export", "health"] {
        let ran = run(command(home.dir()).args([subcommand, "--help"]), b"");
        assert_eq!(ran.code, Some(0), "{subcommand}");
        assert!(ran.stdout.contains(subcommand), "{subcommand}: {}", ran.stdout);
        let whole = run(command(home.dir()).arg("--help"), b"");
        assert!(whole.stdout.contains(subcommand), "{subcommand} in {}", whole.stdout);
    }
    let ran = run(command(home.dir()).arg("frobnicate"), b"");
    assert!(ran.code.is_some_and(|code| code != 0) && !ran.stderr.is_empty(), "{ran:?}");
}
