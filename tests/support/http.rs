//! A small blocking HTTP/1.1 client that sends exactly what it is told.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// A request; its target goes out as it is given, unescaped.
#[derive(Clone)]
pub struct Request {
    method: String,
    target: Vec<u8>,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

impl Request {
    pub fn new(method: &str, target: impl AsRef<[u8]>) -> Self {
        Self { method: method.to_owned(), target: target.as_ref().to_vec(), headers: Vec::new(), body: None }
    }

    pub fn get(target: impl AsRef<[u8]>) -> Self {
        Self::new("GET", target)
    }

    pub fn head(target: impl AsRef<[u8]>) -> Self {
        Self::new("HEAD", target)
    }

    pub fn post(target: impl AsRef<[u8]>) -> Self {
        Self::new("POST", target)
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the body; `Content-Length` follows unless a header frames it already.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    pub fn json(self, value: &Value) -> Self {
        self.header("Content-Type", "application/json").body(value.to_string())
    }

    /// The body in chunks of `size` bytes.
    pub fn chunked(self, body: &[u8], size: usize) -> Self {
        let mut wire = Vec::new();
        for chunk in body.chunks(size) {
            wire.extend(format!("{:x}\r\n", chunk.len()).bytes());
            wire.extend_from_slice(chunk);
            wire.extend(b"\r\n");
        }
        wire.extend(b"0\r\n\r\n");
        self.header("Transfer-Encoding", "chunked").body(wire)
    }

    /// The bytes on the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let has = |name: &str| self.headers.iter().any(|(given, _)| given.eq_ignore_ascii_case(name));
        let mut wire = self.method.clone().into_bytes();
        wire.push(b' ');
        wire.extend_from_slice(&self.target);
        wire.extend(b" HTTP/1.1\r\n");
        if !has("host") {
            wire.extend(b"Host: localhost\r\n");
        }
        for (name, value) in &self.headers {
            wire.extend(format!("{name}: {value}\r\n").bytes());
        }
        if let Some(body) = self.body.as_ref().filter(|_| !has("content-length") && !has("transfer-encoding")) {
            wire.extend(format!("Content-Length: {}\r\n", body.len()).bytes());
        }
        wire.extend(b"\r\n");
        wire.extend(self.body.iter().flatten());
        wire
    }
}

/// A connection that is kept.
pub struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    #[track_caller]
    pub fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).expect("the daemon accepts")
    }

    /// The same to a daemon that may be away.
    pub fn try_connect(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true).expect("nodelay");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("read time-out");
        stream.set_write_timeout(Some(Duration::from_secs(30))).expect("write time-out");
        Ok(Self { stream: BufReader::new(stream) })
    }

    #[track_caller]
    pub fn send(&mut self, request: &Request) -> Response {
        match self.try_send(request) {
            Ok(response) => response,
            Err(error) => panic!("{} {}: {error}", request.method, String::from_utf8_lossy(&request.target)),
        }
    }

    /// Sends, and reads the answer even where the server stopped reading the body.
    pub fn try_send(&mut self, request: &Request) -> io::Result<Response> {
        let written = self.write(&request.bytes());
        self.read(request.method == "HEAD").map_err(|error| written.err().unwrap_or(error))
    }

    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Waits at most this long for each write.
    pub fn send_within(&mut self, time: Duration) {
        self.stream.get_mut().set_write_timeout(Some(time)).expect("write time-out");
    }

    /// Waits at most this long for each read.
    pub fn patience(&mut self, time: Duration) {
        self.stream.get_mut().set_read_timeout(Some(time)).expect("read time-out");
    }

    /// Whatever comes until the server closes; an error is an end too.
    pub fn drain(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        drop(self.stream.read_to_end(&mut bytes));
        bytes
    }

    /// Reads one answer; interim ones are passed over.
    pub fn read(&mut self, head_only: bool) -> io::Result<Response> {
        loop {
            let line = self.line()?;
            let status: u16 = line
                .split(' ')
                .nth(1)
                .and_then(|code| code.parse().ok())
                .ok_or_else(|| io::Error::other(format!("no status line: {line:?}")))?;
            let mut headers = Vec::new();
            loop {
                let line = self.line()?;
                let Some((name, value)) = line.split_once(':') else {
                    break;
                };
                headers.push((name.to_owned(), value.trim().to_owned()));
            }
            if status >= 200 {
                let mut response = Response { status, headers, body: Vec::new() };
                if !head_only && status != 204 && status != 304 {
                    response.body = self.body(&response)?;
                }
                return Ok(response);
            }
        }
    }

    /// Reads an interim answer, such as `100 Continue`, and gives its first line.
    pub fn interim(&mut self) -> io::Result<String> {
        let first = self.line()?;
        while !self.line()?.is_empty() {}
        Ok(first)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        if self.stream.read_until(b'\n', &mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }

    fn body(&mut self, response: &Response) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        if response.header("transfer-encoding").is_some_and(|value| value.contains("chunked")) {
            loop {
                let size = usize::from_str_radix(&self.line()?, 16).map_err(io::Error::other)?;
                let mut chunk = vec![0; size + 2];
                self.stream.read_exact(&mut chunk)?;
                if size == 0 {
                    return Ok(body);
                }
                body.extend_from_slice(&chunk[..size]);
            }
        }
        if let Some(length) = response.header("content-length") {
            body.resize(length.parse().map_err(io::Error::other)?, 0);
            self.stream.read_exact(&mut body)?;
        } else {
            self.stream.read_to_end(&mut body)?;
        }
        Ok(body)
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    /// The first header of this name, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }

    /// Every header of this name.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let same = self.headers.iter().filter(|(given, _)| given.eq_ignore_ascii_case(name));
        same.map(|(_, value)| value.as_str()).collect()
    }

    /// A list header's items in lower case, all its lines together.
    pub fn items(&self, name: &str) -> Vec<String> {
        let joined = self.all(name).join(",").to_ascii_lowercase();
        joined.split(',').map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect()
    }

    /// A header that must be there.
    #[track_caller]
    pub fn must(&self, name: &str) -> &str {
        self.header(name).unwrap_or_else(|| panic!("no {name} in {} {:?}", self.status, self.headers))
    }

    /// Checks the status; shows the body where it is another.
    #[track_caller]
    pub fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "the answer was {}", self.text());
        self
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        let parsed = serde_json::from_slice(&self.body);
        parsed.unwrap_or_else(|error| panic!("{} is no JSON ({error}): {}", self.status, self.text()))
    }

    /// The sentence of `{"error": …}`.
    #[track_caller]
    pub fn error(&self) -> String {
        let json = self.json();
        json["error"].as_str().unwrap_or_else(|| panic!("no error sentence in {json}")).to_owned()
    }
}

/// A `multipart/form-data` body, part by part in the order given.
pub struct Multipart {
    body: Vec<u8>,
}

pub const BOUNDARY: &str = "----session-store-test-7MA4YWxk";

impl Multipart {
    pub fn new() -> Self {
        Self { body: Vec::new() }
    }

    /// A part with these raw header lines.
    pub fn part(mut self, headers: &[&str], content: &[u8]) -> Self {
        self.body.extend(format!("--{BOUNDARY}\r\n").bytes());
        for header in headers {
            self.body.extend(format!("{header}\r\n").bytes());
        }
        self.body.extend(b"\r\n");
        self.body.extend_from_slice(content);
        self.body.extend(b"\r\n");
        self
    }

    /// A plain field.
    pub fn field(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        self.part(&[&format!("Content-Disposition: form-data; name=\"{name}\"")], content.as_ref())
    }

    /// A file part.
    pub fn file(self, name: &str, filename: &str, media_type: &str, content: impl AsRef<[u8]>) -> Self {
        let disposition = format!("Content-Disposition: form-data; name=\"{name}\"; filename=\"{filename}\"");
        self.part(&[&disposition, &format!("Content-Type: {media_type}")], content.as_ref())
    }

    /// A JPEG as the agent sends it.
    pub fn frame(self, content: impl AsRef<[u8]>) -> Self {
        self.file("frame", "frame.jpg", "image/jpeg", content)
    }

    /// The whole body.
    pub fn bytes(mut self) -> Vec<u8> {
        self.body.extend(format!("--{BOUNDARY}--\r\n").bytes());
        self.body
    }

    /// The whole body as a `POST /ingest`.
    pub fn request(self) -> Request {
        let media_type = format!("multipart/form-data; boundary={BOUNDARY}");
        Request::post("/ingest").header("Content-Type", &media_type).body(self.bytes())
    }
}
