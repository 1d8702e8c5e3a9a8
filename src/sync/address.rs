//! Where the central database is, who we are there, and how much TLS it takes: a URL as libpq has it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use percent_encoding::percent_decode_str;
use tokio_postgres::Config;
use tokio_postgres::config::SslMode;

/// How much of TLS is asked for, in libpq's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// None: `disable`.
    Plain,
    /// TLS where the server has it, whoever it is: `allow`, `prefer`.
    Preferred,
    /// TLS, whoever the server is: `require`.
    Required,
    /// TLS, and a certificate that leads to the authority's: `verify-ca`.
    Authority,
    /// And one of this host: `verify-full`.
    Host,
}

/// A parsed address. Its password is never shown.
#[derive(Clone)]
pub struct Address {
    /// For the driver.
    pub config: Config,
    /// How much TLS.
    pub trust: Trust,
    /// Certificates of authorities, PEM.
    pub ca_file: Option<PathBuf>,
    /// Hosts and ports, for messages.
    pub shown: String,
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// Where passwords lie beside the URL.
#[derive(Debug, Clone, Default)]
pub struct Passwords {
    /// A systemd credential's content.
    pub credential: Option<String>,
    /// `PGPASSWORD`.
    pub environment: Option<String>,
    /// `.pgpass`'s content.
    pub file: Option<String>,
}

impl Passwords {
    /// Those of this process.
    pub fn of_process() -> Self {
        let read = |path: PathBuf| std::fs::read_to_string(path).ok();
        // By the name that the unit loads, or the one that it had before.
        let names = ["session-store.pg-password", "postgres-password"];
        let credential = std::env::var_os("CREDENTIALS_DIRECTORY")
            .and_then(|dir| names.iter().find_map(|name| read(Path::new(&dir).join(name))));
        let file = std::env::var_os("PGPASSFILE").map(PathBuf::from);
        let file = file.or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".pgpass")));
        Self {
            credential: credential.map(|text| text.trim_end_matches(['\r', '\n']).to_owned()),
            environment: std::env::var("PGPASSWORD").ok().filter(|text| !text.is_empty()),
            file: file.and_then(read),
        }
    }
}

const CONNECT_WITHIN: Duration = Duration::from_secs(10);

impl Address {
    /// Reads `url`. A password may hold any character: it ends at the last `@` of what can be the host's part. What is
    /// percent-encoded is decoded; a `%` that begins no escape stands for itself.
    ///
    /// # Errors
    /// A sentence that does not show the URL.
    pub fn parse(url: &str, ca_file: Option<&Path>, passwords: &Passwords) -> Result<Self, String> {
        let rest = url
            .strip_prefix("postgres://")
            .or_else(|| url.strip_prefix("postgresql://"))
            .ok_or("the address of the central Postgres must begin with postgres://")?;
        let (user_info, rest) = rest.rsplit_once('@').map_or((None, rest), |(user, rest)| (Some(user), rest));
        let (rest, parameters) = rest.split_once('?').unwrap_or((rest, ""));
        let (hosts, database) = rest.split_once('/').unwrap_or((rest, ""));
        let mut config = Config::new();
        config.application_name("session-store").connect_timeout(CONNECT_WITHIN);
        config.keepalives_idle(Duration::from_secs(30)).tcp_user_timeout(Duration::from_secs(30));
        let (user, mut password) = match user_info.map(|info| info.split_once(':').unwrap_or((info, ""))) {
            Some((user, password)) => (decoded(user), Some(decoded(password)).filter(|text| !text.is_empty())),
            None => (String::new(), None),
        };
        let mut user = user;
        let mut ports = Vec::new();
        let mut names = Vec::new();
        for host in hosts.split(',').filter(|host| !host.is_empty()) {
            let (name, port) = split_port(host)?;
            names.push(decoded(name.trim_start_matches('[').trim_end_matches(']')));
            ports.push(port.unwrap_or(5432));
        }
        let mut trust = Trust::Preferred;
        let mut ca_file = ca_file.map(Path::to_owned);
        let mut database = decoded(database);
        for (key, value) in form_urlencoded::parse(parameters.as_bytes()) {
            match key.as_ref() {
                "sslmode" => trust = mode(&value)?,
                "sslrootcert" => ca_file = ca_file.or_else(|| Some(PathBuf::from(value.as_ref()))),
                "user" => user = value.into_owned(),
                "password" => password = Some(value.into_owned()),
                "dbname" => database = value.into_owned(),
                "host" => names = value.split(',').map(ToOwned::to_owned).collect(),
                "port" => {
                    ports = value
                        .split(',')
                        .map(str::parse)
                        .collect::<Result<_, _>>()
                        .map_err(|_| "port must be a number".to_owned())?;
                }
                "options" => drop(config.options(value.as_ref())),
                "connect_timeout" => {
                    let seconds = value.parse().map_err(|_| "connect_timeout must be a number of seconds".to_owned())?;
                    config.connect_timeout(Duration::from_secs(seconds));
                }
                "application_name" => drop(config.application_name(value.as_ref())),
                "sslcert" | "sslkey" => return Err(format!("{key} is not supported: log in by a password")),
                _ => {}
            }
        }
        if names.is_empty() {
            names.push("localhost".to_owned());
        }
        if ports.is_empty() {
            ports.push(5432);
        }
        if user.is_empty() {
            return Err("the address of the central Postgres must name a user".to_owned());
        }
        if database.is_empty() {
            database.clone_from(&user);
        }
        for name in &names {
            config.host(name);
        }
        for port in &ports {
            config.port(*port);
        }
        let password = password
            .or_else(|| passwords.credential.clone())
            .or_else(|| passwords.environment.clone())
            .or_else(|| in_pgpass(passwords.file.as_deref()?, &names[0], ports[0], &database, &user));
        if let Some(password) = password {
            config.password(password);
        }
        config.user(&user).dbname(&database);
        if trust == Trust::Required && ca_file.is_some() {
            // As libpq: an authority that is named is looked at.
            trust = Trust::Authority;
        }
        if matches!(trust, Trust::Authority | Trust::Host) && ca_file.is_none() {
            return Err("sslmode=verify-ca and verify-full need [sync] ca_file, or sslrootcert in the address".to_owned());
        }
        config.ssl_mode(match trust {
            Trust::Plain => SslMode::Disable,
            Trust::Preferred => SslMode::Prefer,
            Trust::Required | Trust::Authority | Trust::Host => SslMode::Require,
        });
        let shown = format!("{}:{}", names.join(","), ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(","));
        Ok(Self { config, trust, ca_file, shown })
    }
}

fn mode(word: &str) -> Result<Trust, String> {
    Ok(match word {
        "disable" => Trust::Plain,
        "allow" | "prefer" => Trust::Preferred,
        "require" => Trust::Required,
        "verify-ca" => Trust::Authority,
        "verify-full" => Trust::Host,
        _ => return Err(format!("sslmode={word} must be disable, allow, prefer, require, verify-ca or verify-full")),
    })
}

fn split_port(host: &str) -> Result<(&str, Option<u16>), String> {
    if host.ends_with(']') {
        return Ok((host, None));
    }
    match host.rsplit_once(':') {
        None => Ok((host, None)),
        Some((name, "")) => Ok((name, None)),
        Some((name, port)) => Ok((name, Some(port.parse().map_err(|_| "the port must be a number".to_owned())?))),
    }
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8().map_or_else(|_| text.to_owned(), std::borrow::Cow::into_owned)
}

/// The password of the first line that fits.
fn in_pgpass(text: &str, host: &str, port: u16, database: &str, user: &str) -> Option<String> {
    let host = if host.starts_with('/') { "localhost" } else { host };
    let port = port.to_string();
    text.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let fields = pgpass_fields(line);
        let [h, p, d, u, password] = fields.as_slice() else { return None };
        let fits = [(h, host), (p, port.as_str()), (d, database), (u, user)];
        fits.iter().all(|(field, value)| *field == "*" || field == value).then(|| password.clone())
    })
}

/// Fields between colons; a backslash takes the next character as it is. What is behind the fourth colon is the password.
fn pgpass_fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut chars = line.chars();
    while let Some(letter) = chars.next() {
        let last = fields.len() - 1;
        match letter {
            '\\' => fields[last].extend(chars.next()),
            ':' if last < 4 => fields.push(String::new()),
            other => fields[last].push(other),
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Address, String> {
        Address::parse(url, None, &Passwords::default())
    }

    #[test]
    fn a_password_may_hold_any_character_as_it_is_or_encoded() {
        for (written, meant) in [
            ("p%40ss%2Fw%3Ard", "p@ss/w:rd"),
            ("p@ss/w:rd#?&=%", "p@ss/w:rd#?&=%"),
            ("%25%32%35", "%25"),
            ("ü ñ'\"\\", "ü ñ'\"\\"),
        ] {
            let address = parse(&format!("postgres://gate:{written}@db.example:6543/central?sslmode=disable")).expect("parses");
            assert_eq!(address.config.get_password(), Some(meant.as_bytes()), "{written}");
            assert_eq!(address.config.get_user(), Some("gate"));
            assert_eq!((address.shown.as_str(), address.config.get_dbname()), ("db.example:6543", Some("central")));
            assert!(!format!("{address:?}").contains(meant));
        }
    }

    #[test]
    fn sslmode_is_libpqs_and_verification_needs_an_authority() {
        assert_eq!(parse("postgres://u@h/d").expect("parses").trust, Trust::Preferred);
        assert!(parse("postgres://u@h/d?sslmode=verify-full").is_err());
        let address = parse("postgres://u@h/d?sslmode=require&sslrootcert=ca.pem").expect("parses");
        assert_eq!(address.trust, Trust::Authority);
        assert!(parse("postgres://u@h/d?sslmode=maybe").is_err());
        assert!(parse("host=h user=u").is_err());
    }

    #[test]
    fn passwords_beside_the_url_are_found_in_order() {
        let mut passwords = Passwords { file: Some("# none\nh:5432:*:u:a\\:b:c\n*:*:*:*:other".into()), ..Passwords::default() };
        let found = |passwords: &Passwords, url: &str| {
            let address = Address::parse(url, None, passwords).expect("parses");
            String::from_utf8(address.config.get_password().unwrap_or_default().to_vec()).expect("text")
        };
        assert_eq!(found(&passwords, "postgres://u@h/d"), "a:b:c");
        assert_eq!(found(&passwords, "postgres://v@h/d"), "other");
        passwords.environment = Some("env".into());
        assert_eq!(found(&passwords, "postgres://u@h/d"), "env");
        passwords.credential = Some("cred".into());
        assert_eq!(found(&passwords, "postgres://u@h/d"), "cred");
        assert_eq!(found(&passwords, "postgres://u:url@h/d"), "url");
    }
}
