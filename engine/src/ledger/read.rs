//! Reads by people and programs. No read takes more than one guard or iterates a map.

use std::ops::ControlFlow;

use super::ids::Live;
use super::pool::Pool;
use super::{Admin, Ledger};
use crate::fact::{Kind, Provider, Record, Request};
use crate::ids::{AuthorizationId, CardId, JournalId, Sequence, UrId};
use crate::money::Currency;
use crate::rows::{Answer, Authorization, PoolFigures, Program, Told, User, decoded, record, records_of};
#[cfg(feature = "testing")]
use crate::rows::{PoolRow, ProgramRow, State, index::Index};
use crate::store::{StoreError, StoredTree, TreeError, Visit};
use crate::sync::Ordering;
use crate::time::UnixMillis;
use crate::tree::{Consistency, Head, Inclusion};

/// The answer to an id and its authorization.
#[derive(Clone, Debug)]
pub struct Found {
    /// `None` for a root known only from its reversal.
    pub answer: Option<Answer>,
    /// `None` for an increment without a parent.
    pub authorization: Option<Authorization>,
}

impl Ledger {
    /// A copy of the user's row.
    #[must_use]
    pub fn user(&self, id: &UrId) -> Option<User> {
        self.users.get(id).map(|row| (**row).clone())
    }

    /// The provider of an account; `None` for an unknown one.
    #[must_use]
    pub fn provider_of(&self, id: &UrId) -> Option<Provider> {
        self.users.get(id).map(|row| row.provider)
    }

    /// Whether a request is about an account, or an authorization, of another provider than the one that sends it.
    ///
    /// # Errors
    /// Rows on disk could not be read.
    pub fn is_of_another(&self, provider: Provider, request: &Request) -> Result<bool, StoreError> {
        let is_anothers = |user: &UrId| self.provider_of(user).is_some_and(|own| own != provider);
        if is_anothers(&request.user) {
            return Ok(true);
        }
        let named = request.original.as_ref().filter(|_| request.kind != Kind::Authorization);
        let found = named.map(|id| self.find(id)).transpose()?.flatten();
        Ok(found.and_then(|found| found.authorization).is_some_and(|row| is_anothers(&row.user)))
    }

    /// The accounts with something for UR, or time, to settle, in no particular order. It takes one guard of the map after
    /// the other.
    #[must_use]
    pub fn waiting_users(&self) -> Vec<UrId> {
        let waiting = self.users.iter().filter(|row| !row.holds().is_empty() || !row.asked().is_empty());
        waiting.map(|row| row.key().clone()).collect()
    }

    /// Bytes of memory that users' spends take beside their rows.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn bytes_of_spends(&self) -> usize {
        self.users.iter().map(|row| row.spends().bytes()).sum()
    }

    /// Number of users.
    #[must_use]
    pub fn user_count(&self) -> usize {
        self.users.len()
    }

    /// The owner of a card.
    #[must_use]
    pub fn card_owner(&self, card: &CardId) -> Option<UrId> {
        self.owner(&self.lock_admin(), card).cloned()
    }

    /// The owner of a card, for a change that holds the `admin` lock. The caller must hold no user's guard.
    pub(super) fn owner<'a>(&self, admin: &'a Admin, card: &CardId) -> Option<&'a UrId> {
        admin.cards.owner(card, |user| self.users.get(user).is_some_and(|row| row.card(card).is_some()))
    }

    /// The pools' figures, in no particular order.
    #[must_use]
    pub fn pools(&self) -> Vec<PoolFigures> {
        self.read_shared().pools.iter().map(Pool::figures).collect()
    }

    /// One pool's figures.
    #[must_use]
    pub fn pool(&self, currency: Currency) -> Option<PoolFigures> {
        self.read_shared().pool(currency).map(Pool::figures)
    }

    /// Rates and suspension of the whole program.
    #[must_use]
    pub fn program(&self) -> Program {
        self.read_shared().program.clone()
    }

    /// The latest time of any record, or `now` if later: the stamp of a decision made now.
    #[must_use]
    pub fn time(&self, now: UnixMillis) -> UnixMillis {
        UnixMillis(self.latest.load(Ordering::Acquire).max(now.0))
    }

    /// Looks up an authorization, an increment, a reversal or an advice by its id.
    ///
    /// # Errors
    /// Rows on disk could not be read.
    pub fn find(&self, id: &AuthorizationId) -> Result<Option<Found>, StoreError> {
        let Told { answer, authorization: own } = self.read_id(id, Live::copy)?.unwrap_or_default();
        let authorization = match answer.as_ref().map(|answer| &answer.root).filter(|root| *root != id) {
            Some(root) => self.read_id(root, |live| live.authorization.clone())?.flatten(),
            None => own,
        };
        Ok((answer.is_some() || authorization.is_some()).then_some(Found { answer, authorization }))
    }

    /// As [`Self::find`], and `None` where what the journal said of it is in quarantine: nothing can be settled on it any
    /// more, and a movement for it is one that matches nothing.
    ///
    /// # Errors
    /// As there.
    pub fn find_usable(&self, id: &AuthorizationId) -> Result<Option<Found>, StoreError> {
        match self.find(id) {
            Err(StoreError::Quarantined(_)) => Ok(None),
            found => found,
        }
    }

    pub(super) fn is_in_quarantine(&self, id: &AuthorizationId) -> Result<bool, StoreError> {
        match self.find(id) {
            Err(StoreError::Quarantined(_)) => Ok(true),
            found => found.map(|_| false),
        }
    }

    /// One record, once it is durable.
    ///
    /// # Errors
    /// The journal could not be read.
    pub fn record(&self, sequence: Sequence) -> Result<Option<Record>, StoreError> {
        record(&*self.store, sequence)
    }

    /// The records of an authorization from its last one `last` back, at most `max`, oldest first. Waits until they are
    /// durable.
    ///
    /// # Errors
    /// The journal could not be read, or has failed.
    pub fn history(
        &self,
        root: &AuthorizationId,
        last: Sequence,
        max: usize,
    ) -> Result<Vec<(Sequence, Record)>, StoreError> {
        self.await_durable(last)?;
        records_of(&*self.store, root, last, max)
    }

    /// The durable records after `after`, oldest first.
    ///
    /// # Errors
    /// The journal could not be read.
    pub fn records(
        &self,
        after: Sequence,
        visit: &mut dyn FnMut(Sequence, Record) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        each_decoded(visit, |visit| self.store.read(after, visit))
    }

    /// The durable records before `before`, newest first.
    ///
    /// # Errors
    /// The journal could not be read.
    pub fn records_back(
        &self,
        before: Sequence,
        visit: &mut dyn FnMut(Sequence, Record) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        each_decoded(visit, |visit| self.store.read_back(before, visit))
    }

    /// Size and root of the journal's tree at a record; `None` where it is not known: no such record is durable, or the
    /// records about it are no longer kept.
    ///
    /// # Errors
    /// The journal could not be read; or it is hidden by a record in quarantine ([`StoreError::Quarantined`]).
    pub fn head_at(&self, sequence: Sequence) -> Result<Option<Head>, StoreError> {
        Ok(known(StoredTree::of(&*self.store)?.frontier(sequence))?.map(|frontier| frontier.head()))
    }

    /// The journal's own name: the same wherever it is copied to, another for every other journal.
    #[must_use]
    pub fn journal_id(&self) -> JournalId {
        JournalId::of_seed(self.store.id_seed())
    }

    /// A durable record's bytes, and the proof that they lie under the head at `at`; `None` where there is no such record
    /// by then, or the records about it are no longer kept.
    ///
    /// # Errors
    /// The journal could not be read; or the proof is hidden by a record in quarantine ([`StoreError::Quarantined`]).
    pub fn inclusion(&self, record: Sequence, at: Sequence) -> Result<Option<(Vec<u8>, Inclusion)>, StoreError> {
        if record == Sequence::ZERO || record > at || at > self.journal.durable() {
            return Ok(None);
        }
        let Some(entry) = self.store.entry(record)? else { return Ok(None) };
        let proof = StoredTree::of(&*self.store)?.inclusion(record, at);
        Ok(known(proof)?.map(|proof| (entry.payload, proof)))
    }

    /// The proof that the head at `newer` extends the one at `older`; `None` where there are no such heads, or the records
    /// about them are no longer kept, or in quarantine.
    ///
    /// # Errors
    /// The journal could not be read.
    pub fn consistency(&self, older: Sequence, newer: Sequence) -> Result<Option<Consistency>, StoreError> {
        if older > newer || newer > self.journal.durable() {
            return Ok(None);
        }
        match known(StoredTree::of(&*self.store)?.consistency(older, newer)) {
            Err(StoreError::Quarantined(_)) => Ok(None),
            proof => proof,
        }
    }

    /// A copy of all rows, to compare with a fold: of each id what memory holds, else what the disk says. Call it only
    /// while nothing else runs.
    ///
    /// # Errors
    /// The store cannot be read.
    #[cfg(feature = "testing")]
    pub fn snapshot(&self) -> Result<State, StoreError> {
        let admin = self.lock_admin();
        let shared = self.stop_decisions();
        let sequence = self.journal.claimed();
        let (mut index, mut ids) = (Index::empty(&*self.store), std::collections::BTreeSet::new());
        self.records(Sequence::ZERO, &mut |at, record| {
            index.apply(at, &record.fact);
            ids.extend(record.fact.indexed().map(|entry| entry.id.clone()));
            ControlFlow::Continue(())
        })?;
        let (mut answers, mut authorizations) = (Vec::new(), Vec::new());
        for id in ids {
            let found = self.read_id(&id, Live::copy)?.unwrap_or_default();
            answers.extend(found.answer.map(|answer| (id.clone(), answer)));
            authorizations.extend(found.authorization.map(|row| (id, row)));
        }
        let (postings, noted) = self.lock_postings().copy();
        let pools = shared.pools.iter().map(|pool| (pool.currency(), PoolRow { sequence, figures: pool.figures() }));
        Ok(State {
            users: self.users.iter().map(|row| (row.key().clone(), row.value().clone())).collect(),
            authorizations: authorizations.into_iter().collect(),
            answers: answers.into_iter().collect(),
            index,
            pools: pools.collect(),
            postings,
            noted,
            keys: self.lock_keys().clone(),
            shelves: self.lock_shelves().clone(),
            program: ProgramRow {
                sequence,
                program: shared.program.clone(),
                aged: admin.aged,
                at: UnixMillis(self.latest.load(Ordering::Acquire)),
            },
        })
    }
}

/// `None` where it cannot be known any more.
fn known<T>(proof: Result<T, TreeError>) -> Result<Option<T>, StoreError> {
    match proof {
        Ok(proof) => Ok(Some(proof)),
        Err(TreeError::Unknown(_)) => Ok(None),
        Err(TreeError::Hidden(record)) => Err(StoreError::Quarantined(record)),
        Err(TreeError::Store(error)) => Err(error),
    }
}

fn each_decoded(
    visit: &mut dyn FnMut(Sequence, Record) -> ControlFlow<()>,
    read: impl FnOnce(Visit<'_>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut unreadable = None;
    read(&mut |entry| match decoded(&entry) {
        Ok(record) => visit(entry.sequence, record),
        Err(error) => {
            unreadable = Some(error);
            ControlFlow::Break(())
        }
    })?;
    unreadable.map_or(Ok(()), Err)
}
