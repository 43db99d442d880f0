//! Every user's row, by `urId`.

use std::collections::HashMap;

use ahash::RandomState;

use super::legal::Broken;
use super::{Row, User, each_stored, encode_row};
use crate::fact::{Record, Touches};
use crate::ids::{Sequence, UrId};
use crate::store::{RowBytes, Store, StoreError};

/// Users in no order: most records look one up, and all of them are in memory.
// Boxed: a growing map moves pointers, not rows, and the ledger takes them over as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Users(HashMap<UrId, Box<User>, RandomState>);

impl Default for Users {
    fn default() -> Users {
        Users::seeded(0)
    }
}

impl IntoIterator for Users {
    type Item = (UrId, Box<User>);
    type IntoIter = std::collections::hash_map::IntoIter<UrId, Box<User>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

#[cfg(feature = "testing")]
impl FromIterator<(UrId, Box<User>)> for Users {
    fn from_iter<I: IntoIterator<Item = (UrId, Box<User>)>>(users: I) -> Users {
        let mut all = Users::default();
        all.0.extend(users);
        all
    }
}

impl Users {
    /// No users. `seed` keeps the map's layout unpredictable.
    pub(crate) fn seeded(seed: u64) -> Users {
        Users(HashMap::with_hasher(hasher(seed)))
    }

    /// Every user on disk.
    pub(crate) fn load(store: &dyn Store) -> Result<Users, StoreError> {
        let mut users = Users::seeded(store.id_seed());
        each_stored(store, &mut |id, user| {
            users.0.insert(id, Box::new(user));
        })?;
        Ok(users)
    }

    #[cfg(feature = "testing")]
    pub(crate) fn get(&self, id: &UrId) -> Option<&User> {
        self.0.get(id).map(|user| &**user)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&UrId, &User)> {
        self.0.iter().map(|(id, user)| (id, &**user))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Folds a record into the user that it touches, and checks the row.
    pub(crate) fn apply(&mut self, touches: &Touches<'_>, sequence: Sequence, record: &Record) -> Result<(), Broken> {
        let Some(id) = touches.user else { return Ok(()) };
        let user = match self.0.get_mut(id) {
            Some(user) => {
                user.apply(sequence, record);
                user
            }
            None => {
                let Some(user) = User::open(id, sequence, record) else { return Ok(()) };
                self.0.entry(id.clone()).or_insert(Box::new(user))
            }
        };
        user.check(&record.fact)
    }

    /// The newest record in any of the rows.
    pub(crate) fn newest(&self) -> Sequence {
        self.0.values().map(|user| user.sequence).max().unwrap_or(Sequence::ZERO)
    }

    /// Encodes every row.
    pub(crate) fn encode(&self, put: &mut dyn FnMut(RowBytes)) -> Result<(), StoreError> {
        self.0.iter().try_for_each(|(id, user)| encode_row(id, &**user).map(&mut *put))
    }
}

/// Keys spread by a seed.
pub(crate) fn hasher(seed: u64) -> RandomState {
    RandomState::with_seeds(seed, !seed, seed.rotate_left(17), seed.rotate_left(41))
}
