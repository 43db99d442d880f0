//! UR's arithmetic by its published contracts (docs/ur-facts.md, "The CHF limit" and "How UR prices"). It is written
//! independently of the engine's, so that each can check the other; nothing here calls the engine.

use std::collections::BTreeMap;

/// Three capital letters.
pub(in crate::sandbox) type Code = &'static str;

/// 30 days.
pub(in crate::sandbox) const PERIOD_SECONDS: u64 = 2_592_000;

/// A user's limit in the contract: francs with two decimals, unix seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sandbox) struct Limit {
    pub(in crate::sandbox) used: u64,
    pub(in crate::sandbox) client: u64,
    pub(in crate::sandbox) start: u64,
}

impl Limit {
    pub(in crate::sandbox) fn has_ended(&self, now: u64) -> bool {
        self.start + PERIOD_SECONDS < now
    }

    /// The use that counts: none once the period has ended.
    pub(in crate::sandbox) fn used_at(&self, now: u64) -> u64 {
        if self.has_ended(now) { 0 } else { self.used }
    }

    pub(in crate::sandbox) fn allows(&self, chf: u64, now: u64) -> bool {
        self.used_at(now) + chf <= self.client
    }

    /// Adds a use even beyond the limit: the contract does not check reversals.
    pub(in crate::sandbox) fn add(&mut self, chf: u64, now: u64) {
        if self.has_ended(now) {
            *self = Limit { used: chf, start: now, ..*self };
        } else {
            self.used += chf;
        }
    }
}

/// Units of one currency per unit of another, and the spread; both in ten-thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sandbox) struct Rate {
    pub(in crate::sandbox) rate: u64,
    pub(in crate::sandbox) spread: u64,
}

/// The contract's table: the price of a US dollar, in ten-thousandths.
#[derive(Clone, Debug, Default)]
pub(in crate::sandbox) struct Rates {
    pub(in crate::sandbox) usd: BTreeMap<Code, u64>,
    pub(in crate::sandbox) spread: u64,
    /// Francs per unit, in ten-thousandths. The real contract keeps thousandths, which its API does not show; here both
    /// are one figure, so that books fed by the API can be exact.
    pub(in crate::sandbox) chf: BTreeMap<Code, u64>,
    pub(in crate::sandbox) interchange_percent: u64,
}

impl Rates {
    /// `None` for a currency that UR does not hold.
    pub(in crate::sandbox) fn between(&self, from: Code, to: Code) -> Option<Rate> {
        if from == to {
            return Some(Rate { rate: 10_000, spread: 10_000 });
        }
        let dollar_buys = |code| self.usd.get(code).copied();
        let rate = match (from, to) {
            ("USD", to) => dollar_buys(to)?,
            (from, "USD") => 100_000_000 / dollar_buys(from)?,
            (from, to) => (100_000_000 / dollar_buys(from)?) * dollar_buys(to)? / 10_000,
        };
        Some(Rate { rate, spread: self.spread })
    }

    pub(in crate::sandbox) fn holds(&self, code: Code) -> bool {
        self.usd.contains_key(code)
    }

    /// Francs with two decimals. A currency without a rate is never paid in.
    pub(in crate::sandbox) fn to_chf(&self, amount: u64, code: &str) -> u64 {
        let rate = if code == "CHF" { 10_000 } else { self.chf.get(code).copied().unwrap_or(0) };
        amount * rate / 10_000
    }

    /// A transaction amount in another currency: at least one unit, except for an amount of zero.
    pub(in crate::sandbox) fn exchange(amount: u64, rate: Rate) -> u64 {
        at_least_one(amount, Rates::converted(amount, rate))
    }

    /// What a balance is worth in another currency.
    pub(in crate::sandbox) fn worth(balance: u64, rate: Rate) -> u128 {
        Rates::converted(balance, rate)
    }

    fn converted(amount: u64, rate: Rate) -> u128 {
        u128::from(amount) * u128::from(rate.rate) * u128::from(rate.spread) / 100_000_000
    }

    /// A settlement amount with interchange, in another currency.
    pub(in crate::sandbox) fn settle(settlement: u64, interchange_percent: u64, rate: Rate) -> u64 {
        let gross = u128::from(settlement) * u128::from(100 + interchange_percent);
        at_least_one(settlement, gross * u128::from(rate.rate) * u128::from(rate.spread) / 10_000_000_000)
    }

    /// The hold on a user's funds: rounded up.
    pub(in crate::sandbox) fn cover(amount: u64, rate: Rate) -> u64 {
        let product = u128::from(amount) * u128::from(rate.rate) * u128::from(rate.spread);
        u64::try_from(product.div_ceil(100_000_000)).unwrap_or(u64::MAX)
    }
}

fn at_least_one(asked: u64, priced: u128) -> u64 {
    if asked == 0 { 0 } else { u64::try_from(priced).unwrap_or(u64::MAX).max(1) }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn vectors(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    fn number(value: &Value) -> u64 {
        value.as_u64().unwrap()
    }

    #[test]
    fn limits_are_kept_as_the_contract_keeps_them() {
        let vectors = vectors(include_str!("../../../../engine/tests/vectors/limit-vectors.json"));
        let read = |value: &Value| Limit {
            used: number(&value["usedLimit"]),
            client: number(&value["clientLimit"]),
            start: number(&value["startLimitDate"]),
        };
        for case in vectors["limit_cases"].as_array().unwrap() {
            let (mut limit, now, chf) = (read(&case["limit"]), number(&case["now"]), number(&case["amount_chf_minor"]));
            let allowed = limit.allows(chf, now);
            assert_eq!(allowed, case["allowed"].as_bool().unwrap(), "{case}");
            if allowed {
                limit.add(chf, now);
                assert_eq!(limit, read(&case["after"]), "{case}");
            }
        }
    }

    #[test]
    fn francs_are_counted_as_the_contract_counts_them() {
        let vectors = vectors(include_str!("../../../../engine/tests/vectors/limit-vectors.json"));
        for case in vectors["to_chf_cases"].as_array().unwrap() {
            let chf = BTreeMap::from([("EUR", 10 * number(&case["chf_rate_thousandths"]))]);
            let rates = Rates { usd: BTreeMap::new(), spread: 10_000, chf, interchange_percent: 1 };
            assert_eq!(rates.to_chf(number(&case["amount_minor"]), "EUR"), number(&case["chf_minor"]), "{case}");
        }
    }

    #[test]
    fn prices_are_those_of_the_contract() {
        let vectors = vectors(include_str!("../../../../engine/tests/vectors/pricing-vectors.json"));
        let codes = ["USD", "EUR", "CHF", "GBP", "CNH"];
        let table = &vectors["usd_rates_on_10000"];
        let rates = Rates {
            usd: codes.iter().map(|code| (*code, number(&table[code]))).collect(),
            spread: number(&vectors["exchange_spread"]),
            chf: BTreeMap::new(),
            interchange_percent: 1,
        };
        let code = |value: &Value| *codes.iter().find(|code| value.as_str() == Some(code)).unwrap();
        for case in vectors["cases"].as_array().unwrap() {
            let from = if case["held_by_ur"] == true { code(&case["from"]) } else { "EUR" };
            let rate = rates.between(from, code(&case["to"])).unwrap();
            assert_eq!(rate.rate, number(&case["rate"]), "{case}");
            let rate = Rate { spread: number(&case["spread"]), ..rate };
            let paid = if case["held_by_ur"] == true {
                Rates::exchange(number(&case["amount"]), rate)
            } else {
                Rates::settle(number(&case["settlement_eur"]), 1, rate)
            };
            assert_eq!(paid, number(&case["paid"]), "{case}");
        }
    }
}
