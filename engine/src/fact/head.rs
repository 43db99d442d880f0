//! Heads of the tree that were signed: what others keep, to compare the journal with.

use serde::{Deserialize, Serialize};

use crate::time::UnixMillis;
use crate::tree::{Hash, Head};

/// The longest signature, in bytes.
pub const SIGNATURE_BYTES_MAX: usize = 65;

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
    /// Where the signer is not that of the head before: that one's signature over the new address, if it gave one.
    pub introduction: Option<Vec<u8>>,
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
