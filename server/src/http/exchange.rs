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
#[cfg(test)]
use super::{arrival::Arrival, listener::Connection, places::Places};

/// A request's body while it comes.
#[derive(Debug)]
pub struct Arriving<B = Incoming> {
    body: B,
    place: Arc<Place>,
}

impl<B> Arriving<B> {
    /// The rest of a body for which the request does not wait any more.
    pub(super) fn into_inner(self) -> B {
        self.body
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Arriving<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
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

impl<S, R, B> Service<Request<R>> for Placed<S>
where
    R: Body<Data = Bytes> + Unpin,
    S: Service<Request<Arriving<R>>, Response = Response<B>, Error = Infallible>,
{
    type Response = Response<B>;
    type Error = Infallible;
    type Future = Answering<S::Future>;

    fn call(&self, request: Request<R>) -> Self::Future {
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

/// Asks as over a connection of its own, with nothing of HTTP in between; `None` where there is no place for it.
#[cfg(test)]
pub(crate) fn ask<S, F, R, B>(
    places: &Arc<Places>,
    service_of: F,
    peer: std::net::IpAddr,
    request: Request<R>,
) -> Option<impl Future<Output = Response<B>> + use<S, F, R, B>>
where
    F: Fn(Connection) -> S,
    R: Body<Data = Bytes> + Unpin,
    S: Service<Request<Arriving<R>>, Response = Response<B>, Error = Infallible>,
{
    let seat = Arc::new(places.admit(peer)?);
    let place = Arc::clone(seat.place());
    let service = service_of(Connection { peer, arrival: Arrival::default(), seat: Arc::clone(&seat) });
    let answer = Placed::new(service, place).call(request);
    Some(async move {
        let _seat = seat;
        let Ok(answer) = answer.await;
        answer
    })
}
