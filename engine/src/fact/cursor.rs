//! Bounds of the journal readers' data, and the one name among theirs that is the engine's.

use compact_str::CompactString;

/// The name under which the last signed head is kept, as if its signer read the journal.
pub static HEADS: CompactString = CompactString::const_new("signed heads");

/// The longest reader name, in bytes.
pub const NAME_BYTES_MAX: usize = 64;

/// The longest position, in bytes: every move writes it again.
pub const POSITION_BYTES_MAX: usize = 16 * 1024;

/// The longest message name, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 64;

/// The longest reason, in bytes: a paragraph.
pub const REASON_BYTES_MAX: usize = 1_024;

/// Maximum cursors, including those of retired readers.
pub const CURSORS_MAX: usize = 1_024;
