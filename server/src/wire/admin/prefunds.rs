//! Prefunds as the admin API shows them, and what is asked about them.

use serde::Deserialize;
use serde_json::{Value, json};
use tapgate_engine::money::Currency;
use tapgate_engine::prefund::{Prefund, PrefundProposed, PrefundSent, Step};
use tapgate_engine::time::UnixMillis;

use super::super::forms::{amount, parsed, unix_seconds};
use super::{Digits, Malformed};

/// A prefund as it stands at `now`.
#[must_use]
pub fn view(prefund: &Prefund, now: UnixMillis) -> Value {
    let cancelled = prefund
        .cancelled
        .as_ref()
        .map(|(step, reason)| json!({"at": step.at.seconds().0, "by": step.by.as_str(), "reason": reason.as_str()}));
    json!({
        "id": prefund.id.to_string(),
        "currency": prefund.currency.as_str(),
        "amount": prefund.amount.to_string(),
        "reference": prefund.reference.as_str(),
        "requestId": prefund.request_id.as_deref(),
        "state": prefund.state(now).name(),
        "proposed": step(prefund.proposed.as_ref()),
        "approved": step(prefund.approved.as_ref()),
        "sent": step(prefund.sent.as_ref()),
        "expectedAt": time(prefund.expected_at),
        "credited": prefund.credited.to_string(),
        "creditedAt": time(prefund.credited_at),
        "cancelled": cancelled,
    })
}

fn step(step: Option<&Step>) -> Option<Value> {
    step.map(|step| json!({"at": step.at.seconds().0, "by": step.by.as_str()}))
}

fn time(at: Option<UnixMillis>) -> Option<i64> {
    at.map(|at| at.seconds().0)
}

/// What was proposed.
pub(super) fn proposed(proposed: &PrefundProposed) -> Value {
    let PrefundProposed { currency, amount, reference, request_id, expected_at } = proposed;
    json!({
        "currency": currency.as_str(), "amount": amount.to_string(), "reference": reference.as_str(),
        "requestId": request_id.as_str(), "expectedAt": time(*expected_at),
    })
}

/// What was sent.
pub(super) fn sent(sent: &PrefundSent) -> Value {
    let PrefundSent { proposal, currency, amount, reference, expected_at } = sent;
    json!({
        "proposal": proposal.map(|id| id.to_string()), "currency": currency.as_str(), "amount": amount.to_string(),
        "reference": reference.as_str(), "expectedAt": time(*expected_at),
    })
}

/// Money that a person says was sent.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PrefundForm {
    currency: String,
    amount: Digits,
    reference: String,
    expected_at: Option<u64>,
}

impl PrefundForm {
    /// The pool and the reference that name it.
    ///
    /// # Errors
    /// Not a currency.
    pub fn name(&self) -> Result<(Currency, &str), Malformed> {
        Ok((parsed("currency", &self.currency)?, &self.reference))
    }

    /// What was sent, as the person says.
    ///
    /// # Errors
    /// A value is of the wrong form; its field is named.
    pub fn sent(&self) -> Result<PrefundSent, Malformed> {
        let (currency, reference) = self.name()?;
        Ok(PrefundSent {
            proposal: None,
            currency,
            amount: amount("amount", &self.amount.0)?,
            reference: reference.into(),
            expected_at: self.expected_at.map(|at| unix_seconds("expectedAt", at)).transpose()?,
        })
    }
}
