//! What changes here about accounts and cards of the second provider, for the provider: what people change, and the freeze
//! of a single-use card by its approval.

use std::sync::Arc;

use compact_str::format_compact;
use tapgate_engine::fact::{
    Author, CardStatus, CardUse, Decided, EndCause, Ended, Evidence, Fact, Kind, Record, Settled, Verdict,
};
use tapgate_engine::ids::{AuthorizationId, CardId, Sequence, UrId};

use super::history::{History, Subject};
use super::{Telling, Told};
use crate::wire::partner_api::Instruction;

/// Whether an account is the second provider's.
pub type IsOfPartner = Box<dyn Fn(&UrId) -> bool + Send + Sync>;

/// The changes that the second provider must make, too.
pub struct Instructions {
    pub is_of_partner: IsOfPartner,
}

impl Telling for Instructions {
    type Content = Arc<Instruction>;

    fn subject(&self, _: Sequence, record: &Record) -> Option<Subject> {
        let (user, subject) = match &record.fact {
            Fact::Settled(settled) => {
                late(settled)?;
                (settled.user.as_ref()?, Subject::Authorization(settled.root.clone()))
            }
            Fact::Decided(decided) => (frozen_by(decided)?.0, Subject::Itself),
            // What the provider said itself is no news for it.
            fact if matches!(record.author, Author::Person { .. }) => (changed(fact)?.0, Subject::Itself),
            _ => return None,
        };
        (self.is_of_partner)(user).then_some(subject)
    }

    fn tell(&self, history: &History) -> Vec<Told<Arc<Instruction>>> {
        let (_, record) = history.newest();
        let instruction = match &record.fact {
            Fact::Settled(settled) => freed_by(settled, history),
            Fact::Decided(decided) => frozen_by(decided).map(|(user, card)| (user, status(card, CardStatus::Frozen))),
            fact => changed(fact),
        };
        let told = |(user, instruction): (&UrId, Instruction)| Told {
            part: 0,
            lane: Some(format_compact!("user {user}")),
            kind: instruction.name(),
            content: Arc::new(instruction),
        };
        instruction.map(told).into_iter().collect()
    }
}

fn status(card: &CardId, status: CardStatus) -> Instruction {
    Instruction::Card { card: card.clone(), status }
}

/// The card that a decision freezes: single-use, and approved.
fn frozen_by(decided: &Decided) -> Option<(&UrId, &CardId)> {
    let Decided { request, inputs, verdict, .. } = decided;
    let is_its_use = inputs.card_use == CardUse::Single && request.kind == Kind::Authorization;
    (is_its_use && matches!(verdict, Verdict::Approved(_))).then_some((&request.user, &request.card))
}

/// The decision that came too late.
fn late(settled: &Settled) -> Option<&AuthorizationId> {
    match &settled.evidence {
        Evidence::Ended(Ended { cause: EndCause::Late { id, .. }, .. }) => Some(id).filter(|id| **id == settled.root),
        _ => None,
    }
}

/// The single-use card that a late decision leaves unused.
fn freed_by<'h>(settled: &Settled, history: &'h History) -> Option<(&'h UrId, Instruction)> {
    let late = late(settled)?;
    let decisions = history.all().filter_map(|(_, record)| match &record.fact {
        Fact::Decided(decided) if decided.request.id == *late => Some(decided),
        _ => None,
    });
    let (user, card) = decisions.filter_map(|decided| frozen_by(decided)).last()?;
    Some((user, status(card, CardStatus::Active)))
}

/// A person's change of an account, and what its provider must change.
fn changed(fact: &Fact) -> Option<(&UrId, Instruction)> {
    match fact {
        Fact::UserSuspended { user, suspended } => {
            Some((user, Instruction::Suspend { user: user.clone(), suspended: *suspended }))
        }
        Fact::CardChanged { user, card, status } => Some((user, self::status(card, *status))),
        Fact::CardControlled { user, card, controls } => {
            Some((user, Instruction::Limits { card: card.clone(), controls: controls.clone() }))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use tapgate_engine::fact::CardStatus;
    use tapgate_engine::time::UnixMillis;

    use super::*;

    fn told(author: Author, fact: Fact) -> Vec<String> {
        let telling = Instructions { is_of_partner: Box::new(|user| user.as_str() == "theirs") };
        let record = Record { at: UnixMillis(0), author, fact };
        let Some(subject) = telling.subject(Sequence(7), &record) else { return Vec::new() };
        assert_eq!(subject, Subject::Itself);
        let told = telling.tell(&History::new(Vec::new(), (Sequence(7), record)));
        told.into_iter().map(|told| format!("{} {}", told.lane.unwrap_or_default(), told.kind)).collect()
    }

    #[test]
    fn only_what_a_person_changed_about_the_providers_own_is_told() {
        let person = || Author::Person { name: "ops".into(), idempotency: None };
        let [theirs, other]: [UrId; 2] = ["theirs", "other"].map(|id| id.parse().unwrap());
        let card = || "card_9".parse().unwrap();
        let suspended = |user: &UrId| Fact::UserSuspended { user: user.clone(), suspended: true };
        let frozen = || Fact::CardChanged { user: theirs.clone(), card: card(), status: CardStatus::Frozen };
        let limited = || Fact::CardControlled { user: theirs.clone(), card: card(), controls: None };
        let controlled = || Fact::UserControlled { user: theirs.clone(), controls: None };
        assert_eq!(told(person(), suspended(&theirs)), ["user theirs user.suspend"]);
        assert_eq!(told(person(), frozen()), ["user theirs card.block"]);
        assert_eq!(told(person(), limited()), ["user theirs card.update_limits"]);
        assert_eq!(told(person(), controlled()), [""; 0], "the provider keeps limits of cards only");
        assert_eq!(told(person(), suspended(&other)), [""; 0]);
        for author in [Author::PartnerApi, Author::Ur, Author::Engine] {
            assert_eq!(told(author, frozen()), [""; 0]);
        }
    }
}
