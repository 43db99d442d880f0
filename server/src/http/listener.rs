//! A listener with bounds on connections, header size and header time, and a graceful end.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::arrival::{Arrival, Noted};
use crate::stopping::Stopping;

/// The addresses of the two listeners. They never collide, except that both may have port 0 (any free port).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// For UR's webhooks.
    pub public: SocketAddr,
    /// For people: the console, the admin API and metrics.
    pub admin: SocketAddr,
}

/// What the service of a connection knows of it.
#[derive(Debug)]
pub struct Connection {
    pub peer: IpAddr,
    /// When the current request's first byte came.
    pub arrival: Arrival,
}

/// The most concurrent connections of a listener; where the process may open few files there are fewer. UR keeps a few
/// dozen.
pub const CONNECTIONS_MAX: usize = 4_096;

/// Time from a request's first byte until its header must be complete.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// Largest header of a request, in bytes; signatures and ids need less than a kilobyte.
const HEADER_BYTES_MAX: usize = 16 * 1024;

/// Grace for open requests when the process ends: more than any decision's deadline.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Pause after a failed accept (out of file descriptors, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What a listener grants connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The most connections at once; the next one waits to be accepted.
    pub places: usize,
    /// Whether a request is completed even if its client closes its side meanwhile. The client may still read the answer,
    /// and a decision must be settled even if nobody does. Otherwise the request is dropped.
    pub outlasts_clients: bool,
}

/// Serves connections, each with a service of its own, until asked to stop; then lets the open requests end.
pub async fn serve<S, B>(
    listener: TcpListener,
    terms: Terms,
    service_of: impl Fn(Connection) -> S,
    mut stopping: Stopping,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send + 'static,
    S::Future: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let places = Arc::new(Semaphore::new(terms.places));
    let graceful = GracefulShutdown::new();
    loop {
        // With all connections taken, a request to stop must still be noticed.
        let place = tokio::select! {
            place = Arc::clone(&places).acquire_owned() => place,
            () = stopping.set() => break,
        };
        let Ok(place) = place else { break };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopping.set() => break,
        };
        let (stream, peer) = match accepted {
            Ok((stream, peer)) => (stream, peer.ip()),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // An answer is one small write: Nagle's algorithm would only delay it.
        let _ = stream.set_nodelay(true);
        let arrival = Arrival::default();
        let stream = TokioIo::new(Noted::new(stream, arrival.clone()));
        let service = service_of(Connection { peer, arrival });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(HEADER_BYTES_MAX)
            .half_close(terms.outlasts_clients)
            .serve_connection(stream, service);
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended early");
            }
            drop(place);
        });
    }
    drop(listener);
    if tokio::time::timeout(DRAIN_TIMEOUT, graceful.shutdown()).await.is_err() {
        tracing::warn!("some requests did not end in time and were cut off");
    }
}
