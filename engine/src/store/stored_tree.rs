//! The tree over the records in a store: frontiers and proofs, from stored nodes and from the records of a tile.

use std::ops::ControlFlow;

use super::{Leaf, Store, StoreError};
use crate::ids::Sequence;
use crate::tree::{Consistency, Frontier, Hash, Inclusion, Span, TILE_LEVEL, node};

/// A hash of the tree could not be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// The store failed or is corrupt.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Records under a subtree are no longer kept, or not there yet, and no frontier was given that covers them.
    #[error("the tree's hash of records {} to {} is not known: not all of them are kept", .0.first(), .0.last())]
    Unknown(Span),
    /// The hash of a record under a subtree is not known.
    #[error("a hash of the tree is not known: record {0} under it is in quarantine")]
    Hidden(Sequence),
}

impl From<TreeError> for StoreError {
    fn from(error: TreeError) -> StoreError {
        match error {
            TreeError::Store(error) => error,
            TreeError::Unknown(_) | TreeError::Hidden(_) => StoreError::Corrupt(error.to_string()),
        }
    }
}

/// The tree over a store's records.
///
/// Hashes of tiles and above are stored for ever. Those below come from the tile's records; where some were deleted,
/// from a frontier of a size within that tile. The watermark's is always at hand, others are given.
pub struct StoredTree<'a> {
    store: &'a dyn Store,
    frontiers: Vec<Frontier>,
}

impl<'a> StoredTree<'a> {
    /// The tree over these records.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn of(store: &'a dyn Store) -> Result<StoredTree<'a>, StoreError> {
        Ok(StoredTree { store, frontiers: vec![store.frontier()?] })
    }

    /// Takes hashes from a frontier of this tree, too.
    #[must_use]
    pub fn with(mut self, frontier: Frontier) -> StoredTree<'a> {
        self.frontiers.push(frontier);
        self
    }

    /// The frontier at a record.
    ///
    /// # Errors
    /// A hash is not known.
    pub fn frontier(&self, at: Sequence) -> Result<Frontier, TreeError> {
        Frontier::of(at.0, &mut |span| self.subtree(span))
    }

    /// The proof that a record is in the tree at another.
    ///
    /// # Errors
    /// A hash is not known.
    ///
    /// # Panics
    /// The tree at `at` has no such record.
    pub fn inclusion(&self, record: Sequence, at: Sequence) -> Result<Inclusion, TreeError> {
        Inclusion::of(record.0, at.0, &mut |span| self.subtree(span))
    }

    /// The proof that the tree at a record extends the one at an older record.
    ///
    /// # Errors
    /// A hash is not known.
    ///
    /// # Panics
    /// The older record is the newer one.
    pub fn consistency(&self, older: Sequence, newer: Sequence) -> Result<Consistency, TreeError> {
        Consistency::of(older.0, newer.0, &mut |span| self.subtree(span))
    }

    /// Compares a full tile's records, and the hashes above it that it completes, with what is stored of them.
    ///
    /// # Errors
    /// They are not what was written, are no longer kept, or one is in quarantine.
    pub fn check_tile(&self, index: u64) -> Result<(), TreeError> {
        let mut span = Span { level: TILE_LEVEL, index };
        let mut hash = self.of_records(span)?;
        loop {
            if self.store.node(span)? != Some(hash) {
                let (first, last) = (span.first(), span.last());
                return Err(StoreError::Corrupt(format!(
                    "records {first} to {last} do not fit the tree's hash of them"
                ))
                .into());
            }
            let Some(left) = span.left_sibling() else { return Ok(()) };
            let beside = self.store.node(left)?.ok_or(TreeError::Unknown(left))?;
            (span, hash) = (span.parent(), node(&beside, &hash));
        }
    }

    fn subtree(&self, span: Span) -> Result<Hash, TreeError> {
        if let Some(hash) = self.frontiers.iter().find_map(|frontier| frontier.subtree(span)) {
            return Ok(hash);
        }
        if span.level >= TILE_LEVEL {
            return self.store.node(span)?.ok_or(TreeError::Unknown(span));
        }
        // A frontier's edge inside may be the only trace of the records before it.
        let has_edge = |size: u64| size >= span.first() && size < span.last();
        match span.halves() {
            Some([left, right]) if self.frontiers.iter().any(|frontier| has_edge(frontier.size())) => {
                Ok(node(&self.subtree(left)?, &self.subtree(right)?))
            }
            _ => self.of_records(span),
        }
    }

    /// The hash over records, each of which is checked by its stored part.
    fn of_records(&self, span: Span) -> Result<Hash, TreeError> {
        let (mut tree, mut altered, mut hidden) = (Frontier::default(), None, None);
        let mut next = Sequence(span.first());
        self.store.read(Sequence(span.first() - 1), &mut |entry| {
            if entry.sequence != next {
                return ControlFlow::Break(());
            }
            let leaf = match entry.leaf_hash() {
                Some(Leaf::Known(leaf)) => leaf,
                // The others are checked all the same.
                Some(Leaf::Hidden(own)) => {
                    hidden.get_or_insert(entry.sequence);
                    own
                }
                None => {
                    altered = Some(entry.sequence);
                    return ControlFlow::Break(());
                }
            };
            tree.append(leaf, |_| {});
            next = next.next();
            if next.0 > span.last() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        if let Some(sequence) = altered {
            return Err(StoreError::Corrupt(format!("record {sequence} is not what was written")).into());
        }
        let is_whole = next.0 > span.last();
        let top = tree.nodes().next().filter(|_| is_whole).ok_or(TreeError::Unknown(span))?;
        hidden.map_or(Ok(top.hash), |hidden| Err(TreeError::Hidden(hidden)))
    }
}
