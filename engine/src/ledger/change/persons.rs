//! What names the persons behind users: the one stored thing that is not a fold of the journal.
//!
//! Records are kept for ever and copied to replicas, archives and receivers, so they know the `urId` alone. The rows of
//! this table have no sequence and are outside the state's hash: two stores with the same journal may differ in them, as
//! soon as a person is erased in one.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use super::{ChangeError, Receipt, not_found};
use crate::fact::{Author, Fact};
use crate::ids::UrId;
use crate::ledger::Ledger;
use crate::person::{Person, PersonBytesError};
use crate::store::{RowBytes, StoreError, Table};
use crate::sync::MutexGuard;
use crate::time::Moment;

impl Ledger {
    /// What names the person behind a user; empty where nothing does. Reads the disk.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn person(&self, user: &UrId) -> Result<Person, StoreError> {
        let stored = self.store.row(Table::Persons, user.as_str().as_bytes())?;
        let read = |bytes: Vec<u8>| Person::decode(&bytes).map_err(|error| corrupt(user, &error));
        stored.map_or(Ok(Person::default()), read)
    }

    /// Keeps what an import gives, durably: call it before the records of the import, so that no record stands without
    /// the name that came with it. An import that fails half way leaves names of users whose record did not come: nothing
    /// shows them, the import sent again replaces them, and erasing finds them.
    ///
    /// One call writes one file of the store, so callers pass many users at once.
    ///
    /// # Errors
    /// The store failed.
    pub fn keep_persons(&self, given: &[(UrId, Person)]) -> Result<(), StoreError> {
        let _one_at_a_time = self.lock_persons();
        let mut kept: BTreeMap<&UrId, Person> = BTreeMap::new();
        for (user, person) in given.iter().filter(|(_, person)| !person.is_empty()) {
            if !kept.contains_key(user) {
                kept.insert(user, self.person(user)?);
            }
            kept.entry(user).or_default().update(person);
        }
        if kept.is_empty() {
            return Ok(());
        }
        let row = |(user, person): (&&UrId, &Person)| RowBytes {
            table: Table::Persons,
            key: user.as_str().into(),
            value: person.encode(),
        };
        self.store.put_synced(&kept.iter().map(row).collect::<Vec<_>>())
    }

    /// Erases what names the person behind a user, and then records that it was done, by whom: a record never claims an
    /// erasure that did not happen. Erasing again is harmless, also after an error.
    ///
    /// # Errors
    /// There is neither such a user nor such a person; the store failed; or it is erased and the journal has no place for
    /// the record.
    pub fn erase_person(&self, author: &Author, user: &UrId, now: Moment) -> Result<Receipt, ChangeError> {
        if self.is_repeated(author, now)? {
            return Ok(Receipt { ticket: None });
        }
        let persons = self.lock_persons();
        let was_named = self.store.row(Table::Persons, user.as_str().as_bytes())?.is_some();
        // Also where there is no row: an erasure that was cut short leaves bytes without one.
        self.store.erase(Table::Persons, user.as_str().as_bytes())?;
        drop(persons);
        if !was_named && !self.users.contains_key(user) {
            return Err(not_found("user", user));
        }
        let _one_at_a_time = self.lock_admin();
        if self.is_known(author, now)? {
            return Ok(Receipt { ticket: None });
        }
        let fact = Fact::PersonErased { user: user.clone() };
        let ticket = self.commit(self.read_shared(), author, self.stamp(now), fact, |_, _, _| {})?;
        Ok(Receipt { ticket: Some(ticket) })
    }

    /// An import must not write back what is being erased.
    fn lock_persons(&self) -> MutexGuard<'_, ()> {
        self.persons.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn corrupt(user: &UrId, error: &PersonBytesError) -> StoreError {
    match error {
        PersonBytesError::Version(_) => StoreError::Failed(format!("user {user}: {error}")),
        PersonBytesError::Malformed(_) => StoreError::Corrupt(format!("the person of user {user}: {error}")),
    }
}
