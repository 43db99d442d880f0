//! All rows, built record by record.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Place;

use super::encoding::{break_key, decode, fetch, key_id, load, record_key, row};
use super::{
    Alert, Alerts, Answer, Authorization, Break, CLOSURES_KEY, Closures, Cursor, Cursors, PROGRAM_KEY, PoolFigures,
    PoolRow, PostingRow, Postings, Prefund, Prefunds, ProgramRow, User,
};
use crate::fact::{Fact, Record};
use crate::ids::{AuthorizationId, BreakId, Sequence, UrId};
use crate::money::Currency;
use crate::store::{Row, Store, StoreError, Table};
use crate::time::{UnixMillis, UnixSeconds};

/// Plain rows, as far as they were needed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    pub(crate) users: BTreeMap<UrId, User>,
    pub(crate) authorizations: BTreeMap<AuthorizationId, Authorization>,
    pub(crate) answers: BTreeMap<AuthorizationId, Answer>,
    pub(crate) pools: BTreeMap<Currency, PoolRow>,
    pub(crate) program: ProgramRow,
    pub(crate) breaks: BTreeMap<BreakId, Break>,
    pub(crate) postings: Postings,
    pub(crate) alerts: Alerts,
    pub(crate) prefunds: Prefunds,
    pub(crate) cursors: Cursors,
    pub(crate) closures: Closures,
}

impl State {
    /// The rows that recovery needs at once: users, pools and the program. Authorizations and answers are looked up
    /// as records name them.
    ///
    /// # Errors
    /// The store cannot be read or holds what no version of this program wrote.
    pub fn load(store: &dyn Store) -> Result<State, StoreError> {
        let mut state = State::default();
        store.rows(Table::Users, &mut |key, bytes| {
            state.users.insert(key_id(key)?, decode(Table::Users, key, bytes)?);
            Ok(())
        })?;
        store.rows(Table::Pools, &mut |key, bytes| {
            let row: PoolRow = decode(Table::Pools, key, bytes)?;
            state.pools.insert(row.figures.currency, row);
            Ok(())
        })?;
        store.rows(Table::Breaks, &mut |key, bytes| {
            let row: Break = decode(Table::Breaks, key, bytes)?;
            // What is explained stays on the disk.
            if row.resolved.is_none() {
                state.breaks.insert(row.id, row);
            }
            Ok(())
        })?;
        store.rows(Table::Alerts, &mut |key, bytes| {
            let row: Alert = decode(Table::Alerts, key, bytes)?;
            if row.is_open() {
                state.alerts.0.insert(row.id, row);
            }
            Ok(())
        })?;
        store.rows(Table::Prefunds, &mut |key, bytes| {
            let row: Prefund = decode(Table::Prefunds, key, bytes)?;
            if row.is_open() {
                state.prefunds.0.insert(row.id, row);
            }
            Ok(())
        })?;
        store.rows(Table::Cursors, &mut |key, bytes| {
            let row: Cursor = decode(Table::Cursors, key, bytes)?;
            state.cursors.0.insert(row.name.clone(), row);
            Ok(())
        })?;
        state.program = load(store, Table::Program, PROGRAM_KEY)?.unwrap_or_default();
        state.closures = load(store, Table::Program, CLOSURES_KEY)?.unwrap_or_default();
        Ok(state)
    }

    /// The newest record that any of the rows holds.
    #[must_use]
    pub fn newest_row(&self) -> Sequence {
        let users = self.users.values().map(|row| row.sequence);
        let pools = self.pools.values().map(|row| row.sequence);
        let breaks = self.breaks.values().map(|row| row.sequence);
        let alerts = self.alerts.0.values().map(|row| row.sequence);
        let prefunds = self.prefunds.0.values().map(|row| row.sequence);
        let cursors = self.cursors.0.values().map(|row| row.sequence);
        let few = alerts.chain(prefunds).chain(cursors).chain([self.closures.sequence]);
        users.chain(pools).chain(breaks).chain(few).fold(self.program.sequence, Sequence::max)
    }

    /// Every account, and those of which UR has something to show yet.
    #[must_use]
    pub fn accounts(&self) -> (Vec<UrId>, Vec<UrId>) {
        let waits = |user: &User| !user.holds().is_empty() || user.spends().unshown_since(UnixSeconds(0)).is_some();
        let holding = self.users.iter().filter(|(_, user)| waits(user));
        (self.users.keys().cloned().collect(), holding.map(|(id, _)| id.clone()).collect())
    }

    /// The latest time of any record: decisions never go back before it.
    #[must_use]
    pub fn latest(&self) -> UnixMillis {
        self.program.at
    }

    /// The rows that [`State::load`] leaves on the disk.
    ///
    /// # Errors
    /// As for [`State::load`].
    pub fn load_rest(&mut self, store: &dyn Store) -> Result<(), StoreError> {
        store.rows(Table::Authorizations, &mut |key, bytes| {
            if let Place::Vacant(place) = self.authorizations.entry(key_id(key)?) {
                place.insert(decode(Table::Authorizations, key, bytes)?);
            }
            Ok(())
        })?;
        store.rows(Table::Answers, &mut |key, bytes| {
            if let Place::Vacant(place) = self.answers.entry(key_id(key)?) {
                place.insert(decode(Table::Answers, key, bytes)?);
            }
            Ok(())
        })?;
        store.rows(Table::Breaks, &mut |key, bytes| {
            let row: Break = decode(Table::Breaks, key, bytes)?;
            self.breaks.entry(row.id).or_insert(row);
            Ok(())
        })?;
        store.rows(Table::Alerts, &mut |key, bytes| {
            let row: Alert = decode(Table::Alerts, key, bytes)?;
            self.alerts.0.entry(row.id).or_insert(row);
            Ok(())
        })?;
        store.rows(Table::Prefunds, &mut |key, bytes| {
            let row: Prefund = decode(Table::Prefunds, key, bytes)?;
            self.prefunds.0.entry(row.id).or_insert(row);
            Ok(())
        })?;
        store.rows(Table::Postings, &mut |key, bytes| {
            if let Place::Vacant(place) = self.postings.entry(String::from_utf8_lossy(key).into()) {
                place.insert(decode(Table::Postings, key, bytes)?);
            }
            Ok(())
        })
    }

    /// Folds one record, each row by itself: a row that already holds the record is left as it is. Rows that are not
    /// here are looked up in `store`, where one is given.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn fold(&mut self, sequence: Sequence, record: &Record, store: Option<&dyn Store>) -> Result<(), StoreError> {
        let Record { at, author, fact } = record;
        if let Some(id) = fact.user() {
            match self.users.entry(id.clone()) {
                Place::Occupied(mut row) => row.get_mut().apply(sequence, *at, fact),
                Place::Vacant(place) => {
                    if let Fact::UserImported(import) = fact {
                        place.insert(User::imported(sequence, *at, import));
                    }
                }
            }
        }
        if let Some(root) = fact.root() {
            fetch(&mut self.authorizations, root.clone(), root.as_str().as_bytes(), Table::Authorizations, store)?;
            match self.authorizations.entry(root.clone()) {
                Place::Occupied(mut row) => row.get_mut().apply(sequence, fact),
                Place::Vacant(place) => {
                    Authorization::opened(sequence, fact).map(|row| place.insert(row));
                }
            }
        }
        if let Some(id) = fact.answered() {
            fetch(&mut self.answers, id.clone(), id.as_str().as_bytes(), Table::Answers, store)?;
            match self.answers.entry(id.clone()) {
                Place::Occupied(mut row) => row.get_mut().apply(sequence, fact),
                Place::Vacant(place) => {
                    Answer::opened(sequence, *at, fact).map(|row| place.insert(row));
                }
            }
        }
        for currency in fact.pools() {
            let fresh = PoolRow { sequence: Sequence::ZERO, figures: PoolFigures::empty(currency) };
            let pool = self.pools.entry(currency).or_insert(fresh);
            if sequence > pool.sequence {
                pool.figures.apply(sequence, *at, fact);
                pool.sequence = sequence;
            }
        }
        if let Fact::Booked(booked) = fact {
            let posted = booked.posting.place();
            fetch(&mut self.postings, posted.clone(), posted.as_bytes(), Table::Postings, store)?;
            let row = PostingRow { sequence, root: booked.root.clone() };
            match self.postings.entry(posted) {
                Place::Occupied(mut before) if before.get().sequence < sequence => drop(before.insert(row)),
                Place::Occupied(_) => {}
                Place::Vacant(place) => drop(place.insert(row)),
            }
        }
        for (id, discrepancy) in fact.breaks(sequence) {
            fetch(&mut self.breaks, id, &break_key(id), Table::Breaks, store)?;
            self.breaks.entry(id).or_insert_with(|| Break::opened(id, *at, discrepancy.clone()));
        }
        if let Fact::BreakResolved { id, reason } = fact {
            fetch(&mut self.breaks, *id, &break_key(*id), Table::Breaks, store)?;
            if let Some(row) = self.breaks.get_mut(id) {
                row.resolve(sequence, *at, author, reason);
            }
        }
        self.fold_alert(sequence, record, store)?;
        self.fold_prefund(sequence, record, store)?;
        self.cursors.apply(sequence, fact);
        self.closures.apply(sequence, fact);
        if sequence > self.program.sequence {
            self.program.program.apply(*at, fact);
            self.program.keys.apply(*at, author);
            self.program.at = self.program.at.max(*at);
            self.program.sequence = sequence;
        }
        Ok(())
    }

    /// A hash of every row, so that two states are equal iff their hashes are. Pools and the program are cut at
    /// different records by different ways to the same state, so their sequence is left out.
    ///
    /// # Errors
    /// A row cannot be encoded.
    pub fn hash(&self) -> Result<[u8; 32], StoreError> {
        let mut hasher = blake3::Hasher::new();
        let mut add = |row: &Row| {
            hasher.update(&[row.table as u8]);
            hasher.update(&(row.key.len() as u64).to_le_bytes());
            hasher.update(&row.key);
            hasher.update(&(row.value.len() as u64).to_le_bytes());
            hasher.update(&row.value);
        };
        for (id, user) in &self.users {
            add(&row(Table::Users, id.as_str().as_bytes(), user)?);
        }
        for (id, authorization) in &self.authorizations {
            add(&row(Table::Authorizations, id.as_str().as_bytes(), authorization)?);
        }
        for (id, answer) in &self.answers {
            add(&row(Table::Answers, id.as_str().as_bytes(), answer)?);
        }
        for (currency, pool) in &self.pools {
            add(&row(Table::Pools, currency.as_str().as_bytes(), &pool.figures)?);
        }
        for (id, found) in &self.breaks {
            add(&row(Table::Breaks, &break_key(*id), found)?);
        }
        for (hash, booked) in &self.postings {
            add(&row(Table::Postings, hash.as_bytes(), booked)?);
        }
        for (id, alert) in &self.alerts.0 {
            add(&row(Table::Alerts, &record_key(id.0), alert)?);
        }
        for (id, prefund) in &self.prefunds.0 {
            add(&row(Table::Prefunds, &record_key(id.0), prefund)?);
        }
        for (name, cursor) in &self.cursors.0 {
            add(&row(Table::Cursors, name.as_bytes(), cursor)?);
        }
        add(&row(Table::Program, PROGRAM_KEY, &(&self.program.program, &self.program.keys))?);
        add(&row(Table::Program, CLOSURES_KEY, &self.closures)?);
        Ok(*hasher.finalize().as_bytes())
    }

    /// How many rows of each kind: users, authorizations, answers, pools.
    #[must_use]
    pub fn counts(&self) -> [usize; 4] {
        [self.users.len(), self.authorizations.len(), self.answers.len(), self.pools.len()]
    }
}

impl State {
    pub(crate) fn fold_alert(
        &mut self,
        sequence: Sequence,
        record: &Record,
        store: Option<&dyn Store>,
    ) -> Result<(), StoreError> {
        let Record { at, author, fact } = record;
        if let Some(id) = fact.alert(sequence) {
            fetch(&mut self.alerts.0, id, &record_key(id.0), Table::Alerts, store)?;
            self.alerts.apply(sequence, *at, author, fact);
        }
        Ok(())
    }
}

impl State {
    pub(crate) fn fold_prefund(
        &mut self,
        sequence: Sequence,
        record: &Record,
        store: Option<&dyn Store>,
    ) -> Result<(), StoreError> {
        let Record { at, author, fact } = record;
        if let Some(id) = fact.prefund(sequence) {
            fetch(&mut self.prefunds.0, id, &record_key(id.0), Table::Prefunds, store)?;
        }
        // What is over is not fetched for a credit: it would leave it as it is.
        self.prefunds.apply(sequence, *at, author, fact);
        Ok(())
    }
}
