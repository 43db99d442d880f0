//! What the operator configures of deliveries.

use std::time::Duration;

use lettre::message::Mailbox;

use super::EventKind;
use super::channel::guard::{Endpoint, Guard};
use super::channel::mail::MailServer;
use super::channel::secret::Secret;
use super::channel::signing::WebhookSecret;

/// The receivers of deliveries; by default none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where deliveries may go.
    pub guard: Guard,
    /// How long a receiver may accept nothing before it is parked, 1 to 720 hours.
    pub park_after: Duration,
    /// The partner's own systems.
    pub webhooks: Vec<WebhookReceiver>,
    /// Chats.
    pub slack: Vec<SlackReceiver>,
    /// Services that page the operator on call.
    pub pagerduty: Vec<PagerDutyReceiver>,
    pub smtp: Option<MailReceiver>,
}

/// A receiver of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookReceiver {
    /// Unique among all receivers: the position in the journal is kept under it.
    pub name: String,
    pub url: Endpoint,
    /// Sign each message: the present secret, then the previous one while it changes.
    pub secrets: Vec<WebhookSecret>,
    /// Without repetition.
    pub events: Vec<EventKind>,
}

/// A chat that takes Slack's incoming webhooks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlackReceiver {
    /// As [`WebhookReceiver::name`].
    pub name: String,
    /// Secret: it alone permits to write to the chat.
    pub url: Endpoint,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PagerDutyReceiver {
    /// As [`WebhookReceiver::name`].
    pub name: String,
    /// PagerDuty's host for the region.
    pub url: Endpoint,
    pub routing_key: Secret,
}

/// E-mail to a few people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailReceiver {
    /// As [`WebhookReceiver::name`].
    pub name: String,
    pub server: MailServer,
    pub from: Mailbox,
    /// At least one.
    pub to: Vec<Mailbox>,
}
