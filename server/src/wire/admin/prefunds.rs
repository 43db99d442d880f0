//! Prefunds in the admin API: views and requests.

use compact_str::CompactString;
use serde::Deserialize;
use serde_json::{Value, json};
use tapgate_engine::fact::{PrefundOrdered, PrefundProposed, PrefundSent};
use tapgate_engine::ledger::PrefundChange;
use tapgate_engine::money::Currency;
use tapgate_engine::rows::{Prefund, PrefundStep};
use tapgate_engine::time::UnixMillis;

use super::super::forms::{amount, parsed, unix_seconds};
use super::{Digits, Malformed, reason};

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
        "ordered": prefund.ordered.as_ref().map(|(step, asked)| ordered_by(step, asked)),
        "sent": step(prefund.sent.as_ref()),
        "expectedAt": time(prefund.expected_at),
        "credited": prefund.credited.to_string(),
        "creditedAt": time(prefund.credited_at),
        "cancelled": cancelled,
    })
}

fn step(step: Option<&PrefundStep>) -> Option<Value> {
    step.map(|step| json!({"at": step.at.seconds().0, "by": step.by.as_str()}))
}

fn time(at: Option<UnixMillis>) -> Option<i64> {
    at.map(|at| at.seconds().0)
}

pub(super) fn proposed(proposed: &PrefundProposed) -> Value {
    let PrefundProposed { currency, amount, reference, request_id, expected_at } = proposed;
    json!({
        "currency": currency.as_str(), "amount": amount.to_string(), "reference": reference.as_str(),
        "requestId": request_id.as_str(), "expectedAt": time(*expected_at),
    })
}

/// The order to UR. USDC are in millionths.
pub(super) fn ordered(asked: &PrefundOrdered) -> Value {
    let PrefundOrdered { id: _, base_url, partner, account, token, paid, quoted } = asked;
    json!({
        "baseUrl": base_url.as_str(), "partner": partner.as_str(), "urId": account.as_str(), "token": token.as_str(), "paidUsdc": paid.to_string(), "quoted": quoted.to_string(),
    })
}

fn ordered_by(step: &PrefundStep, asked: &PrefundOrdered) -> Value {
    let mut shown = ordered(asked);
    if let Some(shown) = shown.as_object_mut() {
        shown.insert("at".to_owned(), step.at.seconds().0.into());
        shown.insert("by".to_owned(), step.by.as_str().into());
    }
    shown
}

pub(super) fn sent(sent: &PrefundSent) -> Value {
    let PrefundSent { proposal, currency, amount, reference, expected_at } = sent;
    json!({
        "proposal": proposal.map(|id| id.to_string()), "currency": currency.as_str(), "amount": amount.to_string(),
        "reference": reference.as_str(), "expectedAt": time(*expected_at),
    })
}

/// A top-up that a person records as sent.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PrefundForm {
    currency: String,
    amount: Digits,
    reference: String,
    expected_at: Option<u64>,
}

impl PrefundForm {
    /// The pool and the reference that identify the prefund.
    ///
    /// # Errors
    /// Not a currency.
    pub fn name(&self) -> Result<(Currency, &str), Malformed> {
        Ok((parsed("currency", &self.currency)?, &self.reference))
    }

    /// # Errors
    /// A value is malformed; the message names its field.
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

/// The cancellation of a prefund.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct CancelForm {
    /// At most 1,024 bytes.
    #[serde(deserialize_with = "reason")]
    pub reason: String,
    /// UR has confirmed that it did not execute the order.
    pub not_executed: bool,
}

/// A person's proposal to order a top-up from UR.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProposalForm {
    currency: String,
    amount: Digits,
}

impl ProposalForm {
    /// The proposal carries a new `requestId`, which identifies the credit until UR names the transaction.
    ///
    /// # Errors
    /// A value is malformed; the message names its field.
    pub fn change(&self, request_id: CompactString) -> Result<PrefundChange, Malformed> {
        Ok(PrefundChange::Propose(PrefundProposed {
            currency: parsed("currency", &self.currency)?,
            amount: amount("amount", &self.amount.0)?,
            reference: request_id.clone(),
            request_id,
            expected_at: None,
        }))
    }
}
