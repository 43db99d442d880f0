//! What makes the feeds ask UR about an account before its turn.

use tapgate_engine::ids::UrId;
use tapgate_engine::time::UnixMillis;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// UR reported that the account changed.
    Changed(UrId),
    /// UR did not hear the answer to a request about the account, and may have decided it either way.
    Unheard {
        user: UrId,
        /// When the request came.
        since: UnixMillis,
    },
}
