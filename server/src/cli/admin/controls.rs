//! Controls as people read them.

use serde::Deserialize;

use crate::cli::ui::amounts::{Money, chf};
use crate::cli::ui::screen::Text;
use crate::cli::ui::when::duration;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::cli) struct Controls {
    transaction_amount_max: Option<Money>,
    velocity: Vec<Velocity>,
    mcc_block: Vec<Text>,
    merchant_block: Vec<Text>,
    country_block: Vec<Text>,
    channel_block: Vec<Text>,
    mcc_allow: Vec<Text>,
    merchant_allow: Vec<Text>,
    country_allow: Vec<Text>,
    channel_allow: Vec<Text>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Velocity {
    window_seconds: i64,
    window: Option<Text>,
    zone: Text,
    amount_max_chf: Option<Text>,
    count_max: Option<u64>,
}

impl Controls {
    /// One line for each restriction.
    pub(in crate::cli) fn lines(&self) -> Vec<String> {
        let most = self.transaction_amount_max.as_ref().map(|max| format!("at most {max} a transaction"));
        let velocity = self.velocity.iter().map(|rule| {
            let amount = rule.amount_max_chf.as_ref().map(|max| chf(max.as_str()));
            let count = rule.count_max.map(|max| format!("{max} approvals"));
            let bounds: Vec<_> = [amount, count].into_iter().flatten().collect();
            let time = match &rule.window {
                Some(window) => format!("a calendar {window} of {}", rule.zone),
                None => format!("in {}", duration(rule.window_seconds)),
            };
            format!("at most {} {time}", bounds.join(" and "))
        });
        let lists = [
            ("blocked categories", &self.mcc_block),
            ("blocked merchants", &self.merchant_block),
            ("blocked countries", &self.country_block),
            ("blocked channels", &self.channel_block),
            ("only categories", &self.mcc_allow),
            ("only merchants", &self.merchant_allow),
            ("only countries", &self.country_allow),
            ("only channels", &self.channel_allow),
        ];
        let lists = lists.into_iter().filter(|(_, list)| !list.is_empty()).map(|(what, list)| {
            let list: Vec<_> = list.iter().map(Text::as_str).collect();
            format!("{what}: {}", list.join(", "))
        });
        most.into_iter().chain(velocity).chain(lists).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_restriction_is_a_line() {
        let controls: Controls = serde_json::from_value(serde_json::json!({
            "transaction_amount_max": {"amount": "5000", "currency": "EUR"},
            "velocity": [
                {"window_seconds": 3600, "amount_max_chf": null, "count_max": 5},
                {"window_seconds": 86400, "amount_max_chf": "50000", "count_max": 20},
                {"window": "month", "zone": "Europe/Zurich", "amount_max_chf": "90000", "count_max": null},
            ],
            "mcc_block": ["7995", "0742"], "merchant_block": [], "country_block": ["PRK"], "channel_block": ["atm"],
            "mcc_allow": ["5411"], "merchant_allow": ["m_1", "m_2"], "country_allow": ["CHE"], "channel_allow": ["pos"],
        }))
        .unwrap();
        let expected = [
            "at most 50.00 EUR a transaction",
            "at most 5 approvals in 1 h",
            "at most 500.00 CHF and 20 approvals in 1 d",
            "at most 900.00 CHF a calendar month of Europe/Zurich",
            "blocked categories: 7995, 0742",
            "blocked countries: PRK",
            "blocked channels: atm",
            "only categories: 5411",
            "only merchants: m_1, m_2",
            "only countries: CHE",
            "only channels: pos",
        ];
        assert_eq!(controls.lines(), expected);
    }
}
