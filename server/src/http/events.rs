//! UR's events without an answer of their own. They arrive at least once, in any order, and none is refused for its form: UR
//! would only send it again.

use std::sync::Arc;
use std::time::Duration;

use metrics::counter;
use serde_json::Value;
use tapgate_engine::journal::{Durability, Ticket};
use tapgate_engine::ledger::ChangeError;
use tapgate_engine::time::{Moment, UnixSeconds};
use tokio::time::Instant;

use super::public::wait;
use super::shapes::Shapes;
use crate::http::context::App;
use crate::http::problem::Problem;
use crate::provider::hint::Hint;
use crate::provider::reconciliation::{self, Applied};
use crate::wire::ur::{AmountForm, EVENTS, Event, account};
use crate::wire::{Malformed, callback};

/// UR's notifications may wait longer than its callbacks: UR repeats them.
const NOTIFICATION_TIMEOUT: Duration = Duration::from_secs(5);

/// The events' effects.
pub(super) struct Events {
    app: Arc<App>,
    /// Of the event `transaction`.
    amounts: AmountForm,
    shapes: Shapes,
}

impl Events {
    pub(super) fn new(app: Arc<App>, amounts: AmountForm) -> Events {
        Events { app, amounts, shapes: Shapes::of("ur") }
    }

    /// Returns once the event's effect is durable.
    pub(super) async fn take(&self, event: &str, sent: u64, body: &[u8], now: Moment) -> Result<(), Problem> {
        let data = callback::data(body).map_err(|error| Problem::Malformed(error.to_string()))?;
        let Some(known) = EVENTS.into_iter().find(|known| *known == event) else {
            self.shapes.log(event, &data);
            return Ok(());
        };
        let ticket = match Event::read(known, &data, self.amounts) {
            Ok(read) => {
                self.app.hint_changed(&data);
                self.apply(read, sent, now)
            }
            Err(error) => {
                self.app.hint_changed(&data);
                self.note_unreadable(known, &error, &data, now);
                return Ok(());
            }
        };
        match ticket {
            Ok(Some(ticket))
                if wait(&ticket, Instant::now() + NOTIFICATION_TIMEOUT).await != Some(Durability::Durable) =>
            {
                Err(Problem::OutcomeUnknown)
            }
            Ok(_) | Err(ChangeError::NotFound { .. }) => Ok(()),
            Err(ChangeError::Invalid(error) | ChangeError::Conflict(error)) => {
                self.note_unreadable(known, &Malformed(error), &data, now);
                Ok(())
            }
            Err(error @ (ChangeError::NoPlace(_) | ChangeError::Store(_))) => Err(error.into()),
        }
    }

    fn apply(&self, event: Event, sent: u64, now: Moment) -> Result<Option<Arc<Ticket>>, ChangeError> {
        let ledger = &self.app.ledger;
        let sent = UnixSeconds(i64::try_from(sent).unwrap_or(i64::MAX));
        let known = match event {
            Event::Transaction(transaction) => match reconciliation::apply(ledger, &transaction, now)? {
                Applied::Booked(booking) => Some(booking.ticket),
                Applied::Known => None,
                Applied::NotOurs => return Ok(None),
            },
            Event::Allowances { user, allowances } => ledger.report_allowances(&user, allowances, sent, now)?,
            Event::Card { card, status } => ledger.report_card(&card, status, sent, now)?,
            Event::OtherToken => {
                counter!("tapgate_ur_transactions_total", "outcome" => "other_token").increment(1);
                return Ok(None);
            }
            Event::Account(_) => return Ok(None),
        };
        // The record of the first delivery may be under way.
        let journal = ledger.journal();
        Ok(known.or_else(|| journal.await_durable(journal.claimed())))
    }

    fn note_unreadable(&self, event: &'static str, error: &Malformed, data: &Value, now: Moment) {
        self.app.findings.unreadable(event, error, now.at);
        self.shapes.log(event, data);
    }
}

impl App {
    /// Has the feeds read the account that an event names.
    fn hint_changed(&self, data: &Value) {
        if let Ok(user) = account(data) {
            self.hint(Hint::Changed(user));
        }
    }
}
