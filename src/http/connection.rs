//! What a connection is doing, seen from its bytes, so that one which does nothing can be told from a
//! slow one and either be closed in its time. hyper's own header time-out counts idle keep-alive
//! time, and would cut connections that clients are about to reuse.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;

/// A request's head must be whole within this time, counted from its first byte; the first byte
/// of a new connection within the same.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// A connection that has served a request may wait so long for the next.
const IDLE_WITHIN: Duration = Duration::from_secs(75);
/// A client must take a byte of its answer within this time.
const TAKEN_WITHIN: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy)]
enum Phase {
    /// Nothing has come yet.
    New,
    /// A request was served; nothing of the next has come.
    Idle,
    /// A head is coming in.
    Head,
    /// A request is being read or answered.
    Busy,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    since: Instant,
    /// Requests being answered; more than one while the next is read behind the last.
    requests: usize,
    /// Since when the client takes nothing.
    stalled: Option<Instant>,
}

/// What a connection is doing.
#[derive(Debug)]
pub struct Activity {
    state: Mutex<State>,
    evicted: Notify,
}

impl Default for Activity {
    fn default() -> Self {
        let state = State { phase: Phase::New, since: Instant::now(), requests: 0, stalled: None };
        Self { state: Mutex::new(state), evicted: Notify::new() }
    }
}

impl Activity {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A whole head has come.
    pub fn requested(&self) {
        let mut state = self.lock();
        state.requests += 1;
        state.phase = Phase::Busy;
    }

    /// An answer was sent, or given up.
    pub fn responded(&self) {
        let mut state = self.lock();
        state.requests = state.requests.saturating_sub(1);
        if state.requests == 0 {
            state.phase = Phase::Idle;
            state.since = Instant::now();
        }
    }

    fn read(&self) {
        let mut state = self.lock();
        if matches!(state.phase, Phase::New | Phase::Idle) {
            // A new connection's time began when it was made.
            if matches!(state.phase, Phase::Idle) {
                state.since = Instant::now();
            }
            state.phase = Phase::Head;
        }
    }

    fn written(&self, stalled: bool) {
        let mut state = self.lock();
        if stalled {
            state.stalled.get_or_insert_with(Instant::now);
        } else {
            state.stalled = None;
            // What is left of an answer goes out after its body is done with: that is not idle time.
            if matches!(state.phase, Phase::Idle) {
                state.since = Instant::now();
            }
        }
    }

    /// Since when it has waited without a complete head; `None` while it is busy.
    pub fn waiting_since(&self) -> Option<Instant> {
        let state = self.lock();
        let is_waiting = !matches!(state.phase, Phase::Busy) && state.stalled.is_none();
        is_waiting.then_some(state.since)
    }

    /// Whether its time is up at `now`.
    pub fn is_overdue(&self, now: Instant) -> bool {
        let state = self.lock();
        let waited = now.saturating_duration_since(state.since);
        let late = match state.phase {
            Phase::New | Phase::Head => waited >= HEAD_WITHIN,
            Phase::Idle => waited >= IDLE_WITHIN,
            Phase::Busy => false,
        };
        late || state.stalled.is_some_and(|since| now.saturating_duration_since(since) >= TAKEN_WITHIN)
    }

    /// Has it closed to make room.
    pub fn evict(&self) {
        // Not to be chosen again before it is gone.
        self.lock().phase = Phase::Busy;
        self.evicted.notify_one();
    }

    /// Returns when it must close to make room.
    pub async fn evicted(&self) {
        self.evicted.notified().await;
    }
}

/// A stream whose activity is seen.
pub struct Watched {
    /// The stream.
    pub stream: TcpStream,
    /// What it is doing.
    pub activity: Arc<Activity>,
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let poll = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.activity.read();
        }
        poll
    }
}

impl Watched {
    fn note(&self, poll: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.activity.written(poll.is_pending());
        poll
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.note(poll)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.note(poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
