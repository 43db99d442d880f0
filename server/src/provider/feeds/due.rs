//! Accounts to query and their due times: earliest first, each once.

use std::collections::{BTreeSet, HashMap};

use tapgate_engine::ids::UrId;
use tapgate_engine::time::UnixMillis;

/// Accounts by due time.
#[derive(Debug, Default)]
pub struct Due {
    order: BTreeSet<(UnixMillis, UrId)>,
    times: HashMap<UrId, UnixMillis>,
}

impl Due {
    /// Makes an account due at a time, unless it is due earlier.
    pub fn by(&mut self, user: &UrId, at: UnixMillis) {
        if self.times.get(user).is_none_or(|before| at < *before) {
            self.set(user, at);
        }
    }

    /// Makes an account due at a time, whatever its earlier due time.
    pub fn set(&mut self, user: &UrId, at: UnixMillis) {
        if let Some(before) = self.times.insert(user.clone(), at) {
            self.order.remove(&(before, user.clone()));
        }
        self.order.insert((at, user.clone()));
    }

    /// Removes and returns the account that has been due longest, with its due time.
    pub fn next(&mut self, now: UnixMillis) -> Option<(UrId, UnixMillis)> {
        let (at, user) = self.order.first().filter(|(at, _)| *at <= now).cloned()?;
        self.order.remove(&(at, user.clone()));
        self.times.remove(&user);
        Some((user, at))
    }

    /// The number of due accounts: a scan over all of them.
    #[must_use]
    pub fn due(&self, now: UnixMillis) -> usize {
        self.order.iter().take_while(|(at, _)| *at <= now).count()
    }

    /// The number of accounts, due or not.
    #[must_use]
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Whether there is no account.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_due_comes_first_and_each_comes_once() {
        let user = |id: &str| id.parse::<UrId>().unwrap();
        let mut due = Due::default();
        due.by(&user("1"), UnixMillis(30));
        due.by(&user("2"), UnixMillis(20));
        due.by(&user("1"), UnixMillis(10));
        due.by(&user("1"), UnixMillis(90));
        assert_eq!((due.due(UnixMillis(10)), due.due(UnixMillis(20)), due.len()), (1, 2, 2));
        assert_eq!(due.next(UnixMillis(9)), None);
        assert_eq!(due.next(UnixMillis(50)), Some((user("1"), UnixMillis(10))));
        due.set(&user("2"), UnixMillis(60));
        assert_eq!(due.next(UnixMillis(50)), None, "put off");
        assert_eq!(due.next(UnixMillis(60)), Some((user("2"), UnixMillis(60))));
        assert!(due.is_empty());
    }
}
