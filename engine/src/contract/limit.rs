//! The CHF client limit, exactly as UR's contract keeps it (docs/ur-facts.md, "The CHF limit").

use serde::{Deserialize, Serialize};

use crate::contract::pricing::RATE_ONE;
use crate::money::{AMOUNT_MAX, ChfMinor, Minor};
use crate::time::UnixSeconds;

/// The length of the limit's period: 30 days.
pub const LIMIT_PERIOD_SECONDS: i64 = 2_592_000;

/// How often a use may count against the limit at most.
pub const LIMIT_WEIGHT_MAX: u8 = 2;

/// UR's figures of one account's limit, as last reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientLimit {
    /// `usedLimit`: spent in the current period.
    pub used: ChfMinor,
    /// `clientLimit`: the most that may be spent in a period.
    pub client: ChfMinor,
    /// `startLimitDate`: when the current period began.
    pub start: UnixSeconds,
}

impl ClientLimit {
    /// Whether the period is over. Strictly: a period that ends this very second still counts.
    #[must_use]
    pub fn period_ended(&self, now: UnixSeconds) -> bool {
        self.start.plus(LIMIT_PERIOD_SECONDS) < now
    }

    /// What UR's figure takes from the limit at `now`: nothing once the period is over.
    #[must_use]
    pub fn counted_use(&self, now: UnixSeconds) -> ChfMinor {
        if self.period_ended(now) { ChfMinor::ZERO } else { self.used }
    }

    /// Whether the contract would allow a use of `amount`; reaching the limit exactly is allowed.
    #[must_use]
    pub fn allows(&self, amount: ChfMinor, now: UnixSeconds) -> bool {
        self.counted_use(now).checked_add(amount).is_some_and(|used| used <= self.client)
    }

    /// The figures after the contract has booked a use of `amount`, allowed or not (reversals are not checked): an
    /// ended period begins anew at `now`.
    #[must_use]
    pub fn after_use(&self, amount: ChfMinor, now: UnixSeconds) -> ClientLimit {
        let start = if self.period_ended(now) { now } else { self.start };
        ClientLimit { used: self.counted_use(now) + amount, client: self.client, start }
    }
}

/// `floor(amount × rate / 10000)`, the rate in francs per unit on [`RATE_ONE`]: what the contract's
/// `floor(amount × chfRate / 1000)` gives for a whole `chfRate`. `None` beyond [`AMOUNT_MAX`].
#[must_use]
pub fn to_chf(amount: Minor, chf_rate: u32) -> Option<ChfMinor> {
    // Usual amounts fit 64 bits, which are divided without a call.
    let chf = match amount.0.checked_mul(i64::from(chf_rate)) {
        Some(product) => i128::from(product / i64::from(RATE_ONE)),
        None => i128::from(amount.0) * i128::from(chf_rate) / i128::from(RATE_ONE),
    };
    i64::try_from(chf).ok().filter(|chf| *chf <= AMOUNT_MAX.0).map(ChfMinor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vectors() -> serde_json::Value {
        serde_json::from_str(include_str!("../../tests/vectors/limit-vectors.json")).unwrap()
    }

    fn limit(value: &serde_json::Value) -> ClientLimit {
        let figure = |key: &str| value[key].as_i64().unwrap();
        ClientLimit {
            used: ChfMinor(figure("usedLimit")),
            client: ChfMinor(figure("clientLimit")),
            start: UnixSeconds(figure("startLimitDate")),
        }
    }

    #[test]
    fn every_limit_vector_holds() {
        let vectors = vectors();
        assert_eq!(vectors["period_seconds"].as_i64(), Some(LIMIT_PERIOD_SECONDS));
        let cases = vectors["limit_cases"].as_array().unwrap();
        assert!(!cases.is_empty());
        for case in cases {
            let before = limit(&case["limit"]);
            let now = UnixSeconds(case["now"].as_i64().unwrap());
            let amount = ChfMinor(case["amount_chf_minor"].as_i64().unwrap());
            let allowed = before.allows(amount, now);
            let after = if allowed { before.after_use(amount, now) } else { before };
            assert_eq!(allowed, case["allowed"].as_bool().unwrap(), "{case}");
            assert_eq!(after, limit(&case["after"]), "{case}");
        }
    }

    #[test]
    fn every_franc_vector_holds() {
        let vectors = vectors();
        let cases = vectors["to_chf_cases"].as_array().unwrap();
        assert!(!cases.is_empty());
        for case in cases {
            let rate = u32::try_from(case["chf_rate_thousandths"].as_u64().unwrap()).unwrap() * 10;
            let chf = to_chf(Minor(case["amount_minor"].as_i64().unwrap()), rate);
            assert_eq!(chf, Some(ChfMinor(case["chf_minor"].as_i64().unwrap())), "{case}");
        }
    }

    #[test]
    fn a_product_beyond_64_bits_is_no_other_price() {
        let amount = Minor(AMOUNT_MAX.0 / 1_000);
        assert_eq!(to_chf(amount, 1_000 * RATE_ONE), Some(ChfMinor(AMOUNT_MAX.0)));
        assert_eq!(to_chf(amount, 1_000 * RATE_ONE + 1), None);
    }
}
