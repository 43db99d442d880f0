//! The owners of cards, for changes by people. Keeps only the hash of a card's id: the id itself is in its user's row,
//! and the caller checks it there.

use ahash::RandomState;
use hashbrown::HashTable;

use crate::ids::{CardId, UrId};

pub(super) struct Cards {
    hasher: RandomState,
    owners: HashTable<Owner>,
}

struct Owner {
    card_hash: u64,
    user: UrId,
}

impl Cards {
    pub(super) fn new(hasher: RandomState) -> Cards {
        Cards { hasher, owners: HashTable::new() }
    }

    /// Adds a card of this user; no user may own it yet.
    pub(super) fn add(&mut self, card: &CardId, user: &UrId) {
        let card_hash = self.hasher.hash_one(card);
        self.owners.insert_unique(card_hash, Owner { card_hash, user: user.clone() }, |owner| owner.card_hash);
    }

    /// Removes a card of this user.
    pub(super) fn remove(&mut self, card: &CardId, user: &UrId) {
        let card_hash = self.hasher.hash_one(card);
        let is_it = |owner: &Owner| owner.card_hash == card_hash && owner.user == *user;
        if let Ok(place) = self.owners.find_entry(card_hash, is_it) {
            place.remove();
        }
    }

    /// The owner of the card, among the users with a card of the same hash.
    pub(super) fn owner(&self, card: &CardId, has: impl Fn(&UrId) -> bool) -> Option<&UrId> {
        let card_hash = self.hasher.hash_one(card);
        let is_it = |owner: &Owner| owner.card_hash == card_hash && has(&owner.user);
        self.owners.find(card_hash, is_it).map(|owner| &owner.user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_is_of_whoever_has_it_and_not_of_whoever_had_it() {
        let [card, other]: [CardId; 2] = ["card_1", "card_2"].map(|id| id.parse().unwrap());
        let [first, second]: [UrId; 2] = ["1", "2"].map(|id| id.parse().unwrap());
        let mut cards = Cards::new(RandomState::with_seeds(1, 2, 3, 4));
        cards.add(&card, &first);
        assert_eq!(cards.owner(&card, |_| true), Some(&first));
        assert_eq!(cards.owner(&other, |_| true), None);
        assert_eq!(cards.owner(&card, |user| *user != first), None, "the hash alone proves nothing");
        cards.add(&card, &second);
        assert_eq!(cards.owner(&card, |user| *user == second), Some(&second), "as another card with its hash would be");
        cards.remove(&card, &first);
        assert_eq!(cards.owner(&card, |_| true), Some(&second));
        cards.remove(&card, &second);
        assert_eq!(cards.owner(&card, |_| true), None);
        assert!(cards.owners.is_empty());
    }
}
