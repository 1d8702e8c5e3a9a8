//! Who may do what: tokens, and who needs none. Asked before anything of a request's body is read.

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use http::header::{AUTHORIZATION, FORWARDED, VIA, WWW_AUTHENTICATE};
use http::{HeaderMap, Method, StatusCode};
use subtle::ConstantTimeEq as _;

use super::brake::{Right, Source};
use super::error::ApiError;
use super::stream::Peer;
use super::{Api, routes};

/// What the configuration says of tokens. They are never shown.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Tokens {
    /// Opens everything.
    pub api: Option<String>,
    /// Opens what changes nothing.
    pub read: Option<String>,
    /// What `X-Hook-Token` of a hook must be.
    pub hook: Option<String>,
    /// Peers on this machine need none.
    pub exempts_local: bool,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens(***)")
    }
}

/// How far a request may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// To its handler.
    Granted,
    /// It brings no token and may learn how the daemon is, in a word.
    StatusAlone,
}

/// Whether a request for `path` with `headers` from `peer` may go on. HEAD comes here as GET.
///
/// # Errors
/// 401, 403 or 429.
pub fn admit(api: &Api, method: &Method, path: &str, headers: &HeaderMap, peer: Peer) -> Result<Access, ApiError> {
    let settings = api.settings();
    let tokens = &settings.tokens;
    if tokens.api.is_none() && tokens.read.is_none() {
        return Ok(Access::Granted);
    }
    // Hooks have a token of their own, for which their handler asks.
    if tokens.hook.is_some() && routes::is_hook(path) {
        return Ok(Access::Granted);
    }
    if tokens.exempts_local && is_local(peer) && !is_passed_on(headers) {
        return Ok(Access::Granted);
    }
    let reads = *method == Method::GET;
    let Some(given) = bearer(headers) else {
        let asks_status = reads && routes::is_health(path) && !headers.contains_key(AUTHORIZATION);
        return if asks_status { Ok(Access::StatusAlone) } else { Err(unauthorized()) };
    };
    match right_of(api, tokens, given, source(headers, peer), Instant::now())? {
        Right::Read if !reads => Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "The read_token is good for GET and HEAD alone; anything else takes the api_token",
        )),
        Right::Read | Right::All => Ok(Access::Granted),
    }
}

/// What `given` opens.
fn right_of(api: &Api, tokens: &Tokens, given: &[u8], source: Source, now: Instant) -> Result<Right, ApiError> {
    let brake = api.brake();
    let braked = brake.remaining(source, now);
    let mut found = None;
    // Each is compared, whatever came of the one before.
    for (right, token) in [(Right::All, &tokens.api), (Right::Read, &tokens.read)] {
        let Some(token) = token else { continue };
        if (braked.is_none() || brake.knows(source, right)) && is_same(given, token.as_bytes()) {
            found = Some(right);
        }
    }
    if let Some(right) = found {
        brake.right(source, right, now);
        return Ok(right);
    }
    if let Some(remaining) = braked {
        return Err(too_many(remaining));
    }
    if brake.wrong(source, now) {
        tracing::warn!("many wrong tokens came from {source}: for a while none is looked at that comes from there");
    }
    Err(unauthorized())
}

fn unauthorized() -> ApiError {
    let header = Some((WWW_AUTHENTICATE, "Bearer".to_owned()));
    ApiError { header, ..ApiError::new(StatusCode::UNAUTHORIZED, "Unauthorized") }
}

fn too_many(remaining: Duration) -> ApiError {
    let seconds = remaining.as_millis().div_ceil(1000).max(1);
    let header = Some((http::header::RETRY_AFTER, seconds.to_string()));
    let sentence = format!("Too many wrong tokens came from this address; try again after {seconds} seconds");
    ApiError { header, ..ApiError::new(StatusCode::TOO_MANY_REQUESTS, sentence) }
}

/// Compares in a time that tells nothing of where the two differ.
pub fn is_same(given: &[u8], token: &[u8]) -> bool {
    given.ct_eq(token).into()
}

/// The token of `Authorization: Bearer …`; of several, which would be meant is not clear.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let (one, None) = (all.next()?.as_bytes(), all.next()) else { return None };
    let (scheme, token) = one.split_at_checked(b"Bearer".len())?;
    let is_bearer = scheme.eq_ignore_ascii_case(b"Bearer") && token.first() == Some(&b' ');
    is_bearer.then(|| token.trim_ascii()).filter(|token| !token.is_empty())
}

fn is_local(peer: Peer) -> bool {
    match peer {
        Peer::Ip(ip) => ip.to_canonical().is_loopback(),
        Peer::Unix => true,
    }
}

/// Whether it says that a proxy has passed it on.
fn is_passed_on(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| {
        *name == FORWARDED || *name == VIA || name.as_str() == "x-real-ip" || name.as_str().starts_with("x-forwarded-")
    })
}

/// From where a token comes. A proxy on this machine is believed what it says of its client, which it writes last: nobody
/// else can be the peer then but processes of this machine.
fn source(headers: &HeaderMap, peer: Peer) -> Source {
    if is_local(peer) {
        let last = headers.get_all("x-forwarded-for").iter().next_back().and_then(|value| value.to_str().ok());
        let client = last.and_then(|list| list.rsplit(',').next()).and_then(|client| client.trim().parse::<IpAddr>().ok());
        if let Some(client) = client {
            return Source::of(client);
        }
    }
    match peer {
        Peer::Ip(ip) => Source::of(ip),
        Peer::Unix => Source::Unix,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(all: &[(&'static str, &str)]) -> HeaderMap {
        all.iter().map(|(name, value)| (http::HeaderName::from_static(name), value.parse().expect("a value"))).collect()
    }

    fn at(ip: &str) -> Peer {
        Peer::Ip(ip.parse().expect("an address"))
    }

    #[test]
    fn loopback_by_any_name_and_the_socket_are_local() {
        for ip in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert!(is_local(at(ip)), "{ip}");
        }
        for ip in ["0.0.0.0", "192.0.2.2", "::", "::ffff:192.0.2.2", "fe80::1"] {
            assert!(!is_local(at(ip)), "{ip}");
        }
        assert!(is_local(Peer::Unix));
    }

    #[test]
    fn what_a_proxy_adds_is_seen() {
        for name in ["forwarded", "via", "x-real-ip", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-anything"] {
            assert!(is_passed_on(&headers(&[("host", "h"), (name, "")])), "{name}");
        }
        assert!(!is_passed_on(&headers(&[("host", "h"), ("x-forward", "a"), ("x-hook-token", "t")])));
    }

    #[test]
    fn one_bearer_token_is_read_and_nothing_else() {
        for right in ["Bearer abc", "bearer abc", "BEARER   abc "] {
            assert_eq!(bearer(&headers(&[("authorization", right)])), Some(&b"abc"[..]), "{right}");
        }
        for wrong in ["abc", "Bearer", "Bearer ", "Bearerabc", "Basic abc", "Bear abc", ""] {
            assert_eq!(bearer(&headers(&[("authorization", wrong)])), None, "{wrong}");
        }
        let mut two = headers(&[("authorization", "Bearer abc")]);
        two.append(AUTHORIZATION, "Bearer def".parse().expect("a value"));
        assert_eq!(bearer(&two), None);
    }

    #[test]
    fn only_a_proxy_on_this_machine_says_for_whom_it_speaks() {
        let lied = headers(&[("x-forwarded-for", "198.51.100.1, 198.51.100.2")]);
        let of = |ip: &str| Source::of(ip.parse().expect("an address"));
        assert_eq!(source(&lied, at("127.0.0.1")), of("198.51.100.2"));
        assert_eq!(source(&lied, Peer::Unix), of("198.51.100.2"));
        assert_eq!(source(&lied, at("192.0.2.9")), of("192.0.2.9"), "a client beyond could say a new one each time");
        assert_eq!(source(&headers(&[("x-forwarded-for", "unknown")]), at("127.0.0.1")), of("127.0.0.1"));
    }
}
