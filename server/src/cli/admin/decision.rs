//! An authorization as the API shows it, with its events.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::standing::{Debit, Standing};
use crate::cli::ui::amounts::{Money, amount, chf};
use crate::cli::ui::screen::{Screen, Text};
use crate::cli::ui::table::{fields, left, right, table};
use crate::cli::ui::when;

/// A decision: an authorization, an increment, or the tombstone of a reversal without an authorization.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(in crate::cli) struct Decision {
    pub(in crate::cli) authorization_id: Text,
    #[serde(rename = "type")]
    pub(in crate::cli) kind: Text,
    pub(in crate::cli) root_id: Text,
    pub(in crate::cli) state: Text,
    pub(in crate::cli) approved: bool,
    pub(in crate::cli) reason: Option<Text>,
    pub(in crate::cli) source: Option<Text>,
    pub(in crate::cli) ur_id: Option<Text>,
    pub(in crate::cli) card_id: Option<Text>,
    pub(in crate::cli) requested: Option<Money>,
    pub(in crate::cli) held: Option<Money>,
    pub(in crate::cli) chf: Option<Text>,
    /// Unix seconds.
    pub(in crate::cli) at: Option<i64>,
    pub(in crate::cli) trace: Vec<Step>,
    pub(in crate::cli) counterfactual: Option<Counterfactual>,
    standing: Option<Standing>,
    debits: Vec<Debit>,
    pub(in crate::cli) events: Vec<Event>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::cli) struct Step {
    pub(in crate::cli) check: Text,
    pub(in crate::cli) passed: bool,
    pub(in crate::cli) values: CheckValues,
}

/// A check's input values, by name.
#[derive(Debug, Default, Deserialize)]
pub(in crate::cli) struct CheckValues(BTreeMap<String, Values>);

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Values {
    Several(Vec<Text>),
    One(Text),
}

impl CheckValues {
    pub(in crate::cli) fn all(&self, name: &str) -> &[Text] {
        match self.0.get(name) {
            None => &[],
            Some(Values::One(text)) => std::slice::from_ref(text),
            Some(Values::Several(texts)) => texts,
        }
    }

    /// The first value of a name, or nothing.
    pub(in crate::cli) fn one(&self, name: &str) -> &str {
        self.all(name).first().map_or("", Text::as_str)
    }

    /// Every name with its unformatted values.
    pub(in crate::cli) fn listed(&self) -> String {
        let named = self.0.keys().map(|name| {
            let values: Vec<_> = self.all(name).iter().map(Text::as_str).collect();
            format!("{} {}", crate::cli::ui::screen::clean(name), values.join(", "))
        });
        named.collect::<Vec<_>>().join(", ")
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(in crate::cli) struct Counterfactual {
    /// In the smallest unit of the transaction currency.
    pub(in crate::cli) approved_up_to: Option<Text>,
    /// Unix seconds.
    pub(in crate::cli) approved_after: Option<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(in crate::cli) struct Event {
    sequence: u64,
    at: i64,
    authorization_id: Option<Text>,
    #[serde(rename = "type")]
    kind: Text,
    approved: Option<bool>,
    reason: Option<Text>,
    amount: Option<Text>,
    currency: Option<Text>,
    author: Text,
}

impl Decision {
    /// The request's currency; empty if the request is unknown.
    pub(in crate::cli) fn currency(&self) -> &str {
        self.requested.as_ref().map_or("", Money::currency)
    }

    /// The approved amount, if the events show it.
    pub(in crate::cli) fn approved_amount(&self) -> Option<Money> {
        let own = |event: &&Event| {
            event.approved == Some(true) && event.authorization_id.as_ref() == Some(&self.authorization_id)
        };
        let minor = self.events.iter().find(own)?.amount.as_ref()?.as_str().parse().ok()?;
        Some(Money::new(minor, self.currency()))
    }

    /// The authorization with its events.
    pub(in crate::cli) fn view(&self, screen: Screen) -> String {
        let dash = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        let text = |value: &Option<Text>| dash(value.as_ref().map(Text::to_string));
        let state = if self.approved { screen.good(self.state.as_str()) } else { screen.bad(self.state.as_str()) };
        let mut named = vec![("state", state), ("type", self.kind.to_string())];
        if self.root_id != self.authorization_id {
            named.push(("root", self.root_id.to_string()));
        }
        if let Some(reason) = &self.reason {
            named.push(("reason", reason.to_string()));
        }
        named.extend([
            ("user", text(&self.ur_id)),
            ("card", text(&self.card_id)),
            ("asked", dash(self.requested.as_ref().map(Money::to_string))),
            ("approved", dash(self.approved_amount().map(|money| money.to_string()))),
            ("source", text(&self.source)),
            ("held now", dash(self.held.as_ref().map(Money::to_string))),
            ("of the limit", dash(self.chf.as_ref().map(|centimes| chf(centimes.as_str())))),
            ("at", dash(self.at.map(when::utc))),
        ]);
        let heading = screen.strong(&format!("{} {}", self.kind, self.authorization_id));
        let standing = self.standing.as_ref().map(|standing| standing.view(screen));
        let debits = Debit::table(&self.debits, screen);
        let events = format!("{}\n{}", screen.strong("Events"), self.events_table(screen));
        let parts = [Some(format!("{heading}\n{}", fields(&named))), standing, Some(debits), Some(events)];
        parts.into_iter().flatten().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
    }

    fn events_table(&self, screen: Screen) -> String {
        let rows = self.events.iter().map(|event| {
            let id = event.authorization_id.as_ref().map_or("-", Text::as_str);
            let outcome = match event.approved {
                Some(true) => "approved",
                Some(false) => "declined",
                None => "-",
            };
            // UR's movements and ends by us are in the currency paid in.
            let currency = event.currency.as_ref().map_or(self.currency(), Text::as_str);
            let amount = event.amount.as_ref().map(|minor| amount(minor.as_str(), currency));
            vec![
                left(&format!("  {}", when::utc(event.at))),
                left(&event.kind),
                left(&id),
                left(&outcome),
                right(&amount.as_deref().unwrap_or("-")),
                left(&event.reason.as_ref().map_or("-", Text::as_str)),
                left(&event.author),
                right(&event.sequence),
            ]
        });
        let header = ["  AT", "TYPE", "ID", "OUTCOME", "AMOUNT", "REASON", "BY", "RECORD"];
        table(screen, &header, rows.collect())
    }
}
