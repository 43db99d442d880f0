//! The way of jobs off the threads that serve, for work that blocks, so that a simulation brings its own.

use std::fmt;
use std::sync::Arc;

use tokio::sync::oneshot;

type Work = Box<dyn FnOnce() + Send>;

/// Where work is done that blocks. Cheap to clone.
#[derive(Clone)]
pub struct Beside(Arc<dyn Fn(Work) + Send + Sync>);

impl Beside {
    /// The threads that tokio keeps for it.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the way off the threads that serve")]
    pub fn on_threads() -> Beside {
        // Its end is told by what the work itself sends.
        Beside::new(|work| drop(tokio::task::spawn_blocking(work)))
    }

    /// Where `run` does it.
    pub fn new(run: impl Fn(Work) + Send + Sync + 'static) -> Beside {
        Beside(Arc::new(run))
    }

    /// Begins the work, which goes on whether or not its end is waited for. An error means that the process ends.
    pub fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> oneshot::Receiver<T> {
        let (done, is_done) = oneshot::channel();
        (self.0)(Box::new(move || {
            // Nobody may wait for it any more.
            let _ = done.send(work());
        }));
        is_done
    }
}

impl fmt::Debug for Beside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Beside")
    }
}
