//! The partner's treasurer: tops pools up as they run low, and neglects one.

use std::time::Duration;

use tokio::time::Instant;

use super::play::Stage;
use super::ur::bank::Wire;
use super::ur::contract::Code;

/// The time until a credit, in real time: on a fast clock, days.
const LEAD: Duration = Duration::from_secs(5);

/// The pool that the treasurer neglects, so that it runs dry: from its first top-up after this many seconds, when
/// tapgate has seen a week of it, until it is empty.
const NEGLECTED: Code = "GBP";
const NEGLECTS_AFTER_SECONDS: u64 = 8 * 86_400;

/// The treasurer's attention to the neglected pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attention {
    Untested,
    Neglects,
    Restored,
}

/// A top-up in flight.
struct TopUp {
    code: Code,
    amount: u64,
    reference: String,
    arrives: Instant,
}

/// Sends a top-up when a pool is below a quarter of its opening balance; the credit follows later.
pub(super) struct Treasurer {
    /// In seconds of the clock.
    began: u64,
    number: u64,
    under_way: Vec<TopUp>,
    /// Deposits made through UR's API, with their time of arrival.
    deposits: Vec<(Wire, Instant)>,
    attention: Attention,
}

impl Treasurer {
    pub(super) fn new(began: u64) -> Treasurer {
        Treasurer { began, number: 0, under_way: Vec::new(), deposits: Vec::new(), attention: Attention::Untested }
    }

    /// Credits top-ups that have arrived, and sends new ones where needed; records both with tapgate.
    pub(super) async fn look(&mut self, stage: &Stage, now: Instant) {
        for arrived in self.under_way.extract_if(.., |top_up| top_up.arrives <= now).collect::<Vec<_>>() {
            stage.credit(arrived.code, arrived.amount, &arrived.reference).await;
            let is_late = stage.now() - self.began > NEGLECTS_AFTER_SECONDS;
            if self.attention == Attention::Untested && is_late && arrived.code == NEGLECTED {
                self.attention = Attention::Neglects;
            }
        }
        for (wire, _) in self.deposits.extract_if(.., |(_, arrives)| *arrives <= now).collect::<Vec<_>>() {
            stage.arrive(&wire).await;
        }
        self.deposits.extend(std::mem::take(&mut stage.books().deposits).into_iter().map(|wire| (wire, now + LEAD)));
        for (code, amount) in self.due(stage) {
            let top_up = self.top_up(code, amount, now);
            let expected_at = stage.now() + LEAD.as_secs() * stage.books().speed;
            stage.unless_overtaken(stage.partner.announce(code, amount, &top_up.reference, expected_at).await);
            self.under_way.push(top_up);
        }
    }

    fn top_up(&mut self, code: Code, amount: u64, now: Instant) -> TopUp {
        self.number += 1;
        TopUp { code, amount, reference: format!("wire_{}", self.number), arrives: now + LEAD }
    }

    fn due(&mut self, stage: &Stage) -> Vec<(Code, u64)> {
        let books = stage.books();
        // tapgate's own figure decides: UR's balance may already be zero, or larger.
        let shown = NEGLECTED.parse().ok().and_then(|code| stage.app.ledger.pool(code));
        let is_empty = shown.is_some_and(|pool| pool.available <= pool.reserve);
        if self.attention == Attention::Neglects && is_empty {
            self.attention = Attention::Restored;
        }
        let low = books.pools.iter().filter(|(_, pool)| pool.available() < (pool.opened - pool.floor) / 4);
        let looked_at = low.filter(|(code, _)| **code != NEGLECTED || self.attention != Attention::Neglects);
        let is_awaited = |code: Code| {
            let sent = self.under_way.iter().map(|top_up| top_up.code);
            sent.chain(self.deposits.iter().map(|(wire, _)| wire.code)).any(|other| other == code)
        };
        let idle = looked_at.filter(|(code, _)| !is_awaited(code));
        idle.map(|(code, pool)| (*code, pool.opened - pool.floor)).collect()
    }
}
