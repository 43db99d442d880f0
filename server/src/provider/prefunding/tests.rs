//! The whole sequence on an injected clock, with a UR that loses answers, and with a crash after every record.

use std::path::Path;

use tapgate_engine::contract::pricing::{Conversion, Rates, Since};
use tapgate_engine::ledger::{Ledger, Policy};
use tapgate_engine::recovery::recover;
use tapgate_engine::rows::PrefundState;
use tapgate_engine::store::Store;
use tapgate_engine::testing::MemoryStore;
use tapgate_engine::time::UnixSeconds;

use super::*;
use crate::clock::Clock;
use crate::config::Config;
use crate::provider::api::{At, TransactionFilter};
use crate::treasury::follow::tests::{HOUR_MS, MONDAY, World, moment};
use crate::wire::ur as wire;
use crate::wire::ur::{Direction, RefusalCode, Status, Transaction};

/// Weeks of two taps of 10.00 an hour end here: a Monday at 00:00 UTC.
const WEEKS: u64 = 3;
const AUTOMATIC: &str = "mode = \"automatic\"\ndaily_max_usdc = 20000";

/// Minutes after those weeks.
fn later(minutes: u64) -> UnixMillis {
    UnixMillis(MONDAY.0 + WEEKS * 168 * HOUR_MS + minutes * 60_000)
}

/// UR's calls: by request id the other parameters, and the number of durable records at the call.
#[derive(Clone, Debug, Default)]
struct Deposits(BTreeMap<String, (DepositOrder, Sequence)>);

/// A UR that executes each deposit once by its request id, and answers as the test demands.
struct Ur {
    ledger: Mutex<Option<Arc<Ledger>>>,
    deposits: Mutex<Deposits>,
    calls: Mutex<u32>,
    /// Calls whose answers are lost.
    lost: Mutex<u32>,
    refusal: Mutex<Option<UrError>>,
    /// Refuses only deposits that it has executed already, as a parameter check may.
    refuses_repeats: Mutex<bool>,
    /// The deposit's transaction hash; the request id if there is none.
    hash: Mutex<Option<String>>,
    fee_bps: Mutex<i128>,
    shown: Mutex<Vec<Transaction>>,
}

impl Ur {
    fn new(ledger: &Arc<Ledger>) -> Arc<Ur> {
        Ur::with(ledger, Deposits::default())
    }

    fn with(ledger: &Arc<Ledger>, deposits: Deposits) -> Arc<Ur> {
        Arc::new(Ur {
            ledger: Mutex::new(Some(Arc::clone(ledger))),
            deposits: Mutex::new(deposits),
            calls: Mutex::default(),
            lost: Mutex::default(),
            refusal: Mutex::default(),
            refuses_repeats: Mutex::default(),
            hash: Mutex::default(),
            fee_bps: Mutex::new(200),
            shown: Mutex::default(),
        })
    }

    fn deposits(&self) -> Deposits {
        self.deposits.lock().unwrap().clone()
    }

    fn quote(&self, paid: Minor) -> Minor {
        let worth = i128::from(paid.0) * 9_168 / 100_000_000;
        Minor(i64::try_from(worth * (10_000 - *self.fee_bps.lock().unwrap()) / 10_000).unwrap())
    }
}

impl UrApi for Ur {
    async fn deposit(&self, asked: &DepositOrder) -> Result<String, UrError> {
        *self.calls.lock().unwrap() += 1;
        let ledger = self.ledger.lock().unwrap().clone().unwrap();
        let durable = ledger.journal().durable();
        let stored = ledger.open_prefunds().into_iter().find(|prefund| {
            prefund.request_id.as_deref() == Some(asked.request_id.as_str()) && prefund.sequence <= durable
        });
        let (_, ordered) =
            stored.and_then(|prefund| prefund.ordered).expect("the order is on the disk before the call");
        assert_eq!((ordered.paid, ordered.token.as_str()), (asked.amount, asked.output.as_str()));
        if let Some(refusal) = self.refusal.lock().unwrap().clone() {
            return Err(refusal);
        }
        let mut deposits = self.deposits.lock().unwrap();
        if *self.refuses_repeats.lock().unwrap() && deposits.0.contains_key(&asked.request_id) {
            return Err(refused(RefusalCode::Invalid, 20_003));
        }
        let (first, _) = deposits.0.entry(asked.request_id.clone()).or_insert_with(|| (asked.clone(), durable));
        assert_eq!(first, asked, "a retry is the very same call");
        let mut lost = self.lost.lock().unwrap();
        if *lost > 0 {
            *lost -= 1;
            return Err(UrError::Timeout("/v1/deposit"));
        }
        let named = self.hash.lock().unwrap().clone();
        Ok(named.unwrap_or_else(|| format!("0x{}", asked.request_id)))
    }

    async fn deposit_quote(&self, asked: &QuoteAsked<'_>) -> Result<wire::DepositQuote, UrError> {
        assert_eq!(asked.input, "USDC");
        Ok(wire::DepositQuote { output: self.quote(asked.amount), fee: Minor::ZERO })
    }

    async fn tokens(&self, _: Priority) -> Result<Vec<wire::Token>, UrError> {
        let token = |symbol: &str, is_fiat| wire::Token { symbol: symbol.to_owned(), decimals: 2, is_fiat };
        Ok(vec![token("USDC", false), token("USD24", true), token("EUR24", true)])
    }

    async fn transactions_of(&self, pairs: &[(UrId, String)], _: Priority) -> Result<wire::Page<Transaction>, UrError> {
        let shown = self.shown.lock().unwrap().clone();
        let is_there = |(_, hash): &(UrId, String)| shown.iter().any(|row| row.hash == *hash);
        if !pairs.iter().all(is_there) {
            let (path, message) = ("/v1/transaction/query", String::new());
            return Err(UrError::Refused { path, kind: RefusalCode::NotFound, code: 4_001, message });
        }
        Ok(wire::Page { rows: shown, unreadable: Vec::new(), next: None })
    }

    async fn profile(&self, _: &UrId, _: Priority) -> Result<wire::Profile, UrError> {
        Err(UrError::Paused)
    }

    async fn balance(&self, _: &UrId, _: Priority) -> Result<wire::Balances, UrError> {
        Err(UrError::Paused)
    }

    async fn transactions(
        &self,
        _: &UrId,
        _: &TransactionFilter,
        _: At,
        _: Priority,
    ) -> Result<wire::Page<Transaction>, UrError> {
        Err(UrError::Paused)
    }

    async fn exchange_rate(&self, _: &str, _: &str, _: Priority) -> Result<wire::Rate, UrError> {
        Err(UrError::Paused)
    }
}

fn refused(kind: RefusalCode, code: i64) -> UrError {
    UrError::Refused { path: "/v1/deposit", kind, code, message: "no USDC left".to_owned() }
}

fn job(ledger: &Arc<Ledger>, ur: &Arc<Ur>, settings: &str) -> Prefunding<Ur> {
    let key = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d";
    let text = format!(
        "ur.signers = [\"0xee28dEaD5F114C8405BE3be1144D59A4110B7F79\"]\nur.partner_key = \"{key}\"\nur.ops_ur_id = \"9999\"\n\
         [treasury.auto_prefund]\n{settings}\n"
    );
    let no_files = |_: &Path| Err(std::io::Error::from(std::io::ErrorKind::NotFound));
    let config = Config::load(&text, "test.toml", [], no_files).unwrap();
    let given = Given {
        beside: Beside::new(|work| work()),
        ledger: Arc::clone(ledger),
        clock: Arc::new(Clock::start()),
        health: Arc::default(),
        treasury: Arc::new(Follower::new(config.treasury)),
        board: Arc::default(),
        randomness: Randomness::of_system(),
        settings: config.prefunding,
    };
    given.treasury.catch_up(ledger).unwrap();
    *ur.ledger.lock().unwrap() = Some(Arc::clone(ledger));
    let partner = config.api.unwrap().key.address();
    Prefunding::new(given, Arc::clone(ur), "9999".parse().unwrap(), partner)
}

/// A pool that runs low after weeks of taps; with feeds, so that a credit is proven by a report.
fn low_pool() -> (Arc<MemoryStore>, World) {
    let store = MemoryStore::new();
    let world = World::over(Arc::clone(&store) as Arc<dyn Store>, 20, false);
    world.report(MONDAY, 10_000_000, 0);
    for hour in 0..WEEKS * 168 {
        let (at, first) = (UnixMillis(MONDAY.0 + hour * HOUR_MS), u32::try_from(2 * hour).unwrap());
        for tap in [first, first + 1] {
            world.tap(at, tap, tap % 20, 1_000);
        }
    }
    let dollars = ((Currency::USD, Currency::EUR), Conversion { rate: 9_168, spread: 10_150 });
    let rates =
        Rates { chf: vec![(Currency::EUR, 9_450)], pairs: vec![dollars], interchange_percent: 1, ..Rates::default() };
    world.change(later(0), Change::ReplaceRates(Box::new(rates)));
    world.report(later(0), 85_000, 0);
    world.drained();
    (store, world)
}

fn only(ledger: &Ledger) -> Prefund {
    let all = ledger.prefunds(Page { before: Sequence(u64::MAX), limit: 100 }, &|_| true).unwrap();
    let [only] = all.as_slice() else { panic!("{all:?}") };
    only.clone()
}

/// The parts that follow credits.
fn credits_of(job: &Prefunding<Ur>) -> credits::Credits {
    let Given { ledger, clock, board, settings, .. } = job.given.clone();
    credits::Credits { ledger, clock, board, quote_tolerance_bps: settings.auto_prefund.quote_tolerance_bps }
}

fn planned(job: &Prefunding<Ur>) -> Planned {
    job.given.board.looked().unwrap().planned.remove(0)
}

fn completed(hash: &str, amount: Minor) -> Transaction {
    Transaction {
        user: "9999".parse().unwrap(),
        kind: "CDP".to_owned(),
        amount,
        currency: Currency::EUR,
        direction: Direction::In,
        status: Status::Completed,
        at: UnixSeconds(0),
        hash: hash.to_owned(),
        mcc: None,
        title: None,
        partner_reference: None,
        reference: None,
        charged_in: None,
    }
}

#[test]
fn a_request_id_is_a_random_uuid() {
    let randomness = Randomness::of_system();
    let id = request_id(&randomness);
    let lengths: Vec<_> = id.split('-').map(str::len).collect();
    assert_eq!(lengths, [8, 4, 4, 4, 12], "{id}");
    assert!(&id[14..15] == "4" && "89ab".contains(&id[19..20]), "{id}");
    assert_ne!(id, request_id(&randomness));
}

#[tokio::test]
async fn a_low_pool_is_topped_up_once_and_its_credit_explains_the_rise() {
    let (_, world) = low_pool();
    let ur = Ur::new(&world.ledger);
    let job = job(&world.ledger, &ur, AUTOMATIC);
    job.turn(moment(later(1))).await.unwrap();
    let sent = only(&world.ledger);
    let (_, ordered) = sent.ordered.clone().unwrap();
    assert_eq!(sent.state(later(1)), PrefundState::Sent);
    assert_eq!(sent.reference, format!("0x{}", sent.request_id.clone().unwrap()));
    assert_eq!((sent.amount, ur.quote(ordered.paid)), (ordered.quoted, ordered.quoted));
    // The quote's fees come on top of the suggested amount, to the cent.
    let suggested = planned(&job).amount.unwrap();
    assert!(sent.amount >= suggested && sent.amount.0 <= suggested.0 + 100, "{sent:?}");
    assert_eq!(sent.expected_at, job.given.treasury.calendar(&world.ledger).window(later(1)).map(|it| it.credited_at));
    let looked = job.given.board.looked().unwrap();
    assert_eq!(looked.ordered_today, ordered.paid);
    job.turn(moment(later(2))).await.unwrap();
    assert_eq!((*ur.calls.lock().unwrap(), ur.deposits().0.len()), (1, 1));

    // UR's balance rises; the transaction appears only after the balance was read.
    credits::follow(&credits_of(&job), &job.api).await;
    assert_eq!(only(&world.ledger).state(later(2)), PrefundState::Sent);
    ur.shown.lock().unwrap().push(completed(&sent.reference, sent.amount));
    for _ in 0..2 {
        credits::follow(&credits_of(&job), &job.api).await;
        assert_eq!(only(&world.ledger).credited, sent.amount);
    }
    let before = world.ledger.pool(Currency::EUR).unwrap();
    assert_eq!((before.credits_due, before.available), (sent.amount, Minor(85_000)), "no money before UR reports it");
    let (through, risen) = (world.ledger.journal().claimed(), Minor(85_000 + sent.amount.0));
    let (_, unexplained) = world.ledger.sync_pool(Currency::EUR, risen, through, moment(later(3))).unwrap();
    let after = world.ledger.pool(Currency::EUR).unwrap();
    assert_eq!((unexplained, after.credits_due, after.available), (Minor::ZERO, Minor::ZERO, risen));
    job.turn(moment(later(4))).await.unwrap();
    assert_eq!(planned(&job).why, "nothing needs to be sent");
    world.ledger.journal().close();
}

#[tokio::test]
async fn a_rate_that_ur_has_not_given_for_long_judges_no_quote() {
    let (_, world) = low_pool();
    let mut rates = world.ledger.program().rates;
    rates.kept = vec![((Currency::USD, Currency::EUR), Since::At(MONDAY))];
    world.change(later(0), Change::ReplaceRates(Box::new(rates)));
    let ur = Ur::new(&world.ledger);
    let job = job(&world.ledger, &ur, AUTOMATIC);
    job.turn(moment(later(1))).await.unwrap();
    assert!(planned(&job).why.contains("no rate between USD and EUR"), "{}", planned(&job).why);
    assert_eq!(*ur.calls.lock().unwrap(), 0);
    world.ledger.journal().close();
}

#[tokio::test]
async fn an_order_without_an_answer_is_made_again_and_happens_once() {
    let (_, world) = low_pool();
    let ur = Ur::new(&world.ledger);
    *ur.lost.lock().unwrap() = 3;
    let job = job(&world.ledger, &ur, AUTOMATIC);
    for (minutes, calls) in [(1, 1), (1, 1), (2, 2), (3, 3), (4, 4), (5, 4)] {
        job.turn(moment(later(minutes))).await.unwrap();
        assert_eq!(*ur.calls.lock().unwrap(), calls, "at minute {minutes}: {}", planned(&job).why);
        if calls < 4 {
            assert_eq!(only(&world.ledger).state(later(minutes)), PrefundState::Ordered);
            let (id, reason) = (only(&world.ledger).id, "no".into());
            let by_hand = Change::Prefund(PrefundChange::Cancel { id, reason, not_executed: false });
            let person = Author::Person { name: "ops".into(), idempotency: None };
            let refused = world.ledger.change(&person, by_hand, moment(later(minutes)));
            assert!(refused.unwrap_err().to_string().contains("its money may have left"));
        }
    }
    assert_eq!((ur.deposits().0.len(), only(&world.ledger).state(later(9))), (1, PrefundState::Sent));
    world.ledger.journal().close();
}

#[tokio::test]
async fn after_a_crash_at_any_record_the_money_has_left_once() {
    let (store, world) = low_pool();
    let begun = world.ledger.journal().durable();
    let ur = Ur::new(&world.ledger);
    *ur.lost.lock().unwrap() = 1;
    let first = job(&world.ledger, &ur, AUTOMATIC);
    for minutes in 1..4 {
        first.turn(moment(later(minutes))).await.unwrap();
    }
    let end = world.ledger.journal().durable();
    assert_eq!(end.0 - begun.0, 4, "proposed, approved, ordered, sent");
    let (_, (_, called_after)) = ur.deposits().0.into_iter().next().unwrap();
    for last in begun.0..=end.0 {
        // The crash may precede or follow the call that comes after the record.
        for has_called in [false, true] {
            let deposits = if has_called && last >= called_after.0 { ur.deposits() } else { Deposits::default() };
            if last > called_after.0 && !has_called {
                continue;
            }
            let crashed: Arc<dyn Store> = store.crashed_after(Sequence(last));
            let state = recover(&crashed).unwrap().state;
            let policy = Policy { credits_count_at_once: false, ..Policy::default() };
            let ledger = Arc::new(Ledger::start(crashed, state, policy, 1, Box::new(|_| {})).unwrap());
            let ur = Ur::with(&ledger, deposits);
            let job = job(&ledger, &ur, AUTOMATIC);
            job.turn(moment(later(5))).await.unwrap();
            let prefund = only(&ledger);
            assert_eq!(prefund.state(later(5)), PrefundState::Sent, "after {last}");
            let made: Vec<_> = ur.deposits().0.into_keys().collect();
            assert_eq!(made, [prefund.request_id.unwrap().as_str()], "after {last}");
            ledger.journal().close();
        }
    }
}

#[tokio::test]
async fn what_a_person_has_sent_meanwhile_is_not_sent_again() {
    let (_, world) = low_pool();
    let ur = Ur::new(&world.ledger);
    let job = job(&world.ledger, &ur, "mode = \"approval\"\ndaily_max_usdc = 20000");
    job.turn(moment(later(1))).await.unwrap();
    let proposed = only(&world.ledger);
    let treasurer = Author::Person { name: "treasurer".into(), idempotency: None };
    let approve = Change::Prefund(PrefundChange::Approve { id: proposed.id });
    let by_hand = Change::Prefund(PrefundChange::Send(PrefundSent {
        proposal: None,
        currency: Currency::EUR,
        amount: proposed.amount,
        reference: "wire 4711".into(),
        expected_at: Some(later(600)),
    }));
    for change in [by_hand, approve] {
        world.ledger.change(&treasurer, change, moment(later(2))).unwrap();
    }
    job.turn(moment(later(3))).await.unwrap();
    let (given_up, reason) = world.ledger.prefund(proposed.id).unwrap().unwrap().cancelled.unwrap();
    assert!(given_up.by == "engine" && reason.starts_with("no longer needed as proposed"), "{reason}");
    assert_eq!((planned(&job).why.as_str(), *ur.calls.lock().unwrap()), ("nothing needs to be sent", 0));
    world.ledger.journal().close();
}

#[tokio::test]
async fn a_refusal_of_a_repeated_call_proves_nothing_whoever_repeats_it() {
    let (store, world) = low_pool();
    let ur = Ur::new(&world.ledger);
    (*ur.lost.lock().unwrap(), *ur.refuses_repeats.lock().unwrap()) = (1, true);
    let job = job(&world.ledger, &ur, AUTOMATIC);
    let check = |job: &Prefunding<Ur>, minutes: u64| {
        let prefund = only(&job.given.ledger);
        assert_eq!(prefund.state(later(minutes)), PrefundState::Ordered, "{prefund:?}");
        let step = planned(job);
        assert!(step.is_refused && step.is_ordered && step.why.contains("its money may have left"), "{step:?}");
        assert_eq!(ur.deposits().0.len(), 1);
    };
    job.turn(moment(later(1))).await.unwrap();
    for minutes in 2..4 {
        job.turn(moment(later(minutes))).await.unwrap();
        check(&job, minutes);
    }
    let crashed: Arc<dyn Store> = store.crashed_after(world.ledger.journal().durable());
    let state = recover(&crashed).unwrap().state;
    let ledger = Arc::new(Ledger::start(crashed, state, Policy::default(), 1, Box::new(|_| {})).unwrap());
    let resumed = self::job(&ledger, &ur, AUTOMATIC);
    resumed.turn(moment(later(5))).await.unwrap();
    check(&resumed, 5);
    ledger.journal().close();
    world.ledger.journal().close();
}

#[tokio::test]
async fn what_is_no_final_word_leaves_an_order_open_and_is_told() {
    let (_, world) = low_pool();
    let ur = Ur::new(&world.ledger);
    let job = job(&world.ledger, &ur, AUTOMATIC);
    // A proxy's status, an unknown key or code, a malformed answer.
    let malformed = UrError::Malformed { path: "/v1/deposit", error: Malformed("?".to_owned()) };
    let open = [
        refused(RefusalCode::Invalid, 403),
        refused(RefusalCode::Signature, 10_001),
        refused(RefusalCode::Invalid, 30_002),
        refused(RefusalCode::Exists, 30_001),
        malformed,
    ];
    for (minutes, answer) in (1..).zip(open) {
        *ur.refusal.lock().unwrap() = Some(answer);
        job.turn(moment(later(minutes))).await.unwrap();
        assert_eq!(only(&world.ledger).state(later(minutes)), PrefundState::Ordered);
        let step = planned(&job);
        assert!(step.is_refused && step.is_ordered, "{step:?}");
    }
    world.ledger.journal().close();
}

#[tokio::test]
async fn a_refusal_of_urs_ends_it_for_an_hour_and_is_told() {
    let (_, world) = low_pool();
    let ur = Ur::new(&world.ledger);
    let job = job(&world.ledger, &ur, AUTOMATIC);
    // A call that the client does not make does not count.
    *ur.refusal.lock().unwrap() = Some(UrError::Paused);
    job.turn(moment(later(1))).await.unwrap();
    assert_eq!(only(&world.ledger).state(later(1)), PrefundState::Ordered);
    *ur.refusal.lock().unwrap() = Some(refused(RefusalCode::Invalid, 20_003));
    job.turn(moment(later(9))).await.unwrap();
    let (given_up, reason) = only(&world.ledger).cancelled.unwrap();
    assert!(given_up.by == "engine" && reason.contains("no USDC left"), "{reason}");
    assert!(planned(&job).is_refused && planned(&job).why.contains("; proposed again Mon "), "{:?}", planned(&job));
    *ur.refusal.lock().unwrap() = None;
    world.report(later(60), 84_000, 0);
    job.turn(moment(later(60))).await.unwrap();
    assert_eq!(world.ledger.open_prefunds(), [], "an hour is not over");
    world.report(later(69), 84_000, 0);
    world.change(later(69), Change::ReplaceRates(Box::new(world.ledger.program().rates)));
    job.turn(moment(later(69))).await.unwrap();
    assert_eq!(world.ledger.open_prefunds().len(), 1, "{:?}", planned(&job));
    assert!(!planned(&job).is_refused, "it is sent: {:?}", planned(&job));
    world.ledger.journal().close();
}

#[tokio::test]
async fn what_a_deposit_comes_to_is_what_is_waited_for_unless_it_is_far_less() {
    let ends = [(9_990, PrefundState::Credited), (10_010, PrefundState::Credited), (9_000, PrefundState::Short)];
    for (of_ten_thousand, state) in ends {
        let (_, world) = low_pool();
        let ur = Ur::new(&world.ledger);
        let job = job(&world.ledger, &ur, AUTOMATIC);
        job.turn(moment(later(1))).await.unwrap();
        let sent = only(&world.ledger);
        let amount = Minor(sent.amount.0 * of_ten_thousand / 10_000);
        ur.shown.lock().unwrap().push(completed(&sent.reference, amount));
        for _ in 0..2 {
            credits::follow(&credits_of(&job), &job.api).await;
        }
        let credited = only(&world.ledger);
        assert_eq!((credited.state(later(1)), credited.credited), (state, amount));
        world.ledger.journal().close();
    }
}

#[tokio::test]
async fn far_more_than_was_quoted_is_left_to_people() {
    let (_, world) = low_pool();
    let ur = Ur::new(&world.ledger);
    let job = job(&world.ledger, &ur, AUTOMATIC);
    job.turn(moment(later(1))).await.unwrap();
    let sent = only(&world.ledger);
    ur.shown.lock().unwrap().push(completed(&sent.reference, Minor(sent.amount.0 * 100)));
    credits::follow_at(&credits_of(&job), &job.api, moment(later(2))).await;
    assert_eq!(only(&world.ledger), sent);
    world.ledger.journal().close();
}

#[tokio::test]
async fn a_hash_that_the_ledger_cannot_keep_is_told() {
    let (_, world) = low_pool();
    let ur = Ur::new(&world.ledger);
    *ur.hash.lock().unwrap() = Some("x".repeat(REFERENCE_BYTES_MAX + 1));
    let job = job(&world.ledger, &ur, AUTOMATIC);
    job.turn(moment(later(1))).await.unwrap();
    assert_eq!(only(&world.ledger).state(later(1)), PrefundState::Ordered);
    assert!(planned(&job).is_refused && planned(&job).why.contains("its txHash has 129 bytes"), "{:?}", planned(&job));
    world.ledger.journal().close();
}

#[tokio::test]
async fn a_deposit_that_ur_rejects_later_is_given_up() {
    let (_, world) = low_pool();
    let ur = Ur::new(&world.ledger);
    let job = job(&world.ledger, &ur, AUTOMATIC);
    job.turn(moment(later(1))).await.unwrap();
    let hash = only(&world.ledger).reference;
    let show = |status| *ur.shown.lock().unwrap() = vec![Transaction { status, ..completed(&hash, Minor(1)) }];
    // A deposit whose rejection UR withdraws within the hour stays under way, and each check starts a new hour.
    let shown = [
        (2, Status::Rejected),
        (61, Status::Rejected),
        (62, Status::Pending),
        (63, Status::Rejected),
        (122, Status::Rejected),
    ];
    for (minutes, status) in shown {
        show(status);
        credits::follow_at(&credits_of(&job), &job.api, moment(later(minutes))).await;
        assert_eq!(only(&world.ledger).cancelled, None, "at minute {minutes}");
    }
    credits::follow_at(&credits_of(&job), &job.api, moment(later(123))).await;
    let (_, reason) = only(&world.ledger).cancelled.unwrap();
    assert!(reason.contains("rejected") && reason.contains(hash.as_str()), "{reason}");
    world.ledger.journal().close();
}

#[tokio::test]
async fn a_dry_run_asks_for_a_quote_and_changes_nothing() {
    let (_, world) = low_pool();
    let (ur, before) = (Ur::new(&world.ledger), world.ledger.journal().claimed());
    let job = job(&world.ledger, &ur, "mode = \"dry_run\"\ndaily_max_usdc = 5000");
    job.turn(moment(later(1))).await.unwrap();
    assert!(planned(&job).why.starts_with("dry run: ") && planned(&job).why.contains(" USDC would be paid for "));
    assert_eq!((*ur.calls.lock().unwrap(), world.ledger.journal().claimed()), (0, before));
    world.ledger.journal().close();
}

#[tokio::test]
async fn a_bad_quote_is_not_taken() {
    let (_, world) = low_pool();
    let ur = Ur::new(&world.ledger);
    let job = job(&world.ledger, &ur, AUTOMATIC);
    for fee in [260, -260, -990_000] {
        *ur.fee_bps.lock().unwrap() = fee;
        job.given.board.lock().notes.clear();
        job.turn(moment(later(1))).await.unwrap();
        assert_eq!(only(&world.ledger).state(later(1)), PrefundState::Approved);
        assert!(planned(&job).is_refused && planned(&job).why.contains("quote_tolerance_bps allows 2.50 %"));
    }
    *ur.fee_bps.lock().unwrap() = 200;
    job.turn(moment(later(5))).await.unwrap();
    assert_eq!(only(&world.ledger).state(later(5)), PrefundState::Approved, "it is asked for again after ten minutes");
    job.turn(moment(later(11))).await.unwrap();
    assert_eq!(only(&world.ledger).state(later(11)), PrefundState::Sent);
    world.ledger.journal().close();
}

#[tokio::test]
async fn the_days_bound_is_counted_in_the_ledger_and_ends_with_the_day() {
    let (store, world) = low_pool();
    let ur = Ur::new(&world.ledger);
    let settings = "mode = \"approval\"\ndaily_max_usdc = 1000\nsingle_max_usdc = 700";
    let job = job(&world.ledger, &ur, settings);
    let [person, treasurer] = ["ops", "treasurer"].map(|name| Author::Person { name: name.into(), idempotency: None });
    let ask = |at: UnixMillis, amount: i64| {
        let randomness = Randomness::of_system();
        let id = request_id(&randomness);
        let (currency, amount) = (Currency::EUR, Minor(amount));
        let proposed =
            PrefundProposed { currency, amount, reference: id.clone(), request_id: id.clone(), expected_at: None };
        world.ledger.change(&person, Change::Prefund(PrefundChange::Propose(proposed)), moment(at)).unwrap();
        let named = |prefund: &Prefund| prefund.request_id.as_ref() == Some(&id);
        let made = world.ledger.open_prefunds().into_iter().find(named).unwrap();
        world.ledger.change(&treasurer, Change::Prefund(PrefundChange::Approve { id: made.id }), moment(at)).unwrap();
        made.id
    };
    let state = |id| world.ledger.prefund(id).unwrap().unwrap().state(later(1));
    let (first, second, third) = (ask(later(1), 50_000), ask(later(1), 50_000), ask(later(1), 66_000));
    job.turn(moment(later(1))).await.unwrap();
    assert_eq!([first, second, third].map(state), [PrefundState::Sent, PrefundState::Approved, PrefundState::Approved]);
    let looked = job.given.board.looked().unwrap();
    let words: Vec<_> = looked.planned.iter().map(|planned| planned.why.as_str()).collect();
    assert!(words[1].contains("of daily_max_usdc") && words[2].contains("single_max_usdc allows 700.00"), "{words:?}");
    // Abandoned or not, it counts for today, and a new process counts the same.
    let lost = PrefundChange::Cancel { id: first, reason: "lost".into(), not_executed: false };
    world.ledger.change(&person, Change::Prefund(lost), moment(later(2))).unwrap();
    world.drained();
    let again: Arc<dyn Store> = store.crashed_after(world.ledger.journal().durable());
    let state_again = recover(&again).unwrap().state;
    let restarted = Arc::new(Ledger::start(again, state_again, Policy::default(), 1, Box::new(|_| {})).unwrap());
    let resumed = self::job(&restarted, &ur, settings);
    resumed.turn(moment(later(3))).await.unwrap();
    assert_eq!(resumed.given.board.looked().unwrap().ordered_today, looked.ordered_today);
    assert_eq!(restarted.prefund(second).unwrap().unwrap().state(later(3)), PrefundState::Approved);
    // The day ends at midnight in Zurich, 22 hours later.
    world.report(later(23 * 60), 85_000, 0);
    world.change(later(23 * 60), Change::ReplaceRates(Box::new(world.ledger.program().rates)));
    *ur.ledger.lock().unwrap() = Some(Arc::clone(&world.ledger));
    job.turn(moment(later(23 * 60))).await.unwrap();
    assert_eq!(state(second), PrefundState::Sent);
    restarted.journal().close();
    world.ledger.journal().close();
}

#[tokio::test]
async fn nothing_is_begun_while_time_or_store_or_journal_cannot_be_relied_on() {
    let (_, world) = low_pool();
    let ur = Ur::new(&world.ledger);
    let job = job(&world.ledger, &ur, AUTOMATIC);
    job.turn(Moment { at: later(1), trusted: false }).await.unwrap();
    assert!(planned(&job).why.contains("not trusted"), "{:?}", planned(&job));
    job.given.health.set_stalled(true);
    job.turn(moment(later(1))).await.unwrap();
    assert!(planned(&job).why.contains("disk"), "{:?}", planned(&job));
    job.given.health.set_stalled(false);
    let stop = |suspended| Change::SuspendProgram { suspended, reason: "an attack".into() };
    world.change(later(1), stop(true));
    job.turn(moment(later(1))).await.unwrap();
    assert!(planned(&job).why.contains("the program is suspended"), "{:?}", planned(&job));
    assert_eq!(world.ledger.open_prefunds(), []);
    world.change(later(1), stop(false));
    job.turn(moment(later(16))).await.unwrap();
    assert!(planned(&job).why.contains("not reported the pool's balance"), "{:?}", planned(&job));
    assert_eq!((world.ledger.open_prefunds(), *ur.calls.lock().unwrap()), (Vec::new(), 0));
    world.ledger.journal().close();
}
