//! Every order of the steps of a few threads, as loom plays them, over the journal's own code: `make loom`.
#![expect(clippy::unwrap_used, reason = "a model that panics has found something")]

use std::sync::Arc;

use loom::model::Builder;

use super::{Durability, Journal, NoPlace, Resolves, Ticket};
use crate::ids::Sequence;
use crate::store::{Entry, RowBytes, Store, StoreError, Table, Visit, VisitRow};
use crate::sync::{Mutex, thread};
use crate::tree::{Frontier, Hash, Node, Span};

/// Plays every order.
fn every_order(model: impl Fn() + Sync + Send + 'static) {
    Builder::new().check(model);
}

/// Plays every order in which threads that could go on give way so often at most.
fn every_order_with(switches: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(switches);
    builder.check(model);
}

/// Keeps what is appended, until it is to fail.
struct Kept {
    entries: Mutex<Vec<u8>>,
    fails: bool,
}

impl Kept {
    fn new(fails: bool) -> Arc<Kept> {
        Arc::new(Kept { entries: Mutex::new(Vec::new()), fails })
    }

    /// The first bytes of the records, in their order.
    fn firsts(&self) -> Vec<u8> {
        self.entries.lock().unwrap().clone()
    }
}

impl Store for Kept {
    fn append(&self, entries: &[Entry], _: &[Node]) -> Result<(), StoreError> {
        if self.fails {
            return Err(StoreError::Failed("full".to_owned()));
        }
        let mut kept = self.entries.lock().unwrap();
        for entry in entries {
            assert_eq!(entry.sequence.0, kept.len() as u64 + 1, "records come in their order");
            kept.push(entry.payload[0]);
        }
        Ok(())
    }
    fn sync_head(&self) -> Result<(), StoreError> {
        Ok(())
    }
    fn head(&self) -> Result<Sequence, StoreError> {
        Ok(Sequence::ZERO)
    }
    fn node(&self, _: Span) -> Result<Option<Hash>, StoreError> {
        Ok(None)
    }
    fn read(&self, _: Sequence, _: Visit<'_>) -> Result<(), StoreError> {
        Ok(())
    }
    fn read_back(&self, _: Sequence, _: Visit<'_>) -> Result<(), StoreError> {
        Ok(())
    }
    fn entry(&self, _: Sequence) -> Result<Option<Entry>, StoreError> {
        Ok(None)
    }
    fn id_seed(&self) -> u64 {
        0
    }
    fn row(&self, _: Table, _: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(None)
    }
    fn rows(&self, _: Table, _: VisitRow<'_>) -> Result<(), StoreError> {
        Ok(())
    }
    fn forget_cached(&self) -> Result<(), StoreError> {
        Ok(())
    }
    fn check_rows(&self, _: Table, _: &[u8], _: usize) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(None)
    }
    fn put_rows(&self, _: &[RowBytes]) -> Result<(), StoreError> {
        Ok(())
    }
    fn delete_rows(&self, _: Table, _: &[Vec<u8>]) -> Result<(), StoreError> {
        Ok(())
    }
    fn put_synced(&self, _: &[RowBytes]) -> Result<(), StoreError> {
        Ok(())
    }
    fn erase(&self, _: Table, _: &[u8]) -> Result<(), StoreError> {
        Ok(())
    }
    fn write_rows(&self, _: &[RowBytes], _: &Frontier) -> Result<(), StoreError> {
        Ok(())
    }
    fn frontier(&self) -> Result<Frontier, StoreError> {
        Ok(Frontier::default())
    }
}

/// A record with its waiter.
fn publish(journal: &Journal, first: u8) -> Result<Arc<Ticket>, NoPlace> {
    let ticket = Ticket::pending();
    let claim = journal.reserve()?.claim();
    claim.publish(&[first], Resolves::Change(Arc::clone(&ticket)));
    Ok(ticket)
}

#[test]
fn a_ticket_is_durable_or_given_up_and_its_waiter_wakes() {
    every_order(|| {
        let ticket = Ticket::pending();
        let journal = Arc::clone(&ticket);
        let writer = thread::spawn(move || {
            if !journal.record_durable() {
                journal.release_durable();
            }
        });
        let gave_up = ticket.give_up();
        let durability = ticket.block();
        assert_eq!(durability, if gave_up { Durability::Released } else { Durability::Durable });
        writer.join().unwrap();
    });
}

#[test]
fn a_failure_reaches_the_waiter_whatever_it_had_become() {
    every_order(|| {
        let ticket = Ticket::pending();
        let journal = Arc::clone(&ticket);
        let writer = thread::spawn(move || journal.failed());
        let gave_up = ticket.give_up();
        assert_eq!(ticket.block(), Durability::Failed);
        assert_eq!(writer.join().unwrap(), !gave_up);
    });
}

#[test]
fn what_is_published_is_written_in_its_order_and_its_waiter_wakes() {
    every_order_with(4, || {
        let kept = Kept::new(false);
        let store: Arc<dyn Store> = Arc::clone(&kept) as Arc<dyn Store>;
        let journal = Arc::new(Journal::start(store, Box::new(|error| panic!("{error}"))).unwrap());
        let other = Arc::clone(&journal);
        let publishing = thread::spawn(move || publish(&other, 2).unwrap().block());
        assert_eq!(publish(&journal, 1).unwrap().block(), Durability::Durable);
        assert_eq!(publishing.join().unwrap(), Durability::Durable);
        journal.close();
        let mut firsts = kept.firsts();
        firsts.sort_unstable();
        assert_eq!(firsts, [1, 2]);
    });
}

#[test]
fn a_closing_journal_refuses_a_record_or_writes_it() {
    every_order(|| {
        let kept = Kept::new(false);
        let store: Arc<dyn Store> = Arc::clone(&kept) as Arc<dyn Store>;
        let journal = Arc::new(Journal::start(store, Box::new(|error| panic!("{error}"))).unwrap());
        let other = Arc::clone(&journal);
        let closing = thread::spawn(move || other.close());
        match publish(&journal, 1) {
            Ok(ticket) => assert_eq!(ticket.block(), Durability::Durable),
            Err(refused) => assert_eq!(refused, NoPlace::Unavailable),
        }
        closing.join().unwrap();
        assert_eq!(kept.firsts().len() as u64, journal.durable().0);
        assert_eq!(journal.durable(), journal.claimed());
    });
}

#[test]
fn a_place_that_is_given_back_does_not_hold_up_the_end() {
    every_order(|| {
        let kept = Kept::new(false);
        let journal = Arc::new(Journal::start(kept, Box::new(|error| panic!("{error}"))).unwrap());
        let other = Arc::clone(&journal);
        let reserving = thread::spawn(move || drop(other.reserve_decision()));
        journal.close();
        reserving.join().unwrap();
    });
}

#[test]
fn after_a_failed_write_every_waiter_knows() {
    every_order(|| {
        let kept = Kept::new(true);
        let journal = Arc::new(Journal::start(kept, Box::new(drop)).unwrap());
        let other = Arc::clone(&journal);
        let waiting = thread::spawn(move || match other.await_durable(Sequence(1)) {
            Some(ticket) => ticket.block(),
            None => panic!("nothing is durable"),
        });
        match publish(&journal, 1) {
            Ok(ticket) => assert_eq!(ticket.block(), Durability::Failed),
            Err(refused) => panic!("{refused}"),
        }
        assert_eq!(waiting.join().unwrap(), Durability::Failed);
        journal.close();
        assert_eq!(publish(&journal, 2).err(), Some(NoPlace::Unavailable));
    });
}

#[test]
fn a_late_decision_has_a_place_for_its_release_and_gives_both_back() {
    every_order_with(4, || {
        let kept = Kept::new(false);
        let store: Arc<dyn Store> = Arc::clone(&kept) as Arc<dyn Store>;
        let journal = Arc::new(Journal::start(store, Box::new(|error| panic!("{error}"))).unwrap());
        let ticket = Ticket::pending();
        journal.reserve_decision().unwrap().claim().publish(&[1], Resolves::Decision(Arc::clone(&ticket)));
        let gave_up = ticket.give_up();
        if gave_up {
            journal.reserved_release().claim().publish(&[2], Resolves::Release(Arc::clone(&ticket)));
        }
        assert_eq!(ticket.block(), if gave_up { Durability::Released } else { Durability::Durable });
        journal.close();
        assert_eq!(kept.firsts(), if gave_up { vec![1, 2] } else { vec![1] });
    });
}
