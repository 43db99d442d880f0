//! The section `[controls]`: program-wide controls, with the same fields as a user's in `docs/interface.md`.

use tapgate_engine::fact::controls::{LIST_MAX, VELOCITY_RULES_MAX};
use tapgate_engine::fact::{Controls, ControlsError, VelocityRule};
use tapgate_engine::money::{AMOUNT_MAX, ChfMinor, Minor, Money};

use super::decision::currency;
use super::reader::Reader;
use super::setting::Setting;

pub(super) fn controls(reader: &mut Reader<'_>) -> Controls {
    let [mcc_block, mcc_allow] = lists(reader, ["controls.mcc_block", "controls.mcc_allow"], mcc);
    let [merchant_block, merchant_allow] =
        lists(reader, ["controls.merchant_block", "controls.merchant_allow"], |item| {
            entry(item.text()?, Controls::merchant)
        });
    let [country_block, country_allow] = lists(reader, ["controls.country_block", "controls.country_allow"], |item| {
        entry(item.text()?, Controls::country)
    });
    let [channel_block, channel_allow] = lists(reader, ["controls.channel_block", "controls.channel_allow"], |item| {
        entry(item.text()?, Controls::channel)
    });
    Controls {
        transaction_amount_max: amount_max(reader),
        velocity: reader.list("controls.velocity", VELOCITY_RULES_MAX, velocity).unwrap_or_default(),
        mcc_block,
        merchant_block,
        country_block,
        channel_block,
        mcc_allow,
        merchant_allow,
        country_allow,
        channel_allow,
    }
}

/// A field's block list and allow list. What one of them blocks the other must not allow.
fn lists<T: PartialEq>(
    reader: &mut Reader<'_>,
    paths: [&'static str; 2],
    read: impl Fn(&Setting<'_>) -> Result<T, String>,
) -> [Vec<T>; 2] {
    let [block_path, allow_path] = paths;
    let blocked = list(reader, block_path, &read);
    let allowed = list(reader, allow_path, |item| {
        let value = read(item)?;
        if blocked.contains(&value) { Err(format!("is in {block_path}, too: it could never match")) } else { Ok(value) }
    });
    [blocked, allowed]
}

fn list<T>(reader: &mut Reader<'_>, path: &'static str, read: impl Fn(&Setting<'_>) -> Result<T, String>) -> Vec<T> {
    reader.list(path, LIST_MAX, |reader, item| reader.judge(item, read(item))).unwrap_or_default()
}

fn amount_max(reader: &mut Reader<'_>) -> Option<Money> {
    let setting = reader.find("controls.transaction_amount_max")?;
    let fields = reader.table(&setting, &["amount", "currency"])?;
    let amount = reader.required_field(&fields, "amount", amount);
    let currency = reader.required_field(&fields, "currency", |setting| setting.parsed(currency));
    Some(Money { amount: amount?, currency: currency? })
}

fn velocity<'a>(reader: &mut Reader<'a>, item: &Setting<'a>) -> Option<VelocityRule> {
    let fields = reader.table(item, &["window_seconds", "window", "zone", "amount_max_chf", "count_max"])?;
    let text = |setting: &Setting<'a>| setting.text().map(str::to_owned);
    let seconds = reader.field(&fields, "window_seconds", |setting| setting.integer(0..=u32::MAX));
    let window = reader.field(&fields, "window", text);
    let zone = reader.field(&fields, "zone", text);
    let amount_max = reader.field(&fields, "amount_max_chf", amount).map(|amount| ChfMinor(amount.0));
    let count_max = reader.field(&fields, "count_max", |setting| setting.integer(0..=u32::MAX));
    let was_reported = |field: &str, is_read: bool| fields.has(field) && !is_read;
    let are_read = [
        ("window_seconds", seconds.is_some()),
        ("window", window.is_some()),
        ("zone", zone.is_some()),
        ("amount_max_chf", amount_max.is_some()),
        ("count_max", count_max.is_some()),
    ];
    if are_read.into_iter().any(|(field, is_read)| was_reported(field, is_read)) {
        return None;
    }
    let rule = VelocityRule::period(seconds, window.as_deref(), zone.as_deref()).and_then(|period| {
        let rule = VelocityRule { period, amount_max, count_max };
        rule.validate().map(|()| rule)
    });
    reader.judge(item, rule.map_err(|error| error.to_string()))
}

/// An amount in smallest units: a string of digits as on the wire, or an integer.
pub(super) fn amount(setting: &Setting<'_>) -> Result<Minor, String> {
    let Ok(text) = setting.text() else {
        let amount = setting.integer(0..=AMOUNT_MAX.0.unsigned_abs())?;
        return Ok(i64::try_from(amount).map_or(AMOUNT_MAX, Minor));
    };
    setting.parsed(|_| {
        let is_canonical = text == "0" || text.bytes().next().is_some_and(|digit| (b'1'..=b'9').contains(&digit));
        let amount = text.parse().ok().map(Minor).filter(|amount| is_canonical && *amount <= AMOUNT_MAX);
        amount.ok_or_else(|| format!("must be 0 to {AMOUNT_MAX} in the smallest unit, digits only"))
    })
}

/// A category: its digits in a string, or an integer.
pub(super) fn mcc(setting: &Setting<'_>) -> Result<u16, String> {
    if setting.text().is_err() {
        let number: u16 = setting.integer(0..=u16::MAX)?;
        return entry(&number.to_string(), Controls::category);
    }
    entry(setting.text()?, Controls::category)
}

/// The engine's error names the entry.
fn entry<T>(text: &str, read: impl FnOnce(&str) -> Result<T, ControlsError>) -> Result<T, String> {
    read(text).map_err(|error| error.to_string())
}
