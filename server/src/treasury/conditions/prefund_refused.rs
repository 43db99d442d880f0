//! An automatic top-up that is wanted and does not get on its way, because UR or a bound refuses it, or UR does not answer.

use compact_str::format_compact;
use tapgate_engine::alert::{AlertKind, Condition, Severity};
use tapgate_engine::money::{Currency, Minor};

use super::{facts, figure};

/// Stands until a top-up of the pool is sent, or none is needed. `why` is the plan's; of one that is ordered the money may have
/// left.
#[must_use]
pub fn prefund_refused(currency: Currency, amount: Option<Minor>, why: &str, is_ordered: bool) -> Condition {
    let mut facts = facts([("pool", currency.as_str().into())]);
    facts.extend(amount.map(|amount| ("amount".into(), figure(amount, currency))));
    let (title, text) = if is_ordered {
        (
            format_compact!("UR gives no answer to the order of a top-up of the {currency} pool"),
            format_compact!(
                "Its money may have left: {why}. The same order is made again until UR answers. Ask UR about its requestId \
                 (`tapgate prefunds`) before you send anything by hand; if UR says that it arrived, record the credit with the \
                 prefund's reference."
            ),
        )
    } else {
        (
            format_compact!("The automatic top-up of the {currency} pool is refused"),
            format_compact!(
                "Not sent: {why}. `tapgate prefunds automatic` says what comes next. If the pool cannot wait, send the money by \
                 hand and say so with `tapgate prefunds sent`; a bound is changed in [treasury.auto_prefund]."
            ),
        )
    };
    let (kind, severity, subject) = (AlertKind::PrefundRefused, Severity::Urgent, currency.as_str().into());
    Condition { kind, subject, severity, title, text, facts }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_why_and_what_to_do() {
        let told = prefund_refused(Currency::EUR, Some(Minor(500)), "it costs too much", false);
        let name = (told.kind, told.subject.as_str(), told.severity);
        assert_eq!(name, (AlertKind::PrefundRefused, "EUR", Severity::Urgent));
        assert!(told.text.starts_with("Not sent: it costs too much. ") && told.text.contains("prefunds sent"));
        assert!(told.facts.iter().any(|(name, value)| name == "amount" && value == "500 EUR"), "{:?}", told.facts);
        let told = prefund_refused(Currency::EUR, None, "UR is away", true);
        assert!(
            told.text.starts_with("Its money may have left: UR is away. ") && told.text.contains("before you send")
        );
    }
}
