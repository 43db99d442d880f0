//! The records behind a message: its own, and earlier ones of the same subject.

use tapgate_engine::fact::{Fact, Record};
use tapgate_engine::ids::{AlertId, AuthorizationId, BreakId, Sequence};
use tapgate_engine::ledger::{Found, Ledger};
use tapgate_engine::rows::{Alert, Answer, Authorization, Break, Row};
use tapgate_engine::store::StoreError;

/// Records of an authorization that a message reads: its evidence is bounded below that.
const RECORDS_MAX: usize = 10_000;

/// The subject of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    Authorization(AuthorizationId),
    Alert(AlertId),
    /// A break found earlier.
    Break(BreakId),
    /// The record alone: no earlier record matters.
    Itself,
}

/// Records of one subject, oldest first; the newest is the message's own. Later records are absent, so every fold shows
/// the state at that record.
#[derive(Clone, Debug)]
pub struct History {
    before: Vec<(Sequence, Record)>,
    newest: (Sequence, Record),
    /// Records of the root that a link takes movements from, before the newest one.
    linked: Vec<(Sequence, Record)>,
    /// The alert as it is now, where this is its end and one of its records is in quarantine: a pager must hear the end of
    /// what it began.
    alert: Option<Alert>,
}

impl History {
    /// The history that ends with a record.
    #[must_use]
    pub fn new(before: Vec<(Sequence, Record)>, newest: (Sequence, Record)) -> History {
        History { before, newest, linked: Vec::new(), alert: None }
    }

    /// Reads the subject's earlier records.
    pub(super) fn read(
        ledger: &Ledger,
        subject: &Subject,
        sequence: Sequence,
        record: Record,
    ) -> Result<History, StoreError> {
        let (events, alert): (Vec<Sequence>, _) = match subject {
            Subject::Authorization(root) => return History::of_authorization(ledger, root, sequence, record),
            Subject::Alert(id) => {
                let alert = ledger.alert(*id)?;
                (alert.as_ref().map(|alert| alert.events.clone()).unwrap_or_default(), alert)
            }
            Subject::Break(id) => (vec![id.opened], None),
            Subject::Itself => (Vec::new(), None),
        };
        let ends = matches!(record.fact, Fact::AlertResolved { .. });
        let mut history = History::new(Vec::new(), (sequence, record));
        for event in events.into_iter().take_while(|event| *event < sequence) {
            match ledger.record(event) {
                Err(StoreError::Quarantined(_)) if ends && alert.is_some() => history.alert.clone_from(&alert),
                found => history.before.extend(found?.map(|record| (event, record))),
            }
        }
        Ok(history)
    }

    fn of_authorization(
        ledger: &Ledger,
        root: &AuthorizationId,
        sequence: Sequence,
        record: Record,
    ) -> Result<History, StoreError> {
        let before = |root: &AuthorizationId| {
            let previous = record.fact.previous(root).unwrap_or(Sequence::ZERO);
            ledger.history(root, previous, RECORDS_MAX)
        };
        let linked = match &record.fact {
            Fact::Settled(settled) => settled.evidence.linked().map(|linked| before(&linked.from)).transpose()?,
            _ => None,
        };
        Ok(History { linked: linked.unwrap_or_default(), ..History::new(before(root)?, (sequence, record)) })
    }

    /// The message's own record.
    #[must_use]
    pub fn newest(&self) -> &(Sequence, Record) {
        &self.newest
    }

    pub fn all(&self) -> impl Iterator<Item = &(Sequence, Record)> {
        self.before.iter().chain([&self.newest])
    }

    /// The record at `sequence`, if it is part of the history.
    #[must_use]
    pub fn record(&self, sequence: Sequence) -> Option<&Record> {
        self.all().chain(&self.linked).find(|(at, _)| *at == sequence).map(|(_, record)| record)
    }

    /// The authorization before and after the newest record.
    #[must_use]
    pub fn authorization(&self) -> (Option<Authorization>, Option<Authorization>) {
        let root = |record: &Record, sequence| record.fact.touches(sequence).root.cloned();
        let Some(root) = root(&self.newest.1, self.newest.0) else { return (None, None) };
        let before = self.before.iter().fold(None, |row, entry| folded(&root, row, entry));
        let after = folded(&root, before.clone(), &self.newest);
        (before, after)
    }

    /// The authorization that a link takes movements from, before the newest record.
    #[must_use]
    pub fn linked(&self) -> Option<Authorization> {
        let Fact::Settled(settled) = &self.newest.1.fact else { return None };
        let from = &settled.evidence.linked()?.from;
        self.linked.iter().fold(None, |row, entry| folded(from, row, entry))
    }

    /// The id's entry at that time: its answer, and its root authorization.
    #[must_use]
    pub fn found(&self, id: &AuthorizationId, authorization: Option<Authorization>) -> Found {
        let answers = |(sequence, record): &&(Sequence, Record)| record.fact.touches(*sequence).answer == Some(id);
        let answer: Option<Answer> = self.all().filter(answers).fold(None, |answer, entry| folded(id, answer, entry));
        Found { answer, authorization }
    }

    /// The alert after the newest record.
    #[must_use]
    pub fn alert(&self) -> Option<Alert> {
        let (sequence, newest) = &self.newest;
        let id = newest.fact.touches(*sequence).alert?;
        if self.alert.is_some() {
            return self.alert.clone();
        }
        self.all().fold(None, |row, entry| folded(&id, row, entry))
    }

    /// The break as found.
    #[must_use]
    pub fn opened(&self, id: BreakId) -> Option<Break> {
        Break::open(&id, id.opened, self.record(id.opened)?)
    }
}

/// The row after one more record.
fn folded<R: Row>(key: &R::Key, row: Option<R>, (sequence, record): &(Sequence, Record)) -> Option<R> {
    match row {
        Some(mut row) => {
            row.apply(*sequence, record);
            Some(row)
        }
        None => R::open(key, *sequence, record),
    }
}
