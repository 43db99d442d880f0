//! Prefunds: a pool has no two open ones with the same reference, so that a credit's reference identifies one.

use std::sync::Arc;

use compact_str::CompactString;

use super::{ChangeError, in_range, not_found};
use crate::fact::prefund::REFERENCE_BYTES_MAX;
use crate::fact::{Author, Fact, PrefundOrdered, PrefundProposed, PrefundSent};
use crate::ids::{PrefundId, Sequence};
use crate::journal::Ticket;
use crate::ledger::page::Page;
use crate::ledger::{Ledger, Shared};
use crate::money::{Currency, Minor};
use crate::rows::{Prefund, PrefundState, Row, Shelf, Shelves};
use crate::store::StoreError;
use crate::time::UnixMillis;

/// A change to a prefund, by a person or by automatic prefunding.
#[derive(Clone, Debug)]
pub enum PrefundChange {
    /// Propose a top-up: durable before the first call to UR.
    Propose(PrefundProposed),
    /// Approve a proposal. Four eyes: the proposer's name may not approve, except that the engine approves its own.
    Approve { id: PrefundId },
    /// Order an approved top-up from UR: durable before the call, because the money may leave with the call.
    Order(PrefundOrdered),
    /// Report that money was sent, for an approved proposal or without one. For a prefund already on its way, the
    /// amount replaces UR's quote.
    Send(PrefundSent),
    /// Cancel a prefund, or the missing part of a short one.
    Cancel {
        id: PrefundId,
        reason: CompactString,
        /// Whether UR confirmed that the transfer was not executed. An ordered prefund needs that to be cancelled: its
        /// money may have left.
        not_executed: bool,
    },
}

impl Ledger {
    pub(in crate::ledger) fn change_prefund(
        &self,
        author: &Author,
        at: UnixMillis,
        change: PrefundChange,
    ) -> Result<Arc<Ticket>, ChangeError> {
        let shared = self.read_shared();
        let shelves = self.lock_shelves();
        let prefunds = &shelves.prefunds;
        let fact = match change {
            PrefundChange::Propose(proposed) => {
                check_transfer(&shared, proposed.currency, proposed.amount)?;
                check_name("requestId", &proposed.request_id)?;
                check_reference(prefunds, None, proposed.currency, &proposed.reference)?;
                if let Some(other) =
                    prefunds.open().find(|other| other.request_id.as_ref() == Some(&proposed.request_id))
                {
                    return Err(ChangeError::Conflict(format!("prefund {} has this requestId", other.id)));
                }
                Fact::PrefundProposed(Box::new(proposed))
            }
            PrefundChange::Approve { id } => {
                let prefund = self.prefund_in(&shelves, id, at, &[PrefundState::Proposed])?;
                let is_own = prefund.proposed.as_ref().is_some_and(|step| step.by == author.name());
                if is_own && *author != Author::Engine {
                    return Err(ChangeError::Conflict(format!(
                        "prefund {id} was proposed by {}, and whoever proposes does not approve: another treasurer must",
                        author.name()
                    )));
                }
                Fact::PrefundApproved { id }
            }
            PrefundChange::Order(ordered) => {
                let prefund = self.prefund_in(&shelves, ordered.id, at, &[PrefundState::Approved])?;
                check_transfer(&shared, prefund.currency, ordered.quoted)?;
                in_range("paid", ordered.paid)?;
                check_name("token", &ordered.token)?;
                check_name("baseUrl", &ordered.base_url)?;
                check_name("partner", &ordered.partner)?;
                Fact::PrefundOrdered(Box::new(ordered))
            }
            PrefundChange::Send(sent) => {
                check_transfer(&shared, sent.currency, sent.amount)?;
                if let Some(id) = sent.proposal {
                    let wanted =
                        [PrefundState::Approved, PrefundState::Ordered, PrefundState::Sent, PrefundState::Overdue];
                    let proposed = self.prefund_in(&shelves, id, at, &wanted)?;
                    if proposed.currency != sent.currency {
                        return Err(ChangeError::Conflict(format!(
                            "prefund {id} is for the pool {}",
                            proposed.currency
                        )));
                    }
                }
                check_reference(prefunds, sent.proposal, sent.currency, &sent.reference)?;
                Fact::PrefundSent(Box::new(sent))
            }
            PrefundChange::Cancel { id, reason, not_executed } => {
                let prefund = self.known_prefund(&shelves, id)?;
                if !prefund.is_open() {
                    return Err(ChangeError::Conflict(format!("prefund {id} is {}", prefund.state(at).name())));
                }
                if prefund.state(at) == PrefundState::Ordered && !not_executed {
                    return Err(ChangeError::Conflict(format!(
                        "prefund {id} is ordered and its money may have left: ask UR about the requestId {}. If UR says that it \
                         arrived, record the credit with the reference {}; if UR confirms that it was not carried out and never \
                         will be, cancel it with notExecuted (--not-executed)",
                        prefund.request_id.as_deref().unwrap_or_default(),
                        prefund.reference
                    )));
                }
                Fact::PrefundCancelled { id, reason }
            }
        };
        Ok(self.commit_shelved(shared, shelves, author, at, fact)?)
    }

    /// Credits a prefund on its way. A second observer of the same credit finds it credited: changes run one at a time.
    pub(in crate::ledger) fn credit_prefund(
        &self,
        author: &Author,
        at: UnixMillis,
        id: PrefundId,
        amount: Minor,
    ) -> Result<Arc<Ticket>, ChangeError> {
        let on_its_way = [PrefundState::Sent, PrefundState::Overdue];
        let prefund = self.prefund_in(&self.lock_shelves(), id, at, &on_its_way)?;
        self.credit_pool(author, at, prefund.currency, amount, prefund.reference)
    }

    /// Refuses a payment that names an ordered and closed prefund: it is the same credit again, because an order's
    /// names belong to no other payment.
    pub(in crate::ledger) fn check_new(&self, currency: Currency, reference: &str) -> Result<(), ChangeError> {
        let is_told = |prefund: &Prefund| {
            !prefund.is_open()
                && prefund.cancelled.is_none()
                && prefund.currency == currency
                && prefund.ordered.is_some()
                && prefund.is_named(reference)
        };
        let page = Page { before: Sequence(u64::MAX), limit: 1 };
        self.prefunds(page, &is_told)?.first().map_or(Ok(()), |prefund| {
            Err(ChangeError::Conflict(format!(
                "the credit {reference} of {currency} is recorded already, for prefund {}; give another payment its own \
                 reference",
                prefund.id
            )))
        })
    }

    /// The prefund, which must be in one of these states.
    fn prefund_in(
        &self,
        shelves: &Shelves,
        id: PrefundId,
        at: UnixMillis,
        wanted: &[PrefundState],
    ) -> Result<Prefund, ChangeError> {
        let prefund = self.known_prefund(shelves, id)?;
        let state = prefund.state(at);
        if wanted.contains(&state) {
            return Ok(prefund);
        }
        let wanted: Vec<_> = wanted.iter().map(|state| state.name()).collect();
        Err(ChangeError::Conflict(format!("prefund {id} is {}, not {}", state.name(), wanted.join(" or "))))
    }

    fn known_prefund(&self, shelves: &Shelves, id: PrefundId) -> Result<Prefund, ChangeError> {
        self.shelved(shelves, &id)?.ok_or_else(|| not_found("prefund", &id))
    }

    /// The sent prefunds of a pool without any credit yet, oldest first. They are not money: they raise no available
    /// figure.
    #[must_use]
    pub fn in_flight(&self, currency: Currency) -> Vec<Prefund> {
        let shelves = self.lock_shelves();
        shelves
            .prefunds
            .open()
            .filter(|prefund| prefund.currency == currency && prefund.is_in_flight())
            .cloned()
            .collect()
    }

    /// The open prefunds, oldest first.
    #[must_use]
    pub fn open_prefunds(&self) -> Vec<Prefund> {
        self.lock_shelves().prefunds.open().cloned().collect()
    }

    /// One prefund, open or closed.
    ///
    /// # Errors
    /// Rows on disk could not be read.
    pub fn prefund(&self, id: PrefundId) -> Result<Option<Prefund>, StoreError> {
        self.read_shelved(&id)
    }

    /// A page of the matching prefunds, open and closed, newest first. Reads the whole table.
    ///
    /// # Errors
    /// Rows on disk could not be read.
    pub fn prefunds(&self, page: Page, wanted: &dyn Fn(&Prefund) -> bool) -> Result<Vec<Prefund>, StoreError> {
        self.newest_first(page, |id: &PrefundId| id.0, wanted)
    }
}

/// Refuses the reference of another open prefund: a credit could not be assigned to either.
fn check_reference(
    prefunds: &Shelf<Prefund>,
    own: Option<PrefundId>,
    currency: Currency,
    reference: &str,
) -> Result<(), ChangeError> {
    check_name("reference", reference)?;
    let same = |other: &&Prefund| Some(other.id) != own && other.currency == currency && other.is_named(reference);
    prefunds.open().find(same).map_or(Ok(()), |other| {
        Err(ChangeError::Conflict(format!(
            "prefund {} of {currency} has the reference {reference}, too: a credit that names it could be either's",
            other.id
        )))
    })
}

fn check_transfer(shared: &Shared, currency: Currency, amount: Minor) -> Result<(), ChangeError> {
    shared.pool(currency).ok_or_else(|| not_found("pool", &currency))?;
    in_range("amount", amount)?;
    if amount.is_zero() {
        return Err(ChangeError::Invalid("amount must be above 0".to_owned()));
    }
    Ok(())
}

/// References and request ids are compared byte by byte: neither empty nor unbounded.
fn check_name(what: &str, name: &str) -> Result<(), ChangeError> {
    if (1..=REFERENCE_BYTES_MAX).contains(&name.len()) {
        return Ok(());
    }
    Err(ChangeError::Invalid(format!("{what} must be 1 to {REFERENCE_BYTES_MAX} bytes")))
}
