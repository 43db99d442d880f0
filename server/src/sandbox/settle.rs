//! UR settles its bookings and notifies tapgate as the fault profile has it, during the traffic and after it. Then
//! tapgate sweeps, and its holds and breaks are compared with the injected faults: each fault must be reported as its
//! own kind of break, nothing else as a break, and tapgate's figures must equal UR's.
#![expect(clippy::indexing_slicing, reason = "JSON indexed by a name that is not there is null, and no panic")]

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use indicatif::ProgressBar;
use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use rand::seq::SliceRandom;
use serde_json::Value;
use tapgate_engine::fact::{AuthorizationState, BreakKind, ReportedAccount, Tolerance};
use tapgate_engine::ids::{AuthorizationId, UrId};
use tapgate_engine::ledger::ChangeError;
use tapgate_engine::money::Money;
use tokio::sync::watch;

use super::play::Stage;
use super::ur::{Bounds, OPS_UR_ID, Quirks, Shown};
use crate::provider::api::{self, AccountMode, AmountForms, Client, Priority, UrApi};
use crate::provider::reconciliation::{self, sweep::Sweeps};
use crate::randomness::Randomness;
use crate::signature::SigningKey;

/// Transactions that UR notifies; sweeps must find the others.
const NOTIFIED_MAX: usize = 2_000;
/// Notifications of the second provider that are under way together.
const NOTIFIED_AT_ONCE: usize = 8;
/// A generous call budget: the sweeps of a whole run take seconds.
const CALLS_PER_MINUTE: u32 = 1_000_000;
/// Retries of a sweep that UR interrupted.
const SWEEPS_MAX: u32 = 50;
/// UR's settlement interval, in real time.
const SETTLE_INTERVAL: Duration = Duration::from_millis(25);
/// During the traffic: the intervals of unasked settlements and of API outages, and the duration of an outage.
const ORPHANS_EVERY_SECONDS: u64 = 3 * 86_400;
/// Most users have an amount like it, or pay otherwise.
const UNASKED_TRIES: u32 = 20;
const OUTAGE_EVERY_SECONDS: u64 = 7 * 86_400;
const OUTAGE_SECONDS: u64 = 6 * 3_600;

/// Faults between UR's books and its notifications, in thousandths, and faults of its API.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Faults {
    /// Notifications that never arrive.
    pub(super) lost: u32,
    /// Notifications that arrive twice.
    pub(super) twice: u32,
    /// Notifications that repeat "pending" after settlement.
    pub(super) late: u32,
    /// Notifications arrive in any order.
    pub(super) shuffled: bool,
    /// Debits that UR notifies as rejected and then settles.
    pub(super) contradicted: u32,
    /// Debits that UR settles at one and a half times the amount.
    pub(super) wrong: u32,
    /// Restaurants' debits that UR settles with a tip.
    pub(super) tipped: u32,
    /// Settlements without an authorization.
    pub(super) orphans: usize,
    /// Calls that fail at first.
    pub(super) away: u32,
    /// The API rate-limits every nth call; 0: none.
    pub(super) limited_every: u32,
    /// Transactions that UR shows under unknown and empty statuses besides.
    pub(super) worded: u32,
    /// Debits that UR settles in parts.
    pub(super) split: u32,
    /// Increments may raise the debit before them instead of showing as their own.
    pub(super) merges: bool,
    /// Answers leave out a figure now and then.
    pub(super) omits: bool,
    /// Answers contain odd tokens, rates and rows.
    pub(super) is_odd: bool,
}

/// UR's settlements and notifications, and the breaks that they must cause.
#[derive(Debug, Default)]
pub(super) struct Settled {
    pub(super) transactions: usize,
    pub(super) told: usize,
    pub(super) swept: usize,
    pub(super) breaks: usize,
    pub(super) tips: usize,
    /// Users whom UR charged unasked at the end, and the amounts.
    unasked: Vec<(String, u64)>,
    /// The breaks that must be open at the end, by kind and subject.
    expected: BTreeSet<(BreakKind, String)>,
    /// The times of UR's next unasked settlement and next outage.
    orphan_at: u64,
    outage_at: u64,
    /// Notifications that UR holds back, with their times.
    pub(super) held_back: Vec<(u64, Notification)>,
}

/// What UR does to a debit without notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Surprise {
    /// It settles more than was approved and held.
    Overcharge,
    /// It notifies the debit as rejected, and settles it.
    Contradiction,
    /// It settles more than was approved, and tapgate held it.
    Tip,
}

/// One notification.
#[derive(Debug)]
pub(super) struct Notification {
    pub(super) number: usize,
    pub(super) data: Value,
}

impl Notification {
    /// The same transaction before it completes.
    fn pending(&self) -> Notification {
        let mut data = self.data.clone();
        if let Some(fields) = data.as_object_mut() {
            fields.insert("status".to_owned(), "pending".into());
        }
        Notification { number: self.number, data }
    }
}

impl Stage {
    /// Settles due transactions until the traffic is over.
    ///
    /// # Errors
    /// tapgate refused a notification.
    pub(super) async fn keep_settling(
        &self,
        settled: &mut Settled,
        faults: Faults,
        random: &mut ChaCha8Rng,
        mut over: watch::Receiver<bool>,
    ) -> Result<(), String> {
        let began = self.now();
        (settled.orphan_at, settled.outage_at) = (began + ORPHANS_EVERY_SECONDS, began + OUTAGE_EVERY_SECONDS);
        self.books().api_faults(0, faults.limited_every);
        self.books().quirks = Quirks::new(faults.omits, faults.is_odd);
        self.books().merges = faults.merges;
        while !*over.borrow() {
            let now = self.now();
            if faults.away > 0 && now >= settled.outage_at {
                settled.outage_at = now + OUTAGE_EVERY_SECONDS;
                self.books().fail_until(now + OUTAGE_SECONDS);
            }
            if faults.orphans > 0 && now >= settled.orphan_at {
                settled.orphan_at = now + ORPHANS_EVERY_SECONDS;
                self.charge_unasked(settled, random).await?;
            }
            self.show_early(settled, faults, random).await?;
            self.settle_due(settled, faults, random).await?;
            self.show_late(settled, self.now()).await?;
            tokio::select! {
                () = tokio::time::sleep(SETTLE_INTERVAL) => {}
                _ = over.changed() => {}
            }
        }
        self.books().api_faults(0, 0);
        Ok(())
    }

    async fn settle_due(&self, settled: &mut Settled, faults: Faults, random: &mut ChaCha8Rng) -> Result<(), String> {
        let now = self.now();
        let due = {
            let traffic = self.traffic();
            self.books().statement.take_due(now, |root| traffic.is_followed(root))
        };
        settled.transactions += due.len();
        let mut notifications = Vec::new();
        for number in due {
            if let Some(surprise) = self.surprise_of(number, faults, random) {
                self.surprise(number, surprise, settled).await?;
            } else {
                self.settle_worded(number, settled, faults, random, &mut notifications);
            }
        }
        if faults.shuffled {
            notifications.shuffle(random);
        }
        self.notify_all(&notifications, settled).await
    }

    /// Notifies in order. The second provider, which no sweep makes up for, shows each debit as pending before it completes
    /// any: else the smallest of an authorization's could seem to be a difference of rates.
    async fn notify_all(&self, notifications: &[Notification], settled: &mut Settled) -> Result<(), String> {
        if self.provider.is_some() {
            let debits =
                notifications.iter().filter(|one| one.data["direction"] == "OUT" && one.data["status"] == "completed");
            let pending: Vec<_> = debits.map(Notification::pending).collect();
            self.notify_together(&pending).await?;
        }
        settled.told += notifications.len();
        self.notify_together(notifications).await
    }

    /// As the second provider several at once, so that a fast clock's month is told before its holds expire.
    async fn notify_together(&self, notifications: &[Notification]) -> Result<(), String> {
        let at_once = if self.provider.is_some() { NOTIFIED_AT_ONCE } else { 1 };
        for part in notifications.chunks(at_once) {
            let tell = |place: usize| async move {
                match part.get(place) {
                    Some(notification) => self.notify(notification).await,
                    None => Ok(()),
                }
            };
            tokio::try_join!(tell(0), tell(1), tell(2), tell(3), tell(4), tell(5), tell(6), tell(7))?;
        }
        Ok(())
    }

    pub(super) async fn notify(&self, notification: &Notification) -> Result<(), String> {
        let reclaimed = self.books().reclaimable(notification.number);
        if let Some(ur_id) = reclaimed {
            // No tap is in flight while tapgate's figures change.
            let _turn = self.turn_of(&ur_id).await;
            let _edge = self.edge.write().await;
            self.courier.notify(&notification.data, || self.now()).await?;
            self.books().reclaim(notification.number);
        } else {
            self.courier.notify(&notification.data, || self.now()).await?;
        }
        if notification.data["status"] == "completed" {
            let now = self.now();
            self.books().statement.note_shown(&[notification.number], now);
        }
        Ok(())
    }

    /// Only a debit without any other event gets a surprise, so that its effect is at most one break.
    fn surprise_of(&self, number: usize, faults: Faults, random: &mut ChaCha8Rng) -> Option<Surprise> {
        self.books().plain_debit(number)?;
        match random.random_range(0..1_000) {
            drawn if drawn < faults.wrong => Some(Surprise::Overcharge),
            drawn if drawn < faults.wrong + faults.contradicted => Some(Surprise::Contradiction),
            drawn if drawn < faults.wrong + faults.contradicted + faults.tipped => Some(Surprise::Tip),
            _ => None,
        }
    }

    /// UR settles another amount, or a debit that it had notified as rejected, and notifies it at once while no tap is
    /// in flight: tapgate cannot know it before, but the books expect tapgate to know it.
    async fn surprise(&self, number: usize, surprise: Surprise, settled: &mut Settled) -> Result<(), String> {
        let Some(shown) = self.books().statement.shown(number) else { return Ok(()) };
        let _turn = self.turn_of(&shown.ur_id).await;
        let _edge = self.edge.write().await;
        if surprise == Surprise::Contradiction {
            self.notify(&Notification { number, data: shown.with_status("rejected") }).await?;
            self.books().take_back(&shown.reference, &shown.ur_id);
            self.books().take_again(&shown.reference, &shown.ur_id);
            settled.expected.insert((BreakKind::StatusConflict, shown.reference));
        } else if surprise == Surprise::Tip {
            settled.tips += usize::from(self.books().tip(number, self.now()));
        } else if self.books().overcharge(number, self.now()) {
            settled.expected.insert((BreakKind::AmountMismatch, shown.reference));
        }
        let Some(shown) = self.books().statement.settle(number) else { return Ok(()) };
        settled.told += 1;
        self.notify(&Notification { number, data: shown.data }).await
    }

    async fn charge_unasked(&self, settled: &mut Settled, random: &mut ChaCha8Rng) -> Result<(), String> {
        for _ in 0..UNASKED_TRIES {
            let ur_id = super::world::ur_id(random.random_range(0..self.turns.len()));
            let _turn = self.turn_of(&ur_id).await;
            let _edge = self.edge.write().await;
            let amount = random.random_range(500..5_000);
            let Some(number) = self.books().charge_unasked(&ur_id, amount, self.now()) else { continue };
            let Some(shown) = self.books().statement.shown(number) else { continue };
            settled.expected.insert((BreakKind::OrphanAtProvider, shown.hash));
            settled.transactions += 1;
            settled.told += 1;
            self.notify(&Notification { number, data: shown.data }).await?;
            return self.debit_unasked(&ur_id, amount);
        }
        Ok(())
    }

    /// The partner debits the user for what UR took unasked, though one of the user's holds might have been meant.
    fn debit_unasked(&self, ur_id: &str, amount: u64) -> Result<(), String> {
        let user: UrId = ur_id.parse().map_err(|error| format!("{ur_id}: {error}"))?;
        let ledger = &self.app.ledger;
        let is_alone = |root: &AuthorizationId| root.as_str().starts_with("posted:");
        let asked = ledger.user(&user).map(|user| user.asked().to_vec()).unwrap_or_default();
        for root in asked.iter().filter(|root| is_alone(root)) {
            ledger.charge(root, self.app.clock.now()).map_err(|error| error.to_string())?;
        }
        let Some(user) = ledger.user(&user) else { return Ok(()) };
        let mut books = self.books();
        for hold in user.holds().iter().filter(|hold| is_alone(&hold.root) && !hold.funds.is_zero()) {
            books.debit_unasked(ur_id, hold.id.as_str(), amount);
        }
        Ok(())
    }

    async fn turn_of(&self, ur_id: &str) -> Option<tokio::sync::MutexGuard<'_, ()>> {
        Some(self.turns.get(super::world::index_of(ur_id)?)?.lock().await)
    }

    /// After the traffic: settles and notifies the rest, sweeps, and compares.
    ///
    /// # Errors
    /// A step that must succeed failed; a difference only counts as a disagreement.
    pub(super) async fn settle(
        &self,
        settled: &mut Settled,
        (ur, partner): (SocketAddr, SigningKey),
        faults: Faults,
        random: &mut ChaCha8Rng,
        progress: &ProgressBar,
    ) -> Result<(), String> {
        let notifications = self.notifications(settled, faults, random).await?;
        self.notify_all(&notifications, settled).await?;
        for (ur_id, amount) in std::mem::take(&mut settled.unasked) {
            self.debit_unasked(&ur_id, amount)?;
        }
        let clock = Arc::clone(&self.app.clock);
        let settings = api::Settings {
            base_url: format!("http://{ur}"),
            key: partner,
            signers: Vec::new(),
            require_signed_answers: false,
            calls_per_minute: CALLS_PER_MINUTE,
            amounts: AmountForms::DOCUMENTED,
            mode: AccountMode::ExternalWallet,
        };
        let client = Client::new(settings, clock, Randomness::of_system(), Arc::default());
        let client = client.map_err(|error| error.to_string())?;
        self.show_late(settled, u64::MAX).await?;
        self.books().api_faults(faults.away, faults.limited_every);
        self.books().quirks = Quirks::default();
        let users = self.traded();
        progress.set_length(users.len() as u64);
        // Of the second provider tapgate sees what it notifies, and nothing else.
        for ur_id in users.iter().filter(|_| self.provider.is_none()) {
            self.sweep(&client, ur_id).await?;
            progress.inc(1);
            settled.swept += 1;
        }
        self.books().api_faults(0, 0);
        self.follow()?;
        self.books().free_upcharges();
        settled.breaks = self.compare_breaks(&settled.expected)?;
        self.compare_authorizations(&settled.expected);
        self.compare_pools(&client).await?;
        for ur_id in &users {
            if self.books().people.is_compared(ur_id) {
                self.compare_user(&client, ur_id).await?;
            }
        }
        Ok(())
    }

    /// The users of the traffic.
    fn traded(&self) -> Vec<String> {
        let books = self.books();
        let traded = books.accounts.keys().filter(|ur_id| !books.people.by_hand.contains(*ur_id));
        let mut traded: Vec<_> = traded.cloned().collect();
        traded.sort();
        traded
    }

    /// The notifications of the rest, in the order and number that the faults produce.
    async fn notifications(
        &self,
        settled: &mut Settled,
        faults: Faults,
        random: &mut ChaCha8Rng,
    ) -> Result<Vec<Notification>, String> {
        let now = self.now();
        let left = self.books().statement.take_due(u64::MAX - 1, |_| false);
        settled.transactions += left.len();
        let mut told = Vec::new();
        for number in left {
            let surprise = self.surprise_of(number, faults, random);
            if let Some(surprise @ (Surprise::Contradiction | Surprise::Tip)) = surprise {
                self.surprise(number, surprise, settled).await?;
                continue;
            }
            if surprise.is_none() && told.len() < self.notified_max() {
                self.settle_worded(number, settled, faults, random, &mut told);
                continue;
            }
            let mut books = self.books();
            let is_wrong = surprise == Some(Surprise::Overcharge) && books.overcharge(number, now);
            let Some(shown) = books.statement.settle(number) else { continue };
            // A wrong notification may be lost, too: then a sweep must find the settlement.
            if told.len() < self.notified_max() {
                notify(&shown, faults, random, &mut told);
            }
            if is_wrong {
                settled.expected.insert((BreakKind::AmountMismatch, shown.reference));
            }
        }
        let users = self.traded();
        let mut books = self.books();
        let orphans = users.iter().zip(1_313..).filter_map(|(user, amount)| books.charge_unasked(user, amount, now));
        let orphans: Vec<_> = orphans.take(faults.orphans).collect();
        // A sweep asks only about accounts with holds, so an unasked settlement needs a notification.
        for shown in orphans.into_iter().filter_map(|number| books.statement.shown(number)) {
            let amount = books.statement.row(shown.number).map_or(0, |row| row.amount);
            settled.unasked.push((shown.ur_id.clone(), amount));
            settled.expected.insert((BreakKind::OrphanAtProvider, shown.hash));
            settled.transactions += 1;
            told.push(Notification { number: shown.number, data: shown.data });
        }
        if faults.shuffled {
            told.shuffle(random);
        }
        Ok(told)
    }

    fn notified_max(&self) -> usize {
        if self.provider.is_some() { usize::MAX } else { NOTIFIED_MAX }
    }

    async fn sweep(&self, client: &Client, ur_id: &str) -> Result<(), String> {
        let user: UrId = ur_id.parse().map_err(|error| format!("{ur_id}: {error}"))?;
        let rules = reconciliation::Settings {
            first_look_seconds: 1,
            silence_seconds: 2_592_000,
            expiry_seconds: 2_592_000,
            long_expiry_seconds: 2_592_000,
            return_after_seconds: 2_592_000,
            tolerance: Tolerance::default(),
        };
        let mut sweeps = Sweeps::new(rules);
        let mut tries = 0;
        loop {
            match sweeps.sweep(&self.app.ledger, &self.app.clock, client, &user).await {
                Ok(_) => return Ok(()),
                Err(error) if tries == SWEEPS_MAX => return Err(format!("the sweep of {ur_id} never ended: {error}")),
                Err(_) => tries += 1,
            }
            self.app.clock.sleep(Duration::from_secs(1)).await;
        }
    }

    fn compare_breaks(&self, expected: &BTreeSet<(BreakKind, String)>) -> Result<usize, String> {
        let resolved = self.resolved()?;
        let open = self.app.ledger.open_breaks();
        let mut found = resolved.clone();
        for one in open.iter().map(|one| &one.discrepancy) {
            let named = (one.kind, one.subject.to_string());
            let is_expected = expected.contains(&named) || resolved.contains(&named) || !self.is_compared(one)?;
            if !is_expected {
                self.figures.disagree(format!("nothing is wrong with what a break says: {one:?}"));
            }
            found.insert(named);
        }
        for (kind, subject) in expected.difference(&found) {
            if self.is_of_compared(subject)? {
                self.figures.disagree(format!("no break says {} of {subject}", kind.name()));
            }
        }
        Ok(open.len())
    }

    /// A settled authorization holds nothing; every other one is unchanged.
    fn compare_authorizations(&self, expected: &BTreeSet<(BreakKind, String)>) {
        let roots = self.books().settled_roots();
        let is_compared = |root: &String| self.is_of_compared(root).unwrap_or(false);
        for (root, booked) in roots.into_iter().filter(|(root, _)| is_compared(root)) {
            let Ok(id) = root.parse() else { continue };
            let found = match self.app.ledger.find(&id) {
                Ok(found) => found.and_then(|found| found.authorization),
                Err(error) => return self.figures.disagree(error.to_string()),
            };
            let Some(row) = found else {
                self.figures.disagree(format!("{root} is settled, and tapgate does not know it"));
                continue;
            };
            let contradicted = expected.contains(&(BreakKind::StatusConflict, root.clone()));
            let ended = match booked {
                "reversed" if !contradicted => row.state == AuthorizationState::Reversed,
                _ => row.state == AuthorizationState::Cleared,
            };
            if !ended || !row.held().amount.is_zero() {
                let (state, held) = (row.state.name(), row.held().amount);
                self.figures
                    .disagree(format!("{root} is {booked} and settled; tapgate says {state}, and holds {held}"));
            }
        }
    }

    /// A report requested now includes everything: the available balance is UR's balance less the taps by hand.
    async fn compare_pools(&self, client: &Client) -> Result<(), String> {
        let ops: UrId = OPS_UR_ID.parse().map_err(|error| format!("{error}"))?;
        let seen_through = self.app.ledger.journal().claimed();
        for balance in client.balance(&ops, Priority::High).await.map_err(|error| error.to_string())?.rows {
            let code = balance.currency;
            let now = self.app.clock.now();
            match self.app.ledger.sync_pool(code, balance.amount, seen_through, now) {
                // A later report by the feed includes as much.
                Ok(_) | Err(ChangeError::Conflict(_)) => {}
                Err(error) => return Err(error.to_string()),
            }
            let (floor, by_hand) = {
                let books = self.books();
                books.pools.get(code.as_str()).map_or((0, 0), |pool| (pool.floor, pool.by_hand))
            };
            let expected = balance.amount.0 - floor.cast_signed() - by_hand.cast_signed();
            let available = self.app.ledger.pool(code).map_or(0, |pool| pool.available.0);
            if available != expected {
                let what = format!(
                    "pool {code} after a report of {}: {available} is available, {expected} must be",
                    balance.amount
                );
                self.figures.disagree(what);
            }
        }
        Ok(())
    }

    /// Likewise a user's headroom and each of the user's balances.
    async fn compare_user(&self, client: &Client, ur_id: &str) -> Result<(), String> {
        let user: UrId = ur_id.parse().map_err(|error| format!("{ur_id}: {error}"))?;
        let seen_through = self.app.ledger.journal().claimed();
        let profile = client.profile(&user, Priority::High).await.map_err(|error| error.to_string())?;
        let balances = client.balance(&user, Priority::High).await.map_err(|error| error.to_string())?;
        let account = ReportedAccount { status: profile.status, limit: profile.limit, allowances: profile.allowances };
        let money: Vec<_> =
            balances.rows.iter().map(|shown| Money { amount: shown.amount, currency: shown.currency }).collect();
        let now = self.app.clock.now();
        match self.app.ledger.report_user(&user, Some(account), Some(money), seen_through, now) {
            // A later report by the feed includes as much.
            Ok(_) | Err(ChangeError::Conflict(_)) => {}
            Err(error) => return Err(error.to_string()),
        }
        let asked_at = self.now();
        let shown = self.partner.get(&format!("/users/{ur_id}")).await?;
        let Some(booked) = self.books().accounts.get(ur_id).cloned() else { return Ok(()) };
        // UR's period may end while tapgate answers.
        let left = |now| booked.limit.client.saturating_sub(booked.limit.used_at(now));
        let headroom = Bounds { least: left(asked_at), most: left(self.now()) };
        self.within(&format!("user {ur_id} headroom after a report"), &shown["limit"]["headroom"], headroom);
        for balance in shown["fiat"].as_array().into_iter().flatten() {
            let code = balance["currency"].as_str().unwrap_or_default();
            let left = booked.fiat.iter().find(|(known, _)| **known == code).map_or(0, |(_, (left, _))| left.balance);
            self.same(&format!("user {ur_id} fiat {code} after a report"), &balance["available"], &left);
        }
        Ok(())
    }
}

/// Adds a transaction's notifications, as many as the faults produce.
pub(super) fn notify(shown: &Shown, faults: Faults, random: &mut ChaCha8Rng, notifications: &mut Vec<Notification>) {
    let notification = |data: Value| Notification { number: shown.number, data };
    let drawn = random.random_range(0..1_000);
    if drawn < faults.lost {
        return;
    }
    notifications.push(notification(shown.data.clone()));
    if drawn < faults.lost + faults.twice {
        notifications.push(notification(shown.data.clone()));
    } else if drawn < faults.lost + faults.twice + faults.late && shown.is_out {
        notifications.push(notification(shown.with_status("pending")));
    }
}
