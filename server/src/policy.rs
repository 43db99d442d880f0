//! The engine's policy from the configuration.

use compact_str::CompactString;
use tapgate_engine::fact::{Channel, Controls, FundingPolicy, VelocityRule};
use tapgate_engine::ledger::Policy;
use tapgate_engine::money::{ChfMinor, Currency, CurrencyError, Minor, Money};

use crate::config::{self, Config};

/// What the engine decides by.
///
/// # Errors
/// A currency that the configuration let pass is none.
pub fn policy(config: &Config) -> Result<Policy, CurrencyError> {
    let decision = &config.decision;
    // With feeds off, figures are set by people, and age says nothing about them.
    let aging = |seconds: u32| config.ur.feeds.then_some(u64::from(seconds));
    Ok(Policy {
        funding: match decision.funding {
            config::FundingPolicy::Crypto => FundingPolicy::Crypto,
            config::FundingPolicy::Fiat => FundingPolicy::Fiat,
            config::FundingPolicy::CryptoThenFiat => FundingPolicy::CryptoThenFiat,
            config::FundingPolicy::FiatThenCrypto => FundingPolicy::FiatThenCrypto,
        },
        protect_runway: decision.protect_runway,
        limit_weight: decision.limit_weight,
        fx_buffer_bps: decision.fx_buffer_bps,
        partial_approval: decision.partial_approval,
        rates_max_age_seconds: aging(decision.rates_max_age_seconds),
        state_max_age_seconds: aging(decision.state_max_age_seconds),
        credits_count_at_once: !config.ur.feeds,
        controls: controls(&config.controls)?,
    })
}

fn controls(controls: &config::Controls) -> Result<Controls, CurrencyError> {
    let minor = |amount: u64| i64::try_from(amount).unwrap_or(i64::MAX);
    let texts = |list: &[String]| list.iter().map(CompactString::from).collect();
    let max = controls
        .transaction_amount_max
        .as_ref()
        .map(|max| Ok(Money { amount: Minor(minor(max.amount)), currency: Currency::try_from(max.currency)? }));
    let velocity = controls.velocity.iter().map(|rule| VelocityRule {
        window_seconds: rule.window_seconds,
        amount_max: rule.amount_max_chf.map(|amount| ChfMinor(minor(amount))),
        count_max: rule.count_max,
    });
    Ok(Controls {
        transaction_amount_max: max.transpose()?,
        velocity: velocity.collect(),
        mcc_block: controls.mcc_block.clone(),
        merchant_block: texts(&controls.merchant_block),
        country_block: texts(&controls.country_block),
        channel_block: controls.channel_block.iter().map(channel).collect(),
    })
}

fn channel(channel: &config::Channel) -> Channel {
    match channel {
        config::Channel::Pos => Channel::Pos,
        config::Channel::Contactless => Channel::Contactless,
        config::Channel::Ecommerce => Channel::Ecommerce,
        config::Channel::Recurring => Channel::Recurring,
        config::Channel::Atm => Channel::Atm,
        config::Channel::Other => Channel::Other,
    }
}
