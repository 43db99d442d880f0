//! The expected result of a tap by UR's and the partner's books: a ladder of its own, in the documented order.

use super::account::{Account, CRYPTO, Card, FIAT};
use super::booking::{Booking, Expected, Payment};
use super::books::Books;
use super::contract::{Code, Rate, Rates};
use super::doubt::{Belief, Bounds};
use crate::sandbox::tap::{Kind, Tap};

impl Books {
    /// The expected result: one, or, where tapgate cannot know UR's figures exactly, any of several.
    pub(in crate::sandbox) fn expect(&self, tap: &Tap, now: u64) -> Vec<Expected> {
        if !tap.kind.asks() {
            let known = self.bookings.get(tap.root()).filter(|booking| booking.is_of(tap));
            return vec![Expected::Returned(known.map_or(0, |booking| booking.remaining().min(tap.amount)))];
        }
        let account = self.accounts.get(&tap.ur_id);
        let limit = account.map_or(Bounds::default(), |account| account.headroom_bounds(now, self.is_fed));
        let mut expected = Vec::new();
        let upcharges = account.is_some_and(|account| account.funds_upcharged > 0);
        for belief in Belief::all(limit, self.francs(tap), (&self.doubted(account), upcharges)) {
            let judged = self.judge(tap, belief).map_or_else(Expected::Declined, Expected::Approved);
            if !expected.contains(&judged) {
                expected.push(judged);
            }
        }
        expected
    }

    /// The balances whose bounds differ.
    fn doubted(&self, account: Option<&Account>) -> Vec<(bool, Code)> {
        let pools = self.pools.iter().map(|(code, pool)| (true, *code, pool));
        let own = account.into_iter().flat_map(|account| &account.fiat).map(|(code, (own, _))| (false, *code, own));
        let bounds = pools.chain(own).map(|(is_pool, code, balance)| (is_pool, code, balance.bounds(self.is_fed)));
        bounds.filter(|(.., bounds)| bounds.least < bounds.most).map(|(is_pool, code, _)| (is_pool, code)).collect()
    }

    /// The use of the limit by each way to pay.
    fn francs(&self, tap: &Tap) -> Vec<u64> {
        let cards = self.accounts.get(&tap.ur_id).into_iter().flat_map(|account| &account.cards);
        let card = cards.filter(|card| card.id == tap.card).map(|card| card.currency);
        let parent = self.bookings.get(tap.root()).map(|booking| booking.paid_in);
        let own = self.accounts.get(&tap.ur_id).into_iter().flat_map(|account| account.fiat.keys().copied());
        let codes = card.chain(parent).chain(own).chain([tap.merchant.currency, "USD"]);
        codes.filter_map(|code| Some(self.rates.to_chf(self.price(tap, code)?, code))).collect()
    }

    fn judge(&self, tap: &Tap, belief: Belief) -> Result<Payment, &'static str> {
        if self.people.is_suspended {
            return Err("program_suspended");
        }
        let account = self.accounts.get(&tap.ur_id).ok_or("unknown_user")?;
        let card = account.cards.iter().find(|card| card.id == tap.card).ok_or("unknown_card")?;
        let root = self.bookings.get(tap.root());
        if tap.kind == Kind::Authorization && root.is_some_and(|booking| booking.state == "tombstoned") {
            return Err("already_reversed");
        }
        let parent = root.filter(|booking| booking.state == "approved" && booking.is_of(tap));
        if tap.kind == Kind::Incremental && parent.is_none() {
            return Err("parent_not_found");
        }
        if self.people.is_provider_suspended {
            return Err("provider_suspended");
        }
        let standing = match account.status {
            "live" => Ok(()),
            "closed" => Err("account_closed"),
            "blocked" => Err("account_blocked"),
            "soft_blocked" => Err("account_soft_blocked"),
            _ => Err("account_not_live"),
        };
        standing?;
        match card.status {
            _ if account.suspended => return Err("user_suspended"),
            "frozen" => return Err("card_frozen"),
            "deleted" => return Err("card_deleted"),
            _ if card.is_used && tap.kind == Kind::Authorization => return Err("card_frozen"),
            _ => {}
        }
        let parent = parent.filter(|_| tap.kind == Kind::Incremental);
        let own = [parent.map_or("", |parent| parent.source)];
        let sources: &[&'static str] = if parent.is_some() { &own } else { account.funding.sources() };
        let mut refused = Vec::new();
        for source in sources {
            match self.judge_source(tap, (account, card, parent), source, belief) {
                Ok(payment) => return Ok(payment),
                Err(reason) => refused.push(reason),
            }
        }
        // With two reasons, the one higher on the ladder counts.
        let rank = |reason: &&'static str| LADDER_BELOW_CURRENCY.iter().position(|rung| rung == reason);
        Err(refused.into_iter().min_by_key(rank).unwrap_or("currency_unsupported"))
    }

    fn judge_source(
        &self,
        tap: &Tap,
        (account, card, parent): (&Account, &Card, Option<&Booking>),
        source: &'static str,
        belief: Belief,
    ) -> Result<Payment, &'static str> {
        let charged = tap.merchant.currency;
        let balance_in = |code: Code| {
            let (balance, allowed) = match source {
                CRYPTO => (self.pools.get(code)?, true),
                _ => account.fiat.get(code).map(|(balance, allowed)| (balance, *allowed))?,
            };
            let available = belief.of_balance(source == CRYPTO, code, balance.bounds(self.is_fed));
            Some((available, allowed, balance.reserve))
        };
        let mut ways = Vec::new();
        if let Some(parent) = parent {
            ways.extend(self.price(tap, parent.paid_in).map(|paid| (parent.paid_in, paid)));
        } else if source == FIAT {
            ways.extend(self.account_check(tap, |code| balance_in(code).map_or(0, |(balance, ..)| balance)));
        } else {
            if card.currency == charged || balance_in(charged).is_some() {
                ways.push((charged, tap.amount));
            }
            if card.currency != charged {
                ways.extend(self.price(tap, card.currency).map(|paid| (card.currency, paid)));
            }
        }
        let upcharge_on = |paid: u64| self.upcharge_on(tap, paid);
        let kept = |code: Code, paid: u64, reserve: u64| self.kept(tap, self.rates.to_chf(paid, code), reserve);
        let holds = |(code, paid): &&(Code, u64)| {
            // UR chooses a user's balance, and knows of no upcharge.
            let upcharge = if source == CRYPTO { upcharge_on(*paid) } else { 0 };
            let kept_of = |reserve: u64| kept(code, *paid, reserve);
            balance_in(code).is_some_and(|(available, _, reserve)| available >= *paid + upcharge + kept_of(reserve))
        };
        let allows = |(code, _): &&(Code, u64)| balance_in(code).is_some_and(|(_, allowed, _)| allowed);
        let way = ways.iter().find(|way| holds(way) && allows(way)).or_else(|| ways.iter().find(holds));
        let (code, paid) = way.or(ways.last()).copied().ok_or("currency_unsupported")?;
        let chf = self.rates.to_chf(paid, code);
        let blocks = account.blocks.iter().chain(&card.blocks);
        if let Some(block) = blocks.filter(|block| block.hits(tap, chf, &self.rates)).min() {
            return Err(block.reason());
        }
        if chf > belief.limit {
            return Err("limit_exceeded");
        }
        let (available, allowed, reserve) = balance_in(code).unwrap_or_default();
        let payment = Payment { source, currency: code, paid, chf, funds: 0 };
        if source == FIAT {
            return match () {
                () if paid + upcharge_on(paid) > available => Err("insufficient_user_funds"),
                () if !allowed => Err("fiat_allowance_missing"),
                () => Ok(payment),
            };
        }
        let funds = account.funds.ok_or("insufficient_user_funds")?;
        let rate = self.rates.between(code, funds.currency).ok_or("currency_unsupported")?;
        let needed = cover(paid + upcharge_on(paid), rate).cast_signed();
        if needed > funds.available() - belief.of_upcharges(account.funds_upcharged).cast_signed() {
            return Err("insufficient_user_funds");
        }
        match available.checked_sub(paid + upcharge_on(paid)) {
            None => return Err("pool_exhausted"),
            Some(left) if left >= kept(code, paid, reserve) => {}
            Some(left) if left < reserve => return Err("pool_reserve_held"),
            Some(_) => return Err("pool_stressed"),
        }
        Ok(Payment { funds: cover(paid, rate), ..payment })
    }

    /// The balances in UR's order, with what each would pay: the charged currency's, or EUR for one that UR does not hold;
    /// USD; the others by what they are worth in USD; and the first again, if none covers it.
    fn account_check(&self, tap: &Tap, balance: impl Fn(Code) -> u64) -> Vec<(Code, u64)> {
        const COMPARED: [Code; 6] = ["EUR", "CHF", "CNH", "SGD", "JPY", "HKD"];
        let charged = tap.merchant.currency;
        let first = if self.rates.holds(charged) { charged } else { "EUR" };
        let worth = |code: Code| self.rates.between(code, "USD").map_or(0, |rate| Rates::worth(balance(code), rate));
        let mut others: Vec<Code> =
            COMPARED.into_iter().filter(|code| *code != first && self.rates.holds(code)).collect();
        others.sort_by_key(|code| std::cmp::Reverse(worth(code)));
        let order = [first, "USD"].into_iter().chain(others).chain([first]);
        order.filter_map(|code| Some((code, self.price(tap, code)?))).collect()
    }

    /// A tap's amount in a currency other than the one charged.
    fn price(&self, tap: &Tap, into: Code) -> Option<u64> {
        let charged = tap.merchant.currency;
        if charged == into {
            return Some(tap.amount);
        }
        if self.rates.holds(charged) {
            return Some(Rates::exchange(tap.amount, self.rates.between(charged, into)?));
        }
        let rate = self.rates.between("EUR", into)?;
        Some(Rates::settle(tap.settlement?, self.rates.interchange_percent, rate))
    }
}

fn cover(paid: u64, rate: Rate) -> u64 {
    if rate == (Rate { rate: 10_000, spread: 10_000 }) { paid } else { Rates::cover(paid, rate) }
}

/// The rungs that differ between sources, in the ladder's order.
const LADDER_BELOW_CURRENCY: [&str; 12] = [
    "currency_unsupported",
    "country_blocked",
    "mcc_blocked",
    "merchant_blocked",
    "channel_blocked",
    "transaction_amount_limit",
    "limit_exceeded",
    "insufficient_user_funds",
    "fiat_allowance_missing",
    "pool_stressed",
    "pool_reserve_held",
    "pool_exhausted",
];
