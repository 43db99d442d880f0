//! Records that are in quarantine.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use crate::ids::Sequence;
pub use crate::store::Original;

/// A person put records into quarantine that could not be read, or not be folded: a stand-in has the place of each
/// ([`crate::store::StandIn`]).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantined {
    /// The first of these records.
    pub first: Sequence,
    /// The last of them.
    pub last: Sequence,
    /// The person's words.
    pub reason: CompactString,
}
