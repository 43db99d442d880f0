//! The movements that UR shows under one name, and the authorization of each.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use smallvec::{SmallVec, smallvec};

use super::{Row, Stored};
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
    /// Its number among the rows of one answer with its status and amount.
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

    /// Whether it has the row's amount and every reference of the row.
    fn has_all_of(&self, row: &Posting) -> bool {
        let has = |reference| self.references.contains(reference);
        self.amount == row.amount.amount && !row.references.is_empty() && row.references.iter().all(has)
    }

    /// Whether it has the row's amount, and the row's number among equal ones.
    fn is_numbered_as(&self, row: &Posting) -> bool {
        self.amount == row.amount.amount && self.ordinal == row.ordinal
    }

    /// How unlike the row it is. What is settled changes no more: unless it is as the row says, an unsettled movement is
    /// likelier.
    fn distance(&self, row: &Posting) -> impl Ord {
        let shares = self.references.iter().any(|reference| row.references.contains(reference));
        let is_same = self.progress == row.progress && self.amount == row.amount.amount;
        let is_settled = !self.progress.is_unsettled();
        let amount = (self.amount - row.amount.amount).0.abs();
        (!shares, !is_same, is_settled, amount, self.references.len().abs_diff(row.references.len()), self.number)
    }
}

impl PostingRow {
    /// The movement that UR's row shows. `answer`: the rows of UR's answer under this name, the row among them; empty
    /// where UR shows the row alone.
    ///
    /// Each row of an answer shows a movement of its own: the one of its amount and references, else of its amount and
    /// number, else the nearest, because amounts change. What is settled chooses first. A row that finds none left is an
    /// older, or a contradicting, row of a movement that a row of a further status shows.
    #[must_use]
    pub fn shown_by(&self, posting: &Posting, answer: &[Posting]) -> Option<&ShownMovement> {
        let mut rows: Vec<&Posting> = if answer.is_empty() { vec![posting] } else { answer.iter().collect() };
        rows.sort_by_key(|row| (std::cmp::Reverse(row.progress), row.amount.amount, row.ordinal));
        let mut free: Vec<&ShownMovement> = self.movements.iter().collect();
        let mut further: Vec<&ShownMovement> = Vec::new();
        let rules: [fn(&ShownMovement, &Posting) -> bool; 3] =
            [ShownMovement::has_all_of, ShownMovement::is_numbered_as, |_, _| true];
        for fits in rules {
            let mut found = None;
            rows.retain(|row| {
                let fitting = free.iter().filter(|own| own.may_be(row) && fits(own, row));
                let Some(own) = fitting.min_by_key(|own| own.distance(row)).copied() else { return true };
                free.retain(|other| other.number != own.number);
                if row.progress > posting.progress {
                    further.push(own);
                }
                if *row == posting {
                    found = Some(own);
                }
                false
            });
            if found.is_some() {
                return found;
            }
        }
        further.into_iter().filter(|own| own.may_be(posting)).min_by_key(|own| own.distance(posting))
    }

    /// The number of a new movement under the name.
    #[must_use]
    pub fn next_number(&self) -> u16 {
        // Saturating: evidence on one authorization is bounded far below.
        self.movements.iter().map(|own| own.number).max().map_or(0, |last| last.saturating_add(1))
    }
}

impl Row for PostingRow {
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

    fn is_open(&self) -> bool {
        false
    }
}

impl Stored for PostingRow {
    const TABLE: Table = Table::Postings;
    const LOADED_AT_START: bool = false;
}
