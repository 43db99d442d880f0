//! A record's changes of the pools, by cause: shared by burn and statement.

use tapgate_engine::fact::{Effect, Fact, Source, SourceChange, Verdict};
use tapgate_engine::money::{Currency, Minor};

/// The cause of a change of a pool's available balance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// Taken by approvals, with what is held above them.
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
    /// Newly held above approved amounts, which `change` has subtracted: nobody spent it.
    pub upcharged: Minor,
}

/// A record's changes of the available balances: together exactly the changes in `PoolFigures`.
pub fn movements(fact: &Fact) -> impl Iterator<Item = Movement> + '_ {
    let found = |currency, line, change| Movement { currency, line, change, upcharged: Minor::ZERO };
    let none = found(Currency::EUR, Line::Reports, Minor::ZERO);
    let (first, second) = match fact {
        Fact::Decided(decided) => match &decided.verdict {
            Verdict::Approved(approval) if approval.source == Source::Crypto => {
                let (paid, upcharged) = (approval.paid, approval.upcharge.paid);
                let taken = found(paid.currency, Line::Approvals, -(paid.amount + upcharged));
                (Movement { upcharged, ..taken }, none)
            }
            _ => (none, none),
        },
        Fact::PoolReported(report) => (found(report.currency, Line::Reports, report.available_change), none),
        Fact::PoolCredited(credit) => (found(credit.currency, Line::Credits, credit.counted), none),
        Fact::PoolLimited(limited) => (found(limited.currency, Line::Floors, limited.available_change), none),
        Fact::PoolSynced(synced) => (
            found(synced.currency, Line::Credits, synced.credits_shown),
            found(synced.currency, Line::Reports, synced.available_change - synced.credits_shown),
        ),
        _ => (none, none),
    };
    let settled = fact.differences().flat_map(move |change| {
        let line = move |available: Minor| match change.effect {
            _ if available < Minor::ZERO => Line::OverCaptures,
            Effect::Refunded => Line::Refunds,
            _ => Line::GivenBack,
        };
        let moved = move |pool: &SourceChange| {
            let moved = found(pool.currency, line(pool.available), pool.available);
            Movement { upcharged: pool.upcharged, ..moved }
        };
        change.pools.iter().map(moved)
    });
    let moves = |movement: &Movement| !movement.change.is_zero() || !movement.upcharged.is_zero();
    [first, second].into_iter().chain(settled).filter(moves)
}

/// The refunds that UR shows with a record: the next report of the balance includes them, and no figure does before.
pub fn refunds(fact: &Fact) -> impl Iterator<Item = (Currency, Minor)> + '_ {
    let settled = match fact {
        Fact::Settled(settled) if settled.is_refund() => Some(settled),
        _ => None,
    };
    let pools = settled.into_iter().flat_map(|settled| &settled.change.pools);
    let shown = pools.map(|pool| (pool.currency, pool.returned - (pool.available + pool.upcharged).max(Minor::ZERO)));
    shown.filter(|(_, amount)| !amount.is_zero())
}

/// A record's spending (positive) and returns (negative), which burn a pool down, apart from credits and reports. A
/// refund counts when UR shows it, although the available balance rises only with the next report.
pub fn spent(fact: &Fact) -> impl Iterator<Item = (Currency, Minor)> + '_ {
    let is_spending = |movement: &Movement| !matches!(movement.line, Line::Credits | Line::Reports | Line::Floors);
    let refunded = refunds(fact).map(|(currency, amount)| (currency, -amount));
    // A tip is spent when UR takes it, not while it is held for.
    let spent = movements(fact).filter(is_spending);
    let spent = spent.map(|movement| (movement.currency, -(movement.change + movement.upcharged)));
    let spent = spent.filter(|(_, amount)| !amount.is_zero());
    spent.chain(refunded)
}
