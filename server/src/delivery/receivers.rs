//! The configured receivers: one worker each, on a thread with lower priority than decisions.

use std::pin::Pin;
use std::sync::Arc;

use tapgate_engine::fact::Provider;
use tapgate_engine::ledger::Ledger;
use tokio::task::JoinSet;

use crate::beside::Beside;
use crate::clock::Clock;
use crate::delivery::channel::mail::Mail;
use crate::delivery::channel::pagerduty::PagerDuty;
use crate::delivery::channel::partner_api::PartnerApi;
use crate::delivery::channel::post::{Post, PostSetUpError};
use crate::delivery::channel::slack::Slack;
use crate::delivery::channel::webhook::Webhook;
use crate::delivery::outbox::events::Events;
use crate::delivery::outbox::instructions::{Instructions, IsOfPartner};
use crate::delivery::outbox::notices::Notices;
use crate::delivery::outbox::{LedgerOutbox, OutboxError};
use crate::delivery::settings::{
    MailReceiver, PagerDutyReceiver, PartnerApiReceiver, Settings, SlackReceiver, WebhookReceiver,
};
use crate::delivery::worker::{Handle, Setup, Worker, limits};
use crate::delivery::{Outbox, Receiver};
use crate::randomness::Randomness;
use crate::stopping::Stopping;

/// A configured receiver and the handle of its worker.
#[derive(Debug)]
pub struct Delivery {
    /// `webhook`, `slack`, `pagerduty`, `smtp` or `partner-api`.
    pub kind: &'static str,
    /// The address without its secret parts.
    pub url: String,
    pub handle: Handle<OutboxError>,
}

/// A worker that has not started.
pub type PreparedWorker = Box<dyn FnOnce(Stopping) -> Running + Send>;

/// A running worker.
type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Reasons why deliveries cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ReceiversError {
    /// The HTTP client.
    #[error(transparent)]
    Post(#[from] PostSetUpError),
    /// A position.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
}

/// What every worker is given.
#[derive(Clone, Copy)]
pub struct Given<'a> {
    pub clock: &'a Arc<Clock>,
    pub randomness: &'a Randomness,
    pub beside: &'a Beside,
    /// Makes a client that posts.
    pub post: &'a dyn Fn() -> Result<Post, PostSetUpError>,
}

/// The parts that all receivers share.
struct Made<'a> {
    settings: &'a Settings,
    ledger: &'a Arc<Ledger>,
    given: Given<'a>,
    deliveries: Vec<Delivery>,
    workers: Vec<PreparedWorker>,
}

/// Builds a worker for each receiver at its stored position; none of them runs yet.
///
/// # Errors
/// TLS cannot be set up, or a position cannot be read or stored.
pub fn prepare(
    settings: &Settings,
    ledger: &Arc<Ledger>,
    given: Given<'_>,
) -> Result<(Vec<Delivery>, Vec<PreparedWorker>), ReceiversError> {
    // Without receivers no TLS is needed.
    let post = given.post;
    let mut made = Made { settings, ledger, given, deliveries: Vec::new(), workers: Vec::new() };
    for WebhookReceiver { name, url, secrets, events } in &settings.webhooks {
        let receiver = Webhook::new(post()?, url.clone(), secrets.clone());
        let outbox = LedgerOutbox::new(
            Arc::clone(ledger),
            Arc::clone(given.clock),
            Events { wanted: events.clone(), tolerance: ledger.policy().tolerance },
        );
        made.add("webhook", name, url.origin(), outbox, receiver)?;
    }
    for SlackReceiver { name, url } in &settings.slack {
        let receiver = Slack::new(post()?, url.clone());
        made.add_for_people("slack", name, url.origin(), receiver)?;
    }
    for PagerDutyReceiver { name, url, routing_key } in &settings.pagerduty {
        let receiver = PagerDuty::new(post()?, url, routing_key.clone());
        made.add_for_people("pagerduty", name, url.origin(), receiver)?;
    }
    if let Some(MailReceiver { name, server, from, to }) = &settings.smtp {
        let receiver = Mail::new(settings.guard, server.clone(), from.clone(), to.clone());
        made.add_for_people("smtp", name, format!("smtp://{}:{}", server.host, server.port), receiver)?;
    }
    if let Some(PartnerApiReceiver { name, base_url, api_key }) = &settings.partner_api {
        let accounts = Arc::clone(ledger);
        let is_of_partner: IsOfPartner = Box::new(move |user| accounts.provider_of(user) == Some(Provider::PartnerApi));
        let receiver = PartnerApi::new(post()?, base_url.clone(), api_key.clone());
        let outbox = LedgerOutbox::new(Arc::clone(ledger), Arc::clone(given.clock), Instructions { is_of_partner });
        made.add("partner-api", name, base_url.origin(), outbox, receiver)?;
    }
    Ok((made.deliveries, made.workers))
}

impl Made<'_> {
    fn add_for_people<R>(
        &mut self,
        kind: &'static str,
        name: &str,
        url: String,
        receiver: R,
    ) -> Result<(), ReceiversError>
    where
        R: Receiver<Content = crate::delivery::Notice>,
    {
        let outbox = LedgerOutbox::new(Arc::clone(self.ledger), Arc::clone(self.given.clock), Notices);
        self.add(kind, name, url, outbox, receiver)
    }

    fn add<O, R>(
        &mut self,
        kind: &'static str,
        name: &str,
        url: String,
        outbox: O,
        receiver: R,
    ) -> Result<(), ReceiversError>
    where
        O: Outbox<Error = OutboxError>,
        R: Receiver<Content = O::Content>,
    {
        let (limits, given) = (limits(self.settings.park_after), &self.given);
        let setup = Setup {
            name: name.to_owned(),
            limits,
            clock: Arc::clone(given.clock),
            randomness: given.randomness.clone(),
            beside: given.beside.clone(),
        };
        let (worker, handle) = Worker::new(setup, Arc::new(outbox), receiver)?;
        self.deliveries.push(Delivery { kind, url, handle });
        self.workers.push(Box::new(move |stopping| Box::pin(async move { worker.run(stopping.set()).await })));
        Ok(())
    }
}

/// Runs the workers until the program asks them to stop and their attempts have ended.
pub async fn run(workers: Vec<PreparedWorker>, stopping: Stopping) {
    let mut running = JoinSet::new();
    for worker in workers {
        running.spawn(worker(stopping.clone()));
    }
    running.join_all().await;
}
