//! Plays one tap: delivers it in its manner, judges the answer by the books, and posts it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use tapgate_engine::fact::{Fact, Verdict};
use tapgate_engine::ids::AuthorizationId;
use tapgate_engine::ledger::Ledger;
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard, Semaphore};

use super::SandboxError;
use super::figures::Figures;
use super::partner::{Partner, Refusal};
use super::partner_api::PartnerApi;
use super::people::Followed;
use super::tap::{Kind, Tap};
use super::traffic::{Manner, Traffic};
use super::ur::account::Funds;
use super::ur::bank::Wire;
use super::ur::booking::{Expected, Payment};
use super::ur::books::Books;
use super::ur::{Answer, Courier};
use crate::http::context::App;

pub(super) const IN_FLIGHT_MAX: usize = 64;

/// Below this balance, in smallest units, taps of a pool run one at a time, because two concurrent taps could each
/// expect the last of it. It is the most that all taps in flight can take together: for each, twice the most expensive
/// place's median at its highest quantile.
const EDGE: u64 = IN_FLIGHT_MAX as u64 * 400_000;

/// Retries of a tap without an answer, and the pause between them.
const ASKED_AGAIN_MAX: u32 = 40;
const ASKED_AGAIN_AFTER: Duration = Duration::from_millis(50);

const STALE: &[u8] = b"\"stale_timestamp\"";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Said {
    approved: bool,
    source: Option<String>,
    approved_amount: Option<String>,
    reason: Option<String>,
}

/// Everything that playing a tap needs.
pub(super) struct Stage {
    pub(super) app: Arc<App>,
    /// Whether tapgate asks UR for its figures.
    pub(super) is_fed: bool,
    /// A signed timestamp that differs by more is refused.
    pub(super) timestamp_window_seconds: u64,
    pub(super) courier: Courier,
    pub(super) partner: Partner,
    /// The second provider, if the sandbox plays it.
    pub(super) provider: Option<PartnerApi>,
    pub(super) books: Arc<Mutex<Books>>,
    pub(super) followed: Mutex<Followed>,
    pub(super) traffic: Mutex<Traffic>,
    pub(super) figures: Figures,
    /// One tap per user at a time, so that the books know the exact balance for the next.
    pub(super) turns: Vec<tokio::sync::Mutex<()>>,
    /// Write-locked while a pool is near its end.
    pub(super) edge: RwLock<()>,
    /// A permit for each tap in flight.
    pub(super) places: Arc<Semaphore>,
}

enum Near<'a> {
    Edge(#[expect(dead_code, reason = "held, not read")] RwLockWriteGuard<'a, ()>),
    Far(#[expect(dead_code, reason = "held, not read")] RwLockReadGuard<'a, ()>),
}

impl Stage {
    pub(super) fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn followed(&self) -> MutexGuard<'_, Followed> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn traffic(&self) -> MutexGuard<'_, Traffic> {
        self.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now_millis(&self) -> u64 {
        self.app.clock.now().at.0
    }

    pub(super) fn now(&self) -> u64 {
        self.now_millis() / 1_000
    }

    /// Waits for all taps in flight, and lets no new tap begin.
    pub(super) async fn close(&self) -> Result<(), SandboxError> {
        let all = u32::try_from(IN_FLIGHT_MAX).unwrap_or(u32::MAX);
        self.places.acquire_many(all).await.map_err(|error| error.to_string())?.forget();
        Ok(())
    }

    pub(super) async fn play(&self, tap: Tap, manner: Manner) {
        if manner.is_forged() {
            return self.play_forged(&tap, manner).await;
        }
        let _turn = match self.turns.get(tap.user) {
            Some(turn) => Some(turn.lock().await),
            None => None,
        };
        let _near = self.near(&tap).await;
        if manner == Manner::Overtaken {
            let reversal = self.traffic().reversal_of(&tap);
            self.deliver(&reversal, Manner::Plain).await;
        }
        self.deliver(&tap, manner).await;
        self.traffic().played(&tap);
    }

    async fn near(&self, tap: &Tap) -> Near<'_> {
        let is_near = {
            let books = self.books();
            let account = books.accounts.get(&tap.ur_id);
            let card = account.and_then(|account| account.cards.iter().find(|card| card.id == tap.card));
            let codes = [Some(tap.merchant.currency), card.map(|card| card.currency)];
            let mut pools = codes.iter().flatten().filter_map(|code| books.pools.get(code));
            pools.any(|pool| pool.bounds(books.is_fed).least < EDGE + books.kept_most(pool.reserve))
        };
        if is_near { Near::Edge(self.edge.write().await) } else { Near::Far(self.edge.read().await) }
    }

    /// A forged tap must be refused, whatever its content.
    async fn play_forged(&self, tap: &Tap, manner: Manner) {
        let tap = Tap { id: format!("forged_{}", tap.id), ..tap.clone() };
        let now = self.now();
        let answer = match manner {
            Manner::ForgedKey => self.courier.ask_as_stranger(&tap, now).await,
            Manner::ForgedBody => self.courier.ask_altered(&tap, now).await,
            _ => self.courier.ask(&tap, now - 2 * self.timestamp_window_seconds).await,
        };
        match answer {
            Ok(answer) if answer.status == 401 => self.figures.counts().refused += 1,
            Ok(answer) => {
                self.figures.disagree(format!("{manner:?} {} was answered {answer:?}, expected 401", tap.id));
            }
            // No answer is no approval.
            Err(_) => self.figures.counts().unanswered += 1,
        }
    }

    async fn deliver(&self, tap: &Tap, manner: Manner) {
        if let Err(error) = self.follow() {
            return self.figures.disagree(error);
        }
        let sent = self.now();
        let right = self.books().ask(tap, sent);
        let answers = match manner {
            Manner::Twice => {
                let (one, other) = tokio::join!(self.insist(tap), self.insist(tap));
                one.zip(other).map(|(one, other)| {
                    self.compare(tap, &one, &other);
                    one
                })
            }
            Manner::Lost => {
                self.courier.ask_and_lose(tap, sent, Duration::from_micros(tap.amount % 5 * 400)).await;
                self.insist(tap).await
            }
            _ => self.insist(tap).await,
        };
        let Some(answer) = answers else {
            self.books().answered(tap);
            self.figures.counts().unanswered += 1;
            self.figures.disagree(format!("{} was never answered", tap.id));
            return;
        };
        self.figures.took(answer.latency);
        self.figures.counts().doubtful += u64::from(right > 1);
        self.judge(tap, &answer).await;
        match manner {
            Manner::Again => {
                if let Some(again) = self.insist(tap).await {
                    self.compare(tap, &answer, &again);
                }
            }
            Manner::Altered => self.alter(tap).await,
            _ => {}
        }
    }

    /// Retries with the same id until there is an answer, as UR does.
    async fn insist(&self, tap: &Tap) -> Option<Answer> {
        for _ in 0..ASKED_AGAIN_MAX {
            match self.courier.ask(tap, self.now()).await {
                Ok(answer) if answer.status != 503 && !is_stale(&answer) => return Some(answer),
                _ => {
                    self.figures.counts().asked_again += 1;
                    tokio::time::sleep(ASKED_AGAIN_AFTER).await;
                }
            }
        }
        None
    }

    fn compare(&self, tap: &Tap, first: &Answer, again: &Answer) {
        if (first.status, &first.body) == (again.status, &again.body) {
            self.figures.counts().repeated += 1;
        } else {
            self.figures.disagree(format!("{} was answered {first:?} and then {again:?}", tap.id));
        }
    }

    /// Sends the same id with other data.
    async fn alter(&self, tap: &Tap) {
        let altered = Tap { amount: tap.amount + 1, ..tap.clone() };
        let Some(answer) = self.insist(&altered).await else { return };
        let said: Option<Said> = serde_json::from_slice(&answer.body).ok();
        if said.is_some_and(|said| said.reason.as_deref() == Some("duplicate_mismatch")) {
            *self.figures.counts().declined.entry("duplicate_mismatch".to_owned()).or_default() += 1;
        } else {
            self.figures.disagree(format!("{} came with another amount and was answered {answer:?}", tap.id));
        }
    }

    async fn judge(&self, tap: &Tap, answer: &Answer) {
        // A person may have changed something meanwhile.
        if let Err(error) = self.follow() {
            return self.figures.disagree(error);
        }
        let expected = self.books().answered(tap);
        let said: Said = match serde_json::from_slice(&answer.body) {
            Ok(said) if answer.status == 200 => said,
            _ => return self.figures.disagree(format!("{} was answered {answer:?}", tap.id)),
        };
        self.count(tap, &said);
        if said.reason.as_deref() == Some("deadline_exceeded") {
            // The disk was slow: the decision holds nothing.
            let mut books = self.books();
            books.late.insert(tap.id.clone());
            return books.decline(tap);
        }
        let agreed = match self.agreed(tap, expected, &said).await {
            Ok(agreed) => agreed,
            Err(error) => return self.figures.disagree(error),
        };
        let now_millis = self.now_millis();
        let mut books = self.books();
        let is_followed = books.people.is_followed(&tap.ur_id);
        let booked = match agreed {
            Some(Expected::Approved(payment)) => books.approve(tap, payment, now_millis / 1_000),
            Some(Expected::Returned(amount)) => books.give_back(tap, amount, now_millis / 1_000),
            Some(Expected::Declined(_)) => {
                books.decline(tap);
                Ok(())
            }
            None => Err(format!("the answer is {said:?}, the books say {:?}", books.expect(tap, now_millis / 1_000))),
        };
        drop(books);
        match booked {
            Ok(()) if said.approved => self.traffic().approved(tap, now_millis),
            Err(what) if is_followed => {
                self.figures.disagree(format!("{} {}: {what}", tap.kind.name(), tap.id));
            }
            Ok(()) | Err(_) => {}
        }
    }

    /// The outcome by the books that agrees with the answer.
    async fn agreed(&self, tap: &Tap, mut expected: Vec<Expected>, said: &Said) -> Result<Option<Expected>, String> {
        if !self.books().people.is_followed(&tap.ur_id) {
            return self.decided(tap, said);
        }
        expected.retain(|expected| agree(tap, expected, said));
        if expected.is_empty() {
            // A limit period may have ended between the two clock readings, or a person tapped by hand.
            self.learn_of_taps_by_hand().await?;
            expected = self.books().expect(tap, self.now());
            expected.retain(|expected| agree(tap, expected, said));
        }
        if expected.is_empty()
            && let Some(reason) = said.reason.as_deref().and_then(|reason| self.books().starved_of(reason))
        {
            return Ok(Some(Expected::Declined(reason)));
        }
        if expected.len() > 1 {
            // The answer fits several ways to pay.
            let decided = self.decided(tap, said)?;
            expected.retain(|one| !matches!(one, Expected::Approved(_)) || Some(one) == decided.as_ref());
        }
        Ok(expected.into_iter().next())
    }

    /// The outcome by tapgate's own record.
    fn decided(&self, tap: &Tap, said: &Said) -> Result<Option<Expected>, String> {
        if !tap.kind.asks() {
            let amount = said.approved_amount.as_deref().and_then(|amount| amount.parse().ok());
            return Ok(Some(Expected::Returned(amount.unwrap_or(0))));
        }
        if !said.approved {
            return Ok(Some(Expected::Declined("")));
        }
        Ok(payment(&self.app.ledger, &self.books(), &tap.id)?.map(Expected::Approved))
    }

    fn count(&self, tap: &Tap, said: &Said) {
        let mut counts = self.figures.counts();
        match (&said.reason, &said.source) {
            (Some(reason), _) => *counts.declined.entry(reason.clone()).or_default() += 1,
            (None, Some(source)) => *counts.approved.entry(source.to_lowercase()).or_default() += 1,
            (None, None) if !tap.kind.asks() => counts.given_back += 1,
            (None, None) => {}
        }
    }

    /// Taps by hand draw on the pools too, and only tapgate knows them.
    pub(super) async fn learn_of_taps_by_hand(&self) -> Result<(), String> {
        let mut taken = std::collections::BTreeMap::new();
        let by_hand = self.books().people.by_hand.clone();
        for ur_id in by_hand {
            let mut cursor = String::new();
            loop {
                let page = self.partner.get(&format!("/authorizations?urId={ur_id}{cursor}")).await?;
                let items = page.get("items").and_then(|items| items.as_array()).cloned().unwrap_or_default();
                for item in items.iter().filter(|item| item["type"] == "authorization" && item["source"] == "CRYPTO") {
                    let held = |what| item.pointer(what).and_then(serde_json::Value::as_str).unwrap_or_default();
                    let amount: u64 = held("/held/amount").parse().unwrap_or(0);
                    *taken.entry(held("/held/currency").to_owned()).or_insert(0) += amount;
                }
                match page.get("next").and_then(|next| next.as_str()) {
                    Some(next) => cursor = format!("&cursor={next}"),
                    None => break,
                }
            }
        }
        for (code, pool) in &mut self.books().pools {
            pool.by_hand = taken.get(*code).copied().unwrap_or(0);
        }
        Ok(())
    }

    /// The partner debits the user.
    pub(super) async fn debit(&self, user: usize) {
        let Some(turn) = self.turns.get(user) else { return };
        let _turn = turn.lock().await;
        let ur_id = super::world::ur_id(user);
        self.then_follow(Ok(()));
        let Some((debited, ids)) = self.books().debit(&ur_id) else { return };
        for _ in 0..ASKED_AGAIN_MAX {
            let Some(funds) = self.books().accounts.get(&ur_id).and_then(|account| account.funds) else { return };
            let funds = Funds { amount: funds.amount - debited.cast_signed(), version: funds.version + 1, ..funds };
            let put = self.partner.put_funds(&ur_id, funds, &ids).await;
            let is_overtaken = put.as_ref().is_err_and(Refusal::is_overtaken);
            self.then_follow(put);
            if !is_overtaken {
                return;
            }
        }
    }

    /// A user freezes or unfreezes a card.
    pub(super) async fn freeze_or_not(&self, user: usize) {
        let Some(turn) = self.turns.get(user) else { return };
        let _turn = turn.lock().await;
        self.then_follow(Ok(()));
        let card = self.books().accounts.get(&super::world::ur_id(user)).and_then(|account| {
            let card = account.cards.iter().find(|card| card.status != "deleted")?;
            Some((card.id.clone(), if card.shown_status() == "active" { "frozen" } else { "active" }))
        });
        let Some((card, status)) = card else { return };
        self.then_follow(self.partner.put_card(&card, status).await);
    }

    /// Treasury's money arrives: the partner records the credit, and UR credits the pool.
    pub(super) async fn credit(&self, code: super::ur::contract::Code, amount: u64, reference: &str) {
        let _edge = self.edge.write().await;
        self.then_follow(self.partner.credit(code, amount, reference).await);
    }

    /// Follows the journal after a change of the partner's.
    fn then_follow(&self, changed: Result<(), Refusal>) {
        self.unless_overtaken(changed);
        if let Err(error) = self.follow() {
            self.figures.disagree(error);
        }
    }

    /// A change of the partner's must succeed, unless a person's came first.
    pub(super) fn unless_overtaken(&self, changed: Result<(), Refusal>) {
        match changed {
            Err(refusal) if !refusal.is_overtaken() => self.figures.disagree(refusal.into()),
            Ok(()) | Err(_) => {}
        }
    }

    /// A deposit made through UR's API arrives. tapgate finds its own orders by itself; the partner records any other
    /// credit.
    pub(super) async fn arrive(&self, wire: &Wire) {
        match self.partner.has_ordered(wire).await {
            Ok(true) => {
                let _edge = self.edge.write().await;
                self.books().arrive(wire);
            }
            Ok(false) => {
                self.books().statement.settle(wire.number);
                self.credit(wire.code, wire.amount, &wire.hash).await;
            }
            Err(error) => self.figures.disagree(error),
        }
    }
}

/// Whether the callback took too long for so fast a clock; UR then signs it again.
/// How an approval is paid, by its record.
pub(super) fn payment(ledger: &Ledger, books: &Books, id: &str) -> Result<Option<Payment>, String> {
    let parsed: AuthorizationId = id.parse().map_err(|error| format!("{id}: {error}"))?;
    let answer = ledger.find(&parsed).map_err(|error| error.to_string())?.and_then(|found| found.answer);
    let Some(answer) = answer else { return Ok(None) };
    let record = ledger.record(answer.decided).map_err(|error| error.to_string())?;
    let Some(Fact::Decided(decided)) = record.map(|record| record.fact) else { return Ok(None) };
    let Verdict::Approved(approval) = decided.verdict else { return Ok(None) };
    let Some(currency) = books.held(approval.paid.currency.as_str()) else { return Ok(None) };
    Ok(Some(Payment {
        source: approval.source.name(),
        currency,
        paid: approval.paid.amount.0.unsigned_abs(),
        chf: approval.limit.0.unsigned_abs(),
        funds: approval.funds.map_or(0, |funds| funds.amount.0.unsigned_abs()),
    }))
}

fn is_stale(answer: &Answer) -> bool {
    answer.status == 401 && answer.body.windows(STALE.len()).any(|window| window == STALE)
}

/// Whether the answer agrees with the books.
fn agree(tap: &Tap, expected: &Expected, said: &Said) -> bool {
    let amount_is = |amount: u64| said.approved_amount.as_deref() == Some(amount.to_string().as_str());
    match expected {
        Expected::Approved(payment) => {
            said.approved && said.source.as_deref() == Some(payment.source) && amount_is(tap.amount)
        }
        Expected::Declined(reason) => !said.approved && said.reason.as_deref() == Some(reason),
        Expected::Returned(amount) => {
            matches!(tap.kind, Kind::Reversal | Kind::Advice) && said.approved && amount_is(*amount)
        }
    }
}
