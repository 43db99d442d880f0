//! The threads that answer people who only read: few, and with a low priority.

use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};

/// Threads that read memory, and threads that read the disk.
const OF_MEMORY: usize = 2;
const OF_DISK: usize = 4;

/// As nice(1) counts: about a tenth of a contended core.
const NICENESS: i32 = 10;

/// A read in progress holds the store open: what it may take until the process goes on ending.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// A runtime that may be dropped anywhere.
pub(super) struct Readers {
    /// `None` while it ends.
    runtime: Option<Runtime>,
    pub(super) handle: Handle,
}

impl Readers {
    /// Starts the threads.
    ///
    /// # Errors
    /// The system grants none.
    pub(super) fn start() -> std::io::Result<Readers> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(OF_MEMORY)
            .max_blocking_threads(OF_DISK)
            .thread_name("reads")
            .on_thread_start(|| {
                // If the system refuses, they run at normal priority.
                let _ = rustix::process::setpriority_process(None, NICENESS);
            })
            .enable_all()
            .build()?;
        Ok(Readers { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    /// Waits for reads in progress, but not for long.
    #[expect(clippy::disallowed_methods, reason = "it waits for other threads to end")]
    pub(super) async fn end(mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Fails only if this runtime ends, too.
            let _ = tokio::task::spawn_blocking(move || runtime.shutdown_timeout(END_TIMEOUT)).await;
        }
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
