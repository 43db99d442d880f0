//! Cursors in the ledger: each move a record, which says nothing to anybody but the reader itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use compact_str::CompactString;

use super::Ledger;
use super::change::ChangeError;
use super::decide::append;
use crate::cursor::{CURSORS_MAX, Cursor, NAME_BYTES_MAX, POSITION_BYTES_MAX};
use crate::ids::Sequence;
use crate::journal::{Settles, Word};
use crate::record::{Author, Fact};
use crate::time::Moment;

/// Every cursor, by its reader's name: they are few.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cursors(pub(crate) BTreeMap<CompactString, Cursor>);

impl Cursors {
    pub(super) fn apply(&mut self, sequence: Sequence, fact: &Fact) {
        let Fact::CursorMoved { name, position } = fact else { return };
        if self.0.get(name).is_none_or(|before| before.sequence < sequence) {
            let cursor = Cursor { sequence, name: name.clone(), position: position.clone() };
            self.0.insert(name.clone(), cursor);
        }
    }
}

impl Ledger {
    /// Where a reader stands, as it last said; `None` if it never did.
    #[must_use]
    pub fn cursor(&self, name: &str) -> Option<Vec<u8>> {
        self.lock_cursors().0.get(name).map(|cursor| cursor.position.clone())
    }

    /// Keeps where a reader stands. It survives once the word is settled. `author` is a person where one had it go back or
    /// on; an idempotency key is not looked at, because the same move again is the same place.
    ///
    /// # Errors
    /// It was not kept: the name or the position is too long, there are too many readers, or the journal has no place.
    pub fn move_cursor(
        &self,
        author: &Author,
        name: &str,
        position: Vec<u8>,
        now: Moment,
    ) -> Result<Arc<Word>, ChangeError> {
        if !(1..=NAME_BYTES_MAX).contains(&name.len()) {
            return Err(ChangeError::Invalid(format!("a reader's name has 1 to {NAME_BYTES_MAX} bytes")));
        }
        if position.len() > POSITION_BYTES_MAX {
            let bytes = position.len();
            return Err(ChangeError::Invalid(format!(
                "a position has at most {POSITION_BYTES_MAX} bytes, this one {bytes}"
            )));
        }
        let _shared = self.read_shared();
        let mut cursors = self.lock_cursors();
        if !cursors.0.contains_key(name) && cursors.0.len() >= CURSORS_MAX {
            return Err(ChangeError::Invalid(format!("there are {CURSORS_MAX} readers already")));
        }
        let author = match author {
            Author::Person { name, .. } => Author::Person { name: name.clone(), idempotency: None },
            other => other.clone(),
        };
        let fact = Fact::CursorMoved { name: name.into(), position };
        let permit = self.journal.reserve()?;
        let word = Word::pending();
        let settles = Settles::Decision(Arc::clone(&word));
        let (sequence, fact) = append(permit, author, self.stamp(now), fact, settles);
        cursors.apply(sequence, &fact);
        Ok(word)
    }
}
