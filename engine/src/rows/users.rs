//! Every user's row, by `urId`.

use std::collections::HashMap;
use std::hint::black_box;

use ahash::RandomState;

use super::legal::Broken;
use super::user::Depth;
use super::{Row, User, each_stored, encode_row};
use crate::fact::{Record, Touches};
use crate::ids::{Sequence, UrId};
use crate::store::{RowBytes, Store, StoreError};

/// Users in no order: most records look one up, and all of them are in memory.
// Boxed: a growing map moves pointers, not rows, and the ledger takes them over as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Users {
    rows: HashMap<UrId, Box<User>, RandomState>,
    /// The newest record in any of the rows that were loaded.
    pub(crate) newest: Sequence,
}

impl Default for Users {
    fn default() -> Users {
        Users::seeded(0)
    }
}

impl IntoIterator for Users {
    type Item = (UrId, Box<User>);
    type IntoIter = std::collections::hash_map::IntoIter<UrId, Box<User>>;

    fn into_iter(self) -> Self::IntoIter {
        self.rows.into_iter()
    }
}

#[cfg(feature = "testing")]
impl FromIterator<(UrId, Box<User>)> for Users {
    fn from_iter<I: IntoIterator<Item = (UrId, Box<User>)>>(users: I) -> Users {
        let mut all = Users::default();
        all.rows.extend(users);
        all
    }
}

impl Users {
    /// No users. `seed` keeps the map's layout unpredictable.
    pub(crate) fn seeded(seed: u64) -> Users {
        Users { rows: HashMap::with_hasher(hasher(seed)), newest: Sequence::ZERO }
    }

    /// Every user on disk.
    pub(crate) fn load(store: &dyn Store) -> Result<Users, StoreError> {
        let mut users = Users::seeded(store.id_seed());
        each_stored(store, &mut |id, user: User| {
            users.newest = users.newest.max(user.sequence);
            users.rows.insert(id, Box::new(user));
        })?;
        Ok(users)
    }

    #[cfg(feature = "testing")]
    pub(crate) fn get(&self, id: &UrId) -> Option<&User> {
        self.rows.get(id).map(|user| &**user)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&UrId, &User)> {
        self.rows.iter().map(|(id, user)| (id, &**user))
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Reads what these records will change. Each fold would wait for the memory of its user several times, one after the
    /// other; here the users' memory is waited for together.
    pub(crate) fn bring_near(&self, records: &[(Sequence, Record)]) {
        let touched = records.iter().filter_map(|(_, record)| self.rows.get(record.fact.spender()?));
        let users: Vec<&User> = touched.map(|user| &**user).collect();
        for depth in Depth::ALL {
            black_box(users.iter().fold(0, |seen, user| seen ^ user.look(depth)));
        }
    }

    /// Folds a record into the user that it touches, and checks the row.
    pub(crate) fn apply(&mut self, touches: &Touches<'_>, sequence: Sequence, record: &Record) -> Result<(), Broken> {
        let Some(id) = touches.user else { return Ok(()) };
        let user = match self.rows.get_mut(id) {
            Some(user) => {
                user.apply(sequence, record);
                user
            }
            None => {
                let Some(user) = User::open(id, sequence, record) else {
                    return Broken::unless_approved(id, &record.fact);
                };
                self.rows.entry(id.clone()).or_insert(Box::new(user))
            }
        };
        user.check(&record.fact)
    }

    /// Encodes every row.
    pub(crate) fn encode(&self, put: &mut dyn FnMut(RowBytes)) -> Result<(), StoreError> {
        self.rows.iter().try_for_each(|(id, user)| encode_row(id, &**user).map(&mut *put))
    }
}

/// Keys spread by a seed.
pub(crate) fn hasher(seed: u64) -> RandomState {
    RandomState::with_seeds(seed, !seed, seed.rotate_left(17), seed.rotate_left(41))
}
