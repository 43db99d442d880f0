//! Cursors: each move is a record that only its reader interprets.

use std::sync::Arc;

use compact_str::CompactString;

use super::ChangeError;
use crate::fact::cursor::{
    CURSORS_MAX, HEADS, MESSAGE_BYTES_MAX, NAME_BYTES_MAX, POSITION_BYTES_MAX, REASON_BYTES_MAX,
};
use crate::fact::{Author, Fact, HeadSigned, INTRODUCTIONS_MAX, SIGNATURE_BYTES_MAX};
use crate::journal::Ticket;
use crate::ledger::Ledger;
use crate::rows::{Cursor, Shelf};
use crate::store::StoreError;
use crate::time::{Moment, UnixMillis};

/// A person's command to a journal reader.
#[derive(Clone, Debug)]
pub enum CursorChange {
    /// Resume from another position, later or earlier.
    Move {
        name: CompactString,
        /// Opaque to the engine.
        position: Vec<u8>,
    },
    /// Skip a message that the receiver rejects.
    Skip {
        name: CompactString,
        /// The reader's name for the message: 1 to [`MESSAGE_BYTES_MAX`] bytes.
        message: CompactString,
        /// 1 to [`REASON_BYTES_MAX`] bytes.
        reason: CompactString,
        /// Opaque to the engine.
        position: Vec<u8>,
    },
    /// Keep a head that was signed: of no more records than are durable.
    Sign(Box<HeadSigned>),
}

impl Ledger {
    /// The head that was signed last, if one was.
    ///
    /// # Errors
    /// What is kept of it is not what was written.
    pub fn head_signed(&self) -> Result<Option<HeadSigned>, StoreError> {
        let signed = self.cursor(&HEADS).map(|kept| postcard::from_bytes(&kept)).transpose();
        signed.map_err(|error| StoreError::Corrupt(format!("the head that was signed last: {error}")))
    }

    /// A reader's last stored position; `None` if it never stored one.
    #[must_use]
    pub fn cursor(&self, name: &str) -> Option<Vec<u8>> {
        self.lock_shelves().cursors.get(&name.into()).map(|cursor| cursor.position.clone())
    }

    /// Stores a reader's own position. It survives once the ticket is durable.
    ///
    /// # Errors
    /// The position was not stored: the name or the position is too long, there are too many readers, or the journal
    /// has no place.
    pub fn move_cursor(&self, name: &str, position: Vec<u8>, now: Moment) -> Result<Arc<Ticket>, ChangeError> {
        self.change_cursor(&Author::Engine, self.stamp(now), CursorChange::Move { name: name.into(), position })
    }

    pub(in crate::ledger) fn change_cursor(
        &self,
        author: &Author,
        at: UnixMillis,
        change: CursorChange,
    ) -> Result<Arc<Ticket>, ChangeError> {
        let shared = self.read_shared();
        let shelves = self.lock_shelves();
        let cursors = &shelves.cursors;
        let fact = match change {
            CursorChange::Move { name, position } => {
                check(cursors, &name, &position)?;
                Fact::CursorMoved { name, position }
            }
            CursorChange::Skip { name, message, reason, position } => {
                check(cursors, &name, &position)?;
                check_bytes("a message's name", &message, MESSAGE_BYTES_MAX)?;
                check_bytes("the reason", &reason, REASON_BYTES_MAX)?;
                Fact::MessageSkipped { name, message, reason, position }
            }
            CursorChange::Sign(signed) => {
                let introduced = signed.introductions.iter().map(|introduction| &introduction.signature);
                let is_long = |signature: &Vec<u8>| signature.len() > SIGNATURE_BYTES_MAX;
                if introduced.chain([&signed.signature]).any(is_long) || signed.introductions.len() > INTRODUCTIONS_MAX
                {
                    return Err(ChangeError::Invalid("signatures are too long, or too many".to_owned()));
                }
                if signed.size > self.journal.durable().0 {
                    return Err(ChangeError::Conflict(format!("the journal has no durable record {}", signed.size)));
                }
                Fact::HeadSigned(signed)
            }
        };
        Ok(self.commit_shelved(shared, shelves, author, at, fact)?)
    }
}

fn check(cursors: &Shelf<Cursor>, name: &str, position: &[u8]) -> Result<(), ChangeError> {
    check_bytes("a reader's name", name, NAME_BYTES_MAX)?;
    if position.len() > POSITION_BYTES_MAX {
        let bytes = position.len();
        return Err(ChangeError::Invalid(format!(
            "a position has at most {POSITION_BYTES_MAX} bytes, this one {bytes}"
        )));
    }
    if cursors.get(&name.into()).is_none() && cursors.len() >= CURSORS_MAX {
        return Err(ChangeError::Invalid(format!("there are {CURSORS_MAX} readers already")));
    }
    Ok(())
}

fn check_bytes(what: &str, text: &str, bytes_max: usize) -> Result<(), ChangeError> {
    if (1..=bytes_max).contains(&text.len()) {
        return Ok(());
    }
    Err(ChangeError::Invalid(format!("{what} has 1 to {bytes_max} bytes")))
}
