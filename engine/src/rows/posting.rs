//! The movements that UR shows under one name, and the authorization of each.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use smallvec::{SmallVec, smallvec};

use super::Row;
use crate::fact::{Evidence, Fact, Posting, Progress, Record, Shown, Touches};
use crate::ids::{AuthorizationId, Sequence};
use crate::money::Minor;
use crate::store::Table;

/// The movements that share a hash, user, direction and currency: nearly always one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostingRow {
    pub(crate) sequence: Sequence,
    pub movements: SmallVec<[ShownMovement; 1]>,
}

/// A movement as its name knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownMovement {
    /// Its number under the name.
    pub number: u16,
    /// Its number among indistinguishable rows.
    pub ordinal: u16,
    pub root: AuthorizationId,
    pub progress: Progress,
    pub amount: Minor,
    pub references: SmallVec<[CompactString; 2]>,
    /// UR showed it completed, and rejected too.
    pub is_contradicted: bool,
}

impl ShownMovement {
    fn of(root: &AuthorizationId, shown: &Shown) -> ShownMovement {
        let Posting { progress, amount, references, ordinal, .. } = &shown.posting;
        ShownMovement {
            number: shown.number,
            ordinal: *ordinal,
            root: root.clone(),
            progress: *progress,
            amount: amount.amount,
            references: references.clone(),
            is_contradicted: false,
        }
    }

    /// Whether UR's row shows this movement: references tell rows apart only where both carry one; two completed rows
    /// of different amounts are two movements.
    #[must_use]
    pub fn is_shown_by(&self, posting: &Posting) -> bool {
        let both_refer = !self.references.is_empty() && !posting.references.is_empty();
        let refers_elsewhere = both_refer && posting.references.iter().all(|own| !self.references.contains(own));
        let are_two = self.progress == Progress::Completed
            && posting.progress == Progress::Completed
            && self.amount != posting.amount.amount;
        !refers_elsewhere && !are_two && self.ordinal == posting.ordinal
    }
}

impl PostingRow {
    /// The movement that UR's row shows.
    #[must_use]
    pub fn shown_by(&self, posting: &Posting) -> Option<&ShownMovement> {
        let own = self.movements.iter().filter(|own| own.is_shown_by(posting));
        // The one that the row resembles most: the same amount, then a shared reference.
        own.min_by_key(|own| {
            let shares = own.references.iter().any(|reference| posting.references.contains(reference));
            (own.amount != posting.amount.amount, !shares, own.number)
        })
    }

    /// The number of a new movement under the name.
    #[must_use]
    pub fn next_number(&self) -> u16 {
        // Saturating: evidence on one authorization is bounded far below.
        self.movements.iter().map(|own| own.number).max().map_or(0, |last| last.saturating_add(1))
    }
}

impl Row for PostingRow {
    const TABLE: Table = Table::Postings;
    const LOADED_AT_START: bool = false;
    type Key = CompactString;

    fn touched(touches: &Touches<'_>) -> impl Iterator<Item = CompactString> {
        touches.posting.map(Posting::place).into_iter()
    }

    fn open(_: &CompactString, sequence: Sequence, record: &Record) -> Option<PostingRow> {
        let Fact::Settled(settled) = &record.fact else { return None };
        let shown = settled.shown()?;
        Some(PostingRow { sequence, movements: smallvec![ShownMovement::of(&settled.root, shown)] })
    }

    fn sequence(&self) -> Sequence {
        self.sequence
    }

    fn apply(&mut self, sequence: Sequence, record: &Record) {
        if sequence > self.sequence
            && let Fact::Settled(settled) = &record.fact
            && let Evidence::Shown(shown) = &settled.evidence
        {
            let new = ShownMovement::of(&settled.root, shown);
            match self.movements.iter_mut().find(|own| own.number == new.number) {
                Some(own) => {
                    own.root = new.root;
                    let are_ends = new.progress >= Progress::Rejected && own.progress >= Progress::Rejected;
                    own.is_contradicted |= are_ends && new.progress != own.progress;
                    if new.progress >= own.progress {
                        (own.progress, own.amount) = (new.progress, new.amount);
                    }
                    for reference in new.references {
                        if !own.references.contains(&reference) {
                            own.references.push(reference);
                        }
                    }
                }
                None => self.movements.push(new),
            }
            self.sequence = sequence;
        }
    }
}
