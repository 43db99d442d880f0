//! `POST /webhooks/partner-api`: the second provider's events. As for UR's, none but a request for a decision is refused for
//! its form: the provider would only send it again.

use std::sync::Arc;
use std::time::Duration;

use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use metrics::counter;
use tapgate_engine::fact::{Provider, Request};
use tapgate_engine::journal::Durability;
use tapgate_engine::ledger::ChangeError;
use tapgate_engine::money::Currency;
use tapgate_engine::time::Moment;
use tokio::time::Instant;

use super::public::{Caller, Public, wait};
use super::shapes::Shapes;
use super::single::{Repeated, single};
use crate::http::context::App;
use crate::http::problem::Problem;
use crate::provider::partner_api::{Told, apply};
use crate::signature::{SharedHeaders, SharedPolicy, SharedScheme, SharedSecretError, check_freshness, verify_shared};
use crate::wire::partner_api::{EVENTS, Envelope, Event};
use crate::wire::{Malformed, callback};

/// The route.
pub(super) const PATH: &str = "/webhooks/partner-api";

/// Notifications may wait longer than requests for a decision: the provider repeats them.
const NOTIFICATION_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub authentication: SharedPolicy,
    /// Of cards whose events name no currency.
    pub card_currency: Currency,
}

/// The second provider's events.
pub(super) struct Partner {
    app: Arc<App>,
    settings: Settings,
    shapes: Shapes,
}

impl Partner {
    pub(super) fn new(app: Arc<App>, settings: Settings) -> Partner {
        Partner { app, settings, shapes: Shapes::of("partner_api") }
    }

    /// The authentic event of a request.
    pub(super) fn read(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        now_seconds: u64,
        caller: &Caller,
    ) -> Result<Envelope, Problem> {
        let policy = &self.settings.authentication;
        let verified = given(&policy.scheme, headers).and_then(|given| verify_shared(policy, given, body, now_seconds));
        // A signature without a time could be anybody's replay: only what its body says makes it fresh.
        if verified.is_err() || policy.scheme.is_fresh() {
            caller.note_proof(&verified);
        }
        verified?;
        Envelope::parse(body).map_err(|error| Problem::Malformed(error.to_string()))
    }

    /// Returns once the event's effect is durable; the request of an event that asks for a decision.
    pub(super) async fn take(&self, envelope: Envelope, now: Moment) -> Result<Option<Request>, Problem> {
        let known = EVENTS.into_iter().find(|known| *known == envelope.kind);
        let event = match envelope.event() {
            Ok(Some(Event::Asked(request))) => return Ok(Some(*request)),
            Ok(Some(event)) => event,
            Ok(None) => {
                self.shapes.log(&envelope.kind, &envelope.data);
                count("unknown", "unknown");
                return Ok(None);
            }
            // It waits for a decision, and gets none.
            Err(error) if envelope.asks() => return Err(Problem::Malformed(error.to_string())),
            Err(error) => {
                self.note_unreadable(&envelope, known, &error, now);
                return Ok(None);
            }
        };
        let at = envelope.at.unwrap_or(now.at.seconds());
        let told = Told { at, card_currency: self.settings.card_currency };
        let applied = match apply(&self.app.ledger, event, told, now) {
            Ok(applied) => applied,
            Err(ChangeError::Invalid(error) | ChangeError::Conflict(error)) => {
                self.note_unreadable(&envelope, known, &Malformed(error), now);
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        let outcome = applied.name();
        // The record of the first delivery may be under way.
        let journal = self.app.ledger.journal();
        let ticket = applied.ticket().or_else(|| journal.await_durable(journal.claimed()));
        if let Some(ticket) = ticket
            && wait(&ticket, Instant::now() + NOTIFICATION_TIMEOUT).await != Some(Durability::Durable)
        {
            return Err(Problem::OutcomeUnknown);
        }
        count(known.unwrap_or("unknown"), outcome);
        Ok(None)
    }

    fn note_unreadable(&self, envelope: &Envelope, known: Option<&'static str>, error: &Malformed, now: Moment) {
        let event = known.unwrap_or("unknown");
        count(event, "unreadable");
        self.app.findings.unreadable(event, error, now.at);
        self.shapes.log(&envelope.kind, &envelope.data);
    }
}

impl Public {
    /// Answers an event of the second provider.
    pub(super) async fn answer_partner(
        &self,
        partner: &Partner,
        headers: &HeaderMap,
        body: &[u8],
        (caller, arrived): (&Caller, Instant),
    ) -> Result<Vec<u8>, Problem> {
        let now = self.now();
        let envelope = partner.read(headers, body, now.at.0 / 1_000, caller)?;
        let at = envelope.at;
        let Some(request) = partner.take(envelope, now).await? else { return Ok(callback::RECEIVED.to_vec()) };
        // As for UR's callback: a return is acknowledged at any age.
        if let Some(at) = at.filter(|_| request.kind.is_decided()) {
            check_freshness(at.0.unsigned_abs(), now.at.0 / 1_000, self.timestamp_window_seconds())?;
            caller.seat.prove();
        }
        let decided = self.decide(Provider::PartnerApi, request, now, (caller, arrived)).await;
        match &decided {
            Ok(_) => count("card.transaction", "decided"),
            Err(Problem::NotFound(_)) => count("card.transaction", "not_ours"),
            Err(_) => {}
        }
        Ok(callback::render(&decided?))
    }
}

fn count(event: &'static str, outcome: &'static str) {
    counter!("tapgate_partner_api_events_total", "event" => event, "outcome" => outcome).increment(1);
}

/// The headers of the scheme.
fn given<'a>(scheme: &SharedScheme, headers: &'a HeaderMap) -> Result<SharedHeaders<'a>, SharedSecretError> {
    let one = |name: &str| {
        let value = single(headers, name).map_err(|Repeated| SharedSecretError::Repeated);
        value.map(|value| value.map(HeaderValue::as_bytes))
    };
    Ok(match scheme {
        SharedScheme::Bearer => SharedHeaders { proof: one(AUTHORIZATION.as_str())?, timestamp: None },
        SharedScheme::Hmac { signature_header, timestamp_header, .. } => SharedHeaders {
            proof: one(signature_header)?,
            timestamp: timestamp_header.as_deref().map(one).transpose()?.flatten(),
        },
    })
}
