//! Controls as JSON.

use compact_str::CompactString;
use serde::Deserialize;
use serde_json::{Value, json};
use tapgate_engine::fact::{Channel, Controls, VelocityRule};
use tapgate_engine::money::ChfMinor;

use super::super::forms::amount;
use super::{Digits, Malformed, MoneyForm, money};

/// The restrictions; an absent key restricts nothing.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ControlsForm {
    transaction_amount_max: Option<MoneyForm>,
    velocity: Vec<VelocityForm>,
    mcc_block: Vec<Digits>,
    merchant_block: Vec<String>,
    country_block: Vec<String>,
    channel_block: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct VelocityForm {
    window_seconds: u32,
    amount_max_chf: Option<Digits>,
    count_max: Option<u32>,
}

const CHANNELS: [(&str, Channel); 6] = [
    ("pos", Channel::Pos),
    ("contactless", Channel::Contactless),
    ("ecommerce", Channel::Ecommerce),
    ("recurring", Channel::Recurring),
    ("atm", Channel::Atm),
    ("other", Channel::Other),
];

#[must_use]
pub fn channel_name(channel: Channel) -> &'static str {
    CHANNELS.into_iter().find(|(_, known)| *known == channel).map_or("other", |(name, _)| name)
}

impl ControlsForm {
    /// # Errors
    /// A value is malformed; the message names its field.
    pub fn controls(self) -> Result<Controls, Malformed> {
        let max = self.transaction_amount_max.as_ref().map(|max| max.money("transaction_amount_max"));
        let velocity = self.velocity.iter().map(|rule| {
            let chf = rule.amount_max_chf.as_ref().map(|Digits(text)| amount("velocity.amount_max_chf", text));
            Ok(VelocityRule {
                window_seconds: rule.window_seconds,
                amount_max: chf.transpose()?.map(|amount| ChfMinor(amount.0)),
                count_max: rule.count_max,
            })
        });
        let mcc = |Digits(text): &Digits| {
            let fits = text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse()
                .ok()
                .filter(|_| fits)
                .ok_or_else(|| Malformed(format!("mcc_block: {text:?} is not a category")))
        };
        let channel = |name: &String| {
            let known = CHANNELS.into_iter().find(|(known, _)| known == name);
            known.map(|(_, channel)| channel).ok_or_else(|| Malformed(format!("channel_block: {name:?} is no channel")))
        };
        Ok(Controls {
            transaction_amount_max: max.transpose()?,
            velocity: velocity.collect::<Result<_, Malformed>>()?,
            mcc_block: self.mcc_block.iter().map(mcc).collect::<Result<_, _>>()?,
            merchant_block: self.merchant_block.into_iter().map(CompactString::from).collect(),
            country_block: self.country_block.into_iter().map(CompactString::from).collect(),
            channel_block: self.channel_block.iter().map(channel).collect::<Result<_, _>>()?,
        })
    }
}

/// `null` restricts nothing.
#[must_use]
pub fn view(controls: Option<&Controls>) -> Value {
    let Some(controls) = controls else { return Value::Null };
    let velocity = controls.velocity.iter().map(|rule| {
        json!({
            "window_seconds": rule.window_seconds,
            "amount_max_chf": rule.amount_max.map(|amount| amount.to_string()),
            "count_max": rule.count_max,
        })
    });
    json!({
        "transaction_amount_max": controls.transaction_amount_max.map(money),
        "velocity": velocity.collect::<Vec<_>>(),
        "mcc_block": controls.mcc_block.iter().map(|mcc| format!("{mcc:04}")).collect::<Vec<_>>(),
        "merchant_block": controls.merchant_block.iter().map(CompactString::as_str).collect::<Vec<_>>(),
        "country_block": controls.country_block.iter().map(CompactString::as_str).collect::<Vec<_>>(),
        "channel_block": controls.channel_block.iter().map(|channel| channel_name(*channel)).collect::<Vec<_>>(),
    })
}
