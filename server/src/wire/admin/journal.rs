//! Records as JSON, one line each.

use serde_json::{Value, json};
use tapgate_engine::fact::{Fact, HoldReleased, Policy, Posted, Record, SourcePosting, Verdict};
use tapgate_engine::ids::{AuthorizationId, Sequence};

use super::authorizations::{author_name, kind_name, request_of};
use super::money;

#[must_use]
pub fn entry(sequence: Sequence, record: &Record) -> Value {
    json!({
        "sequence": sequence.0,
        "at_millis": record.at.0,
        "author": author_name(&record.author),
        "fact": fact(&record.fact),
    })
}

fn fact(fact: &Fact) -> Value {
    match fact {
        Fact::Decided(decided) => {
            let verdict = match &decided.verdict {
                Verdict::Approved(approval) => json!({
                    "approved": true, "source": approval.source.name(), "amount": approval.amount.to_string(),
                    "paid": money(approval.paid), "chf": approval.limit.to_string(),
                    "funds": approval.funds.map(money),
                }),
                Verdict::Declined(reason) => json!({"approved": false, "reason": reason.name()}),
            };
            json!({"kind": "decided", "request": request(fact), "verdict": verdict})
        }
        Fact::HoldReleased(returned) => returned_view(fact, returned),
        Fact::UserImported(import) => json!({"kind": "user_imported", "urId": import.user.as_str()}),
        Fact::FundsReplaced(replaced) => json!({
            "kind": "funds_replaced", "urId": replaced.user.as_str(), "funds": money(replaced.funds),
            "version": replaced.version, "ended": replaced.ended.iter().map(|sequence| sequence.0).collect::<Vec<_>>(),
        }),
        Fact::UserSuspended { user, suspended } => {
            json!({"kind": "user_suspended", "urId": user.as_str(), "suspended": suspended})
        }
        Fact::UserControlled { user, controls } => {
            json!({"kind": "user_controlled", "urId": user.as_str(), "controls": super::controls::view(controls.as_deref())})
        }
        Fact::CardChanged { user, card, status } => {
            json!({"kind": "card_changed", "urId": user.as_str(), "cardId": card.as_str(), "status": format!("{status:?}")})
        }
        Fact::CardControlled { user, card, controls } => json!({
            "kind": "card_controlled", "urId": user.as_str(), "cardId": card.as_str(),
            "controls": super::controls::view(controls.as_deref()),
        }),
        Fact::PoolReported(report) => json!({
            "kind": "pool_reported", "currency": report.currency.as_str(), "reported": report.reported.to_string(),
            "floor": report.floor.to_string(), "reserve": report.reserve.to_string(),
            "reflected_through": report.reflected_through.0, "available_change": report.available_change.to_string(),
        }),
        Fact::PoolCredited(credit) => json!({
            "kind": "pool_credited", "currency": credit.currency.as_str(), "amount": credit.amount.to_string(),
            "reference": credit.reference.as_str(), "counted": credit.counted.to_string(),
        }),
        Fact::RatesReplaced(rates) => json!({"kind": "rates_replaced", "rates": super::pools::rates_view(rates)}),
        Fact::ProgramSuspended { suspended, reason } => {
            json!({"kind": "program_suspended", "suspended": suspended, "reason": reason.as_str()})
        }
        Fact::PoolLimited(limited) => json!({
            "kind": "pool_limited", "currency": limited.currency.as_str(), "floor": limited.floor.to_string(),
            "reserve": limited.reserve.to_string(), "available_change": limited.available_change.to_string(),
        }),
        Fact::CardAdded { user, card } => {
            json!({"kind": "card_added", "urId": user.as_str(), "cardId": card.id.as_str()})
        }
        Fact::Posted(booked) => booked_view(booked),
        Fact::UserReported(report) => json!({
            "kind": "user_reported", "urId": report.user.as_str(), "seen_through": report.seen_through.0,
            "account": report.account.as_ref().map(|account| json!({
                "usedLimit": account.limit.used.to_string(), "clientLimit": account.limit.client.to_string(),
                "startLimitDate": account.limit.start.0,
            })),
            "balances": report.balances.as_ref().map(|balances| balances.iter().copied().map(money).collect::<Vec<_>>()),
        }),
        Fact::PoolSynced(synced) => json!({
            "kind": "pool_synced", "currency": synced.currency.as_str(), "reported": synced.reported.to_string(),
            "seen_through": synced.seen_through.0, "available_change": synced.available_change.to_string(),
        }),
        Fact::BreakOpened(discrepancy) => {
            json!({"kind": "break_opened", "break": super::breaks::difference(discrepancy)})
        }
        Fact::BreakResolved { id, reason } => {
            json!({"kind": "break_resolved", "id": id.to_string(), "reason": reason.as_str()})
        }
        Fact::AlertRaised(condition) => {
            json!({"kind": "alert_raised", "alert": super::alerts::condition(condition)})
        }
        Fact::AlertChanged { id, condition } => {
            json!({"kind": "alert_changed", "id": id.to_string(), "alert": super::alerts::condition(condition)})
        }
        Fact::AlertRenotified { id } => json!({"kind": "alert_renotified", "id": id.to_string()}),
        Fact::AlertAcknowledged { id, reason } => {
            json!({"kind": "alert_acknowledged", "id": id.to_string(), "reason": reason.as_deref()})
        }
        Fact::AlertSilenced { id, until } => {
            json!({"kind": "alert_silenced", "id": id.to_string(), "until": until.seconds().0})
        }
        Fact::AlertResolved { id } => json!({"kind": "alert_resolved", "id": id.to_string()}),
        Fact::PrefundProposed(proposed) => {
            json!({"kind": "prefund_proposed", "prefund": super::prefunds::proposed(proposed)})
        }
        Fact::PrefundApproved { id } => json!({"kind": "prefund_approved", "id": id.to_string()}),
        Fact::PrefundSent(sent) => json!({"kind": "prefund_sent", "prefund": super::prefunds::sent(sent)}),
        Fact::PrefundCancelled { id, reason } => {
            json!({"kind": "prefund_cancelled", "id": id.to_string(), "reason": reason.as_str()})
        }
        Fact::CursorMoved { name, position } => {
            json!({"kind": "cursor_moved", "name": name.as_str(), "bytes": position.len()})
        }
        Fact::ClosureAdded(closed) => json!({"kind": "closure_added", "closure": super::calendar::closed(closed)}),
        Fact::ClosureRemoved { id } => json!({"kind": "closure_removed", "id": id.to_string()}),
        Fact::PrefundOrdered(ordered) => {
            json!({"kind": "prefund_ordered", "id": ordered.id.to_string(), "order": super::prefunds::ordered(ordered)})
        }
        Fact::MessageSkipped { name, message, reason, position } => json!({
            "kind": "message_skipped", "name": name.as_str(), "message": message.as_str(), "reason": reason.as_str(),
            "bytes": position.len(),
        }),
        Fact::Aged { keys_through } => json!({"kind": "aged", "keys_through": keys_through.0}),
        Fact::UserAged { user, before, latest } => json!({
            "kind": "user_aged", "urId": user.as_str(), "before": before.0, "latest": latest.seconds().0,
        }),
        Fact::ClockSet(set) => json!({
            "kind": "clock_set", "from_millis": set.from.0, "to_millis": set.to.0, "reason": set.reason.as_str(),
        }),
        Fact::BalanceOmitted { account, currency } => json!({
            "kind": "balance_omitted", "account": account.as_str(), "currency": currency.as_str(),
        }),
        Fact::PolicyApplied(policy) => json!({"kind": "policy_applied", "policy": policy_view(policy)}),
    }
}

/// The decision settings under the names of the configuration.
fn policy_view(policy: &Policy) -> Value {
    json!({
        "funding": super::users::funding_name(policy.funding), "protect_runway": policy.protect_runway, "limit_weight": policy.limit_weight,
        "fx_buffer_bps": policy.fx_buffer_bps, "partial_approval": policy.partial_approval,
        "rates_max_age_seconds": policy.rates_max_age_seconds, "state_max_age_seconds": policy.state_max_age_seconds,
        "credits_count_at_once": policy.credits_count_at_once, "controls": super::controls::view(Some(&policy.controls)),
    })
}

fn request(fact: &Fact) -> Value {
    request_of(fact).map_or(Value::Null, |request| {
        json!({
            "authorizationId": request.id.as_str(), "type": kind_name(request.kind),
            "originalAuthorizationId": request.original.as_ref().map(AuthorizationId::as_str),
            "urId": request.user.as_str(), "cardId": request.card.as_str(),
            "transactionAmount": request.amount.to_string(), "transactionCurrency": request.currency.as_str(),
        })
    })
}

fn booked_view(booked: &Posted) -> Value {
    let posting = &booked.posting;
    let source = |booking: &SourcePosting| {
        json!({
            "currency": booking.currency.as_str(), "held": booking.held.to_string(),
            "available": booking.available.to_string(), "completed": booking.completed.to_string(),
        })
    };
    json!({
        "kind": "booked", "rootId": booked.root.as_str(), "urId": posting.user.as_str(), "hash": posting.hash.as_str(),
        "amount": money(posting.amount), "effect": booked.effect.name(), "state": booked.state.name(),
        "pools": booked.pools.iter().map(source).collect::<Vec<_>>(),
        "fiat": booked.fiat.iter().map(source).collect::<Vec<_>>(),
        "limit_added": booked.limit_added.to_string(),
        "breaks": booked.breaks.iter().map(super::breaks::difference).collect::<Vec<_>>(),
    })
}

fn returned_view(fact: &Fact, returned: &HoldReleased) -> Value {
    let draws = returned.draws.iter().map(|draw| {
        json!({
            "sequence": draw.sequence.0, "amount": draw.amount.to_string(), "paid": draw.paid.to_string(),
            "funds": draw.funds.to_string(),
        })
    });
    json!({
        "kind": "returned", "request": request(fact), "rootId": returned.root.as_str(),
        "amount": returned.amount.to_string(), "mismatch": returned.mismatch, "state": returned.state.name(),
        "draws": draws.collect::<Vec<_>>(),
        "limit_added": returned.limit_added.to_string(),
    })
}
