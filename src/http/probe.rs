//! The daemon's requests to itself, by which it learns whether its port answers. They are nobody's, and not logged.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{Api, Server};

const MARK: &str = "x-session-store-probe";
/// What an answer begins with.
const ANSWER: &[u8] = b"HTTP/1.1 204 ";

/// Asks the daemon's own port.
#[derive(Clone)]
pub struct Probe {
    server: Arc<Server>,
    address: SocketAddr,
    request: String,
}

impl Probe {
    /// Asks `server`, which listens on `address`.
    pub fn new(server: Arc<Server>, api: &Api, address: SocketAddr) -> Self {
        let ip = match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        let address = SocketAddr::new(ip, address.port());
        // Neither the store nor a folder is touched: their troubles are not the port's.
        let request =
            format!("OPTIONS /health HTTP/1.1\r\nHost: {address}\r\n{MARK}: {}\r\nConnection: close\r\n\r\n", api.probe_key);
        Self { server, address, request }
    }

    /// Whether the port answers in time. One that is held up by its limit of connections alone counts as answering.
    pub async fn answers(&self, within: Duration) -> bool {
        let answered = matches!(tokio::time::timeout(within, self.ask()).await, Ok(Ok(true)));
        // Asked in any case, since that forgets it.
        let was_full = self.server.was_full();
        answered || was_full
    }

    async fn ask(&self) -> io::Result<bool> {
        let mut stream = TcpStream::connect(self.address).await?;
        stream.write_all(self.request.as_bytes()).await?;
        let mut answer = [0; ANSWER.len()];
        stream.read_exact(&mut answer).await?;
        Ok(answer == ANSWER)
    }
}

/// Whether a request with these headers is the daemon's own. Nobody else knows the key.
pub fn is_own(api: &Api, asked: &HeaderMap) -> bool {
    asked.get(MARK).is_some_and(|key| key.as_bytes() == api.probe_key.as_bytes())
}
