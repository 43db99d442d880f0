//! Changes by people: imports, figures, controls, suspensions, releases. One at a time, each a record with its author.

use std::ops::ControlFlow;
use std::sync::Arc;

use compact_str::CompactString;
use dashmap::mapref::entry::Entry as Place;

use super::decide::append;
use super::{Admin, AlertChange, ClosureChange, CursorChange, Ledger, PrefundChange, Shared};
use crate::account::{CardStatus, ImportedCard, User};
use crate::authorization::Source;
use crate::controls::{Controls, ControlsError};
use crate::ids::{AuthorizationId, CardId, PrefundId, Sequence, UrId};
use crate::journal::{NoPlace, Settles, StoreError, Word};
use crate::money::{AMOUNT_MAX, Currency, Minor, Money};
use crate::pool::{Pool, PoolFigures};
use crate::pricing::Rates;
use crate::record::{
    Author, BreakId, Fact, FundsReplaced, Import, PoolCredited, PoolLimited, PoolReported, ReturnCause, Verdict,
};
use crate::time::{Moment, UnixMillis};

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
    /// Settled once the change is durable; `None` where the same change was made before.
    pub word: Option<Arc<Word>>,
}

pub(super) fn not_found<T: ToString>(what: &'static str, id: &T) -> ChangeError {
    ChangeError::NotFound { what, id: id.to_string() }
}

/// Figures that people set lie between nothing and [`AMOUNT_MAX`].
pub(super) fn in_range(what: &str, amount: Minor) -> Result<(), ChangeError> {
    if (Minor::ZERO..=AMOUNT_MAX).contains(&amount) {
        return Ok(());
    }
    Err(ChangeError::Invalid(format!("{what} must be 0 to {AMOUNT_MAX}, got {amount}")))
}

impl Ledger {
    /// Makes one change. It has happened, for decisions, when this returns; it survives once the word is settled.
    ///
    /// # Errors
    /// It was refused and had no effect.
    pub fn change(&self, author: &Author, change: Change, now: Moment) -> Result<Receipt, ChangeError> {
        let mut admin = self.lock_admin();
        if self.is_known(&admin, author, now)? {
            return Ok(Receipt { word: None });
        }
        let at = self.stamp(now);
        let word = match change {
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
            Change::Release { root, reason } => self.release(author, at, &root, ReturnCause::Person { reason })?,
            Change::ImportUser(import) => {
                for card in &import.cards {
                    if self.owner(&admin, &card.id).is_some_and(|owner| *owner != import.user) {
                        return Err(ChangeError::Conflict(format!("card {} is another user's", card.id)));
                    }
                }
                let before = self.users.get(&import.user).map(|row| row.cards.clone()).unwrap_or_default();
                let (user, cards) = (import.user.clone(), import.cards.clone());
                let word = self.import(author, at, import)?;
                // A card that is left out may be another user's from now on.
                before.iter().for_each(|card| admin.cards.remove(&card.id, &user));
                cards.iter().for_each(|card| admin.cards.add(&card.id, &user));
                word
            }
            Change::AddCard { user, card } => {
                if let Some(owner) = self.owner(&admin, &card.id) {
                    let whose = if *owner == user { "this user's already" } else { "another user's" };
                    return Err(ChangeError::Conflict(format!("card {} is {whose}", card.id)));
                }
                let word = self.user_change(author, at, &user, |row| {
                    if row.cards.len() >= LIST_MAX {
                        return Err(ChangeError::Invalid(format!("a user has at most {LIST_MAX} cards")));
                    }
                    Ok(Fact::CardAdded { user: user.clone(), card: card.clone() })
                })?;
                admin.cards.add(&card.id, &user);
                word
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
        Ok(Receipt { word: Some(word) })
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

    /// A change of one user's row.
    pub(super) fn user_change(
        &self,
        author: &Author,
        at: UnixMillis,
        user: &UrId,
        fact: impl FnOnce(&User) -> Result<Fact, ChangeError>,
    ) -> Result<Arc<Word>, ChangeError> {
        let _shared = self.read_shared();
        let mut row = self.users.get_mut(user).ok_or_else(|| not_found("user", user))?;
        let fact = fact(&row)?;
        let permit = self.journal.reserve()?;
        let word = Word::pending();
        let (sequence, fact) = append(permit, author.clone(), at, fact, Settles::Decision(Arc::clone(&word)));
        row.apply(sequence, at, &fact);
        Ok(word)
    }

    fn import(&self, author: &Author, at: UnixMillis, import: Box<Import>) -> Result<Arc<Word>, ChangeError> {
        validate_import(&import)?;
        let _shared = self.read_shared();
        let place = self.users.entry(import.user.clone());
        if let dashmap::Entry::Occupied(row) = &place {
            let held = row.get().funds.filter(|funds| !funds.held.is_zero());
            if let Some(held) = held
                && import.funds.is_none_or(|funds| funds.currency != held.currency)
            {
                return Err(ChangeError::Conflict(format!(
                    "{} {} of the user's funds are held: the currency of the funds cannot change until they are debited or released",
                    held.held, held.currency
                )));
            }
        }
        let permit = self.journal.reserve()?;
        let word = Word::pending();
        let settles = Settles::Decision(Arc::clone(&word));
        let (sequence, fact) = append(permit, author.clone(), at, Fact::UserImported(import), settles);
        match place {
            dashmap::Entry::Occupied(mut row) => row.get_mut().apply(sequence, at, &fact),
            dashmap::Entry::Vacant(place) => {
                if let Fact::UserImported(import) = &fact {
                    place.insert(Box::new(User::imported(sequence, at, import)));
                }
            }
        }
        Ok(word)
    }

    /// A change of what all decisions share, made while none runs.
    pub(super) fn program_change(
        &self,
        author: &Author,
        at: UnixMillis,
        mut shared: crossbeam::sync::ShardedLockWriteGuard<'_, Shared>,
        fact: Fact,
    ) -> Result<Arc<Word>, ChangeError> {
        let permit = self.journal.reserve()?;
        let word = Word::pending();
        let (sequence, fact) = append(permit, author.clone(), at, fact, Settles::Decision(Arc::clone(&word)));
        shared.program.apply(at, &fact);
        for currency in fact.pools() {
            let mut figures = shared.pool(currency).map_or_else(|| PoolFigures::empty(currency), Pool::figures);
            figures.apply(sequence, at, &fact);
            match shared.pools.iter_mut().find(|pool| pool.currency() == currency) {
                Some(pool) => pool.replace(figures),
                None => shared.pools.push(Pool::new(figures)),
            }
        }
        if let Fact::PoolCredited(_) = &fact {
            self.lock_prefunds().apply(sequence, at, author, &fact);
        }
        Ok(word)
    }

    pub(super) fn credit_pool(
        &self,
        author: &Author,
        at: UnixMillis,
        currency: Currency,
        amount: Minor,
        reference: CompactString,
    ) -> Result<Arc<Word>, ChangeError> {
        in_range("amount", amount)?;
        let shared = self.stop_decisions();
        shared.pool(currency).ok_or_else(|| not_found("pool", &currency))?;
        let counted = if self.policy.credits_count_at_once { amount } else { Minor::ZERO };
        let credit = PoolCredited { currency, amount, reference, counted };
        self.program_change(author, at, shared, Fact::PoolCredited(credit))
    }

    fn report_pool(
        &self,
        author: &Author,
        at: UnixMillis,
        currency: Currency,
        [reported, floor, reserve]: [Option<Minor>; 3],
        reflected: Option<Reflected>,
    ) -> Result<Arc<Word>, ChangeError> {
        // The long way through the journal is gone before decisions are stopped; what came meanwhile is short.
        let through = self.journal.durable();
        let counted = match reflected {
            Some(Reflected::Through(sequence)) => self.debited(currency, sequence, sequence, through)?,
            _ => Minor::ZERO,
        };
        let shared = self.stop_decisions();
        let before = shared.pool(currency).map_or_else(|| PoolFigures::empty(currency), Pool::figures);
        let is_report = reported.is_some() || reflected.is_some();
        let reported = reported.unwrap_or(before.reported);
        let floor = floor.unwrap_or(before.floor);
        let reserve = reserve.unwrap_or(before.reserve);
        in_range("reported", reported)?;
        in_range("floor", floor)?;
        in_range("reserve", reserve)?;
        let (reflected_through, unreflected) = match reflected {
            None => (before.reflected_through, before.unreflected()),
            Some(Reflected::Now) => (self.journal.claimed(), Minor::ZERO),
            Some(Reflected::Through(sequence)) => {
                if sequence < before.reflected_through || sequence > self.journal.claimed() {
                    return Err(ChangeError::Conflict(format!(
                        "reflectedThrough must be {} to {}, got {sequence}",
                        before.reflected_through,
                        self.journal.claimed()
                    )));
                }
                self.await_durable(self.journal.claimed())?;
                let since = self.debited(currency, sequence, through.max(sequence), self.journal.claimed())?;
                (sequence, counted.saturating_add(since))
            }
        };
        let available = reported.saturating_sub(floor).saturating_sub(unreflected);
        let available_change = available.saturating_sub(before.available);
        if !is_report {
            // The balance is as old as it was.
            let limited = PoolLimited { currency, floor, reserve, available_change };
            return self.program_change(author, at, shared, Fact::PoolLimited(limited));
        }
        let report = PoolReported { currency, reported, floor, reserve, reflected_through, available_change };
        self.program_change(author, at, shared, Fact::PoolReported(report))
    }

    /// What decisions after `sequence` took from a pool and did not give back, by the durable records in
    /// `(after, through]`.
    fn debited(
        &self,
        currency: Currency,
        sequence: Sequence,
        after: Sequence,
        through: Sequence,
    ) -> Result<Minor, ChangeError> {
        let mut debited = Minor::ZERO;
        self.records(after, &mut |at, record, _| {
            if at > through {
                return ControlFlow::Break(());
            }
            debited = debited.saturating_add(debit_since(&record.fact, currency, sequence));
            ControlFlow::Continue(())
        })?;
        Ok(debited)
    }

    pub(super) fn release(
        &self,
        author: &Author,
        at: UnixMillis,
        root: &AuthorizationId,
        cause: ReturnCause,
    ) -> Result<Arc<Word>, ChangeError> {
        let shared = self.read_shared();
        let Place::Occupied(mut row) = self.authorization(root)? else {
            return Err(not_found("authorization", root));
        };
        let row = row.get_mut();
        if !row.state.is_open() {
            return Err(ChangeError::Conflict(format!(
                "authorization {root} is {}: it holds nothing",
                row.state.name()
            )));
        }
        let mut user = self.users.get_mut(&row.user.clone());
        let permit = self.journal.reserve()?;
        let fact = Self::given_up(cause, root, &shared, user.as_deref().map(|user| &**user), row);
        let word = Word::pending();
        let (sequence, fact) = append(permit, author.clone(), at, fact, Settles::Decision(Arc::clone(&word)));
        if let Some(user) = &mut user {
            user.apply(sequence, at, &fact);
        }
        row.apply(sequence, &fact);
        shared.give_back(&fact);
        Ok(word)
    }
}

fn some_unless_empty(controls: Controls) -> Option<Box<Controls>> {
    (controls != Controls::default()).then(|| Box::new(controls))
}

fn replaced_funds(
    row: &User,
    user: &UrId,
    funds: Money,
    version: u64,
    debited: &[AuthorizationId],
) -> Result<Fact, ChangeError> {
    if let Some(before) = row.funds.filter(|before| version <= before.version) {
        return Err(ChangeError::Conflict(format!("version {version} is not above the stored {}", before.version)));
    }
    let ended: Vec<_> = row.holds().iter().filter(|hold| debited.contains(&hold.id) && !hold.funds.is_zero()).collect();
    let ending = ended.iter().fold(Minor::ZERO, |sum, hold| sum.saturating_add(hold.funds));
    if let Some(before) = row.funds.filter(|before| before.currency != funds.currency && before.held != ending) {
        return Err(ChangeError::Conflict(format!(
            "{} {} stay held: the currency of the funds cannot change",
            before.held.saturating_sub(ending),
            before.currency
        )));
    }
    let ended = ended.into_iter().map(|hold| hold.sequence).collect();
    Ok(Fact::FundsReplaced(FundsReplaced { user: user.clone(), funds, version, ended }))
}

fn debit_since(fact: &Fact, currency: Currency, sequence: Sequence) -> Minor {
    if !fact.pools().any(|pool| pool == currency) {
        return Minor::ZERO;
    }
    match fact {
        Fact::Decided(decided) => match &decided.verdict {
            Verdict::Approved(approval) if approval.source == Source::Crypto => approval.paid.amount,
            _ => Minor::ZERO,
        },
        Fact::Returned(returned) => {
            let since = returned.draws.iter().filter(|draw| draw.sequence > sequence);
            Minor(-since.fold(Minor::ZERO, |sum, draw| sum.saturating_add(draw.paid)).0)
        }
        // What UR took beyond a hold is a debit of its own; what it took less is only given up where it was open.
        Fact::Booked(booked) => {
            let own = booked.pools.iter().filter(|pool| pool.currency == currency);
            let since = booked.draws.iter().filter(|draw| draw.sequence > sequence);
            let open = since.fold(Minor::ZERO, |sum, draw| sum.saturating_add(draw.paid));
            own.fold(Minor::ZERO, |sum, pool| sum.saturating_sub(pool.available.min(open)))
        }
        _ => Minor::ZERO,
    }
}

/// A user's lists are short: every decision walks them.
const LIST_MAX: usize = 64;

fn validate_import(import: &Import) -> Result<(), ChangeError> {
    let invalid = |message: String| Err(ChangeError::Invalid(message));
    if import.cards.len() > LIST_MAX || import.fiat.len() > LIST_MAX {
        return invalid(format!("a user has at most {LIST_MAX} cards and {LIST_MAX} fiat balances"));
    }
    in_range("limit.usedLimit", Minor(import.limit.used.0))?;
    in_range("limit.clientLimit", Minor(import.limit.client.0))?;
    for (place, balance) in import.fiat.iter().enumerate() {
        in_range("fiat.amount", balance.amount)?;
        if import.fiat.iter().take(place).any(|other| other.currency == balance.currency) {
            return invalid(format!("fiat holds {} twice", balance.currency));
        }
    }
    for (place, card) in import.cards.iter().enumerate() {
        if import.cards.iter().take(place).any(|other| other.id == card.id) {
            return invalid(format!("card {} is given twice", card.id));
        }
    }
    import.funds.map_or(Ok(()), |funds| in_range("funds.amount", funds.amount))
}
