//! UR's balances: those of the ops account are the pools'. A balance that a complete answer leaves out is 0 only once a
//! second answer leaves it out, too.

use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard, PoisonError};

use tapgate_engine::fact::{Author, BreakKind, Discrepancy};
use tapgate_engine::ids::{Sequence, UrId};
use tapgate_engine::ledger::Change;
use tapgate_engine::money::{Currency, Minor, Money, SUM_MAX};
use tapgate_engine::rows::PoolFigures;

use super::{FeedError, Feeds};
use crate::provider::api::{Priority, UrApi};
use crate::provider::prefunding::credits;
use crate::provider::reconciliation::expiry::returns_unshown;
use crate::wire::Malformed;

/// The balances that were left out, each with a record no earlier than that of its first omission. A restart forgets them: the next
/// omission is a first one again.
pub(super) type Omissions = BTreeMap<(UrId, Currency), Sequence>;

/// An account's balances.
pub(super) struct Read {
    /// Without those that could not be read, and with a 0 for those that are left out.
    pub(super) shown: Vec<Money>,
    /// The last record before the request.
    pub(super) seen_through: Sequence,
}

impl<A: UrApi> Feeds<A> {
    /// Reads an account's balances, again at once if a balance of `known` is left out for the first time.
    pub(super) async fn balances(
        &self,
        account: &UrId,
        known: &[(Currency, Minor)],
        priority: Priority,
    ) -> Result<Read, FeedError> {
        // At most once for each known balance: each turn of the loop records one that was not left out before.
        loop {
            let seen_through = self.given.ledger.journal().claimed();
            let answer = self.api.balance(account, priority).await?;
            let mut shown: Vec<_> =
                answer.rows.iter().map(|row| Money { amount: row.amount, currency: row.currency }).collect();
            let mut is_first = false;
            for (currency, amount) in known {
                if !answer.omits(*currency) {
                    self.omissions().remove(&(account.clone(), *currency));
                } else if amount.is_zero() || self.is_confirmed(account, *currency, seen_through) {
                    shown.push(Money { amount: Minor::ZERO, currency: *currency });
                } else {
                    self.omit(account, *currency)?;
                    is_first = true;
                }
            }
            if !is_first {
                return Ok(Read { shown, seen_through });
            }
        }
    }

    fn omissions(&self) -> MutexGuard<'_, Omissions> {
        self.omissions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an earlier answer left the balance out, and this one was requested after that was recorded.
    fn is_confirmed(&self, account: &UrId, currency: Currency, seen_through: Sequence) -> bool {
        self.omissions().get(&(account.clone(), currency)).is_some_and(|record| *record <= seen_through)
    }

    fn omit(&self, account: &UrId, currency: Currency) -> Result<(), FeedError> {
        let now = self.given.clock.now();
        let ledger = &self.given.ledger;
        ledger.omit_balance(account, currency, now)?;
        self.omissions().insert((account.clone(), currency), ledger.journal().claimed());
        let error = Malformed(format!("{currency} is left out; if the next answer leaves it out, too, it is 0"));
        self.given.findings.unreadable(self.api.balance_path(), &error, now.at);
        tracing::warn!(%account, %currency, "UR leaves a known balance out; it is asked for again at once");
        Ok(())
    }

    /// The ops account's balances are UR's pools'.
    pub(super) async fn pools(self: Arc<Self>) -> Result<(), FeedError> {
        let Some(ops) = &self.given.settings.ops_account else { return Ok(()) };
        let is_urs = |currency: Currency| !self.given.settings.other_pools.contains(&currency);
        let pools = self.given.ledger.pools();
        let known = pools.iter().filter(|pool| is_urs(pool.currency)).map(|pool| (pool.currency, pool.reported));
        let known: Vec<_> = known.collect();
        let Read { shown, seen_through } = self.balances(ops, &known, Priority::High).await?;
        // Credits of automatic prefunds are recorded before the report that includes them.
        credits::follow(&self.given.credits, &self.api).await;
        let mut failed = None;
        for balance in shown.into_iter().filter(|balance| is_urs(balance.currency)) {
            if let Err(error) = self.report_pool(balance, seen_through) {
                tracing::warn!(currency = %balance.currency, %error, "a pool's balance was not recorded; the others are");
                failed = Some(error);
            }
        }
        failed.map_or(Ok(()), Err)
    }

    fn report_pool(&self, balance: Money, seen_through: Sequence) -> Result<(), FeedError> {
        let ledger = &self.given.ledger;
        let now = self.given.clock.now();
        let before = ledger.pool(balance.currency);
        if before.is_none() {
            // A person's report opens a pool, and UR's says the rest: a pool that opens in the red holds nothing yet.
            let opened = Change::ReportPool {
                currency: balance.currency,
                reported: Some(balance.amount.max(Minor::ZERO)),
                floor: None,
                reserve: None,
                reflected: None,
            };
            ledger.change(&Author::Ur, opened, now)?;
            return Ok(());
        }
        let shown_early = before.as_ref().map_or(Minor::ZERO, |pool| pool.shown_early);
        let returns_due = before.as_ref().map_or(Minor::ZERO, PoolFigures::returns_due);
        let overdue = before.map_or(Minor::ZERO, |pool| pool.credits_overdue(ledger.time(now.at)));
        let (_, unexplained) = ledger.sync_pool(balance.currency, balance.amount, seen_through, now)?;
        if overdue > Minor::ZERO {
            let discrepancy = Discrepancy {
                kind: BreakKind::PoolDrift,
                subject: balance.currency.as_str().into(),
                field: "credit".into(),
                ours: compact_str::format_compact!("{overdue}"),
                theirs: "0".into(),
            };
            ledger.open_break(discrepancy, now)?;
        }
        // A rise up to the amount of open prefunds is their money, shown before its credit is recorded.
        let on_its_way = ledger.in_flight(balance.currency);
        // The number of open prefunds has no bound; a sum beyond any figure explains no more.
        let sum = on_its_way.iter().fold(Minor::ZERO, |sum, prefund| (sum + prefund.amount).min(SUM_MAX));
        let awaited = (sum - shown_early).max(Minor::ZERO);
        let mut drift = unexplained - unexplained.clamp(Minor::ZERO, awaited);
        let tolerated = self.given.settings.reconciliation.tolerance.of(balance.amount).0;
        if drift.0 > tolerated {
            // The figures explain a return for two reports only.
            let unshown = returns_unshown(ledger, balance.currency).unwrap_or_else(|error| {
                tracing::warn!(%error, "what UR announced as given back is not known; it explains no rise of a pool");
                Minor::ZERO
            });
            drift -= drift.min((unshown - returns_due).max(Minor::ZERO));
        }
        if drift.0.abs() > tolerated {
            let expected = balance.amount - unexplained;
            let discrepancy = Discrepancy {
                kind: BreakKind::PoolDrift,
                subject: balance.currency.as_str().into(),
                field: "balance".into(),
                ours: compact_str::format_compact!("{expected}"),
                theirs: compact_str::format_compact!("{}", balance.amount),
            };
            ledger.open_break(discrepancy, now)?;
        }
        Ok(())
    }
}
