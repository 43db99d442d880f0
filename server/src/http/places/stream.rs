//! A connection's stream, which tells its place what comes and goes.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::place::Place;

#[derive(Debug)]
pub(in crate::http) struct Timed<S> {
    inner: S,
    place: Arc<Place>,
}

impl<S> Timed<S> {
    pub(in crate::http) fn new(inner: S, place: Arc<Place>) -> Timed<S> {
        Timed { inner, place }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Timed<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let (before, asked) = (buf.filled().len(), buf.remaining());
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        match &polled {
            Poll::Ready(Ok(())) if buf.filled().len() > before => self.place.heard(),
            Poll::Ready(Ok(())) if asked == 0 => {}
            Poll::Ready(_) => self.place.hangs_up(),
            Poll::Pending => self.place.hears_nothing(),
        }
        polled
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Timed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.place.writes();
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    /// The writer flushes once it has nothing more to write.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_flush(cx);
        if polled.is_ready() {
            self.place.has_sent();
        }
        polled
    }

    /// After the last answer nothing is read any more: whether the client is there is asked once.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut byte = [0];
        let _ = self.as_mut().poll_read(cx, &mut ReadBuf::new(&mut byte));
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.place.writes();
        Pin::new(&mut self.inner).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}
