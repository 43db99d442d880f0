//! Jobs: what goes on beside requests. They start in the order of their list and stop in reverse, each once those that may still
//! need it have ended.

mod rows;
mod watchdog;

use std::pin::Pin;

use tokio::sync::oneshot;

use crate::stopping::{Stop, Stopping, stopping};

pub use rows::Rows;
pub use watchdog::Watchdog;

/// A job under way, until it ends by itself or as it was asked to.
pub type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A job that waits to be started.
pub struct Job {
    /// Its name, in logs and of its thread.
    pub name: &'static str,
    /// On the scale of nice(1), for a job with a thread of its own; `None` for one that runs among requests.
    pub niceness: Option<i32>,
    /// Runs it until it is asked to end.
    pub run: Box<dyn FnOnce(Stopping) -> Running + Send>,
}

impl Job {
    /// A job of this name.
    pub fn new<F>(name: &'static str, niceness: Option<i32>, run: impl FnOnce(Stopping) -> F + Send + 'static) -> Job
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Job { name, niceness, run: Box::new(|stopping| Box::pin(run(stopping))) }
    }

    /// A job that may be cut off at any point: what it had under way is made again.
    pub fn cut_off(name: &'static str, running: impl Future<Output = ()> + Send + 'static) -> Job {
        Job::new(name, None, |mut stopping: Stopping| async move {
            tokio::select! {
                () = running => {}
                () = stopping.set() => {}
            }
        })
    }
}

/// Where jobs run.
pub trait Spawn {
    /// Lets it run under its name, at its niceness.
    ///
    /// # Errors
    /// The system gives no thread for it.
    fn spawn(&self, name: &'static str, niceness: Option<i32>, running: Running) -> std::io::Result<()>;
}

/// Jobs with a niceness on threads of their own, the others on the runtime that serves requests.
#[derive(Clone, Copy, Debug)]
pub struct Threads;

impl Spawn for Threads {
    fn spawn(&self, name: &'static str, niceness: Option<i32>, running: Running) -> std::io::Result<()> {
        let Some(niceness) = niceness else {
            tokio::spawn(running);
            return Ok(());
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name(name.to_owned());
        thread.spawn(move || {
            if niceness > 0 {
                // Decisions come first. Where the system refuses, this thread only shares.
                let _ = rustix::process::setpriority_process(None, niceness);
            }
            runtime.block_on(running);
            // A name that is still being resolved holds nothing up.
            runtime.shutdown_background();
        })?;
        Ok(())
    }
}

/// Jobs under way.
#[derive(Default)]
pub struct Jobs(Vec<Started>);

struct Started {
    name: &'static str,
    stop: Stop,
    ended: oneshot::Receiver<()>,
}

impl Jobs {
    /// Starts a job after those that run already.
    ///
    /// # Errors
    /// It could not be started; the others run on.
    pub fn start(&mut self, job: Job, spawn: &dyn Spawn) -> std::io::Result<()> {
        let Job { name, niceness, run } = job;
        let (stop, stopping) = stopping();
        let (end, ended) = oneshot::channel();
        let running = run(stopping);
        let running = async move {
            running.await;
            // Where nobody waits for the end, nobody need hear of it.
            let _ = end.send(());
        };
        spawn.spawn(name, niceness, Box::pin(running))?;
        self.0.push(Started { name, stop, ended });
        Ok(())
    }

    /// Stops one of them, and waits for its end; nothing happens where it does not run.
    pub async fn stop(&mut self, name: &str) {
        if let Some(place) = self.0.iter().rposition(|started| started.name == name) {
            self.0.remove(place).stop().await;
        }
    }

    /// Stops all of them, the last started first.
    pub async fn stop_all(&mut self) {
        while let Some(last) = self.0.pop() {
            last.stop().await;
        }
    }
}

impl Started {
    async fn stop(self) {
        self.stop.stop();
        // An error means that it has ended, too: a panic has aborted the process already.
        let _ = self.ended.await;
        tracing::debug!(job = self.name, "stopped");
    }
}

#[cfg(test)]
mod tests;
