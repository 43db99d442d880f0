//! Which rows a fact changes.

use super::{Discrepancy, Fact, ReturnCause, Source, Verdict};
use crate::ids::{AlertId, AuthorizationId, BreakId, PrefundId, Sequence, UrId};
use crate::money::Currency;

impl Fact {
    /// The user whose row this changes.
    #[must_use]
    pub fn user(&self) -> Option<&UrId> {
        match self {
            Fact::Decided(decided) => Some(&decided.request.user),
            Fact::Returned(returned) => returned.user.as_ref(),
            Fact::UserImported(import) => Some(&import.user),
            Fact::FundsReplaced(replaced) => Some(&replaced.user),
            Fact::UserSuspended { user, .. }
            | Fact::UserControlled { user, .. }
            | Fact::CardChanged { user, .. }
            | Fact::CardControlled { user, .. }
            | Fact::CardAdded { user, .. } => Some(user),
            Fact::Booked(booked) => booked.user.as_ref(),
            Fact::UserReported(report) => Some(&report.user),
            Fact::PoolReported(_)
            | Fact::PoolCredited(_)
            | Fact::PoolSynced(_)
            | Fact::PoolLimited(_)
            | Fact::RatesReplaced(_)
            | Fact::ProgramSuspended { .. }
            | Fact::BreakOpened(_)
            | Fact::BreakResolved { .. }
            | Fact::AlertRaised(_)
            | Fact::AlertChanged { .. }
            | Fact::AlertRenotified { .. }
            | Fact::AlertAcknowledged { .. }
            | Fact::AlertSilenced { .. }
            | Fact::AlertResolved { .. }
            | Fact::PrefundProposed(_)
            | Fact::PrefundApproved { .. }
            | Fact::PrefundSent(_)
            | Fact::PrefundCancelled { .. }
            | Fact::CursorMoved { .. }
            | Fact::ClosureAdded(_)
            | Fact::ClosureRemoved { .. }
            | Fact::PrefundOrdered(_)
            | Fact::MessageSkipped { .. } => None,
        }
    }

    /// The root authorization whose row this changes.
    #[must_use]
    pub fn root(&self) -> Option<&AuthorizationId> {
        match self {
            Fact::Decided(decided) => Some(decided.request.root()),
            Fact::Returned(returned) => Some(&returned.root),
            Fact::Booked(booked) => Some(&booked.root),
            _ => None,
        }
    }

    /// The id whose answer this gives or changes.
    #[must_use]
    pub fn answered(&self) -> Option<&AuthorizationId> {
        match self {
            Fact::Decided(decided) => Some(&decided.request.id),
            Fact::Returned(returned) => match &returned.cause {
                ReturnCause::Requested { request, .. } => Some(&request.id),
                ReturnCause::Late { id } => Some(id),
                ReturnCause::Person { .. } | ReturnCause::Expired => None,
            },
            _ => None,
        }
    }

    /// The pools whose figures this changes. An approval of nothing changes none, and one that is not there stays so.
    pub fn pools(&self) -> impl Iterator<Item = Currency> + '_ {
        let one = match self {
            Fact::Decided(decided) => match &decided.verdict {
                Verdict::Approved(approval) if approval.source == Source::Crypto && !approval.paid.amount.is_zero() => {
                    Some(approval.paid.currency)
                }
                _ => None,
            },
            Fact::Returned(returned) => returned.pool.map(|pool| pool.currency),
            Fact::PoolReported(report) => Some(report.currency),
            Fact::PoolCredited(credit) => Some(credit.currency),
            Fact::PoolSynced(synced) => Some(synced.currency),
            Fact::PoolLimited(limited) => Some(limited.currency),
            _ => None,
        };
        let booked = match self {
            Fact::Booked(booked) => booked.pools.as_slice(),
            _ => &[],
        };
        one.into_iter().chain(booked.iter().map(|pool| pool.currency))
    }

    /// The alert whose row this changes as the record at `sequence`.
    #[must_use]
    pub fn alert(&self, sequence: Sequence) -> Option<AlertId> {
        match self {
            Fact::AlertRaised(_) => Some(AlertId(sequence)),
            Fact::AlertChanged { id, .. }
            | Fact::AlertRenotified { id }
            | Fact::AlertAcknowledged { id, .. }
            | Fact::AlertSilenced { id, .. }
            | Fact::AlertResolved { id } => Some(*id),
            _ => None,
        }
    }

    /// The prefund whose row this changes as the record at `sequence`; a credit changes the one that awaits it beside.
    #[must_use]
    pub fn prefund(&self, sequence: Sequence) -> Option<PrefundId> {
        match self {
            Fact::PrefundProposed(_) => Some(PrefundId(sequence)),
            Fact::PrefundSent(sent) => Some(sent.proposal.unwrap_or(PrefundId(sequence))),
            Fact::PrefundOrdered(ordered) => Some(ordered.id),
            Fact::PrefundApproved { id } | Fact::PrefundCancelled { id, .. } => Some(*id),
            _ => None,
        }
    }

    /// The breaks that this opens as the record at `sequence`.
    pub fn breaks(&self, sequence: Sequence) -> impl Iterator<Item = (BreakId, &Discrepancy)> {
        let breaks = match self {
            Fact::Booked(booked) => booked.breaks.as_slice(),
            Fact::BreakOpened(discrepancy) => std::slice::from_ref(&**discrepancy),
            _ => &[],
        };
        (0..).zip(breaks).map(move |(number, found)| (BreakId { opened: sequence, number }, found))
    }
}
