//! The own books of the simulated UR and the partner: the expected and the actual result of each tap.
//!
//! Where UR and tapgate may differ, the books keep both figures. `taken` is the amount that tapgate must hold by its
//! design; `balance` and `limit` are UR's bookings by its contract. They differ only when a converted amount is
//! returned: the contract prices the return, the engine returns the share of its hold. The books record each such
//! difference as drift, and bound it.

use std::collections::{BTreeMap, BTreeSet};

use super::account::{Account, Balance, CRYPTO};
use super::api::Provocation;
use super::bank::{Bank, Ops, Wire};
use super::booking::{Booking, Draw, Payment, share_up};
use super::contract::{Code, Rates};
use super::doubt::is_recorded;
use super::faults::ApiFaults;
use super::people::People;
use super::quirks::Quirks;
use super::statement::{Row, Statement};
use super::stress::Tier;
use super::tips::Upcharge;
use crate::sandbox::tap::{Kind, Tap};

#[derive(Debug, Default)]
pub(in crate::sandbox) struct Books {
    /// tapgate reads UR's figures by feeds.
    pub(in crate::sandbox) is_fed: bool,
    /// Debits beyond the holds that the partner has not made yet, by id.
    pub(in crate::sandbox) debits: BTreeMap<String, u64>,
    /// The clock's speed, as a multiple of real time.
    pub(in crate::sandbox) speed: u64,
    /// Every transaction as UR shows it.
    pub(in crate::sandbox) statement: Statement,
    pub(in crate::sandbox) bank: Bank,
    /// How often UR counts a spend against the limit.
    pub(in crate::sandbox) limit_weight: u64,
    pub(in crate::sandbox) ops: Ops,
    pub(in crate::sandbox) api_faults: ApiFaults,
    /// Errors that UR's API answers while the traffic runs.
    pub(in crate::sandbox) provoked: Vec<Provocation>,
    pub(in crate::sandbox) quirks: Quirks,
    /// Some increments raise the debit before them instead of showing as their own.
    pub(in crate::sandbox) merges: bool,
    /// Deposits on the ops account that UR's operations have not processed yet.
    pub(in crate::sandbox) deposits: Vec<Wire>,
    /// Accounts opened through the API, unknown to tapgate.
    pub(in crate::sandbox) minted: BTreeMap<String, Account>,
    pub(in crate::sandbox) rates: Rates,
    pub(in crate::sandbox) pools: BTreeMap<Code, Balance>,
    pub(in crate::sandbox) accounts: BTreeMap<String, Account>,
    pub(in crate::sandbox) bookings: BTreeMap<String, Booking>,
    /// The amount that each reversal and advice returned: in the transaction currency, and of tapgate's hold.
    pub(in crate::sandbox) returns: BTreeMap<String, (u64, u64)>,
    /// Ids answered `deadline_exceeded`: approved in the journal, and released there at once.
    pub(in crate::sandbox) late: BTreeSet<String>,
    /// The amount that UR returned beyond (or short of) tapgate's share, by currency paid in.
    pub(in crate::sandbox) drift: BTreeMap<Code, i64>,
    /// What people changed.
    pub(in crate::sandbox) people: People,
    /// tapgate holds more than it approves at restaurants, and UR takes tips there.
    pub(in crate::sandbox) has_tips: bool,
    pub(in crate::sandbox) upcharges: Vec<Upcharge>,
    /// `decision.stress`.
    pub(in crate::sandbox) stress: Option<Tier>,
}

impl Books {
    /// An account of the world or opened through the API.
    pub(in crate::sandbox) fn account(&self, ur_id: &str) -> Option<&Account> {
        self.accounts.get(ur_id).or_else(|| self.minted.get(ur_id))
    }

    /// The reason of a decline that is right because UR's API answers with a provoked error: tapgate's figures are too
    /// old, or UR refuses to serve the account.
    pub(in crate::sandbox) fn starved_of(&self, reason: &str) -> Option<&'static str> {
        let right = ["rates_stale", "state_stale", "account_blocked"].into_iter().find(|right| *right == reason);
        right.filter(|_| !self.provoked.is_empty())
    }

    /// Notes a report of a pool's or account's balances to tapgate, but for the unreadable one.
    pub(in crate::sandbox) fn report_balances(&mut self, ur_id: Option<&str>, unreadable: Option<Code>, now: u64) {
        self.free_recorded_upcharges(now);
        let is_readable = |code: &Code| Some(*code) != unreadable;
        let (statement, speed) = (&self.statement, self.speed);
        let proven = |row: usize| is_recorded(statement.shown_at(row), now, speed);
        match ur_id {
            None => {
                let pools = self.pools.iter_mut().filter(|(code, _)| is_readable(code));
                pools.for_each(|(_, pool)| pool.doubt.report(proven));
            }
            Some(ur_id) => {
                let fiat = self.accounts.get_mut(ur_id).into_iter().flat_map(|account| &mut account.fiat);
                let fiat = fiat.filter(|(code, _)| is_readable(code));
                fiat.for_each(|(_, (balance, _))| balance.doubt.report(proven));
            }
        }
    }

    /// Notes a report of an account's limit to tapgate.
    pub(in crate::sandbox) fn report_limit(&mut self, ur_id: &str, now: u64) {
        let (statement, speed) = (&self.statement, self.speed);
        let proven = |row: usize| is_recorded(statement.shown_at(row), now, speed);
        if let Some(account) = self.accounts.get_mut(ur_id) {
            account.limit_doubt.report(proven);
        }
    }

    /// Lets the API fail the next `away` calls, and then rate-limit every nth call.
    pub(in crate::sandbox) fn api_faults(&mut self, away: u32, limited_every: u32) {
        self.api_faults = ApiFaults::new(away, limited_every);
    }

    pub(in crate::sandbox) fn fail_until(&mut self, until: u64) {
        self.api_faults.outage_until = until;
    }

    /// The authorizations that UR settled, with their state before.
    pub(in crate::sandbox) fn settled_roots(&self) -> Vec<(String, &'static str)> {
        let roots: BTreeSet<_> = self.statement.debits().map(|row| &row.reference).collect();
        roots.into_iter().filter_map(|root| Some((root.clone(), self.bookings.get(root)?.state))).collect()
    }

    /// Adds a card's debit to the statement, or to the debit before it; returns its row number.
    fn show_debit(&mut self, tap: &Tap, (amount, code): (u64, Code), now: u64) -> usize {
        let before = self.statement.open_debit(tap.root(), code);
        let merged = before.filter(|_| self.merges && tap.kind == Kind::Incremental && tap.amount.is_multiple_of(2));
        let Some(number) = merged else { return self.show(tap, true, (amount, code), now) };
        if let Some(row) = self.statement.row_mut(number) {
            row.amount += amount;
        }
        self.statement.settle_later(tap.root(), now);
        number
    }

    /// Adds a card's debit or return to the statement; returns its row number.
    fn show(&mut self, tap: &Tap, is_out: bool, (amount, code): (u64, Code), now: u64) -> usize {
        self.statement.add_card(Row {
            ur_id: tap.ur_id.clone(),
            kind: "CRD",
            title: tap.merchant.name.to_owned(),
            is_out,
            amount,
            code,
            at: now,
            settles_at: now,
            is_settled: true,
            reference: tap.root().to_owned(),
            mcc: Some(tap.merchant.mcc),
            exchanged: None,
            shown_at: None,
            word: None,
            parts: Vec::new(),
        })
    }

    /// The balance from which a source pays.
    pub(super) fn balance_of(&mut self, ur_id: &str, source: &str, code: Code) -> Option<&mut Balance> {
        if source == CRYPTO {
            return self.pools.get_mut(code);
        }
        self.accounts.get_mut(ur_id)?.fiat.get_mut(code).map(|(balance, _)| balance)
    }

    /// Posts an approval.
    ///
    /// # Errors
    /// UR could not post it: the approval was wrong.
    pub(in crate::sandbox) fn approve(&mut self, tap: &Tap, payment: Payment, now: u64) -> Result<(), String> {
        self.hold_upcharge(tap, &payment);
        let Payment { source, currency, paid, chf, funds } = payment;
        let account = self.accounts.get_mut(&tap.ur_id).ok_or("approved for a user that UR does not know")?;
        let counted = chf * self.limit_weight;
        // UR would refuse what tapgate approves where UR counts more often; here it takes it, and tapgate measures.
        let is_bound = self.limit_weight == 1 && self.people.is_followed(&tap.ur_id);
        if is_bound && !account.limit.allows(counted.saturating_sub(account.limit_drift), now) {
            return Err(format!("UR's limit {:?} does not allow {chf}", account.limit));
        }
        let balance = self.balance_of(&tap.ur_id, source, currency);
        balance.ok_or_else(|| format!("nothing is held in {currency}"))?.take(paid)?;
        if source == CRYPTO && self.limit_weight == 2 {
            // The drawing's two sides: from the ops account to the user's, and from there to UR's own, which has no limit.
            self.ops.limit.add(chf, now);
        }
        let row = (paid > 0).then(|| self.show_debit(tap, (paid, currency), now));
        if let Some(balance) = self.balance_of(&tap.ur_id, source, currency) {
            balance.doubt.add(row, paid);
        }
        let account = self.accounts.get_mut(&tap.ur_id).ok_or("approved for a user that UR does not know")?;
        account.use_limit((chf, counted), row, now);
        if let Some(own) = &mut account.funds {
            own.held += funds;
        }
        if funds > 0 {
            account.undebited.push(tap.id.clone());
        }
        if tap.kind == Kind::Authorization
            && let Some(card) = account.cards.iter_mut().find(|card| card.id == tap.card)
        {
            card.is_used = card.single_use;
        }
        let booking = self.bookings.entry(tap.root().to_owned()).or_insert_with(|| Booking::open(tap, "approved"));
        booking.source = source;
        booking.paid_in = currency;
        booking.booked += paid;
        booking.draws.push(Draw {
            id: tap.id.clone(),
            amount: tap.amount,
            remaining: tap.amount,
            paid,
            funds,
            debit: funds,
            chf,
        });
        Ok(())
    }

    /// A posted approval: source, amount, paid, francs.
    pub(in crate::sandbox) fn approval(&self, root: &str, id: &str) -> Option<(&'static str, u64, u64, Code, u64)> {
        let booking = self.bookings.get(root)?;
        let draw = booking.draws.iter().find(|draw| draw.id == id)?;
        Some((booking.source, draw.amount, draw.paid, booking.paid_in, draw.chf))
    }

    /// The number of approved decisions of users who are compared.
    pub(in crate::sandbox) fn approvals(&self) -> usize {
        let compared = self.bookings.values().filter(|booking| self.people.is_followed(&booking.ur_id));
        compared.map(|booking| booking.draws.len()).sum()
    }

    /// Notes a decline, which makes the id known.
    pub(in crate::sandbox) fn decline(&mut self, tap: &Tap) {
        if tap.kind == Kind::Authorization {
            self.bookings.entry(tap.id.clone()).or_insert_with(|| Booking::open(tap, "declined"));
        }
    }

    /// Posts a reversal or advice that returned `amount` of the transaction currency.
    ///
    /// # Errors
    /// UR's figure and tapgate's differ by more than pricing explains.
    pub(in crate::sandbox) fn give_back(&mut self, tap: &Tap, amount: u64, now: u64) -> Result<(), String> {
        let rates = self.rates.clone();
        let booking = self.bookings.entry(tap.root().to_owned());
        let booking = booking.or_insert_with(|| Booking::open(tap, "tombstoned"));
        if amount == 0 {
            self.returns.insert(tap.id.clone(), (0, 0));
            return Ok(());
        }
        let (mut left, mut held_less, mut funds_less, mut draws) = (amount, 0, 0, 0);
        for draw in &mut booking.draws {
            let part = draw.remaining.min(left);
            let (held, stays) = (draw.held(draw.remaining), draw.held(draw.remaining - part));
            // What the partner has debited is not held any more.
            let funds_stay = share_up(draw.debit, stays, draw.paid).min(draw.funds);
            left -= part;
            draw.remaining -= part;
            held_less += held - stays;
            funds_less += draw.funds - funds_stay;
            draw.funds = funds_stay;
            draws += u64::from(part > 0);
        }
        self.returns.insert(tap.id.clone(), (amount, held_less));
        booking.reclaimable += held_less;
        let (code, charged) = (booking.paid_in, booking.currency);
        // `reverse` prices with interchange, `advice` without.
        let interchange = if tap.kind == Kind::Reversal { rates.interchange_percent } else { 0 };
        let priced = match (charged == code, rates.holds(charged)) {
            (true, _) => Some(amount),
            (false, true) => rates.between(charged, code).map(|rate| Rates::exchange(amount, rate)),
            (false, false) => {
                rates.between("EUR", code).and_then(|rate| Some(Rates::settle(tap.settlement?, interchange, rate)))
            }
        };
        let given = priced.ok_or("UR cannot price what it gives back")?.min(booking.booked);
        booking.booked -= given;
        if booking.remaining() == 0 {
            booking.state = "reversed";
        }
        let (source, ur_id, is_fed) = (booking.source, booking.ur_id.clone(), self.is_fed);
        let debit = self.statement.debit_of(tap.root());
        let balance = self.balance_of(&ur_id, source, code).ok_or_else(|| format!("nothing is held in {code}"))?;
        balance.balance += given;
        balance.taken = balance.taken.saturating_sub(held_less);
        if is_fed {
            // Where tapgate knows of the debit already, its source keeps the whole until a report includes both.
            balance.doubt.add(debit, held_less);
        }
        if source == CRYPTO {
            *self.drift.entry(code).or_default() += given.cast_signed() - held_less.cast_signed();
        }
        let row = (given > 0).then(|| self.show(tap, false, (given, code), now));
        let account = self.accounts.get_mut(&ur_id).ok_or("given back to a user that UR does not know")?;
        if let Some(funds) = &mut account.funds {
            funds.held = funds.held.saturating_sub(funds_less);
        }
        // The contract counts a return as a use, and once at most; tapgate likewise counts the decrease of its hold.
        let (chf_given, chf) = (rates.to_chf(given, code), rates.to_chf(held_less, code));
        account.use_limit((chf, chf_given * self.limit_weight.min(1)), row, now);
        if given != held_less {
            account.funds_drift += 2 * (given.abs_diff(held_less) + draws);
        }
        // One unit of rounding per draw and one of the price; without interchange, one percent more.
        let settled = charged != code && !rates.holds(charged);
        let bound = draws + 1 + if settled { held_less / 90 } else { 0 };
        if given.abs_diff(held_less) > bound {
            return Err(format!("UR gave back {given} {code}, tapgate {held_less}: more apart than {bound}"));
        }
        Ok(())
    }

    /// What a row of this number makes tapgate claim again, and of whom: what UR gave back and takes whole. Without feeds
    /// no report ever frees it.
    pub(in crate::sandbox) fn reclaimable(&self, number: usize) -> Option<String> {
        let booking = self.bookings.get(&self.statement.row(number)?.reference)?;
        (!self.is_fed && booking.reclaimable > 0).then(|| booking.ur_id.clone())
    }

    /// tapgate was told a row of a debit that UR shows whole.
    pub(in crate::sandbox) fn reclaim(&mut self, number: usize) {
        let Some(root) = self.statement.row(number).map(|row| row.reference.clone()) else { return };
        let Some(booking) = self.bookings.get_mut(&root) else { return };
        let amount = std::mem::take(&mut booking.reclaimable);
        let (ur_id, source, code) = (booking.ur_id.clone(), booking.source, booking.paid_in);
        if let Some(balance) = self.balance_of(&ur_id, source, code) {
            balance.taken += amount;
        }
        if source == CRYPTO {
            *self.drift.entry(code).or_default() += amount.cast_signed();
        }
    }

    /// Books a debit beyond the holds: of what UR took without one.
    pub(super) fn request_debit(&mut self, ur_id: &str, id: String, amount: u64) {
        let Some(account) = self.accounts.get_mut(ur_id) else { return };
        let Some(funds) = account.funds.as_mut().filter(|_| amount > 0) else { return };
        funds.held += amount;
        account.undebited.push(id.clone());
        self.debits.insert(id, amount);
    }

    /// Debits a user's funds; returns the amount, and the ids that it debits. tapgate's new figure follows from its
    /// record.
    pub(in crate::sandbox) fn debit(&mut self, ur_id: &str) -> Option<(u64, Vec<String>)> {
        let account = self.accounts.get_mut(ur_id)?;
        account.funds?;
        let ids = std::mem::take(&mut account.undebited);
        Some((self.end_holds(ur_id, &ids), ids))
    }

    /// Ends the funds part of these holds, and returns it.
    pub(super) fn end_holds(&mut self, ur_id: &str, ids: &[String]) -> u64 {
        let mut ended = 0;
        for booking in ids.iter().filter_map(|id| root_of(id)).collect::<BTreeSet<_>>() {
            let Some(booking) = self.bookings.get_mut(booking) else { continue };
            for draw in booking.draws.iter_mut().filter(|draw| ids.contains(&draw.id)) {
                ended += std::mem::take(&mut draw.funds);
            }
        }
        ended += ids.iter().filter_map(|id| self.debits.remove(id)).sum::<u64>();
        if let Some(account) = self.accounts.get_mut(ur_id) {
            account.undebited.retain(|id| !ids.contains(id));
            if let Some(funds) = &mut account.funds {
                funds.held = funds.held.saturating_sub(ended);
            }
        }
        ended
    }
}

/// An increment's id is its root's id with a suffix.
fn root_of(id: &str) -> Option<&str> {
    id.split('+').next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::world;

    /// 100.00 EUR of the pool are 94.50 francs at the contract's rate; here 94.14.
    #[test]
    fn a_drawing_whose_both_sides_count_uses_two_limits() {
        for (limit_weight, user, ops) in [(0, 0, 0), (1, 9_414, 0), (2, 18_828, 9_414)] {
            let mut books = Books { limit_weight, ..world::books(1, 1, 0) };
            let tap = Tap {
                id: "auth_1".to_owned(),
                kind: Kind::Authorization,
                original: None,
                user: usize::MAX,
                ur_id: world::SAMPLE_USER.to_owned(),
                card: world::SAMPLE_CARD.to_owned(),
                amount: 10_000,
                settlement: None,
                merchant: &world::PLACES[3].merchant,
            };
            let paid = Payment { source: CRYPTO, currency: "EUR", paid: 10_000, chf: 9_414, funds: 0 };
            books.approve(&tap, paid, 1).unwrap();
            let account = books.account(world::SAMPLE_USER).unwrap();
            assert_eq!((account.limit.used, books.ops.limit.used), (user, ops));
            assert_eq!(account.unreflected(1), 9_414, "tapgate counts it once");
            let back = Tap { id: "rev_1".to_owned(), kind: Kind::Reversal, original: Some(tap.id.clone()), ..tap };
            books.give_back(&back, 10_000, 1).unwrap();
            let returned = 9_414 * limit_weight.min(1);
            assert_eq!(books.account(world::SAMPLE_USER).unwrap().limit.used, user + returned);
        }
    }
}
