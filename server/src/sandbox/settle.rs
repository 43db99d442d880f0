//! After the traffic: UR settles what it booked and tells it as the faults have it, tapgate sweeps, and what it then holds and
//! what it calls a break are compared with what was done to it: each fault is found as exactly its break, nothing else is.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use indicatif::ProgressBar;
use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use rand::seq::SliceRandom;
use serde_json::Value;
use tapgate_engine::authorization::State;
use tapgate_engine::ids::UrId;
use tapgate_engine::posting::BreakKind;

use super::play::Stage;
use super::ur::{OPS_UR_ID, Shown};
use super::world::SAMPLE_USER;
use crate::config::Reconcile;
use crate::reconcile::sweep::Sweeps;
use crate::signature::SigningKey;
use crate::ur::{Client, Priority, UrApi};

/// Transactions that UR tells by notification; the others are left to the sweeps.
const TOLD_MAX: usize = 2_000;
/// Calls a minute of a partner with a generous tier: the sweeps of a whole run take seconds.
const CALLS_PER_MINUTE: u32 = 1_000_000;
/// How often a sweep that UR broke off is made again.
const SWEEPS_MAX: u32 = 50;

/// What goes wrong between UR's books and what it shows, in thousandths, and with its API.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Faults {
    /// Notifications that never arrive.
    pub(super) lost: u32,
    /// That come twice.
    pub(super) twice: u32,
    /// That say "pending" once more after it is settled.
    pub(super) late: u32,
    /// They come in any order.
    pub(super) shuffled: bool,
    /// Debits that are told as rejected and then settled.
    pub(super) contradicted: u32,
    /// Debits that UR settles at half as much again.
    pub(super) wrong: u32,
    /// Settlements that nobody asked for.
    pub(super) orphans: usize,
    /// Calls that the API fails at first.
    pub(super) away: u32,
    /// Every so many calls are too many; 0: none.
    pub(super) limited_every: u32,
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Settled {
    pub(super) transactions: usize,
    pub(super) told: usize,
    pub(super) swept: usize,
    pub(super) breaks: usize,
}

/// A break that must be found: its kind, and what it is of.
type Expected = BTreeSet<(BreakKind, String)>;

impl Stage {
    /// Settles, tells, sweeps and compares.
    ///
    /// # Errors
    /// Something that must work did not; what differs is counted as a disagreement.
    pub(super) async fn settle(
        &self,
        ur: SocketAddr,
        partner: SigningKey,
        faults: Faults,
        random: &mut ChaCha8Rng,
        progress: &ProgressBar,
    ) -> Result<Settled, String> {
        let (shown, expected) = self.distort(faults, random);
        let mut settled = Settled { transactions: shown.len(), ..Settled::default() };
        for (event, is_contradiction) in tellings(&shown, &expected, faults, random) {
            self.courier.tell(&event, self.now()).await?;
            settled.told += usize::from(!is_contradiction);
        }
        let clock = Arc::clone(&self.app.clock);
        let client = Client::new(&format!("http://{ur}"), partner, Vec::new(), CALLS_PER_MINUTE, clock);
        let client = client.map_err(|error| error.to_string())?;
        self.books().trouble(faults.away, faults.limited_every);
        let users: Vec<String> = self.books().accounts.keys().filter(|ur_id| *ur_id != SAMPLE_USER).cloned().collect();
        progress.set_length(users.len() as u64);
        for ur_id in &users {
            self.sweep(&client, ur_id).await?;
            progress.inc(1);
            settled.swept += 1;
        }
        self.books().trouble(0, 0);
        settled.breaks = self.compare_breaks(&expected);
        self.compare_authorizations(&expected);
        self.compare_pools(&client).await?;
        Ok(settled)
    }

    /// UR settles, with what goes wrong; gives what it shows, and the breaks that this must come to.
    fn distort(&self, faults: Faults, random: &mut ChaCha8Rng) -> (Vec<Shown>, Expected) {
        let now = self.now();
        let mut books = self.books();
        let mut expected = Expected::new();
        books.statement.settle_all(now);
        // Only debits of authorizations that nothing else happened to: what a fault comes to is then one break.
        for (number, root) in books.plain_debits() {
            let drawn = random.random_range(0..1_000);
            if drawn < faults.wrong {
                books.overcharge(number);
                expected.insert((BreakKind::AmountMismatch, root));
            } else if drawn < faults.wrong + faults.contradicted {
                expected.insert((BreakKind::StatusConflict, root));
            }
        }
        let mut users: Vec<_> = books.accounts.keys().filter(|ur_id| *ur_id != SAMPLE_USER).cloned().collect();
        users.sort();
        for (user, amount) in users.iter().take(faults.orphans).zip(1_313..) {
            let hash = books.charge_unasked(user, amount, now);
            expected.insert((BreakKind::OrphanAtProvider, hash));
        }
        (books.statement.cards(now), expected)
    }

    async fn sweep(&self, client: &Client, ur_id: &str) -> Result<(), String> {
        let user: UrId = ur_id.parse().map_err(|error| format!("{ur_id}: {error}"))?;
        let rules = Reconcile {
            first_look_seconds: 1,
            silence_seconds: 2_592_000,
            expiry_seconds: 2_592_000,
            long_expiry_seconds: 2_592_000,
            drift_bps: 200,
        };
        let mut sweeps = Sweeps::new(rules);
        let mut tries = 0;
        loop {
            match sweeps.sweep(&self.app.ledger, &self.app.clock, client, &user).await {
                Ok(_) => return Ok(()),
                Err(error) if tries == SWEEPS_MAX => return Err(format!("the sweep of {ur_id} never ended: {error}")),
                Err(_) => tries += 1,
            }
            self.app.clock.sleep(std::time::Duration::from_secs(1)).await;
        }
    }

    fn compare_breaks(&self, expected: &Expected) -> usize {
        let of_people =
            |subject: &str| self.books().bookings.get(subject).is_some_and(|booking| booking.is_of_user(SAMPLE_USER));
        let open = self.app.ledger.open_breaks();
        let found: Expected = open
            .iter()
            .map(|found| (found.discrepancy.kind, found.discrepancy.subject.to_string()))
            .filter(|(_, subject)| !of_people(subject))
            .collect();
        for (kind, subject) in expected.difference(&found) {
            self.figures.disagree(format!("no break says {} of {subject}", kind.name()));
        }
        for (kind, subject) in found.difference(expected) {
            self.figures.disagree(format!("a break says {} of {subject}, and nothing is wrong with it", kind.name()));
        }
        open.len()
    }

    /// What UR settled holds nothing any more; all else is as it was.
    fn compare_authorizations(&self, expected: &Expected) {
        let roots = self.books().settled_roots();
        for (root, booked) in roots {
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
                "reversed" if !contradicted => row.state == State::Reversed,
                _ => row.state == State::Cleared,
            };
            if !ended || !row.held().amount.is_zero() {
                let (state, held) = (row.state.name(), row.held().amount);
                self.figures
                    .disagree(format!("{root} is {booked} and settled; tapgate says {state}, and holds {held}"));
            }
        }
    }

    /// A report that is asked for now holds everything: what is available is UR's balance less what people tapped by hand.
    async fn compare_pools(&self, client: &Client) -> Result<(), String> {
        let ops: UrId = OPS_UR_ID.parse().map_err(|error| format!("{error}"))?;
        let seen_through = self.app.ledger.journal().claimed();
        for balance in client.balance(&ops, Priority::High).await.map_err(|error| error.to_string())? {
            let code = balance.currency;
            let now = self.app.clock.now();
            let synced = self.app.ledger.sync_pool(code, balance.amount, seen_through, now);
            synced.map_err(|error| error.to_string())?;
            let (floor, by_hand) = {
                let books = self.books();
                let pool = books.pools.get(code.as_str()).copied().unwrap_or_default();
                (pool.floor, pool.by_hand)
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
}

/// The notifications, in the order and number in which the faults let them arrive; a contradiction is marked.
fn tellings(shown: &[Shown], expected: &Expected, faults: Faults, random: &mut ChaCha8Rng) -> Vec<(Value, bool)> {
    let mut contradictions = Vec::new();
    let mut told = Vec::new();
    for one in shown {
        let is_orphan = expected.contains(&(BreakKind::OrphanAtProvider, one.hash.clone()));
        if one.is_out && expected.contains(&(BreakKind::StatusConflict, one.reference.clone())) {
            contradictions.push((one.with_status("rejected"), true));
            told.push((one.data.clone(), false));
            continue;
        }
        // A sweep looks only at who holds something: what nobody asked for comes by a notification.
        if told.len() >= TOLD_MAX && !is_orphan {
            continue;
        }
        let drawn = random.random_range(0..1_000);
        if drawn < faults.lost && !is_orphan {
            continue;
        }
        told.push((one.data.clone(), false));
        if drawn < faults.lost + faults.twice {
            told.push((one.data.clone(), false));
        } else if drawn < faults.lost + faults.twice + faults.late && one.is_out {
            told.push((one.with_status("pending"), false));
        }
    }
    if faults.shuffled {
        told.shuffle(random);
    }
    // What is contradicted is told first: a settlement that is known is not undone by a rejection.
    contradictions.into_iter().chain(told).collect()
}
