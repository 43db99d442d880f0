use std::sync::Arc;

use tapgate_engine::fact::{Author, Channel, Kind, Merchant, Request};
use tapgate_engine::ledger::{Change, CursorChange, Policy};
use tapgate_engine::money::{Currency, Minor};
use tapgate_engine::recovery::recover;
use tapgate_engine::store::Store;
use tapgate_engine::testing::MemoryStore;
use tapgate_engine::time::Moment;

use super::verify::{Known, Signed, Unproved};
use super::*;

pub(super) const NOON: UnixMillis = UnixMillis(1_764_500_000_000);

pub(super) fn key(digit: u8) -> SigningKey {
    SigningKey::from_bytes([digit; 32]).unwrap()
}

fn signer(digit: u8) -> Signer {
    Signer { key: key(digit), previous: None }
}

pub(super) fn ledger_on(store: Arc<dyn Store>) -> Ledger {
    let state = recover(&store).unwrap().state;
    Ledger::start(store, state, Policy::default(), 1, Box::new(|error| panic!("{error}"))).unwrap()
}

fn tap(id: &str) -> Request {
    Request {
        id: id.parse().unwrap(),
        user: "12345".parse().unwrap(),
        card: "card_9".parse().unwrap(),
        kind: Kind::Authorization,
        original: None,
        amount: Minor(100),
        currency: Currency::EUR,
        partial_approval_allowed: false,
        settlement_amount: None,
        settlement_currency: None,
        merchant: Merchant::default(),
        channel: Channel::Other,
        currency_given: None,
    }
}

/// A ledger that has decided so many taps.
pub(super) fn ledger(taps: usize) -> Ledger {
    let ledger = ledger_on(MemoryStore::new());
    for number in 0..taps {
        decide(&ledger, &format!("tap{number}"));
    }
    ledger
}

pub(super) fn decide(ledger: &Ledger, id: &str) {
    let submission = ledger.submit(tap(id), Moment { at: NOON, trusted: true }).unwrap();
    if let Some(ticket) = &submission.ticket {
        ticket.block();
    }
}

fn sign(ledger: &Ledger, signer: &Signer) -> HeadSigned {
    let signed = signer.sign(ledger, NOON, None, None).unwrap().unwrap();
    let change = Change::Cursor(CursorChange::Sign(Box::new(signed.clone())));
    let made = ledger.change(&Author::Engine, change, Moment { at: NOON, trusted: true }).unwrap();
    made.ticket.unwrap().block();
    assert_eq!(ledger.head_signed().unwrap().as_ref(), Some(&signed));
    signed
}

fn receipt_of(ledger: &Ledger, id: &str) -> Receipt {
    signer(1).receipt(ledger, &id.parse().unwrap(), NOON, None).unwrap().unwrap()
}

fn by_key(digit: u8) -> Known<'static> {
    Known { key: Some(key(digit).address()), head: None }
}

fn by_head(head: &Head) -> Known<'_> {
    Known { key: None, head: Some(head) }
}

#[test]
fn a_receipt_is_checked_by_itself_and_an_address_or_a_head() {
    let ledger = ledger(300);
    for id in ["tap0", "tap255", "tap299"] {
        let receipt = receipt_of(&ledger, id);
        let text = serde_json::to_string(&receipt).unwrap();
        assert!(text.len() < 2_048, "{} bytes", text.len());
        let receipt: Receipt = serde_json::from_str(&text).unwrap();
        let signed = Some(Signed { by: key(1).address(), at: NOON });
        for (known, signed) in [(by_key(1), signed), (by_head(&receipt.head), None)] {
            let proved = verify::receipt(&receipt, known).unwrap();
            assert_eq!(proved.record.fact.request().unwrap().id.as_str(), id);
            assert_eq!(proved.signed, signed);
        }
        let stranger = key(2).address();
        let named = key(1).address().to_string();
        assert_eq!(verify::receipt(&receipt, by_key(2)), Err(Unproved::OtherKey { named, known: stranger }));
    }
    assert_eq!(signer(1).receipt(&ledger, &"never".parse().unwrap(), NOON, None).unwrap(), None);
}

#[test]
fn nothing_that_was_changed_is_proved() {
    let ledger = ledger(20);
    let (receipt, other) = (receipt_of(&ledger, "tap7"), receipt_of(&ledger, "tap8"));
    let kept = receipt.head.clone();
    let changed = |change: &dyn Fn(&mut Receipt)| {
        let mut receipt = receipt.clone();
        change(&mut receipt);
        let known = Known { key: Some(key(1).address()), head: Some(&kept) };
        [by_key(1), known].map(|known| verify::receipt(&receipt, known).err())
    };
    let all = |error: Unproved| [Some(error.clone()), Some(error)];
    assert_eq!(changed(&|_| {}), [None, None]);
    assert_eq!(changed(&|receipt| receipt.record.clone_from(&other.record)), all(Unproved::NotIncluded));
    assert_eq!(changed(&|receipt| receipt.sequence += 1), all(Unproved::NotIncluded));
    assert_eq!(changed(&|receipt| receipt.path.clone_from(&other.path)), all(Unproved::NotIncluded));
    assert_eq!(changed(&|receipt| receipt.head.size += 1), all(Unproved::NotIncluded));
    assert_eq!(changed(&|receipt| receipt.authorization_id = "tap8".into()), all(Unproved::OtherId("tap7".into())));
    let signature = all(Unproved::Signature(key(1).address()));
    assert_eq!(changed(&|receipt| receipt.head.time += 1), signature);
    assert_eq!(changed(&|receipt| receipt.head.journal = "00".repeat(16)), signature);
    assert_eq!(changed(&|receipt| receipt.head.key = key(2).address().to_string())[0].as_ref().unwrap().to_string(), {
        let (named, known) = (key(2).address().to_string(), key(1).address());
        Unproved::OtherKey { named, known }.to_string()
    });
    let malformed: [&dyn Fn(&mut Receipt); 3] =
        [&|receipt| receipt.record = "?".into(), &|receipt| receipt.path = "AAAA".into(), &|receipt| {
            receipt.head.root = "12".into();
        }];
    for part in malformed {
        assert!(matches!(changed(part)[0], Some(Unproved::Form(_))));
    }
}

#[test]
fn a_receipt_lies_under_the_head_that_was_published_or_a_new_one() {
    let ledger = ledger(20);
    let published = document(&ledger, &sign(&ledger, &signer(1))).unwrap();
    let before = receipt_of(&ledger, "tap7");
    assert_eq!((&before.head, published.size), (&published, 20));
    decide(&ledger, "later");
    let later = receipt_of(&ledger, "later");
    assert_eq!(later.head.size, 22);
    let unknown = Unproved::Later { sequence: 22, kept: 20 };
    assert_eq!(verify::receipt(&later, by_head(&published)), Err(unknown));
    let known = Known { key: Some(key(1).address()), head: Some(&published) };
    assert!(verify::receipt(&later, known).is_ok(), "signed, and its head extends the one that is kept");
    // The next one shows that it extends the one before, so that it proves receipts under either.
    let next = document(&ledger, &sign(&ledger, &signer(1))).unwrap();
    assert_eq!((next.size, next.older.as_ref().map(|older| older.size)), (22, Some(20)));
    assert_eq!(verify::head(&next, by_head(&published)), Ok(None));
    for receipt in [&before, &later] {
        assert!(verify::receipt(receipt, by_head(&next)).is_ok());
    }
}

#[test]
fn a_journal_that_was_written_anew_is_a_fork() {
    let ledger = ledger(20);
    let kept = document(&ledger, &sign(&ledger, &signer(1))).unwrap();
    let receipt = receipt_of(&ledger, "tap7");
    let mut forked = document(&ledger, &sign(&ledger, &signer(1))).unwrap();
    let other = self::ledger(21);
    let head = other.head_at(Sequence(21)).unwrap().unwrap();
    forked.root = hex::encode(head.root);
    assert_eq!(verify::head(&forked, by_head(&kept)), Err(Unproved::Fork(20)));
    let mut of_another = kept.clone();
    of_another.journal = "00".repeat(16);
    let stranger = Unproved::OtherJournal { kept: of_another.journal.clone(), other: kept.journal.clone() };
    assert_eq!(verify::head(&kept, by_head(&of_another)), Err(stranger));
    let mut same_size = kept.clone();
    same_size.root = hex::encode(head.root);
    assert_eq!(verify::receipt(&receipt, by_head(&same_size)), Err(Unproved::Fork(20)));
    assert_eq!(verify::head(&receipt.head, by_head(&same_size)), Err(Unproved::Fork(20)));
}

#[test]
fn a_head_that_was_kept_long_ago_still_says_what_lies_under_it() {
    let ledger = ledger(20);
    let kept = document(&ledger, &sign(&ledger, &signer(1))).unwrap();
    for number in 0..3 {
        decide(&ledger, &format!("later{number}"));
        sign(&ledger, &signer(1));
    }
    let of = |id: &str, under| signer(1).receipt(&ledger, &id.parse().unwrap(), NOON, under).unwrap();
    let plain = of("tap7", None).unwrap();
    let other = Unproved::OtherHead { size: plain.head.size, kept: 20 };
    assert_eq!(verify::receipt(&plain, by_head(&kept)), Err(other));
    let under = of("tap7", Some(Sequence(20))).unwrap();
    assert!(verify::receipt(&under, Known { key: Some(key(1).address()), head: Some(&kept) }).is_ok());
    assert_eq!((of("later1", Some(Sequence(20))), of("tap7", Some(Sequence(10_000)))), (None, None));
    let since = |size| signer(1).sign(&ledger, NOON, None, Some(Sequence(size))).unwrap();
    let newer = document(&ledger, &since(20).unwrap()).unwrap();
    assert!(verify::head(&newer, by_head(&kept)).is_ok() && newer.size > plain.head.size);
    // A receipt under it holds for what the kept head has, too.
    assert!(
        verify::receipt(
            &Receipt { head: newer.clone(), ..of("tap7", Some(Sequence(newer.size))).unwrap() },
            by_head(&kept)
        )
        .is_ok()
    );
    assert_eq!(since(10_000), None);
}

#[test]
fn a_key_is_introduced_by_the_ones_before_for_as_long_as_it_signs() {
    let ledger = ledger(20);
    sign(&ledger, &signer(1));
    let known = |head: &Head| [1, 2, 3].map(|digit| verify::head(head, by_key(digit)).is_ok());
    for _ in 0..2 {
        let head = document(&ledger, &sign(&ledger, &Signer { key: key(2), previous: Some(key(1)) })).unwrap();
        assert_eq!(known(&head), [true, true, false]);
    }
    // Also where the former key is no longer given.
    assert_eq!(known(&document(&ledger, &sign(&ledger, &signer(2))).unwrap()), [true, true, false]);
    let third = Signer { key: key(3), previous: Some(key(2)) };
    let head = document(&ledger, &sign(&ledger, &third)).unwrap();
    assert_eq!(known(&head), [true, true, true]);
    let receipt = third.receipt(&ledger, &"tap7".parse().unwrap(), NOON, None).unwrap().unwrap();
    let signed = verify::receipt(&receipt, by_key(1)).unwrap().signed.unwrap();
    assert_eq!(signed.by, key(3).address());
    // An introduction in another journal's head, or out of order, counts for nothing.
    let mut moved = head.clone();
    moved.introduced.reverse();
    assert!(!known(&moved)[0]);
    // Without the former key, or with another, nobody introduces it.
    for previous in [None, Some(key(1))] {
        let stranger = Signer { key: key(4), previous };
        let head = document(&ledger, &stranger.sign(&ledger, NOON, None, None).unwrap().unwrap()).unwrap();
        assert!(head.introduced.is_empty());
        assert!(matches!(verify::head(&head, by_key(3)), Err(Unproved::OtherKey { .. })));
    }
}

#[test]
fn what_another_key_signed_is_not_given_away() {
    let ledger = ledger(20);
    sign(&ledger, &signer(1));
    let receipt = signer(2).receipt(&ledger, &"tap7".parse().unwrap(), NOON, None).unwrap().unwrap();
    assert_eq!(receipt.head.key, key(2).address().to_string());
}

#[test]
fn a_copy_keeps_the_journals_name_and_its_heads() {
    let store = MemoryStore::new();
    let ledger = ledger_on(store.clone());
    decide(&ledger, "tap0");
    let signed = sign(&ledger, &signer(1));
    ledger.close().unwrap();
    let copy = ledger_on(store);
    assert_eq!((copy.journal_id(), copy.head_signed()), (ledger.journal_id(), Ok(Some(signed))));
}
