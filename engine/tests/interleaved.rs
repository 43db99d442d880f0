//! Evidence with everything else in between: reports, debits, turns of rows, restarts, crashes and other rules change no
//! ending.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that meets the unexpected stops"
)]

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use tapgate_engine::fact::{Fact, Flow, Progress, Record, Source, Tolerance, Verdict};
use tapgate_engine::ids::{AuthorizationId, Sequence};
use tapgate_engine::ledger::{Change, Policy};
use tapgate_engine::money::{Currency, Minor, Money};
use tapgate_engine::rules::standing;
use tapgate_engine::testing::{MemoryStore, cases};

use crate::settlement::{Case, PALETTE, Piece, SETTINGS, Setting};
use crate::world::{World, at, report};

/// What comes between two pieces of evidence.
#[derive(Clone, Copy, Debug)]
enum Between {
    /// UR's balance of the pool, requested now.
    PoolSynced(i64),
    /// A person's balance of the pool.
    PoolReported(i64),
    /// UR's balance of the user.
    UserReported(i64),
    /// The partner's new figure of the user's funds, with every debit so far made.
    Debited(i64),
    /// Rows are written, and old ones leave memory.
    RowsWritten,
    Restarted,
    /// A restart under another tolerance.
    Rules(u16),
}

fn between() -> impl Strategy<Value = Between> {
    let balance = 50_000_i64..150_000;
    prop_oneof![
        balance.clone().prop_map(Between::PoolSynced),
        balance.clone().prop_map(Between::PoolReported),
        balance.clone().prop_map(Between::UserReported),
        balance.prop_map(Between::Debited),
        Just(Between::RowsWritten),
        Just(Between::Restarted),
        prop::sample::select(vec![0, 1_000, 5_000]).prop_map(Between::Rules),
    ]
}

/// One authorization, and its journal.
struct History {
    setting: Setting,
    store: Arc<MemoryStore>,
    world: World,
    version: u64,
}

impl History {
    fn begin(setting: Setting) -> History {
        let store = MemoryStore::new();
        let world = World::with_store(store.clone());
        Case::begin(&world, setting, 0);
        History { setting, store, world, version: 0 }
    }

    fn case(&self) -> Case<'_> {
        Case { world: &self.world, setting: self.setting, number: 0 }
    }

    fn meet(self, between: Between) -> History {
        let ledger = &self.world.ledger;
        let through = ledger.journal().claimed();
        match between {
            Between::PoolSynced(balance) => {
                ledger.sync_pool(Currency::EUR, Minor(balance), through, at(100)).unwrap();
            }
            Between::PoolReported(balance) => self.world.change(report(Currency::EUR, balance, 0)).unwrap(),
            Between::UserReported(balance) => {
                let balance = vec![Money { amount: Minor(balance), currency: Currency::EUR }];
                ledger.report_user(&self.case().user_id(), None, Some(balance), through, at(100)).unwrap();
            }
            Between::Debited(funds) => return self.debit(funds),
            Between::RowsWritten => {
                self.world.drained();
                ledger.write_rows().unwrap();
                assert_eq!(ledger.ids_in_memory(), 0);
            }
            Between::Restarted => return self.restart(Policy::default()),
            Between::Rules(drift_bps) => {
                return self.restart(Policy { tolerance: Tolerance { drift_bps }, ..Policy::default() });
            }
        }
        self
    }

    fn debit(mut self, funds: i64) -> History {
        self.version += 1;
        let case = self.case();
        let id = |name: &str| -> AuthorizationId { case.name(name).parse().unwrap() };
        let change = Change::ReplaceFunds {
            user: case.user_id(),
            funds: Money { amount: Minor(funds), currency: Currency::EUR },
            version: self.version,
            debited: vec![id("a"), id("i")],
        };
        self.world.change(change).unwrap();
        self
    }

    fn restart(self, policy: Policy) -> History {
        self.world.ledger.journal().close();
        drop(self.world);
        let world = World::start(Arc::clone(&self.store), policy);
        History { world, ..self }
    }

    /// The last record, once it is durable.
    fn head(&self) -> Sequence {
        self.world.drained();
        self.world.ledger.journal().durable()
    }

    /// What a crash leaves of it when this was the last record on the disk.
    fn crashed_after(&self, last: Sequence) -> History {
        let store = self.store.crashed_after(last);
        let world = World::resumed(Arc::clone(&store));
        History { setting: self.setting, store, world, version: self.version }
    }

    /// What depends on nothing but the evidence.
    fn ending(self) -> String {
        let (root, breaks) = (self.case().root(), self.case().breaks());
        let stands = standing(&root, Tolerance::default());
        assert_eq!(root.held().amount, stands.held, "what is held stands");
        self.world.drained();
        let debits = debits_by_record(&self.store);
        let owed = if self.setting.source == Source::Crypto { stands.owed.0 } else { 0 };
        assert_eq!(debits.values().sum::<i64>(), owed, "requests less returns are what the user owes");
        let of_row = root.layers().map(|layer| (layer.sequence, layer.debit.0)).filter(|(_, debit)| *debit != 0);
        assert_eq!(of_row.collect::<BTreeMap<_, _>>(), debits, "each debit stands with its own record");
        self.world.close_and_check(&self.store);
        format!("{:?} {stands:?} {breaks:?}", root.state)
    }
}

/// What is requested and not returned of each debit; no return is above its request after any record.
fn debits_by_record(store: &MemoryStore) -> BTreeMap<Sequence, i64> {
    let mut debits: BTreeMap<Sequence, i64> = BTreeMap::new();
    for entry in store.entries() {
        let fact = Record::decode(&entry.payload).unwrap().fact;
        if let Fact::Decided(decided) = &fact
            && let Verdict::Approved(approval) = &decided.verdict
        {
            *debits.entry(entry.sequence).or_default() += approval.funds.map_or(0, |funds| funds.amount.0);
        }
        for layer in fact.differences().flat_map(|change| &change.layers) {
            let debit = debits.entry(layer.sequence.unwrap_or(entry.sequence)).or_default();
            *debit += layer.debit.0;
            assert!(*debit >= 0, "record {} returns more than was requested", entry.sequence);
        }
    }
    debits.retain(|_, debit| *debit != 0);
    debits
}

/// New to every authorization and without weight: what was recorded under other rules is settled under these.
const WEIGHTLESS: Piece = Piece::Row("weightless", Flow::In, Progress::Pending, 5);

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(200), ..ProptestConfig::default() })]

    #[test]
    fn nothing_in_between_changes_how_evidence_ends(
        setting in prop::sample::select(SETTINGS.to_vec()),
        pieces in prop::sample::subsequence(PALETTE.to_vec(), 2..=7).prop_shuffle(),
        others in vec((0_usize..8, between()), 1..6),
    ) {
        let plain = History::begin(setting);
        for piece in PALETTE.iter().filter(|piece| pieces.contains(piece)).chain([&WEIGHTLESS]) {
            plain.case().add(*piece);
        }
        let mut mixed = History::begin(setting);
        for (place, piece) in pieces.iter().enumerate() {
            for (_, other) in others.iter().filter(|(before, _)| *before == place) {
                mixed = mixed.meet(*other);
            }
            mixed.case().add(*piece);
        }
        mixed = mixed.restart(Policy::default());
        mixed.case().add(WEIGHTLESS);
        prop_assert_eq!(mixed.ending(), plain.ending());
    }

    #[test]
    fn a_crash_after_any_record_changes_no_ending(
        setting in prop::sample::select(SETTINGS.to_vec()),
        pieces in prop::sample::subsequence(PALETTE.to_vec(), 2..=5).prop_shuffle(),
        written in 0_usize..6,
    ) {
        let history = History::begin(setting);
        let mut heads = vec![history.head()];
        for (place, piece) in pieces.iter().enumerate() {
            if place == written {
                // Rows never run ahead of their records: no crash is before this one.
                history.world.ledger.write_rows().unwrap();
                heads.iter_mut().for_each(|head| *head = Sequence::ZERO);
                *heads.last_mut().unwrap() = history.head();
            }
            history.case().add(*piece);
            heads.push(history.head());
        }
        let crashes = heads.iter().enumerate().filter(|(_, head)| **head > Sequence::ZERO);
        let crashed: Vec<_> = crashes.map(|(place, head)| (place, history.crashed_after(*head))).collect();
        let ending = history.ending();
        for (place, crashed) in crashed {
            // UR repeats what it may not have had an answer for, and goes on.
            for piece in &pieces[place.saturating_sub(1)..] {
                crashed.case().add(*piece);
            }
            prop_assert_eq!(&crashed.ending(), &ending, "after {} of {:?}", place, pieces);
        }
    }
}
