//! Runs background jobs: they start in list order and stop in reverse, so that a job outlives its users.

use std::pin::Pin;

use tokio::sync::oneshot;

use crate::stopping::{Stop, Stopping, stopping};

/// A started job: it ends by itself or on request.
pub type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A job that has not started.
pub struct Job {
    /// The name in logs and of its thread.
    pub name: &'static str,
    /// The nice(1) level of a job with its own thread; `None` for a job on the runtime that serves requests.
    pub niceness: Option<i32>,
    /// Runs the job until asked to stop.
    pub run: Box<dyn FnOnce(Stopping) -> Running + Send>,
}

impl Job {
    /// A job that stops by itself on request.
    pub fn new<F>(name: &'static str, niceness: Option<i32>, run: impl FnOnce(Stopping) -> F + Send + 'static) -> Job
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Job { name, niceness, run: Box::new(|stopping| Box::pin(run(stopping))) }
    }

    /// A job that may be cut off at any point: after a restart it repeats its unfinished work.
    pub fn cut_off(name: &'static str, running: impl Future<Output = ()> + Send + 'static) -> Job {
        Job::new(name, None, |stopping: Stopping| async move {
            tokio::select! {
                biased;
                () = stopping.set() => {}
                () = running => {}
            }
        })
    }
}

/// The place where jobs run.
pub trait Spawn {
    /// Runs a job under this name and niceness.
    ///
    /// # Errors
    /// The system grants no thread.
    fn spawn(&self, name: &'static str, niceness: Option<i32>, running: Running) -> std::io::Result<()>;
}

/// Production: a job with a niceness gets its own thread, the others share the runtime that serves requests.
#[derive(Clone, Copy, Debug)]
pub struct Threads;

impl Spawn for Threads {
    #[expect(clippy::disallowed_methods, reason = "a job's own thread")]
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
            // Does not wait for a pending name resolution.
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
    /// Starts a job after the jobs that already run.
    ///
    /// # Errors
    /// The job did not start; the others keep running.
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

    /// Stops the job of this name and waits for its end; does nothing if no such job runs.
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
        // An error means that the job has ended too: a panic has aborted the process already.
        let _ = self.ended.await;
        tracing::debug!(job = self.name, "stopped");
    }
}
