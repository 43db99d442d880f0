//! A listener: accepts connections, gives each its place, and ends gracefully.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hyper::body::Body;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulShutdown;
use metrics::{Counter, Gauge, counter, gauge};
use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, MissedTickBehavior};

use super::arrival::{Arrival, Noted, stamp};
use super::exchange::{Arriving, Placed};
use super::places::{Counts, Place, Places, Seat, TICK, Timed};
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
    /// When the current request came.
    pub arrival: Arrival,
    /// Told what the client has proven.
    pub seat: Arc<Seat>,
}

/// The most concurrent connections of a listener; where the process may open few files there are fewer. UR keeps a few
/// dozen.
pub const CONNECTIONS_MAX: usize = 4_096;

/// Connections that have lost their place and are not closed yet, at most.
pub const LEAVING_MAX: usize = 16;

/// Largest header of a request, in bytes; signatures and ids need less than a kilobyte.
const HEADER_BYTES_MAX: usize = 16 * 1024;

/// What the system keeps of a connection's unread and unsent bytes, each way; it doubles the figure for its own needs.
const SOCKET_BUFFER_BYTES: usize = 16 * 1024;

/// Grace for open requests when the process ends: more than any decision's deadline.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// For the answer of a connection that has lost its place: more than any decision's deadline.
const LAST_ANSWER: Duration = Duration::from_secs(1);

/// Pause after a failed accept (out of file descriptors, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What a listener grants connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// In metrics: `public` or `admin`.
    pub name: &'static str,
    /// Whether a request is completed even if its client closes its side meanwhile. The client may still read the answer,
    /// and a decision must be settled even if nobody does. Otherwise the request is dropped.
    pub outlasts_clients: bool,
    /// Whether the system keeps little of what a client sends and does not read: callbacks and their answers are short.
    pub small_buffers: bool,
    /// After which a client that takes nothing is gone for the system, too.
    pub gone_after: Duration,
}

impl Terms {
    /// Callbacks.
    pub const UR: Terms =
        Terms { name: "public", outlasts_clients: true, small_buffers: true, gone_after: Duration::from_secs(10) };
    /// The console, the admin API and metrics.
    pub const PEOPLE: Terms =
        Terms { name: "admin", outlasts_clients: false, small_buffers: false, gone_after: Duration::from_secs(60) };
}

/// Serves connections, each with a service of its own, until asked to stop; then lets the open requests end. `told` hears
/// every quarter of a second how the places are taken.
pub async fn serve<S, B>(
    listener: TcpListener,
    terms: Terms,
    places: Arc<Places>,
    service_of: impl Fn(Connection) -> S,
    told: impl Fn(Counts),
    stopping: Stopping,
) where
    S: Service<Request<Arriving>, Response = Response<B>, Error = Infallible> + Send + 'static,
    S::Future: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if terms.small_buffers {
        // Connections inherit them. Without them strangers cost more of the system's memory, and nothing else.
        let _ = sockopt::set_socket_recv_buffer_size(&listener, SOCKET_BUFFER_BYTES);
        let _ = sockopt::set_socket_send_buffer_size(&listener, SOCKET_BUFFER_BYTES);
    }
    stamp(&listener);
    let open = Arc::new(Semaphore::new(places.most() + LEAVING_MAX));
    let meters = Meters::new(terms.name, places.most());
    let graceful = GracefulShutdown::new();
    let began = Instant::now();
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        let accepted = tokio::select! {
            biased;
            () = stopping.set() => break,
            _ = ticks.tick() => {
                let counts = places.sweep(began.elapsed());
                meters.show(counts);
                told(counts);
                continue;
            }
            accepted = accept(&listener, &open, terms.gone_after) => accepted,
        };
        let Some((stream, peer, file)) = accepted else { continue };
        let Some(seat) = places.admit(peer) else { continue };
        let (arrival, seat) = (Arrival::default(), Arc::new(seat));
        let place = Arc::clone(seat.place());
        let service = service_of(Connection { peer, arrival: arrival.clone(), seat: Arc::clone(&seat) });
        let stream = TokioIo::new(Timed::new(Noted::new(stream, arrival), Arc::clone(&place)));
        let connection = http1::Builder::new()
            .max_buf_size(HEADER_BYTES_MAX)
            .half_close(terms.outlasts_clients)
            .serve_connection(stream, Placed::new(service, Arc::clone(&place)));
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = while_in_place(connection, &place).await {
                tracing::debug!(%error, "a connection ended early");
            }
            drop((seat, file));
        });
    }
    drop(listener);
    if tokio::time::timeout(DRAIN_TIMEOUT, graceful.shutdown()).await.is_err() {
        tracing::warn!("some requests did not end in time and were cut off");
    }
}

/// Drives a connection until it ends, or is asked to. A request that came in meanwhile is answered first; who does not take
/// an answer has had time, and keeps nobody waiting for its place.
async fn while_in_place<E>(connection: impl Future<Output = Result<(), E>>, place: &Place) -> Result<(), E> {
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        biased;
        ended = connection.as_mut() => return ended,
        () = place.ended() => {}
    }
    let last = std::future::poll_fn(|context| match connection.as_mut().poll(context) {
        Poll::Pending if place.is_busy() => Poll::Pending,
        Poll::Pending => Poll::Ready(Ok(())),
        ended => ended,
    });
    tokio::time::timeout(LAST_ANSWER, last).await.unwrap_or(Ok(()))
}

/// The next connection, and the file that it takes.
async fn accept(
    listener: &TcpListener,
    open: &Arc<Semaphore>,
    gone_after: Duration,
) -> Option<(TcpStream, IpAddr, OwnedSemaphorePermit)> {
    let file = Arc::clone(open).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => {
            // An answer is one small write: Nagle's algorithm would only delay it.
            let _ = stream.set_nodelay(true);
            let _ = sockopt::set_tcp_user_timeout(&stream, u32::try_from(gone_after.as_millis()).unwrap_or(0));
            // A listener on both families shows an IPv4 address as IPv6 writes it.
            Some((stream, peer.ip().to_canonical(), file))
        }
        Err(error) => {
            tracing::warn!(%error, "a connection could not be accepted");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

/// The figures of a listener's places (`docs/metrics.md`).
struct Meters {
    taken: Gauge,
    proven: Gauge,
    evicted: Counter,
    overdue: Counter,
    refused: Counter,
}

impl Meters {
    fn new(listener: &'static str, most: usize) -> Meters {
        let ended =
            |why: &'static str| counter!("tapgate_connections_ended_total", "listener" => listener, "why" => why);
        let open = |who: &'static str| gauge!("tapgate_connections", "listener" => listener, "who" => who);
        gauge!("tapgate_connections_max", "listener" => listener).set(figure(most));
        Meters {
            taken: open("all"),
            proven: open("proven"),
            evicted: ended("evicted"),
            overdue: ended("overdue"),
            refused: ended("refused"),
        }
    }

    fn show(&self, counts: Counts) {
        let Counts { taken, proven, evicted, overdue, refused, .. } = counts;
        self.taken.set(figure(taken));
        self.proven.set(figure(proven));
        self.evicted.absolute(evicted);
        self.overdue.absolute(overdue);
        self.refused.absolute(refused);
    }
}

/// Of connections, of which there are a few thousand at most.
fn figure(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::MAX, f64::from)
}
