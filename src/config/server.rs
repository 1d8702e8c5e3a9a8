//! `[server]`: the port, and limits against slow and hostile clients.

use std::path::PathBuf;

use toml::Value;

use super::Reader;

/// The port and its limits.
#[derive(Debug, Clone)]
pub struct Server {
    /// Address or name to listen on.
    pub host: String,
    /// TCP port; 0 lets the system choose.
    pub port: u16,
    /// The unix socket to listen at too.
    pub unix_socket: Option<PathBuf>,
    /// Connections open at once.
    pub max_connections: usize,
    /// Bytes of request bodies held in memory at once.
    pub body_memory_bytes: usize,
    /// Origins of web pages that may read, beside those on the same host.
    pub cors_origins: CorsOrigins,
    /// The token that opens everything.
    pub api_token: Option<String>,
    /// The token that opens what changes nothing.
    pub read_token: Option<String>,
    /// Who needs no token.
    pub token_exempt: Exempt,
}

/// Who needs no token, where there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exempt {
    /// Peers on loopback and at the unix socket, where no proxy speaks for another.
    Loopback,
    /// Nobody.
    Nobody,
}

/// Which web pages may read answers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CorsOrigins(Vec<String>);

impl CorsOrigins {
    /// Whether every page may.
    pub fn allows_all(&self) -> bool {
        self.0.iter().any(|origin| origin == "*")
    }

    /// Whether `origin` is listed.
    pub fn lists(&self, origin: &str) -> bool {
        self.0.iter().any(|listed| listed.trim_end_matches('/').eq_ignore_ascii_case(origin))
    }
}

const SECTION: &str = "server";
/// A shorter token may be guessed.
const LONG_ENOUGH: usize = 16;

impl Server {
    pub(super) fn read(reader: &mut Reader) -> Self {
        let from_earlier_service = reader.gives(SECTION, "node_env") && !reader.gives(SECTION, "host");
        let gives_origins = reader.gives(SECTION, "cors_origins");
        let mut host = reader.text(SECTION, "host", "127.0.0.1");
        let port = reader.integer(SECTION, "port", 8080, 0..=65_535);
        let unix_socket = reader.optional_text(SECTION, "unix_socket");
        let max_connections = reader.integer(SECTION, "max_connections", 1024, 8..=65_536);
        let body_memory_mb = reader.integer(SECTION, "body_memory_mb", 16, 1..=4096);
        let mut origins = reader.texts(SECTION, "cors_origins", "a list of origins such as \"http://host:3000\", or \"*\"");
        let [api_token, read_token] = tokens(reader);
        let words = [("loopback", Exempt::Loopback), ("none", Exempt::Nobody)];
        let token_exempt = reader.word(SECTION, "token_exempt", &words, 0);
        reader.optional_text(SECTION, "node_env");
        if from_earlier_service {
            "0.0.0.0".clone_into(&mut host);
            reader.overrule(SECTION, "host", Value::from(host.as_str()));
            if !gives_origins {
                origins = vec!["*".to_owned()];
                reader.overrule(SECTION, "cors_origins", Value::from(origins.clone()));
            }
            reader.warn(
                "server.node_env without server.host marks a file of the earlier service: as that did, this one listens on all \
                 interfaces and answers web pages of every origin; set server.host, and remove server.node_env, to choose"
                    .to_owned(),
            );
        }
        Self {
            host,
            port: u16::try_from(port).unwrap_or_default(),
            unix_socket: unix_socket.map(PathBuf::from),
            max_connections: usize::try_from(max_connections).unwrap_or_default(),
            body_memory_bytes: usize::try_from(body_memory_mb).unwrap_or_default() << 20,
            cors_origins: CorsOrigins(origins),
            api_token,
            read_token,
            token_exempt,
        }
    }
}

/// `api_token` and `read_token`.
fn tokens(reader: &mut Reader) -> [Option<String>; 2] {
    let names = ["api_token", "read_token"];
    let credentials = ["session-store.api-token", "session-store.read-token"];
    let tokens: [_; 2] = std::array::from_fn(|which| reader.optional_token(SECTION, names[which], credentials[which]));
    for (name, token) in names.iter().zip(&tokens) {
        if let Some(short) = token.as_ref().map(String::len).filter(|length| *length < LONG_ENOUGH) {
            reader.warn(format!(
                "server.{name} has only {short} characters and may be guessed: take at least {LONG_ENOUGH}, such as `openssl rand -hex 32` makes"
            ));
        }
    }
    if tokens[0].is_some() && tokens[0] == tokens[1] {
        reader.mistake("server.api_token and server.read_token are the same: who may only read could write".to_owned());
    }
    tokens
}
