//! The admin API's resources and requests. People mistype, so unknown fields are refused.

pub mod alerts;
pub mod authorizations;
pub mod breaks;
pub mod calendar;
pub mod controls;
pub mod journal;
pub mod pools;
pub mod prefunds;
pub mod standing;
pub mod users;

use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use tapgate_engine::money::Money;

use super::{Digits, Malformed};

/// Reads a request.
///
/// # Errors
/// Not JSON, or a field that is missing, unknown or of the wrong type.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Malformed> {
    serde_json::from_slice(body).map_err(|error| Malformed(error.to_string()))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MoneyForm {
    amount: Digits,
    currency: String,
}

impl MoneyForm {
    /// # Errors
    /// Not an amount or not a currency; the message names `field`.
    pub fn money(&self, field: &str) -> Result<Money, Malformed> {
        Ok(Money {
            amount: super::forms::amount(&format!("{field}.amount"), &self.amount.0)?,
            currency: super::forms::parsed(&format!("{field}.currency"), &self.currency)?,
        })
    }

    /// A figure that may be below zero.
    ///
    /// # Errors
    /// As [`MoneyForm::money`].
    pub fn signed_money(&self, field: &str) -> Result<Money, Malformed> {
        Ok(Money {
            amount: super::forms::signed_amount(&format!("{field}.amount"), &self.amount.0)?,
            currency: super::forms::parsed(&format!("{field}.currency"), &self.currency)?,
        })
    }
}

/// In bytes. Bounded because the journal keeps reasons for ever and notifications quote them.
const REASON_BYTES_MAX: usize = 1_024;

pub(crate) fn reason<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let reason = String::deserialize(deserializer)?;
    if reason.len() > REASON_BYTES_MAX {
        return Err(D::Error::custom(format!("reason must be at most {REASON_BYTES_MAX} bytes")));
    }
    Ok(reason)
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReasonForm {
    /// At most 1,024 bytes.
    #[serde(default, deserialize_with = "reason")]
    pub reason: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SuspensionForm {
    pub suspended: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProgramForm {
    pub suspended: bool,
    /// At most 1,024 bytes.
    #[serde(default, deserialize_with = "reason")]
    pub reason: String,
    /// The provider whose cards are meant; absent: the whole program.
    pub provider: Option<users::ProviderForm>,
}

pub(super) fn money(money: Money) -> Value {
    json!({"amount": money.amount.to_string(), "currency": money.currency.as_str()})
}
