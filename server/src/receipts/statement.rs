//! What is signed: lines that a person can read, each in its place.

use tapgate_engine::time::UnixMillis;
use tapgate_engine::tree::Head;

use crate::signature::Address;

/// Signed by the key of a head.
pub(super) fn of_head(journal: &str, head: &Head, at: UnixMillis, key: Address) -> String {
    format!(
        "tapgate head 1\njournal {journal}\nsize {}\nroot {}\ntime {}\nkey {key}\n",
        head.size,
        hex::encode(head.root),
        at.0
    )
}

/// Signed by the key before, so that who knows that one accepts the new one.
pub(super) fn of_introduction(journal: &str, key: Address) -> String {
    format!("tapgate key 1\njournal {journal}\nkey {key}\n")
}
