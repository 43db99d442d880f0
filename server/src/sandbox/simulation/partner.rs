//! The partner: keeps its users' funds, and debits and returns what the webhook's events say.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use tapgate_engine::ids::UrId;
use tapgate_engine::ledger::Change;
use tapgate_engine::money::{Currency, Minor, Money};

use super::network::Received;
use crate::sandbox::ur::books::Books;

#[derive(Deserialize)]
struct Event {
    r#type: String,
    data: serde_json::Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DebitEvent {
    debit_id: String,
    authorization_id: String,
    ur_id: String,
    amount: String,
}

/// A debit as the events tell it.
#[derive(Clone, Debug)]
pub(super) struct Debit {
    pub(super) root: String,
    /// Requested less returned.
    pub(super) net: i64,
}

/// A user's funds.
struct Funds {
    amount: i64,
    currency: Currency,
    version: u64,
    /// Debits that the last figure does not include.
    open: Vec<String>,
}

#[derive(Default)]
pub(super) struct Partner {
    funds: BTreeMap<String, Funds>,
    debits: BTreeMap<String, Debit>,
    /// Messages taken: each comes once or more.
    taken: BTreeSet<String>,
}

impl Partner {
    /// A partner with the users' first figures.
    pub(super) fn new(books: &Books) -> Result<Partner, String> {
        let mut partner = Partner::default();
        for (ur_id, account) in &books.accounts {
            let Some(funds) = account.funds else { continue };
            let currency = funds.currency.parse().map_err(|error| format!("{ur_id}: {error:?}"))?;
            let funds = Funds { amount: funds.amount, currency, version: 0, open: Vec::new() };
            partner.funds.insert(ur_id.clone(), funds);
        }
        Ok(partner)
    }

    /// Takes an event.
    pub(super) fn take(&mut self, received: &Received) -> Result<(), String> {
        if !self.taken.insert(received.id.clone()) {
            return Ok(());
        }
        let event: Event = serde_json::from_slice(&received.body).map_err(|error| error.to_string())?;
        let sign = match &*event.r#type {
            "debit.requested" => 1,
            "debit.returned" => -1,
            _ => return Ok(()),
        };
        let told: DebitEvent = serde_json::from_value(event.data).map_err(|error| error.to_string())?;
        let amount: i64 = told.amount.parse().map_err(|error| format!("{}: {error}", told.amount))?;
        if amount <= 0 {
            return Err(format!("{} of {} is no amount", told.amount, told.debit_id));
        }
        let debit =
            self.debits.entry(told.debit_id.clone()).or_insert_with(|| Debit { root: told.authorization_id, net: 0 });
        debit.net += sign * amount;
        if debit.net < 0 {
            return Err(format!("more of debit {} is returned than was requested", told.debit_id));
        }
        if sign > 0
            && let Some(funds) = self.funds.get_mut(&told.ur_id)
            && !funds.open.contains(&told.debit_id)
        {
            funds.open.push(told.debit_id);
        }
        Ok(())
    }

    /// The user's funds once everything requested so far is debited; `None` without a figure.
    pub(super) fn debit(&mut self, ur_id: &str) -> Option<Change> {
        let user: UrId = ur_id.parse().ok()?;
        let funds = self.funds.get_mut(ur_id)?;
        let debited = std::mem::take(&mut funds.open);
        let whole: i64 = debited.iter().filter_map(|id| self.debits.get(id)).map(|debit| debit.net).sum();
        // Whatever the currency: the figure is the partner's own, and nothing here depends on it.
        funds.amount -= whole;
        funds.version += 1;
        let debited = debited.iter().filter_map(|id| id.parse().ok()).collect();
        let now = Money { amount: Minor(funds.amount), currency: funds.currency };
        Some(Change::ReplaceFunds { user, funds: now, version: funds.version, debited })
    }

    /// What the user was debited for an authorization in the end.
    pub(super) fn net_of(&self, root: &str) -> i64 {
        self.debits.values().filter(|debit| debit.root == root).map(|debit| debit.net).sum()
    }

    /// Whether the partner keeps the user's funds: without a figure nothing is debited.
    pub(super) fn has_funds(&self, ur_id: &str) -> bool {
        self.funds.contains_key(ur_id)
    }

    /// Authorizations of which there was a debit.
    pub(super) fn roots(&self) -> BTreeSet<&str> {
        self.debits.values().map(|debit| debit.root.as_str()).collect()
    }
}
