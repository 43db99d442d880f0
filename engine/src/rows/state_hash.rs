//! The hash of a state: a sum over its rows. It does not depend on their order, and a changed row changes it by a
//! difference, so whoever keeps it need not read the other rows again.

use std::sync::LazyLock;

use blake3::Hasher;
use blake3::hazmat::{ContextKey, HasherExt, hash_derive_key_context};

use crate::store::RowBytes;

/// The domain of rows. Rows that are written otherwise, or other rows, are another format: only hashes of one are compared.
const ROW: &str = "tapgate 2026-11-29 state: row, format 1";

static ROW_KEY: LazyLock<ContextKey> = LazyLock::new(|| hash_derive_key_context(ROW));

/// 256 bits, the least first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct StateHash([u64; 4]);

impl StateHash {
    pub(super) fn add(&mut self, row: &RowBytes) {
        let mut hasher = Hasher::new_from_context_key(&ROW_KEY);
        hasher.update(&[row.table as u8]);
        hasher.update(&(row.key.len() as u64).to_le_bytes());
        hasher.update(&row.key);
        hasher.update(&row.value);
        let hash = hasher.finalize();
        let (words, _) = hash.as_bytes().as_chunks();
        let mut carry = false;
        for (limb, word) in self.0.iter_mut().zip(words) {
            (*limb, carry) = limb.carrying_add(u64::from_le_bytes(*word), carry);
        }
    }

    pub(super) fn bytes(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (to, limb) in bytes.as_chunks_mut().0.iter_mut().zip(self.0) {
            *to = limb.to_le_bytes();
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Table;

    fn of(rows: &[(&str, &str)]) -> [u8; 32] {
        let mut hash = StateHash::default();
        for (key, value) in rows {
            let (key, value) = (key.as_bytes().to_vec(), value.as_bytes().to_vec());
            hash.add(&RowBytes { table: Table::Users, key, value });
        }
        hash.bytes()
    }

    #[test]
    fn rows_count_in_any_order_and_each_as_often_as_it_is_there() {
        let all = of(&[("a", "1"), ("b", "2"), ("c", "3")]);
        assert_eq!(all, of(&[("c", "3"), ("a", "1"), ("b", "2")]));
        assert_ne!(all, of(&[("a", "1"), ("b", "2")]));
        assert_ne!(all, of(&[("a", "1"), ("b", "2"), ("c", "4")]));
        assert_ne!(of(&[("a", "1")]), of(&[("a", "1"), ("a", "1")]));
        assert_ne!(of(&[("a", "bc")]), of(&[("ab", "c")]));
    }

    #[test]
    fn the_hash_of_a_format_never_changes() {
        let hash = of(&[("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")]);
        let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "8df6a27dcee2937e3d5a27e7faedd390577ef1589f5be5018e69f8c7c42ea860");
    }
}
