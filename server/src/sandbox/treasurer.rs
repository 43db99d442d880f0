//! The partner's treasurer: tops pools up as they run low, and once forgets one.

use std::time::Duration;

use tapgate_engine::money::Minor;
use tokio::time::Instant;

use super::play::Stage;
use super::ur::bank::Wire;
use super::ur::contract::Code;

/// How long money is on its way, in real time: on a fast clock, days.
const LEAD: Duration = Duration::from_secs(5);

/// The pool that the treasurer forgets, to be seen running dry: from its first top-up after so many seconds, when tapgate
/// has seen a week of it, until it is empty.
const FORGOTTEN: Code = "GBP";
const FORGETS_AFTER_SECONDS: u64 = 8 * 86_400;

/// Whether the pool to be forgotten is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mind {
    NotYet,
    Forgets,
    Remembers,
}

/// Money on its way to a pool.
struct TopUp {
    code: Code,
    amount: u64,
    reference: String,
    arrives: Instant,
}

/// Sends money when a pool is below a quarter of what it began with; it arrives a little later.
pub(super) struct Treasurer {
    /// In seconds of the clock.
    began: u64,
    number: u64,
    under_way: Vec<TopUp>,
    /// Deposits made through UR's API, and when they arrive.
    deposits: Vec<(Wire, Instant)>,
    mind: Mind,
}

impl Treasurer {
    pub(super) fn new(began: u64) -> Treasurer {
        Treasurer { began, number: 0, under_way: Vec::new(), deposits: Vec::new(), mind: Mind::NotYet }
    }

    /// Credits what has arrived, and sends more where it is due. tapgate is told of both.
    pub(super) async fn look(&mut self, stage: &Stage, now: Instant) {
        for arrived in self.under_way.extract_if(.., |top_up| top_up.arrives <= now).collect::<Vec<_>>() {
            stage.credit(arrived.code, arrived.amount, &arrived.reference).await;
            let is_late = stage.now() - self.began > FORGETS_AFTER_SECONDS;
            if self.mind == Mind::NotYet && is_late && arrived.code == FORGOTTEN {
                self.mind = Mind::Forgets;
            }
        }
        for (wire, _) in self.deposits.extract_if(.., |(_, arrives)| *arrives <= now).collect::<Vec<_>>() {
            stage.arrive(&wire).await;
        }
        self.deposits.extend(std::mem::take(&mut stage.books().wires).into_iter().map(|wire| (wire, now + LEAD)));
        for (code, amount) in self.due(stage) {
            let top_up = self.top_up(code, amount, now);
            let expected_at = stage.now() + LEAD.as_secs() * stage.books().speed;
            if let Err(error) = stage.partner.announce(code, amount, &top_up.reference, expected_at).await {
                stage.figures.disagree(error);
            }
            self.under_way.push(top_up);
        }
    }

    fn top_up(&mut self, code: Code, amount: u64, now: Instant) -> TopUp {
        self.number += 1;
        TopUp { code, amount, reference: format!("wire_{}", self.number), arrives: now + LEAD }
    }

    fn due(&mut self, stage: &Stage) -> Vec<(Code, u64)> {
        let books = stage.books();
        // As tapgate shows it: what UR has left may already be nothing, or more.
        let shown = FORGOTTEN.parse().ok().and_then(|code| stage.app.ledger.pool(code));
        let is_empty = shown.is_some_and(|pool| pool.available <= Minor::ZERO);
        if self.mind == Mind::Forgets && is_empty {
            self.mind = Mind::Remembers;
        }
        let low = books.pools.iter().filter(|(_, pool)| pool.available() < (pool.opened - pool.floor) / 4);
        let looked_at = low.filter(|(code, _)| **code != FORGOTTEN || self.mind != Mind::Forgets);
        let is_awaited = |code: Code| {
            let sent = self.under_way.iter().map(|top_up| top_up.code);
            sent.chain(self.deposits.iter().map(|(wire, _)| wire.code)).any(|other| other == code)
        };
        let idle = looked_at.filter(|(code, _)| !is_awaited(code));
        idle.map(|(code, pool)| (*code, pool.opened - pool.floor)).collect()
    }
}
