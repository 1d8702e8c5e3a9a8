//! Asking a running daemon, for the command line. Plain HTTP, as the daemon speaks it.

use std::io;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderMap, Request, StatusCode, Uri};
use http_body::Body as _;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::content::{Busy, Outgoing};

/// An answer must begin, and go on, within this time.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// Gets `url`, hands the body to `take`, piece by piece, and returns the headers.
///
/// # Errors
/// A sentence, also where the answer's status is not 200.
pub fn get(url: &str, take: impl FnMut(&[u8]) -> io::Result<()>) -> Result<HeaderMap, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    runtime.block_on(ask(url, take))
}

async fn ask(url: &str, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> Result<HeaderMap, String> {
    let uri: Uri = url.parse().map_err(|error| format!("{url} is not an address: {error}"))?;
    let (Some("http"), Some(host)) = (uri.scheme_str(), uri.host()) else {
        return Err(format!("{url} must begin with http:// and a host"));
    };
    let port = uri.port_u16().unwrap_or(80);
    let late = |_| "it does not answer in time".to_owned();
    let said = |error: &dyn std::error::Error| error.to_string();
    let address = (host.trim_start_matches('[').trim_end_matches(']'), port);
    let stream = tokio::time::timeout(ANSWER_WITHIN, TcpStream::connect(address)).await.map_err(late)?;
    let stream = stream.map_err(|error| said(&error))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| said(&error))?;
    tokio::spawn(connection);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::get(path).header(HOST, format!("{host}:{port}"));
    let request = request.body(Outgoing::bytes(Bytes::new(), Busy::default())).map_err(|error| said(&error))?;
    let response = tokio::time::timeout(ANSWER_WITHIN, sender.send_request(request)).await.map_err(late)?;
    let response = response.map_err(|error| said(&error))?;
    let (status, headers) = (response.status(), response.headers().clone());
    let mut body = pin!(response.into_body());
    let mut refusal = Vec::new();
    loop {
        let frame = tokio::time::timeout(ANSWER_WITHIN, std::future::poll_fn(|cx| body.as_mut().poll_frame(cx))).await;
        let Some(frame) = frame.map_err(late)? else { break };
        let frame = frame.map_err(|error| format!("the answer broke off: {}", said(&error)))?;
        let Some(piece) = frame.data_ref() else { continue };
        if status == StatusCode::OK {
            take(piece).map_err(|error| said(&error))?;
        } else {
            refusal.extend_from_slice(piece);
        }
    }
    if status == StatusCode::OK {
        Ok(headers)
    } else {
        Err(format!("it answers {status}: {}", String::from_utf8_lossy(&refusal)))
    }
}
