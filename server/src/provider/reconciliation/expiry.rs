//! Ends by time what UR never settles: holds, awaited returns, and movements that nobody is debited for.
//!
//! Every due time is derived from rows and records, so a restart forgets none.

use std::sync::Arc;
use std::time::Duration;

use tapgate_engine::fact::{Channel, Closing, Evidence, Fact, Flow, Overdue, Source, is_lodging_or_rental};
use tapgate_engine::ids::{AuthorizationId, UrId};
use tapgate_engine::ledger::{ChangeError, Ledger};
use tapgate_engine::money::{Currency, Minor, SUM_MAX};
use tapgate_engine::rows::Authorization;
use tapgate_engine::rules::{Standing, is_uncharged, standing};
use tapgate_engine::store::StoreError;
use tapgate_engine::time::{Moment, UnixSeconds};

use super::Settings;
use crate::clock::Clock;

/// Records of an authorization that are searched for the time at which a return became due.
const HISTORY_MAX: usize = 2_000;

/// An authorization that holds something, or has an open question.
#[derive(Debug)]
pub struct Open {
    pub root: AuthorizationId,
    pub row: Authorization,
    /// The first record about it: none of its UR transactions is older than its decision.
    pub since: UnixSeconds,
    /// The youngest claim on its source: yesterday's increment is not old because its stay began a month ago.
    pub at: UnixSeconds,
    is_long: bool,
    standing: Standing,
}

/// What UR said about the account's transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listed {
    /// Everything was read and understood.
    Completely,
    /// Something was not read, or not understood: nothing is concluded from it.
    Partly,
    /// UR refuses to list this account's transactions.
    Refused,
    /// UR is never asked.
    Never,
}

/// The end of an open authorization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// It is waited for until then.
    At(UnixSeconds),
    /// It ends now.
    Over,
    /// Its time is over, and UR shows a movement that is not settled: it ends one period later.
    Unsettled(UnixSeconds),
}

/// A user's authorizations that hold something or have an open question, oldest hold first.
///
/// # Errors
/// Rows or records could not be read.
pub fn open(ledger: &Ledger, user: &UrId) -> Result<Vec<Open>, StoreError> {
    let Some(holder) = ledger.user(user) else { return Ok(Vec::new()) };
    let mut roots: Vec<&AuthorizationId> = Vec::new();
    for root in holder.holds().iter().map(|hold| &hold.root).chain(holder.asked()) {
        if !roots.contains(&root) {
            roots.push(root);
        }
    }
    let mut found = Vec::new();
    for root in roots {
        // What is in quarantine can neither be settled nor end: the runbook says what a person does.
        let row = ledger.find_usable(root)?.and_then(|found| found.authorization);
        let Some(row) = row.filter(|row| row.user == *user) else { continue };
        let standing = standing(&row, ledger.policy().tolerance);
        if row.held().amount.is_zero() && !row.state.is_open() && !holder.asked().contains(root) {
            continue;
        }
        found.extend(times(ledger, root, row, standing)?);
    }
    Ok(found)
}

/// What UR announced as given back to a pool and has not shown: its balance rises by it when UR gives it back, which may be
/// long after UR announced it, where our acknowledgement came late.
///
/// # Errors
/// Rows or records could not be read.
pub fn returns_unshown(ledger: &Ledger, pool: Currency) -> Result<Minor, StoreError> {
    let mut unshown = Minor::ZERO;
    for user in ledger.waiting_users() {
        for open in open(ledger, &user)? {
            if open.row.source == Some(Source::Crypto) && open.row.paid_currency == pool {
                let left = open.standing.announced - open.standing.returned;
                unshown = (unshown + left.max(Minor::ZERO)).min(SUM_MAX);
            }
        }
    }
    Ok(unshown)
}

/// The times of an authorization; `None` while its first record is not durable.
fn times(
    ledger: &Ledger,
    root: &AuthorizationId,
    row: Authorization,
    standing: Standing,
) -> Result<Option<Open>, StoreError> {
    let movements = &row.settlement().movements;
    let first = row.draws.first().map(|draw| draw.sequence);
    let first = first.or_else(|| movements.iter().map(|movement| movement.first).min());
    let draws = row.draws.iter().filter(|draw| !draw.is_ended).map(|draw| draw.sequence);
    // After an end only a movement that UR showed later claims anything.
    let unsettled = movements.iter().filter(|movement| movement.progress.is_unsettled() && !movement.is_ended);
    let last = draws.max().or_else(|| unsettled.map(|movement| movement.first).max()).or(first);
    let Some((first, last)) = first.zip(last) else { return Ok(None) };
    let (Some(first), Some(last)) = (ledger.record(first)?, ledger.record(last)?) else { return Ok(None) };
    let is_long = matches!(&first.fact, Fact::Decided(decided) if {
        let request = &decided.request;
        request.channel != Channel::Atm && request.merchant.mcc.is_some_and(is_lodging_or_rental)
    });
    let shown = movements.iter().map(|movement| movement.at);
    let since = shown.chain([first.at.seconds()]).min().unwrap_or(first.at.seconds());
    Ok(Some(Open { root: root.clone(), since, at: last.at.seconds(), row, is_long, standing }))
}

impl Open {
    /// Whether something is held.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.row.can_end()
    }

    /// Whether UR shows a movement that it has not settled.
    fn is_unsettled(&self) -> bool {
        let mut movements = self.row.settlement().movements.iter();
        movements.any(|movement| movement.flow == Flow::Out && movement.progress.is_unsettled() && !movement.is_ended)
    }

    /// The end of what is held.
    #[must_use]
    pub fn due(&self, rules: &Settings, listed: Listed, now: UnixSeconds) -> Due {
        let period = i64::from(if self.is_long { rules.long_expiry_seconds } else { rules.expiry_seconds });
        let expiry = self.at.plus(period);
        if self.is_unsettled() {
            let end = expiry.plus(period);
            return if now < expiry {
                Due::At(expiry)
            } else if now < end {
                Due::Unsettled(end)
            } else {
                Due::Over
            };
        }
        if self.row.is_shown() {
            return if now < expiry { Due::At(expiry) } else { Due::Over };
        }
        let end = match listed {
            Listed::Completely | Listed::Partly => self.at.plus(i64::from(rules.silence_seconds)),
            Listed::Refused | Listed::Never => expiry,
        };
        if now < end { Due::At(end) } else { Due::Over }
    }

    /// The time at which an awaited return is overdue; `None` if none is awaited, or it is overdue already.
    ///
    /// # Errors
    /// Records could not be read.
    fn overdue_at(&self, ledger: &Ledger, rules: &Settings) -> Result<Option<UnixSeconds>, StoreError> {
        if self.standing.awaited.is_zero() || self.row.settlement().is_overdue(Overdue::Return) {
            return Ok(None);
        }
        let history = ledger.history(&self.root, self.row.sequence, HISTORY_MAX)?;
        let begins = |fact: &Fact| match fact {
            Fact::Settled(settled) => match &settled.evidence {
                Evidence::Announced(announced) => announced.mismatch.is_none(),
                Evidence::Shown(shown) => shown.posting.flow == Flow::Out,
                Evidence::Closed { closing, .. } => *closing == Closing::WillCome,
                Evidence::Linked(_) => true,
                Evidence::Ended(_) | Evidence::Overdue(_) => false,
            },
            Fact::Decided(_) => true,
            _ => false,
        };
        let last = history.iter().rev().find(|(_, record)| begins(&record.fact));
        Ok(last.map(|(_, record)| record.at.seconds().plus(i64::from(rules.return_after_seconds))))
    }

    /// Notes that UR refuses to list the account of a hold, once.
    ///
    /// # Errors
    /// It could not be recorded.
    pub fn note_refused(&self, ledger: &Ledger, now: Moment) -> Result<(), ChangeError> {
        if self.row.held().amount.is_zero() || self.row.settlement().is_overdue(Overdue::Listing) {
            return Ok(());
        }
        ledger.note_overdue(&self.root, Overdue::Listing, now).map(|_| ())
    }

    /// Ends what is due, with the break that says why; returns whether it ended.
    ///
    /// # Errors
    /// The end could not be recorded.
    pub fn end(&self, ledger: &Ledger, due: Due, now: Moment) -> Result<bool, ChangeError> {
        match due {
            Due::At(_) => return Ok(false),
            Due::Unsettled(_) => {
                if !self.row.settlement().is_overdue(Overdue::Settlement) {
                    ledger.note_overdue(&self.root, Overdue::Settlement, now)?;
                }
                return Ok(false);
            }
            Due::Over => {}
        }
        ledger.expire(&self.root, now)?;
        Ok(true)
    }
}

/// Interval of looking for what is over by time, where UR is never asked.
const LOOK_INTERVAL: Duration = Duration::from_secs(600);

/// Ends by time what UR never settles, until dropped: for a server that never asks UR.
pub async fn keep_expiring(ledger: Arc<Ledger>, clock: Arc<Clock>, rules: Settings) {
    loop {
        for user in ledger.waiting_users() {
            if let Err(error) = expire_by_time(&ledger, &user, &rules, clock.now()) {
                tracing::warn!(%user, %error, "an account's holds were not looked at; they are later");
            }
            tokio::task::yield_now().await;
        }
        clock.sleep(LOOK_INTERVAL).await;
    }
}

/// Ends by time what an account holds, without asking UR; returns the number of ends.
///
/// # Errors
/// A change could not be recorded.
pub fn expire_by_time(ledger: &Ledger, user: &UrId, rules: &Settings, now: Moment) -> Result<usize, ChangeError> {
    let mut ended = 0;
    for open in open(ledger, user)?.iter().filter(|open| now.trusted && open.holds()) {
        let due = open.due(rules, Listed::Never, now.at.seconds());
        ended += usize::from(open.end(ledger, due, now)?);
    }
    close_questions(ledger, user, rules, now)?;
    Ok(ended)
}

/// Notes overdue returns, and debits users for movements that none of their open holds may mean; returns the earliest
/// time at which there is more to do.
///
/// # Errors
/// A change could not be recorded.
pub fn close_questions(
    ledger: &Ledger,
    user: &UrId,
    rules: &Settings,
    now: Moment,
) -> Result<Option<UnixSeconds>, ChangeError> {
    let mut next: Option<UnixSeconds> = None;
    for open in open(ledger, user)? {
        if let Some(at) = open.overdue_at(ledger, rules)? {
            if now.trusted && at <= now.at.seconds() {
                ledger.note_overdue(&open.root, Overdue::Return, now)?;
            } else {
                next = next.into_iter().chain([at]).min();
            }
        }
        if is_uncharged(&open.row, &open.standing) {
            let holder = ledger.user(user);
            let holds = holder.iter().flat_map(|holder| holder.holds());
            let currency = open.row.paid_currency;
            // The standalone movement's own claims are no authorization that it may belong to.
            let mut others = holds.filter(|hold| hold.root != open.root && !hold.paid.amount.is_zero());
            if !others.any(|hold| hold.paid.currency == currency) {
                ledger.charge(&open.root, now)?;
            }
        }
    }
    Ok(next)
}
