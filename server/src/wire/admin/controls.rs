//! Controls as JSON.

use compact_str::CompactString;
use serde::Deserialize;
use serde_json::{Value, json};
use tapgate_engine::country::Country;
use tapgate_engine::fact::{Controls, ControlsError, VelocityRule};
use tapgate_engine::ids::CardId;
use tapgate_engine::ledger::Change;
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
    mcc_allow: Vec<Digits>,
    merchant_allow: Vec<String>,
    country_allow: Vec<String>,
    channel_allow: Vec<String>,
    /// Of a card only, and kept where it is absent.
    single_use: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct VelocityForm {
    window_seconds: Option<u32>,
    window: Option<String>,
    zone: Option<String>,
    amount_max_chf: Option<Digits>,
    count_max: Option<u32>,
}

impl ControlsForm {
    /// The changes of a card.
    ///
    /// # Errors
    /// As [`ControlsForm::controls`].
    pub fn card_changes(mut self, card: &CardId) -> Result<Vec<Change>, Malformed> {
        let used = self.single_use.take().map(|single_use| Change::SetCardUse { card: card.clone(), single_use });
        let controls = Change::ControlCard { card: card.clone(), controls: self.controls()? };
        Ok([controls].into_iter().chain(used).collect())
    }

    /// # Errors
    /// A value is malformed, or for a card only; the message names its field.
    pub fn controls(self) -> Result<Controls, Malformed> {
        if self.single_use.is_some() {
            return Err(Malformed("single_use: only a card can be single-use".to_owned()));
        }
        let max = self.transaction_amount_max.as_ref().map(|max| max.money("transaction_amount_max"));
        let velocity = self.velocity.iter().map(|rule| {
            let chf = rule.amount_max_chf.as_ref().map(|Digits(text)| amount("velocity.amount_max_chf", text));
            let period = VelocityRule::period(rule.window_seconds, rule.window.as_deref(), rule.zone.as_deref());
            Ok(VelocityRule {
                period: period.map_err(|error| Malformed(format!("velocity: {error}")))?,
                amount_max: chf.transpose()?.map(|amount| ChfMinor(amount.0)),
                count_max: rule.count_max,
            })
        });
        Ok(Controls {
            transaction_amount_max: max.transpose()?,
            velocity: velocity.collect::<Result<_, Malformed>>()?,
            mcc_block: entries("mcc_block", digits(&self.mcc_block), Controls::category)?,
            merchant_block: entries("merchant_block", texts(&self.merchant_block), Controls::merchant)?,
            country_block: entries("country_block", texts(&self.country_block), Controls::country)?,
            channel_block: entries("channel_block", texts(&self.channel_block), Controls::channel)?,
            mcc_allow: entries("mcc_allow", digits(&self.mcc_allow), Controls::category)?,
            merchant_allow: entries("merchant_allow", texts(&self.merchant_allow), Controls::merchant)?,
            country_allow: entries("country_allow", texts(&self.country_allow), Controls::country)?,
            channel_allow: entries("channel_allow", texts(&self.channel_allow), Controls::channel)?,
        })
    }
}

fn texts(list: &[String]) -> impl Iterator<Item = &str> {
    list.iter().map(String::as_str)
}

fn digits(list: &[Digits]) -> impl Iterator<Item = &str> {
    list.iter().map(|Digits(text)| text.as_str())
}

fn entries<'a, T>(
    field: &str,
    list: impl Iterator<Item = &'a str>,
    read: impl Fn(&str) -> Result<T, ControlsError>,
) -> Result<Vec<T>, Malformed> {
    list.map(|text| read(text).map_err(|error| Malformed(format!("{field}: {error}")))).collect()
}

/// `null` restricts nothing.
#[must_use]
pub fn view(controls: Option<&Controls>) -> Value {
    let Some(controls) = controls else { return Value::Null };
    let velocity = controls.velocity.iter().map(|rule| {
        let (amount, count) = (rule.amount_max.map(|amount| amount.to_string()), rule.count_max);
        match rule.period.named() {
            Some((window, zone)) => {
                json!({"window": window, "zone": zone.name(), "amount_max_chf": amount, "count_max": count})
            }
            None => {
                json!({"window_seconds": rule.period.seconds(), "amount_max_chf": amount, "count_max": count})
            }
        }
    });
    json!({
        "transaction_amount_max": controls.transaction_amount_max.map(money),
        "velocity": velocity.collect::<Vec<_>>(),
        "mcc_block": categories(&controls.mcc_block),
        "merchant_block": controls.merchant_block.iter().map(CompactString::as_str).collect::<Vec<_>>(),
        "country_block": controls.country_block.iter().map(Country::as_str).collect::<Vec<_>>(),
        "channel_block": controls.channel_block.iter().map(|channel| channel.name()).collect::<Vec<_>>(),
        "mcc_allow": categories(&controls.mcc_allow),
        "merchant_allow": controls.merchant_allow.iter().map(CompactString::as_str).collect::<Vec<_>>(),
        "country_allow": controls.country_allow.iter().map(Country::as_str).collect::<Vec<_>>(),
        "channel_allow": controls.channel_allow.iter().map(|channel| channel.name()).collect::<Vec<_>>(),
    })
}

fn categories(list: &[u16]) -> Vec<String> {
    list.iter().map(|mcc| format!("{mcc:04}")).collect()
}
