//! Runs background jobs: they start in the order of their list and stop in reverse, so that a job outlives those that use it.

use std::pin::Pin;

use tokio::sync::oneshot;

use crate::stopping::{Stop, Stopping, stopping};

/// A started job: it ends by itself, or after it is asked to stop.
pub type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A job that is not started yet.
pub struct Job {
    /// In logs, and of its thread.
    pub name: &'static str,
    /// On the scale of nice(1), for a job with its own thread; `None` for a job on the runtime that serves requests.
    pub niceness: Option<i32>,
    /// Runs the job until it is asked to stop.
    pub run: Box<dyn FnOnce(Stopping) -> Running + Send>,
}

impl Job {
    /// A job that stops by itself when it is asked to.
    pub fn new<F>(name: &'static str, niceness: Option<i32>, run: impl FnOnce(Stopping) -> F + Send + 'static) -> Job
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Job { name, niceness, run: Box::new(|stopping| Box::pin(run(stopping))) }
    }

    /// A job that may be cut off at any point: after a restart it does again what it had not finished.
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
    /// Runs a job under this name and niceness.
    ///
    /// # Errors
    /// The system gives no thread.
    fn spawn(&self, name: &'static str, niceness: Option<i32>, running: Running) -> std::io::Result<()>;
}

/// In production: a job with a niceness on its own thread, the others on the runtime that serves requests.
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
                // Decisions come first. If the system refuses, the thread runs at normal priority.
                let _ = rustix::process::setpriority_process(None, niceness);
            }
            runtime.block_on(running);
            // Does not wait for a name that is still being resolved.
            runtime.shutdown_background();
        })?;
        Ok(())
    }
}

/// The started jobs.
#[derive(Default)]
pub struct Jobs(Vec<Started>);

struct Started {
    name: &'static str,
    stop: Stop,
    ended: oneshot::Receiver<()>,
}

impl Jobs {
    /// Starts a job, after those that are started already.
    ///
    /// # Errors
    /// The job was not started; the others keep running.
    pub fn start(&mut self, job: Job, spawn: &dyn Spawn) -> std::io::Result<()> {
        let Job { name, niceness, run } = job;
        let (stop, stopping) = stopping();
        let (end, ended) = oneshot::channel();
        let running = run(stopping);
        let running = async move {
            running.await;
            // Fails only if the list of jobs is gone.
            let _ = end.send(());
        };
        spawn.spawn(name, niceness, Box::pin(running))?;
        self.0.push(Started { name, stop, ended });
        Ok(())
    }

    /// Stops the job of this name and waits for its end; does nothing if no such job is started.
    pub async fn stop(&mut self, name: &str) {
        if let Some(place) = self.0.iter().rposition(|started| started.name == name) {
            self.0.remove(place).stop().await;
        }
    }

    /// Stops all jobs, the last started first.
    pub async fn stop_all(&mut self) {
        while let Some(last) = self.0.pop() {
            last.stop().await;
        }
    }
}

impl Started {
    async fn stop(self) {
        self.stop.stop();
        // An error means that the job has ended, too: a panic has aborted the process already.
        let _ = self.ended.await;
        tracing::debug!(job = self.name, "stopped");
    }
}
