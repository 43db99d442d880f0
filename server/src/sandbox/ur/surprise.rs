//! Actions of UR without notice: it settles other amounts, settles without an authorization, and contradicts itself.

use super::account::Funding;
use super::booking::share_up;
use super::books::Books;
use super::contract::Rates;
use super::statement::Row;

/// The category of fuel pumps, whose first capture is the last.
const FUEL: &str = "5541";

impl Books {
    /// The authorization of a debit that was approved once and had no other event.
    pub(in crate::sandbox) fn plain_debit(&self, number: usize) -> Option<String> {
        let row = self.statement.row(number).filter(|row| row.is_out)?;
        let booking = self.bookings.get(&row.reference)?;
        let is_plain = booking.state == "approved"
            && booking.draws.len() == 1
            && booking.draws.iter().all(|draw| draw.remaining == draw.amount && draw.amount > 0);
        is_plain.then(|| row.reference.clone())
    }

    /// UR settles a debit at one and a half times its amount; false if balance or limit might not cover that.
    pub(in crate::sandbox) fn overcharge(&mut self, number: usize, now: u64) -> bool {
        let amount = self.statement.row(number).map(|row| row.amount);
        amount.is_some_and(|amount| self.take_more(number, amount / 2 + 10, now))
    }

    /// UR settles a debit with so much more; false if balance or limit might not cover that.
    pub(super) fn take_more(&mut self, number: usize, more: u64, now: u64) -> bool {
        let Some(row) = self.statement.row(number) else { return false };
        let (code, root, ur_id) = (row.code, row.reference.clone(), row.ur_id.clone());
        let Some(source) = self.bookings.get(&root).map(|booking| booking.source) else { return false };
        let (chf, is_fed) = (self.rates.to_chf(more, code), self.is_fed);
        let headroom = self.accounts.get(&ur_id).map_or(0, |account| account.headroom_bounds(now, is_fed).least);
        let balance = self.balance_of(&ur_id, source, code).filter(|balance| balance.bounds(is_fed).least >= more);
        let Some(balance) = balance.filter(|_| headroom >= chf) else { return false };
        balance.balance -= more;
        balance.taken += more;
        balance.doubt.add(Some(number), more);
        if let Some(account) = self.accounts.get_mut(&ur_id) {
            account.use_limit((chf, chf * self.limit_weight), Some(number), now);
            // tapgate rounds the whole, not the parts.
            account.limit_drift += 1;
        }
        if let Some(row) = self.statement.row_mut(number) {
            row.amount += more;
        }
        let draw = self.bookings.get(&root).and_then(|booking| booking.draws.first());
        let owed = draw.map_or(0, |draw| share_up(draw.debit, more, draw.paid));
        self.request_debit(&ur_id, debit_after(&root), owed);
        true
    }

    /// UR settles an unasked amount from the EUR pool, for a user who pays from it; `None` if the pool might not cover
    /// it, or if the amount resembles another of the user's too closely to tell the two apart.
    pub(in crate::sandbox) fn charge_unasked(&mut self, ur_id: &str, amount: u64, now: u64) -> Option<usize> {
        let is_fed = self.is_fed;
        let resembles = |other: u64| other.abs_diff(amount) * 10 < amount;
        let mut holds = self.bookings.values().filter(|booking| booking.is_of_user(ur_id));
        if self.statement.of_user(ur_id).any(|row| resembles(row.amount))
            || holds.any(|booking| booking.amounts().any(resembles))
        {
            return None;
        }
        let account = self.accounts.get_mut(ur_id)?;
        let pool = self.pools.get_mut("EUR").filter(|pool| pool.bounds(is_fed).least >= amount)?;
        if !matches!(account.funding, Funding::Crypto | Funding::CryptoThenFiat) {
            return None;
        }
        let number = self.statement.add(Row {
            ur_id: ur_id.to_owned(),
            kind: "CRD",
            title: "Offline".to_owned(),
            is_out: true,
            amount,
            code: "EUR",
            at: now,
            settles_at: now,
            is_settled: true,
            reference: String::new(),
            mcc: None,
            exchanged: None,
            shown_at: None,
            word: None,
            parts: Vec::new(),
        });
        pool.balance -= amount;
        pool.taken += amount;
        pool.doubt.add(Some(number), amount);
        let chf = self.rates.to_chf(amount, "EUR");
        account.use_limit((chf, chf * self.limit_weight), Some(number), now);
        Some(number)
    }

    /// UR settles a debit in parts of at least a quarter: the rest of it in rows of their own, whose numbers are
    /// returned. Nothing is split where the first part counts as the last (fuel), or the rest of one debit would be
    /// a small difference of several.
    pub(in crate::sandbox) fn split(&mut self, number: usize, parts: u64) -> Vec<usize> {
        let Some(row) = self.statement.row(number).filter(|row| row.is_out && row.mcc != Some(FUEL)) else {
            return Vec::new();
        };
        let is_of_one = self.bookings.get(&row.reference).is_some_and(|booking| booking.draws.len() == 1);
        let part = row.amount / parts;
        if !is_of_one || part == 0 {
            return Vec::new();
        }
        let row = Row { amount: part, parts: Vec::new(), ..row.clone() };
        let numbers: Vec<_> = (1..parts).map(|_| self.statement.add(row.clone())).collect();
        if let Some(row) = self.statement.row_mut(number) {
            row.amount -= part * (parts - 1);
            row.parts.clone_from(&numbers);
        }
        numbers
    }

    /// UR shows the debit as rejected: the partner ends its hold on the user's funds, whatever UR shows later.
    pub(in crate::sandbox) fn take_back(&mut self, root: &str, ur_id: &str) {
        let Some(booking) = self.bookings.get_mut(root) else { return };
        let held: u64 = booking.draws.iter_mut().map(|draw| std::mem::take(&mut draw.funds)).sum();
        if let Some(funds) = self.accounts.get_mut(ur_id).and_then(|account| account.funds.as_mut()) {
            funds.held = funds.held.saturating_sub(held);
        }
    }

    /// UR takes again what it had rejected: the user is debited anew.
    pub(in crate::sandbox) fn take_again(&mut self, root: &str, ur_id: &str) {
        let draws = self.bookings.get(root).map_or(&[][..], |booking| &booking.draws);
        let owed = draws.iter().map(|draw| draw.debit).sum();
        self.request_debit(ur_id, debit_after(root), owed);
    }

    /// The partner debits a user for an unasked settlement, under the id that tapgate gives it.
    pub(in crate::sandbox) fn debit_unasked(&mut self, ur_id: &str, id: &str, amount: u64) {
        let currency = self.accounts.get(ur_id).and_then(|account| account.funds).map(|funds| funds.currency);
        let owed = currency.and_then(|currency| Some(Rates::cover(amount, self.rates.between("EUR", currency)?)));
        if !self.debits.contains_key(id) {
            self.request_debit(ur_id, id.to_owned(), owed.unwrap_or(0));
        }
    }
}

/// The id of an authorization's second debit.
fn debit_after(root: &str) -> String {
    format!("{root}#2")
}
