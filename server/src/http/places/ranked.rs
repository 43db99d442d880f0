//! Connections by peer, so that the one with the most is found at once.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::peer::Peer;
use super::place::Place;

/// How much a peer has: the number of its connections, then the age of its oldest one.
pub(super) type Rank = (usize, Reverse<u64>, Peer);

/// A connection that may lose its place.
pub(super) struct Victim {
    pub(super) rank: Rank,
    pub(super) place: Arc<Place>,
}

#[derive(Debug, Default)]
pub(super) struct Ranked {
    /// Of each peer, its connections in order of arrival.
    peers: HashMap<Peer, BTreeMap<u64, Arc<Place>>>,
    ranks: BTreeSet<Rank>,
    count: usize,
}

impl Ranked {
    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Place>> {
        self.peers.values().flat_map(BTreeMap::values)
    }

    pub(super) fn insert(&mut self, place: Arc<Place>) {
        let peer = place.peer;
        self.change(peer, |places| {
            places.insert(place.number, place);
        });
        self.count += 1;
    }

    /// Whether it was there.
    pub(super) fn remove(&mut self, place: &Place) -> bool {
        let mut was_there = false;
        self.change(place.peer, |places| was_there = places.remove(&place.number).is_some());
        self.count -= usize::from(was_there);
        was_there
    }

    /// The oldest connection that may lose its place, of the peer with the most.
    pub(super) fn victim(&self) -> Option<Victim> {
        let of_peer = |rank: &Rank| {
            let mut places = self.peers.get(&rank.2)?.values();
            let place = places.find(|place| !place.is_busy())?;
            Some(Victim { rank: *rank, place: Arc::clone(place) })
        };
        self.ranks.iter().rev().find_map(of_peer)
    }

    fn change(&mut self, peer: Peer, change: impl FnOnce(&mut BTreeMap<u64, Arc<Place>>)) {
        let places = self.peers.entry(peer).or_default();
        if let Some(rank) = rank(peer, places) {
            self.ranks.remove(&rank);
        }
        change(places);
        match rank(peer, places) {
            Some(rank) => {
                self.ranks.insert(rank);
            }
            None => {
                self.peers.remove(&peer);
            }
        }
    }
}

/// `None`: the peer has no connection.
fn rank(peer: Peer, places: &BTreeMap<u64, Arc<Place>>) -> Option<Rank> {
    let (oldest, _) = places.first_key_value()?;
    Some((places.len(), Reverse(*oldest), peer))
}
