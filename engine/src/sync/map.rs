//! Stands for `DashMap` where shuttle plays: the same guards of the same shards, by shuttle's locks. Only what the ledger
//! uses of it is here.
#![expect(clippy::unwrap_used, reason = "a model that panics has found something")]

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash};
use std::ops::{Deref, DerefMut};

use shuttle::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

type Shard<K, V> = HashMap<K, V, BuildHasherDefault<DefaultHasher>>;

/// A map in shards, each behind a lock.
pub(crate) struct DashMap<K, V, S> {
    hasher: S,
    shards: Vec<RwLock<Shard<K, V>>>,
}

/// A guard of a shard, to read one value of it.
pub(crate) struct Ref<'a, K, V> {
    shard: RwLockReadGuard<'a, Shard<K, V>>,
    key: K,
}

/// A guard of a shard, to change one value of it.
pub(crate) struct RefMut<'a, K, V> {
    shard: RwLockWriteGuard<'a, Shard<K, V>>,
    key: K,
}

/// A guard of a shard where one value is, or is to be.
pub(crate) enum Entry<'a, K, V> {
    Occupied(Occupied<'a, K, V>),
    Vacant(Vacant<'a, K, V>),
}

pub(crate) struct Occupied<'a, K, V>(RefMut<'a, K, V>);

pub(crate) struct Vacant<'a, K, V>(RefMut<'a, K, V>);

impl<K: Hash + Eq + Clone, V, S: BuildHasher> DashMap<K, V, S> {
    pub(crate) fn with_hasher_and_shard_amount(hasher: S, shards: usize) -> DashMap<K, V, S> {
        let shards = (0..shards).map(|_| RwLock::default()).collect();
        DashMap { hasher, shards }
    }

    pub(crate) fn hash_usize(&self, key: &K) -> usize {
        usize::try_from(self.hasher.hash_one(key) >> 32).unwrap()
    }

    fn shard(&self, key: &K) -> &RwLock<Shard<K, V>> {
        self.shards.get(self.hash_usize(key) % self.shards.len()).unwrap()
    }

    fn of(&self, key: K) -> RefMut<'_, K, V> {
        RefMut { shard: self.shard(&key).write().unwrap(), key }
    }

    pub(crate) fn get(&self, key: &K) -> Option<Ref<'_, K, V>> {
        let shard = self.shard(key).read().unwrap();
        shard.contains_key(key).then(|| Ref { shard, key: key.clone() })
    }

    pub(crate) fn get_mut(&self, key: &K) -> Option<RefMut<'_, K, V>> {
        let found = self.of(key.clone());
        found.shard.contains_key(key).then_some(found)
    }

    pub(crate) fn entry(&self, key: K) -> Entry<'_, K, V> {
        let place = self.of(key);
        if place.shard.contains_key(&place.key) {
            Entry::Occupied(Occupied(place))
        } else {
            Entry::Vacant(Vacant(place))
        }
    }

    pub(crate) fn insert(&self, key: K, value: V) {
        self.shard(&key).write().unwrap().insert(key, value);
    }

    pub(crate) fn contains_key(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().unwrap().len()).sum()
    }

    /// Goes shard by shard, as the map does that this stands for, and sees what is there when it comes.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Ref<'_, K, V>> {
        self.shards.iter().flat_map(|shard| {
            let keys: Vec<K> = shard.read().unwrap().keys().cloned().collect();
            keys.into_iter().filter_map(|key| self.get(&key))
        })
    }
}

impl<K: Hash + Eq, V> Ref<'_, K, V> {
    pub(crate) fn key(&self) -> &K {
        &self.key
    }

    pub(crate) fn value(&self) -> &V {
        self
    }
}

impl<K: Hash + Eq, V> Deref for Ref<'_, K, V> {
    type Target = V;

    fn deref(&self) -> &V {
        self.shard.get(&self.key).unwrap()
    }
}

impl<K: Hash + Eq, V> Deref for RefMut<'_, K, V> {
    type Target = V;

    fn deref(&self) -> &V {
        self.shard.get(&self.key).unwrap()
    }
}

impl<K: Hash + Eq, V> DerefMut for RefMut<'_, K, V> {
    fn deref_mut(&mut self) -> &mut V {
        self.shard.get_mut(&self.key).unwrap()
    }
}

impl<K: Hash + Eq, V> Occupied<'_, K, V> {
    pub(crate) fn get(&self) -> &V {
        &self.0
    }

    pub(crate) fn get_mut(&mut self) -> &mut V {
        &mut self.0
    }
}

impl<K: Hash + Eq + Clone, V> Vacant<'_, K, V> {
    pub(crate) fn key(&self) -> &K {
        &self.0.key
    }

    pub(crate) fn insert(mut self, value: V) {
        self.0.shard.insert(self.0.key.clone(), value);
    }
}
