//! Records that the journal has lost.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use crate::ids::Sequence;

/// The longest reason for accepting a loss, or for a quarantine, in bytes.
pub const LOSS_REASON_BYTES_MAX: usize = 1_024;

/// The most records that may be accepted as lost, or be put into quarantine, at once: ten seconds of more than any journal appends, and then some. A
/// journal that lost more is an older copy, whose place is taken by a backup.
pub const LOST_RECORDS_MAX: u64 = 1 << 22;

/// The journal goes on after the last record that anybody knows of: those that it has lost keep their places, so that a
/// receipt's or a receiver's number never names another record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LossAccepted {
    /// The first lost record.
    pub first: Sequence,
    /// The last lost record; before `first` where none is known to be lost.
    pub last: Sequence,
    /// The person's words.
    pub reason: CompactString,
}
