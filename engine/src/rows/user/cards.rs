//! A user's cards, and what providers and people say about them.

use serde::{Deserialize, Serialize};

use super::User;
use crate::fact::{
    CardLimited, CardReported, CardStatus, CardUse, Controls, EndCause, Ended, Evidence, Flow, Import, ImportedCard,
    Progress, Provider,
};
use crate::ids::{AuthorizationId, CardId};
use crate::money::Currency;
use crate::time::UnixSeconds;

/// Single-use cards' late approvals that a user's row keeps: the youngest.
const FREED_MAX: usize = 32;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    pub id: CardId,
    pub status: CardStatus,
    /// The settlement currency.
    pub currency: Currency,
    pub controls: Option<Box<Controls>>,
    /// Number of the card within the user, for the velocity of one card. A re-import keeps it.
    pub number: u16,
    /// The partner froze it: UR's word does not unfreeze it.
    pub is_kept_frozen: bool,
    /// Beside `status`, which is people's and UR's word.
    pub card_use: CardUse,
}

/// UR's last word about a card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CardWord {
    pub(super) card: CardId,
    pub(super) status: CardStatus,
    pub(super) at: UnixSeconds,
}

impl Card {
    /// Whether the card stays although an import omits it: else the next import could make it active again.
    #[must_use]
    pub fn outlives(&self, import: &Import) -> bool {
        !import.overrides && self.shown_status() != CardStatus::Active
    }

    /// The status that people see: an approval freezes a single-use card.
    #[must_use]
    pub fn shown_status(&self) -> CardStatus {
        match self.card_use {
            CardUse::Used => self.status.strictest(CardStatus::Frozen),
            CardUse::Any | CardUse::Single => self.status,
        }
    }

    pub(super) fn set_status(&mut self, status: CardStatus) {
        self.status = status;
        self.is_kept_frozen = status == CardStatus::Frozen;
        if status == CardStatus::Active && self.card_use == CardUse::Used {
            self.card_use = CardUse::Single;
        }
    }

    pub(super) fn set_single_use(&mut self, single_use: bool) {
        match (single_use, self.card_use) {
            (true, CardUse::Any) => self.card_use = CardUse::Single,
            (true, CardUse::Single | CardUse::Used) | (false, CardUse::Any) => {}
            (false, CardUse::Single) => self.card_use = CardUse::Any,
            (false, CardUse::Used) => {
                // Only an activation lets it be used again.
                (self.card_use, self.is_kept_frozen) = (CardUse::Any, true);
                self.status = self.status.strictest(CardStatus::Frozen);
            }
        }
    }
}

impl User {
    /// The single-use card, by its place, that the end of its own approval makes usable again: the approval was late, and
    /// answered as a decline.
    pub(crate) fn card_freed_by(&self, root: &AuthorizationId, ended: &Ended) -> Option<usize> {
        // An increment that was late used nothing.
        if !matches!(&ended.cause, EndCause::Late { id, .. } if id == root) {
            return None;
        }
        let late = ended.draws.first()?;
        let is_its =
            |card: &Card| card.card_use == CardUse::Used && self.spends().last_approval(card.number) == Some(*late);
        self.cards.iter().position(is_its)
    }

    /// Lets the card of a late approval be used again, and keeps which approval that was.
    pub(super) fn free_card(&mut self, root: &AuthorizationId, ended: &Ended) {
        let Some(card) = self.card_freed_by(root, ended).and_then(|place| self.cards.get_mut(place)) else { return };
        card.card_use = CardUse::Single;
        let freed = (root.clone(), card.id.clone());
        let kept = &mut self.rare_mut().freed;
        kept.push(freed);
        if kept.len() > FREED_MAX {
            kept.remove(0);
        }
    }

    /// Freezes the card again whose late approval UR took.
    pub(super) fn take_card(&mut self, root: &AuthorizationId, evidence: &Evidence) {
        let Some(card) = self.card_taken_by(root, evidence).cloned() else { return };
        self.with_card(&card, |card| {
            card.card_use = if card.card_use == CardUse::Single { CardUse::Used } else { card.card_use };
        });
        self.rare_mut().freed.retain(|(freed, _)| freed != root);
    }

    /// The single-use card whose late approval UR took all the same: our answer did not reach it.
    pub(crate) fn card_taken_by(&self, root: &AuthorizationId, evidence: &Evidence) -> Option<&CardId> {
        let (_, card) = self.rare().freed.iter().find(|(freed, _)| freed == root)?;
        let takes = |flow, progress| flow == Flow::Out && progress != Progress::Rejected;
        let is_taken = match evidence {
            Evidence::Shown(shown) => takes(shown.posting.flow, shown.posting.progress),
            Evidence::Linked(linked) => linked.movements.iter().any(|own| takes(own.flow, own.progress)),
            Evidence::Announced(_) | Evidence::Ended(_) | Evidence::Overdue(_) | Evidence::Closed { .. } => false,
        };
        is_taken.then_some(card)
    }

    pub(super) fn report_card(&mut self, report: &CardReported) {
        let words = &mut self.rare_mut().card_words;
        words.retain(|word| word.card != report.card);
        words.push(CardWord { card: report.card.clone(), status: report.status, at: report.at });
        // It blocked the card because we said so, and what the card was approved for may still grow.
        let is_echo = self.provider == Provider::PartnerApi && report.status == CardStatus::Frozen;
        self.with_card(&report.card, |card| {
            card.status = match card.status {
                CardStatus::Deleted => CardStatus::Deleted,
                own if is_echo && card.card_use == CardUse::Used => own,
                frozen if card.is_kept_frozen => frozen.strictest(report.status),
                _ => report.status,
            };
        });
    }

    pub(super) fn limit_card(&mut self, limited: &CardLimited) {
        let words = &mut self.rare_mut().limited_at;
        words.retain(|(card, _)| *card != limited.card);
        words.push((limited.card.clone(), limited.at));
        self.with_card(&limited.card, |card| card.controls.clone_from(&limited.controls));
    }

    /// The same of a card's limits: of one second, the word that came first stands.
    pub(crate) fn is_news_of_limits(&self, card: &CardId, at: UnixSeconds) -> bool {
        self.rare().limited_at.iter().find(|(limited, _)| limited == card).is_none_or(|(_, last)| at > *last)
    }

    /// Whether UR's word about a card of the user is newer than its last, or another one of the same second.
    pub(crate) fn is_news_of_card(&self, card: &Card, status: CardStatus, at: UnixSeconds) -> bool {
        let last = self.rare().card_words.iter().find(|word| word.card == card.id);
        let is_news = last.is_none_or(|last| at > last.at || (at == last.at && status != last.status));
        is_news && card.status != CardStatus::Deleted
    }

    pub(super) fn import_cards(&mut self, import: &Import) {
        let before = std::mem::take(&mut self.cards);
        let mut next = before.iter().map(|card| card.number).max().unwrap_or(0);
        for new in &import.cards {
            let old = before.iter().find(|old| old.id == new.id);
            let number = old.map_or_else(
                || {
                    // Saturating: the last number counts for every card, so longer than it should, never shorter.
                    next = next.saturating_add(1);
                    next
                },
                |old| old.number,
            );
            let kept = old.filter(|_| !import.overrides);
            let mut card = Card {
                id: new.id.clone(),
                status: kept.map_or(new.status, |kept| kept.status.strictest(new.status)),
                currency: new.currency,
                controls: old.and_then(|old| old.controls.clone()),
                number,
                is_kept_frozen: kept.is_some_and(|kept| kept.is_kept_frozen),
                card_use: match old.map_or(CardUse::Any, |old| old.card_use) {
                    CardUse::Used if import.overrides => CardUse::Single,
                    own => own,
                },
            };
            if let Some(single_use) = new.single_use {
                card.set_single_use(single_use);
            }
            self.cards.push(card);
        }
        // A later import that names the card again must find that it was blocked.
        for old in before {
            if old.outlives(import) && self.cards.iter().all(|new| new.id != old.id) {
                self.cards.push(old);
            }
        }
        if let Some(rare) = self.rest.as_mut().and_then(|rest| rest.rare.as_mut()) {
            let is_kept = |id: &CardId| self.cards.iter().any(|card| card.id == *id);
            rare.card_words.retain(|word| is_kept(&word.card));
            rare.limited_at.retain(|(card, _)| is_kept(card));
        }
    }

    pub(super) fn add_card(&mut self, new: &ImportedCard) {
        // Saturating as for an imported card.
        let number = self.cards.iter().map(|card| card.number).max().unwrap_or(0).saturating_add(1);
        let ImportedCard { id, status, currency, single_use } = new.clone();
        let card_use = if single_use == Some(true) { CardUse::Single } else { CardUse::Any };
        self.cards.push(Card { id, status, currency, controls: None, number, is_kept_frozen: false, card_use });
    }

    pub(super) fn with_card(&mut self, id: &CardId, change: impl FnOnce(&mut Card)) {
        if let Some(card) = self.cards.iter_mut().find(|card| card.id == *id) {
            change(card);
        }
    }
}
