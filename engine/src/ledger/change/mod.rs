//! Changes by people: imports, figures, controls, suspensions, releases. One at a time, each a record with its author.

mod alerts;
mod breaks;
mod clock;
mod closures;
mod cursors;
mod persons;
mod pools;
mod prefunds;
mod program;
pub(in crate::ledger) mod users;

pub use alerts::AlertChange;
pub use closures::ClosureChange;
pub use cursors::CursorChange;
pub use prefunds::PrefundChange;

use std::sync::Arc;

use compact_str::CompactString;

use super::Ledger;
use super::change::users::{LIST_MAX, replaced_funds, some_unless_empty};
use crate::contract::pricing::{Conversion, Rates};
use crate::fact::{
    Author, BreakAnswer, CardStatus, Closing, Controls, ControlsError, EndCause, Fact, Import, ImportedCard, Provider,
    ProviderSuspended,
};
use crate::ids::{AuthorizationId, BreakId, CardId, PrefundId, Sequence, UrId};
use crate::journal::{NoPlace, Ticket};
use crate::money::{AMOUNT_MAX, Currency, Minor, Money, ROOM_MAX};
use crate::rows::KeyRow;
use crate::rows::encoding::load;
use crate::store::StoreError;
use crate::time::Moment;

/// The debits that a reported balance provably reflects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reflected {
    /// Every approval before this change.
    Now,
    /// Every debit up to this record.
    Through(Sequence),
}

/// A change requested by a person.
#[derive(Clone, Debug)]
pub enum Change {
    /// Import a user, or import it again.
    ImportUser(Box<Import>),
    /// Replace a user's funds; the new figure reflects the holds named in `debited`.
    ReplaceFunds {
        user: UrId,
        funds: Money,
        /// Must be above the stored version.
        version: u64,
        /// Ids of the decisions whose funds hold ends.
        debited: Vec<AuthorizationId>,
    },
    /// Suspend or resume a user.
    SuspendUser { user: UrId, suspended: bool },
    /// Replace a user's controls.
    ControlUser { user: UrId, controls: Controls },
    /// Add a card to a user.
    AddCard {
        user: UrId,
        /// No user may own the card yet.
        card: ImportedCard,
    },
    /// Change a card's status.
    ChangeCard { card: CardId, status: CardStatus },
    /// Make a card single-use, or no longer so.
    SetCardUse { card: CardId, single_use: bool },
    /// Replace a card's controls.
    ControlCard { card: CardId, controls: Controls },
    /// Report a pool's balance, or set its floor and reserve. A `None` keeps the stored figure.
    ReportPool {
        /// The first report of a currency opens its pool.
        currency: Currency,
        reported: Option<Minor>,
        /// The part that must never be spent.
        floor: Option<Minor>,
        /// The part that approvals must leave.
        reserve: Option<Minor>,
        reflected: Option<Reflected>,
    },
    /// Record a credit to a pool.
    CreditPool { currency: Currency, amount: Minor, reference: CompactString },
    /// Record the credit of a sent prefund, unless it is credited already.
    CreditPrefund {
        id: PrefundId,
        /// The credited amount, as UR reports it.
        amount: Minor,
    },
    /// Set all rates but those that a person pinned.
    ReplaceRates(Box<Rates>),
    /// Pin the rate of a pair: only a person replaces it.
    PinRate { pair: (Currency, Currency), conversion: Conversion },
    /// Unpin the rate of a pair: it ages from now on.
    UnpinRate { pair: (Currency, Currency) },
    /// Suspend or resume the whole program.
    SuspendProgram { suspended: bool, reason: CompactString },
    /// Suspend or resume the cards of one provider.
    SuspendProvider { provider: Provider, suspended: bool, reason: CompactString },
    /// Release everything that an authorization still holds.
    Release { root: AuthorizationId, reason: CompactString },
    /// Resolve a break with the outcome of the question that UR leaves open about its authorization.
    AnswerBreak { root: AuthorizationId, closing: Closing, answer: BreakAnswer },
    /// Move a movement that stands alone to the authorization that it belongs to.
    Link {
        /// The movement's own row.
        from: AuthorizationId,
        to: AuthorizationId,
    },
    /// Explain a break.
    ResolveBreak {
        id: BreakId,
        /// The person's words, or the rule's name.
        reason: CompactString,
    },
    /// Acknowledge or silence an alert.
    Alert(AlertChange),
    /// Change a prefund.
    Prefund(PrefundChange),
    /// Add or remove a closure of the calendar.
    Closure(ClosureChange),
    /// Move a journal reader's cursor.
    Cursor(CursorChange),
}

/// A refused change; it had no effect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// There is no such user, card, pool or authorization.
    #[error("there is no {what} {id}")]
    NotFound { what: &'static str, id: String },
    /// The change contradicts the stored state.
    #[error("{0}")]
    Conflict(String),
    /// A figure is out of range.
    #[error("{0}")]
    Invalid(String),
    /// The journal has no place now.
    #[error("{0}")]
    NoPlace(#[from] NoPlace),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<ControlsError> for ChangeError {
    fn from(error: ControlsError) -> Self {
        ChangeError::Invalid(error.to_string())
    }
}

/// An applied change.
#[derive(Clone, Debug)]
pub struct Receipt {
    /// Resolved once the change is durable; `None` for a repeated request.
    pub ticket: Option<Arc<Ticket>>,
}

pub(in crate::ledger) fn not_found<T: ToString>(what: &'static str, id: &T) -> ChangeError {
    ChangeError::NotFound { what, id: id.to_string() }
}

/// Figures set by people are 0 to [`AMOUNT_MAX`].
pub(in crate::ledger) fn in_range(what: &str, amount: Minor) -> Result<(), ChangeError> {
    if (Minor::ZERO..=AMOUNT_MAX).contains(&amount) {
        return Ok(());
    }
    Err(ChangeError::Invalid(format!("{what} must be 0 to {AMOUNT_MAX}, got {amount}")))
}

/// A figure of a user who may owe.
pub(in crate::ledger) fn in_signed_range(what: &str, amount: Minor) -> Result<(), ChangeError> {
    if (-AMOUNT_MAX..=AMOUNT_MAX).contains(&amount) {
        return Ok(());
    }
    Err(ChangeError::Invalid(format!("{what} must be -{AMOUNT_MAX} to {AMOUNT_MAX}, got {amount}")))
}

/// An accumulating figure must stay within the range that can be summed.
pub(in crate::ledger) fn has_room(what: &str, figure: Minor) -> Result<(), ChangeError> {
    if figure.has_room() {
        return Ok(());
    }
    Err(ChangeError::Invalid(format!("{what} would be {figure}: the engine adds up to {ROOM_MAX} only")))
}

impl Ledger {
    /// Applies one change. Decisions see it when this returns; it survives once the ticket is durable.
    ///
    /// # Errors
    /// The change was refused and had no effect.
    pub fn change(&self, author: &Author, change: Change, now: Moment) -> Result<Receipt, ChangeError> {
        let mut admin = self.lock_admin();
        if self.is_known(author, now)? {
            return Ok(Receipt { ticket: None });
        }
        let at = self.stamp(now);
        let ticket = match change {
            Change::ReportPool { currency, reported, floor, reserve, reflected } => {
                self.report_pool(author, at, currency, [reported, floor, reserve], reflected)?
            }
            Change::CreditPool { currency, amount, reference } => {
                self.check_new(currency, &reference)?;
                self.credit_pool(author, at, currency, amount, reference)?
            }
            Change::CreditPrefund { id, amount } => self.credit_prefund(author, at, id, amount)?,
            Change::ReplaceRates(rates) => self.change_rates(author, at, |before| Ok(rates.with_pins_of(before)))?,
            Change::PinRate { pair, conversion } => {
                self.change_rates(author, at, |before| Ok(before.pinned(pair, conversion)))?
            }
            Change::UnpinRate { pair: pair @ (from, to) } => self.change_rates(author, at, |before| {
                before.unpinned(pair, at).ok_or_else(|| not_found("pinned rate", &format_args!("{from} to {to}")))
            })?,
            Change::SuspendProgram { suspended, reason } => {
                let fact = Fact::ProgramSuspended { suspended, reason };
                self.program_change(author, at, self.stop_decisions(), fact)?
            }
            Change::SuspendProvider { provider, suspended, reason } => {
                let word = ProviderSuspended { provider, suspended, reason, at: at.seconds() };
                self.program_change(author, at, self.stop_decisions(), Fact::ProviderSuspended(Box::new(word)))?
            }
            Change::ResolveBreak { id, reason } => self.resolve_break(author, at, id, reason)?,
            Change::Alert(change) => self.change_alert(author, at, change)?,
            Change::Prefund(change) => self.change_prefund(author, at, change)?,
            Change::Closure(change) => self.change_closure(author, at, change)?,
            Change::Cursor(change) => self.change_cursor(author, at, change)?,
            Change::Release { root, reason } => self.release(author, at, &root, EndCause::Person { reason })?,
            Change::AnswerBreak { root, closing, answer } => self.answer_break(author, at, &root, closing, answer)?,
            Change::Link { from, to } => self.link(author, &from, &to, now)?,
            Change::ImportUser(import) => {
                self.check_owners(&admin, &import)?;
                let before = self.users.get(&import.user).map(|row| row.cards.clone()).unwrap_or_default();
                let user = import.user.clone();
                let ticket = self.import(author, at, import)?;
                // An active card missing from the import is free for another user.
                before.iter().for_each(|card| admin.cards.remove(&card.id, &user));
                let after = self.users.get(&user).map(|row| row.cards.clone()).unwrap_or_default();
                after.iter().for_each(|card| admin.cards.add(&card.id, &user));
                ticket
            }
            Change::AddCard { user, card } => {
                if let Some(owner) = self.owner(&admin, &card.id) {
                    let whose = if *owner == user { "this user's already" } else { "another user's" };
                    return Err(ChangeError::Conflict(format!("card {} is {whose}", card.id)));
                }
                let ticket = self.user_change(author, at, &user, |row| {
                    if row.cards.len() >= LIST_MAX {
                        return Err(ChangeError::Invalid(format!("a user has at most {LIST_MAX} cards")));
                    }
                    Ok(Fact::CardAdded { user: user.clone(), card: card.clone() })
                })?;
                admin.cards.add(&card.id, &user);
                ticket
            }
            Change::ChangeCard { card, status } => {
                let user = self.owner(&admin, &card).cloned().ok_or_else(|| not_found("card", &card))?;
                self.user_change(author, at, &user.clone(), |row| {
                    let before = row.card(&card).ok_or_else(|| not_found("card", &card))?;
                    if before.status == CardStatus::Deleted && status != CardStatus::Deleted {
                        return Err(ChangeError::Conflict(format!("card {card} is deleted, for good")));
                    }
                    Ok(Fact::CardChanged { user, card: card.clone(), status })
                })?
            }
            Change::SetCardUse { card, single_use } => {
                let user = self.owner(&admin, &card).cloned().ok_or_else(|| not_found("card", &card))?;
                self.user_change(author, at, &user.clone(), |row| {
                    row.card(&card).ok_or_else(|| not_found("card", &card))?;
                    Ok(Fact::CardUseSet { user, card: card.clone(), single_use })
                })?
            }
            Change::ControlCard { card, controls } => {
                controls.validate()?;
                let user = self.owner(&admin, &card).cloned().ok_or_else(|| not_found("card", &card))?;
                self.user_change(author, at, &user.clone(), |row| {
                    row.card(&card).ok_or_else(|| not_found("card", &card))?;
                    Ok(Fact::CardControlled { user, card: card.clone(), controls: some_unless_empty(controls) })
                })?
            }
            Change::SuspendUser { user, suspended } => {
                self.user_change(author, at, &user.clone(), |_| Ok(Fact::UserSuspended { user, suspended }))?
            }
            Change::ControlUser { user, controls } => {
                controls.validate()?;
                self.user_change(author, at, &user.clone(), |_| {
                    Ok(Fact::UserControlled { user, controls: some_unless_empty(controls) })
                })?
            }
            Change::ReplaceFunds { user, funds, version, debited } => {
                in_signed_range("amount", funds.amount)?;
                self.user_change(author, at, &user, |row| replaced_funds(row, &user, funds, version, &debited))?
            }
        };
        Ok(Receipt { ticket: Some(ticket) })
    }

    /// Whether this request was made before, by its idempotency key: for callers with a side effect that must not
    /// happen twice. The earlier change is durable when this returns.
    ///
    /// # Errors
    /// The key was used for another request, or the journal has failed.
    pub fn is_repeated(&self, author: &Author, now: Moment) -> Result<bool, ChangeError> {
        let _one_at_a_time = self.lock_admin();
        self.is_known(author, now)
    }

    /// As [`Ledger::is_repeated`], for a caller that holds the `admin` lock: no key can be used meanwhile.
    fn is_known(&self, author: &Author, now: Moment) -> Result<bool, ChangeError> {
        let Author::Person { name, idempotency: Some(asked) } = author else { return Ok(false) };
        let key = (name.clone(), asked.key.clone());
        let in_memory = self.lock_keys().get(&key).cloned();
        // A row leaves memory only once it is on disk.
        let row = in_memory.map_or_else(|| load::<KeyRow>(&*self.store, &key), |row| Ok(Some(row)))?;
        let Some(made) = row.and_then(|row| row.request(self.time(now.at))) else { return Ok(false) };
        if made != asked.fingerprint {
            return Err(ChangeError::Conflict(format!(
                "the idempotency key {} was used for another request",
                asked.key
            )));
        }
        // The earlier change may not be durable yet; report it as made only once it is.
        self.await_durable(self.journal.claimed())?;
        Ok(true)
    }
}
