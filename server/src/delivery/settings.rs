//! Settings of deliveries.

use std::time::Duration;

use lettre::message::Mailbox;

use super::EventKind;
use super::channel::guard::{Endpoint, Guard};
use super::channel::mail::MailServer;
use super::channel::secret::Secret;
use super::channel::signing::WebhookSecret;

/// The receivers of deliveries; none by default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The guard on receivers' addresses.
    pub guard: Guard,
    /// Time without an accepted message before a receiver is parked, 1 to 720 hours.
    pub park_after: Duration,
    /// The partner's own systems.
    pub webhooks: Vec<WebhookReceiver>,
    /// Chats.
    pub slack: Vec<SlackReceiver>,
    /// Services that page the operator on call.
    pub pagerduty: Vec<PagerDutyReceiver>,
    pub smtp: Option<MailReceiver>,
    /// The second provider, which is told what people change about its accounts and cards.
    pub partner_api: Option<PartnerApiReceiver>,
}

impl Settings {
    /// How many receivers there are.
    #[must_use]
    pub fn receivers(&self) -> usize {
        let one = |is_there| usize::from(is_there);
        self.webhooks.len()
            + self.slack.len()
            + self.pagerduty.len()
            + one(self.smtp.is_some())
            + one(self.partner_api.is_some())
    }
}

/// The second provider's API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartnerApiReceiver {
    /// As [`WebhookReceiver::name`].
    pub name: String,
    pub base_url: Endpoint,
    /// Sent as a bearer token.
    pub api_key: Secret,
}

/// A receiver of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookReceiver {
    /// Unique among all receivers: the journal keeps the receiver's position under it.
    pub name: String,
    pub url: Endpoint,
    /// Each secret signs every message: the current one, and the previous one during a rotation.
    pub secrets: Vec<WebhookSecret>,
    /// Without repetition.
    pub events: Vec<EventKind>,
}

/// A chat with a Slack-compatible incoming webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlackReceiver {
    /// As [`WebhookReceiver::name`].
    pub name: String,
    /// Secret: the URL alone permits to write to the chat.
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
