//! TLS with a private authority, and passwords.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::compare::{become_equal, until_health};
use crate::gateways::tables;
use crate::main_path::config;
use crate::postgres::{PASSWORD, Postgres, USER};
use crate::support::agent::{encode, open};
use crate::support::daemon::{Daemon, Home};

fn openssl(dir: &Path, args: &[&str]) {
    let done = Command::new("openssl").args(args).current_dir(dir).output().expect("openssl runs");
    assert!(done.status.success(), "openssl {args:?}: {}", String::from_utf8_lossy(&done.stderr));
}

/// An authority, and a certificate of it for `name`, all in `dir`.
fn authority(dir: &Path, ca: &str, name: &str) {
    let (key, cert) = (format!("{ca}.key"), format!("{ca}.pem"));
    let subject = format!("/CN={ca}");
    openssl(
        dir,
        &[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "30",
            "-subj",
            &subject,
            "-keyout",
            &key,
            "-out",
            &cert,
            "-addext",
            "basicConstraints=critical,CA:TRUE",
        ],
    );
    openssl(
        dir,
        &[
            "req",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-subj",
            "/CN=server",
            "-keyout",
            "server.key",
            "-out",
            "server.csr",
        ],
    );
    std::fs::write(dir.join("names"), format!("subjectAltName={name}\nbasicConstraints=CA:FALSE\n")).expect("written");
    openssl(
        dir,
        &[
            "x509",
            "-req",
            "-in",
            "server.csr",
            "-CA",
            &cert,
            "-CAkey",
            &key,
            "-CAcreateserial",
            "-days",
            "30",
            "-extfile",
            "names",
            "-out",
            "server.pem",
        ],
    );
}

#[test]
fn a_private_authority_is_believed_another_is_not_and_any_password_works() {
    let dir = tempfile::tempdir().expect("a folder");
    authority(dir.path(), "other", "IP:127.0.0.1");
    authority(dir.path(), "ca", "DNS:db.example");
    let read = |name: &str| std::fs::read(dir.path().join(name)).expect("made");
    let mut postgres = Postgres::start(&[]);
    postgres.stop();
    let (key, cert) = (postgres.file("server.key", &read("server.key")), postgres.file("server.pem", &read("server.pem")));
    postgres.set("ssl=on");
    postgres.set(&format!("ssl_key_file={}", key.display()));
    postgres.set(&format!("ssl_cert_file={}", cert.display()));
    let hba = postgres.data().join("pg_hba.conf");
    postgres.up();
    let port = postgres.port;
    let at = |mode: &str| format!("postgres://{USER}:{PASSWORD}@127.0.0.1:{port}/postgres?sslmode={mode}");
    let ca = |name: &str| format!("ca_file = \"{}\"", dir.path().join(name).display());
    // Only TLS from here on, but for the test's own connection.
    std::fs::write(&hba, format!("hostssl all {USER} 127.0.0.1/32 scram-sha-256\n")).expect("written");
    drop(postgres.db().try_rows("SELECT pg_reload_conf()"));
    for (url, more, is_fine) in [
        (at("verify-ca"), ca("ca.pem"), true),
        (at("verify-ca"), ca("other.pem"), false),
        (at("verify-full"), ca("ca.pem"), false),
        (at("require"), String::new(), true),
        (at("require"), ca("other.pem"), false),
        (at("prefer"), String::new(), true),
        (at("disable"), String::new(), false),
        (format!("postgres://{USER}:{}@127.0.0.1:{port}/postgres", encode("wrong")), String::new(), false),
    ] {
        let daemon = Daemon::with(&config(&url, &more));
        let sync = until_health(&daemon, "an end", |sync| sync["state"] == "up to date" || sync["state"] == "unreachable");
        assert_eq!(sync["state"] == "up to date", is_fine, "{more} {url}: {sync}");
        let said = daemon.logs().join("\n");
        assert!(!said.contains(PASSWORD) && !said.contains(&encode(PASSWORD)), "a secret was logged: {said}");
        assert!(!sync.to_string().contains(PASSWORD));
    }
}

#[test]
fn the_password_may_lie_beside_the_address() {
    let postgres = Postgres::start(&[]);
    let url = format!("postgres://{USER}@127.0.0.1:{}/postgres", postgres.port);
    let home = Home::new(&config(&url, ""));
    let daemon = Daemon::on_with(home, &[("PGPASSWORD", std::ffi::OsStr::new(PASSWORD))]);
    open(&daemon, "s");
    become_equal(&daemon, &tables(&postgres), Duration::from_secs(20));
    let home = daemon.stop();
    std::fs::write(home.dir().join("session-store.pg-password"), format!("{PASSWORD}\n")).expect("written");
    let dir = home.dir().to_owned();
    let daemon = Daemon::on_with(home, &[("CREDENTIALS_DIRECTORY", dir.as_os_str())]);
    open(&daemon, "t");
    become_equal(&daemon, &tables(&postgres), Duration::from_secs(20));
}
