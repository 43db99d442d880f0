//! Changes by people: imports, figures, controls, suspensions, releases. One at a time, each a record with its author.

mod alerts;
mod breaks;
mod closures;
mod cursors;
mod pools;
mod prefunds;
mod program;
mod users;

pub use alerts::AlertChange;
pub use closures::ClosureChange;
pub use cursors::CursorChange;
pub use prefunds::PrefundChange;

use std::sync::Arc;

use compact_str::CompactString;

use super::change::users::{LIST_MAX, replaced_funds, some_unless_empty};
use super::{Admin, Ledger};
use crate::contract::pricing::Rates;
use crate::fact::{Author, CardStatus, Controls, ControlsError, Fact, Import, ImportedCard, ReleaseCause};
use crate::ids::{AuthorizationId, BreakId, CardId, PrefundId, Sequence, UrId};
use crate::journal::{NoPlace, Ticket};
use crate::money::{AMOUNT_MAX, Currency, Minor, Money, ROOM_MAX};
use crate::store::StoreError;
use crate::time::Moment;

/// Up to which debit a reported balance is proven to reflect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reflected {
    /// Everything approved until this change.
    Now,
    /// Everything up to this record.
    Through(Sequence),
}

/// A change that a person asks for.
#[derive(Clone, Debug)]
pub enum Change {
    /// Import a user, or import it again.
    ImportUser(Box<Import>),
    /// A new figure of a user's funds; the holds named in `debited` are in it.
    ReplaceFunds {
        /// The user.
        user: UrId,
        /// The new figure.
        funds: Money,
        /// Above the version before.
        version: u64,
        /// Ids of decisions whose funds hold ends.
        debited: Vec<AuthorizationId>,
    },
    /// Suspend or resume a user.
    SuspendUser {
        /// The user.
        user: UrId,
        /// The new state.
        suspended: bool,
    },
    /// Replace a user's controls.
    ControlUser {
        /// The user.
        user: UrId,
        /// The new controls.
        controls: Controls,
    },
    /// Add a card to a user.
    AddCard {
        /// The user.
        user: UrId,
        /// The card; no user may have it yet.
        card: ImportedCard,
    },
    /// Change a card's status.
    ChangeCard {
        /// The card.
        card: CardId,
        /// The new status.
        status: CardStatus,
    },
    /// Replace a card's controls.
    ControlCard {
        /// The card.
        card: CardId,
        /// The new controls.
        controls: Controls,
    },
    /// Report a pool's balance, or set its floor and reserve. What is `None` stays.
    ReportPool {
        /// Which pool; it is opened by its first report.
        currency: Currency,
        /// The balance.
        reported: Option<Minor>,
        /// Never to be spent.
        floor: Option<Minor>,
        /// Kept back from approvals.
        reserve: Option<Minor>,
        /// What the balance is proven to reflect.
        reflected: Option<Reflected>,
    },
    /// Record a credit to a pool.
    CreditPool {
        /// Which pool.
        currency: Currency,
        /// The credit.
        amount: Minor,
        /// The payment's reference.
        reference: CompactString,
    },
    /// Record the credit of a prefund that was sent, unless it is credited already.
    CreditPrefund {
        /// Which.
        id: PrefundId,
        /// The credit, as UR shows it.
        amount: Minor,
    },
    /// Set all rates.
    ReplaceRates(Box<Rates>),
    /// Suspend or resume the whole program.
    SuspendProgram {
        /// The new state.
        suspended: bool,
        /// As the person gives it.
        reason: CompactString,
    },
    /// Release what an authorization still holds.
    Release {
        /// The root authorization.
        root: AuthorizationId,
        /// As the person gives it.
        reason: CompactString,
    },
    /// Explain a break.
    ResolveBreak {
        /// Which.
        id: BreakId,
        /// As the person gives it, or the rule's name.
        reason: CompactString,
    },
    /// Something about an alert.
    Alert(AlertChange),
    /// Something about a prefund.
    Prefund(PrefundChange),
    /// Something about the calendar.
    Closure(ClosureChange),
    /// Something about a reader of the journal.
    Cursor(CursorChange),
}

/// A change was refused; it had no effect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// There is no such user, card, pool or authorization.
    #[error("there is no {what} {id}")]
    NotFound {
        /// The kind of thing.
        what: &'static str,
        /// As it was asked for.
        id: String,
    },
    /// It contradicts what is there.
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

/// A change that was made.
#[derive(Clone, Debug)]
pub struct Receipt {
    /// Resolved once the change is durable; `None` where the same change was made before.
    pub ticket: Option<Arc<Ticket>>,
}

pub(in crate::ledger) fn not_found<T: ToString>(what: &'static str, id: &T) -> ChangeError {
    ChangeError::NotFound { what, id: id.to_string() }
}

/// Figures that people set lie between nothing and [`AMOUNT_MAX`].
pub(in crate::ledger) fn in_range(what: &str, amount: Minor) -> Result<(), ChangeError> {
    if (Minor::ZERO..=AMOUNT_MAX).contains(&amount) {
        return Ok(());
    }
    Err(ChangeError::Invalid(format!("{what} must be 0 to {AMOUNT_MAX}, got {amount}")))
}

/// A figure that accumulates is not raised beyond what can be added up.
pub(in crate::ledger) fn has_room(what: &str, figure: Minor) -> Result<(), ChangeError> {
    if figure.has_room() {
        return Ok(());
    }
    Err(ChangeError::Invalid(format!("{what} would be {figure}: the engine adds up to {ROOM_MAX} only")))
}

impl Ledger {
    /// Makes one change. It has happened, for decisions, when this returns; it survives once the ticket is durable.
    ///
    /// # Errors
    /// It was refused and had no effect.
    pub fn change(&self, author: &Author, change: Change, now: Moment) -> Result<Receipt, ChangeError> {
        let mut admin = self.lock_admin();
        if self.is_known(&admin, author, now)? {
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
            Change::ReplaceRates(mut rates) => {
                rates.sort().map_err(ChangeError::Invalid)?;
                self.program_change(author, at, self.stop_decisions(), Fact::RatesReplaced(rates))?
            }
            Change::SuspendProgram { suspended, reason } => {
                let fact = Fact::ProgramSuspended { suspended, reason };
                self.program_change(author, at, self.stop_decisions(), fact)?
            }
            Change::ResolveBreak { id, reason } => self.resolve_break(author, at, id, reason)?,
            Change::Alert(change) => self.change_alert(author, at, change)?,
            Change::Prefund(change) => self.change_prefund(author, at, change)?,
            Change::Closure(change) => self.change_closure(author, at, change)?,
            Change::Cursor(change) => self.change_cursor(author, at, change)?,
            Change::Release { root, reason } => self.release(author, at, &root, ReleaseCause::Person { reason })?,
            Change::ImportUser(import) => {
                for card in &import.cards {
                    if self.owner(&admin, &card.id).is_some_and(|owner| *owner != import.user) {
                        return Err(ChangeError::Conflict(format!("card {} is another user's", card.id)));
                    }
                }
                let before = self.users.get(&import.user).map(|row| row.cards.clone()).unwrap_or_default();
                let (user, cards) = (import.user.clone(), import.cards.clone());
                let ticket = self.import(author, at, import)?;
                // A card that is left out may be another user's from now on.
                before.iter().for_each(|card| admin.cards.remove(&card.id, &user));
                cards.iter().for_each(|card| admin.cards.add(&card.id, &user));
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
                in_range("amount", funds.amount)?;
                self.user_change(author, at, &user, |row| replaced_funds(row, &user, funds, version, &debited))?
            }
        };
        admin.keys.apply(at, author);
        Ok(Receipt { ticket: Some(ticket) })
    }

    /// Whether this very request was made before, by its idempotency key: for whoever does something beside the change,
    /// and must not do it twice. What was made is durable when this returns.
    ///
    /// # Errors
    /// The key was used for another request, or the journal has failed.
    pub fn is_repeated(&self, author: &Author, now: Moment) -> Result<bool, ChangeError> {
        self.is_known(&self.lock_admin(), author, now)
    }

    fn is_known(&self, admin: &Admin, author: &Author, now: Moment) -> Result<bool, ChangeError> {
        let Author::Person { name, idempotency: Some(asked) } = author else { return Ok(false) };
        let Some(made) = admin.keys.get(name, &asked.key, now.at) else { return Ok(false) };
        if made != asked.fingerprint {
            return Err(ChangeError::Conflict(format!(
                "the idempotency key {} was used for another request",
                asked.key
            )));
        }
        // It may still be on its way to the disk, and is told to have happened only once it is there.
        self.await_durable(self.journal.claimed())?;
        Ok(true)
    }
}
