//! All rows, built record by record.

use super::encoding::{decode, encode};
use super::index::{Index, entry_bytes};
use super::legal::{Broken, FoldError};
use super::state_hash::StateHash;
use super::{
    Answer, Authorization, KeyRow, Noted, PROGRAM_KEY, PoolRow, PostingRow, ProgramRow, Shelf, Shelves, User, Users,
};
use crate::fact::{Fact, Record, Touches};
use crate::ids::{Sequence, UrId};
use crate::store::{RowBytes, Store, StoreError, Table};
use crate::time::{UnixMillis, UnixSeconds};

/// Rows in memory, as far as they were needed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    pub(crate) users: Users,
    /// Folded only from the first record: a recovered state has the index instead.
    pub(crate) authorizations: Shelf<Authorization>,
    pub(crate) answers: Shelf<Answer>,
    pub(crate) index: Index,
    pub(crate) postings: Shelf<PostingRow>,
    /// Records about postings that are not folded into their rows yet.
    pub(crate) noted: Noted,
    pub(crate) pools: Shelf<PoolRow>,
    pub(crate) keys: Shelf<KeyRow>,
    pub(crate) shelves: Shelves,
    pub(crate) program: ProgramRow,
}

impl State {
    /// Loads the rows that recovery needs at once.
    ///
    /// # Errors
    /// The store cannot be read or holds data that no version of this program wrote.
    pub fn load(store: &dyn Store) -> Result<State, StoreError> {
        let noted = Noted::seeded(store.id_seed());
        let mut state = State { users: Users::load(store)?, index: Index::load(store)?, noted, ..State::default() };
        state.pools.load(store)?;
        state.shelves.load(store)?;
        if let Some(bytes) = store.row(Table::Program, PROGRAM_KEY)? {
            state.program = decode(Table::Program, PROGRAM_KEY, &bytes)?;
        }
        Ok(state)
    }

    /// The newest record in any of the rows.
    #[must_use]
    pub fn newest_row(&self) -> Sequence {
        let rows = [self.users.newest, self.pools.newest(), self.shelves.newest()];
        rows.into_iter().fold(self.program.sequence, Sequence::max)
    }

    /// The newest record in any row on disk, also in those that a start leaves there.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn newest_stored(&self, store: &dyn Store) -> Result<Sequence, StoreError> {
        let mut newest = self.newest_row().max(Index::newest(store)?);
        store.rows(Table::Postings, &mut |key, bytes| {
            newest = newest.max(decode::<PostingRow>(Table::Postings, key, bytes)?.sequence);
            Ok(())
        })?;
        store.rows(Table::Keys, &mut |key, bytes| {
            newest = newest.max(decode::<KeyRow>(Table::Keys, key, bytes)?.sequence);
            Ok(())
        })?;
        Ok(newest)
    }

    /// All accounts, in no order, and those with activity that UR has yet to show.
    #[must_use]
    pub fn accounts(&self) -> (Vec<UrId>, Vec<UrId>) {
        let waits = |user: &User| {
            !user.holds().is_empty()
                || !user.asked().is_empty()
                || user.spends().unshown_since(UnixSeconds(0)).is_some()
        };
        let holding = self.users.iter().filter(|(_, user)| waits(user));
        let mut holding: Vec<UrId> = holding.map(|(id, _)| id.clone()).collect();
        holding.sort_unstable();
        (self.users.iter().map(|(id, _)| id.clone()).collect(), holding)
    }

    /// The latest time of any record: decisions never go back before it.
    #[must_use]
    pub fn latest(&self) -> UnixMillis {
        self.program.at
    }

    /// A state without rows, to be folded from a store's first record.
    #[must_use]
    pub fn empty(store: &dyn Store) -> State {
        State { users: Users::seeded(store.id_seed()), index: Index::empty(store), ..State::default() }
    }

    /// Whether the index of ids has the entries that were counted; call it after [`State::load_rest`].
    #[must_use]
    pub fn index_fits(&self) -> bool {
        self.index.fits_its_sum()
    }

    /// Loads the rows that [`State::load`] leaves on disk, and the index of ids.
    ///
    /// # Errors
    /// As for [`State::load`].
    pub fn load_rest(&mut self, store: &dyn Store) -> Result<(), StoreError> {
        self.index.load_rest(store)?;
        self.postings.load_rest(store)?;
        self.noted.fold_into(&mut self.postings, store)?;
        self.keys.load_rest(store)?;
        // Rows of forgotten keys may still be on disk.
        self.keys.drop_through(self.program.aged.keys_through);
        self.shelves.load_rest(store)
    }

    /// Folds one record of the whole journal, each row independently: a row that already holds the record stays unchanged.
    ///
    /// # Errors
    /// No ledger wrote this record: the state must not be used then.
    pub fn fold(&mut self, sequence: Sequence, record: &Record) -> Result<(), FoldError> {
        let illegal = |broken: &dyn std::fmt::Display| FoldError::illegal(sequence, broken);
        record.fact.check_bounds().map_err(|error| illegal(&error))?;
        let touches = record.touches(sequence);
        self.fold_needed(&touches, sequence, record).map_err(|broken| illegal(&broken))?;
        self.answers.apply(&touches, sequence, record);
        self.postings.apply(&touches, sequence, record);
        self.authorizations.apply(&touches, sequence, record);
        self.authorizations.check(&touches, &record.fact).map_err(|broken| illegal(&broken))
    }

    /// Folds some records after the rows in a store, in their order. Rows not in memory are loaded from it where the fold
    /// needs them; the journal remains the row of authorizations, answers and postings.
    ///
    /// # Errors
    /// The store cannot be read, or no ledger wrote this record: the state must not be used then.
    pub(crate) fn fold_later(&mut self, records: &[(Sequence, Record)], store: &dyn Store) -> Result<(), FoldError> {
        self.users.bring_near(records);
        records.iter().try_for_each(|(sequence, record)| self.fold_one_later(*sequence, record, store))
    }

    fn fold_one_later(&mut self, sequence: Sequence, record: &Record, store: &dyn Store) -> Result<(), FoldError> {
        let illegal = |broken: &dyn std::fmt::Display| FoldError::illegal(sequence, broken);
        record.fact.check_bounds().map_err(|error| illegal(&error))?;
        let touches = record.touches(sequence);
        self.shelves.fetch(&touches, store)?;
        self.noted.note(&touches, sequence);
        self.fold_needed(&touches, sequence, record).map_err(|broken| illegal(&broken))
    }

    /// Folds a record into the rows that a start needs.
    fn fold_needed(&mut self, touches: &Touches<'_>, sequence: Sequence, record: &Record) -> Result<(), Broken> {
        self.index.apply(sequence, &record.fact);
        self.users.apply(touches, sequence, record)?;
        self.pools.apply(touches, sequence, record);
        self.pools.check(touches, &record.fact)?;
        // A row on disk is not missed: a key that is used again replaces it whole.
        self.keys.apply(touches, sequence, record);
        self.shelves.apply(touches, sequence, record);
        self.program.apply(sequence, record);
        if let Fact::Aged { keys_through } = &record.fact {
            self.keys.drop_through(*keys_through);
        }
        Ok(())
    }

    /// A hash of every row and of the index of ids: two states are equal iff their hashes are. It excludes the sequence of
    /// pools and the program, which different ways to the same state cut at different records; and authorizations and
    /// answers, which follow from the journal and the index.
    ///
    /// # Errors
    /// A row cannot be encoded.
    pub fn hash(&self) -> Result<[u8; 32], StoreError> {
        let mut hash = StateHash::default();
        let mut add = |row: RowBytes| hash.add(&row);
        let all = Sequence::ZERO;
        self.users.encode(&mut add)?;
        self.index.entries().into_iter().for_each(|(key, sequence)| add(entry_bytes(key, sequence)));
        self.postings.encode_changed(all, &mut add)?;
        self.keys.encode_changed(all, &mut add)?;
        self.shelves.encode_changed(all, &mut add)?;
        for (currency, pool) in self.pools.iter() {
            add(encode(Table::Pools, currency.as_str().as_bytes(), &pool.figures)?);
        }
        add(encode(Table::Program, PROGRAM_KEY, &(&self.program.program, &self.program.aged))?);
        Ok(hash.bytes())
    }

    /// Asserts that the index leads to all that was folded of every id, and to nothing else.
    ///
    /// # Panics
    /// Where it does not.
    #[cfg(feature = "testing")]
    #[expect(clippy::expect_used, reason = "a test that meets the unexpected stops")]
    pub fn assert_told(&self, store: &dyn Store) {
        let roots = self.authorizations.iter().map(|(id, _)| id);
        let ids: std::collections::BTreeSet<_> = roots.chain(self.answers.iter().map(|(id, _)| id)).collect();
        let last = self.index.last();
        for id in ids {
            let told = super::Told::load(store, id, last(id)).expect("the records of an id can be read");
            assert_eq!(told.answer.as_ref(), self.answers.get(id), "the answer to {id}");
            assert_eq!(told.authorization.as_ref(), self.authorizations.get(id), "the authorization {id}");
        }
    }

    /// Whether both tell the same of every id.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn tells_as(&self, other: &State) -> bool {
        self.authorizations == other.authorizations && self.answers == other.answers
    }

    /// Number of rows folded from the first record: users, authorizations, answers, pools.
    #[must_use]
    pub fn counts(&self) -> [usize; 4] {
        [self.users.len(), self.authorizations.len(), self.answers.len(), self.pools.len()]
    }
}
