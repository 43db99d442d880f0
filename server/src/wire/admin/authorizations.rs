//! Authorizations as JSON: request, decision, and explanation.

use serde_json::{Map, Value, json};
use tapgate_engine::fact::{
    Author, AuthorizationState, CardUse, Decided, EndCause, Evidence, Fact, Flow, Kind, Progress, Reason, Record,
    Request, Settled, Shown, Tolerance, Verdict,
};
use tapgate_engine::ids::{AuthorizationId, Sequence};
use tapgate_engine::ledger::Found;
use tapgate_engine::money::{Minor, Money};
use tapgate_engine::rows::{Authorization, Outcome};
use tapgate_engine::rules::{self, Explanation, explain};

use super::{money, standing};
use crate::wire::callback::kind_name;

/// The record's author.
#[must_use]
pub fn author_name(author: &Author) -> &str {
    author.name()
}

/// An authorization as in lists, without its explanation.
#[must_use]
pub fn summary(id: &AuthorizationId, found: &Found, decision: Option<&Record>) -> Map<String, Value> {
    let row = found.authorization.as_ref();
    let outcome = found.answer.as_ref().map(|answer| answer.outcome);
    let reason = match outcome {
        Some(Outcome::Declined(reason)) => Some(reason.name()),
        _ => None,
    };
    let request = decision.and_then(|record| record.fact.request());
    let approval = decision.and_then(|record| match &record.fact {
        Fact::Decided(decided) => match &decided.verdict {
            Verdict::Approved(approval) => Some(approval),
            Verdict::Declined(_) => None,
        },
        _ => None,
    });
    let held = row.map(Authorization::held);
    let mut view = Map::new();
    let mut set = |name: &str, value: Value| view.insert(name.to_owned(), value);
    set("authorizationId", json!(id.as_str()));
    set("type", json!(request.map_or("authorization", |request| kind_name(request.kind))));
    set("rootId", json!(found.answer.as_ref().map_or(id.as_str(), |answer| answer.root.as_str())));
    set("state", json!(state(id, found).name()));
    set("approved", json!(matches!(outcome, Some(Outcome::Approved { .. } | Outcome::Acknowledged { .. }))));
    set("reason", json!(reason));
    set("source", json!(approval.map(|approval| approval.source.name())));
    set("urId", json!(request.map(|request| request.user.as_str()).or(row.map(|row| row.user.as_str()))));
    set("cardId", json!(request.map(|request| request.card.as_str()).or(row.map(|row| row.card.as_str()))));
    set(
        "requested",
        json!(
            request.map(|request| {
                json!({"amount": request.amount.to_string(), "currency": request.currency.as_str()})
            })
        ),
    );
    if decision.is_some_and(|record| freezes_card(&record.fact)) {
        set("single_use", json!(true));
    }
    set("held", json!(held.map(money)));
    set("chf", json!(approval.map(|approval| approval.limit.to_string())));
    set("at", json!(decision.map(|record| record.at.seconds().0)));
    view
}

/// Whether the record approves what a single-use card is for, and freezes the card.
fn freezes_card(fact: &Fact) -> bool {
    let Fact::Decided(decided) = fact else { return false };
    let is_first = decided.request.kind == Kind::Authorization && decided.inputs.card_use == CardUse::Single;
    is_first && matches!(decided.verdict, Verdict::Approved(_))
}

/// A declined increment is declined, whatever the state of its root.
fn state(id: &AuthorizationId, found: &Found) -> AuthorizationState {
    let declined = found.answer.as_ref().is_some_and(|answer| matches!(answer.outcome, Outcome::Declined(_)));
    match &found.authorization {
        Some(row) if !declined || found.answer.as_ref().is_some_and(|answer| answer.root == *id) => row.state,
        _ => AuthorizationState::Declined,
    }
}

/// An authorization with its explanation and its events.
#[must_use]
pub fn view(
    id: &AuthorizationId,
    found: &Found,
    decision: Option<&Record>,
    events: &[(Sequence, Record)],
    tolerance: Tolerance,
) -> Value {
    let mut view = summary(id, found, decision);
    let late =
        found.answer.as_ref().is_some_and(|answer| answer.outcome == Outcome::Declined(Reason::DeadlineExceeded));
    let explained = decision.and_then(|record| match &record.fact {
        Fact::Decided(decided) => Some((decided, explain(&decided.request, &decided.inputs))),
        _ => None,
    });
    let (trace, counterfactual) = match &explained {
        Some((decided, explanation)) => (trace(explanation, late), counterfactual(decided, explanation)),
        None => (Vec::new(), Value::Null),
    };
    view.insert("trace".to_owned(), trace.into());
    view.insert("counterfactual".to_owned(), counterfactual);
    let root = found.answer.as_ref().map_or(id, |answer| &answer.root);
    let standing = |row| standing::view(row, &rules::standing(row, tolerance));
    view.insert("standing".to_owned(), found.authorization.as_ref().map_or(Value::Null, standing));
    view.insert("debits".to_owned(), standing::debits(root, events));
    let events: Vec<_> = events.iter().map(|(sequence, record)| event(*sequence, record)).collect();
    view.insert("events".to_owned(), events.into());
    view.into()
}

fn trace(explanation: &Explanation, late: bool) -> Vec<Value> {
    let several = explanation.sources.len() > 1;
    let mut trace = Vec::new();
    for tried in &explanation.sources {
        for rung in &tried.rungs {
            let mut values = seen(&rung.values);
            if several {
                values.insert("source".to_owned(), json!(tried.source.name()));
            }
            trace.push(json!({"check": rung.check.name(), "passed": rung.passed, "values": values}));
        }
    }
    if late {
        trace.push(json!({"check": Reason::DeadlineExceeded.name(), "passed": false, "values": {}}));
    }
    trace
}

/// The values of a check by name; several rules of one kind form a list, in the order of the rules.
fn seen(values: &[(&str, String)]) -> Map<String, Value> {
    let mut seen = Map::new();
    for (name, value) in values {
        let value = Value::from(value.as_str());
        match seen.get_mut(*name) {
            None => {
                seen.insert((*name).to_owned(), value);
            }
            Some(Value::Array(several)) => several.push(value),
            Some(one) => *one = vec![one.take(), value].into(),
        }
    }
    seen
}

fn counterfactual(decided: &Decided, explanation: &Explanation) -> Value {
    match &decided.verdict {
        Verdict::Approved(_) => Value::Null,
        Verdict::Declined(_) => json!({
            "approvedUpTo": explanation.approved_up_to.map(|amount| amount.to_string()),
            "approvedAfter": explanation.approved_after.map(|at| at.0),
        }),
    }
}

/// What an event says beside its evidence.
#[derive(Default)]
struct Said {
    kind: &'static str,
    approved: Option<bool>,
    reason: Option<String>,
    /// In its own currency: a callback's, or the one paid in.
    amount: Option<Money>,
}

fn event(sequence: Sequence, record: &Record) -> Value {
    let Said { kind, approved, reason, amount } = match &record.fact {
        Fact::Decided(decided) => said_by_decision(decided),
        Fact::Settled(settled) => said_by_evidence(settled),
        _ => Said { kind: "other", ..Said::default() },
    };
    json!({
        "sequence": sequence.0,
        "at": record.at.seconds().0,
        "authorizationId": record.fact.touches(sequence).answer.map(AuthorizationId::as_str),
        "type": kind,
        "approved": approved,
        "reason": reason,
        "amount": amount.map(|money| money.amount.to_string()),
        "currency": amount.map(|money| money.currency.as_str().to_owned()),
        "author": author_name(&record.author),
        "evidence": evidence(&record.fact),
    })
}

fn said_by_decision(decided: &Decided) -> Said {
    let Request { kind, currency, .. } = decided.request;
    let said = Said { kind: kind_name(kind), ..Said::default() };
    match &decided.verdict {
        Verdict::Approved(approval) => {
            Said { approved: Some(true), amount: Some(Money { amount: approval.amount, currency }), ..said }
        }
        Verdict::Declined(reason) => Said { approved: Some(false), reason: Some(reason.name().to_owned()), ..said },
    }
}

fn said_by_evidence(settled: &Settled) -> Said {
    let paid = |amount: Minor| Some(Money { amount, currency: settled.change.currency });
    let said = |kind: &'static str| Said { kind, ..Said::default() };
    match &settled.evidence {
        Evidence::Announced(announced) => {
            let Request { kind, currency, .. } = announced.request;
            let amount = Some(Money { amount: announced.released, currency });
            Said { approved: Some(true), amount, ..said(kind_name(kind)) }
        }
        Evidence::Ended(ended) => {
            let amount = paid(-settled.change.layers.iter().map(|layer| layer.held).sum::<Minor>());
            let (kind, reason) = match &ended.cause {
                EndCause::Late { .. } => ("release", Some(Reason::DeadlineExceeded.name().to_owned())),
                EndCause::Person { reason } => ("release", Some(reason.to_string())),
                EndCause::Expired => ("expiry", None),
            };
            Said { reason, amount, ..said(kind) }
        }
        Evidence::Shown(shown) => Said { amount: Some(shown.posting.amount), ..said(settled.change.effect.name()) },
        Evidence::Overdue(_) => said("overdue"),
        Evidence::Closed { closing, answer, .. } => {
            Said { reason: answer.as_ref().map(|answer| answer.reason.to_string()), ..said(closing.name()) }
        }
        Evidence::Linked(linked) => Said {
            reason: Some(linked.from.to_string()),
            amount: paid(linked.movements.iter().map(|movement| movement.value).sum()),
            ..said("linked")
        },
    }
}

/// A movement that UR shows, with the rule that chose its authorization; `null` for other records.
#[must_use]
pub fn evidence(fact: &Fact) -> Value {
    let Fact::Settled(settled) = fact else { return Value::Null };
    let Some(Shown { posting, number, rule, is_final, .. }) = settled.shown() else { return Value::Null };
    let direction = match posting.flow {
        Flow::Out => "OUT",
        Flow::In => "IN",
    };
    let status = match posting.progress {
        Progress::Shown => "unknown",
        Progress::Pending => "pending",
        Progress::Rejected => "rejected",
        Progress::Completed => "completed",
    };
    json!({
        "hash": posting.hash.as_str(), "number": number, "direction": direction, "status": status,
        "amount": money(posting.amount), "at": posting.at.0, "rule": rule.name(), "final": is_final,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_several_rules_are_all_shown() {
        let values =
            [("chf", "1"), ("window_seconds", "60"), ("max", "none"), ("window_seconds", "3600"), ("max", "5")];
        let shown = Value::from(seen(&values.map(|(name, value)| (name, value.to_owned()))));
        assert_eq!(shown, json!({"chf": "1", "window_seconds": ["60", "3600"], "max": ["none", "5"]}));
    }
}
