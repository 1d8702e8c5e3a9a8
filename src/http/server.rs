//! The port: connections, their limits, and their end.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::header::{CONNECTION, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{Notify, watch};
use tokio::task::JoinError;
use tower_service::Service as _;
use warp::filters::BoxedFilter;

use super::access::{self, RequestId, RequestIds};
use super::body::{FaultNote, Guarded};
use super::conditional::respond;
use super::connection::{Activity, Watched};
use super::content::{Busy, Outgoing};
use super::error::ApiError;
use super::listener::Listener;
use super::reply::{Carrier, Reply};
use super::stream::{Peer, Stream};
use super::tokens::{Access, admit};
use super::{Api, cors, health, ingest, probe, refusal, routes};

/// How often a connection looks whether its time is up.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The same while the daemon stops.
const LOOK_WHILE_STOPPING_EVERY: Duration = Duration::from_millis(10);
/// Pause after a failure to accept, such as a lack of file descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);
/// A request's head may be so long.
pub const MAX_HEAD_BYTES: usize = 64 << 10;

/// Serves an [`Api`].
pub struct Server {
    api: Arc<Api>,
    routes: BoxedFilter<(Carrier,)>,
    ids: RequestIds,
    connections: Mutex<HashMap<u64, Arc<Activity>>>,
    /// A connection has ended.
    room: Notify,
    next: AtomicU64,
    /// The limit of connections held somebody up.
    was_full: AtomicBool,
}

impl Server {
    /// A server of `api`.
    pub fn new(api: Arc<Api>) -> Arc<Self> {
        let routes = routes::routes(&api);
        Arc::new(Self {
            api,
            routes,
            ids: RequestIds::default(),
            connections: Mutex::default(),
            room: Notify::new(),
            next: AtomicU64::new(0),
            was_full: AtomicBool::new(false),
        })
    }

    /// Serves `listener` until `stop` says true; then lets requests under way finish for up to
    /// `drain_within` and closes everything.
    pub async fn serve(self: Arc<Self>, listener: Listener, mut stop: watch::Receiver<bool>, drain_within: Duration) {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            match accepted {
                Ok((stream, peer)) => {
                    tokio::select! {
                        () = self.make_room() => {}
                        // It was let in: it is answered like the others.
                        _ = stop.wait_for(|stop| *stop) => {}
                    }
                    self.admit(stream, peer, stop.clone());
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection cannot be accepted");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                }
            }
        }
        drop(listener);
        let drained = tokio::time::timeout(drain_within, async {
            loop {
                let freed = self.room.notified();
                if self.lock().is_empty() {
                    return;
                }
                let _ = tokio::time::timeout(ACCEPT_AGAIN, freed).await;
            }
        });
        if drained.await.is_err() {
            let left: Vec<_> = self.lock().values().cloned().collect();
            tracing::warn!("{} connections are closed in the middle of a request", left.len());
            for activity in left {
                activity.evict();
            }
        }
    }

    /// Whether a newcomer has had to wait for room since this was last asked.
    pub fn was_full(&self) -> bool {
        self.was_full.swap(false, Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<Activity>>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when one more connection may be open. At the limit the one that has waited longest without a
    /// complete head is closed; where all are busy, the newcomer waits.
    async fn make_room(&self) {
        loop {
            let freed = self.room.notified();
            {
                let connections = self.lock();
                if connections.len() < self.api.settings().max_connections {
                    return;
                }
                let waiting = connections.values().filter_map(|activity| Some((activity.waiting_since()?, activity)));
                if let Some((_, longest)) = waiting.min_by_key(|(since, _)| *since) {
                    longest.evict();
                }
            }
            self.was_full.store(true, Ordering::Relaxed);
            // A busy connection that becomes idle makes no sound: look again after a moment.
            let _ = tokio::time::timeout(ACCEPT_AGAIN, freed).await;
        }
    }

    fn admit(self: &Arc<Self>, stream: Stream, peer: Peer, stop: watch::Receiver<bool>) {
        let activity = Arc::new(Activity::default());
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.lock().insert(number, Arc::clone(&activity));
        let server = Arc::clone(self);
        tokio::spawn(async move {
            server.connection(stream, peer, &activity, stop).await;
            server.lock().remove(&number);
            server.room.notify_waiters();
        });
    }

    async fn connection(self: &Arc<Self>, stream: Stream, peer: Peer, activity: &Arc<Activity>, mut stop: watch::Receiver<bool>) {
        // Answers are small and whole: waiting to fill packets only delays them.
        if let Stream::Tcp(stream) = &stream {
            let _ = stream.set_nodelay(true);
        }
        let io = TokioIo::new(Watched::new(stream, Arc::clone(activity)));
        let service = service_fn(|request| {
            let (server, activity) = (Arc::clone(self), Arc::clone(activity));
            activity.requested();
            let busy = Busy::new(Arc::clone(&activity));
            // A task of its own: a client that has gone does not undo what it has asked for.
            let answer = tokio::spawn(async move { server.answer(request, peer, busy).await });
            let server = Arc::clone(self);
            async move {
                let answer = match answer.await {
                    Ok(answer) => answer,
                    Err(error) => server.failed(&error, peer).await,
                };
                activity.answering();
                Ok::<_, Infallible>(answer)
            }
        });
        let mut connection = http1::Builder::new()
            .timer(TokioTimer::new())
            // A client that has said all may close its side and still read.
            .half_close(true)
            .header_read_timeout(None)
            .max_buf_size(MAX_HEAD_BYTES)
            // The buffer may grow past its limit while a head is still coming.
            .max_header_size(MAX_HEAD_BYTES)
            .serve_connection(io, service);
        let mut look = tokio::time::interval(LOOK_EVERY);
        let mut stopping: Option<Instant> = None;
        let mut told = false;
        let ended = loop {
            tokio::select! {
                ended = &mut connection => break ended,
                _ = look.tick() => if activity.is_overdue(Instant::now()) { return },
                () = activity.evicted() => return,
                _ = stop.wait_for(|stop| *stop), if stopping.is_none() => stopping = Some(Instant::now()),
                // hyper would close at once what has not begun, and a request with it that it has not read yet.
                () = async { tokio::time::sleep(LOOK_WHILE_STOPPING_EVERY).await }, if stopping.is_some() && !told => {
                    if stopping.is_some_and(|since| since.elapsed() >= activity.grace()) {
                        told = true;
                        std::pin::Pin::new(&mut connection).graceful_shutdown();
                    }
                }
            }
        };
        // Errors here are broken connections and broken HTTP: the client's affair.
        if let Err(error) = ended {
            self.refuse(connection.into_parts().io.into_inner(), &error, peer, activity).await;
        }
    }

    /// The answer to a request whose handler has panicked; the panic itself is in the log.
    async fn failed(&self, error: &JoinError, peer: Peer) -> Response<Outgoing> {
        let id = self.ids.next();
        tracing::error!(request_id = id.0, "a request's handler ended without an answer: {error}");
        let reply = Reply::from(ApiError::internal(""));
        let mut response = respond(reply, &Method::GET, &HeaderMap::new(), Busy::default()).await;
        self.sign(response.headers_mut(), &HeaderMap::new(), &id);
        access::log("-", "-", response.status(), Duration::ZERO, peer, &id);
        response
    }

    /// Says in our own words that a head was refused; of its request nothing is known.
    async fn refuse(&self, watched: Watched, error: &hyper::Error, peer: Peer, activity: &Activity) {
        let Some(refusal) = refusal::of(&watched, error) else { return };
        let id = self.ids.next();
        let status = refusal.status;
        let mut headers = HeaderMap::new();
        self.sign(&mut headers, &HeaderMap::new(), &id);
        access::log("-", "-", status, Duration::ZERO, peer, &id);
        tokio::select! {
            () = refusal::send(watched.stream, refusal, headers) => {}
            () = activity.evicted() => {}
        }
    }

    /// Adds to an answer the headers that all have.
    fn sign(&self, answer: &mut HeaderMap, asked: &HeaderMap, id: &RequestId) {
        answer.insert(HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
        if let Ok(id) = HeaderValue::from_str(&id.0) {
            answer.insert(HeaderName::from_static("x-request-id"), id);
        }
        cors::allow(&self.api.settings().cors_origins, asked, answer);
    }

    async fn answer(&self, request: Request<Incoming>, peer: Peer, busy: Busy) -> Response<Outgoing> {
        let started = Instant::now();
        let id = self.ids.next();
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let asked = request.headers().clone();
        // RFC 9112, 3.2: whom it asks is not clear.
        let is_ambiguous = asked.get_all(HOST).iter().nth(1).is_some();
        let reply = match method {
            _ if is_ambiguous => Reply::from(ApiError::bad("The request has more than one Host")),
            Method::OPTIONS => options(&uri),
            // CONNECT names a host in a path's place; warp takes none for granted.
            _ if uri.path().is_empty() => Reply::from(ApiError::no_route(&uri.to_string())),
            _ => self.route(request, peer).await,
        };
        if let Some(detail) = &reply.detail {
            tracing::error!(request_id = id.0, "{method} {} failed: {detail}", uri.path());
        }
        let mut response = respond(reply, &method, &asked, busy).await;
        let headers = response.headers_mut();
        self.sign(headers, &asked, &id);
        if is_ambiguous {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if method == Method::OPTIONS
            && let Some(allow) = routes::allowed(uri.path())
        {
            cors::preflight(&asked, headers, &allow);
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        if !probe::is_own(&self.api, &asked) {
            access::log(method.as_str(), path, response.status(), started.elapsed(), peer, &id);
        }
        response
    }

    async fn route(&self, request: Request<Incoming>, peer: Peer) -> Reply {
        let (mut parts, body) = request.into_parts();
        if parts.method == Method::HEAD {
            parts.method = Method::GET;
        }
        let note = FaultNote::default();
        let limit = ingest::max_request_bytes(self.api.settings().max_frame_bytes);
        let body = Guarded::new(body, &parts.headers, note.clone(), limit);
        match admit(&self.api, &parts.method, parts.uri.path(), &parts.headers, peer) {
            Ok(Access::Granted) => {}
            Ok(Access::StatusAlone) => return health::status_alone(&self.api).await.unwrap_or_else(Reply::from),
            // What there is of the body is read and thrown away, so that the client comes to read the refusal.
            Err(error) => return Reply::from(error),
        }
        parts.extensions.insert(note);
        let mut service = warp::service(self.routes.clone());
        let Ok(response) = service.call(Request::from_parts(parts, body)).await;
        Carrier::unload(&response).unwrap_or_else(|| Reply::from(ApiError::internal("a route gave no reply")))
    }
}

fn options(uri: &Uri) -> Reply {
    match routes::allowed(uri.path()) {
        Some(allow) => {
            let mut reply = Reply::empty(StatusCode::NO_CONTENT);
            reply.set(http::header::ALLOW, &allow);
            reply
        }
        None => Reply::from(ApiError::no_route(uri.path())),
    }
}
