//! The records that a message is made of: the one it tells of, and those before it that concern the same thing.

use tapgate_engine::fact::Record;
use tapgate_engine::ids::{AlertId, AuthorizationId, BreakId, Sequence};
use tapgate_engine::ledger::{Found, Ledger};
use tapgate_engine::rows::{Alert, Answer, Authorization, Break};
use tapgate_engine::store::StoreError;

/// What a record is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A root authorization.
    Authorization(AuthorizationId),
    /// An alert.
    Alert(AlertId),
    /// A break that was found earlier.
    Break(BreakId),
    /// Itself: nothing before it matters.
    Itself,
}

/// Records of one subject, oldest first; the newest is the one that is told of. What came later is not in it, so
/// whatever is folded from it stands as it stood then.
#[derive(Clone, Debug)]
pub struct History {
    before: Vec<(Sequence, Record)>,
    newest: (Sequence, Record),
}

impl History {
    /// The history that ends with a record.
    #[must_use]
    pub fn new(before: Vec<(Sequence, Record)>, newest: (Sequence, Record)) -> History {
        History { before, newest }
    }

    /// Reads what concerns the subject before a record.
    pub(super) fn read(
        ledger: &Ledger,
        subject: &Subject,
        sequence: Sequence,
        record: Record,
    ) -> Result<History, StoreError> {
        let events: Vec<Sequence> = match subject {
            Subject::Authorization(root) => {
                let row = ledger.find(root)?.and_then(|found| found.authorization);
                row.map(|row| row.events.to_vec()).unwrap_or_default()
            }
            Subject::Alert(id) => ledger.alert(*id)?.map(|alert| alert.events).unwrap_or_default(),
            Subject::Break(id) => vec![id.opened],
            Subject::Itself => Vec::new(),
        };
        let mut before = Vec::new();
        for event in events.into_iter().take_while(|event| *event < sequence) {
            before.extend(ledger.record(event)?.map(|record| (event, record)));
        }
        Ok(History { before, newest: (sequence, record) })
    }

    /// The record that is told of.
    #[must_use]
    pub fn newest(&self) -> &(Sequence, Record) {
        &self.newest
    }

    /// All of them, oldest first.
    pub fn all(&self) -> impl Iterator<Item = &(Sequence, Record)> {
        self.before.iter().chain([&self.newest])
    }

    /// The record at a place, if it is one of them.
    #[must_use]
    pub fn record(&self, sequence: Sequence) -> Option<&Record> {
        self.all().find(|(at, _)| *at == sequence).map(|(_, record)| record)
    }

    /// The authorization before the newest record, and after it.
    #[must_use]
    pub fn authorization(&self) -> (Option<Authorization>, Option<Authorization>) {
        let before = self.before.iter().fold(None, folded);
        let after = folded(before.clone(), &self.newest);
        (before, after)
    }

    /// What was known of an id then: its answer, and the authorization it belongs to.
    #[must_use]
    pub fn found(&self, id: &AuthorizationId, authorization: Option<Authorization>) -> Found {
        let mut answer: Option<Answer> = None;
        for (sequence, record) in self.all().filter(|(_, record)| record.fact.answered() == Some(id)) {
            match &mut answer {
                Some(answer) => answer.apply(*sequence, &record.fact),
                None => answer = Answer::opened(*sequence, record.at, &record.fact),
            }
        }
        Found { answer, authorization }
    }

    /// The alert as it stood.
    #[must_use]
    pub fn alert(&self) -> Option<Alert> {
        let mut row: Option<Alert> = None;
        for (sequence, Record { at, author, fact }) in self.all() {
            match &mut row {
                Some(row) => row.apply(*sequence, *at, author, fact),
                None => row = Alert::raised(*sequence, *at, fact),
            }
        }
        row
    }

    /// The break as it was found.
    #[must_use]
    pub fn opened(&self, id: BreakId) -> Option<Break> {
        let record = self.record(id.opened)?;
        let (_, discrepancy) = record.fact.breaks(id.opened).find(|(found, _)| *found == id)?;
        Some(Break::opened(id, record.at, discrepancy.clone()))
    }
}

fn folded(row: Option<Authorization>, (sequence, record): &(Sequence, Record)) -> Option<Authorization> {
    match row {
        Some(mut row) => {
            row.apply(*sequence, &record.fact);
            Some(row)
        }
        None => Authorization::opened(*sequence, &record.fact),
    }
}
