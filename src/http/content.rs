//! Bodies on their way out.

use std::fs::File;
use std::future::Future as _;
use std::io::{self, Seek as _, SeekFrom};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::connection::Activity;

/// Bytes of a file read at once.
const CHUNK: usize = 64 << 10;

/// A body, which tells its connection when it is done.
pub struct Outgoing {
    kind: Kind,
    _busy: Busy,
}

enum Kind {
    Bytes(Bytes),
    File(FilePiece),
    Stream(mpsc::Receiver<io::Result<Bytes>>),
}

/// Marks its connection as waiting for a request when it is dropped.
#[derive(Default)]
pub struct Busy(Option<Arc<Activity>>);

impl Busy {
    /// Keeps the connection with this `activity` busy.
    pub fn new(activity: Arc<Activity>) -> Self {
        Self(Some(activity))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if let Some(activity) = &self.0 {
            activity.responded();
        }
    }
}

/// A file, and what was read from it.
type Read = io::Result<(File, Vec<u8>)>;

struct FilePiece {
    file: Option<File>,
    left: u64,
    reading: Option<JoinHandle<Read>>,
}

impl Outgoing {
    /// A body in memory; none when it is empty.
    pub fn bytes(bytes: Bytes, busy: Busy) -> Self {
        Self { kind: Kind::Bytes(bytes), _busy: busy }
    }

    /// `length` bytes of `file` from `start` on.
    pub fn file(mut file: File, start: u64, length: u64, busy: Busy) -> io::Result<Self> {
        file.seek(SeekFrom::Start(start))?;
        Ok(Self { kind: Kind::File(FilePiece { file: Some(file), left: length, reading: None }), _busy: busy })
    }

    /// What comes by `chunks`, until their sender is gone.
    pub fn stream(chunks: mpsc::Receiver<io::Result<Bytes>>, busy: Busy) -> Self {
        Self { kind: Kind::Stream(chunks), _busy: busy }
    }
}

impl FilePiece {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        loop {
            if let Some(reading) = &mut self.reading {
                let done = ready!(Pin::new(reading).poll(cx));
                self.reading = None;
                let (file, chunk) = match done {
                    Ok(Ok(read)) => read,
                    Ok(Err(error)) => return Poll::Ready(Some(Err(error))),
                    Err(error) => return Poll::Ready(Some(Err(io::Error::other(error)))),
                };
                self.file = Some(file);
                if chunk.is_empty() {
                    // It was cut while it was being sent; the promised length cannot be kept.
                    return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
                }
                self.left -= chunk.len() as u64;
                return Poll::Ready(Some(Ok(chunk.into())));
            }
            if self.left == 0 {
                return Poll::Ready(None);
            }
            let Some(mut file) = self.file.take() else { return Poll::Ready(None) };
            let wanted = usize::try_from(self.left).unwrap_or(CHUNK).min(CHUNK);
            self.reading = Some(tokio::task::spawn_blocking(move || {
                let mut chunk = vec![0; wanted];
                let read = io::Read::read(&mut file, &mut chunk)?;
                chunk.truncate(read);
                Ok((file, chunk))
            }));
        }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let chunk = match &mut self.kind {
            Kind::Bytes(bytes) if bytes.is_empty() => None,
            Kind::Bytes(bytes) => Some(Ok(std::mem::take(bytes))),
            Kind::File(piece) => ready!(piece.poll(cx)),
            Kind::Stream(chunks) => ready!(chunks.poll_recv(cx)),
        };
        Poll::Ready(chunk.map(|chunk| chunk.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Bytes(bytes) => bytes.is_empty(),
            Kind::File(piece) => piece.left == 0,
            Kind::Stream(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Bytes(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::File(piece) => SizeHint::with_exact(piece.left),
            Kind::Stream(_) => SizeHint::default(),
        }
    }
}
