//! The debits of a user's crypto that the partner makes, and returns.
//!
//! Each debit has an id: an approval's is the id of the approving callback, a later one is numbered after its
//! authorization. A record requests and returns exactly the differences that it carries, so the returns of a debit never
//! exceed it.

use serde_json::{Value, json};
use tapgate_engine::fact::{
    Decided, EndCause, Evidence, Fact, Flow, LayerChange, Progress, Settled, Verdict, debit_id,
};
use tapgate_engine::ids::{AuthorizationId, Sequence};
use tapgate_engine::money::{Currency, Minor};
use tapgate_engine::rows::Authorization;

use super::history::History;
use crate::delivery::EventKind;

/// The change of one debit.
struct Change<'a> {
    row: &'a Authorization,
    root: &'a AuthorizationId,
    id: AuthorizationId,
    /// Above zero it is requested, below zero returned.
    amount: Minor,
    currency: Currency,
}

/// The events of the debits that the newest record changes: first those requested.
pub(super) fn events(history: &History) -> Vec<(EventKind, Value)> {
    let fact = &history.newest().1.fact;
    let (before, after) = history.authorization();
    let Some(row) = after.as_ref() else { return Vec::new() };
    let earlier = before.as_ref().unwrap_or(row);
    let linked = history.linked();
    let changes = match fact {
        Fact::Decided(decided) => of_decision(decided, earlier, row),
        Fact::Settled(settled) => {
            let mut changes = of_layers(&settled.change.layers, &settled.root, earlier, row);
            if let Some((from, linked)) = settled.evidence.linked().zip(linked.as_ref()) {
                changes.extend(of_layers(&from.change.layers, &from.from, linked, linked));
            }
            changes
        }
        _ => Vec::new(),
    };
    let approved = match fact {
        Fact::Decided(decided) => Some(&**decided),
        _ => None,
    };
    let requested = changes.iter().filter(|change| change.amount > Minor::ZERO);
    let requested = requested.map(|change| (EventKind::DebitRequested, requested_view(change, approved)));
    let returned = changes.iter().filter(|change| change.amount < Minor::ZERO);
    let returned = returned.map(|change| (EventKind::DebitReturned, returned_view(change, reason(fact))));
    requested.chain(returned).collect()
}

/// Whether the record alone permits an event of this kind.
pub(super) fn may_be(fact: &Fact, kind: EventKind) -> bool {
    let is_approved = matches!(fact, Fact::Decided(decided) if matches!(decided.verdict, Verdict::Approved(_)));
    let mut layers = fact.differences().flat_map(|change| &change.layers);
    match kind {
        EventKind::DebitRequested => is_approved || layers.any(|layer| layer.debit > Minor::ZERO),
        _ => layers.any(|layer| layer.debit < Minor::ZERO),
    }
}

/// A decision's own debit, less what evidence before it changes; and the debits that it replaces.
fn of_decision<'a>(decided: &'a Decided, before: &'a Authorization, row: &'a Authorization) -> Vec<Change<'a>> {
    let root = decided.request.root();
    let funds = match &decided.verdict {
        Verdict::Approved(approval) => approval.funds,
        Verdict::Declined(_) => None,
    };
    let layers = decided.settled.iter().flat_map(|change| &change.layers);
    let (own, others): (Vec<&LayerChange>, Vec<&LayerChange>) = layers.partition(|layer| layer.sequence.is_none());
    let less: Minor = own.iter().map(|layer| layer.debit).sum();
    let amount = funds.map_or(Minor::ZERO, |funds| funds.amount) + less;
    let currency = funds.map(|funds| funds.currency).or_else(|| own.first().map(|layer| layer.currency));
    let own = currency.map(|currency| Change { row, root, id: decided.request.id.clone(), amount, currency });
    own.into_iter().chain(others.into_iter().map(|layer| of_layer(layer, root, before, row))).collect()
}

fn of_layers<'a>(
    layers: &[LayerChange],
    root: &'a AuthorizationId,
    before: &'a Authorization,
    row: &'a Authorization,
) -> Vec<Change<'a>> {
    layers.iter().map(|layer| of_layer(layer, root, before, row)).collect()
}

fn of_layer<'a>(
    layer: &LayerChange,
    root: &'a AuthorizationId,
    before: &Authorization,
    row: &'a Authorization,
) -> Change<'a> {
    let id = match layer.sequence {
        None => debit_id(root, layer.number),
        Some(sequence) => id_of(sequence, root, before),
    };
    Change { row, root, id, amount: layer.debit, currency: layer.currency }
}

/// The id of the debit that the record at `sequence` requested.
fn id_of(sequence: Sequence, root: &AuthorizationId, row: &Authorization) -> AuthorizationId {
    let draw = row.draws.iter().find(|draw| draw.sequence == sequence).map(|draw| draw.id.clone());
    let later = || row.settlement().layers.iter().find(|layer| layer.sequence == sequence);
    draw.or_else(|| later().map(|layer| debit_id(root, layer.number))).unwrap_or_else(|| root.clone())
}

fn requested_view(change: &Change<'_>, approved: Option<&Decided>) -> Value {
    let mut view = common(change, change.amount);
    if let Some(decided) = approved.filter(|decided| decided.request.id == change.id)
        && let Verdict::Approved(approval) = &decided.verdict
        && let Some(fields) = view.as_object_mut()
    {
        let money =
            |amount: Minor, currency: Currency| json!({"amount": amount.to_string(), "currency": currency.as_str()});
        fields.insert("approved".to_owned(), money(approval.amount, decided.request.currency));
        fields.insert("paid".to_owned(), money(approval.paid.amount, approval.paid.currency));
    }
    view
}

fn returned_view(change: &Change<'_>, reason: &str) -> Value {
    let mut view = common(change, -change.amount);
    if let Some(fields) = view.as_object_mut() {
        fields.insert("reason".to_owned(), reason.into());
    }
    view
}

fn common(change: &Change<'_>, amount: Minor) -> Value {
    json!({
        "debitId": change.id.as_str(),
        "authorizationId": change.root.as_str(),
        "urId": change.row.user.as_str(),
        "cardId": change.row.card.as_str(),
        "amount": amount.to_string(),
        "currency": change.currency.as_str(),
    })
}

/// The cause of the returns of a record.
fn reason(fact: &Fact) -> &'static str {
    let Fact::Settled(settled) = fact else { return "approved" };
    let Settled { evidence, .. } = &**settled;
    match evidence {
        Evidence::Announced(_) => "reversed",
        Evidence::Ended(ended) => match ended.cause {
            EndCause::Expired => "expired",
            EndCause::Late { .. } | EndCause::Person { .. } => "released",
        },
        Evidence::Shown(shown) => match (shown.posting.flow, shown.posting.progress) {
            (Flow::In, _) => "refunded",
            (Flow::Out, Progress::Rejected) => "rejected",
            (Flow::Out, _) => "settled_less",
        },
        Evidence::Linked(_) => "linked",
        Evidence::Overdue(_) | Evidence::Closed { .. } => "reversed",
    }
}
