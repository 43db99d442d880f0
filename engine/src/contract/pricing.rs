//! How UR prices a card authorization (docs/ur-facts.md, "How UR prices").
//!
//! Every figure floors, as UR's contract does; only our own holds on top of it round up.

use serde::{Deserialize, Serialize};

use crate::money::{AMOUNT_MAX, Currency, Minor};
use crate::time::UnixMillis;

/// Rates and spreads are integers on 10,000: 10907 is 1.0907, a spread of 10150 is +1.5 %.
pub const RATE_ONE: u32 = 10_000;

/// The most a rate or spread may be: 100,000 times one. Keeps every product inside `i128`.
pub const RATE_MAX: u32 = 1_000_000_000;

/// One conversion: a rate and the spread on it, both on [`RATE_ONE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversion {
    /// Units of the target currency for one of the source currency.
    pub rate: u32,
    /// Factor on top; 10,000 is none.
    pub spread: u32,
}

impl Conversion {
    /// The same currency: no rate, no spread.
    pub const SAME: Conversion = Conversion { rate: RATE_ONE, spread: RATE_ONE };

    /// `floor(amount × rate × spread / 1e8)`; `None` beyond [`AMOUNT_MAX`].
    #[must_use]
    pub fn floor(self, amount: Minor) -> Option<Minor> {
        fit(i128::from(amount.0) * self.product() / 100_000_000)
    }

    /// `ceil(amount × rate × spread / 1e8)`: for what we hold of the user's own funds; `None` beyond [`AMOUNT_MAX`].
    #[must_use]
    pub fn ceil(self, amount: Minor) -> Option<Minor> {
        fit((i128::from(amount.0) * self.product() + 99_999_999) / 100_000_000)
    }

    fn product(self) -> i128 {
        i128::from(self.rate) * i128::from(self.spread)
    }
}

/// How the amount taken follows from the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Price {
    /// (1) Paid in the transaction currency itself.
    Direct,
    /// (2) The transaction amount converted to the card's currency.
    Converted(Conversion),
    /// (3) The EUR settlement amount plus interchange, converted to the card's currency.
    Settled {
        /// From EUR to the card's currency.
        conversion: Conversion,
        /// In percent of the settlement amount.
        interchange_percent: u8,
    },
}

/// What is priced: the amounts of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amounts {
    /// In the transaction currency.
    pub transaction: Minor,
    /// In EUR, where the scheme gave a settlement amount in EUR.
    pub settlement_eur: Option<Minor>,
}

impl Price {
    /// The amount taken for `amounts`, at least one smallest unit. A transaction of zero counts as `of_zero` of its
    /// smallest unit, 0 or 1: as one that takes nothing, or as UR's contract does.
    /// `fx_buffer_bps` is our own addition to cross-currency holds, rounded up. `None` where it leaves
    /// [`AMOUNT_MAX`] or the settlement amount is missing.
    #[must_use]
    pub fn paid(self, amounts: Amounts, fx_buffer_bps: u16, of_zero: u8) -> Option<Minor> {
        let transaction = amounts.transaction.max(Minor(i64::from(of_zero)));
        if transaction.is_zero() {
            return Some(Minor::ZERO);
        }
        let taken = match self {
            Price::Direct => return Some(transaction),
            Price::Converted(conversion) => conversion.floor(transaction)?,
            Price::Settled { conversion, interchange_percent } => {
                let gross = i128::from(amounts.settlement_eur?.0) * (100 + i128::from(interchange_percent));
                fit(gross.checked_mul(conversion.product())? / 10_000_000_000)?
            }
        };
        let taken = Minor(taken.0.max(1));
        let buffer = (i128::from(taken.0) * i128::from(fx_buffer_bps) + 9_999) / 10_000;
        fit(i128::from(taken.0) + buffer)
    }
}

/// UR's rates as last set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rates {
    /// Francs per unit of the currency, on [`RATE_ONE`], sorted by currency. UR's contract keeps thousandths; its API
    /// gives one more digit, without which a yen would count for an eighth less.
    pub chf: Vec<(Currency, u32)>,
    /// Pairs (from, to), sorted.
    pub pairs: Vec<((Currency, Currency), Conversion)>,
    /// Interchange on settlement amounts, in percent.
    pub interchange_percent: u8,
    /// When they were set; `None` where they never were.
    pub set_at: Option<UnixMillis>,
    /// The rates that were not set at `set_at`, by (from, to), sorted; francs per unit are those to CHF.
    pub kept: Vec<((Currency, Currency), Since)>,
}

/// Since when a rate holds that was not set with the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Since {
    /// UR has given no rate to use since this time.
    At(UnixMillis),
    /// A person pinned it: it does not age, and nothing but a person replaces it.
    Pinned,
}

impl Rates {
    /// When a rate was set; `None` if it does not age.
    fn pair_set_at(&self, pair: (Currency, Currency)) -> Option<UnixMillis> {
        match lookup(&self.kept, &pair) {
            Some(Since::At(at)) => Some(at),
            Some(Since::Pinned) => None,
            None => self.set_at,
        }
    }

    /// When the oldest rate was set that [`Rates::conversion`] uses; `None` if it uses none that ages.
    #[must_use]
    pub fn conversion_set_at(&self, from: Currency, to: Currency) -> Option<UnixMillis> {
        if from == to {
            return None;
        }
        for pair in [(from, to), (to, from)] {
            let is_used = pair == (from, to) || from == Currency::USD || to == Currency::USD;
            if is_used && lookup(&self.pairs, &pair).is_some() {
                return self.pair_set_at(pair);
            }
        }
        if from == Currency::USD || to == Currency::USD {
            return None;
        }
        let legs = [from, to].map(|leg| self.conversion_set_at(Currency::USD, leg));
        legs.into_iter().flatten().min()
    }

    /// When a currency's rate in francs was set; `None` if it does not age.
    #[must_use]
    pub fn chf_set_at(&self, currency: Currency) -> Option<UnixMillis> {
        if currency == Currency::CHF { None } else { self.pair_set_at((currency, Currency::CHF)) }
    }

    /// Without the pairs that are too old.
    #[must_use]
    pub fn fresh(&self, is_fresh: impl Fn(UnixMillis) -> bool) -> Rates {
        let mut fresh = self.clone();
        fresh.pairs.retain(|(pair, _)| self.pair_set_at(*pair).is_none_or(&is_fresh));
        fresh
    }

    /// Whether a person pinned the pair.
    #[must_use]
    pub fn is_pinned(&self, pair: (Currency, Currency)) -> bool {
        lookup(&self.kept, &pair) == Some(Since::Pinned)
    }

    /// Takes the pinned rates of `before`, in place of its own. A pin of its own may have been taken out meanwhile.
    #[must_use]
    pub fn with_pins_of(mut self, before: &Rates) -> Rates {
        self.kept.retain(|(_, since)| *since != Since::Pinned);
        for (pair, _) in before.kept.iter().filter(|(_, since)| *since == Since::Pinned) {
            self.pairs.retain(|(other, _)| other != pair);
            self.kept.retain(|(other, _)| other != pair);
            self.pairs.extend(lookup(&before.pairs, pair).map(|pinned| (*pair, pinned)));
            if pair.1 == Currency::CHF {
                self.chf.retain(|(other, _)| *other != pair.0);
                self.chf.extend(lookup(&before.chf, &pair.0).map(|pinned| (pair.0, pinned)));
            }
            self.kept.push((*pair, Since::Pinned));
        }
        self
    }

    /// The same rates, with the age of each kept: to be set again with a change of some.
    #[must_use]
    pub fn aged(&self) -> Rates {
        let mut aged = self.clone();
        let Some(set_at) = self.set_at else { return aged };
        let francs = self.chf.iter().map(|(currency, _)| (*currency, Currency::CHF));
        for pair in self.pairs.iter().map(|(pair, _)| *pair).chain(francs) {
            if aged.kept.iter().all(|(other, _)| *other != pair) {
                aged.kept.push((pair, Since::At(set_at)));
            }
        }
        aged
    }

    /// The same rates with one pinned; a rate to CHF gives the francs per unit, too.
    #[must_use]
    pub fn pinned(&self, pair: (Currency, Currency), conversion: Conversion) -> Rates {
        let mut rates = self.aged();
        rates.kept.retain(|(other, _)| *other != pair);
        rates.kept.push((pair, Since::Pinned));
        rates.pairs.retain(|(other, _)| *other != pair);
        rates.pairs.push((pair, conversion));
        if pair.1 == Currency::CHF {
            rates.chf.retain(|(other, _)| *other != pair.0);
            rates.chf.push((pair.0, conversion.rate));
        }
        rates
    }

    /// The same rates with one unpinned at `at`, from when on it ages; `None` if it is not pinned.
    #[must_use]
    pub fn unpinned(&self, pair: (Currency, Currency), at: UnixMillis) -> Option<Rates> {
        let mut rates = self.aged();
        let kept = rates.kept.iter_mut().find(|kept| **kept == (pair, Since::Pinned))?;
        kept.1 = Since::At(at);
        Some(rates)
    }

    /// Makes no rate younger than `to`: only a clock that was wrong set it later.
    pub(crate) fn set_back(&mut self, to: UnixMillis) {
        self.set_at = self.set_at.map(|set_at| set_at.min(to));
        for (_, since) in &mut self.kept {
            if let Since::At(at) = since {
                *at = (*at).min(to);
            }
        }
    }

    /// Sorts them, as every look-up needs.
    ///
    /// # Errors
    /// What stands there twice, in words: which of the two holds would be chance.
    pub(crate) fn sort(&mut self) -> Result<(), String> {
        self.chf.sort_unstable();
        self.pairs.sort_unstable_by_key(|(between, _)| *between);
        self.kept.sort_unstable();
        if let Some([(currency, _), _]) =
            self.chf.windows(2).find(|two| matches!(two, [one, other] if one.0 == other.0))
        {
            return Err(format!("chf holds {currency} twice"));
        }
        if let Some([((from, to), _), _]) =
            self.pairs.windows(2).find(|two| matches!(two, [one, other] if one.0 == other.0))
        {
            return Err(format!("pairs holds {from} to {to} twice"));
        }
        Ok(())
    }

    /// Francs per unit of `currency`, on [`RATE_ONE`].
    #[must_use]
    pub fn chf_rate(&self, currency: Currency) -> Option<u32> {
        if currency == Currency::CHF {
            return Some(RATE_ONE);
        }
        lookup(&self.chf, &currency)
    }

    /// The conversion `from` → `to`: the pair as set, else derived over USD as UR's contract does, with the larger
    /// spread of the legs. `None` where a leg is missing.
    #[must_use]
    pub fn conversion(&self, from: Currency, to: Currency) -> Option<Conversion> {
        if from == to {
            return Some(Conversion::SAME);
        }
        if let Some(pair) = lookup(&self.pairs, &(from, to)) {
            return Some(pair);
        }
        if from == Currency::USD || to == Currency::USD {
            return lookup(&self.pairs, &(to, from)).and_then(inverse);
        }
        let (into, out) = (self.conversion(Currency::USD, from)?, self.conversion(Currency::USD, to)?);
        let through_usd = u64::from(inverse(into)?.rate) * u64::from(out.rate) / u64::from(RATE_ONE);
        checked(through_usd, into.spread.max(out.spread))
    }

    /// How a transaction in `currency` is priced into `card` currency when it is not paid directly: rule (2) where
    /// UR holds the currency, else rule (3) where the settlement is in EUR; `None` is `currency_unsupported`.
    #[must_use]
    pub fn price(&self, currency: Currency, settled_in_eur: bool, card: Currency) -> Option<Price> {
        if currency.is_held_by_ur() {
            return self.conversion(currency, card).map(Price::Converted);
        }
        if !settled_in_eur {
            return None;
        }
        let conversion = self.conversion(Currency::EUR, card)?;
        Some(Price::Settled { conversion, interchange_percent: self.interchange_percent })
    }
}

/// `floor(1e8 / rate)`: the rate of the opposite direction, with the same spread.
fn inverse(pair: Conversion) -> Option<Conversion> {
    checked(100_000_000_u64.checked_div(u64::from(pair.rate))?, pair.spread)
}

/// A rate that floors to nothing cannot price anything.
fn checked(rate: u64, spread: u32) -> Option<Conversion> {
    let rate = u32::try_from(rate).ok().filter(|rate| (1..=RATE_MAX).contains(rate))?;
    Some(Conversion { rate, spread })
}

fn lookup<K: Ord, V: Copy>(sorted: &[(K, V)], key: &K) -> Option<V> {
    let found = sorted.binary_search_by(|(candidate, _)| candidate.cmp(key)).ok()?;
    sorted.get(found).map(|(_, value)| *value)
}

fn fit(amount: i128) -> Option<Minor> {
    i64::try_from(amount).ok().filter(|amount| *amount <= AMOUNT_MAX.0).map(Minor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vectors() -> serde_json::Value {
        serde_json::from_str(include_str!("../../tests/vectors/pricing-vectors.json")).unwrap()
    }

    fn currency(value: &serde_json::Value) -> Currency {
        value.as_str().unwrap().parse().unwrap()
    }

    fn number(value: &serde_json::Value) -> u32 {
        u32::try_from(value.as_u64().unwrap()).unwrap()
    }

    /// UR's table over USD, with the spread that holds while the market is open or closed.
    fn usd_rates(vectors: &serde_json::Value, market_closed: bool) -> Rates {
        let open = number(&vectors["exchange_spread"]);
        let spread = if market_closed { open * number(&vectors["market_closed_spread"]) / RATE_ONE } else { open };
        let mut rates = Rates { interchange_percent: 1, ..Rates::default() };
        for (code, rate) in vectors["usd_rates_on_10000"].as_object().unwrap() {
            let to = code.parse().unwrap();
            rates.pairs.push(((Currency::USD, to), Conversion { rate: number(rate), spread }));
        }
        rates.pairs.sort_by_key(|(pair, _)| *pair);
        rates
    }

    #[test]
    fn every_pricing_vector_holds() {
        let vectors = vectors();
        let cases = vectors["cases"].as_array().unwrap();
        assert!(!cases.is_empty());
        for case in cases {
            let rates = usd_rates(&vectors, case["market_closed"].as_bool().unwrap_or(false));
            let to = currency(&case["to"]);
            let held = case["held_by_ur"].as_bool().unwrap();
            let (from, settlement) = if held {
                (currency(&case["from"]), None)
            } else {
                ("THB".parse().unwrap(), Some(Minor(case["settlement_eur"].as_i64().unwrap())))
            };
            let price = rates.price(from, settlement.is_some(), to).unwrap();
            let (Price::Converted(conversion) | Price::Settled { conversion, .. }) = price else {
                panic!("{case}: {price:?}");
            };
            assert_eq!(
                (conversion.rate, conversion.spread),
                (number(&case["rate"]), number(&case["spread"])),
                "{case}"
            );
            let transaction = Minor(case["amount"].as_i64().unwrap_or(1));
            let paid = price.paid(Amounts { transaction, settlement_eur: settlement }, 0, 0);
            assert_eq!(paid, Some(Minor(case["paid"].as_i64().unwrap())), "{case}");
        }
    }

    #[test]
    fn a_foreign_currency_needs_a_settlement_in_euro() {
        let rates = usd_rates(&vectors(), false);
        let baht = "THB".parse().unwrap();
        assert_eq!(rates.price(baht, false, Currency::EUR), None);
        assert!(rates.price(baht, true, Currency::EUR).is_some());
        assert_eq!(rates.price("SGD".parse().unwrap(), true, Currency::EUR), None, "held by UR, but no rate is set");
    }

    #[test]
    fn yuan_is_priced_as_offshore_renminbi() {
        let rates = usd_rates(&vectors(), false);
        let check = |code: &str| rates.price(code.parse().unwrap(), false, Currency::EUR);
        assert_eq!(check("CNY"), check("CNH"));
        assert!(check("CNY").is_some());
    }

    #[test]
    fn the_buffer_is_added_to_cross_currency_holds_only_and_rounds_up() {
        let amounts = Amounts { transaction: Minor(1000), settlement_eur: None };
        assert_eq!(Price::Direct.paid(amounts, 200, 0), Some(Minor(1000)));
        let zero = Amounts { transaction: Minor::ZERO, settlement_eur: None };
        assert_eq!([0, 1].map(|of_zero| Price::Direct.paid(zero, 200, of_zero)), [Some(Minor(0)), Some(Minor(1))]);
        let price = Price::Converted(Conversion { rate: 9168, spread: 10150 });
        assert_eq!(price.paid(amounts, 0, 0), Some(Minor(930)));
        assert_eq!(price.paid(amounts, 200, 0), Some(Minor(949)), "930 + ceil(18.6)");
    }

    #[test]
    fn a_price_beyond_the_largest_amount_is_no_price() {
        let price = Price::Converted(Conversion { rate: RATE_MAX, spread: RATE_MAX });
        assert_eq!(price.paid(Amounts { transaction: AMOUNT_MAX, settlement_eur: None }, 0, 0), None);
        let settled =
            Price::Settled { conversion: Conversion { rate: RATE_MAX, spread: RATE_MAX }, interchange_percent: 99 };
        assert_eq!(settled.paid(Amounts { transaction: AMOUNT_MAX, settlement_eur: Some(AMOUNT_MAX) }, 0, 0), None);
    }
}
