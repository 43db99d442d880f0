//! Heads of the tree that were signed: what others keep, to compare the journal with.

use serde::{Deserialize, Serialize};

use crate::time::UnixMillis;
use crate::tree::{Hash, Head};

/// The longest signature, in bytes.
pub const SIGNATURE_BYTES_MAX: usize = 65;

/// Most keys that a head introduces: a new key each year for longer than a journal is kept.
pub const INTRODUCTIONS_MAX: usize = 16;

/// A head that was signed and published. The engine keeps it and checks nothing: keys are others' business.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeadSigned {
    /// How many records it covers: at most those before this one.
    pub size: u64,
    pub root: Hash,
    /// When it was signed, as the signature says.
    pub signed_at: UnixMillis,
    /// The signer's address.
    pub signer: [u8; 20],
    pub signature: Vec<u8>,
    /// The head that was signed before.
    pub older: Option<(u64, Hash)>,
    /// Keys that the one before them introduced, the oldest first, up to the signer's: who knows one of them knows the
    /// signer.
    pub introductions: Vec<Introduction>,
}

/// A key, and the signature of the one before over its address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Introduction {
    pub key: [u8; 20],
    pub signature: Vec<u8>,
}

impl HeadSigned {
    /// What was signed.
    #[must_use]
    pub fn head(&self) -> Head {
        Head { size: self.size, root: self.root }
    }

    /// The head that was signed before it.
    #[must_use]
    pub fn older(&self) -> Option<Head> {
        self.older.map(|(size, root)| Head { size, root })
    }
}
