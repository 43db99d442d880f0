//! What must hold after every step, told from the journal alone: the judge folds it beside the server, from its first record.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use tapgate_engine::fact::{Fact, Record, Verdict};
use tapgate_engine::ids::Sequence;
use tapgate_engine::ledger::Ledger;
use tapgate_engine::recovery::verify;
use tapgate_engine::rows::State;
use tapgate_engine::store::{Entry, Store};

use tapgate_engine::time::UnixMillis;

use super::disk::Mounted;
use super::network::Received;

/// What a simulation can find wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Invariant {
    /// An answer is durable before its first byte.
    Durable,
    /// An acknowledged answer is never forgotten, nor changed.
    Kept,
    /// An id is decided once.
    Once,
    /// Every prefix of the journal is a legal state.
    Legal,
    /// fold(journal) = rows + tail = memory.
    Fold,
    /// The server starts on whatever a crash leaves.
    Starts,
    /// It stops when it is asked to.
    Stops,
    /// Nothing panics.
    Panics,
    /// What is approved, UR can book.
    Covered,
    /// Money leaves once.
    MoneyLeaves,
    /// Every message reaches its receiver, the same on every attempt.
    Delivered,
    /// A receiver is parked only when it has taken nothing for as long as the settings say.
    Parks,
    /// While UR answers it is asked.
    Asks,
    /// Users are debited what UR took.
    Debited,
    /// Once UR has settled everything, nothing is held and all figures are UR's.
    Converges,
}

/// Something wrong, and where it shows first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) invariant: Invariant,
    /// The first record that shows it.
    pub(super) record: Option<Sequence>,
    pub(super) what: String,
}

impl Finding {
    pub(super) fn of(invariant: Invariant, what: impl Into<String>) -> Finding {
        Finding { invariant, record: None, what: what.into() }
    }

    pub(super) fn at(self, record: Sequence) -> Finding {
        Finding { record: Some(record), ..self }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.invariant)?;
        if let Some(record) = self.record {
            write!(f, " at record {record}")?;
        }
        write!(f, ": {}", self.what)
    }
}

/// The words of a panic.
pub(super) fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without words").to_owned()
}

/// The journal as the judge reads it.
pub(super) struct Judge {
    state: State,
    read: Sequence,
    /// The time of the last record.
    at: UnixMillis,
    /// The decision on each id.
    decided: BTreeMap<String, Sequence>,
    /// Bodies of messages by receiver and id.
    messages: BTreeMap<(String, String), Bytes>,
}

impl Judge {
    pub(super) fn new(store: &dyn Store) -> Judge {
        Judge {
            state: State::empty(store),
            read: Sequence::ZERO,
            at: UnixMillis(0),
            decided: BTreeMap::new(),
            messages: BTreeMap::new(),
        }
    }

    /// Records read so far.
    pub(super) fn read(&self) -> Sequence {
        self.read
    }

    /// Reads on to the journal's end, and tells each record.
    pub(super) fn read_on(&mut self, process: &Mounted, mut tell: impl FnMut(&Entry, &Record)) -> Result<(), Finding> {
        for entry in process.entries_after(self.read) {
            let sequence = entry.sequence;
            let illegal = |what: String| Finding::of(Invariant::Legal, what).at(sequence);
            if sequence != self.read.next() {
                return Err(illegal(format!("it follows record {}", self.read)));
            }
            let record = Record::decode(&entry.payload).map_err(|error| illegal(error.to_string()))?;
            if record.at < self.at {
                return Err(illegal(format!("it is of {}, and the one before of {}", record.at.0, self.at.0)));
            }
            self.at = record.at;
            if record.encode() != entry.payload {
                return Err(illegal("it does not encode to its own bytes".to_owned()));
            }
            self.state.fold(sequence, &record).map_err(|error| illegal(error.to_string()))?;
            catch_unwind(AssertUnwindSafe(|| self.state.assert_legal(sequence)))
                .map_err(|panic| illegal(said(&*panic)))?;
            if let Fact::Decided(decided) = &record.fact {
                let id = decided.request.id.as_str().to_owned();
                if let Some(before) = self.decided.insert(id.clone(), sequence) {
                    let what = format!("{id} was decided by record {before} already");
                    return Err(Finding::of(Invariant::Once, what).at(sequence));
                }
            }
            self.read = sequence;
            tell(&entry, &record);
        }
        Ok(())
    }

    /// UR was told of an approval, or a decline: the decision is on the disk.
    pub(super) fn answered(&self, process: &Mounted, id: &str, approved: bool) -> Result<(), Finding> {
        let Some(sequence) = self.decision(id) else {
            let what = format!("{id} was answered, and no record decides it: this is the last one");
            return Err(Finding::of(Invariant::Durable, what).at(self.read));
        };
        let entry = process.as_it_is().entry(sequence).ok().flatten();
        let record = entry.and_then(|entry| Record::decode(&entry.payload).ok());
        match record.map(|record| record.fact) {
            Some(Fact::Decided(decided)) if approved && !matches!(decided.verdict, Verdict::Approved(_)) => {
                let what = format!("{id} was answered with an approval, and the record declines");
                Err(Finding::of(Invariant::Durable, what).at(sequence))
            }
            _ => Ok(()),
        }
    }

    /// Memory is the fold of the journal. Everything claimed must be durable, and read.
    pub(super) fn compare(&self, ledger: &Ledger, process: &Mounted) -> Result<(), Finding> {
        let different = |what: &str| Finding::of(Invariant::Fold, what.to_owned()).at(self.read);
        let read = |error: &dyn fmt::Display| different(&format!("memory cannot be read: {error}"));
        let mut snapshot = ledger.snapshot().map_err(|error| read(&error))?;
        snapshot.load_rest(&*process.as_it_is()).map_err(|error| read(&error))?;
        let [ours, memory] = [&self.state, &snapshot].map(State::hash);
        if ours.map_err(|error| read(&error))? != memory.map_err(|error| read(&error))? {
            return Err(different("memory is not the fold of the journal"));
        }
        if !snapshot.tells_as(&self.state) {
            return Err(different("an authorization or answer is not what the journal tells"));
        }
        Ok(())
    }

    /// What is on the disk can be recovered, and both ways to the state agree.
    pub(super) fn verify(&self, process: &Mounted) -> Result<(), Finding> {
        let found = verify(&process.as_it_is())
            .map_err(|error| Finding::of(Invariant::Starts, error.to_string()).at(self.read))?;
        if found.is_equal() {
            return Ok(());
        }
        Err(Finding::of(Invariant::Fold, "rows and the records after them are not the fold of the journal")
            .at(self.read))
    }

    /// A message is the same on every attempt.
    pub(super) fn received(&mut self, received: Received) -> Result<(), Finding> {
        let Received { receiver, id, body, .. } = received;
        if id.is_empty() {
            return Ok(());
        }
        let before = self.messages.entry((receiver.clone(), id.clone())).or_insert_with(|| body.clone());
        if *before == body {
            return Ok(());
        }
        let [before, body] = [&*before, &body].map(|body| String::from_utf8_lossy(body).into_owned());
        Err(Finding::of(Invariant::Delivered, format!("{id} to {receiver} was {before} and is {body}")))
    }

    pub(super) fn has_received(&self, receiver: &str, id: &str) -> bool {
        self.messages.contains_key(&(receiver.to_owned(), id.to_owned()))
    }

    /// The decision on an id.
    pub(super) fn decision(&self, id: &str) -> Option<Sequence> {
        self.decided.get(id).copied()
    }
}
