//! The partner's treasurer: tops pools up as they run low, and once forgets one.

use std::ops::Range;
use std::time::Duration;

use tokio::time::Instant;

use super::play::Stage;
use super::ur::contract::Code;

/// How long money is on its way, in real time: on a fast clock, days.
const LEAD: Duration = Duration::from_secs(5);

/// The pool that nobody tops up in the third week, in seconds since the start: it runs dry, to be seen running dry.
const FORGOTTEN: (Code, Range<u64>) = ("GBP", 14 * 86_400..21 * 86_400);

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
}

impl Treasurer {
    pub(super) fn new(began: u64) -> Treasurer {
        Treasurer { began, number: 0, under_way: Vec::new() }
    }

    /// Credits what has arrived, and sends more where it is due. tapgate is told of both.
    pub(super) async fn look(&mut self, stage: &Stage, now: Instant) {
        for arrived in self.under_way.extract_if(.., |top_up| top_up.arrives <= now).collect::<Vec<_>>() {
            stage.credit(arrived.code, arrived.amount, &arrived.reference).await;
        }
        // What others deposited on the ops account through UR's API: nobody announced it.
        for (code, amount) in std::mem::take(&mut stage.books().wires) {
            let top_up = self.top_up(code, amount, now);
            self.under_way.push(top_up);
        }
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

    fn due(&self, stage: &Stage) -> Vec<(Code, u64)> {
        let age = stage.now() - self.began;
        let (forgotten, when) = FORGOTTEN;
        let books = stage.books();
        let low = books.pools.iter().filter(|(_, pool)| pool.available() < (pool.opened - pool.floor) / 4);
        let looked_at = low.filter(|(code, _)| **code != forgotten || !when.contains(&age));
        let idle = looked_at.filter(|(code, _)| !self.under_way.iter().any(|other| other.code == **code));
        idle.map(|(code, pool)| (*code, pool.opened - pool.floor)).collect()
    }
}
