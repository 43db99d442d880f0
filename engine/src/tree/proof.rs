//! Proofs that need no more than themselves and the heads: that a record is under a head, and that one head extends
//! another.
//!
//! Both walk from the top down to one full subtree, and hold the hash beside each step. How the walk turns follows from
//! record and sizes alone, so a proof has one length, and nothing in it says which way it goes.

use super::{Hash, Head, Span, leaf, node, root};

/// On which side of the walk a subtree lies.
#[derive(Clone, Copy)]
enum Side {
    Left,
    Right,
}

/// Records of a tree between its full subtrees' edges: those after `after`, `count` of them.
#[derive(Clone, Copy)]
struct Part {
    after: u64,
    count: u64,
}

impl Part {
    /// The left half, which is full, and what is right of it; `None` for one record.
    fn split(self) -> Option<[Part; 2]> {
        let full = 1 << self.count.checked_sub(1)?.checked_ilog2()?;
        Some([Part { after: self.after, count: full }, Part { after: self.after + full, count: self.count - full }])
    }

    fn hash<E>(self, subtree: &mut dyn FnMut(Span) -> Result<Hash, E>) -> Result<Hash, E> {
        match self.split() {
            Some([left, right]) if !self.count.is_power_of_two() => {
                Ok(node(&left.hash(subtree)?, &right.hash(subtree)?))
            }
            _ => {
                let level = self.count.ilog2();
                #[expect(clippy::cast_possible_truncation, reason = "below 64")]
                subtree(Span { level: level as u8, index: self.after >> level })
            }
        }
    }
}

/// The walk in a tree of `size` towards `record`, until `record` is the last one of what is left, if `to_edge`, or the
/// only one. Each step's other half, from the top down, and what is left.
fn walk(record: u64, size: u64, to_edge: bool) -> (Vec<(Side, Part)>, Part) {
    let (mut steps, mut rest) = (Vec::new(), Part { after: 0, count: size });
    while !(to_edge && rest.after + rest.count == record)
        && let Some([left, right]) = rest.split()
    {
        let is_left = record <= right.after;
        steps.push(if is_left { (Side::Right, right) } else { (Side::Left, left) });
        rest = if is_left { left } else { right };
    }
    (steps, rest)
}

/// Proof that a record is under a head: the hashes beside the way from the record to the top.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inclusion {
    pub path: Vec<Hash>,
}

impl Inclusion {
    /// The proof for a record in the tree of a size, from hashes of full subtrees.
    ///
    /// # Errors
    /// A hash could not be had.
    ///
    /// # Panics
    /// The tree has no such record.
    pub fn of<E>(record: u64, size: u64, subtree: &mut dyn FnMut(Span) -> Result<Hash, E>) -> Result<Inclusion, E> {
        assert!((1..=size).contains(&record), "record {record} in a tree of {size}");
        let (steps, _) = walk(record, size, false);
        let path = steps.into_iter().rev().map(|(_, beside)| beside.hash(subtree)).collect::<Result<_, E>>()?;
        Ok(Inclusion { path })
    }

    /// Whether it proves that the record has these bytes under this head.
    #[must_use]
    pub fn proves(&self, record: u64, payload: &[u8], head: &Head) -> bool {
        if !(1..=head.size).contains(&record) {
            return false;
        }
        let (steps, _) = walk(record, head.size, false);
        let step = |hash: Hash, (beside, (side, _)): (&Hash, &(Side, Part))| match side {
            Side::Left => node(beside, &hash),
            Side::Right => node(&hash, beside),
        };
        let top = self.path.iter().zip(steps.iter().rev()).fold(leaf(record, payload), step);
        self.path.len() == steps.len() && root(head.size, Some(&top)) == head.root
    }
}

/// Proof that the records under an older head are the first ones under a newer head: the hash of the full subtree at
/// the older one's edge, and the hashes beside the way from there to the top.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consistency {
    /// Empty where the older head has no records.
    pub path: Vec<Hash>,
}

impl Consistency {
    /// The proof from one size to another, from hashes of full subtrees.
    ///
    /// # Errors
    /// A hash could not be had.
    ///
    /// # Panics
    /// The older size is the larger one.
    pub fn of<E>(older: u64, newer: u64, subtree: &mut dyn FnMut(Span) -> Result<Hash, E>) -> Result<Consistency, E> {
        assert!(older <= newer, "a tree of {older} records before one of {newer}");
        if older == 0 {
            return Ok(Consistency { path: Vec::new() });
        }
        let (steps, edge) = walk(older, newer, true);
        let beside = steps.into_iter().rev().map(|(_, beside)| beside);
        let path = std::iter::once(edge).chain(beside).map(|part| part.hash(subtree)).collect::<Result<_, E>>()?;
        Ok(Consistency { path })
    }

    /// Whether it proves that `newer` extends `older`.
    #[must_use]
    pub fn proves(&self, older: &Head, newer: &Head) -> bool {
        if older.size > newer.size {
            return false;
        }
        let Some((edge, beside)) = self.path.split_first() else {
            let is_equal = newer.size > 0 || newer.root == older.root;
            return older.size == 0 && older.root == root(0, None) && is_equal;
        };
        let (steps, _) = walk(older.size, newer.size, true);
        let (mut old, mut new) = (*edge, *edge);
        for (beside, (side, _)) in beside.iter().zip(steps.iter().rev()) {
            match side {
                Side::Left => (old, new) = (node(beside, &old), node(beside, &new)),
                Side::Right => new = node(&new, beside),
            }
        }
        older.size > 0
            && beside.len() == steps.len()
            && root(older.size, Some(&old)) == older.root
            && root(newer.size, Some(&new)) == newer.root
    }
}
