//! The Merkle tree over the journal's records.
//!
//! Its leaves are the records' hashes by sequence, its shape is that of RFC 6962: of two subtrees the left one is full.
//! So the tree of a size depends on the records up to it and on nothing else, and how they were grouped when they were
//! appended never shows. A [`Frontier`] is all that appending needs; what proofs need besides are the hashes of full
//! subtrees, of which the store keeps those over [`TILE_RECORDS`] and more ([`Node`]).
//!
//! Three hashes by BLAKE3, each in a domain of its own, so that none can be taken for another: of a leaf, over the
//! record's sequence and bytes; of a node, over exactly two hashes; of a root, over the size and the hash at the top. A
//! root commits to its size, so a proof under another size fails, even where both trees have the same shape.

mod proof;
#[cfg(test)]
mod tests;

pub use proof::{Consistency, Inclusion};

use std::sync::LazyLock;

use blake3::Hasher;
use blake3::hazmat::{ContextKey, HasherExt, hash_derive_key_context};

/// A hash in the tree.
pub type Hash = [u8; 32];

/// The first bytes of a leaf's hash: what is stored beside each record, to locate one that is not what was written.
pub type LeafPart = [u8; 8];

/// The level of tiles, the smallest subtrees whose hashes are stored.
pub const TILE_LEVEL: u8 = 8;

/// Records under a tile.
pub const TILE_RECORDS: u64 = 1 << TILE_LEVEL;

/// The domain of leaves. These texts are part of every hash: they never change.
const LEAF: &str = "tapgate 2026-11-29 journal tree: leaf";

const NODE: &str = "tapgate 2026-11-29 journal tree: node";

const ROOT: &str = "tapgate 2026-11-29 journal tree: root";

static LEAF_KEY: LazyLock<ContextKey> = LazyLock::new(|| hash_derive_key_context(LEAF));

static NODE_KEY: LazyLock<ContextKey> = LazyLock::new(|| hash_derive_key_context(NODE));

static ROOT_KEY: LazyLock<ContextKey> = LazyLock::new(|| hash_derive_key_context(ROOT));

fn hashed(key: &ContextKey, parts: [&[u8]; 2]) -> Hash {
    let mut hasher = Hasher::new_from_context_key(key);
    for part in parts {
        hasher.update(part);
    }
    *hasher.finalize().as_bytes()
}

/// The hash of a record: its sequence and its bytes.
#[must_use]
pub fn leaf(record: u64, payload: &[u8]) -> Hash {
    hashed(&LEAF_KEY, [&record.to_be_bytes(), payload])
}

/// The part of a leaf's hash that is stored beside its record.
#[must_use]
pub fn leaf_part(leaf: &Hash) -> LeafPart {
    let [a, b, c, d, e, f, g, h, ..] = *leaf;
    [a, b, c, d, e, f, g, h]
}

/// The hash over two subtrees.
pub(crate) fn node(left: &Hash, right: &Hash) -> Hash {
    hashed(&NODE_KEY, [left, right])
}

/// The root of a size whose subtrees have this hash at their top; of no records it is a hash over the size alone.
fn root(size: u64, top: Option<&Hash>) -> Hash {
    hashed(&ROOT_KEY, [&size.to_be_bytes(), top.map_or(&[], |top| top)])
}

/// A full subtree: 2^`level` records, the `index`-th of its level counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    pub level: u8,
    pub index: u64,
}

impl Span {
    /// The tile of a record.
    ///
    /// # Panics
    /// There is no record 0.
    #[must_use]
    pub fn tile_of(record: u64) -> Span {
        Span { level: TILE_LEVEL, index: (record - 1) >> TILE_LEVEL }
    }

    /// The first record under it.
    #[must_use]
    pub fn first(self) -> u64 {
        (self.index << self.level) + 1
    }

    /// The last record under it: the size of the tree that it completes.
    #[must_use]
    pub fn last(self) -> u64 {
        (self.index + 1) << self.level
    }

    /// Its two halves; `None` for one record.
    #[must_use]
    pub fn halves(self) -> Option<[Span; 2]> {
        let level = self.level.checked_sub(1)?;
        Some([0, 1].map(|half| Span { level, index: self.index * 2 + half }))
    }

    /// The one beside it, where it is a right half.
    pub(crate) fn left_sibling(self) -> Option<Span> {
        self.is_right().then(|| Span { level: self.level, index: self.index - 1 })
    }

    pub(crate) fn parent(self) -> Span {
        Span { level: self.level + 1, index: self.index / 2 }
    }

    fn is_right(self) -> bool {
        self.index % 2 == 1
    }

    /// The full subtrees that a tree of this size consists of, from the left: one for each bit of the size.
    fn all_of(size: u64) -> impl Iterator<Item = Span> {
        (0..64).rev().filter_map(move |level| {
            let full = size >> level;
            (full % 2 == 1).then(|| Span { level, index: full - 1 })
        })
    }
}

/// A full subtree with its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    pub span: Span,
    pub hash: Hash,
}

/// A size and its root: what is published, signed and compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub size: u64,
    pub root: Hash,
}

/// The right edge of a tree: the hashes of the full subtrees that it consists of. Enough to append.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    /// From the left, which is the largest first.
    subtrees: Vec<Hash>,
}

impl Frontier {
    /// The frontier of a size, from the hashes of its full subtrees.
    ///
    /// # Errors
    /// A hash could not be had.
    pub fn of<E>(size: u64, subtree: &mut dyn FnMut(Span) -> Result<Hash, E>) -> Result<Frontier, E> {
        Ok(Frontier { size, subtrees: Span::all_of(size).map(subtree).collect::<Result<_, E>>()? })
    }

    /// How many records it covers: the sequence of the last.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends the next record's leaf. `completed` is given each node that it completes and that is stored: the tile and
    /// what is above.
    ///
    /// # Panics
    /// The hashes are not those of the size: the tree is broken.
    pub fn append(&mut self, leaf: Hash, completed: impl FnMut(Node)) {
        self.append_subtree(0, leaf, completed);
    }

    /// Appends a tile as a whole, after full tiles. `completed` is given what it completes above.
    ///
    /// # Panics
    /// The last tile is not full.
    pub fn append_tile(&mut self, hash: Hash, completed: impl FnMut(Node)) {
        self.append_subtree(TILE_LEVEL, hash, completed);
    }

    fn append_subtree(&mut self, level: u8, hash: Hash, mut completed: impl FnMut(Node)) {
        let (mut span, mut hash) = (Span { level, index: self.size >> level }, hash);
        while span.is_right()
            && let Some(left) = self.subtrees.pop()
        {
            (span, hash) = (span.parent(), node(&left, &hash));
            if span.level >= TILE_LEVEL {
                completed(Node { span, hash });
            }
        }
        self.subtrees.push(hash);
        self.size += 1 << level;
        assert!(self.subtrees.len() == self.size.count_ones() as usize, "a subtree for each bit of {}", self.size);
    }

    /// The size and its root.
    #[must_use]
    pub fn head(&self) -> Head {
        let top = self.subtrees.iter().rev().copied().reduce(|right, left| node(&left, &right));
        Head { size: self.size, root: root(self.size, top.as_ref()) }
    }

    /// The hash of one of the full subtrees that it consists of; `None` for another.
    #[must_use]
    pub fn subtree(&self, span: Span) -> Option<Hash> {
        self.nodes().find_map(|node| (node.span == span).then_some(node.hash))
    }

    /// The nodes that it consists of.
    pub fn nodes(&self) -> impl Iterator<Item = Node> {
        Span::all_of(self.size).zip(&self.subtrees).map(|(span, hash)| Node { span, hash: *hash })
    }

    /// The bytes of a frontier: size, hashes, and a hash of both.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.size.to_be_bytes().to_vec();
        bytes.extend(self.subtrees.as_flattened());
        bytes.extend(checksum(&bytes));
        bytes
    }

    /// Reads the bytes; `None` where they are not a frontier's.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Frontier> {
        let (summed, sum) = bytes.split_last_chunk()?;
        let (size, hashes) = summed.split_first_chunk()?;
        let ((subtrees, []), size) = (hashes.as_chunks(), u64::from_be_bytes(*size)) else { return None };
        let fits = *sum == checksum(summed) && subtrees.len() == size.count_ones() as usize;
        fits.then(|| Frontier { size, subtrees: subtrees.to_vec() })
    }
}

/// Finds damage; proves nothing.
pub(crate) fn checksum(bytes: &[u8]) -> [u8; 8] {
    leaf_part(blake3::hash(bytes).as_bytes())
}
