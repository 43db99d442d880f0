//! The arrival of a request's first byte: the start of its deadline.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::trace::{self, Written};

/// The arrival of a connection's first byte after its last answer. Every request carries it in its extensions.
#[derive(Clone, Debug, Default)]
pub struct Arrival {
    first: Arc<Mutex<Option<Instant>>>,
    written: Written,
}

impl Arrival {
    /// The arrival of the current request's first byte. A request that was read together with the previous one counts
    /// from now, as its turn has just come.
    #[must_use]
    pub fn of_request(&self) -> Instant {
        let arrived = (*self.lock()).unwrap_or_else(Instant::now);
        trace::begins(arrived, &self.written);
        arrived
    }

    /// The current request is read to its end: the next byte belongs to the next request.
    pub fn forget(&self) {
        *self.lock() = None;
    }

    fn note(&self) {
        self.lock().get_or_insert_with(Instant::now);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.first.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream that records its bytes' arrival.
#[derive(Debug)]
pub struct Noted<S> {
    inner: S,
    arrival: Arrival,
}

impl<S> Noted<S> {
    /// Over a new connection.
    pub fn new(inner: S, arrival: Arrival) -> Noted<S> {
        Noted { inner, arrival }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Noted<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.arrival.note();
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Noted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.arrival.written.now();
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write_vectored(cx, parts);
        self.arrival.written.now();
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_request_counts_from_its_first_byte_until_it_is_forgotten() {
        let (mut client, server) = tokio::io::duplex(64);
        let arrival = Arrival::default();
        let mut server = Noted::new(server, arrival.clone());
        let mut byte = [0];
        let began = Instant::now();
        for _ in 0..2 {
            client.write_all(b"x").await.unwrap();
            server.read_exact(&mut byte).await.unwrap();
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(arrival.of_request(), began);
        arrival.forget();
        assert_eq!(arrival.of_request(), began + Duration::from_secs(2), "read with the one before: from now");
    }
}
