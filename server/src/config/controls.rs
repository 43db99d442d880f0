//! The section `[controls]`: program-wide controls, of the same fields as a user's in `docs/interface.md`.

use super::reader::Reader;
use super::sections::currency;
use super::setting::Setting;

/// Most velocity rules.
const VELOCITY_RULES_MAX: usize = 8;

/// Most entries of one block list.
const BLOCK_LIST_MAX: usize = tapgate_engine::fact::controls::BLOCK_LIST_MAX;

/// Longest velocity window, in seconds: 30 days, UR's limit window.
const WINDOW_SECONDS_MAX: u32 = 2_592_000;

/// Largest count of a velocity rule: within it counting is exact.
const COUNT_MAX: u32 = tapgate_engine::fact::controls::VELOCITY_COUNT_MAX;

/// Largest amount: 10^15 smallest units (docs/interface.md, order of checks).
const AMOUNT_MAX: u64 = 1_000_000_000_000_000;

/// Longest merchant id, in bytes.
const MERCHANT_ID_BYTES_MAX: usize = 128;

/// What is restricted. An empty value restricts nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Controls {
    /// The most one transaction may be.
    pub transaction_amount_max: Option<AmountMax>,
    /// Sliding windows; all must hold. At most 8.
    pub velocity: Vec<Velocity>,
    /// Merchant categories refused (ISO 18245), 0 to 9999. At most 1,000.
    pub mcc_block: Vec<u16>,
    /// Merchant ids refused. At most 1,000.
    pub merchant_block: Vec<String>,
    /// Countries refused: ISO 3166 alpha-3 in capitals. At most 1,000.
    pub country_block: Vec<String>,
    /// Channels refused.
    pub channel_block: Vec<Channel>,
}

/// The most one transaction may be; in another currency it is compared in francs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AmountMax {
    /// In the currency's smallest unit, 0 to 10^15.
    pub amount: u64,
    /// ISO 4217 code: three capital letters.
    pub currency: [u8; 3],
}

/// A bound on approved spending in a sliding window; at least one of its two bounds is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Velocity {
    /// Length of the window, in seconds, 1 to 2,592,000.
    pub window_seconds: u32,
    /// The most in the window, in centimes of a franc, 0 to 10^15.
    pub amount_max_chf: Option<u64>,
    /// The most approvals in the window, 0 to 2,000.
    pub count_max: Option<u32>,
}

/// How a card is used (docs/interface.md, `channel`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Chip or stripe at a terminal.
    Pos,
    /// Tapped at a terminal.
    Contactless,
    /// Card not present.
    Ecommerce,
    /// A merchant-initiated, repeated charge.
    Recurring,
    /// Cash.
    Atm,
    /// Anything else, or not given.
    Other,
}

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

fn amount_max(reader: &mut Reader<'_>) -> Option<AmountMax> {
    let setting = reader.find("controls.transaction_amount_max")?;
    let fields = reader.table(&setting, &["amount", "currency"])?;
    let amount = reader.required_field(&fields, "amount", amount);
    let currency = reader.required_field(&fields, "currency", |setting| setting.parsed(currency));
    Some(AmountMax { amount: amount?, currency: currency? })
}

fn velocity<'a>(reader: &mut Reader<'a>, item: &Setting<'a>) -> Option<Velocity> {
    let fields = reader.table(item, &["window_seconds", "amount_max_chf", "count_max"])?;
    let window_seconds =
        reader.required_field(&fields, "window_seconds", |setting| setting.integer(1..=WINDOW_SECONDS_MAX));
    let amount_max_chf = reader.field(&fields, "amount_max_chf", amount);
    let count_max = reader.field(&fields, "count_max", |setting| setting.integer(0..=COUNT_MAX));
    if !fields.has("amount_max_chf") && !fields.has("count_max") {
        reader.report(item, "bounds nothing: give amount_max_chf, count_max or both".to_owned());
    }
    Some(Velocity { window_seconds: window_seconds?, amount_max_chf, count_max })
}

/// An amount in smallest units: a string of digits as on the wire, or an integer.
fn amount(setting: &Setting<'_>) -> Result<u64, String> {
    let Ok(text) = setting.text() else {
        return setting.integer(0..=AMOUNT_MAX);
    };
    setting.parsed(|_| {
        let is_canonical = text == "0" || text.bytes().next().is_some_and(|digit| (b'1'..=b'9').contains(&digit));
        let amount = text.parse().ok().filter(|amount| is_canonical && *amount <= AMOUNT_MAX);
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

fn merchant_id(text: &str) -> Result<String, String> {
    let fits = (1..=MERCHANT_ID_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control);
    if fits { Ok(text.to_owned()) } else { Err(format!("must be 1 to {MERCHANT_ID_BYTES_MAX} printable bytes")) }
}

fn country(text: &str) -> Result<String, &'static str> {
    let is_alpha_3 = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_alphabetic());
    if is_alpha_3 { Ok(text.to_ascii_uppercase()) } else { Err("must be a country of three letters, such as CHE") }
}
