//! The messages of a journal: by example, after restarts, and for every size of read.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tapgate_engine::bytes::Fingerprint;
use tapgate_engine::contract::limit::ClientLimit;
use tapgate_engine::contract::pricing::{Conversion, Rates};
use tapgate_engine::fact::{
    AccountStatus, AlertKind, BreakAnswer, BreakKind, CardStatus, Channel, Closing, Condition, Discrepancy, Fact, Flow,
    IdempotencyKey, Import, ImportedCard, Kind, Merchant, Posting, Progress, Request, Severity, Tolerance,
};
use tapgate_engine::ids::{BreakId, UrId};
use tapgate_engine::journal::{Durability, Ticket};
use tapgate_engine::ledger::{AlertChange, Change, Policy, Submission};
use tapgate_engine::money::{ChfMinor, Currency, Minor, Money};
use tapgate_engine::recovery::recover;
use tapgate_engine::store::{Entry, Original, RowBytes, StandIn, Store, Table, Visit, VisitRow};
use tapgate_engine::testing::{FailAfter, Gated, MemoryStore};
use tapgate_engine::time::{Moment, UnixMillis, UnixSeconds};
use tapgate_engine::tree::{Frontier, Hash, Node, Span};

use super::events::Events;
use super::instructions::Instructions;
use super::notices::Notices;
use super::*;
use crate::delivery::tail::{Rejected, Trouble};
use crate::delivery::{Event, EventKind, Notice, NoticeKind};

const START_SECONDS: u64 = 1_768_659_501;

fn at(seconds: u64) -> Moment {
    Moment { at: UnixMillis((START_SECONDS + seconds) * 1_000), trusted: true }
}

fn author() -> Author {
    Author::Person { name: "ops".into(), idempotency: None }
}

/// One user with 1,000.00 USD of funds and a EUR card, and a pool of 1,000.00 EUR.
struct World {
    ledger: Arc<Ledger>,
    store: Arc<MemoryStore>,
}

impl World {
    fn over(store: Arc<MemoryStore>) -> World {
        World::through(store.clone(), store)
    }

    /// Records reach the store through another one.
    fn through(shared: Arc<dyn Store>, store: Arc<MemoryStore>) -> World {
        let recovered = recover(&shared).unwrap();
        let ledger = Ledger::start(shared, recovered.state, Policy::default(), 1, Box::new(|_| {})).unwrap();
        World { ledger: Arc::new(ledger), store }
    }

    fn new() -> World {
        let world = World::over(MemoryStore::new());
        let conversion = Conversion { rate: 10_907, spread: 10_000 };
        let rates = Rates {
            chf: vec![(Currency::EUR, 9_450), (Currency::USD, 8_630)],
            pairs: vec![((Currency::EUR, Currency::USD), conversion)],
            interchange_percent: 1,
            ..Rates::default()
        };
        world.change(Change::ReplaceRates(Box::new(rates)));
        world.change(Change::ReportPool {
            currency: Currency::EUR,
            reported: Some(Minor(100_000)),
            floor: None,
            reserve: None,
            reflected: None,
        });
        let start = UnixSeconds(START_SECONDS.cast_signed());
        world.change(Change::ImportUser(Box::new(Import {
            user: "user".parse().unwrap(),
            status: AccountStatus::Live,
            limit: ClientLimit { used: ChfMinor(0), client: ChfMinor(100_000), start },
            funds: Some(Money { amount: Minor(100_000), currency: Currency::USD }),
            fiat: Vec::new(),
            funding: None,
            overrides: false,
            provider: None,
            cards: vec![ImportedCard {
                id: "card".parse().unwrap(),
                status: CardStatus::Active,
                currency: Currency::EUR,
                single_use: None,
            }],
        })));
        world
    }

    /// The same journal after a restart.
    fn restarted(self) -> World {
        self.ledger.journal().close();
        World::over(self.store)
    }

    fn change(&self, change: Change) {
        let receipt = self.ledger.change(&author(), change, at(1)).unwrap();
        durable(receipt.ticket);
    }

    fn ask(&self, kind: Kind, id: &str, original: Option<&str>, amount: i64) {
        durable(self.submit(kind, id, original, amount).ticket);
    }

    fn submit(&self, kind: Kind, id: &str, original: Option<&str>, amount: i64) -> Submission {
        let request = Request {
            id: id.parse().unwrap(),
            kind,
            original: original.map(|id| id.parse().unwrap()),
            user: "user".parse().unwrap(),
            card: "card".parse().unwrap(),
            amount: Minor(amount),
            currency: Currency::EUR,
            settlement_amount: None,
            settlement_currency: None,
            partial_approval_allowed: false,
            merchant: Merchant::default(),
            channel: Channel::Pos,
            currency_given: None,
        };
        self.ledger.submit(request, at(2)).unwrap()
    }

    fn tap(&self, id: &str, amount: i64) {
        self.ask(Kind::Authorization, id, None, amount);
    }

    fn book(&self, root: &str, hash: &str, (flow, progress): (Flow, Progress), amount: i64) {
        let posting = Posting {
            hash: hash.into(),
            user: "user".parse().unwrap(),
            flow,
            progress,
            amount: Money { amount: Minor(amount), currency: Currency::EUR },
            at: UnixSeconds(START_SECONDS.cast_signed() + 60),
            mcc: None,
            merchant: None,
            references: (!root.is_empty()).then(|| root.into()).into_iter().collect(),
            awaits: (!root.is_empty()).then(|| root.parse().unwrap()),
            ordinal: 0,
        };
        let booking = self.ledger.post(&posting, at(3)).unwrap();
        durable(Some(booking.unwrap().ticket));
    }

    fn raise(&self, kind: AlertKind, subject: &str, severity: Severity) {
        let condition = Condition {
            kind,
            subject: subject.into(),
            severity,
            title: "The pool runs low".into(),
            text: "Send a top-up today.".into(),
            facts: vec![("available".into(), "1000 EUR".into())],
        };
        durable(self.ledger.raise_alert(condition, at(10)).unwrap());
    }

    fn outbox<T: Telling>(&self, telling: T) -> LedgerOutbox<T> {
        LedgerOutbox::new(Arc::clone(&self.ledger), Arc::new(Clock::start()), telling)
    }

    /// Every webhook event, `max` messages at a time.
    fn events_by(&self, max: usize) -> Vec<Message<Event>> {
        read(&self.outbox(wanting(EventKind::ALL.to_vec())), max)
    }

    fn events(&self) -> Vec<Message<Event>> {
        self.events_by(1_000)
    }

    fn notices(&self) -> Vec<Message<Notice>> {
        read(&self.outbox(Notices), 1_000)
    }

    /// Kind and data of the events after the first `after` ones.
    fn told(&self, after: usize) -> Vec<(&'static str, Value)> {
        self.events().iter().skip(after).map(|message| (message.content.kind.name(), data(message))).collect()
    }

    fn kinds(&self, after: usize) -> Vec<&'static str> {
        self.told(after).into_iter().map(|(kind, _)| kind).collect()
    }
}

fn durable(ticket: Option<Arc<Ticket>>) {
    assert_eq!(ticket.expect("a record was made").block(), Durability::Durable);
}

fn data(message: &Message<Event>) -> Value {
    let body: Value = serde_json::from_slice(&message.content.body).unwrap();
    assert_eq!(body["type"], message.content.kind.name());
    body["data"].clone()
}

fn wanting(wanted: Vec<EventKind>) -> Events {
    Events { wanted, tolerance: Tolerance::default() }
}

fn read<T: Telling>(outbox: &LedgerOutbox<T>, max: usize) -> Vec<Message<T::Content>> {
    let (mut place, mut all) = (Place::default(), Vec::new());
    loop {
        let batch = outbox.after(place, max).unwrap();
        assert!(batch.messages.len() <= max);
        assert!(batch.messages.last().is_none_or(|last| last.place <= batch.through));
        all.extend(batch.messages);
        if batch.through == place {
            assert!(!batch.more, "there is more, and it is not reached");
            return all;
        }
        place = batch.through;
    }
}

const SETTLED: (Flow, Progress) = (Flow::Out, Progress::Completed);

#[test]
fn the_second_provider_blocks_a_single_use_card_with_its_approval() {
    let world = World::new();
    let gate = Gated::new(Arc::clone(&world.store), true);
    world.ledger.journal().close();
    let world = World::through(gate.clone(), world.store);
    let card = || "card".parse().unwrap();
    let calls = |world: &World| -> Vec<&'static str> {
        let is_of_partner = Box::new(|user: &UrId| user.as_str() == "user");
        let all = read(&world.outbox(Instructions { is_of_partner }), 1_000);
        all.iter().map(|message| message.kind).collect()
    };
    world.tap("a0", 100);
    assert_eq!(calls(&world), [""; 0], "any other approval is no news for it");
    world.change(Change::SetCardUse { card: card(), single_use: true });
    world.tap("a1", 200_000);
    assert_eq!(calls(&world), [""; 0], "a decline uses nothing");
    world.tap("a2", 100);
    world.ask(Kind::Incremental, "a3", Some("a2"), 100);
    assert_eq!(calls(&world), ["card.block"]);
    world.change(Change::ChangeCard { card: card(), status: CardStatus::Active });
    gate.set_open(false);
    let late = world.submit(Kind::Authorization, "a4", None, 100);
    world.ledger.give_up(&late, at(3));
    gate.set_open(true);
    assert_eq!(late.ticket.unwrap().block(), Durability::Released);
    assert_eq!(
        calls(&world),
        ["card.block", "card.unblock", "card.block", "card.unblock"],
        "a late approval uses nothing"
    );
    let nobody = world.outbox(Instructions { is_of_partner: Box::new(|_| false) });
    assert!(read(&nobody, 1_000).is_empty());
}

#[test]
fn an_approval_is_told_with_the_debit_it_asks_for() {
    let world = World::new();
    world.tap("a1", 1_000);
    let events = world.events();
    let sequence = world.ledger.journal().durable();
    let named: Vec<_> = events.iter().map(|event| (event.content.id.clone(), event.lane.as_deref())).collect();
    assert_eq!(
        named,
        [(format!("msg_{sequence}_0"), Some("user user")), (format!("msg_{sequence}_1"), Some("user user"))]
    );
    let [(approved, resource), (requested, debit)] = &world.told(0)[..] else { panic!("not two events") };
    assert_eq!((*approved, *requested), ("authorization.approved", "debit.requested"));
    assert_eq!((&resource["authorizationId"], &resource["state"]), (&json!("a1"), &json!("approved")));
    assert_eq!(resource["events"].as_array().map(Vec::len), Some(1));
    assert!(resource["trace"].as_array().is_some_and(|trace| trace.len() > 20));
    let expected = json!({
        "debitId": "a1", "authorizationId": "a1", "urId": "user", "cardId": "card", "amount": "1091", "currency": "USD",
        "approved": {"amount": "1000", "currency": "EUR"}, "paid": {"amount": "1000", "currency": "EUR"},
    });
    assert_eq!(*debit, expected);
}

#[test]
fn what_builds_on_a_record_in_quarantine_is_not_told_and_keeps_nothing_else_back() {
    let world = World::new();
    world.tap("a1", 1_000);
    let decided = world.ledger.journal().durable();
    world.ask(Kind::Reversal, "r1", Some("a1"), 1_000);
    world.tap("a2", 500);
    let told = world.kinds(0);
    world.raise(AlertKind::PoolLow, "EUR", Severity::Critical);
    let raised = world.ledger.journal().durable();
    durable(world.ledger.resolve_alert(AlertKind::PoolLow, "EUR", at(20)).unwrap());
    let stand_in = StandIn { at: at(2).at, original: Original::Lost };
    world.store.alter(decided, |entry| *entry = Entry::stand_in(decided, &stand_in));
    let of_others = ["authorization.approved", "debit.requested"];
    assert_eq!(world.kinds(0)[..2], of_others);
    assert!(told.len() > 4, "{told:?}");

    // A pager hears the end of what it was told of, all the same.
    world.store.alter(raised, |entry| *entry = Entry::stand_in(raised, &stand_in));
    let notices = world.notices();
    let [resolved] = &notices[..] else { panic!("{notices:?}") };
    assert_eq!((resolved.content.kind, resolved.content.title.as_str()), (NoticeKind::Resolved, "The pool runs low"));
}

#[test]
fn what_is_declined_asks_for_no_debit() {
    let world = World::new();
    world.tap("much", 1_000_000);
    world.ask(Kind::Incremental, "i1", Some("nowhere"), 10);
    assert_eq!(world.kinds(0), ["authorization.declined", "authorization.declined"]);
    let increment = &world.told(1)[0].1;
    assert_eq!((&increment["reason"], &increment["type"]), (&json!("parent_not_found"), &json!("incremental")));
}

#[test]
fn all_that_comes_back_of_a_debit_is_the_debit_whether_or_not_it_was_made() {
    let world = World::new();
    world.tap("a1", 999);
    world.ask(Kind::Incremental, "i1", Some("a1"), 500);
    let before = world.events().len();
    assert_eq!(world.kinds(2), ["authorization.incremented", "debit.requested"]);
    world.ask(Kind::Reversal, "r1", Some("a1"), 333);
    // The partner has debited both: the user's funds hold nothing.
    let debited = vec!["a1".parse().unwrap(), "i1".parse().unwrap()];
    let funds = Money { amount: Minor(90_000), currency: Currency::USD };
    world.change(Change::ReplaceFunds { user: "user".parse().unwrap(), funds, version: 1, debited });
    world.ask(Kind::Reversal, "r2", Some("a1"), 333);
    world.change(Change::Release { root: "a1".parse().unwrap(), reason: "gone".into() });
    let told = world.told(before);
    let kinds: Vec<_> = told.iter().map(|(kind, _)| *kind).collect();
    let expected = [
        "authorization.reversed",
        "debit.returned",
        "authorization.reversed",
        "debit.returned",
        "authorization.released",
        "debit.returned",
        "debit.returned",
    ];
    assert_eq!(kinds, expected);
    let back = |id: &str| -> i64 {
        let of_id = told.iter().filter(|(kind, debit)| *kind == "debit.returned" && debit["debitId"] == id);
        of_id.map(|(_, debit)| debit["amount"].as_str().unwrap().parse::<i64>().unwrap()).sum()
    };
    // ceil(999 × 1.0907), ceil(500 × 1.0907).
    assert_eq!((back("a1"), back("i1")), (1_090, 546));
    // ceil(1090 × 666 / 999) = 727 stays debited after the first third.
    assert_eq!((&told[1].1["reason"], &told[1].1["amount"]), (&json!("reversed"), &json!("363")));
    assert_eq!((&told[5].1["reason"], &told[5].1["currency"]), (&json!("released"), &json!("USD")));
    assert_eq!(told[4].1["state"], "released");
}

#[test]
fn what_gives_nothing_back_is_not_told() {
    let world = World::new();
    world.ask(Kind::Reversal, "r1", Some("a1"), 100);
    world.tap("a1", 100);
    world.ask(Kind::Reversal, "r2", Some("a1"), 100);
    assert_eq!(world.kinds(0), ["authorization.declined"], "a tombstone, and its authorization");
    assert_eq!(world.told(0)[0].1["reason"], "already_reversed");
}

#[test]
fn what_ur_does_is_told() {
    let world = World::new();
    for id in ["a1", "a2", "a3", "a4"] {
        world.tap(id, 1_000);
    }
    let before = world.events().len();
    world.book("a1", "h1", (Flow::Out, Progress::Pending), 1_000);
    assert_eq!(world.events().len(), before, "a confirmation moves nothing");
    world.book("a1", "h1", SETTLED, 1_000);
    world.book("a2", "h2", (Flow::Out, Progress::Rejected), 1_000);
    world.book("a3", "h3", (Flow::In, Progress::Completed), 1_000);
    durable(Some(world.ledger.expire(&"a4".parse().unwrap(), at(9)).unwrap()));
    world.book("", "h5", SETTLED, 700);
    let told = world.told(before);
    let short: Vec<_> = told
        .iter()
        .map(|(kind, data)| (*kind, data["state"].as_str().or(data["reason"].as_str()).unwrap_or_default()))
        .collect();
    let expected = [
        ("authorization.cleared", "cleared"),
        ("authorization.reversed", "reversed"),
        ("debit.returned", "rejected"),
        // UR returned money of a hold that it has not taken: the hold stays, and the user owes nothing.
        ("authorization.reversed", "confirmed"),
        ("debit.returned", "refunded"),
        ("authorization.expired", "expired"),
        ("debit.returned", "expired"),
        ("break.opened", "open"),
        ("authorization.cleared", "force_posted"),
        ("break.opened", "open"),
    ];
    assert_eq!(short, expected);
    let amounts: BTreeSet<_> = told
        .iter()
        .filter(|(kind, _)| *kind == "debit.returned")
        .map(|(_, debit)| debit["amount"].clone())
        .map(|amount| amount.to_string())
        .collect();
    assert_eq!(amounts, BTreeSet::from(["\"1091\"".to_owned()]));
}

#[test]
fn a_persons_charge_is_told_as_a_debit_and_with_its_outcome() {
    let world = World::new();
    world.tap("a1", 1_000);
    world.book("", "h5", SETTLED, 700);
    let id = world.ledger.open_breaks()[0].id;
    let Fact::Settled(settled) = world.ledger.record(id.opened).unwrap().unwrap().fact else {
        unreachable!("evidence")
    };
    let before = world.events().len();
    let answer = BreakAnswer { id, reason: "UR: ticket 12".into() };
    world.change(Change::AnswerBreak { root: settled.root.clone(), closing: Closing::Charged, answer });
    let told = world.told(before);
    let kinds: Vec<_> = told.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, ["debit.requested", "break.resolved"]);
    let debit = &told[0].1;
    // ceil(700 × 1.0907)
    assert_eq!((&debit["amount"], &debit["authorizationId"]), (&json!("764"), &json!(settled.root.as_str())));
    let said = &told[1].1["resolution"];
    assert_eq!(
        (&said["by"], &said["outcome"], &said["reason"]),
        (&json!("ops"), &json!("charged"), &json!("UR: ticket 12"))
    );
}

#[test]
fn breaks_pools_and_the_program_are_told() {
    let world = World::new();
    let discrepancy = Discrepancy {
        kind: BreakKind::PoolDrift,
        subject: "EUR".into(),
        field: "balance".into(),
        ours: "1".into(),
        theirs: "2".into(),
    };
    durable(world.ledger.open_break(discrepancy, at(5)).unwrap());
    let id = BreakId { opened: world.ledger.journal().durable(), number: 0 };
    world.change(Change::ResolveBreak { id, reason: "a fee".into() });
    let credited = Change::CreditPool { currency: Currency::EUR, amount: Minor(500), reference: "wire 7".into() };
    world.change(credited);
    world.change(Change::SuspendProgram { suspended: true, reason: "drill".into() });
    world.change(Change::SuspendProgram { suspended: false, reason: String::new().into() });
    let told = world.told(0);
    let kinds: Vec<_> = told.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, ["break.opened", "break.resolved", "pool.credited", "program.suspended", "program.resumed"]);
    assert_eq!((&told[0].1["id"], &told[0].1["state"]), (&json!(id.to_string()), &json!("open")));
    assert_eq!(told[1].1["resolution"]["reason"], "a fee");
    let (credit, by) = (&told[2].1["fact"], &told[2].1["author"]);
    assert_eq!((&credit["amount"], &credit["reference"], by), (&json!("500"), &json!("wire 7"), &json!("ops")));
    assert_eq!(told[3].1, json!({"suspended": true, "reason": "drill"}));
    assert_eq!(told[4].1, json!({"suspended": false, "reason": ""}));
    let lanes: Vec<_> = world.events().into_iter().map(|message| message.lane.unwrap().to_string()).collect();
    assert_eq!(lanes[..2], [format!("break {id}"), format!("break {id}")]);
    assert_eq!(lanes[2..], ["pool EUR", "program", "program"]);
}

/// A history in which almost everything happens twice.
fn eventful() -> World {
    let world = World::new();
    for id in ["a1", "a2"] {
        world.tap(id, 1_000);
        world.ask(Kind::Incremental, &format!("i{id}"), Some(id), 50);
        world.raise(AlertKind::PoolLow, "EUR", Severity::Notice);
        let open = world.ledger.open_alerts()[0].clone();
        let alert = open.id;
        durable(world.ledger.renotify_alert(alert, open.condition, at(11)).unwrap());
        world.change(Change::Alert(AlertChange::Acknowledge { id: alert, reason: Some("on it".into()) }));
        world.raise(AlertKind::PoolLow, "EUR", Severity::Critical);
        world.ask(Kind::Reversal, &format!("r{id}"), Some(id), 300);
        durable(world.ledger.resolve_alert(AlertKind::PoolLow, "EUR", at(20)).unwrap());
        world.book(id, &format!("h{id}"), SETTLED, 700);
    }
    world
}

#[test]
fn what_is_told_of_a_record_never_changes() {
    let world = eventful();
    let (events, notices) = (world.events(), world.notices());
    // A journal cut at any record yields the same messages for the records it has.
    for last in 1..=world.ledger.journal().durable().0 {
        let short = World::over(world.store.crashed_after(Sequence(last)));
        let expected: Vec<_> = events.iter().filter(|message| message.place.record.0 <= last).cloned().collect();
        assert_eq!(short.events(), expected, "up to {last}");
        let expected: Vec<_> = notices.iter().filter(|message| message.place.record.0 <= last).cloned().collect();
        assert_eq!(short.notices(), expected, "up to {last}");
    }
    let ids = world.ledger.ids_in_memory();
    while world.ledger.write_rows().unwrap().more {}
    assert!(world.ledger.ids_in_memory() < ids, "they are read from the disk from now on");
    assert_eq!(world.events(), events);
    let world = world.restarted();
    assert_eq!((world.events(), world.notices()), (events, notices));
}

#[test]
fn however_it_is_read_everything_is_read_once_in_order() {
    let world = eventful();
    let all = world.events();
    assert!(all.windows(2).all(|pair| pair[0].place < pair[1].place));
    for max in [1, 2, 3] {
        assert_eq!(world.events_by(max), all, "{max} at once");
    }
}

#[test]
fn only_what_is_wanted_is_told_and_under_the_same_names() {
    let world = eventful();
    let wanted = vec![EventKind::DebitReturned, EventKind::PoolAlertRaised];
    let some = read(&world.outbox(wanting(wanted.clone())), 1_000);
    let expected: Vec<_> =
        world.events().into_iter().filter(|message| wanted.contains(&message.content.kind)).collect();
    assert_eq!(some.len(), 6);
    assert_eq!(some, expected);
}

#[test]
fn each_kind_by_itself_is_told_as_it_is_among_all() {
    let world = eventful();
    world.tap("much", 1_000_000);
    world.tap("a3", 1_000);
    world.change(Change::Release { root: "a3".parse().unwrap(), reason: "gone".into() });
    world.tap("a4", 1_000);
    durable(Some(world.ledger.expire(&"a4".parse().unwrap(), at(30)).unwrap()));
    world.book("", "h9", SETTLED, 700);
    let id = BreakId { opened: world.ledger.journal().durable(), number: 0 };
    world.change(Change::ResolveBreak { id, reason: "a fee".into() });
    world.change(Change::CreditPool { currency: Currency::EUR, amount: Minor(500), reference: "wire 7".into() });
    for suspended in [true, false] {
        world.change(Change::SuspendProgram { suspended, reason: "drill".into() });
    }
    let all = world.events();
    for kind in EventKind::ALL {
        let expected: Vec<_> = all.iter().filter(|message| message.content.kind == kind).cloned().collect();
        assert!(!expected.is_empty(), "{} does not happen here", kind.name());
        assert_eq!(read(&world.outbox(wanting(vec![kind])), 1_000), expected, "{}", kind.name());
    }
}

/// Counts look-ups beside the sequential read.
#[derive(Debug)]
struct Counted {
    inner: Arc<MemoryStore>,
    looked_up: AtomicUsize,
}

impl Store for Counted {
    fn append(&self, entries: &[Entry], completed: &[Node]) -> Result<(), StoreError> {
        self.inner.append(entries, completed)
    }

    fn sync_head(&self) -> Result<(), StoreError> {
        self.inner.sync_head()
    }

    fn head(&self) -> Result<Sequence, StoreError> {
        self.inner.head()
    }

    fn node(&self, span: Span) -> Result<Option<Hash>, StoreError> {
        self.inner.node(span)
    }

    fn read(&self, after: Sequence, visit: Visit<'_>) -> Result<(), StoreError> {
        self.looked_up.fetch_add(1, Ordering::Relaxed);
        self.inner.read(after, visit)
    }

    fn read_back(&self, before: Sequence, visit: Visit<'_>) -> Result<(), StoreError> {
        self.looked_up.fetch_add(1, Ordering::Relaxed);
        self.inner.read_back(before, visit)
    }

    fn entry(&self, sequence: Sequence) -> Result<Option<Entry>, StoreError> {
        self.looked_up.fetch_add(1, Ordering::Relaxed);
        self.inner.entry(sequence)
    }

    fn id_seed(&self) -> u64 {
        self.inner.id_seed()
    }

    fn row(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.looked_up.fetch_add(1, Ordering::Relaxed);
        self.inner.row(table, key)
    }

    fn rows(&self, table: Table, visit: VisitRow<'_>) -> Result<(), StoreError> {
        self.inner.rows(table, visit)
    }

    fn forget_cached(&self) -> Result<(), StoreError> {
        self.inner.forget_cached()
    }

    fn check_rows(&self, table: Table, after: &[u8], most: usize) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.check_rows(table, after, most)
    }

    fn put_rows(&self, rows: &[RowBytes]) -> Result<(), StoreError> {
        self.inner.put_rows(rows)
    }

    fn delete_rows(&self, table: Table, keys: &[Vec<u8>]) -> Result<(), StoreError> {
        self.inner.delete_rows(table, keys)
    }

    fn put_synced(&self, rows: &[RowBytes]) -> Result<(), StoreError> {
        self.inner.put_synced(rows)
    }

    fn erase(&self, table: Table, key: &[u8]) -> Result<(), StoreError> {
        self.inner.erase(table, key)
    }

    fn write_rows(&self, rows: &[RowBytes], watermark: &Frontier) -> Result<(), StoreError> {
        self.inner.write_rows(rows, watermark)
    }

    fn frontier(&self) -> Result<Frontier, StoreError> {
        self.inner.frontier()
    }
}

#[test]
fn no_history_is_read_for_what_is_not_wanted() {
    let world = eventful();
    while world.ledger.write_rows().unwrap().more {}
    world.ledger.journal().close();
    let store = Arc::new(Counted { inner: world.store, looked_up: AtomicUsize::new(0) });
    let shared: Arc<dyn Store> = store.clone();
    let recovered = recover(&shared).unwrap();
    let ledger = Arc::new(Ledger::start(shared, recovered.state, Policy::default(), 1, Box::new(|_| {})).unwrap());
    let looked_up = |wanted: &[EventKind]| {
        let events = wanting(wanted.to_vec());
        let outbox = LedgerOutbox::new(Arc::clone(&ledger), Arc::new(Clock::start()), events);
        let before = store.looked_up.load(Ordering::Relaxed);
        let told = outbox.after(Place::default(), 1_000).unwrap().messages.len();
        (told, store.looked_up.load(Ordering::Relaxed) - before)
    };
    assert_eq!(looked_up(&[EventKind::PoolCredited]), (0, 1), "the journal is read once, and nothing else is");
    let (raised, for_alerts) = looked_up(&[EventKind::PoolAlertRaised]);
    let (told, for_all) = looked_up(&EventKind::ALL);
    assert!(raised > 0 && for_alerts > 1 && told > raised && for_all > 2 * for_alerts, "{for_alerts} of {for_all}");
}

#[test]
fn a_pools_alert_is_told_as_it_stood() {
    let world = eventful();
    world.raise(AlertKind::JournalSlow, "", Severity::Critical);
    let alerts: Vec<_> = world.told(0).into_iter().filter(|(kind, _)| kind.starts_with("pool.alert")).collect();
    let short: Vec<_> = alerts
        .iter()
        .map(|(kind, alert)| (*kind, alert["severity"].as_str().unwrap(), alert["notified"].clone()))
        .collect();
    let one = [
        ("pool.alert.raised", "notice", json!(1)),
        ("pool.alert.raised", "critical", json!(3)),
        ("pool.alert.resolved", "critical", json!(3)),
    ];
    assert_eq!(short, [one.clone(), one].concat());
}

#[test]
fn people_are_told_of_alerts_under_one_key() {
    let world = eventful();
    world.raise(AlertKind::DeliveryParked, "core", Severity::Urgent);
    let messages = world.notices();
    let kinds: Vec<_> = messages.iter().take(5).map(|message| message.kind).collect();
    let expected = ["alert.raised", "alert.renotified", "alert.acknowledged", "alert.renotified", "alert.resolved"];
    assert_eq!(kinds, expected);
    let notices: Vec<_> = messages.into_iter().map(|message| message.content).collect();
    let first: Vec<_> =
        notices.iter().take(5).map(|notice| (notice.kind, notice.severity.name(), notice.text.as_str())).collect();
    let todo = "Send a top-up today.";
    let expected = [
        (NoticeKind::Raised, "notice", todo),
        (NoticeKind::Renotified, "notice", todo),
        (NoticeKind::Acknowledged, "notice", "ops has taken it on: on it"),
        (NoticeKind::Renotified, "critical", todo),
        (NoticeKind::Resolved, "critical", "It is over; there is nothing left to do."),
    ];
    assert_eq!(first, expected);
    let keys: BTreeSet<_> = notices.iter().map(|notice| notice.key.as_str()).collect();
    assert_eq!((keys.len(), notices.len()), (3, 11));
    assert_eq!(notices[0].facts, [("available".to_owned(), "1000 EUR".to_owned())]);
    assert!(notices[4].facts.is_empty());
}

#[test]
fn who_took_it_on_is_not_told_that_it_became_better() {
    let world = World::new();
    world.raise(AlertKind::PoolLow, "EUR", Severity::Critical);
    let alert = world.ledger.open_alerts()[0].id;
    world.change(Change::Alert(AlertChange::Acknowledge { id: alert, reason: None }));
    world.raise(AlertKind::PoolLow, "EUR", Severity::Notice);
    let kinds: Vec<_> = world.notices().into_iter().map(|message| message.content.kind).collect();
    assert_eq!(kinds, [NoticeKind::Raised, NoticeKind::Acknowledged]);
    assert_eq!(world.kinds(0), ["pool.alert.raised", "pool.alert.raised"], "systems are");
}

#[test]
fn reading_stops_at_a_bound_and_goes_on() {
    let world = World::new();
    for number in 0..RECORDS_MAX {
        world.ledger.move_cursor("reader", number.to_be_bytes().to_vec(), at(1)).unwrap();
    }
    world.tap("a1", 1_000);
    let outbox = world.outbox(wanting(EventKind::ALL.to_vec()));
    let first = outbox.after(Place::default(), 10).unwrap();
    assert!(first.messages.is_empty() && first.more);
    assert_eq!(first.through, Place::end_of(Sequence(RECORDS_MAX as u64)));
    let rest = outbox.after(first.through, 10).unwrap();
    assert_eq!((rest.messages.len(), rest.more), (2, false));
    assert_eq!(rest.through, Place::end_of(outbox.newest()));
    let nothing = outbox.after(rest.through, 10).unwrap();
    assert_eq!((nothing.messages.len(), nothing.through, nothing.more), (0, rest.through, false));
}

#[test]
fn a_position_survives_a_restart_and_the_largest_one_fits() {
    let world = World::new();
    let outbox = world.outbox(Notices);
    assert_eq!(outbox.position("slack").unwrap(), None);
    let place = |below: u64| Place { record: Sequence(u64::MAX - below), part: u16::MAX - 1 };
    let trouble = Trouble { since: UnixMillis(u64::MAX), reason: "x".repeat(REASON_BYTES_MAX) };
    let largest = Position {
        through: place(0),
        accepted: (0..WINDOW as u64).map(place).collect(),
        failing: Some(trouble.clone()),
        parked: Some(trouble.clone()),
        rejected: Some(Rejected { place: place(0), kind: "x".repeat(64).into(), trouble, others_pass: true }),
    };
    outbox.store_position("slack", &largest).unwrap();
    drop(outbox);
    let world = world.restarted();
    let outbox = world.outbox(Notices);
    assert_eq!(outbox.position("slack").unwrap(), Some(largest));
    world.ledger.move_cursor("slack", vec![9, 1, 2], at(1)).unwrap();
    let said = outbox.position("slack").unwrap_err().to_string();
    assert!(said.contains("receiver slack") && said.contains("version 9"), "{said}");
}

#[test]
fn an_order_is_kept_with_its_author_once() {
    let world = World::new();
    let outbox = world.outbox(Notices);
    let position = Position { through: Place::end_of(Sequence(1)), ..Position::default() };
    let key = IdempotencyKey { key: "key".into(), fingerprint: Fingerprint::of(b"resume slack") };
    let by = Author::Person { name: "ops".into(), idempotency: Some(key) };
    assert!(!outbox.is_repeated(&by).unwrap());
    outbox.store_order("slack", &Order::Resume, &position, &by).unwrap();
    assert_eq!(outbox.position("slack").unwrap(), Some(position));
    assert_eq!(world.ledger.record(world.ledger.journal().durable()).unwrap().unwrap().author, by);
    assert!(outbox.is_repeated(&by).unwrap());
}

#[test]
fn an_order_that_may_not_be_on_the_disk_is_not_said_to_be_kept() {
    let store: Arc<dyn Store> = FailAfter::new(MemoryStore::new(), 0);
    let recovered = recover(&store).unwrap();
    let ledger = Ledger::start(store, recovered.state, Policy::default(), 1, Box::new(|_| {})).unwrap();
    let outbox = LedgerOutbox::new(Arc::new(ledger), Arc::new(Clock::start()), Notices);
    let kept = outbox.store_order("slack", &Order::Resume, &Position::default(), &author());
    assert!(matches!(kept, Err(OutboxError::Unknown)), "{kept:?}");
}

#[test]
fn a_position_of_the_version_before_is_read() {
    let world = World::new();
    let outbox = world.outbox(Notices);
    let position = Position { through: Place::end_of(Sequence(7)), ..Position::default() };
    let before = (1_u8, position.through, &position.accepted, &position.failing, &position.parked);
    world.ledger.move_cursor("slack", postcard::to_stdvec(&before).unwrap(), at(1)).unwrap();
    assert_eq!(outbox.position("slack").unwrap(), Some(position));
}

#[test]
fn what_is_given_up_is_in_the_journal_by_its_name() {
    let world = World::new();
    let place = Place { record: Sequence(3), part: 1 };
    let skip = Order::Skip { place, reason: "the account is closed".to_owned() };
    world.outbox(Notices).store_order("slack", &skip, &Position::default(), &author()).unwrap();
    let record = world.ledger.record(world.ledger.journal().durable()).unwrap().unwrap();
    let shown = crate::wire::admin::journal::entry(Sequence(9), &record);
    assert_eq!(shown["author"], "ops");
    let fact = &shown["fact"];
    assert_eq!((&fact["kind"], &fact["name"]), (&json!("message_skipped"), &json!("slack")));
    assert_eq!((&fact["message"], &fact["reason"]), (&json!("msg_3_1"), &json!("the account is closed")));
}
