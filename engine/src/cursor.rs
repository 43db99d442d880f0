//! Cursors: how far readers of the journal are, kept in the journal itself.
//!
//! What sends the journal's records elsewhere must go on where it stopped, wherever it is started next. So its position
//! is a record like any other: it is recovered, verified and copied with them.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use crate::ids::Sequence;

/// The longest name of a reader, in bytes.
pub const NAME_BYTES_MAX: usize = 64;
/// The longest position kept, in bytes: it is written again whenever it moves.
pub const POSITION_BYTES_MAX: usize = 16 * 1024;
/// The longest name of a message kept, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 64;
/// The longest reason kept, in bytes: a paragraph.
pub const REASON_BYTES_MAX: usize = 1_024;
/// Most cursors kept; those of readers that are gone stay.
pub const CURSORS_MAX: usize = 1_024;

/// One reader's place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// The last record folded into this row.
    pub sequence: Sequence,
    /// The reader.
    pub name: CompactString,
    /// As the reader wrote it.
    pub position: Vec<u8>,
}
