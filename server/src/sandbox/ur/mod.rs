//! The simulated UR: signs and delivers callbacks as UR does, and keeps books of its own by UR's contract.

pub(super) mod account;
mod api;
pub(super) mod bank;
pub(super) mod booking;
pub(super) mod books;
pub(super) mod contract;
mod doubt;
mod faults;
mod judge;
pub(super) mod people;
mod quirks;
mod statement;
pub(super) mod stress;
mod surprise;
pub(in crate::sandbox) mod tips;

use std::time::Duration;

use bytes::Bytes;

pub(super) use self::api::{Api, OPS_UR_ID};
pub use self::api::{Provocation, ProvocationError};
pub(super) use self::doubt::Bounds;
pub(super) use self::quirks::Quirks;
pub(super) use self::statement::Shown;
use super::sender::{self, Sender};
use super::tap::Tap;

const DEADLINE: Duration = Duration::from_millis(500);

/// Attempts of a notification (docs/ur-facts.md: up to 3 retries; the sandbox is more patient).
const NOTIFY_ATTEMPTS_MAX: usize = 20;
/// The pause, in real time, after a notification that was not acknowledged: a slow disk is given time.
const NOTIFY_PAUSE: Duration = Duration::from_millis(500);

/// The raw answer to a callback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Bytes,
    pub(super) latency: Duration,
}

/// Delivers callbacks.
#[derive(Debug)]
pub(super) struct Courier {
    client: reqwest::Client,
    url: String,
    sender: Sender,
    /// The same with a key that tapgate does not accept.
    stranger: Sender,
}

impl Courier {
    pub(super) fn new(client: reqwest::Client, public: &str, sender: Sender, stranger: Sender) -> Courier {
        Courier { client, url: format!("{public}{}", sender.path()), sender, stranger }
    }

    /// Sends a callback, and waits as long as UR does.
    ///
    /// # Errors
    /// No answer in time, or no connection.
    pub(super) async fn ask(&self, tap: &Tap, timestamp: u64) -> Result<Answer, String> {
        let body = self.sender.tap(tap, timestamp);
        let proof = self.sender.prove(&body, timestamp);
        self.send(body, proof).await
    }

    /// Sends a callback that a stranger signed.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub(super) async fn ask_as_stranger(&self, tap: &Tap, timestamp: u64) -> Result<Answer, String> {
        let body = self.stranger.tap(tap, timestamp);
        let proof = self.stranger.prove(&body, timestamp);
        self.send(body, proof).await
    }

    /// Sends a callback with UR's signature of another body.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub(super) async fn ask_altered(&self, tap: &Tap, timestamp: u64) -> Result<Answer, String> {
        let proof = self.sender.prove(&self.sender.tap(tap, timestamp), timestamp);
        let altered = Tap { amount: tap.amount + 1, ..tap.clone() };
        self.send(self.sender.tap(&altered, timestamp), proof).await
    }

    /// Sends a callback, and drops the connection before the answer.
    pub(super) async fn ask_and_lose(&self, tap: &Tap, timestamp: u64, after: Duration) {
        // The retry finds out the outcome.
        let _ = tokio::time::timeout(after, self.ask(tap, timestamp)).await;
    }

    /// Notifies a transaction, and retries until it is acknowledged, as UR does.
    ///
    /// # Errors
    /// tapgate refused the notification.
    pub(super) async fn notify(&self, data: &serde_json::Value, now: impl Fn() -> u64) -> Result<(), String> {
        self.insist(|timestamp| self.sender.transaction(data, timestamp), now).await
    }

    /// Sends another event of the second provider, and retries as for a transaction.
    ///
    /// # Errors
    /// tapgate refused the event.
    pub(super) async fn tell(&self, kind: &str, data: &serde_json::Value, now: impl Fn() -> u64) -> Result<(), String> {
        self.insist(|timestamp| sender::event(kind, timestamp, data), now).await
    }

    async fn insist(&self, body: impl Fn(u64) -> Vec<u8>, now: impl Fn() -> u64) -> Result<(), String> {
        let mut refused = String::new();
        for _ in 0..NOTIFY_ATTEMPTS_MAX {
            let timestamp = now();
            let body = body(timestamp);
            let proof = self.sender.prove(&body, timestamp);
            match self.send(body, proof).await {
                Ok(answer) if answer.status == 200 => return Ok(()),
                Ok(answer) => refused = format!("{answer:?}"),
                Err(error) => refused = error,
            }
            tokio::time::sleep(NOTIFY_PAUSE).await;
        }
        let body = String::from_utf8_lossy(&body(now())).into_owned();
        Err(format!("the notification {body} was not acknowledged: {refused}"))
    }

    /// A shell command for people, which sends this tap.
    pub(super) fn curl(&self, tap: &Tap, timestamp: u64) -> String {
        let body = self.sender.tap(tap, timestamp);
        let proof = self.sender.prove(&body, timestamp);
        let proof: String = proof.iter().map(|(name, value)| format!(" -H '{name}: {value}'")).collect();
        let body = String::from_utf8_lossy(&body).into_owned();
        format!("curl -sS {} -H 'Content-Type: application/json'{proof} --data-binary '{body}'", self.url)
    }

    async fn send(&self, body: Vec<u8>, proof: Vec<(&'static str, String)>) -> Result<Answer, String> {
        let began = tokio::time::Instant::now();
        let request = self.client.post(&self.url);
        let request = proof.into_iter().fold(request, |request, (name, value)| request.header(name, value));
        let request = request.header("Content-Type", "application/json").body(body).timeout(DEADLINE);
        let exchange = async {
            let response = request.send().await?;
            Ok::<_, reqwest::Error>((response.status().as_u16(), response.bytes().await?))
        };
        let (status, body) = exchange.await.map_err(|error| format!("{error:?}"))?;
        Ok(Answer { status, body, latency: began.elapsed() })
    }
}
