//! The section `[controls]`: program-wide controls, with the same fields as a user's in `docs/interface.md`.

use compact_str::CompactString;
use tapgate_engine::fact::controls::{BLOCK_LIST_MAX, VELOCITY_COUNT_MAX, VELOCITY_RULES_MAX};
use tapgate_engine::fact::{Channel, Controls, VelocityRule};
use tapgate_engine::money::{AMOUNT_MAX, ChfMinor, Minor, Money};

use super::decision::currency;
use super::reader::Reader;
use super::setting::Setting;

/// Longest velocity window, in seconds: 30 days, UR's limit window.
const WINDOW_SECONDS_MAX: u32 = 2_592_000;

/// Longest merchant id, in bytes.
const MERCHANT_ID_BYTES_MAX: usize = 128;

pub(super) fn controls(reader: &mut Reader<'_>) -> Controls {
    let channels = [
        ("pos", Channel::Pos),
        ("contactless", Channel::Contactless),
        ("ecommerce", Channel::Ecommerce),
        ("recurring", Channel::Recurring),
        ("atm", Channel::Atm),
        ("other", Channel::Other),
    ];
    Controls {
        transaction_amount_max: amount_max(reader),
        velocity: reader.list("controls.velocity", VELOCITY_RULES_MAX, velocity).unwrap_or_default(),
        mcc_block: block_list(reader, "controls.mcc_block", mcc),
        merchant_block: block_list(reader, "controls.merchant_block", |item| item.parsed(merchant_id)),
        country_block: block_list(reader, "controls.country_block", |item| item.parsed(country)),
        channel_block: block_list(reader, "controls.channel_block", |item| item.word(&channels)),
    }
}

fn block_list<T>(
    reader: &mut Reader<'_>,
    path: &'static str,
    read: impl Fn(&Setting<'_>) -> Result<T, String>,
) -> Vec<T> {
    reader.list(path, BLOCK_LIST_MAX, |reader, item| reader.judge(item, read(item))).unwrap_or_default()
}

fn amount_max(reader: &mut Reader<'_>) -> Option<Money> {
    let setting = reader.find("controls.transaction_amount_max")?;
    let fields = reader.table(&setting, &["amount", "currency"])?;
    let amount = reader.required_field(&fields, "amount", amount);
    let currency = reader.required_field(&fields, "currency", |setting| setting.parsed(currency));
    Some(Money { amount: amount?, currency: currency? })
}

fn velocity<'a>(reader: &mut Reader<'a>, item: &Setting<'a>) -> Option<VelocityRule> {
    let fields = reader.table(item, &["window_seconds", "amount_max_chf", "count_max"])?;
    let window_seconds =
        reader.required_field(&fields, "window_seconds", |setting| setting.integer(1..=WINDOW_SECONDS_MAX));
    let amount_max = reader.field(&fields, "amount_max_chf", amount).map(|amount| ChfMinor(amount.0));
    let count_max = reader.field(&fields, "count_max", |setting| setting.integer(0..=VELOCITY_COUNT_MAX));
    if !fields.has("amount_max_chf") && !fields.has("count_max") {
        reader.report(item, "bounds nothing: give amount_max_chf, count_max or both".to_owned());
    }
    Some(VelocityRule { window_seconds: window_seconds?, amount_max, count_max })
}

/// An amount in smallest units: a string of digits as on the wire, or an integer.
fn amount(setting: &Setting<'_>) -> Result<Minor, String> {
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

/// A category: four digits in a string, or an integer.
fn mcc(setting: &Setting<'_>) -> Result<u16, String> {
    if setting.text().is_err() {
        return setting.integer(0..=9_999);
    }
    setting.parsed(|text| {
        let is_category = text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|_| is_category).ok_or("must be a merchant category of four digits")
    })
}

fn merchant_id(text: &str) -> Result<CompactString, String> {
    let fits = (1..=MERCHANT_ID_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control);
    if fits { Ok(text.into()) } else { Err(format!("must be 1 to {MERCHANT_ID_BYTES_MAX} printable bytes")) }
}

fn country(text: &str) -> Result<CompactString, &'static str> {
    let is_alpha_3 = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_alphabetic());
    if is_alpha_3 {
        Ok(text.to_ascii_uppercase().into())
    } else {
        Err("must be a country of three letters, such as CHE")
    }
}
