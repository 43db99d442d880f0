//! Reading, beside decisions: on threads of its own with a low priority, a few requests at a time.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::health::NotReady;
use crate::http::problem::Problem;

/// Requests that read at once: a read takes a core for some tenths of a second at most.
const AT_ONCE: usize = 4;

/// Requests that wait for their turn; the next one is refused.
const WAITING_MAX: usize = 60;

/// Where requests read.
#[derive(Clone, Debug)]
pub(super) struct Reads {
    on: Handle,
    admitted: Arc<Semaphore>,
    turns: Arc<Semaphore>,
}

impl Reads {
    /// On this runtime, which decides nothing.
    pub(super) fn new(on: Handle) -> Reads {
        let admitted = Arc::new(Semaphore::new(AT_ONCE + WAITING_MAX));
        Reads { on, admitted, turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Reads when it is its turn. Who stops waiting for the answer gives up the turn.
    ///
    /// # Errors
    /// Too many wait already.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        reading: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Problem> {
        let _admitted = self.admitted.try_acquire().map_err(|_| Problem::Overloaded)?;
        let _turn = self.turns.acquire().await.map_err(|_| NotReady::Stopping)?;
        self.at_once(reading).await
    }

    /// Reads beside those whose turn it is.
    pub(super) async fn at_once<T: Send + 'static>(
        &self,
        reading: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Problem> {
        let mut running = Abandoned(self.on.spawn(reading));
        (&mut running.0).await.map_err(|_| Problem::Internal)
    }
}

/// A task that ends with its owner, unless it has begun what cannot be interrupted.
pub(super) struct Abandoned<T>(pub(super) JoinHandle<T>);

impl<T> Drop for Abandoned<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn who_leaves_gives_up_the_turn_and_too_many_are_refused() {
        let reads = Reads::new(Handle::current());
        let endless: Vec<_> = (0..AT_ONCE + WAITING_MAX).map(|_| reads.read(std::future::pending::<()>())).collect();
        let mut endless: Vec<_> = endless.into_iter().map(Box::pin).collect();
        for read in &mut endless {
            assert!(polled(read).is_none());
        }
        let refused = tokio::time::timeout(Duration::from_secs(5), reads.read(async {})).await;
        assert_eq!(refused, Ok(Err(Problem::Overloaded)), "it does not wait");
        assert_eq!(reads.at_once(async { 7 }).await, Ok(7));
        drop(endless);
        assert_eq!(reads.read(async { 7 }).await, Ok(7));
    }

    /// Polls once.
    fn polled<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match std::pin::Pin::new(future).poll(&mut context) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        }
    }
}
