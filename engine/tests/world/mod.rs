//! A small world for examples: one Live user with one EUR card, 1,000.00 of everything.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that meets the unexpected stops")]

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use smallvec::SmallVec;
use tapgate_engine::contract::limit::ClientLimit;
use tapgate_engine::contract::pricing::{Conversion, Rates};
use tapgate_engine::fact::{
    AccountStatus, Author, CardStatus, Channel, Decided, Fact, Flow, Import, ImportedCard, ImportedFiat, Kind,
    Merchant, Posting, Progress, Request,
};
use tapgate_engine::journal::Durability;
use tapgate_engine::ledger::{Change, ChangeError, Ledger, Policy, Reflected};
use tapgate_engine::money::{ChfMinor, Currency, Minor, Money};
use tapgate_engine::recovery::recover;
use tapgate_engine::rows::{Outcome, User};
use tapgate_engine::store::{Store, StoreError, StoredTree};
use tapgate_engine::testing::{MemoryStore, check_prefixes};
use tapgate_engine::time::{Moment, UnixMillis, UnixSeconds};

pub(crate) const START_SECONDS: u64 = 1_768_659_501;

pub(crate) struct World {
    pub(crate) ledger: Ledger,
    pub(crate) failure: Arc<Mutex<Option<StoreError>>>,
}

/// So many seconds after the start.
pub(crate) fn at(seconds: u64) -> Moment {
    Moment { at: UnixMillis((START_SECONDS + seconds) * 1000), trusted: true }
}

pub(crate) fn author() -> Author {
    Author::Person { name: "test".into(), idempotency: None }
}

pub(crate) fn suspend(suspended: bool) -> Change {
    Change::SuspendUser { user: "user".parse().unwrap(), suspended }
}

/// A tap of the user's card in EUR.
pub(crate) fn tap(id: &str, amount: i64) -> Request {
    Request {
        id: id.parse().unwrap(),
        kind: Kind::Authorization,
        original: None,
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
    }
}

/// UR's row of a movement of the user, in EUR, without a reference.
pub(crate) fn movement(hash: &str, flow: Flow, progress: Progress, amount: i64) -> Posting {
    Posting {
        hash: hash.into(),
        user: "user".parse().unwrap(),
        flow,
        progress,
        amount: Money { amount: Minor(amount), currency: Currency::EUR },
        at: UnixSeconds(START_SECONDS.cast_signed() + 60),
        mcc: None,
        merchant: None,
        references: SmallVec::new(),
        awaits: None,
        ordinal: 0,
    }
}

/// The same with UR's reference, if it gives one.
pub(crate) fn naming(posting: &Posting, id: &str) -> Posting {
    let references = (!id.is_empty()).then(|| id.into()).into_iter().collect();
    Posting { references, ..posting.clone() }
}

pub(crate) fn import() -> Import {
    Import {
        user: "user".parse().unwrap(),
        status: AccountStatus::Live,
        limit: ClientLimit {
            used: ChfMinor(0),
            client: ChfMinor(100_000),
            start: UnixSeconds(START_SECONDS.cast_signed()),
        },
        funds: Some(Money { amount: Minor(100_000), currency: Currency::EUR }),
        fiat: vec![ImportedFiat { currency: Currency::EUR, amount: Minor(100_000), allowance: true }],
        funding: None,
        overrides: false,
        provider: None,
        cards: vec![ImportedCard {
            id: "card".parse().unwrap(),
            status: CardStatus::Active,
            currency: Currency::EUR,
            single_use: None,
        }],
    }
}

pub(crate) fn report(currency: Currency, balance: i64, reserve: i64) -> Change {
    Change::ReportPool {
        currency,
        reported: Some(Minor(balance)),
        floor: None,
        reserve: Some(Minor(reserve)),
        reflected: Some(Reflected::Now),
    }
}

pub(crate) fn funds(amount: i64, version: u64, debited: &[&str]) -> Change {
    Change::ReplaceFunds {
        user: "user".parse().unwrap(),
        funds: Money { amount: Minor(amount), currency: Currency::EUR },
        version,
        debited: debited.iter().map(|id| id.parse().unwrap()).collect(),
    }
}

pub(crate) fn rates() -> Change {
    let rates = Rates {
        chf: vec![(Currency::EUR, 9_450), (Currency::USD, 8_630)],
        pairs: vec![((Currency::USD, Currency::EUR), Conversion { rate: 9168, spread: 10150 })],
        interchange_percent: 1,
        ..Rates::default()
    };
    Change::ReplaceRates(Box::new(rates))
}

/// One step of a generated history: the test's own, or what may come between any two of those.
#[derive(Clone, Debug)]
pub(crate) enum Step<S> {
    Own(S),
    RowsWritten,
    Restarted,
}

/// Histories with so many steps, most of them the test's own.
pub(crate) fn history<S: Debug + Clone + 'static>(
    own: impl Strategy<Value = S> + 'static,
    steps: Range<usize>,
) -> impl Strategy<Value = Vec<Step<S>>> {
    let step = prop_oneof![16 => own.prop_map(Step::Own), 2 => Just(Step::RowsWritten), 1 => Just(Step::Restarted)];
    prop::collection::vec(step, steps)
}

impl World {
    /// Plays a history in a fresh world. `play` takes one step of the test's own, at that second; `check` asserts what must
    /// hold after every step and returns what must survive: a restart, a crash after any step, and rows that are ahead of
    /// their watermark. In the end every prefix of the journal folds to a legal state.
    pub(crate) fn replay<S, T: PartialEq + Debug>(
        history: Vec<Step<S>>,
        mut play: impl FnMut(&World, S, u64),
        mut check: impl FnMut(&World) -> T,
    ) {
        /// Crashes with rows ahead of their watermark: a few say as much as all.
        const AHEAD_MAX: usize = 4;
        let store = MemoryStore::new();
        let mut world = World::with_store(store.clone());
        let mut survives = BTreeMap::new();
        for (step, seconds) in history.into_iter().zip(1..) {
            match step {
                Step::Own(own) => play(&world, own, seconds),
                Step::RowsWritten => drop(world.ledger.write_rows().unwrap()),
                Step::Restarted => {
                    world.ledger.journal().close();
                    drop(world);
                    world = World::resumed(store.clone());
                }
            }
            world.drained();
            survives.insert(world.ledger.journal().durable(), check(&world));
        }
        let watermark = store.watermark().unwrap();
        for (last, expected) in survives.range(watermark..) {
            let crashed = World::resumed(store.crashed_after(*last));
            assert_eq!(&check(&crashed), expected, "after a crash at {last}");
        }
        let head = world.ledger.journal().durable();
        for earlier in survives.range(..watermark).rev().map(|(earlier, _)| *earlier).take(AHEAD_MAX) {
            let ahead = store.crashed_after(head);
            let frontier = StoredTree::of(&*ahead).unwrap().frontier(earlier).unwrap();
            ahead.write_rows(&[], &frontier).unwrap();
            assert_eq!(check(&World::resumed(ahead)), check(&world), "a record that a row holds is not folded again");
        }
        world.close_and_check(&store);
    }

    /// How many records [`World::with_store`] writes, one group each.
    pub(crate) const SET_UP_RECORDS: u32 = 3;

    pub(crate) fn new() -> World {
        World::with_store(MemoryStore::new())
    }

    pub(crate) fn with_store<S: Store>(store: Arc<S>) -> World {
        World::with_policy(store, Policy::default())
    }

    pub(crate) fn with_policy<S: Store>(store: Arc<S>, policy: Policy) -> World {
        let world = World::start(store, policy);
        for change in [rates(), report(Currency::EUR, 100_000, 0), Change::ImportUser(Box::new(import()))] {
            world.change(change).unwrap();
        }
        world
    }

    /// A world whose journal is already there.
    pub(crate) fn resumed<S: Store>(store: Arc<S>) -> World {
        World::start(store, Policy::default())
    }

    /// A world as its store holds it, under these settings.
    pub(crate) fn start<S: Store>(store: Arc<S>, policy: Policy) -> World {
        let failure = Arc::new(Mutex::new(None));
        let told = Arc::clone(&failure);
        let on_failure = Box::new(move |error| *told.lock().unwrap() = Some(error));
        let store: Arc<dyn Store> = store;
        let recovered = recover(&store).unwrap();
        World { ledger: Ledger::start(store, recovered.state, policy, 1, on_failure).unwrap(), failure }
    }

    pub(crate) fn change(&self, change: Change) -> Result<(), ChangeError> {
        let receipt = self.ledger.change(&author(), change, at(0))?;
        assert!(receipt.ticket.is_none_or(|ticket| ticket.block() == Durability::Durable));
        Ok(())
    }

    /// Submits and waits for the answer.
    pub(crate) fn durable(&self, request: Request) -> Outcome {
        self.durable_at(request, 10)
    }

    pub(crate) fn durable_at(&self, request: Request, seconds: u64) -> Outcome {
        let submission = self.ledger.submit(request, at(seconds)).unwrap();
        if let Some(ticket) = &submission.ticket {
            assert_eq!(ticket.block(), Durability::Durable);
        }
        submission.reply.outcome.expect("no mismatch")
    }

    /// The newest record, a decision's.
    pub(crate) fn last_decision(&self) -> Decided {
        let record = self.ledger.record(self.ledger.journal().durable()).unwrap().unwrap();
        let Fact::Decided(decided) = record.fact else { panic!("{record:?}") };
        *decided
    }

    pub(crate) fn available(&self) -> i64 {
        self.ledger.pool(Currency::EUR).unwrap().available.0
    }

    pub(crate) fn user(&self) -> User {
        self.ledger.user(&"user".parse().unwrap()).unwrap()
    }

    /// Waits until everything recorded is durable.
    pub(crate) fn drained(&self) {
        while self.ledger.journal().durable() < self.ledger.journal().claimed() {
            std::thread::yield_now();
        }
    }

    /// Closes the journal and checks every prefix of it.
    pub(crate) fn close_and_check(self, store: &Arc<MemoryStore>) {
        self.ledger.journal().close();
        check_prefixes(store);
    }
}
