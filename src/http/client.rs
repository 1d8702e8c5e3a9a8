//! Asking a running daemon, for the command line. Plain HTTP, as the daemon speaks it.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, RETRY_AFTER};
use http::request::Builder;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::Runtime;

use crate::domain::hook::Hook;

use super::content::{Busy, Outgoing};
use super::routes;
use super::stream::Stream;

/// An answer must begin, and go on, within this time.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// Bytes of an answer to a hook that are kept, to be shown.
const MAX_SHOWN: usize = 300;

/// Where a daemon listens.
#[derive(Debug, Clone)]
pub enum Target {
    /// At this `http://` address.
    Url(String),
    /// At this unix socket.
    Socket(PathBuf),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => f.write_str(url),
            Self::Socket(path) => path.display().fmt(f),
        }
    }
}

/// What a daemon may ask for: a header with its value.
#[derive(Debug, Clone)]
pub struct Secret(HeaderName, HeaderValue);

impl Secret {
    /// A token of `[server]`; `None` where it cannot be sent.
    pub fn bearer(token: &str) -> Option<Self> {
        Self::new(AUTHORIZATION, &format!("Bearer {token}"))
    }

    /// `[mediamtx] hook_token`; `None` where it cannot be sent.
    pub fn hook(token: &str) -> Option<Self> {
        Self::new(HeaderName::from_static("x-hook-token"), token)
    }

    fn new(name: HeaderName, value: &str) -> Option<Self> {
        let mut value = HeaderValue::from_str(value).ok()?;
        value.set_sensitive(true);
        Some(Self(name, value))
    }
}

/// Gets `url`, hands the body to `take`, piece by piece, and returns the headers.
///
/// # Errors
/// A sentence, also where the answer's status is not 200.
pub fn get(url: &str, secret: Option<&Secret>, take: impl FnMut(&[u8]) -> io::Result<()>) -> Result<HeaderMap, String> {
    get_within(ANSWER_WITHIN, url, secret, take)
}

/// [`get`] of what takes a while to find out: its answer must begin within `within`.
///
/// # Errors
/// As [`get`].
pub fn get_within(
    within: Duration,
    url: &str,
    secret: Option<&Secret>,
    take: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<HeaderMap, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    runtime.block_on(ask(within, url, secret, take))
}

async fn ask(
    within: Duration,
    url: &str,
    secret: Option<&Secret>,
    mut take: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<HeaderMap, String> {
    let (uri, host) = parse(url)?;
    let stream = tokio::time::timeout(ANSWER_WITHIN, connect(&uri)).await.map_err(late)??;
    let mut sender = handshake(stream).await?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let request = with(secret, Request::get(path).header(HOST, host));
    let request = request.body(Outgoing::bytes(Bytes::new(), Busy::default())).map_err(said)?;
    let response = tokio::time::timeout(within, sender.send_request(request)).await.map_err(late)?.map_err(said)?;
    let (status, headers) = (response.status(), response.headers().clone());
    let mut refusal = Vec::new();
    read(response, |piece| {
        if status == StatusCode::OK {
            return take(piece);
        }
        refusal.extend_from_slice(piece);
        Ok(())
    })
    .await?;
    if status == StatusCode::OK {
        Ok(headers)
    } else {
        let advice = match status {
            StatusCode::UNAUTHORIZED => "; it asks for a token: set [server] api_token or read_token here to the daemon's",
            _ => "",
        };
        Err(format!("it answers {status}: {}{advice}", String::from_utf8_lossy(&refusal)))
    }
}

/// A daemon that is sent many requests, over one connection as long as that lasts.
pub struct Caller {
    runtime: Runtime,
    base: String,
    secret: Option<Secret>,
    connection: Option<SendRequest<Outgoing>>,
}

/// What it answers.
#[derive(Debug)]
pub struct Answered {
    /// The status.
    pub status: StatusCode,
    /// When to come again, where it says so.
    pub again_after: Option<Duration>,
    /// The body.
    pub body: Vec<u8>,
}

impl Caller {
    /// One for the daemon at `base`, an `http://` address.
    ///
    /// # Errors
    /// A sentence.
    pub fn new(base: String, secret: Option<Secret>) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
        Ok(Self { runtime, base, secret, connection: None })
    }

    /// Its address.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Sends one request for `path`; its body is of `content_type`.
    ///
    /// # Errors
    /// Why there is no answer. The request may have been done all the same.
    pub fn send(&mut self, method: Method, path: &str, content_type: &str, body: Bytes) -> Result<Answered, String> {
        let (uri, host) = parse(&format!("{}{path}", self.base))?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let request = Request::builder().method(method).uri(path).header(HOST, host).header(CONTENT_TYPE, content_type);
        let request = with(self.secret.as_ref(), request);
        let request = request.body(Outgoing::bytes(body, Busy::default())).map_err(said)?;
        let connection = self.connection.take();
        self.runtime.block_on(async {
            let mut sender = match connection {
                // One that stood idle may have been closed.
                Some(kept) if !kept.is_closed() => kept,
                _ => handshake(tokio::time::timeout(ANSWER_WITHIN, connect(&uri)).await.map_err(late)??).await?,
            };
            let response =
                tokio::time::timeout(ANSWER_WITHIN, sender.send_request(request)).await.map_err(late)?.map_err(said)?;
            let again_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            let mut answered =
                Answered { status: response.status(), again_after: again_after.map(Duration::from_secs), body: Vec::new() };
            read(response, |piece| {
                answered.body.extend_from_slice(piece);
                Ok(())
            })
            .await?;
            self.connection = Some(sender);
            Ok(answered)
        })
    }
}

fn with(secret: Option<&Secret>, request: Builder) -> Builder {
    secret.into_iter().fold(request, |request, Secret(name, value)| request.header(name, value))
}

/// Tells the daemon at `target` of `hook`, and gives the answer's status and the beginning of its body. Waits as long as it is let.
///
/// # Errors
/// A sentence, where there is no answer.
pub async fn tell(target: &Target, hook: &Hook, secret: Option<&Secret>) -> Result<(StatusCode, String), String> {
    let (stream, host) = match target {
        Target::Url(url) => {
            let (uri, host) = parse(url)?;
            (connect(&uri).await?, host)
        }
        Target::Socket(path) => (Stream::Unix(UnixStream::connect(path).await.map_err(said)?), "localhost".to_owned()),
    };
    let mut sender = handshake(stream).await?;
    let request = Request::post(routes::of_hook(hook.kind())).header(HOST, host).header(CONTENT_TYPE, "application/json");
    let request = with(secret, request);
    let body = Outgoing::bytes(hook.body().to_string().into(), Busy::default());
    let response = sender.send_request(request.body(body).map_err(said)?).await.map_err(said)?;
    let status = response.status();
    let mut shown = Vec::new();
    read(response, |piece| {
        shown.extend(piece.iter().take(MAX_SHOWN.saturating_sub(shown.len())));
        Ok(())
    })
    .await?;
    Ok((status, String::from_utf8_lossy(&shown).trim().to_owned()))
}

/// The address, and what `Host` says of it.
fn parse(url: &str) -> Result<(Uri, String), String> {
    let uri: Uri = url.parse().map_err(|error| format!("{url} is not an address: {error}"))?;
    let (Some("http"), Some(host)) = (uri.scheme_str(), uri.host()) else {
        return Err(format!("{url} must begin with http:// and a host"));
    };
    let host = format!("{host}:{}", port(&uri));
    Ok((uri, host))
}

fn port(uri: &Uri) -> u16 {
    uri.port_u16().unwrap_or(80)
}

async fn connect(uri: &Uri) -> Result<Stream, String> {
    let host = uri.host().unwrap_or_default();
    let address = (host.trim_start_matches('[').trim_end_matches(']'), port(uri));
    TcpStream::connect(address).await.map(Stream::Tcp).map_err(said)
}

async fn handshake(stream: Stream) -> Result<SendRequest<Outgoing>, String> {
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(said)?;
    tokio::spawn(connection);
    Ok(sender)
}

/// Hands a body to `take`, piece by piece.
async fn read(response: Response<Incoming>, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> Result<(), String> {
    let mut body = pin!(response.into_body());
    loop {
        let frame = tokio::time::timeout(ANSWER_WITHIN, std::future::poll_fn(|cx| body.as_mut().poll_frame(cx))).await;
        let Some(frame) = frame.map_err(late)? else { return Ok(()) };
        let frame = frame.map_err(|error| format!("the answer broke off: {error}"))?;
        if let Some(piece) = frame.data_ref() {
            take(piece).map_err(said)?;
        }
    }
}

fn said(error: impl std::error::Error) -> String {
    error.to_string()
}

fn late(_: tokio::time::error::Elapsed) -> String {
    "it does not answer in time".to_owned()
}
