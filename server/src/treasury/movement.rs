//! What a record changes of the pools, by what it was: the one reading of it for burn and statement.

use tapgate_engine::fact::{Effect, Fact, Source, Verdict};
use tapgate_engine::money::{Currency, Minor};

/// Why what is available of a pool changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// Taken by approvals.
    Approvals,
    /// Given back by reversals, releases and expiries, or never taken.
    GivenBack,
    /// Captured beyond what was held: over-captures, late clearings, and what UR settled without asking.
    OverCaptures,
    /// Given back after it was captured.
    Refunds,
    /// Top-ups.
    Credits,
    /// What a report or a person corrected beyond all that.
    Reports,
    /// What is kept back in it was set.
    Floors,
}

/// A change of what is available of one pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Movement {
    /// Which pool.
    pub currency: Currency,
    /// Why.
    pub line: Line,
    /// By how much, in smallest units; below 0 where it falls.
    pub change: Minor,
}

/// What a record changes of what is available: together exactly what `PoolFigures` makes of it.
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
        Fact::Returned(returned) => {
            (returned.pool.map_or(none, |pool| found(pool.currency, Line::GivenBack, pool.available)), none)
        }
        Fact::PoolReported(report) => (found(report.currency, Line::Reports, report.available_change), none),
        Fact::PoolCredited(credit) => (found(credit.currency, Line::Credits, credit.counted), none),
        Fact::PoolLimited(limited) => (found(limited.currency, Line::Floors, limited.available_change), none),
        Fact::PoolSynced(synced) => (
            found(synced.currency, Line::Credits, synced.credits_shown),
            found(synced.currency, Line::Reports, synced.available_change.saturating_sub(synced.credits_shown)),
        ),
        _ => (none, none),
    };
    let booked = match fact {
        Fact::Booked(booked) => Some(booked),
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

/// What a record spends of the pools (above 0) or gives back: what burns a pool down, whatever credits and reports say.
/// A refund counts when UR shows it, though what is available rises only with the next report.
pub fn spent(fact: &Fact) -> impl Iterator<Item = (Currency, Minor)> + '_ {
    let is_spending = |movement: &Movement| !matches!(movement.line, Line::Credits | Line::Reports | Line::Floors);
    let refund = match fact {
        Fact::Booked(booked) => booked.refund(),
        _ => None,
    };
    let refund = refund.map(|refund| (refund.currency, Minor(-refund.amount.0)));
    movements(fact).filter(is_spending).map(|movement| (movement.currency, Minor(-movement.change.0))).chain(refund)
}
