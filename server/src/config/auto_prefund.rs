//! The section `[treasury.auto_prefund]`: top-ups that tapgate orders from UR, and their bounds.

use tapgate_engine::money::Minor;

use super::reader::Reader;
use crate::provider::prefunding::{AutoPrefund, AutoPrefundMode};

/// Largest bound, in whole USDC: 10^9, which in millionths is the largest amount.
const USDC_MAX: u64 = 1_000_000_000;

/// Millionths of a USDC.
const USDC: i64 = 1_000_000;

/// Largest tolerance, in basis points: a tenth.
const TOLERANCE_BPS_MAX: u16 = 1_000;

/// Default tolerance: the fees and the spread of UR's published contract, with a margin.
const TOLERANCE_BPS: u16 = 250;

const KEYS: [&str; 4] = ["mode", "daily_max_usdc", "single_max_usdc", "quote_tolerance_bps"];

const OFF: AutoPrefund = AutoPrefund {
    mode: AutoPrefundMode::Off,
    daily_max: Minor::ZERO,
    single_max: Minor::ZERO,
    quote_tolerance_bps: TOLERANCE_BPS,
};

pub(super) fn auto_prefund(reader: &mut Reader<'_>, is_fed: bool) -> AutoPrefund {
    let Some(setting) = reader.find("treasury.auto_prefund") else { return OFF };
    let Some(fields) = reader.table(&setting, &KEYS) else { return OFF };
    let modes: Vec<_> = AutoPrefundMode::ALL.iter().map(|mode| (mode.name(), *mode)).collect();
    let mode = reader.required_field(&fields, "mode", |setting| setting.word(&modes)).unwrap_or(AutoPrefundMode::Off);
    let mut usdc = |key| reader.field(&fields, key, |setting| setting.integer(1..=USDC_MAX));
    let (daily, single) = (usdc("daily_max_usdc"), usdc("single_max_usdc"));
    let tolerance = reader.field(&fields, "quote_tolerance_bps", |setting| setting.integer(0..=TOLERANCE_BPS_MAX));
    if mode != AutoPrefundMode::Off {
        if !fields.has("daily_max_usdc") {
            reader.report(&setting, "needs daily_max_usdc: the most that may be ordered within a day".to_owned());
        }
        if !is_fed {
            reader
                .report(&setting, "needs ur.partner_key, ur.ops_ur_id and ur.feeds = true to order from UR".to_owned());
        }
    }
    if let (Some(daily), Some(single)) = (daily, single)
        && single > daily
    {
        reader.report(&setting, format!("single_max_usdc is {single}, more than daily_max_usdc, {daily}"));
    }
    let millionths = |whole: u64| Minor(i64::try_from(whole).unwrap_or(0).saturating_mul(USDC));
    let daily = daily.unwrap_or(0);
    AutoPrefund {
        mode,
        daily_max: millionths(daily),
        single_max: millionths(single.unwrap_or(daily)),
        quote_tolerance_bps: tolerance.unwrap_or(TOLERANCE_BPS),
    }
}
