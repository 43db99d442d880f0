//! Tips: what tapgate holds above an approved amount at restaurants, and what UR takes of it.
//!
//! tapgate frees an upcharge when it has recorded what UR took. The books cannot know when that is, so until then an
//! upcharge may be held or not.

use super::account::CRYPTO;
use super::booking::Payment;
use super::books::Books;
use super::contract::{Code, Rates};
use super::doubt::is_recorded;
use crate::sandbox::tap::Tap;

/// The category whose guests tip, and what is held for it: the setting `decision.hold_upcharge` of a run with tips.
const RESTAURANT: &str = "5812";
const PERCENT: u64 = 20;
pub(in crate::sandbox) const HOLD_UPCHARGE: &str = "hold_upcharge = [{ mcc = \"5812\", percent = 20 }]\n";

/// What tapgate may hold above one approved decision.
#[derive(Clone, Debug)]
pub(in crate::sandbox) struct Upcharge {
    root: String,
    ur_id: String,
    source: &'static str,
    code: Code,
    paid: u64,
    funds: u64,
}

impl Books {
    /// Held above an amount paid.
    pub(super) fn upcharge_on(&self, tap: &Tap, paid: u64) -> u64 {
        if self.has_tips && tap.merchant.mcc == RESTAURANT { (paid * PERCENT).div_ceil(100) } else { 0 }
    }

    /// tapgate may hold more than it approved, from now on.
    pub(super) fn hold_upcharge(&mut self, tap: &Tap, payment: &Payment) {
        let Payment { source, currency: code, paid, funds, .. } = *payment;
        let upcharge = self.upcharge_on(tap, paid);
        if upcharge == 0 {
            return;
        }
        let own = self.accounts.get(&tap.ur_id).and_then(|account| account.funds);
        let rate = own.filter(|_| source == CRYPTO).and_then(|own| self.rates.between(code, own.currency));
        let of_funds = rate.map_or(0, |rate| Rates::cover(paid + upcharge, rate).saturating_sub(funds) + 1);
        let (root, ur_id) = (tap.root().to_owned(), tap.ur_id.clone());
        let held = Upcharge { root, ur_id, source, code, paid: upcharge, funds: of_funds };
        self.change_upcharge(&held, |figure, by| *figure += by);
        self.upcharges.push(held);
    }

    /// Forgets the upcharges of authorizations that tapgate has recorded as taken.
    pub(super) fn free_recorded_upcharges(&mut self, now: u64) {
        let (statement, speed) = (&self.statement, self.speed);
        let is_over = |upcharge: &mut Upcharge| {
            let mut rows = statement.of_root(&upcharge.root).peekable();
            rows.peek().is_some() && rows.all(|row| is_recorded(row.shown_at, now, speed))
        };
        let over: Vec<Upcharge> = self.upcharges.extract_if(.., is_over).collect();
        over.iter().for_each(|upcharge| self.change_upcharge(upcharge, |figure, by| *figure -= by));
    }

    /// UR took everything: nothing is held above it any more.
    pub(in crate::sandbox) fn free_upcharges(&mut self) {
        for upcharge in std::mem::take(&mut self.upcharges) {
            self.change_upcharge(&upcharge, |figure, by| *figure -= by);
        }
    }

    fn change_upcharge(&mut self, upcharge: &Upcharge, change: fn(&mut u64, u64)) {
        if let Some(balance) = self.balance_of(&upcharge.ur_id, upcharge.source, upcharge.code) {
            change(&mut balance.upcharged, upcharge.paid);
        }
        if let Some(account) = self.accounts.get_mut(&upcharge.ur_id) {
            change(&mut account.funds_upcharged, upcharge.funds);
        }
    }

    /// UR settles a restaurant's debit with a tip of a tenth; false if balance or limit might not cover that.
    pub(in crate::sandbox) fn tip(&mut self, number: usize, now: u64) -> bool {
        let row = self.statement.row(number).filter(|row| row.mcc == Some(RESTAURANT));
        let tip = row.map_or(0, |row| row.amount / 10);
        tip > 0 && self.take_more(number, tip, now)
    }
}
