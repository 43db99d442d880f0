//! The bounds of what readers of the journal keep in it.

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
