//! Bounds of the journal readers' data.

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
