//! All rows, built record by record.

use super::encoding::{decode, encode};
use super::legal::FoldError;
use super::{Answer, Authorization, KeyRow, PROGRAM_KEY, PoolRow, PostingRow, ProgramRow, Shelf, Shelves, User};
use crate::fact::{Fact, Record};
use crate::ids::{Sequence, UrId};
use crate::store::{RowBytes, Store, StoreError, Table};
use crate::time::{UnixMillis, UnixSeconds};

/// Rows in memory, as far as they were needed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    pub(crate) users: Shelf<User>,
    pub(crate) authorizations: Shelf<Authorization>,
    pub(crate) answers: Shelf<Answer>,
    pub(crate) postings: Shelf<PostingRow>,
    pub(crate) pools: Shelf<PoolRow>,
    pub(crate) keys: Shelf<KeyRow>,
    pub(crate) shelves: Shelves,
    pub(crate) program: ProgramRow,
}

impl State {
    /// Loads the rows that recovery needs at once. Authorizations, answers and postings are loaded when a record names
    /// them.
    ///
    /// # Errors
    /// The store cannot be read or holds data that no version of this program wrote.
    pub fn load(store: &dyn Store) -> Result<State, StoreError> {
        let mut state = State::default();
        state.users.load(store)?;
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
        let rows = [self.users.newest(), self.pools.newest(), self.shelves.newest()];
        rows.into_iter().fold(self.program.sequence, Sequence::max)
    }

    /// All accounts, and those with activity that UR has yet to show.
    #[must_use]
    pub fn accounts(&self) -> (Vec<UrId>, Vec<UrId>) {
        let waits = |user: &User| {
            !user.holds().is_empty()
                || !user.asked().is_empty()
                || user.spends().unshown_since(UnixSeconds(0)).is_some()
        };
        let holding = self.users.iter().filter(|(_, user)| waits(user));
        (self.users.iter().map(|(id, _)| id.clone()).collect(), holding.map(|(id, _)| id.clone()).collect())
    }

    /// The latest time of any record: decisions never go back before it.
    #[must_use]
    pub fn latest(&self) -> UnixMillis {
        self.program.at
    }

    /// Loads the rows that [`State::load`] leaves on disk.
    ///
    /// # Errors
    /// As for [`State::load`].
    pub fn load_rest(&mut self, store: &dyn Store) -> Result<(), StoreError> {
        self.authorizations.load_rest(store)?;
        self.answers.load_rest(store)?;
        self.postings.load_rest(store)?;
        self.keys.load_rest(store)?;
        // Rows of forgotten keys may still be on disk.
        self.keys.drop_through(self.program.aged.keys_through);
        self.shelves.load_rest(store)
    }

    /// Folds one record, each row independently: a row that already holds the record stays unchanged. Rows not in
    /// memory are loaded from `store`, if given.
    ///
    /// # Errors
    /// The store cannot be read, or no ledger wrote this record: the state must not be used then.
    pub fn fold(&mut self, sequence: Sequence, record: &Record, store: Option<&dyn Store>) -> Result<(), FoldError> {
        record.fact.check_bounds().map_err(|error| FoldError::illegal(sequence, &error))?;
        let touches = record.touches(sequence);
        if let Some(store) = store {
            self.authorizations.fetch(&touches, store)?;
            self.answers.fetch(&touches, store)?;
            self.postings.fetch(&touches, store)?;
            self.keys.fetch(&touches, store)?;
            self.shelves.fetch(&touches, store)?;
        }
        self.users.apply(&touches, sequence, record);
        self.authorizations.apply(&touches, sequence, record);
        self.answers.apply(&touches, sequence, record);
        self.postings.apply(&touches, sequence, record);
        self.keys.apply(&touches, sequence, record);
        self.pools.apply(&touches, sequence, record);
        self.shelves.apply(&touches, sequence, record);
        self.program.apply(sequence, record);
        if let Fact::Aged { keys_through } = &record.fact {
            self.keys.drop_through(*keys_through);
        }
        self.check_changed(&touches, &record.fact).map_err(|broken| FoldError::illegal(sequence, &broken))
    }

    /// A hash of every row: two states are equal iff their hashes are. It excludes the sequence of pools and the
    /// program, which different ways to the same state cut at different records.
    ///
    /// # Errors
    /// A row cannot be encoded.
    pub fn hash(&self) -> Result<[u8; 32], StoreError> {
        let mut hasher = blake3::Hasher::new();
        let mut add = |row: RowBytes| {
            hasher.update(&[row.table as u8]);
            hasher.update(&(row.key.len() as u64).to_le_bytes());
            hasher.update(&row.key);
            hasher.update(&(row.value.len() as u64).to_le_bytes());
            hasher.update(&row.value);
        };
        let all = Sequence::ZERO;
        self.users.encode_changed(all, &mut add)?;
        self.authorizations.encode_changed(all, &mut add)?;
        self.answers.encode_changed(all, &mut add)?;
        self.postings.encode_changed(all, &mut add)?;
        self.keys.encode_changed(all, &mut add)?;
        self.shelves.encode_changed(all, &mut add)?;
        for (currency, pool) in self.pools.iter() {
            add(encode(Table::Pools, currency.as_str().as_bytes(), &pool.figures)?);
        }
        add(encode(Table::Program, PROGRAM_KEY, &(&self.program.program, &self.program.aged))?);
        Ok(*hasher.finalize().as_bytes())
    }

    /// Number of rows of each kind: users, authorizations, answers, pools.
    #[must_use]
    pub fn counts(&self) -> [usize; 4] {
        [self.users.len(), self.authorizations.len(), self.answers.len(), self.pools.len()]
    }
}
