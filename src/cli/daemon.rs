//! Finding the running daemon, and reading what it streams.

use std::io;
use std::time::Duration;

use http::HeaderMap;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::config::Config;
use crate::http::client::{self, Secret};
use crate::store;

/// The daemon's address by its configuration.
pub fn address(config: &Config) -> String {
    let server = &config.server;
    let host = match server.host.as_str() {
        "0.0.0.0" => "127.0.0.1".to_owned(),
        "::" => "[::1]".to_owned(),
        host if host.contains(':') => format!("[{host}]"),
        host => host.to_owned(),
    };
    format!("http://{host}:{}", server.port)
}

/// What to show a daemon that is only asked: the token that may do least.
pub fn secret(config: &Config) -> Option<Secret> {
    let server = &config.server;
    server.read_token.as_ref().or(server.api_token.as_ref()).and_then(|token| Secret::bearer(token))
}

/// What to show a daemon that is to change something.
pub fn full_secret(config: &Config) -> Option<Secret> {
    config.server.api_token.as_ref().and_then(|token| Secret::bearer(token))
}

/// Where to ask: what was given by `--from` or `--to`, or the configured address where a daemon has the store.
pub fn to_ask(from: Option<&String>, config: &Config) -> Option<String> {
    let from = from.map(|url| url.trim_end_matches('/').to_owned());
    from.or_else(|| store::is_in_use(&config.database.path).then(|| address(config)))
}

/// Gets `url`, whose answer is JSON and begins within `within`.
///
/// # Errors
/// Why there is none.
pub fn json(url: &str, within: Duration, secret: Option<&Secret>) -> Result<Value, String> {
    let mut body = Vec::new();
    client::get_within(within, url, secret, |chunk| {
        body.extend_from_slice(chunk);
        Ok(())
    })?;
    serde_json::from_slice(&body).map_err(|error| error.to_string())
}

/// Gets `url`, whose body is NDJSON, and hands each line to `take`.
///
/// # Errors
/// A sentence that names the address.
pub fn lines<T: DeserializeOwned>(
    url: &str,
    secret: Option<&Secret>,
    mut take: impl FnMut(T) -> Result<(), String>,
) -> Result<HeaderMap, String> {
    let mut rest: Vec<u8> = Vec::new();
    let answered = client::get(url, secret, |chunk| {
        rest.extend_from_slice(chunk);
        let Some(end) = rest.iter().rposition(|byte| *byte == b'\n') else { return Ok(()) };
        let left = rest.split_off(end + 1);
        for line in rest.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let line = serde_json::from_slice(line).map_err(io::Error::other)?;
            take(line).map_err(io::Error::other)?;
        }
        rest = left;
        Ok(())
    });
    answered.map_err(|reason| format!("{url} gives no answer: {reason}."))
}
