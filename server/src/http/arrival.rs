//! When a request came: the start of its deadline.
//!
//! The system notes when each segment reached it, and tells the time of the latest that a read takes. What a connection's bytes
//! waited before they were read, for the process to accept the connection or for a core, counts as the request's age.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use nix::sys::socket::ControlMessageOwned::ScmTimestampns;
use nix::sys::socket::sockopt::ReceiveTimestampns;
use nix::sys::socket::{MsgFlags, recvmsg, setsockopt};
use nix::sys::time::TimeSpec;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use crate::clock;
use crate::trace::{self, Written};

/// Bytes asked for at a time, which are zeroed first: more than a callback with its head.
const READ_BYTES: usize = 2 * 1024;

/// Ages are cut off here: a request this old is late whatever its exact age, and the system's clock may have been set.
const AGE_MAX: Duration = Duration::from_secs(60);

/// When the current request of a connection came. Every request carries it in its extensions.
#[derive(Clone, Debug, Default)]
pub struct Arrival {
    came: Arc<Mutex<Came>>,
    written: Written,
}

#[derive(Debug, Default)]
struct Came {
    /// Of the first read after the last request.
    first: Option<Instant>,
    /// Of the latest bytes.
    latest: Option<Instant>,
}

impl Arrival {
    /// When the bytes of the current request's first read came. A request that came together with the one before counts from then.
    #[must_use]
    pub fn of_request(&self) -> Instant {
        let came = self.lock();
        let came = came.first.or(came.latest).unwrap_or_else(Instant::now);
        trace::begins(came, &self.written);
        came
    }

    /// How long the latest bytes have lain: what a client takes its time for is not the server's lateness.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.lock().latest.map(|latest| latest.elapsed()).unwrap_or_default()
    }

    /// The current request is read to its end: the next byte belongs to the next request.
    pub fn forget(&self) {
        self.lock().first = None;
    }

    fn note(&self, age: Duration) {
        let now = Instant::now();
        let at = now.checked_sub(age).unwrap_or(now);
        let mut came = self.lock();
        came.first.get_or_insert(at);
        came.latest = Some(at);
    }

    fn lock(&self) -> MutexGuard<'_, Came> {
        self.came.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets the system note when bytes come, on this listener's connections. Where it does not, they count from when they are
/// read.
pub fn stamp(listener: &TcpListener) {
    if let Err(error) = setsockopt(listener, ReceiveTimestampns, &true) {
        tracing::warn!(%error, "how long requests wait before they are read cannot be seen");
    }
}

/// A connection that notes when its bytes came.
#[derive(Debug)]
pub struct Noted {
    stream: TcpStream,
    arrival: Arrival,
    /// Room for the time that the system notes.
    control: Vec<u8>,
}

impl Noted {
    /// Over a new connection.
    #[must_use]
    pub fn new(stream: TcpStream, arrival: Arrival) -> Noted {
        Noted { stream, arrival, control: nix::cmsg_space!(TimeSpec) }
    }
}

impl AsyncRead for Noted {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Noted { stream, arrival, control } = self.get_mut();
        let before = buf.filled().len();
        while buf.remaining() > 0 {
            match stream.poll_read_ready(cx)? {
                Poll::Ready(()) => {}
                Poll::Pending if buf.filled().len() > before => break,
                Poll::Pending => return Poll::Pending,
            }
            let room = buf.remaining().min(READ_BYTES);
            let unfilled = buf.initialize_unfilled_to(room);
            let mut read = None;
            let fd = stream.as_raw_fd();
            let tried = stream.try_io(Interest::READABLE, || {
                let (count, age) = receive(fd, unfilled, control)?;
                read = Some((count, age));
                // Less than there was room for was all: the stream is not asked again before more comes.
                if count > 0 && count < room { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
            });
            match (read, tried) {
                (Some((count, age)), _) => {
                    buf.advance(count);
                    if count > 0 {
                        arrival.note(age.unwrap_or_default());
                    }
                    if count < room {
                        break;
                    }
                }
                (None, Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
                // The bytes before the error are handed over first; the next read reports the end.
                (None, Err(_)) if buf.filled().len() > before => break,
                (None, tried) => return Poll::Ready(tried),
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Reads what is there, and how long ago the latest of it came. `None`: the system did not note it, as in the first moments after
/// it is asked to.
fn receive(fd: RawFd, into: &mut [u8], control: &mut [u8]) -> io::Result<(usize, Option<Duration>)> {
    let mut parts = [IoSliceMut::new(into)];
    let message = recvmsg::<()>(fd, &mut parts, Some(control), MsgFlags::empty())?;
    let stamp = message.cmsgs().ok().and_then(|mut noted| {
        noted.find_map(|note| if let ScmTimestampns(at) = note { Some(Duration::from(at)) } else { None })
    });
    Ok((message.bytes, stamp.map(age_of)))
}

/// Of what the system noted then, as a time since 1970.
fn age_of(stamp: Duration) -> Duration {
    clock::ago(stamp).min(AGE_MAX)
}

impl AsyncWrite for Noted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.arrival.written.now();
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.arrival.written.now();
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// A connection whose bytes the system stamps.
    async fn connected() -> (TcpStream, Noted, Arrival) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        stamp(&listener);
        let began = Instant::now();
        loop {
            assert!(began.elapsed() < Duration::from_secs(10), "the system stamps nothing");
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let arrival = Arrival::default();
            let mut server = Noted::new(listener.accept().await.unwrap().0, arrival.clone());
            client.write_all(b"x").await.unwrap();
            server.stream.readable().await.unwrap();
            let (_, age) = receive(server.stream.as_raw_fd(), &mut [0], &mut server.control).unwrap();
            if age.is_some() {
                return (client, server, arrival);
            }
        }
    }

    /// Lets real time pass: the system's own clock is what is looked at.
    async fn pass(time: Duration) {
        let began = Instant::now();
        while began.elapsed() < time {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_request_counts_from_when_it_reached_the_system() {
        let (mut client, mut server, arrival) = connected().await;
        let mut byte = [0];
        client.write_all(b"x").await.unwrap();
        let half = Instant::now() + Duration::from_millis(15);
        pass(Duration::from_millis(30)).await;
        server.read_exact(&mut byte).await.unwrap();
        assert!(arrival.of_request() < half, "it was read later");
        assert!(arrival.age() > Duration::from_millis(15));
        client.write_all(b"x").await.unwrap();
        server.read_exact(&mut byte).await.unwrap();
        assert!(arrival.of_request() < half, "the rest of a request makes it no younger");
        assert!(arrival.age() < half.elapsed(), "and does not lie as long");
        arrival.forget();
        client.write_all(b"x").await.unwrap();
        server.read_exact(&mut byte).await.unwrap();
        assert!(arrival.of_request() > half, "the next request");
    }

    #[tokio::test]
    async fn a_request_that_came_with_the_one_before_counts_from_then() {
        let (mut client, mut server, arrival) = connected().await;
        client.write_all(b"xx").await.unwrap();
        server.read_exact(&mut [0; 2]).await.unwrap();
        let first = arrival.of_request();
        arrival.forget();
        assert_eq!(arrival.of_request(), first);
    }

    #[test]
    fn what_lay_for_ever_is_old_and_what_is_yet_to_come_is_new() {
        assert_eq!(age_of(Duration::ZERO), AGE_MAX);
        assert_eq!(age_of(Duration::MAX), Duration::ZERO, "the clock was set back");
    }

    #[tokio::test]
    async fn all_is_read_whatever_its_length() {
        let (mut client, mut server, _) = connected().await;
        let sent: Vec<u8> = (0..u8::MAX).cycle().take(100_000).collect();
        let read = async {
            let mut read = Vec::new();
            server.read_to_end(&mut read).await.unwrap();
            read
        };
        let send = async {
            client.write_all(&sent).await.unwrap();
            client.shutdown().await.unwrap();
        };
        let (read, ()) = tokio::join!(read, send);
        assert!(read == sent);
    }
}
