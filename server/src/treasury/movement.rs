//! A record's changes of the pools, by cause: shared by burn and statement.

use tapgate_engine::fact::{Effect, Fact, Source, Verdict};
use tapgate_engine::money::{Currency, Minor};

/// The cause of a change of a pool's available balance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// Taken by approvals.
    Approvals,
    /// Returned by reversals, releases and expiries, or never taken.
    GivenBack,
    /// Captured beyond the hold: over-captures, late clearings, and settlements without an authorization.
    OverCaptures,
    /// Returned after capture.
    Refunds,
    Credits,
    /// Corrections by a report or a person that no other line explains.
    Reports,
    /// A new floor.
    Floors,
}

/// A change of one pool's available balance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Movement {
    pub currency: Currency,
    pub line: Line,
    /// In smallest units; negative where the balance falls.
    pub change: Minor,
}

/// A record's changes of the available balances: together exactly the changes in `PoolFigures`.
pub fn movements(fact: &Fact) -> impl Iterator<Item = Movement> + '_ {
    let found = |currency, line, change| Movement { currency, line, change };
    let none = found(Currency::EUR, Line::Reports, Minor::ZERO);
    let (first, second) = match fact {
        Fact::Decided(decided) => match &decided.verdict {
            Verdict::Approved(approval) if approval.source == Source::Crypto => {
                (found(approval.paid.currency, Line::Approvals, Minor(-approval.paid.amount.0)), none)
            }
            _ => (none, none),
        },
        Fact::HoldReleased(returned) => {
            (returned.pool.map_or(none, |pool| found(pool.currency, Line::GivenBack, pool.available)), none)
        }
        Fact::PoolReported(report) => (found(report.currency, Line::Reports, report.available_change), none),
        Fact::PoolCredited(credit) => (found(credit.currency, Line::Credits, credit.counted), none),
        Fact::PoolLimited(limited) => (found(limited.currency, Line::Floors, limited.available_change), none),
        Fact::PoolSynced(synced) => (
            found(synced.currency, Line::Credits, synced.credits_shown),
            found(synced.currency, Line::Reports, synced.available_change - synced.credits_shown),
        ),
        _ => (none, none),
    };
    let booked = match fact {
        Fact::Posted(booked) => Some(booked),
        _ => None,
    };
    let booked = booked.into_iter().flat_map(move |booked| {
        let line = move |change: Minor| match booked.effect {
            _ if change < Minor::ZERO => Line::OverCaptures,
            Effect::Refunded => Line::Refunds,
            _ => Line::GivenBack,
        };
        booked.pools.iter().map(move |pool| found(pool.currency, line(pool.available), pool.available))
    });
    [first, second].into_iter().chain(booked).filter(|movement| !movement.change.is_zero())
}

/// A record's spending (positive) and returns (negative), which burn a pool down, apart from credits and reports. A
/// refund counts when UR shows it, although the available balance rises only with the next report.
pub fn spent(fact: &Fact) -> impl Iterator<Item = (Currency, Minor)> + '_ {
    let is_spending = |movement: &Movement| !matches!(movement.line, Line::Credits | Line::Reports | Line::Floors);
    let refund = match fact {
        Fact::Posted(booked) => booked.refund(),
        _ => None,
    };
    let refund = refund.map(|refund| (refund.currency, Minor(-refund.amount.0)));
    movements(fact).filter(is_spending).map(|movement| (movement.currency, Minor(-movement.change.0))).chain(refund)
}
