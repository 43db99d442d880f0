//! Going on after a journal has lost its end.

use std::sync::Arc;

use compact_str::CompactString;

use super::{RecoveryError, recover};
use crate::fact::{Author, Fact, LOSS_REASON_BYTES_MAX, LOST_RECORDS_MAX, LossAccepted, Record};
use crate::ids::Sequence;
use crate::store::{Entry, Store, StoreError};
use crate::time::UnixMillis;

/// A loss was not accepted; nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AcceptError {
    /// The journal that is left is not whole: rows ahead of it, too, are a matter of a backup.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No reason, or a long one.
    #[error("the reason has 1 to {LOSS_REASON_BYTES_MAX} bytes")]
    Reason,
    /// The journal is an older copy.
    #[error(
        "records {first} to {last} would be lost, more than {LOST_RECORDS_MAX}: this journal is an older copy; put back a \
         backup that reaches further"
    )]
    TooMuch {
        /// The first lost record.
        first: Sequence,
        /// The last lost record.
        last: Sequence,
    },
}

/// Lets the journal go on after `known`, the last record that anybody knows of. Each lost record's place is taken by one
/// that says so, and the record after them names the loss; all of them in one write, stamped with `now` or the last
/// record's time, if that is later. Returns what was recorded, and its own place.
///
/// # Errors
/// See [`AcceptError`].
pub fn accept_loss(
    store: &Arc<dyn Store>,
    known: Sequence,
    author: &Author,
    now: UnixMillis,
    reason: &str,
) -> Result<(LossAccepted, Sequence), AcceptError> {
    if !(1..=LOSS_REASON_BYTES_MAX).contains(&reason.len()) {
        return Err(AcceptError::Reason);
    }
    let recovered = recover(store)?;
    let (first, last) = (recovered.head.next(), known.max(recovered.head));
    if last.0 - recovered.head.0 > LOST_RECORDS_MAX {
        return Err(AcceptError::TooMuch { first, last });
    }
    let loss = LossAccepted { first, last, reason: CompactString::from(reason) };
    let at = now.max(recovered.state.latest());
    let record = |fact| Record { at, author: author.clone(), fact }.encode();
    let (lost, accepted) = (record(Fact::RecordLost), record(Fact::LossAccepted(Box::new(loss.clone()))));
    let (mut frontier, mut entries, mut completed) = (recovered.frontier, Vec::new(), Vec::new());
    let payloads = (first.0..=last.0).map(|_| lost.clone()).chain([accepted]);
    for payload in payloads {
        let (entry, leaf) = Entry::new(Sequence(frontier.size()).next(), payload);
        frontier.append(leaf, |node| completed.push(node));
        entries.push(entry);
    }
    store.append(&entries, &completed)?;
    store.sync_head()?;
    Ok((loss, Sequence(frontier.size())))
}
