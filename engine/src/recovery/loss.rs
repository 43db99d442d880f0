//! Going on after a journal has lost its end.

use std::sync::Arc;

use compact_str::CompactString;

use super::{RecoveryError, recover};
use crate::fact::{Author, Fact, LOSS_REASON_BYTES_MAX, LOST_RECORDS_MAX, LossAccepted, Record};
use crate::ids::Sequence;
use crate::store::{Entry, Store, StoreError};
use crate::time::UnixMillis;
use crate::tree::Node;

/// A loss cannot be accepted.
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

/// A loss that can be accepted. Each lost record's place is to be taken by one that says so, and the record after them
/// names the loss.
#[derive(Clone, Debug)]
pub struct Loss {
    named: LossAccepted,
    entries: Vec<Entry>,
    completed: Vec<Node>,
}

impl Loss {
    /// Judges what is left, and changes nothing. `known`: the last record that anybody knows of. The new records are
    /// stamped with `now`, or the last record's time if that is later.
    ///
    /// # Errors
    /// See [`AcceptError`].
    pub fn judge(
        store: &Arc<dyn Store>,
        known: Sequence,
        author: &Author,
        now: UnixMillis,
        reason: &str,
    ) -> Result<Loss, AcceptError> {
        if !(1..=LOSS_REASON_BYTES_MAX).contains(&reason.len()) {
            return Err(AcceptError::Reason);
        }
        let recovered = recover(store)?;
        let newest = recovered.state.newest_stored(&**store)?;
        if newest > recovered.head {
            return Err(RecoveryError::Ahead { watermark: newest, head: recovered.head }.into());
        }
        let (first, last) = (recovered.head.next(), known.max(recovered.head));
        if last.0 - recovered.head.0 > LOST_RECORDS_MAX {
            return Err(AcceptError::TooMuch { first, last });
        }
        let named = LossAccepted { first, last, reason: CompactString::from(reason) };
        let at = now.max(recovered.state.latest());
        let record = |fact| Record { at, author: author.clone(), fact }.encode();
        let (lost, accepted) = (record(Fact::RecordLost), record(Fact::LossAccepted(Box::new(named.clone()))));
        let (mut frontier, mut entries, mut completed) = (recovered.frontier, Vec::new(), Vec::new());
        let payloads = (first.0..=last.0).map(|_| lost.clone()).chain([accepted]);
        for payload in payloads {
            let (entry, leaf) = Entry::new(Sequence(frontier.size()).next(), payload);
            frontier.append(leaf, |node| completed.push(node));
            entries.push(entry);
        }
        Ok(Loss { named, entries, completed })
    }

    /// Appends it, in one write. Returns what was recorded, and its own place.
    ///
    /// # Errors
    /// The store failed: nothing, or everything, is appended.
    pub fn accept(self, store: &dyn Store) -> Result<(LossAccepted, Sequence), StoreError> {
        if store.head()?.next() != self.named.first {
            return Err(StoreError::Failed("the journal has changed since it was judged: begin again".to_owned()));
        }
        store.append(&self.entries, &self.completed)?;
        store.sync_head()?;
        Ok((self.named, self.entries.last().map_or(Sequence::ZERO, |entry| entry.sequence)))
    }
}
