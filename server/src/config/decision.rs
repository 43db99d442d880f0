//! The section `[decision]`: the parameters of every decision.

use std::time::Duration;

use tapgate_engine::fact::controls::LIST_MAX;
use tapgate_engine::fact::{
    Controls, FiatChoice, FundingPolicy, HOLD_UPCHARGES_MAX, HoldUpcharge, Lives, STRESS_TIERS_MAX, StressTier,
};
use tapgate_engine::ledger::Policy;
use tapgate_engine::money::{ChfMinor, Currency};

use super::controls::{amount, mcc};
use super::reader::Reader;
use super::reconcile::final_capture_mcc;
use super::sections::MAX_AGE_SECONDS_MAX;
use super::setting::Setting;
use crate::provider::reconciliation;

/// Largest buffer on holds across currencies: half again, in basis points.
const FX_BUFFER_BPS_MAX: u16 = 5_000;

/// Largest share of a reserve below which a stress tier is in force: ten reserves.
const STRESS_PERCENT_MAX: u16 = 1_000;

/// The engine's decision policy. Without feeds people set the figures, so their age means nothing.
pub(super) fn policy(
    reader: &mut Reader<'_>,
    is_fed: bool,
    controls: Controls,
    reconciliation: &reconciliation::Settings,
) -> Policy {
    let funding = [
        ("crypto", FundingPolicy::Crypto),
        ("fiat", FundingPolicy::Fiat),
        ("crypto_then_fiat", FundingPolicy::CryptoThenFiat),
        ("fiat_then_crypto", FundingPolicy::FiatThenCrypto),
    ];
    let funding = reader.value("decision.funding", |setting| setting.word(&funding));
    let protect_runway = reader.value("decision.protect_runway", Setting::boolean);
    let limit_weight = reader.value("decision.limit_weight", |setting| setting.integer(0..=2));
    let fx_buffer_bps = reader.value("decision.fx_buffer_bps", |setting| setting.integer(0..=FX_BUFFER_BPS_MAX));
    let zero_amount_holds = reader.value("decision.zero_amount_holds", |setting| setting.integer(0..=1));
    let fiat_choice = [("account_check", FiatChoice::AccountCheck), ("card", FiatChoice::Card)];
    let fiat_choice = reader.value("decision.fiat_choice", |setting| setting.word(&fiat_choice));
    let partial_approval = reader.value("decision.partial_approval", Setting::boolean);
    let rates_max_age_seconds = max_age(reader, "decision.rates_max_age_seconds", 3_600);
    let state_max_age_seconds = max_age(reader, "decision.state_max_age_seconds", 86_400);
    Policy {
        funding: funding.unwrap_or(FundingPolicy::Crypto),
        protect_runway: protect_runway.unwrap_or(false),
        limit_weight: limit_weight.unwrap_or(1),
        fx_buffer_bps: fx_buffer_bps.unwrap_or(0),
        zero_amount_holds: zero_amount_holds.unwrap_or(1),
        fiat_choice: fiat_choice.unwrap_or(FiatChoice::AccountCheck),
        partial_approval: partial_approval.unwrap_or(false),
        rates_max_age_seconds: is_fed.then_some(rates_max_age_seconds),
        state_max_age_seconds: is_fed.then_some(state_max_age_seconds),
        credits_count_at_once: !is_fed,
        controls,
        hold_upcharge: hold_upcharges(reader),
        stress: reader.list("decision.stress", STRESS_TIERS_MAX, stress).unwrap_or_default(),
        tolerance: reconciliation.tolerance,
        lives: Lives { seconds: reconciliation.expiry_seconds, long_seconds: reconciliation.long_expiry_seconds },
        final_capture_mcc: final_capture_mcc(reader),
    }
}

fn hold_upcharges(reader: &mut Reader<'_>) -> Vec<HoldUpcharge> {
    let mut known = Vec::new();
    let listed = reader.list("decision.hold_upcharge", HOLD_UPCHARGES_MAX, |reader, item| {
        let fields = reader.table(item, &["mcc", "percent"])?;
        let category = reader.required_field(&fields, "mcc", mcc);
        let percent = reader.required_field(&fields, "percent", |setting| setting.integer(1..=100));
        let upcharge = HoldUpcharge { mcc: category?, percent: percent? };
        if known.contains(&upcharge.mcc) {
            reader.report(item, format!("the category {:04} has an upcharge already", upcharge.mcc));
        }
        known.push(upcharge.mcc);
        Some(upcharge)
    });
    listed.unwrap_or_default()
}

fn stress<'a>(reader: &mut Reader<'a>, item: &Setting<'a>) -> Option<StressTier> {
    let fields = reader.table(item, &["below_reserve_percent", "amount_max_chf", "mcc"])?;
    let percent =
        reader.required_field(&fields, "below_reserve_percent", |setting| setting.integer(1..=STRESS_PERCENT_MAX));
    let most = reader.field(&fields, "amount_max_chf", amount).map(|amount| ChfMinor(amount.0));
    let categories = reader.field_list(&fields, "mcc", LIST_MAX, |reader, item| reader.judge(item, mcc(item)));
    if !fields.has("amount_max_chf") && categories.as_ref().is_none_or(Vec::is_empty) {
        reader.report(item, "a stress tier restricts nothing: give amount_max_chf, mcc or both".to_owned());
    }
    Some(StressTier { below_reserve_percent: percent?, amount_max: most, mcc: categories.unwrap_or_default() })
}

fn max_age(reader: &mut Reader<'_>, path: &'static str, default: u64) -> u64 {
    reader.value(path, |setting| setting.integer(1..=MAX_AGE_SECONDS_MAX)).map_or(default, u64::from)
}

pub(super) fn deadline(reader: &mut Reader<'_>) -> Duration {
    let millis = reader.value("decision.deadline_ms", |setting| setting.integer(50..=450));
    Duration::from_millis(millis.unwrap_or(400))
}

pub(super) fn card_currency(reader: &mut Reader<'_>) -> Currency {
    reader.value("decision.card_currency", |setting| setting.parsed(currency)).unwrap_or(Currency::EUR)
}

pub(super) fn currency(text: &str) -> Result<Currency, &'static str> {
    text.parse().map_err(|_| "must be a currency of three capital letters, such as EUR")
}
