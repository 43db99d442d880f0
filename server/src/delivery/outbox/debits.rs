//! The debits of a user's crypto that the partner makes for an approval, and returns.
//!
//! A debit is the part of the user's funds that the approval holds, in their currency, under the approving callback's
//! id. A later return is a share of it, whether or not the partner has made the debit by then: while `remaining` of the
//! approval's amount remains, `ceil(debit × remaining / amount)` stays debited. So the returns of a debit never exceed
//! it.

use serde_json::{Value, json};
use tapgate_engine::fact::{
    Decided, DrawPosting, DrawRelease, Fact, HoldReleased, Posted, Record, ReleaseCause, Verdict,
};
use tapgate_engine::ids::{AuthorizationId, Sequence};
use tapgate_engine::money::{Minor, Money};
use tapgate_engine::rows::{Authorization, Draw};

use super::history::History;

/// The debit for an approval; `None` if it holds none of the user's funds.
pub(super) fn requested(decided: &Decided) -> Option<Value> {
    let Verdict::Approved(approval) = &decided.verdict else { return None };
    let debit = approval.funds.filter(|funds| !funds.amount.is_zero())?;
    let request = &decided.request;
    Some(json!({
        "debitId": request.id.as_str(),
        "authorizationId": request.root().as_str(),
        "urId": request.user.as_str(),
        "cardId": request.card.as_str(),
        "amount": debit.amount.to_string(),
        "currency": debit.currency.as_str(),
        "approved": {"amount": approval.amount.to_string(), "currency": request.currency.as_str()},
        "paid": {"amount": approval.paid.amount.to_string(), "currency": approval.paid.currency.as_str()},
    }))
}

/// The part of each draw that a record releases without settlement.
enum Lost<'a> {
    HoldReleased(&'a HoldReleased),
    Posted(&'a Posted),
}

impl Lost<'_> {
    fn draws(&self) -> Vec<(Sequence, Minor)> {
        match self {
            Lost::HoldReleased(HoldReleased { draws, .. }) => {
                draws.iter().map(|DrawRelease { sequence, amount, .. }| (*sequence, *amount)).collect()
            }
            Lost::Posted(Posted { draws, .. }) => {
                let back = draws.iter().filter(|lost| lost.is_back);
                back.map(|DrawPosting { sequence, amount, .. }| (*sequence, *amount)).collect()
            }
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Lost::HoldReleased(HoldReleased { cause, .. }) => match cause {
                ReleaseCause::Requested { .. } => "reversed",
                ReleaseCause::Late { .. } | ReleaseCause::Person { .. } => "released",
                ReleaseCause::Expired => "expired",
            },
            Lost::Posted(_) => "rejected",
        }
    }
}

/// The returns that the newest record causes, one per requested debit. `before` is the authorization before it.
pub(super) fn given_back(history: &History, before: &Authorization) -> Vec<Value> {
    let (sequence, Record { fact, .. }) = history.newest();
    let root = fact.touches(*sequence).root;
    let lost = match fact {
        Fact::HoldReleased(returned) => Lost::HoldReleased(returned),
        Fact::Posted(booked) => Lost::Posted(booked),
        _ => return Vec::new(),
    };
    let debit = |(sequence, amount): (Sequence, Minor)| {
        let draw = before.draws.iter().find(|draw| draw.sequence == sequence)?;
        let back = share(history, draw, amount)?;
        Some(json!({
            "debitId": draw.id.as_str(),
            "authorizationId": root.map(AuthorizationId::as_str),
            "urId": before.user.as_str(),
            "cardId": before.card.as_str(),
            "amount": back.amount.to_string(),
            "currency": back.currency.as_str(),
            "reason": lost.reason(),
        }))
    };
    lost.draws().into_iter().filter_map(debit).collect()
}

/// The part of a draw's debit to return when `amount` of the draw returns.
fn share(history: &History, draw: &Draw, amount: Minor) -> Option<Money> {
    let Fact::Decided(decided) = &history.record(draw.sequence)?.fact else { return None };
    let Verdict::Approved(approval) = &decided.verdict else { return None };
    let debit = approval.funds?;
    let stands = |remaining: Minor| debit.amount.share_rounded_up(remaining.0, draw.amount.0);
    let back = stands(draw.remaining) - stands(draw.remaining - amount);
    (!back.is_zero()).then_some(Money { amount: back, ..debit })
}
