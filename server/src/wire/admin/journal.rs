//! Records as JSON, one line each.

use serde_json::{Value, json};
use tapgate_engine::fact::{
    Difference, EndCause, Ended, Evidence, Fact, FiatChoice, LayerChange, Original, Policy, Record, RowsHeld, Settled,
    SourceChange, Upcharge, Verdict,
};
use tapgate_engine::ids::{AuthorizationId, Sequence, UrId};

use super::authorizations::{author_name, evidence};
use super::money;
use crate::wire::callback::kind_name;

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
                    "funds": approval.funds.map(money), "upcharge": upcharge(approval.upcharge),
                }),
                Verdict::Declined(reason) => json!({"approved": false, "reason": reason.name()}),
            };
            json!({
                "kind": "decided", "request": request(fact), "verdict": verdict, "previous": decided.previous.0,
                "change": decided.settled.as_deref().map(difference),
            })
        }
        Fact::Settled(settled) => settled_view(fact, settled),
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
        Fact::CardUseSet { user, card, single_use } => json!({
            "kind": "card_use_set", "urId": user.as_str(), "cardId": card.as_str(), "single_use": single_use,
        }),
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
        Fact::CardReported(report) => json!({
            "kind": "card_reported", "urId": report.user.as_str(), "cardId": report.card.as_str(),
            "status": format!("{:?}", report.status), "said_at": report.at.0,
        }),
        Fact::AllowancesReported(report) => json!({
            "kind": "allowances_reported", "urId": report.user.as_str(), "said_at": report.at.0,
            "allowances": report.allowances.iter().map(|(currency, allowed)| {
                json!({"currency": currency.as_str(), "allowance": allowed})
            }).collect::<Vec<_>>(),
        }),
        Fact::BalanceOmitted { account, currency } => json!({
            "kind": "balance_omitted", "account": account.as_str(), "currency": currency.as_str(),
        }),
        Fact::ProviderSuspended(word) => json!({
            "kind": "provider_suspended", "provider": word.provider.name(), "suspended": word.suspended,
            "reason": word.reason.as_str(), "said_at": word.at.0,
        }),
        Fact::AccountReported(report) => json!({
            "kind": "account_reported", "urId": report.user.as_str(), "word": format!("{:?}", report.word),
            "status": report.status.name(), "said_at": report.at.0,
        }),
        Fact::CardLimited(limited) => json!({
            "kind": "card_limited", "urId": limited.user.as_str(), "cardId": limited.card.as_str(),
            "controls": super::controls::view(limited.controls.as_deref()), "said_at": limited.at.0,
        }),
        Fact::RecordLost => json!({"kind": "record_lost"}),
        Fact::HeadSigned(signed) => json!({
            "kind": "head_signed", "size": signed.size, "root": hex::encode(signed.root),
            "signed_at_millis": signed.signed_at.0, "signer": format!("0x{}", hex::encode(signed.signer)),
            "signature": format!("0x{}", hex::encode(&signed.signature)),
            "older_size": signed.older.map(|(size, _)| size), "introductions": signed.introductions.len(),
        }),
        Fact::LossAccepted(loss) => json!({
            "kind": "loss_accepted", "first": loss.first.0, "last": loss.last.0, "reason": loss.reason.as_str(),
        }),
        Fact::RecordQuarantined(quarantined) => json!({
            "kind": "record_quarantined",
            "written": match &quarantined.original {
                Original::Written(bytes) => Value::from(hex::encode(bytes)),
                Original::Hashed | Original::Lost => Value::Null,
            },
        }),
        Fact::Quarantined(quarantined) => json!({
            "kind": "quarantined", "first": quarantined.first.0, "last": quarantined.last.0,
            "rows": rows_held(quarantined.rows), "reason": quarantined.reason.as_str(),
        }),
        Fact::PersonErased { user } => json!({"kind": "person_erased", "urId": user.as_str()}),
        Fact::PolicyApplied(policy) => json!({"kind": "policy_applied", "policy": policy_view(policy)}),
    }
}

fn rows_held(rows: RowsHeld) -> &'static str {
    match rows {
        RowsHeld::None => "none",
        RowsHeld::Unknown => "unknown",
        RowsHeld::All => "all",
    }
}

/// The decision settings under the names of the configuration.
fn policy_view(policy: &Policy) -> Value {
    json!({
        "funding": super::users::funding_name(policy.funding), "protect_runway": policy.protect_runway, "limit_weight": policy.limit_weight,
        "fx_buffer_bps": policy.fx_buffer_bps, "zero_amount_holds": policy.zero_amount_holds,
        "fiat_choice": fiat_choice_name(policy.fiat_choice), "partial_approval": policy.partial_approval,
        "rates_max_age_seconds": policy.rates_max_age_seconds, "state_max_age_seconds": policy.state_max_age_seconds,
        "credits_count_at_once": policy.credits_count_at_once, "controls": super::controls::view(Some(&policy.controls)),
        "hold_upcharge": policy.hold_upcharge.iter().map(|upcharge| {
            json!({"mcc": format!("{:04}", upcharge.mcc), "percent": upcharge.percent})
        }).collect::<Vec<_>>(),
        "stress": policy.stress.iter().map(|tier| json!({
            "below_reserve_percent": tier.below_reserve_percent,
            "amount_max_chf": tier.amount_max.map(|max| max.to_string()),
            "mcc": tier.mcc.iter().map(|mcc| format!("{mcc:04}")).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
    })
}

fn fiat_choice_name(choice: FiatChoice) -> &'static str {
    match choice {
        FiatChoice::AccountCheck => "account_check",
        FiatChoice::Card => "card",
    }
}

fn request(fact: &Fact) -> Value {
    fact.request().map_or(Value::Null, |request| {
        json!({
            "authorizationId": request.id.as_str(), "type": kind_name(request.kind),
            "originalAuthorizationId": request.original.as_ref().map(AuthorizationId::as_str),
            "urId": request.user.as_str(), "cardId": request.card.as_str(),
            "transactionAmount": request.amount.to_string(), "transactionCurrency": request.currency.as_str(),
        })
    })
}

fn settled_view(fact: &Fact, settled: &Settled) -> Value {
    let linked = settled.evidence.linked();
    json!({
        "kind": "settled", "evidence": evidence_name(&settled.evidence), "reason": reason_of(&settled.evidence),
        "break": settled.evidence.answer().map(|answer| answer.id.to_string()), "request": request(fact),
        "rootId": settled.root.as_str(), "previous": settled.previous.0,
        "urId": settled.user.as_ref().map(UrId::as_str), "movement": evidence(fact),
        "change": difference(&settled.change),
        "linkedFrom": linked.map(|linked| json!({
            "rootId": linked.from.as_str(), "previous": linked.previous.0, "change": difference(&linked.change),
        })),
    })
}

fn evidence_name(evidence: &Evidence) -> &'static str {
    match evidence {
        Evidence::Announced(_) => "announced",
        Evidence::Shown(_) => "shown",
        Evidence::Ended(_) => "ended",
        Evidence::Overdue(_) => "overdue",
        Evidence::Closed { closing, .. } => closing.name(),
        Evidence::Linked(_) => "linked",
    }
}

/// A person's reason.
fn reason_of(evidence: &Evidence) -> Option<&str> {
    match evidence {
        Evidence::Ended(Ended { cause: EndCause::Person { reason }, .. }) => Some(reason),
        Evidence::Closed { .. } => evidence.answer().map(|answer| answer.reason.as_str()),
        Evidence::Ended(_)
        | Evidence::Announced(_)
        | Evidence::Shown(_)
        | Evidence::Overdue(_)
        | Evidence::Linked(_) => None,
    }
}

/// What is held above the amount; `null` where nothing is.
fn upcharge(upcharge: Upcharge) -> Option<Value> {
    let view = json!({"paid": upcharge.paid.to_string(), "funds": upcharge.funds.to_string()});
    (upcharge != Upcharge::default()).then_some(view)
}

fn difference(change: &Difference) -> Value {
    let source = |change: &SourceChange| {
        json!({
            "currency": change.currency.as_str(), "held": change.held.to_string(),
            "available": change.available.to_string(), "upcharged": change.upcharged.to_string(), "completed": change.completed.to_string(),
            "returned": change.returned.to_string(),
        })
    };
    let layer = |layer: &LayerChange| {
        json!({
            "sequence": layer.sequence.map(|sequence| sequence.0), "held": layer.held.to_string(),
            "settled": layer.settled.to_string(), "limit": layer.limit.to_string(), "shown": layer.shown.to_string(),
            "spent": layer.spent.to_string(), "debit": layer.debit.to_string(), "funds": layer.funds.to_string(),
            "currency": layer.currency.as_str(), "number": layer.number, "upcharge": upcharge(layer.upcharge),
        })
    };
    json!({
        "effect": change.effect.name(), "state": change.state.name(), "currency": change.currency.as_str(),
        "taken": change.taken.to_string(), "layers": change.layers.iter().map(layer).collect::<Vec<_>>(),
        "pools": change.pools.iter().map(source).collect::<Vec<_>>(),
        "fiat": change.fiat.iter().map(source).collect::<Vec<_>>(),
        "return_uses": change.return_uses.iter().map(|used| {
            let sequence = used.sequence.map(|sequence| sequence.0);
            json!({"sequence": sequence, "limit": used.limit.to_string(), "shown": used.shown.to_string()})
        }).collect::<Vec<_>>(),
        "breaks": change.opened.iter().map(super::breaks::difference).collect::<Vec<_>>(),
        "resolved": change.resolved.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}
