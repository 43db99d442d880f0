//! The second provider (seed 001): turns what its events say into the records that UR's events become, too.

use std::sync::Arc;

use metrics::counter;
use tapgate_engine::fact::{CardStatus, ImportedCard, Posting, Provider, ProviderSuspended};
use tapgate_engine::ids::CardId;
use tapgate_engine::journal::Ticket;
use tapgate_engine::ledger::{ChangeError, Heard, Ledger};
use tapgate_engine::money::Currency;
use tapgate_engine::time::{Moment, UnixSeconds};

use crate::wire::partner_api::Event;

/// The result of an event.
#[derive(Debug)]
pub enum Applied {
    /// Recorded now.
    Recorded(Arc<Ticket>),
    /// Recorded earlier, or not informative.
    Known,
    /// About an account or card that is not the provider's.
    NotOurs,
}

impl Applied {
    /// Resolved once it is durable; `None` if nothing was recorded.
    #[must_use]
    pub fn ticket(self) -> Option<Arc<Ticket>> {
        match self {
            Applied::Recorded(ticket) => Some(ticket),
            Applied::Known | Applied::NotOurs => None,
        }
    }

    /// The name in metrics.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Applied::Recorded(_) => "recorded",
            Applied::Known => "known",
            Applied::NotOurs => "not_ours",
        }
    }
}

impl From<Heard> for Applied {
    fn from(heard: Heard) -> Self {
        match heard {
            Heard::Recorded(ticket) => Applied::Recorded(ticket),
            Heard::Known => Applied::Known,
            Heard::NotOurs => Applied::NotOurs,
        }
    }
}

/// When an event happened, and the currency of cards whose event names none.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    pub at: UnixSeconds,
    pub card_currency: Currency,
}

/// Applies an event that asks for no decision.
///
/// # Errors
/// The event had no effect; the provider must present it again.
pub fn apply(ledger: &Ledger, event: Event, told: Told, now: Moment) -> Result<Applied, ChangeError> {
    const OURS: Provider = Provider::PartnerApi;
    let Told { at, card_currency } = told;
    let issued = |id: &CardId, currency: Option<Currency>| ImportedCard {
        id: id.clone(),
        status: CardStatus::Active,
        currency: currency.unwrap_or(card_currency),
        single_use: None,
    };
    match event {
        Event::Opened(user) => ledger.open_account(OURS, &user, now).map(Applied::from),
        Event::Account { user, word } => ledger.report_account(OURS, &user, word, at, now).map(Applied::from),
        Event::Issued { user, card, currency } => {
            ledger.issue_card(OURS, &user, &issued(&card, currency), now).map(Applied::from)
        }
        Event::Card { user, card, status, currency } => {
            let card = ImportedCard { status, ..issued(&card, currency) };
            ledger.report_issued_card(OURS, &user, &card, at, now).map(Applied::from)
        }
        Event::Limits { user, card, limits } => {
            if let Some(user) = user
                && let Heard::NotOurs = ledger.issue_card(OURS, &user, &issued(&card, None), now)?
            {
                return Ok(Applied::NotOurs);
            }
            ledger.limit_card(OURS, &card, &limits, at, now).map(Applied::from)
        }
        Event::Service { suspended, reason } => {
            let word = ProviderSuspended { provider: OURS, suspended, reason, at };
            Ok(ledger.suspend_provider(word, now)?.map_or(Applied::Known, Applied::Recorded))
        }
        Event::Posted(posting) => post(ledger, &posting, now),
        Event::Asked(_) => Ok(Applied::Known),
    }
}

fn post(ledger: &Ledger, posting: &Posting, now: Moment) -> Result<Applied, ChangeError> {
    if !is_of_provider(ledger, posting) {
        return Ok(Applied::NotOurs);
    }
    let booking = ledger.post(posting, now)?;
    let outcome = booking.as_ref().map_or("known", |booking| booking.effect.name());
    counter!("tapgate_partner_api_transactions_total", "outcome" => outcome).increment(1);
    Ok(booking.map_or(Applied::Known, |booking| Applied::Recorded(booking.ticket)))
}

fn is_of_provider(ledger: &Ledger, posting: &Posting) -> bool {
    ledger.provider_of(&posting.user) == Some(Provider::PartnerApi)
}
