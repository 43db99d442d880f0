//! Start: rows, then the records after them. And the proof that both ways to the state agree.

mod loss;
mod quarantine;

pub use loss::{AcceptError, Loss};
pub use quarantine::{Quarantine, QuarantineError};

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::fact::{Fact, Record, RecordError};
use crate::ids::Sequence;
use crate::rows::index::{Index, entry_bytes};
use crate::rows::{FoldError, State};
use crate::store::{Entry, Leaf, Store, StoreError, StoredTree, Table};
use crate::tree::{Frontier, Hash, Node, Span, TILE_LEVEL};

/// The state could not be recovered; nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecoveryError {
    /// The store failed or is corrupt.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The disk has changed or lost where a record is.
    #[error("record {sequence} cannot be read: {error}; where there is none, see `tapgate journal quarantine`")]
    Unreadable {
        /// The record.
        sequence: Sequence,
        /// What the store says.
        error: StoreError,
    },
    /// A record is missing.
    #[error(
        "the journal has no record {0}: records are missing in its middle; restore a backup; where there is none, see `tapgate journal quarantine`"
    )]
    Gap(Sequence),
    /// A record's bytes, or their order, are not what was written.
    #[error(
        "record {0} does not fit its hash: it is not what was written; restore a backup; where there is none, see `tapgate journal quarantine`"
    )]
    Altered(Sequence),
    /// A stand-in that no later record tells of.
    #[error("record {0} is in quarantine, and no record says who put it there: restore a backup")]
    Unnamed(Sequence),
    /// A stored node of the tree is missing, or is not the hash of the records under it.
    #[error(
        "records {} to {} do not fit the tree's hash of them, or it is missing; restore a backup", .0.first(), .0.last()
    )]
    Tree(Span),
    /// The frontier stored with the watermark is not that of the records up to it.
    #[error("the records up to the watermark {0} do not fit the tree's frontier stored with it; restore a backup")]
    Frontier(Sequence),
    /// A record cannot be read.
    #[error("record {0}: {1}; where no version and no backup helps, see `tapgate journal quarantine`")]
    Record(Sequence, RecordError),
    /// A record cannot be folded: it is intact, and yet no ledger wrote it.
    #[error(
        "record {sequence} breaks a rule that every journal keeps ({reason}); report this, and restore a backup; where there \
         is none, see `tapgate journal quarantine`"
    )]
    Illegal {
        /// The record.
        sequence: Sequence,
        /// What it would break.
        reason: String,
    },
    /// The index of ids has lost or altered an entry.
    #[error(
        "the index of ids does not have the entries that were counted: build it again with `tapgate journal reindex`"
    )]
    Index,
    /// The index cannot be built from the journal: it would lose ids, and they would be decided anew.
    #[error(
        "record {0} is in quarantine, and rows alone hold what it said: an index built without it would forget its ids"
    )]
    RowsAlone(Sequence),
    /// The rows claim records that the journal does not hold.
    #[error(
        "the rows hold records up to {watermark}, the journal ends at {head}: it has lost its end, or the two are not of \
         one directory; put both back from one backup, and check it with `tapgate journal verify`"
    )]
    Ahead {
        /// What the rows hold.
        watermark: Sequence,
        /// The journal's last record.
        head: Sequence,
    },
}

impl From<FoldError> for RecoveryError {
    fn from(error: FoldError) -> RecoveryError {
        match error {
            FoldError::Store(error) => RecoveryError::Store(error),
            FoldError::Illegal { sequence, reason } => RecoveryError::Illegal { sequence, reason },
        }
    }
}

/// Records that are read before they are folded: their decoded form stays in the processor's cache.
const BATCH: usize = 64;

/// A recovered state.
#[derive(Debug)]
pub struct Recovered {
    /// Rows and the records after them.
    pub state: State,
    /// How many records were folded.
    pub records_folded: u64,
    /// The journal's last record.
    pub head: Sequence,
    /// The tree's frontier at it.
    pub frontier: Frontier,
    /// What the rows on disk held.
    pub watermark: Sequence,
}

/// Reads the rows and folds the records after the watermark, each row by itself from where it stands.
///
/// # Errors
/// The store cannot be read, or what it holds is not what was written: nothing is guessed.
pub fn recover(store: &Arc<dyn Store>) -> Result<Recovered, RecoveryError> {
    let kept = store.frontier()?;
    let (head, watermark) = (store.head()?, Sequence(kept.size()));
    if watermark > head {
        return Err(RecoveryError::Ahead { watermark, head });
    }
    let mut state = State::load(&**store)?;
    let newest = state.newest_row();
    if newest > head {
        return Err(RecoveryError::Ahead { watermark: newest, head });
    }
    check_nodes(&**store, kept.nodes())?;
    let (mut records_folded, mut quarantined) = (0, BTreeSet::new());
    let mut batch = Vec::with_capacity(BATCH);
    let walked = walk(&**store, kept, &mut |sequence, record| {
        if let Some(lost) = builds_on(&mut quarantined, sequence, &record.fact) {
            return Err(FoldError::illegal(
                sequence,
                &format_args!("it builds on record {lost}, which is in quarantine"),
            ));
        }
        records_folded += 1;
        batch.push((sequence, record));
        if batch.len() < BATCH {
            return Ok(());
        }
        let folded = state.fold_later(&batch, &**store);
        batch.clear();
        folded
    });
    // Before a record that cannot be read: the first fault is the one to name.
    state.fold_later(&batch, &**store)?;
    let frontier = walked?;
    Ok(Recovered { state, records_folded, head, frontier, watermark })
}

/// What an offline verification found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verification {
    /// The journal's last record.
    pub head: Sequence,
    /// The tree's root at it.
    pub root: Hash,
    /// What the rows on disk hold.
    pub watermark: Sequence,
    /// Records in quarantine.
    pub quarantined: u64,
    /// Whether rows hold, or may hold, what some of them said, so that the journal alone no longer leads to the rows.
    pub rows_hold_more: bool,
    /// The hash of the whole journal's fold; `None` where it cannot be folded without what is in quarantine.
    pub state_hash_journal: Option<[u8; 32]>,
    /// The hash of the rows and the records after them.
    pub state_hash_rows: [u8; 32],
    /// Users, authorizations, answers, pools: of the journal's fold.
    pub counts: Option<[usize; 4]>,
}

impl Verification {
    /// Whether both ways lead to the same state. With records in quarantine they may not.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        self.state_hash_journal == Some(self.state_hash_rows)
    }
}

/// Folds the whole journal from its first record, computing the whole tree and comparing every stored hash with it, and
/// compares the state with the rows and the records after them.
///
/// # Errors
/// The store cannot be read, a hash does not fit, or a record cannot be read.
pub fn verify(store: &Arc<dyn Store>) -> Result<Verification, RecoveryError> {
    let Whole { folded, quarantined, rows_hold_more, frontier } = whole(&**store)?;
    let head = frontier.head();
    let Recovered { state: mut rows, watermark, .. } = recover(store)?;
    rows.load_rest(&**store)?;
    if !rows.index_fits() {
        return Err(RecoveryError::Index);
    }
    Ok(Verification {
        head: Sequence(head.size),
        root: head.root,
        watermark,
        quarantined,
        rows_hold_more,
        state_hash_journal: folded.as_ref().map(State::hash).transpose()?,
        state_hash_rows: rows.hash()?,
        counts: folded.as_ref().map(State::counts),
    })
}

/// Builds the index of ids again from the journal, and returns the number of its entries.
///
/// # Errors
/// As for [`verify`], or the store cannot be written; or the rows held a record that is in quarantine: the index would lose
/// its ids, and they would be decided anew.
pub fn reindex(store: &dyn Store) -> Result<usize, RecoveryError> {
    let kept = store.frontier()?;
    let (mut index, mut rows_alone) = (Index::empty(store), None);
    walk(store, Frontier::default(), &mut |sequence, record| {
        // Later records are folded at every start, until their rows are written.
        if sequence.0 <= kept.size() {
            index.apply(sequence, &record.fact);
        }
        if let Fact::Quarantined(named) = &record.fact
            && !named.rows.is_none_of_it()
        {
            rows_alone = Some(named.first);
        }
        Ok(())
    })?;
    if let Some(sequence) = rows_alone {
        return Err(RecoveryError::RowsAlone(sequence));
    }
    let mut stored = Vec::new();
    store.rows(Table::Ids, &mut |key, _| {
        stored.push(key.to_vec());
        Ok(())
    })?;
    store.delete_rows(Table::Ids, &stored)?;
    let entries: Vec<_> = index.entries().into_iter().map(|(key, sequence)| entry_bytes(key, sequence)).collect();
    store.put_rows(&entries)?;
    store.write_rows(&[index.counted(Sequence(kept.size())).encode()?], &kept)?;
    Ok(entries.len())
}

/// Counts the entries of the index of ids anew, once every row is written: a record that replaced the entry of one in
/// quarantine was counted as if that had been there.
///
/// # Errors
/// The store cannot be read or written.
pub fn recount(store: &dyn Store) -> Result<(), RecoveryError> {
    let (mut index, kept) = (Index::empty(store), store.frontier()?);
    index.load_rest(store)?;
    store.write_rows(&[index.counted(Sequence(kept.size())).encode()?], &kept)?;
    Ok(())
}

/// The fold of the whole journal, to compare with a ledger's memory.
///
/// # Errors
/// As for [`verify`].
#[cfg(feature = "testing")]
pub fn folded(store: &Arc<dyn Store>) -> Result<State, RecoveryError> {
    whole(&**store).map(|whole| whole.folded.unwrap_or_else(|| State::empty(&**store)))
}

/// The whole journal.
struct Whole {
    /// Its fold; `None` where it needs what is in quarantine.
    folded: Option<State>,
    quarantined: u64,
    /// Whether the rows held some of that.
    rows_hold_more: bool,
    frontier: Frontier,
}

fn whole(store: &dyn Store) -> Result<Whole, RecoveryError> {
    let (mut folded, mut quarantined, mut rows_hold_more) = (Ok(State::empty(store)), 0, false);
    let frontier = walk(store, Frontier::default(), &mut |sequence, record| {
        match &record.fact {
            Fact::RecordQuarantined(_) => quarantined += 1,
            Fact::Quarantined(named) => rows_hold_more |= !named.rows.is_none_of_it(),
            _ => {}
        }
        let Ok(state) = &mut folded else { return Ok(()) };
        match state.fold(sequence, &record) {
            // Whether that is for want of a record in quarantine is told later.
            Err(error @ FoldError::Illegal { .. }) if quarantined > 0 => folded = Err(error),
            other => return other,
        }
        Ok(())
    })?;
    let folded = match folded {
        Ok(state) => Some(state),
        Err(_) if rows_hold_more => None,
        Err(error) => return Err(error.into()),
    };
    Ok(Whole { folded, quarantined, rows_hold_more, frontier })
}

/// Compares nodes with the stored ones, of the levels that are stored.
fn check_nodes(store: &dyn Store, nodes: impl IntoIterator<Item = Node>) -> Result<(), RecoveryError> {
    for Node { span, hash } in nodes {
        if span.level >= TILE_LEVEL && store.node(span)? != Some(hash) {
            return Err(RecoveryError::Tree(span));
        }
    }
    Ok(())
}

/// Visits the records after the frontier, checking that none is missing, that each fits its hash, that every hash of the
/// tree stored with them is theirs, and that of each in quarantine a later one tells. Returns the frontier at the last.
fn walk(
    store: &dyn Store,
    frontier: Frontier,
    visit: &mut dyn FnMut(Sequence, Record) -> Result<(), FoldError>,
) -> Result<Frontier, RecoveryError> {
    let mut unnamed = BTreeSet::new();
    let frontier = walk_unnamed(store, frontier, &mut |sequence, record| {
        take_names(&mut unnamed, sequence, &record.fact);
        visit(sequence, record)
    })?;
    unnamed.first().map_or(Ok(frontier), |sequence| Err(RecoveryError::Unnamed(*sequence)))
}

/// Notes a record in quarantine, of which a later one is to tell, and what this one tells of.
fn take_names(unnamed: &mut BTreeSet<Sequence>, sequence: Sequence, fact: &Fact) {
    match fact {
        Fact::RecordQuarantined(_) => drop(unnamed.insert(sequence)),
        Fact::Quarantined(named) => unnamed.retain(|sequence| !(named.first..=named.last).contains(sequence)),
        _ => {}
    }
}

/// Notes a record in quarantine, and says which one this builds on: what it changes was never there.
fn builds_on(quarantined: &mut BTreeSet<Sequence>, sequence: Sequence, fact: &Fact) -> Option<Sequence> {
    if let Fact::RecordQuarantined(_) = fact {
        quarantined.insert(sequence);
        return None;
    }
    if quarantined.is_empty() {
        return None;
    }
    fact.indexed().map(|entry| entry.before).find(|before| quarantined.contains(before))
}

/// As [`walk`], whoever put a record into quarantine.
fn walk_unnamed(
    store: &dyn Store,
    mut frontier: Frontier,
    visit: &mut dyn FnMut(Sequence, Record) -> Result<(), FoldError>,
) -> Result<Frontier, RecoveryError> {
    let (after, kept, mut completed) = (Sequence(frontier.size()), store.frontier()?, Vec::new());
    // Whether the frontier misses what only a hash stored over it tells.
    let mut is_blind = false;
    let mut step = |entry: Entry<&[u8]>| {
        let (sequence, expected) = (entry.sequence, Sequence(frontier.size()).next());
        if sequence != expected {
            return Err(RecoveryError::Gap(expected));
        }
        let leaf = match entry.leaf_hash().ok_or(RecoveryError::Altered(sequence))? {
            Leaf::Known(leaf) => leaf,
            Leaf::Hidden(own) => {
                is_blind = true;
                own
            }
        };
        frontier.append(leaf, |node| completed.push(node));
        if is_blind && let Some(stored) = stored_frontier(store, &kept, sequence, &mut completed)? {
            (frontier, is_blind) = (stored, false);
        }
        check_nodes(store, completed.drain(..))?;
        if frontier.size() == kept.size() && frontier != kept {
            return Err(RecoveryError::Frontier(sequence));
        }
        let record = Record::decode(entry.payload).map_err(|error| RecoveryError::Record(sequence, error))?;
        visit(sequence, record).map_err(RecoveryError::from)
    };
    let mut outcome = Ok(());
    let read = store.read(after, &mut |entry| {
        outcome = step(entry);
        if outcome.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    match read {
        Err(error @ StoreError::Corrupt(_)) => {
            Err(RecoveryError::Unreadable { sequence: Sequence(frontier.size()).next(), error })
        }
        read => {
            read?;
            outcome?;
            // What hides a hash is put beneath one that is stored, and the two belong together.
            if is_blind { Err(RecoveryError::Tree(Span::tile_of(frontier.size()))) } else { Ok(frontier) }
        }
    }
}

/// The frontier at a record, from hashes that were stored when the records before it could still be read: with the
/// watermark, or of the tile that ends here; and the nodes that this tile completes, which the records do not tell.
fn stored_frontier(
    store: &dyn Store,
    kept: &Frontier,
    at: Sequence,
    completed: &mut Vec<Node>,
) -> Result<Option<Frontier>, RecoveryError> {
    if kept.size() == at.0 {
        completed.clear();
        return Ok(Some(kept.clone()));
    }
    let tile = Span::tile_of(at.0);
    if tile.last() != at.0 {
        return Ok(None);
    }
    completed.clear();
    let hash = store.node(tile)?.ok_or(RecoveryError::Tree(tile))?;
    let mut frontier = StoredTree::of(store)?.frontier(Sequence(tile.first() - 1)).map_err(StoreError::from)?;
    frontier.append_tile(hash, |node| completed.push(node));
    Ok(Some(frontier))
}
