//! Who may be connected: a bounded number of places, of which strangers never take the last.
//!
//! A new connection always gets a place. If none is free, it takes that of the oldest connection that has not proven who
//! it is and has no complete request, of the peer with the most of them. Half of the places are for peers that proved
//! themselves within a day, because UR may connect anew for each callback.

mod peer;
mod place;
mod ranked;
mod stream;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ipnet::IpNet;

pub(super) use self::place::Place;
pub(super) use self::stream::Timed;

use self::peer::Peer;
use self::place::{Overdue, Standing};
use self::ranked::{Ranked, Victim};

/// The time between two looks at who is overdue, which is also the unit of the places' clock.
pub(super) const TICK: Duration = Duration::from_millis(250);

/// How long a peer that proved itself has half of the places for its own.
const PROOF_LASTS: Duration = Duration::from_secs(86_400);

/// A proof is noted again once it is so old: each note takes the lock.
const PROOF_REFRESHED: Duration = Duration::from_secs(3_600);

/// Peers whose proof is remembered; UR has a few.
const PROVEN_PEERS_MAX: usize = 1_024;

/// The bounds on connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most connections at once.
    pub places: usize,
    /// From the first byte of a request to the end of its header; also from the connection to its first byte.
    pub header: Duration,
    /// Between two pieces of a body.
    pub body: Duration,
    /// From an answer's first byte to its last.
    pub answer: Duration,
    /// Without a request, once one was answered.
    pub idle: Duration,
    /// Proxies of our own, whose connections carry many clients': they need no proof, and no bound per peer.
    pub trusted: Vec<IpNet>,
}

/// The settings of both listeners' connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connections {
    /// Without a request, once one was answered: 1 second to an hour.
    pub keep_alive: Duration,
    /// As [`Limits::trusted`].
    pub trusted: Vec<IpNet>,
}

impl Default for Connections {
    fn default() -> Connections {
        Connections { keep_alive: Duration::from_secs(75), trusted: Vec::new() }
    }
}

impl Connections {
    /// The limits of the listener that UR calls: requests and answers are short.
    #[must_use]
    pub fn public(&self, places: usize) -> Limits {
        let quick = Duration::from_secs(5);
        let (idle, trusted) = (self.keep_alive, self.trusted.clone());
        Limits { places, header: quick, body: quick, answer: quick, idle, trusted }
    }

    /// The limits of the listener for people, who send files and read long lists.
    #[must_use]
    pub fn admin(&self, places: usize) -> Limits {
        Limits { body: Duration::from_secs(10), answer: Duration::from_secs(60), ..self.public(places) }
    }
}

/// The places of a listener.
#[derive(Debug)]
pub struct Places {
    limits: Limits,
    clock: Arc<AtomicU32>,
    taken: Mutex<Taken>,
}

/// How the places are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub taken: usize,
    /// Of the taken ones, those of clients that have proven who they are.
    pub proven: usize,
    /// Of the proven ones, those with a request in, which nobody else can take.
    pub busy: usize,
    /// Since the start: connections whose place another took.
    pub evicted: u64,
    /// Since the start: connections that ended because they were too slow.
    pub overdue: u64,
    /// Since the start: connections for which there was no place.
    pub refused: u64,
}

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    strangers: Ranked,
    /// Not proven themselves, but of peers that are.
    known: Ranked,
    proven: Ranked,
    /// When each peer last proved itself.
    proofs: HashMap<Peer, u32>,
    evicted: u64,
    overdue: u64,
    refused: u64,
}

/// A connection in its place, which it leaves when this is dropped.
#[derive(Debug)]
pub struct Seat {
    place: Arc<Place>,
    places: Arc<Places>,
}

impl Seat {
    pub(super) fn place(&self) -> &Arc<Place> {
        &self.place
    }

    /// The client has proven now who it is: by a signature that is valid and fresh, or by a token.
    pub fn prove(&self) {
        self.places.prove(&self.place);
    }

    /// Whether the connection itself has shown who it is.
    pub(super) fn is_proven(&self) -> bool {
        matches!(self.place.standing(), Standing::Proven | Standing::Trusted)
    }

    /// Whether neither the client nor its peer has proven who they are.
    pub(super) fn is_strangers(&self) -> bool {
        self.place.standing() == Standing::Stranger
    }

    /// The client has shown a wrong signature or token. Its peer stays proven: a stranger behind the same address cannot
    /// take that from UR.
    pub fn unprove(&self) {
        self.places.unprove(&self.place);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.places.lock().remove(&self.place);
    }
}

impl Places {
    #[must_use]
    pub fn new(limits: Limits) -> Arc<Places> {
        Arc::new(Places { limits, clock: Arc::default(), taken: Mutex::default() })
    }

    /// All places.
    #[must_use]
    pub fn most(&self) -> usize {
        self.limits.places
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u32 {
        self.clock.load(Ordering::Relaxed)
    }

    /// Of all places, those for peers that have not proven who they are.
    fn for_strangers(&self) -> usize {
        self.limits.places.div_ceil(2)
    }

    /// Gives a new connection a place, which may be another's. `None`: each place has a request in, or belongs to who has
    /// proven who they are.
    pub(super) fn admit(self: &Arc<Places>, from: IpAddr) -> Option<Seat> {
        let (peer, now) = (Peer::of(from), self.now());
        let mut taken = self.lock();
        let standing = if self.limits.trusted.iter().any(|network| network.contains(&from)) {
            Standing::Trusted
        } else if taken.is_proven(peer, now) {
            Standing::Known
        } else {
            Standing::Stranger
        };
        let is_stranger = standing == Standing::Stranger;
        if (is_stranger && taken.strangers.len() >= self.for_strangers()) || taken.count() >= self.limits.places {
            let Some(Victim { place, .. }) = self.victim(&taken, is_stranger) else {
                taken.refused += 1;
                return None;
            };
            taken.remove(&place);
            taken.evicted += 1;
            place.end();
        }
        let place = Arc::new(Place::new(peer, taken.next, standing, Arc::clone(&self.clock)));
        taken.next += 1;
        taken.insert(Arc::clone(&place));
        Some(Seat { place, places: Arc::clone(self) })
    }

    /// Whose place a new connection takes.
    fn victim(&self, taken: &Taken, for_stranger: bool) -> Option<Victim> {
        if for_stranger && taken.strangers.len() >= self.for_strangers() {
            return taken.strangers.victim();
        }
        let unproven = [&taken.strangers, &taken.known].into_iter().filter_map(Ranked::victim);
        let victim = unproven.max_by_key(|victim| victim.rank);
        victim.or_else(|| if for_stranger { None } else { taken.proven.victim() })
    }

    fn prove(&self, place: &Arc<Place>) {
        let now = self.now();
        if place.standing() == Standing::Trusted || !place.needs_proof(now, in_ticks(PROOF_REFRESHED)) {
            return;
        }
        let mut taken = self.lock();
        if !taken.remove(place) {
            // Its place was taken meanwhile.
            return;
        }
        taken.note_proof(place.peer, now);
        place.set_standing(Standing::Proven, now);
        taken.insert(Arc::clone(place));
    }

    fn unprove(&self, place: &Arc<Place>) {
        if place.standing() != Standing::Proven {
            return;
        }
        let mut taken = self.lock();
        if taken.remove(place) {
            place.set_standing(Standing::Known, self.now());
            taken.insert(Arc::clone(place));
        }
    }

    /// Ends the connections that are too slow, so long after the start.
    pub(super) fn sweep(&self, elapsed: Duration) -> Counts {
        let now = u32::try_from(elapsed.as_millis() / TICK.as_millis()).unwrap_or(u32::MAX);
        self.clock.store(now, Ordering::Relaxed);
        let limits = Overdue {
            header: in_ticks(self.limits.header),
            body: in_ticks(self.limits.body),
            answer: in_ticks(self.limits.answer),
            idle: in_ticks(self.limits.idle),
        };
        let mut taken = self.lock();
        let overdue: Vec<_> = taken.all().filter(|place| place.is_overdue(now, limits)).cloned().collect();
        for place in overdue {
            taken.remove(&place);
            taken.overdue += 1;
            place.end();
        }
        taken.proofs.retain(|_, proven| now.wrapping_sub(*proven) < in_ticks(PROOF_LASTS));
        taken.counts()
    }
}

impl Taken {
    fn counts(&self) -> Counts {
        let (taken, proven) = (self.count(), self.proven.len());
        let busy = self.proven.iter().filter(|place| place.is_busy()).count();
        Counts { taken, proven, busy, evicted: self.evicted, overdue: self.overdue, refused: self.refused }
    }

    fn count(&self) -> usize {
        self.strangers.len() + self.known.len() + self.proven.len()
    }

    fn all(&self) -> impl Iterator<Item = &Arc<Place>> {
        self.strangers.iter().chain(self.known.iter()).chain(self.proven.iter())
    }

    fn is_proven(&self, peer: Peer, now: u32) -> bool {
        self.proofs.get(&peer).is_some_and(|proven| now.wrapping_sub(*proven) < in_ticks(PROOF_LASTS))
    }

    fn note_proof(&mut self, peer: Peer, now: u32) {
        if self.proofs.len() < PROVEN_PEERS_MAX || self.proofs.contains_key(&peer) {
            self.proofs.insert(peer, now);
        }
    }

    fn ranked(&mut self, standing: Standing) -> &mut Ranked {
        match standing {
            Standing::Stranger => &mut self.strangers,
            Standing::Known => &mut self.known,
            Standing::Proven | Standing::Trusted => &mut self.proven,
        }
    }

    fn insert(&mut self, place: Arc<Place>) {
        self.ranked(place.standing()).insert(place);
    }

    /// Whether it still had its place.
    fn remove(&mut self, place: &Arc<Place>) -> bool {
        self.ranked(place.standing()).remove(place)
    }
}

/// Rounded up, so that no limit is shorter than it says.
fn in_ticks(time: Duration) -> u32 {
    u32::try_from(time.as_millis().div_ceil(TICK.as_millis())).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
