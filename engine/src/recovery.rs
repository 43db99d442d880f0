//! Start: rows, then the records after them. And the proof that both ways to the state agree.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::fact::{Record, RecordError};
use crate::ids::Sequence;
use crate::rows::{FoldError, State};
use crate::store::{Chain, GENESIS, Store, StoreError, chained};

/// The state could not be recovered; nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecoveryError {
    /// The store failed or is corrupt.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A record is missing.
    #[error("the journal has no record {0}: records are missing in its middle; restore a backup")]
    Gap(Sequence),
    /// A record's bytes, or their order, are not what was written.
    #[error("the hash chain breaks at record {0}: it is not what was written; restore a backup")]
    Chain(Sequence),
    /// A record cannot be read.
    #[error("record {0}: {1}")]
    Record(Sequence, RecordError),
    /// A record cannot be folded: it is intact, and yet no ledger wrote it.
    #[error("record {sequence} breaks a rule that every journal keeps ({reason}); restore a backup, and report this")]
    Illegal {
        /// The record.
        sequence: Sequence,
        /// What it would break.
        reason: String,
    },
    /// The rows claim records that the journal does not hold.
    #[error(
        "the rows hold records up to {watermark}, the journal ends at {head}: it has lost its end, or the two are not of \
         one directory; put both back from one backup, and check it with `tapgate journal verify`"
    )]
    Ahead {
        /// What the rows hold.
        watermark: Sequence,
        /// The journal's last record.
        head: Sequence,
    },
}

impl From<FoldError> for RecoveryError {
    fn from(error: FoldError) -> RecoveryError {
        match error {
            FoldError::Store(error) => RecoveryError::Store(error),
            FoldError::Illegal { sequence, reason } => RecoveryError::Illegal { sequence, reason },
        }
    }
}

/// A recovered state.
#[derive(Debug)]
pub struct Recovered {
    /// Rows and the records after them.
    pub state: State,
    /// How many records were folded.
    pub records_folded: u64,
    /// The journal's last record.
    pub head: Sequence,
    /// What the rows on disk held.
    pub watermark: Sequence,
}

/// Reads the rows and folds the records after the watermark, each row by itself from where it stands.
///
/// # Errors
/// The store cannot be read, or what it holds is not what was written: nothing is guessed.
pub fn recover(store: &Arc<dyn Store>) -> Result<Recovered, RecoveryError> {
    let watermark = store.watermark()?;
    let (head, _) = store.head()?;
    if watermark > head {
        return Err(RecoveryError::Ahead { watermark, head });
    }
    let mut state = State::load(&**store)?;
    let newest = state.newest_row();
    if newest > head {
        return Err(RecoveryError::Ahead { watermark: newest, head });
    }
    let before = link_at(&**store, watermark)?;
    let mut records_folded = 0;
    walk(&**store, watermark, before, &mut |sequence, record| {
        records_folded += 1;
        state.fold(sequence, record, Some(&**store))
    })?;
    Ok(Recovered { state, records_folded, head, watermark })
}

/// What an offline verification found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verification {
    /// The journal's last record.
    pub head: Sequence,
    /// The chain's link at it.
    pub chain: Chain,
    /// What the rows on disk hold.
    pub watermark: Sequence,
    /// The hash of the whole journal's fold.
    pub state_hash_journal: [u8; 32],
    /// The hash of the rows and the records after them.
    pub state_hash_rows: [u8; 32],
    /// Users, authorizations, answers, pools.
    pub counts: [usize; 4],
}

impl Verification {
    /// Whether both ways lead to the same state.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        self.state_hash_journal == self.state_hash_rows
    }
}

/// Folds the whole journal from its first record, checking every link of the chain, and compares the state with the
/// rows and the records after them.
///
/// # Errors
/// The store cannot be read, the chain breaks, or a record cannot be read.
pub fn verify(store: &Arc<dyn Store>) -> Result<Verification, RecoveryError> {
    let mut folded = State::default();
    let (head, chain) =
        walk(&**store, Sequence::ZERO, GENESIS, &mut |sequence, record| folded.fold(sequence, record, None))?;
    let Recovered { state: mut rows, watermark, .. } = recover(store)?;
    rows.load_rest(&**store)?;
    Ok(Verification {
        head,
        chain,
        watermark,
        state_hash_journal: folded.hash()?,
        state_hash_rows: rows.hash()?,
        counts: folded.counts(),
    })
}

fn link_at(store: &dyn Store, sequence: Sequence) -> Result<Chain, RecoveryError> {
    let Some(before) = sequence.0.checked_sub(1) else { return Ok(GENESIS) };
    let mut link = Err(RecoveryError::Gap(sequence));
    store.read(Sequence(before), &mut |entry| {
        if entry.sequence == sequence {
            link = Ok(entry.chain);
        }
        ControlFlow::Break(())
    })?;
    link
}

/// Visits the records after `after`, checking that none is missing and that each link follows from the one before.
fn walk(
    store: &dyn Store,
    after: Sequence,
    link: Chain,
    visit: &mut dyn FnMut(Sequence, &Record) -> Result<(), FoldError>,
) -> Result<(Sequence, Chain), RecoveryError> {
    let (mut last, mut chain) = (after, link);
    let mut step = |sequence: Sequence, link: Chain, payload: &[u8]| {
        if sequence != last.next() {
            return Err(RecoveryError::Gap(last.next()));
        }
        chain = chained(&chain, payload);
        if chain != link {
            return Err(RecoveryError::Chain(sequence));
        }
        last = sequence;
        let record = Record::decode(payload).map_err(|error| RecoveryError::Record(sequence, error))?;
        visit(sequence, &record).map_err(RecoveryError::from)
    };
    let mut outcome = Ok(());
    store.read(after, &mut |entry| {
        outcome = step(entry.sequence, entry.chain, &entry.payload);
        if outcome.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    outcome.map(|()| (last, chain))
}
