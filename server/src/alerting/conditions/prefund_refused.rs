//! An automatic top-up that is needed but blocked: UR or a bound refuses it, UR does not answer, or no treasurer
//! approves it.

use compact_str::{CompactString, format_compact};
use tapgate_engine::fact::{AlertKind, Condition, Severity};
use tapgate_engine::ids::PrefundId;
use tapgate_engine::money::{Currency, Minor};
use tapgate_engine::rows::{Prefund, PrefundState};
use tapgate_engine::time::UnixMillis;

use super::{facts, figure};
use crate::treasury::calendar::CreditCalendar;

/// UR answers an order within seconds.
const ANSWERED_MS: u64 = 120_000;

/// A treasurer at work sees a proposal within the hour.
const APPROVED_MS: u64 = 3_600_000;

/// Refused by UR or by a bound. Open until a top-up of the pool is ordered or none is needed. `why` is the plan's
/// reason.
#[must_use]
pub fn prefund_refused(currency: Currency, prefund: Option<PrefundId>, amount: Option<Minor>, why: &str) -> Condition {
    // Money sent by hand beside an open prefund may be sent twice.
    let first = prefund.map(|id| format_compact!("cancel prefund {id} first (`tapgate prefunds cancel {id}`), then "));
    let title = format_compact!("The automatic top-up of the {currency} pool is refused");
    let text = format_compact!(
        "Refused: {why}. `tapgate prefunds automatic` says what comes next. If the pool cannot wait, {}send the money by hand and say so \
         with `tapgate prefunds sent`; a bound is changed in [treasury.auto_prefund].",
        first.unwrap_or_default()
    );
    about(currency, amount, Severity::Urgent, title, text)
}

/// Ordered, but UR has not answered. Judged from the ledger alone, so that the alert survives restarts, and the end of
/// calls to UR; the pool's alert stays open until this order is sent or cancelled. `why` is the plan's reason.
#[must_use]
pub fn prefund_unanswered(
    prefund: &Prefund,
    why: Option<&str>,
    is_told: bool,
    calendar: &CreditCalendar,
    now: UnixMillis,
) -> Option<Condition> {
    let (step, _) = prefund.ordered.as_ref().filter(|_| prefund.state(now) == PrefundState::Ordered)?;
    if !is_told && step.at.0.saturating_add(ANSWERED_MS) >= now.0 {
        return None;
    }
    let (id, currency) = (prefund.id, prefund.currency);
    let why = why.map(|why| format_compact!(" ({why})"));
    let title = format_compact!("UR gives no answer to the order of a top-up of the {currency} pool");
    let text = format_compact!(
        "Prefund {id} was ordered {} and its money may have left{}. Ask UR about the requestId {} before you send anything by \
         hand. If it arrived, record the credit with the reference {}; if UR confirms that it was not carried out, \
         `tapgate prefunds cancel {id} --not-executed`.",
        calendar.wall_time(step.at),
        why.unwrap_or_default(),
        prefund.request_id.as_deref().unwrap_or_default(),
        prefund.reference,
    );
    Some(about(currency, Some(prefund.amount), Severity::Urgent, title, text))
}

/// Proposed an hour ago, but neither approved nor cancelled; `pool` is the severity of the pool's own alert.
#[must_use]
pub fn prefund_unapproved(prefund: &Prefund, pool: Option<Severity>, now: UnixMillis) -> Option<Condition> {
    let is_waiting = prefund.request_id.is_some() && prefund.state(now) == PrefundState::Proposed;
    let step = prefund.proposed.as_ref().filter(|_| is_waiting)?;
    if step.at.0.saturating_add(APPROVED_MS) >= now.0 {
        return None;
    }
    let (id, currency) = (prefund.id, prefund.currency);
    let severity = if pool >= Some(Severity::Urgent) { Severity::Urgent } else { Severity::Warning };
    let title = format_compact!("A top-up of the {currency} pool waits for a treasurer");
    let text = format_compact!(
        "Prefund {id} was proposed by {} more than an hour ago. A treasurer approves it with `tapgate prefunds approve {id}`; if it \
         is not wanted, `tapgate prefunds cancel {id}`.",
        step.by
    );
    Some(about(currency, Some(prefund.amount), severity, title, text))
}

fn about(
    currency: Currency,
    amount: Option<Minor>,
    severity: Severity,
    title: CompactString,
    text: CompactString,
) -> Condition {
    let mut facts = facts([("pool", currency.as_str().into())]);
    facts.extend(amount.map(|amount| ("amount".into(), figure(amount, currency))));
    Condition { kind: AlertKind::PrefundRefused, subject: currency.as_str().into(), severity, title, text, facts }
}

#[cfg(test)]
mod tests {
    use tapgate_engine::ids::Sequence;

    use super::*;

    #[test]
    fn the_text_names_cause_and_remedy() {
        let id = Some(PrefundId(Sequence(7)));
        let told = prefund_refused(Currency::EUR, id, Some(Minor(500)), "it costs too much");
        let name = (told.kind, told.subject.as_str(), told.severity);
        assert_eq!(name, (AlertKind::PrefundRefused, "EUR", Severity::Urgent));
        assert!(
            told.text.starts_with("Refused: it costs too much. ") && !told.text.contains("Not sent"),
            "{}",
            told.text
        );
        let words = ["cancel prefund 7 first", "send the money by hand", "prefunds sent"];
        let places: Vec<_> = words.iter().map(|words| told.text.find(words).expect(words)).collect();
        assert!(places.is_sorted(), "{}", told.text);
        assert!(told.facts.iter().any(|(name, value)| name == "amount" && value == "500 EUR"), "{:?}", told.facts);
        let told = prefund_refused(Currency::EUR, None, None, "it costs too much");
        assert!(!told.text.contains("first"), "{}", told.text);
    }
}
