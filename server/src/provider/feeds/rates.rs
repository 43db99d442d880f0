//! UR's rates, pair by pair: a pair that cannot be had or is not plausible keeps its value until that is too old, and
//! spoils no other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};

use tapgate_engine::contract::pricing::{Conversion, RATE_ONE, Rates, Since};
use tapgate_engine::fact::Author;
use tapgate_engine::ledger::Change;
use tapgate_engine::money::Currency;
use tapgate_engine::time::UnixMillis;

use super::plausible::{Asked, Judgement, Suspect, judge};
use super::{FeedError, Feeds};
use crate::provider::api::{Priority, UrApi, UrError};
use crate::provider::findings::Implausible;
use crate::wire::Malformed;
use crate::wire::ur::Rate;

/// UR's surcharge on a settlement amount (docs/ur-facts.md, "How UR prices").
const INTERCHANGE_PERCENT: u8 = 1;

/// UR's fiat currencies, where `/v1/tokens` does not say.
const FIAT: [&str; 7] = ["USD", "EUR", "CHF", "JPY", "CNH", "SGD", "HKD"];

type Pair = (Currency, Currency);

/// The suspicions between two turns. A restart forgets them, and each begins anew.
pub(super) type Suspects = BTreeMap<Pair, Suspect>;

impl<A: UrApi> Feeds<A> {
    /// Each currency's rate to the dollar, and francs per unit; all other pairs follow from these.
    pub(super) async fn rates(self: Arc<Self>) -> Result<(), FeedError> {
        let at = self.now();
        let (answers, failed) = self.ask_rates().await;
        let Some(rates) = self.judge_rates(&answers, at) else {
            return failed.map_or(Ok(()), |error| Err(error.into()));
        };
        self.given.ledger.change(&Author::Ur, Change::ReplaceRates(Box::new(rates)), self.given.clock.now())?;
        Ok(())
    }

    /// UR's answers, and its last failure. A refusal of one pair leaves the others; an outage ends the turn.
    async fn ask_rates(&self) -> (BTreeMap<Pair, Rate>, Option<UrError>) {
        let mut answers = BTreeMap::new();
        let mut failed = None;
        let symbols = match self.api.tokens(Priority::High).await {
            Ok(tokens) => tokens.into_iter().filter(|token| token.is_fiat).map(|token| token.symbol).collect(),
            Err(error) if error.is_transient() => return (answers, Some(error)),
            Err(error) => {
                failed = Some(error);
                Vec::new()
            }
        };
        let symbols = if symbols.is_empty() { FIAT.map(str::to_owned).to_vec() } else { symbols };
        for (pair, from, to) in pairs(&symbols) {
            match self.api.exchange_rate(&from, &to, Priority::High).await {
                Ok(rate) => drop(answers.insert(pair, rate)),
                Err(error) => {
                    if error.refusal().is_some() && !error.is_transient() {
                        let refused = Malformed(format!("{}/{} cannot be had: {error}", pair.0, pair.1));
                        self.given.findings.unreadable("/v1/exchangeRate", &refused, self.now());
                    }
                    tracing::warn!(from, to, %error, "a rate was not read; its last value is used until that is too old");
                    let is_down = error.is_transient();
                    failed = Some(error);
                    if is_down {
                        break;
                    }
                }
            }
        }
        (answers, failed)
    }

    /// The rates to use from now on, the old ones at their age; `None` if no answer is taken.
    fn judge_rates(&self, answers: &BTreeMap<Pair, Rate>, at: UnixMillis) -> Option<Rates> {
        let before = self.given.ledger.program().rates;
        let mut suspects = self.suspects.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = BTreeMap::new();
        let mut refused = Vec::new();
        // The dollar's pairs first: a suspicious one must not spoil the price in francs.
        let (stored_pairs, of_francs): (Vec<_>, Vec<_>) = answers.iter().partition(|(pair, _)| is_stored(**pair));
        for (pair, answer) in stored_pairs.into_iter().chain(of_francs) {
            let stored = |pair: Pair| before.pairs.iter().find(|(other, _)| *other == pair).map(|(_, kept)| kept.rate);
            let (from, to) = *pair;
            let opposite = (to, from);
            let inverse = answers.get(&opposite).map(|opposite| opposite.rate).or_else(|| stored(opposite));
            let last = if is_stored(*pair) { stored(*pair) } else { before.chf_rate(from) };
            let in_use = |pair: Pair| taken.get(&pair).map(|answer: &Rate| answer.rate).or_else(|| stored(pair));
            let inverse = inverse.or_else(|| crossed(in_use, *pair));
            let asked = Asked { rate: answer.rate, spread: answer.spread, inverse, last, at };
            match judge(&asked, suspects.get(pair).copied(), self.given.settings.rates_jump_bps) {
                Judgement::Taken => {
                    suspects.remove(pair);
                    taken.insert(*pair, *answer);
                }
                Judgement::Refused(suspect) => {
                    suspects.insert(*pair, suspect);
                    // A pinned rate may be far from UR's: that is why it is pinned.
                    if !before.is_pinned(*pair) {
                        refused.push(Implausible {
                            pair: *pair,
                            rate: answer.rate,
                            spread: answer.spread,
                            inverse,
                            last,
                        });
                    }
                }
            }
        }
        for Implausible { pair: (from, to), rate, spread, inverse, last } in &refused {
            metrics::counter!("tapgate_rates_implausible_total").increment(1);
            tracing::error!(%from, %to, rate, spread, ?inverse, ?last,
                "UR's rate is not plausible and not used: pin the right one with tapgate rates pin");
        }
        self.given.findings.implausible(refused);
        (!taken.is_empty()).then(|| renewed(&before, &taken))
    }
}

/// The rates before, with those that are taken in place of theirs.
fn renewed(before: &Rates, taken: &BTreeMap<Pair, Rate>) -> Rates {
    let is_new = before.set_at.is_none();
    let mut rates = before.aged();
    if is_new {
        // UR's API does not report the interchange; a person may have set another.
        rates.interchange_percent = INTERCHANGE_PERCENT;
    }
    for (pair, answer) in taken {
        rates.kept.retain(|(other, since)| other != pair || *since == Since::Pinned);
        if is_stored(*pair) {
            rates.pairs.retain(|(other, _)| other != pair);
            rates.pairs.push((*pair, Conversion { rate: answer.rate, spread: answer.spread }));
        }
        let (from, to) = *pair;
        if to == Currency::CHF {
            rates.chf.retain(|(other, _)| *other != from);
            rates.chf.push((from, answer.rate));
        }
    }
    rates
}

/// Pairs with the dollar price conversions; the others give francs only.
fn is_stored((from, to): Pair) -> bool {
    from == Currency::USD || to == Currency::USD
}

/// The opposite of a price in francs, over the dollar: francs are asked for in one direction only.
fn crossed(in_use: impl Fn(Pair) -> Option<u32>, (from, to): Pair) -> Option<u32> {
    let rate = |pair: Pair| in_use(pair).map(u64::from);
    let through = rate((to, Currency::USD))?.checked_mul(rate((Currency::USD, from))?)? / u64::from(RATE_ONE);
    u32::try_from(through).ok().filter(|rate| *rate > 0)
}

/// The pairs to ask for, with UR's symbols. A token may be listed once per chain, and under two names.
fn pairs(symbols: &[String]) -> Vec<(Pair, String, String)> {
    let mut seen = BTreeSet::new();
    let mut pairs = Vec::new();
    for symbol in symbols {
        let Ok(currency) = symbol.trim_end_matches("24").parse::<Currency>() else { continue };
        if !seen.insert(currency) {
            continue;
        }
        if currency != Currency::USD {
            pairs.push(((Currency::USD, currency), "USD".to_owned(), symbol.clone()));
            pairs.push(((currency, Currency::USD), symbol.clone(), "USD".to_owned()));
        }
        if currency != Currency::CHF && currency != Currency::USD {
            pairs.push(((currency, Currency::CHF), symbol.clone(), "CHF".to_owned()));
        }
    }
    if !seen.contains(&Currency::CHF) && seen.contains(&Currency::USD) {
        pairs.push(((Currency::USD, Currency::CHF), "USD".to_owned(), "CHF".to_owned()));
    }
    pairs
}
