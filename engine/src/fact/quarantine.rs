//! Records that are in quarantine.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use super::{Fact, RECORD_VERSION, Record};
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
    /// Whether the rows held what they said by then.
    pub rows: RowsHeld,
    /// The person's words.
    pub reason: CompactString,
}

/// Whether rows hold what a record in quarantine said: then they say more than the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RowsHeld {
    /// None: what it said is forgotten.
    None,
    /// Nobody knows any more: the record that told has been lost itself. What it said is as good as forgotten.
    Unknown,
    /// All: nothing is forgotten.
    All,
}

impl RowsHeld {
    /// Whether rows hold none of it, so that the journal alone still leads to them.
    #[must_use]
    pub fn is_none_of_it(self) -> bool {
        self == RowsHeld::None
    }
}

/// A record in quarantine, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InQuarantine {
    /// What is known of its bytes.
    pub original: Original,
    /// What the bytes say, where they can be decoded. No fold takes it in; its ids are known, and get no second answer.
    pub said: Option<Fact>,
}

impl InQuarantine {
    /// Decodes what is known.
    #[must_use]
    pub fn of(original: Original) -> InQuarantine {
        let said = match &original {
            Original::Written(bytes) if bytes.first() == Some(&RECORD_VERSION) => {
                Record::decode(bytes).ok().map(|record| record.fact)
            }
            Original::Written(_) | Original::Hashed | Original::Lost => None,
        };
        InQuarantine { original, said }
    }
}
