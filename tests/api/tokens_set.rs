//! How `[server] api_token` and `read_token` are set: by the file, by credentials, by a reload; and who sends them.

use std::fs;
use std::time::Duration;

use super::tokens::{READER, TOKEN, bearing, beyond, exposed};
use crate::support::agent::opening;
use crate::support::daemon::{Daemon, Home, Ran, run};
use crate::support::http::Request;
use crate::support::until;

/// Changes the configuration and waits for the reload's last line.
#[track_caller]
fn reload(daemon: &Daemon) -> Vec<String> {
    let before = daemon.logs().len();
    daemon.signal("HUP");
    until("the reload's last line", Duration::from_secs(5), || {
        let said = daemon.logs().split_off(before);
        said.iter().any(|line| line.contains("was read again") || line.contains("has mistakes")).then_some(said)
    })
}

#[test]
fn tokens_and_exemption_change_with_a_reload_and_are_never_shown() {
    let daemon = exposed("");
    let get = |token: &str| beyond(&daemon, bearing(Request::get("/sessions"), token)).status;
    assert_eq!(get("nothing"), 200);
    daemon.home().configure(&format!("[server]\nhost = \"0.0.0.0\"\napi_token = \"{TOKEN}\"\nread_token = \"{READER}\"\n"));
    let said = reload(&daemon);
    for key in ["server.api_token", "server.read_token"] {
        assert!(said.iter().any(|line| line.contains(key) && line.contains("is now")), "{key} in {said:?}");
    }
    assert!(said.iter().any(|line| line.contains("TLS")), "plain HTTP is warned of: {said:?}");
    assert_eq!([get(TOKEN), get(READER), get("nothing")], [200, 200, 401]);
    daemon.get("/sessions").is(200);
    let changed = format!("[server]\nhost = \"0.0.0.0\"\napi_token = \"another-{TOKEN}\"\ntoken_exempt = \"none\"\n");
    daemon.home().configure(&changed);
    reload(&daemon);
    assert_eq!([get(TOKEN), get(READER), get(&format!("another-{TOKEN}"))], [401, 401, 200]);
    daemon.get("/sessions").is(401);
    daemon.home().configure("[server]\nhost = \"0.0.0.0\"\napi_token = \"\"\n");
    assert!(reload(&daemon).iter().any(|line| line.contains("has mistakes")));
    assert_eq!(get("nothing"), 401, "a mistake opens nothing");
    let logs = daemon.logs();
    assert!(!logs.iter().any(|line| line.contains(TOKEN) || line.contains(READER)), "{logs:?}");
}

#[test]
fn tokens_may_be_credentials_of_systemd_and_are_read_again() {
    let home = Home::new("[server]\nhost = \"0.0.0.0\"\n");
    let folder = home.dir().join("credentials");
    fs::create_dir(&folder).unwrap();
    let put = |name: &str, text: &str| fs::write(folder.join(format!("session-store.{name}")), text).unwrap();
    put("api-token", &format!("{TOKEN}\n"));
    let daemon = Daemon::on_with(home, &[("CREDENTIALS_DIRECTORY", folder.as_os_str())]);
    let get = |token: &str| beyond(&daemon, bearing(Request::get("/sessions"), token)).status;
    assert_eq!([get(TOKEN), get(READER)], [200, 401]);
    put("api-token", &format!("another-{TOKEN}"));
    put("read-token", READER);
    let said = reload(&daemon);
    assert!(said.iter().any(|line| line.contains("server.read_token is now")), "{said:?}");
    assert_eq!([get(TOKEN), get(READER), get(&format!("another-{TOKEN}"))], [401, 200, 200]);
    // What the file says comes first.
    daemon.home().configure(&format!("[server]\nhost = \"0.0.0.0\"\napi_token = \"{TOKEN}\"\n"));
    reload(&daemon);
    assert_eq!([get(TOKEN), get(&format!("another-{TOKEN}"))], [200, 401]);
    // An empty one opens nothing.
    daemon.home().configure("[server]\nhost = \"0.0.0.0\"\n");
    put("api-token", "\n");
    let said = reload(&daemon);
    assert!(said.iter().any(|line| line.contains("session-store.api-token")), "{said:?}");
    assert_eq!([get(TOKEN), get("")], [200, 401]);
    assert!(!daemon.logs().iter().any(|line| line.contains(TOKEN)), "{:?}", daemon.logs());
}

#[test]
fn tokens_that_guard_nothing_are_mistakes_and_short_ones_are_warned_of() {
    let check = |text: &str| Home::new(&format!("[server]\n{text}\n")).run(&["check-config"], b"");
    for wrong in [
        "api_token = \"\"",
        "read_token = \"\"",
        "api_token = \"two words of it\"",
        "api_token = \"señal-de-la-casa\"",
        "api_token = 1234567890123456789",
        "api_token = \"same-same-same-same\"\nread_token = \"same-same-same-same\"",
        "token_exempt = \"some\"",
    ] {
        let ran = check(wrong);
        assert_eq!(ran.code, Some(1), "{wrong}: {ran:?}");
        let name = wrong.split(' ').next().unwrap();
        assert!(ran.stderr.contains(&format!("server.{name}")), "{wrong}: {ran:?}");
        for secret in ["two words", "casa", "12345", "same-same"] {
            assert!(!ran.stderr.contains(secret), "{ran:?}");
        }
    }
    let ran = check("api_token = \"fifteen-letters\"");
    assert!(ran.code == Some(0) && ran.stderr.contains("server.api_token has only 15"), "{ran:?}");
    assert!(ran.stdout.contains("api_token = \"***\"") && !ran.stdout.contains("fifteen"), "{ran:?}");
    let ran = check("api_token = \"sixteen-letters!\"");
    assert!(ran.code == Some(0) && !ran.stderr.contains("api_token"), "{ran:?}");
}

#[test]
fn commands_send_the_token_of_their_configuration_where_nobody_is_exempt() {
    let tokens = format!("api_token = \"{TOKEN}\"\nread_token = \"{READER}\"\ntoken_exempt = \"none\"\n");
    let daemon = Daemon::with(&format!("[server]\n{tokens}"));
    daemon.send(&bearing(Request::post("/sessions/open").json(&opening("s")), TOKEN)).is(201);
    let url = format!("http://{}", daemon.address);
    let ask = |settings: &str, args: &[&str]| -> Ran {
        let home = daemon.home();
        // The same frames folder, and no socket or port of the daemon's own.
        let other = Home::new(&format!("[server]\n{settings}\n[frames]\nstorage_path = \"{}\"\n", home.frames_dir().display()));
        let mut command = crate::support::daemon::command(other.dir());
        command.arg(args[0]).arg("--config").arg(other.config()).args(&args[1..]);
        run(command.envs([("MTX_PATH", "cam-local")]), b"")
    };
    let backup = daemon.dir().join("backup");
    let asking: [&[&str]; 4] = [
        &["health", "--url", &url],
        &["export", "--from", &url],
        &["verify", "--from", &url],
        &["backup", "--from", &url, backup.to_str().unwrap()],
    ];
    for settings in [&tokens, &format!("api_token = \"{TOKEN}\"\n"), &format!("read_token = \"{READER}\"\n")] {
        for args in asking {
            let ran = ask(settings, args);
            assert_eq!(ran.code, Some(0), "{settings} {args:?}: {ran:?}");
        }
    }
    assert!(ask(&tokens, asking[0]).stdout.contains("store_uuid"));
    for settings in ["", "api_token = \"another-one-than-the-daemons\""] {
        for args in &asking[1..] {
            let ran = ask(settings, args);
            assert_ne!(ran.code, Some(0), "{settings} {args:?}: {ran:?}");
            assert!(ran.stderr.contains("401") && ran.stderr.contains("[server] api_token"), "{args:?}: {ran:?}");
        }
    }
    let stranger = ask("", asking[0]);
    assert!(stranger.code == Some(0) && !stranger.stdout.contains("store_uuid"), "{stranger:?}");
    let port = daemon.address.port();
    let told = ask(&format!("port = {port}\n{tokens}"), &["hook", "publish"]);
    assert_eq!((told.code, told.stderr.as_str()), (Some(0), ""));
    let record = daemon.send(&bearing(Request::get("/sessions/s"), READER)).is(200).json();
    assert!(record["media_connect_ts"].is_string(), "{record}");
    let refused = ask(&format!("port = {port}\n"), &["hook", "publish"]);
    assert!(refused.stderr.contains("401") && refused.stderr.contains("api_token"), "{refused:?}");
}

#[test]
fn the_start_warns_of_what_lies_open() {
    for (settings, open, plain) in [
        ("host = \"0.0.0.0\"\n".to_owned(), true, false),
        (format!("host = \"0.0.0.0\"\napi_token = \"{TOKEN}\"\n"), false, true),
        (format!("host = \"0.0.0.0\"\nread_token = \"{READER}\"\n"), false, true),
        (format!("api_token = \"{TOKEN}\"\n"), false, false),
        (String::new(), false, false),
    ] {
        let daemon = Daemon::with(&format!("[server]\n{settings}"));
        let said = |words: &[&str]| daemon.logs().iter().any(|line| words.iter().all(|word| line.contains(word)));
        assert_eq!(said(&["beyond loopback", "without a password", "api_token", "exposing.md"]), open, "{settings}");
        assert_eq!(said(&["beyond loopback", "TLS", "exposing.md"]), plain, "{settings}");
    }
}
