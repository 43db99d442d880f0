//! What stands of an authorization, and the debits of its user, as JSON.

use serde_json::{Value, json};
use tapgate_engine::fact::{Decided, Fact, LayerChange, Record, Source, Verdict, debit_id};
use tapgate_engine::ids::{AuthorizationId, Sequence};
use tapgate_engine::money::{Currency, Minor};
use tapgate_engine::rows::Authorization;
use tapgate_engine::rules::Standing;

/// The standing, in the currency paid in. The names are those of docs/adr/0009-standing.md.
#[must_use]
pub fn view(row: &Authorization, standing: &Standing) -> Value {
    // The user's own balance pays for itself: the partner debits only what a pool pays.
    let debit = if row.source == Some(Source::Crypto) { standing.owed } else { Minor::ZERO };
    json!({
        "currency": row.paid_currency.as_str(),
        "approved": standing.approved.to_string(),
        "announced": standing.announced.to_string(),
        "taken": standing.taken.to_string(),
        "pending": standing.pending.to_string(),
        "returned": standing.returned.to_string(),
        "awaited": standing.awaited.to_string(),
        "held": standing.held.to_string(),
        "upcharge": row.upcharge().paid.to_string(),
        "debit": debit.to_string(),
    })
}

/// One debit of the user: everything that was ever requested and returned under its id.
struct Debit {
    /// The record that requested it.
    sequence: Sequence,
    id: AuthorizationId,
    currency: Currency,
    requested: Minor,
    returned: Minor,
}

/// The debits that an authorization's records requested and returned, oldest first.
#[must_use]
pub fn debits(root: &AuthorizationId, records: &[(Sequence, Record)]) -> Value {
    let mut debits: Vec<Debit> = Vec::new();
    for (sequence, record) in records {
        let mut layers = layers(root, &record.fact);
        if let Fact::Decided(decided) = &record.fact {
            debits.extend(requested_by(*sequence, decided, &layers));
            layers.retain(|layer| layer.sequence.is_some());
        }
        for layer in layers {
            match layer.sequence {
                None if layer.debit > Minor::ZERO => debits.push(Debit {
                    sequence: *sequence,
                    id: debit_id(root, layer.number),
                    currency: layer.currency,
                    requested: layer.debit,
                    returned: Minor::ZERO,
                }),
                // A debit never rises: what is owed beyond it is a new one.
                made_by => {
                    let own = debits.iter_mut().find(|debit| Some(debit.sequence) == made_by);
                    own.into_iter().for_each(|debit| debit.returned -= layer.debit);
                }
            }
        }
    }
    let view = |debit: &Debit| {
        json!({
            "debitId": debit.id.as_str(), "currency": debit.currency.as_str(),
            "requested": debit.requested.to_string(), "returned": debit.returned.to_string(),
        })
    };
    debits.iter().filter(|debit| !debit.requested.is_zero()).map(view).collect()
}

/// The debit that an approval requests: less what came before it.
fn requested_by(sequence: Sequence, decided: &Decided, layers: &[&LayerChange]) -> Option<Debit> {
    let Verdict::Approved(approval) = &decided.verdict else { return None };
    let own = layers.iter().find(|layer| layer.sequence.is_none());
    let currency = approval.funds.map(|funds| funds.currency).or(own.map(|layer| layer.currency))?;
    let requested = approval.funds.map_or(Minor::ZERO, |funds| funds.amount);
    let requested = requested + own.map_or(Minor::ZERO, |layer| layer.debit);
    Some(Debit { sequence, id: decided.request.id.clone(), currency, requested, returned: Minor::ZERO })
}

/// The changes that a record makes to this root's claims: a link changes two roots.
fn layers<'a>(root: &AuthorizationId, fact: &'a Fact) -> Vec<&'a LayerChange> {
    let change = match fact {
        Fact::Settled(settled) => match settled.evidence.linked() {
            Some(linked) if linked.from == *root => Some(&linked.change),
            _ => Some(&settled.change),
        },
        Fact::Decided(decided) => decided.settled.as_deref(),
        _ => None,
    };
    change.into_iter().flat_map(|change| &change.layers).collect()
}
