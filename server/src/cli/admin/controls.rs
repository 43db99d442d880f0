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
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Velocity {
    window_seconds: i64,
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
            format!("at most {} in {}", bounds.join(" and "), duration(rule.window_seconds))
        });
        let blocks = [
            ("categories", &self.mcc_block),
            ("merchants", &self.merchant_block),
            ("countries", &self.country_block),
            ("channels", &self.channel_block),
        ];
        let blocks = blocks.into_iter().filter(|(_, blocked)| !blocked.is_empty()).map(|(what, blocked)| {
            let blocked: Vec<_> = blocked.iter().map(Text::as_str).collect();
            format!("blocked {what}: {}", blocked.join(", "))
        });
        most.into_iter().chain(velocity).chain(blocks).collect()
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
            ],
            "mcc_block": ["7995", "0742"], "merchant_block": [], "country_block": ["PRK"], "channel_block": ["atm"],
        }))
        .unwrap();
        let expected = [
            "at most 50.00 EUR a transaction",
            "at most 5 approvals in 1 h",
            "at most 500.00 CHF and 20 approvals in 1 d",
            "blocked categories: 7995, 0742",
            "blocked countries: PRK",
            "blocked channels: atm",
        ];
        assert_eq!(controls.lines(), expected);
    }
}
