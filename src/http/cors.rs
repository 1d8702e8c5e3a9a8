//! Which web pages may read: those on the same host, whatever their port, and the configured ones.

use std::net::IpAddr;

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS,
    ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, HOST, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue};

use crate::config::CorsOrigins;

/// What a page may read beside the safelisted headers.
const EXPOSED: &str = "Accept-Ranges, Content-Encoding, Content-Length, Content-Range, ETag, Retry-After, X-Request-Id";
/// What a page may send where it does not say.
const REQUEST_HEADERS: &str = "Authorization, Content-Type, If-None-Match, Range, X-Hook-Token";
/// Seconds that a browser may remember a preflight's answer.
const MAX_AGE: &str = "600";

/// Adds to `answer` what the page that sent `asked` needs to read it.
pub fn allow(origins: &CorsOrigins, asked: &HeaderMap, answer: &mut HeaderMap) {
    let allowed = if origins.allows_all() {
        Some(HeaderValue::from_static("*"))
    } else {
        answer.append(VARY, HeaderValue::from_static("Origin"));
        asked.get(ORIGIN).filter(|origin| is_allowed(origins, origin, asked.get(HOST))).cloned()
    };
    if let Some(allowed) = allowed {
        answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        answer.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    }
}

/// Adds to the `answer` of a preflight what may be sent: the methods `allow`, and the headers asked for.
pub fn preflight(asked: &HeaderMap, answer: &mut HeaderMap, allow: &str) {
    if !answer.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) {
        return;
    }
    if let Ok(allow) = HeaderValue::from_str(allow) {
        answer.insert(ACCESS_CONTROL_ALLOW_METHODS, allow);
    }
    let headers = asked.get(ACCESS_CONTROL_REQUEST_HEADERS).cloned();
    answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, headers.unwrap_or(HeaderValue::from_static(REQUEST_HEADERS)));
    answer.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE));
}

fn is_allowed(origins: &CorsOrigins, origin: &HeaderValue, host: Option<&HeaderValue>) -> bool {
    let Ok(origin) = origin.to_str() else { return false };
    if origins.lists(origin) {
        return true;
    }
    let (Some((_, page)), Some(host)) = (origin.split_once("://"), host.and_then(|host| host.to_str().ok())) else {
        return false;
    };
    let (page, host) = (without_port(page), without_port(host));
    page.eq_ignore_ascii_case(host) || (is_loopback(page) && is_loopback(host))
}

fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        // The colons of a bare IPv6 address stand within brackets.
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    }
}

/// `localhost`, `127.0.0.1` and `[::1]` are one host by several names.
fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_on_the_same_host_may_read_and_one_elsewhere_may_not() {
        let check = |origin: &'static str, host: &'static str| {
            is_allowed(&CorsOrigins::default(), &HeaderValue::from_static(origin), Some(&HeaderValue::from_static(host)))
        };
        assert!(check("http://gateway:3000", "gateway:8080") && check("https://GATEWAY", "gateway:8080"));
        assert!(check("http://localhost:5173", "127.0.0.1:8080") && check("http://[::1]:5173", "localhost:8080"));
        assert!(check("http://[fd00::1]:80", "[fd00::1]:8080"));
        assert!(
            !check("http://evil.example", "gateway:8080")
                && !check("null", "gateway")
                && !check("http://gateway.evil", "gateway")
        );
        assert!(!check("http://localhost.evil", "localhost") && !check("http://127.0.0.1.evil:1", "127.0.0.1:1"));
    }
}
