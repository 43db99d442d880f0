//! An automatic top-up that is wanted and not sent, because UR or a bound refuses it.

use compact_str::format_compact;
use tapgate_engine::alert::{AlertKind, Condition, Severity};
use tapgate_engine::money::{Currency, Minor};

use super::{facts, figure};

/// Stands until a top-up of the pool is sent, or none is needed; `why` is the plan's.
#[must_use]
pub fn prefund_refused(currency: Currency, amount: Option<Minor>, why: &str) -> Condition {
    let mut facts = facts([("pool", currency.as_str().into())]);
    facts.extend(amount.map(|amount| ("amount".into(), figure(amount, currency))));
    Condition {
        kind: AlertKind::PrefundRefused,
        subject: currency.as_str().into(),
        severity: Severity::Urgent,
        title: format_compact!("The automatic top-up of the {currency} pool is refused"),
        text: format_compact!(
            "Not sent: {why}. `tapgate prefunds automatic` says what comes next. If the pool cannot wait, send the money by hand \
             and say so with `tapgate prefunds sent`; a bound is changed in [treasury.auto_prefund]."
        ),
        facts,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_why_and_what_to_do() {
        let told = prefund_refused(Currency::EUR, Some(Minor(500)), "it costs too much");
        assert_eq!(
            (told.kind, told.subject.as_str(), told.severity),
            (AlertKind::PrefundRefused, "EUR", Severity::Urgent)
        );
        assert!(
            told.text.starts_with("Not sent: it costs too much. ") && told.text.contains("prefunds sent"),
            "{}",
            told.text
        );
        assert!(told.facts.iter().any(|(name, value)| name == "amount" && value == "500 EUR"), "{:?}", told.facts);
    }
}
