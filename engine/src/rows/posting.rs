//! The authorizations on which UR's transactions were posted.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use super::Row;
use crate::fact::{Fact, Posting, Record, Touches};
use crate::ids::{AuthorizationId, Sequence};
use crate::store::Table;

/// The authorization on which a movement of money at UR was posted, whatever its progress.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PostingRow {
    pub(crate) sequence: Sequence,
    pub(crate) root: AuthorizationId,
}

impl Row for PostingRow {
    const TABLE: Table = Table::Postings;
    const LOADED_AT_START: bool = false;
    type Key = CompactString;

    fn touched(touches: &Touches<'_>) -> impl Iterator<Item = CompactString> {
        touches.posting.map(Posting::place).into_iter()
    }

    fn open(_: &CompactString, sequence: Sequence, record: &Record) -> Option<PostingRow> {
        let Fact::Posted(booked) = &record.fact else { return None };
        Some(PostingRow { sequence, root: booked.root.clone() })
    }

    fn sequence(&self) -> Sequence {
        self.sequence
    }

    fn apply(&mut self, sequence: Sequence, record: &Record) {
        if sequence > self.sequence
            && let Fact::Posted(booked) = &record.fact
        {
            self.root = booked.root.clone();
            self.sequence = sequence;
        }
    }
}
