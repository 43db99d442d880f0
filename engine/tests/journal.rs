//! Durability: words, deadlines, duplicates while pending, a failing disk, strict recovery.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected stops")]

use std::pin::pin;
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Wake, Waker};

use tapgate_engine::fact::{AuthorizationState, Kind, Overdue, Reason, Request};
use tapgate_engine::ids::Sequence;
use tapgate_engine::journal::{Durability, NoPlace, QUEUE_RECORDS_MAX};
use tapgate_engine::ledger::{Change, ChangeError, GaveUp, Refusal};
use tapgate_engine::recovery::{RecoveryError, recover, reindex, verify};
use tapgate_engine::rows::Outcome;
use tapgate_engine::store::{RowBytes, Store, Table};
use tapgate_engine::testing::{FailAfter, Gated, MemoryStore, check_prefixes};

use crate::world::{self, World, at, tap};

#[test]
fn a_duplicate_waits_for_the_first_and_gets_its_answer() {
    let store = Gated::new(MemoryStore::new(), true);
    let world = World::with_store(store.clone());
    store.set_open(false);
    let first = world.ledger.submit(tap("a1", 1000), at(10)).unwrap();
    let second = world.ledger.submit(tap("a1", 1000), at(11)).unwrap();
    assert_eq!(first.reply, second.reply);
    let ticket = second.ticket.clone().unwrap();
    assert_eq!(ticket.durability(), None, "neither may be answered before the disk has it");
    store.set_open(true);
    assert_eq!(ticket.block(), Durability::Durable);
    assert_eq!(world.available(), 99_000, "one hold");
}

#[test]
fn a_mismatch_waits_for_the_decision_it_contradicts() {
    let store = Gated::new(MemoryStore::new(), true);
    let world = World::with_store(store.clone());
    store.set_open(false);
    let first = world.ledger.submit(tap("a1", 1000), at(10)).unwrap();
    let other = world.ledger.submit(tap("a1", 1001), at(10)).unwrap();
    assert_eq!(other.reply.outcome, None);
    let ticket = other.ticket.clone().expect("the id is not known for good yet");
    assert_eq!(ticket.durability(), None);
    assert_eq!(world.ledger.give_up(&other, at(11)), GaveUp::Unknown, "it releases nothing");
    assert_eq!(world.ledger.give_up(&first, at(11)), GaveUp::WaitAgain);
    store.set_open(true);
    let released = ticket.block();
    assert_eq!(released, Durability::Released);
    assert_eq!(other.reply_when(released).map(|reply| reply.outcome), Some(None), "late or not, the id is taken");
    world.close_and_check(&store.inner);
}

#[test]
fn a_mismatch_with_a_decision_that_failed_is_unknown() {
    let inner = MemoryStore::new();
    let world = World::with_store(FailAfter::new(inner, World::SET_UP_RECORDS));
    world.ledger.submit(tap("a1", 1000), at(10)).unwrap();
    let other = world.ledger.submit(tap("a1", 1001), at(10)).unwrap();
    let durability = other.ticket.clone().unwrap().block();
    assert_eq!(other.reply_when(durability), None);
}

#[test]
fn a_reader_waits_for_the_records_it_may_have_seen() {
    let store = Gated::new(MemoryStore::new(), true);
    let world = World::with_store(store.clone());
    world.drained();
    let journal = world.ledger.journal();
    assert!(journal.await_durable(journal.claimed()).is_none(), "everything is durable");
    store.set_open(false);
    let submission = world.ledger.submit(tap("a1", 1000), at(10)).unwrap();
    let readers = [journal.await_durable(journal.claimed()), journal.await_durable(journal.claimed())];
    let [first, second] = readers.map(|ticket| ticket.expect("the approval is under way"));
    assert!(Arc::ptr_eq(&first, &second), "one ticket a place, however many readers");
    assert_eq!(first.durability(), None);
    store.set_open(true);
    assert_eq!(first.block(), Durability::Durable);
    assert_eq!(submission.ticket.unwrap().block(), Durability::Durable);
}

/// Holds the thread that wakes it until it is let go.
struct Held {
    reached: Mutex<mpsc::Sender<()>>,
    go: Mutex<mpsc::Receiver<()>>,
}

impl Wake for Held {
    fn wake(self: Arc<Self>) {
        self.reached.lock().unwrap().send(()).unwrap();
        self.go.lock().unwrap().recv().unwrap();
    }
}

#[test]
fn an_id_stays_in_memory_until_its_waiter_knows_that_it_is_durable() {
    let store = Gated::new(MemoryStore::new(), true);
    let world = World::with_store(store.clone());
    world.drained();
    store.set_open(false);
    let first = world.ledger.submit(tap("a1", 1000), at(10)).unwrap();
    let journal = world.ledger.journal();
    let awaited = journal.await_durable(journal.claimed()).expect("the approval is under way");
    let ((reached, is_reached), (go, may_go)) = (mpsc::channel(), mpsc::channel());
    let held = Waker::from(Arc::new(Held { reached: Mutex::new(reached), go: Mutex::new(may_go) }));
    assert!(pin!(awaited.wait()).poll(&mut Context::from_waker(&held)).is_pending());
    store.set_open(true);
    is_reached.recv().unwrap();
    assert_eq!(journal.durable(), journal.claimed(), "the record is durable, and its waiter not told");
    std::thread::scope(|scope| {
        let turn = scope.spawn(|| world.ledger.write_rows().unwrap());
        while store.watermark().unwrap() < journal.durable() {
            std::thread::yield_now();
        }
        for _ in 0..1_000 {
            let again = world.ledger.submit(tap("a1", 1000), at(10)).unwrap();
            assert!(again.ticket.is_some(), "it has not been told, so that a repeat must wait with it");
        }
        assert_eq!(world.ledger.give_up(&first, at(11)), GaveUp::WaitAgain);
        go.send(()).unwrap();
        turn.join().unwrap();
    });
    let again = world.ledger.submit(tap("a1", 1000), at(12)).unwrap();
    let outcome = Some(Outcome::Declined(Reason::DeadlineExceeded));
    assert_eq!(first.ticket.clone().unwrap().block(), Durability::Released);
    assert_eq!((first.reply_when(Durability::Released).unwrap().outcome, again.reply.outcome), (outcome, outcome));
    assert_eq!(world.available(), 100_000, "nothing stays held");
    world.close_and_check(&store.inner);
}

#[test]
fn a_reader_learns_that_the_journal_failed() {
    let world = World::with_store(FailAfter::new(MemoryStore::new(), World::SET_UP_RECORDS));
    world.ledger.submit(tap("a1", 1000), at(10)).unwrap();
    let journal = world.ledger.journal();
    for _ in 0..2 {
        assert_eq!(journal.await_durable(journal.claimed()).map(|ticket| ticket.block()), Some(Durability::Failed));
    }
}

#[test]
fn a_late_decision_is_released_and_answered_deadline_exceeded_for_ever() {
    let store = Gated::new(MemoryStore::new(), true);
    let world = World::with_store(store.clone());
    store.set_open(false);
    let submission = world.ledger.submit(tap("a1", 1000), at(10)).unwrap();
    assert_eq!(world.ledger.give_up(&submission, at(10)), GaveUp::WaitAgain);
    let ticket = submission.ticket.clone().unwrap();
    assert_eq!(ticket.durability(), None, "late, and its release is not durable either");
    store.set_open(true);
    assert_eq!(ticket.block(), Durability::Released);
    let reply = submission.reply_when(Durability::Released).unwrap();
    assert_eq!(reply.outcome, Some(Outcome::Declined(Reason::DeadlineExceeded)));
    assert_eq!(world.available(), 100_000, "nothing stays held");
    assert_eq!(
        world.user().headroom(&"user".parse().unwrap(), at(10).at.seconds()).0,
        100_000,
        "the limit is back in full"
    );
    let again = world.ledger.submit(tap("a1", 1000), at(12)).unwrap();
    assert_eq!(again.reply.outcome, Some(Outcome::Declined(Reason::DeadlineExceeded)));
    world.close_and_check(&store.inner);
}

#[test]
fn a_late_increment_releases_only_itself() {
    let store = Gated::new(MemoryStore::new(), true);
    let world = World::with_store(store.clone());
    world.durable(tap("a1", 1000));
    store.set_open(false);
    let mut increment = tap("i1", 500);
    increment.kind = Kind::Incremental;
    increment.original = Some("a1".parse().unwrap());
    let submission = world.ledger.submit(increment, at(10)).unwrap();
    world.ledger.give_up(&submission, at(10));
    store.set_open(true);
    assert_eq!(submission.ticket.unwrap().block(), Durability::Released);
    let root = world.ledger.find(&"a1".parse().unwrap()).unwrap().unwrap().authorization.unwrap();
    assert_eq!((root.state, root.held().amount.0), (AuthorizationState::Approved, 1000));
    assert_eq!(world.available(), 99_000);
    world.close_and_check(&store.inner);
}

#[test]
fn giving_up_on_what_is_durable_changes_nothing() {
    let world = World::new();
    let submission = world.ledger.submit(tap("a1", 1000), at(10)).unwrap();
    assert_eq!(submission.ticket.clone().unwrap().block(), Durability::Durable);
    assert_eq!(world.ledger.give_up(&submission, at(11)), GaveUp::WaitAgain);
    assert_eq!(submission.ticket.unwrap().durability(), Some(Durability::Durable));
    assert_eq!(world.available(), 99_000);
}

#[test]
fn after_a_failed_write_nothing_is_approved_and_what_was_waiting_is_unknown() {
    let inner = MemoryStore::new();
    let world = World::with_store(FailAfter::new(inner.clone(), World::SET_UP_RECORDS));
    let waiting = world.ledger.submit(tap("a1", 1000), at(10)).unwrap();
    assert_eq!(waiting.ticket.clone().unwrap().block(), Durability::Failed);
    assert_eq!(waiting.reply_when(Durability::Failed), None, "outcome unknown");
    let later = world.ledger.submit(tap("a2", 1000), at(11)).unwrap();
    assert_eq!(later.reply.outcome, Some(Outcome::Declined(Reason::JournalUnavailable)));
    assert!(later.ticket.is_none(), "it has no record to wait for");
    let refused = world.ledger.change(&world::author(), world::suspend(true), at(12));
    assert_eq!(refused.unwrap_err(), ChangeError::NoPlace(NoPlace::Unavailable));
    assert!(world.failure.lock().unwrap().is_some(), "the process was told to stop");
    check_prefixes(&inner);
}

#[test]
fn closing_makes_durable_what_has_a_place_and_refuses_the_rest() {
    let store = MemoryStore::new();
    let world = World::with_store(store.clone());
    let words: Vec<_> =
        (0..200).map(|n| world.ledger.submit(tap(&format!("a{n}"), 1), at(10)).unwrap().ticket.unwrap()).collect();
    world.ledger.journal().close();
    assert!(words.iter().all(|ticket| ticket.durability() == Some(Durability::Durable)));
    let refused = world.ledger.submit(tap("late", 1), at(11)).unwrap();
    assert_eq!(refused.reply.outcome, Some(Outcome::Declined(Reason::JournalUnavailable)));
    check_prefixes(&store);
}

#[test]
fn every_crash_point_recovers_to_the_fold_of_its_prefix() {
    let store = MemoryStore::new();
    let world = World::with_store(store.clone());
    for n in 0..20 {
        world.durable(tap(&format!("a{n}"), 100 + n));
        if n % 7 == 3 {
            world.ledger.write_rows().unwrap();
        }
    }
    let watermark = store.watermark().unwrap();
    let head = world.ledger.journal().durable();
    world.ledger.journal().close();
    for last in watermark.0..=head.0 {
        let crashed: Arc<dyn Store> = store.crashed_after(Sequence(last));
        let verification = verify(&crashed).unwrap();
        assert!(verification.is_equal(), "after record {last}");
        assert_eq!(verification.head, Sequence(last));
    }
}

#[test]
fn recovery_refuses_a_journal_that_is_not_what_was_written() {
    let written = || {
        let store = MemoryStore::new();
        let world = World::with_store(store.clone());
        world.durable(tap("a1", 100));
        world.durable(tap("a2", 100));
        (store, world.ledger.journal().durable())
    };
    let refused = |store: &Arc<MemoryStore>| {
        let store: Arc<dyn Store> = store.clone();
        recover(&store).map(|recovered| recovered.head).unwrap_err()
    };
    let (store, head) = written();
    store.alter(head, |entry| *entry.payload.last_mut().unwrap() ^= 1);
    assert_eq!(refused(&store), RecoveryError::Altered(head));

    let (store, head) = written();
    let middle = Sequence(head.0 - 1);
    store.lose(middle);
    assert_eq!(refused(&store), RecoveryError::Gap(middle));

    let (store, head) = written();
    let world = World::resumed(store.clone());
    world.ledger.write_rows().unwrap();
    let cut_short = store.crashed_after(Sequence(head.0 - 1));
    assert_eq!(refused(&cut_short), RecoveryError::Ahead { watermark: head, head: Sequence(head.0 - 1) });
}

#[test]
fn an_id_leaves_memory_once_the_index_leads_to_its_records_and_is_known_again() {
    let world = World::new();
    world.durable(tap("a1", 1000));
    assert_eq!(world.ledger.ids_in_memory(), 1, "answer and authorization have one place");
    let increment = Request { kind: Kind::Incremental, original: Some("a1".parse().unwrap()), ..tap("a2", 1) };
    let mut meanwhile = Some(increment);
    let mut rest = || {
        meanwhile.take().map(|increment| world.durable(increment));
    };
    world.ledger.write_rows_with_rests(&mut rest).unwrap();
    assert_eq!(world.ledger.ids_in_memory(), 2, "the index does not lead to the increment yet");
    world.ledger.write_rows().unwrap();
    assert_eq!(world.ledger.ids_in_memory(), 0);
    let again = world.ledger.submit(tap("a1", 1000), at(3600)).unwrap();
    assert!(matches!(again.reply.outcome, Some(Outcome::Approved { .. })));
    assert!(again.ticket.is_none(), "it was durable long ago");
    let other = world.ledger.submit(tap("a1", 1001), at(3600)).unwrap();
    assert_eq!(other.reply.outcome, None, "other data under a known id");
    assert_eq!(world.available(), 98_999);
}

#[test]
fn ids_that_are_asked_again_and_not_changed_take_no_memory() {
    const OLD: usize = 1_000;
    let store = MemoryStore::new();
    let world = World::with_store(store.clone());
    let ask = |world: &World, name: &str, amount| world.ledger.submit(tap(name, amount), at(20)).unwrap();
    let names: Vec<_> = (0..OLD).map(|number| format!("a{number}")).collect();
    let old: Vec<_> = names.iter().map(|name| ask(&world, name, 1)).collect();
    world.drained();
    world.ledger.write_rows().unwrap();
    world.durable(tap("open", 1));
    for (name, submission) in names.iter().zip(&old) {
        assert_eq!(ask(&world, name, 1).reply, submission.reply, "a repeat");
        assert_eq!(ask(&world, name, 2).reply.outcome, None, "other data");
        assert_eq!(world.ledger.give_up(submission, at(21)), GaveUp::WaitAgain, "it is durable");
        let refused = world.ledger.note_overdue(&name.parse().unwrap(), Overdue::Return, at(22)).unwrap_err();
        assert!(matches!(refused, ChangeError::Conflict(_)), "{refused}");
        let [from, to] = [name.as_str(), "a0"].map(|root| root.parse().unwrap());
        world.change(Change::Link { from, to }).unwrap_err();
    }
    assert_eq!(world.ledger.ids_in_memory(), 1, "the one with a record that is not in the index");
    world.ledger.journal().close();
    // Recovery names the ids of records that are not in the index, and folds them when somebody asks.
    let world = World::resumed(store);
    let in_memory = |world: &World| (world.ledger.ids_in_memory(), world.ledger.ids_told_in_memory());
    assert_eq!(in_memory(&world), (1, 0));
    assert_eq!(ask(&world, "open", 2).reply.outcome, None);
    assert_eq!(in_memory(&world), (1, 0), "named again");
    let more = Request { kind: Kind::Incremental, original: Some("open".parse().unwrap()), ..tap("more", 1) };
    world.durable(more);
    assert_eq!(in_memory(&world), (2, 2), "a record follows");
    world.ledger.write_rows().unwrap();
    assert_eq!(in_memory(&world), (0, 0));
}

#[test]
fn a_full_queue_has_the_place_of_every_release() {
    let store = Gated::new(MemoryStore::new(), true);
    let world = World::with_store(store.clone());
    world.drained();
    store.set_open(false);
    let first = world.ledger.submit(tap("first", 1), at(10)).unwrap();
    let full =
        (0..QUEUE_RECORDS_MAX).find_map(|number| world.ledger.submit(tap(&format!("a{number}"), 1), at(10)).err());
    assert_eq!(full, Some(Refusal::Overloaded));
    assert_eq!(world.ledger.give_up(&first, at(11)), GaveUp::WaitAgain, "its release is on its way");
    assert_eq!(world.ledger.give_up(&first, at(11)), GaveUp::WaitAgain, "once");
    store.set_open(true);
    assert_eq!(first.ticket.unwrap().block(), Durability::Released);
    world.drained();
    let again = world.ledger.submit(tap("again", 1), at(12)).unwrap();
    assert_eq!(again.ticket.unwrap().block(), Durability::Durable, "every place was given back");
}

/// Keys and values of the index of ids on disk.
fn index_entries(store: &MemoryStore) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut entries = Vec::new();
    let read = store.rows(Table::Ids, &mut |key, value| {
        entries.push((key.to_vec(), value.to_vec()));
        Ok(())
    });
    read.unwrap();
    entries
}

#[test]
fn an_index_that_lost_an_entry_is_found_and_built_again_from_the_journal() {
    let store = MemoryStore::new();
    let world = World::with_store(store.clone());
    for number in 0..20 {
        world.durable(tap(&format!("a{number}"), 1_000));
    }
    world.ledger.write_rows().unwrap();
    world.durable(tap("after-the-rows", 1_000));
    world.ledger.journal().close();
    let plain: Arc<dyn Store> = store.clone();
    let whole = verify(&plain).unwrap();
    assert!(whole.is_equal());
    let keys: Vec<_> = index_entries(&store).into_iter().map(|(key, _)| key).collect();
    store.delete_rows(Table::Ids, &keys[3..4]).unwrap();
    assert_eq!(verify(&plain).unwrap_err(), RecoveryError::Index);
    assert_eq!(reindex(&*plain).unwrap(), 20, "the entries of records whose rows are on disk");
    assert_eq!(verify(&plain).unwrap(), whole);
    let later = RowBytes { table: Table::Ids, key: keys[5].clone(), value: 7_u64.to_be_bytes().to_vec() };
    store.put_rows(&[later]).unwrap();
    assert_eq!(verify(&plain).unwrap_err(), RecoveryError::Index, "an entry names another record");
}

#[test]
fn an_entry_that_names_a_record_about_another_id_is_corrupt() {
    let store = MemoryStore::new();
    let world = World::with_store(store.clone());
    world.durable(tap("a1", 1_000));
    world.durable(tap("a2", 1_000));
    world.ledger.write_rows().unwrap();
    let entries = index_entries(&store);
    let (first, second) = (&entries[0], &entries[1]);
    let swapped = [(&first.0, &second.1), (&second.0, &first.1)];
    let swapped = swapped.map(|(key, value)| RowBytes { table: Table::Ids, key: key.clone(), value: value.clone() });
    store.put_rows(&swapped).unwrap();
    let refused = world.ledger.submit(tap("a1", 1_000), at(3600)).unwrap_err();
    assert!(refused.to_string().contains("is named as one about a1, and is not"), "{refused}");
}

#[test]
fn decisions_go_on_while_rows_rest() {
    let store = MemoryStore::new();
    let world = World::with_store(store.clone());
    for number in 0..300 {
        world.durable(tap(&format!("a{number}"), 1));
    }
    let before = world.ledger.journal().durable();
    let mut rests = 0;
    let mut decide = || {
        rests += 1;
        world.durable(tap(&format!("meanwhile{rests}"), 1));
    };
    let written = world.ledger.write_rows_with_rests(&mut decide).unwrap();
    assert_eq!(written.watermark, before, "what came meanwhile is the next turn's");
    assert_eq!(world.ledger.ids_in_memory(), rests, "what was written left memory");
    assert!(rests >= 5, "rested {rests} times");
    assert_eq!(world.available(), 100_000 - 300 - i64::try_from(rests).unwrap());
    world.close_and_check(&store);
}
