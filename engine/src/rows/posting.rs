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
    /// Its number among the rows of one answer that nothing else tells apart.
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

    /// Whether UR's row may show this movement: references tell rows apart only where both carry one; two completed rows
    /// of different amounts are two movements.
    fn may_be(&self, posting: &Posting) -> bool {
        let both_refer = !self.references.is_empty() && !posting.references.is_empty();
        let refers_elsewhere = both_refer && posting.references.iter().all(|own| !self.references.contains(own));
        let are_two = self.progress == Progress::Completed
            && posting.progress == Progress::Completed
            && self.amount != posting.amount.amount;
        !refers_elsewhere && !are_two
    }

    /// Whether UR's row shows this movement with the amount that it has.
    fn is_exactly(&self, posting: &Posting) -> bool {
        self.amount == posting.amount.amount && self.ordinal == posting.ordinal && self.may_be(posting)
    }

    fn shares_a_reference(&self, posting: &Posting) -> bool {
        self.references.iter().any(|reference| posting.references.contains(reference))
    }

    fn distance(&self, posting: &Posting) -> Minor {
        Minor((self.amount - posting.amount.amount).0.abs())
    }
}

impl PostingRow {
    /// The movement that UR's row shows. `answer`: the rows of UR's answer under this name with the same status, in
    /// which no two show one movement; empty where UR shows the row alone.
    ///
    /// A row of the amount that a movement has shows that movement. The other rows have changed amounts: the smallest
    /// chooses first, each the nearest movement that no row shows.
    #[must_use]
    pub fn shown_by(&self, posting: &Posting, answer: &[Posting]) -> Option<&ShownMovement> {
        let exactly = |posting: &Posting| {
            let own = self.movements.iter().filter(|own| own.is_exactly(posting));
            own.min_by_key(|own| (!own.shares_a_reference(posting), own.number))
        };
        if let Some(own) = exactly(posting) {
            return Some(own);
        }
        let (exact, mut changed): (Vec<_>, Vec<_>) = answer.iter().partition(|row| exactly(row).is_some());
        let order = |row: &Posting| (row.amount.amount, row.ordinal, row.references.clone());
        changed.retain(|row| order(row) < order(posting));
        changed.sort_by_key(|row| order(row));
        let mut free: Vec<&ShownMovement> = self.movements.iter().collect();
        free.retain(|own| !exact.iter().any(|row| own.is_exactly(row)));
        for row in changed {
            let chosen = nearest(&free, row).map(|own| own.number);
            free.retain(|own| Some(own.number) != chosen);
        }
        nearest(&free, posting)
    }

    /// The number of a new movement under the name.
    #[must_use]
    pub fn next_number(&self) -> u16 {
        // Saturating: evidence on one authorization is bounded far below.
        self.movements.iter().map(|own| own.number).max().map_or(0, |last| last.saturating_add(1))
    }
}

/// The movement whose amount may have changed to the row's.
fn nearest<'a>(free: &[&'a ShownMovement], row: &Posting) -> Option<&'a ShownMovement> {
    // What is settled changes no more: an unsettled movement is likelier.
    let likeliest = |own: &&&ShownMovement| {
        (!own.shares_a_reference(row), !own.progress.is_unsettled(), own.distance(row), own.number)
    };
    free.iter().filter(|own| own.may_be(row)).min_by_key(likeliest).copied()
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
                        (own.progress, own.amount, own.ordinal) = (new.progress, new.amount, new.ordinal);
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
