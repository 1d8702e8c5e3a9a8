//! The body of an ingest.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::Request;
use http_body::{Body, Frame as Piece, SizeHint};
use session_store::domain::frame::Frame;
use session_store::http::body::FaultNote;
use session_store::http::error::ApiError;
use session_store::http::ingest::posted;
use tower_service::Service as _;
use warp::Filter as _;

use crate::assert_sentence;

/// The largest picture, so small that the fuzzer finds it.
const MAX_FRAME: usize = 2000;

/// Reads `data` as a form whose parts are divided by `--x`: the first byte is the length of the pieces in which it
/// comes, which must not make a difference.
pub fn run(data: &[u8]) {
    let Some((&size, form)) = data.split_first() else { return };
    let whole = read(form, form.len().max(1));
    let pieces = read(form, usize::from(size).max(1));
    match (&whole, &pieces) {
        (Ok(whole), Ok(pieces)) => {
            assert_eq!((&whole.session, whole.capture, &whole.sightings), (&pieces.session, pieces.capture, &pieces.sightings));
            let jpeg = |frame: &Frame| frame.jpeg.as_ref().map(|jpeg| jpeg.bytes().clone());
            assert_eq!(jpeg(whole), jpeg(pieces));
            if let Some(jpeg) = jpeg(whole) {
                assert!(jpeg.len() <= MAX_FRAME && jpeg.starts_with(&[0xff, 0xd8]));
                assert!(form.windows(jpeg.len()).any(|window| window == jpeg), "a picture that was never sent");
            }
        }
        (Err(whole), Err(pieces)) => {
            for error in [whole, pieces] {
                assert!(error.status.is_client_error(), "{} {}", error.status, error.message);
                assert_sentence(&error.message);
            }
        }
        _ => panic!("pieces of {size} bytes are another form: {whole:?} or {pieces:?}"),
    }
}

/// What the daemon's own route makes of `form`, which comes in pieces of `size` bytes.
fn read(form: &[u8], size: usize) -> Result<Frame, ApiError> {
    let read = Arc::new(Mutex::new(None));
    let into = Arc::clone(&read);
    let route = warp::multipart::form().max_length(None).then(move |form| {
        let into = Arc::clone(&into);
        async move {
            let frame = posted(form, MAX_FRAME, &FaultNote::default()).await;
            *into.lock().expect("no panic before") = Some(frame);
            http::StatusCode::OK
        }
    });
    let pieces = form.chunks(size).map(Bytes::copy_from_slice).collect();
    let request = Request::post("/ingest").header("content-type", "multipart/form-data; boundary=x").body(Pieces(pieces));
    let answer = warp::service(route).call(request.expect("a request")).now_or_never();
    answer.expect("all pieces are there: nothing to wait for").expect("infallible");
    read.lock().expect("no panic before").take().expect("the route was taken")
}

struct Pieces(VecDeque<Bytes>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Piece<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|piece| Ok(Piece::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.iter().map(|piece| piece.len() as u64).sum())
    }
}
