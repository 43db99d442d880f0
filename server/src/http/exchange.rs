//! A request and its answer, of which the connection's place is told.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::service::Service;
use hyper::{Request, Response};
use pin_project_lite::pin_project;

use super::places::Place;

/// A request's body while it comes.
#[derive(Debug)]
pub struct Arriving {
    body: Incoming,
    place: Arc<Place>,
}

impl Arriving {
    /// The rest of a body for which the request does not wait any more.
    pub(super) fn into_inner(self) -> Incoming {
        self.body
    }
}

impl Body for Arriving {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        match &polled {
            Poll::Pending => self.place.awaits_more(),
            Poll::Ready(Some(Ok(_))) if !self.body.is_end_stream() => self.place.has_a_piece(),
            Poll::Ready(Some(Ok(_)) | None) => self.place.is_in(),
            Poll::Ready(Some(Err(_))) => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The service of one connection, which tells its place when requests begin and are answered.
#[derive(Debug)]
pub(super) struct Placed<S> {
    service: S,
    place: Arc<Place>,
}

impl<S> Placed<S> {
    pub(super) fn new(service: S, place: Arc<Place>) -> Placed<S> {
        Placed { service, place }
    }
}

impl<S, B> Service<Request<Incoming>> for Placed<S>
where
    S: Service<Request<Arriving>, Response = Response<B>, Error = Infallible>,
{
    type Response = Response<B>;
    type Error = Infallible;
    type Future = Answering<S::Future>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.place.begins(!request.body().is_end_stream());
        let request = request.map(|body| Arriving { body, place: Arc::clone(&self.place) });
        Answering { answer: self.service.call(request), place: Arc::clone(&self.place) }
    }
}

pin_project! {
    /// An answer that is being made.
    pub(super) struct Answering<F> {
        #[pin]
        answer: F,
        place: Arc<Place>,
    }
}

impl<F, B> Future for Answering<F>
where
    F: Future<Output = Result<Response<B>, Infallible>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let Ok(mut answer) = ready!(this.answer.poll(cx));
        if !this.place.has_request() {
            // The connection ends where the rest of a request is not read: its client must not send the next one over it.
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        this.place.is_answered();
        Poll::Ready(Ok(answer))
    }
}
