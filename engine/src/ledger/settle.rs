//! Derives what new evidence changes, from the rows under their guards.

use super::{Policy, Shared};
use crate::fact::{
    Author, AuthorizationState, Decided, Difference, Evidence, Fact, Flow, FundingPolicy, Record, Settled, Source,
};
use crate::ids::{AuthorizationId, Sequence};
use crate::money::{Currency, Minor};
use crate::rows::{Authorization, Row, User};
use crate::rules::{Claims, THIS, settle};
use crate::time::UnixMillis;

/// What a settlement reads beside the authorization itself.
pub(super) struct Books<'a> {
    pub(super) shared: &'a Shared,
    /// The account holder, if known.
    pub(super) user: Option<&'a User>,
    pub(super) policy: &'a Policy,
}

impl Books<'_> {
    /// New evidence on a root, with the difference that it makes.
    pub(super) fn settled(&self, root: &AuthorizationId, row: Option<&Authorization>, evidence: Evidence) -> Settled {
        let previous = row.map_or(Sequence::ZERO, |row| row.sequence);
        let Some(mut after) = row.cloned().or_else(|| begun_by(&evidence)) else {
            // A declined increment without a parent is late: only its answer changes.
            let change = Difference::none(AuthorizationState::Declined, Currency::EUR);
            return Settled { root: root.clone(), previous, user: None, evidence, change };
        };
        after.note(THIS, &evidence);
        if after.source.is_none() && is_debit(&evidence) {
            after.source = self.usual_source();
        }
        let change = self.difference(root, row, &after, &evidence);
        // A tombstone, and what changes nothing of the user, touches no user's row.
        let changes_user = !change.layers.is_empty()
            || !change.fiat.is_empty()
            || !change.return_uses.is_empty()
            || self.changes_use(root, &evidence)
            || self.user.is_some_and(|user| user.asked().contains(root) != change.is_asked);
        let user = (self.user.is_some() && changes_user).then(|| after.user.clone());
        Settled { root: root.clone(), previous, user, evidence, change }
    }

    /// Whether an approval counts no more, or a single-use card may no longer be used.
    fn changes_use(&self, root: &AuthorizationId, evidence: &Evidence) -> bool {
        self.user.is_some_and(|user| match evidence {
            Evidence::Ended(ended) => user.counts_late(ended) || user.card_freed_by(root, ended).is_some(),
            evidence => user.card_taken_by(root, evidence).is_some(),
        })
    }

    /// The difference between what `after`'s evidence makes stand and what was recorded.
    pub(super) fn difference(
        &self,
        root: &AuthorizationId,
        row: Option<&Authorization>,
        after: &Authorization,
        evidence: &Evidence,
    ) -> Difference {
        let subject = match evidence {
            // An operator finds a movement that stands alone by UR's hash.
            Evidence::Shown(shown) if after.is_alone() => shown.posting.hash.as_str(),
            _ => root.as_str(),
        };
        settle(row, after, Some(evidence), subject, self.policy.tolerance, self)
    }

    /// Whether every row stays within its bounds: each of UR's amounts is bounded, what follows of several is not.
    pub(super) fn is_legal(&self, row: Option<&Authorization>, settled: &Settled) -> bool {
        fn stays<R: Row>(row: Option<&R>, record: &Record) -> bool {
            row.cloned().is_none_or(|mut row| {
                row.apply(LAST, record);
                row.check(&record.fact).is_ok()
            })
        }
        /// Later than every record.
        const LAST: Sequence = Sequence(u64::MAX - 1);
        let fact = Fact::Settled(Box::new(settled.clone()));
        let record = Record { at: UnixMillis(0), author: Author::Ur, fact };
        let begun = if row.is_none() { Authorization::open(&settled.root, LAST, &record) } else { None };
        record.fact.check_bounds().is_ok()
            && stays(row, &record)
            && begun.is_none_or(|row| row.check(&record.fact).is_ok())
            && stays(self.user.filter(|_| settled.user.is_some()), &record)
    }

    /// What evidence that came before a decision changes in what it takes; `None` without such evidence.
    pub(super) fn decided(&self, row: Option<&Authorization>, decided: &Decided) -> Option<Box<Difference>> {
        let row = row.filter(|row| row.settlement.is_some())?;
        let mut after = row.clone();
        after.decide(THIS, decided);
        let subject = decided.request.root().as_str();
        Some(Box::new(settle(Some(row), &after, None, subject, self.policy.tolerance, self)))
    }

    /// A spend without an authorization is paid from the user's usual source.
    fn usual_source(&self) -> Option<Source> {
        let own = self.user?.funding.unwrap_or(self.policy.funding);
        Some(match own {
            FundingPolicy::Crypto | FundingPolicy::CryptoThenFiat => Source::Crypto,
            FundingPolicy::Fiat | FundingPolicy::FiatThenCrypto => Source::Fiat,
        })
    }
}

impl Claims for Books<'_> {
    fn is_unreflected(&self, currency: Currency, sequence: Sequence) -> bool {
        self.shared.pool(currency).is_none_or(|pool| pool.is_unreflected(sequence))
    }

    fn has_pool(&self, currency: Currency) -> bool {
        self.shared.pool(currency).is_some()
    }

    fn undebited(&self, sequence: Sequence) -> Minor {
        let holds = self.user.map_or(&[][..], User::holds);
        holds.iter().find(|hold| hold.sequence == sequence).map_or(Minor::ZERO, |hold| hold.funds)
    }

    fn funds(&self) -> Option<Currency> {
        self.user.and_then(|user| user.funds).map(|funds| funds.currency)
    }
}

/// The row that a callback or a movement begins.
fn begun_by(evidence: &Evidence) -> Option<Authorization> {
    match evidence {
        Evidence::Announced(announced) => {
            Some(Authorization::of_request(&announced.request, AuthorizationState::Tombstoned))
        }
        Evidence::Shown(shown) => Some(Authorization::of_movement(&shown.posting.user, shown.posting.amount.currency)),
        Evidence::Ended(_) | Evidence::Overdue(_) | Evidence::Closed { .. } | Evidence::Linked(_) => None,
    }
}

fn is_debit(evidence: &Evidence) -> bool {
    match evidence {
        Evidence::Shown(shown) => shown.posting.flow == Flow::Out,
        Evidence::Linked(linked) => linked.movements.iter().any(|movement| movement.flow == Flow::Out),
        Evidence::Announced(_) | Evidence::Ended(_) | Evidence::Overdue(_) | Evidence::Closed { .. } => false,
    }
}
