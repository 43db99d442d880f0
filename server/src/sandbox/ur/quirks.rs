//! Oddities of UR's answers: figures that are left out once, and rows and rates that nobody can use.

use std::collections::BTreeSet;

use serde_json::{Value, json};

/// One answer in this many has an oddity.
const ONE_IN: u32 = 5;
/// One rate in this many is odd: more than the rates of one turn, so that a rate and its inverse never are odd together.
const ONE_RATE_IN: u32 = 23;

/// A figure that is not in an answer, or that nobody can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Lack {
    LeftOut,
    Unreadable,
}

/// Which oddities there are, and the memory that keeps one from coming twice in a row.
#[derive(Debug, Default)]
pub(in crate::sandbox) struct Quirks {
    omits: bool,
    is_odd: bool,
    asked: u32,
    rates: u32,
    /// Figures whose last answer lacked them.
    lacking: BTreeSet<(Lack, String, String)>,
}

impl Quirks {
    pub(in crate::sandbox) fn new(omits: bool, is_odd: bool) -> Quirks {
        Quirks { omits, is_odd, ..Quirks::default() }
    }

    /// Whether an answer about `account` leaves out a figure: never twice in a row.
    pub(super) fn leaves_out(&mut self, account: &str, figure: &str) -> bool {
        self.omits && self.lacks(Lack::LeftOut, account, figure)
    }

    /// Whether an answer shows a figure so that nobody can read it: never twice in a row.
    pub(super) fn spoils(&mut self, account: &str, figure: &str) -> bool {
        self.is_odd && self.lacks(Lack::Unreadable, account, figure)
    }

    fn lacks(&mut self, lack: Lack, account: &str, figure: &str) -> bool {
        let key = (lack, account.to_owned(), figure.to_owned());
        if self.lacking.remove(&key) {
            return false;
        }
        self.asked = self.asked.wrapping_add(1);
        self.asked.is_multiple_of(ONE_IN) && self.lacking.insert(key)
    }

    /// Rows of balances that are nobody's balance.
    pub(super) fn balances(&self) -> Vec<Value> {
        if !self.is_odd {
            return Vec::new();
        }
        vec![
            json!({"symbol": "ETH", "amount": "1.5"}),
            json!({"symbol": "ABC", "amount": "100000000"}),
            json!({"symbol": "XYZ24", "amount": "77"}),
            json!({"symbol": "USDC", "amount": "123456789"}),
            json!({"symbol": "GBPX", "amount": null}),
        ]
    }

    /// Tokens of all kinds.
    pub(super) fn tokens(&self) -> Vec<Value> {
        if !self.is_odd {
            return Vec::new();
        }
        vec![
            json!({"symbol": "ETH", "decimals": 18, "isFiat": false}),
            json!({"symbol": "ABC", "decimals": 2, "isFiat": false}),
            json!({"symbol": "EUR24", "decimals": 2, "isFiat": true}),
            json!({"symbol": "XYZ24", "decimals": 2, "isFiat": true}),
            json!({"symbol": "QQ", "decimals": "two", "isFiat": true}),
            json!({"name": "nameless"}),
        ]
    }

    /// A row of a list that nobody can read.
    pub(super) fn row(&mut self, account: &str) -> Option<Value> {
        let is_odd = self.spoils(account, "row");
        is_odd.then(|| json!({"urId": account, "type": "CRD", "amount": "a lot", "currency": "eur"}))
    }

    /// A rate and its spread, as UR shows them.
    pub(super) fn rate(&mut self, (rate, spread): (&str, &str)) -> Value {
        self.rates = self.rates.wrapping_add(1);
        let is_due = self.rates.is_multiple_of(ONE_RATE_IN);
        let whole = rate.split('.').next().unwrap_or_default();
        match (self.rates / ONE_RATE_IN) % 4 {
            _ if !is_due => {}
            0 if self.omits => return json!({}),
            1 if self.is_odd => return json!({"rate": format!("1{rate}"), "exchangeSpread": spread}),
            2 if self.is_odd => return json!({"rate": rate, "exchangeSpread": "0.0150"}),
            // A dollar's whole number of yuan is near enough to be plausible.
            3 if self.is_odd && whole.len() == 1 && whole < "2" => {
                return json!({"rate": "1", "exchangeSpread": spread});
            }
            _ => {}
        }
        json!({"rate": rate, "exchangeSpread": spread})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_figure_is_lacking_twice_in_a_row() {
        let mut quirks = Quirks::new(true, true);
        let mut lacks = || (quirks.leaves_out("1", "EUR"), quirks.spoils("1", "EUR")).0;
        let lacking: Vec<_> = (0..100).map(|_| lacks()).collect();
        assert!(lacking.contains(&true));
        assert!(!lacking.windows(2).any(|two| two == [true, true]));
        assert!(!(0..100).any(|_| Quirks::default().leaves_out("1", "EUR")));
    }
}
