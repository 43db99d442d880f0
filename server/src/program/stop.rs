//! The end, after a journal failure or on request.

use std::sync::Arc;
use std::time::Duration;

use tapgate_engine::recovery::RecoveryError;
use tapgate_engine::store::StoreError;

use super::start::Server;

/// Time after a journal failure in which open requests may still be answered `outcome_unknown`.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// Reasons why serving failed.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The data directory could not be opened.
    #[error("{directory}: {error}")]
    Store {
        /// The configured path.
        directory: String,
        /// The store's error.
        error: StoreError,
    },
    /// The state could not be recovered.
    #[error("the state could not be recovered: {0}")]
    Recovery(#[from] RecoveryError),
    /// An address could not be bound.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// The configured address.
        address: std::net::SocketAddr,
        /// The system's error.
        error: std::io::Error,
    },
    /// The process could not be set up.
    #[error("{0}")]
    SetUp(String),
    /// The journal failed while serving.
    #[error(
        "the journal failed, and with it the process: {0}. Nothing that was answered is lost; find the cause (disk full? \
             disk failing?), then start again"
    )]
    Journal(StoreError),
}

impl Server {
    /// Waits for the journal to fail.
    pub async fn failure(&mut self) -> StoreError {
        match self.failures.recv().await {
            Some(error) => error,
            None => std::future::pending().await,
        }
    }

    /// Ends after a journal failure: open requests still get their answer, then the process must end.
    pub async fn fail(self, error: StoreError) -> ServeError {
        self.app.health.set_failed();
        tracing::error!(%error, "the journal failed; the process ends");
        tokio::time::sleep(LAST_ANSWERS).await;
        ServeError::Journal(error)
    }

    /// Ends without loss: open requests end first, then everything is written.
    ///
    /// # Errors
    /// The journal failed in the meantime.
    #[expect(clippy::disallowed_methods, reason = "the process ends, and nothing is beside it")]
    pub async fn stop(mut self) -> Result<(), ServeError> {
        tracing::info!("stopping: no new connections, requests under way end first");
        self.app.health.set_stopping();
        self.jobs.stop_all().await;
        let ledger = Arc::clone(&self.app.ledger);
        let closed = tokio::task::spawn_blocking(move || ledger.close()).await;
        let closed = closed.map_err(|error| ServeError::SetUp(error.to_string()))?;
        if let Ok(error) = self.failures.try_recv() {
            return Err(ServeError::Journal(error));
        }
        closed.map_err(ServeError::Journal)?;
        tracing::info!(durable = self.app.ledger.journal().durable().0, "stopped; everything is on disk");
        Ok(())
    }
}
