//! UR's answers that tapgate does not use: fields that it cannot read, and rates that contradict others.

use compact_str::{CompactString, format_compact};
use tapgate_engine::fact::{AlertKind, Condition, Severity};

use super::facts;
use crate::provider::findings::{Implausible, LimitWeight, Unreadable};

/// A field of an endpoint cannot be read.
#[must_use]
pub fn feed_unreadable(found: &Unreadable) -> Condition {
    let Unreadable { of, field, sample, .. } = found;
    Condition {
        kind: AlertKind::FeedUnreadable,
        subject: format_compact!("{of} {field}"),
        severity: Severity::Urgent,
        title: format_compact!("{field} of UR's {of} cannot be used"),
        text: "The rows around it are used; figures that depend on it keep their last value and grow stale, and no hold is \
               released because of it. docs/runbook/feed-unreadable.md says how to look at it."
            .into(),
        facts: facts([("of", CompactString::const_new(of)), ("field", field.clone()), ("sample", sample.clone())]),
    }
}

/// UR's rate of a pair contradicts its spread's bounds, its inverse or the last rate.
#[must_use]
pub fn rates_implausible(found: &Implausible) -> Condition {
    let (from, to) = found.pair;
    let figure = |rate: Option<u32>| rate.map_or("none".into(), |rate| format_compact!("{rate}"));
    Condition {
        kind: AlertKind::RatesImplausible,
        subject: format_compact!("{from}/{to}"),
        severity: Severity::Urgent,
        title: format_compact!("UR's rate from {from} to {to} is not plausible and not used"),
        text: "The last rate is used until decision.rates_max_age_seconds; then taps that need it are declined rates_stale. \
               docs/runbook/rates-implausible.md says how to set the right one."
            .into(),
        facts: facts([
            ("rate", format_compact!("{}", found.rate)),
            ("spread", format_compact!("{}", found.spread)),
            ("inverse", figure(found.inverse)),
            ("last", figure(found.last)),
        ]),
    }
}

/// UR counts a spend against the limit more or less often than the setting says.
#[must_use]
pub fn limit_weight_differs(measured: LimitWeight) -> Option<Condition> {
    let LimitWeight { set, counted } = measured;
    (set != counted).then(|| Condition {
        kind: AlertKind::LimitWeightDiffers,
        subject: CompactString::default(),
        severity: Severity::Urgent,
        title: format_compact!("UR counts a spend {counted} times against the limit, tapgate {set} times"),
        text: format_compact!(
            "Ten spends in a row moved usedLimit so. Ask UR; if it is meant, set decision.limit_weight = {counted}. \
             docs/runbook/limit-weight-differs.md says what it means until then."
        ),
        facts: facts([("set", format_compact!("{set}")), ("counted", format_compact!("{counted}"))]),
    })
}

#[cfg(test)]
mod tests {
    use tapgate_engine::money::Currency;
    use tapgate_engine::time::UnixMillis;

    use super::*;
    use crate::provider::findings::Findings;
    use crate::wire::Malformed;

    #[test]
    fn each_field_and_each_pair_is_an_alert_of_its_own() {
        let findings = Findings::default();
        findings.unreadable("/v1/balance", &Malformed("amount of EUR must be so, got \"1,5\"".into()), UnixMillis(0));
        let found = feed_unreadable(&findings.look(UnixMillis(0)).unreadable[0]);
        assert_eq!(found.subject, "/v1/balance amount");
        assert_eq!(found.facts[2].1, "amount of EUR must be so, got \"9,9\"");
        let pair = (Currency::USD, Currency::EUR);
        let found = Implausible { pair, rate: 1, spread: 10_000, inverse: Some(10_907), last: None };
        let found = rates_implausible(&found);
        assert_eq!((found.subject.as_str(), found.facts[3].1.as_str()), ("USD/EUR", "none"));
    }

    #[test]
    fn a_weight_that_differs_names_the_setting_to_change() {
        assert_eq!(limit_weight_differs(LimitWeight { set: 1, counted: 1 }), None);
        let found = limit_weight_differs(LimitWeight { set: 1, counted: 2 }).unwrap();
        assert!(found.text.contains("decision.limit_weight = 2"), "{}", found.text);
    }
}
