//! Gates that decline approvals: the clock, the disk, and a provider's card service.

use compact_str::{CompactString, format_compact};
use tapgate_engine::fact::{AlertKind, Condition, ProviderSuspended, Severity};

use super::facts;
use crate::clock::Doubt;

/// The clock cannot be trusted, so nothing is approved.
#[must_use]
pub fn clock_wrong(doubt: Doubt) -> Condition {
    let (title, text, time) = match doubt {
        Doubt::JournalAhead { latest } => (
            "The journal is ahead of the clock: every approval is declined",
            "The last record lies in the future: the clock was ahead before, or is behind now. Set the clock right; if it is \
             right, stop tapgate and run tapgate journal set-clock. Approvals resume by themselves once they agree.",
            latest,
        ),
        Doubt::Jumped { expected } => (
            "The clock jumped by more than a minute: every approval is declined",
            "Limits count 30 days by the clock. Set the clock right: approvals resume by themselves. If it is right now, \
             restart tapgate.",
            expected,
        ),
    };
    Condition {
        kind: AlertKind::ClockWrong,
        subject: CompactString::default(),
        severity: Severity::Critical,
        title: title.into(),
        text: text.into(),
        facts: facts([("expected_seconds", format_compact!("{}", time.seconds().0))]),
    }
}

/// The disk is nearly full, so nothing is approved.
#[must_use]
pub fn disk_low() -> Condition {
    Condition {
        kind: AlertKind::DiskLow,
        subject: CompactString::default(),
        severity: Severity::Critical,
        title: "The disk is nearly full: every approval is declined".into(),
        text: "Reversals and settlements are still recorded; below 256 MiB every request is shed. Free space on the disk of \
               data_dir, or move the directory to a larger one. Approvals resume by themselves above 512 MiB."
            .into(),
        facts: facts::<0>([]),
    }
}

/// The journal was changed below a head that was signed.
#[must_use]
pub fn head_changed(reason: &str) -> Condition {
    Condition {
        kind: AlertKind::HeadChanged,
        subject: CompactString::default(),
        severity: Severity::Critical,
        title: "The journal is not what was signed".into(),
        text: "Somebody edited it, or the disk did; no head is signed any more. Keep a copy of the data directory, compare it \
               with the heads that were published (docs/receipts.md), and put back a backup."
            .into(),
        facts: facts([("reason", reason.into())]),
    }
}

/// A pass over the store found what is not as it was written.
#[must_use]
pub fn store_damaged(damage: &str) -> Condition {
    Condition {
        kind: AlertKind::StoreDamaged,
        subject: CompactString::default(),
        severity: Severity::Critical,
        title: "What is stored cannot be read as it was written".into(),
        text: "Decisions go on from memory; answers about that part fail, and a restart may refuse the directory. Look at the \
               disk and its log, keep a copy, and restore a backup: docs/runbook/TapgateStoreFailing.md. The alert ends with \
               the first pass, each day, that finds nothing."
            .into(),
        facts: facts([("damage", damage.into())]),
    }
}

/// The day's head of the journal is not signed, or not where others take it from.
#[must_use]
pub fn head_late(reason: &str) -> Condition {
    Condition {
        kind: AlertKind::HeadLate,
        subject: CompactString::default(),
        severity: Severity::Warning,
        title: "Today's head of the journal is not published".into(),
        text: "Decisions go on; until it is, nothing that others keep guards today's records. Look at receipts.heads_dir: it \
               is tried again each minute."
            .into(),
        facts: facts([("reason", reason.into())]),
    }
}

/// A provider suspended its card service, so nothing of its cards is approved.
#[must_use]
pub fn provider_suspended(word: &ProviderSuspended) -> Condition {
    let provider = word.provider.name();
    Condition {
        kind: AlertKind::ProviderSuspended,
        subject: provider.into(),
        severity: Severity::Critical,
        title: format_compact!("The card service of {provider} is suspended: every tap of its cards is declined"),
        text:
            "Cards of other providers are not affected. Approvals resume by themselves with the provider's word; if it \
               resumed without one, run tapgate program resume --provider."
                .into(),
        facts: facts([("reason", word.reason.clone()), ("since_seconds", format_compact!("{}", word.at.0))]),
    }
}

#[cfg(test)]
mod tests {
    use tapgate_engine::fact::Provider;
    use tapgate_engine::time::UnixSeconds;

    use super::*;

    #[test]
    fn a_suspended_provider_is_named_with_its_reason() {
        let (provider, at) = (Provider::PartnerApi, UnixSeconds(1_768_659_501));
        let found = provider_suspended(&ProviderSuspended { provider, suspended: true, reason: "upgrade".into(), at });
        assert_eq!((found.subject.as_str(), found.severity), ("partner_api", Severity::Critical));
        assert!(found.title.contains("partner_api"), "{}", found.title);
        let facts: Vec<_> = found.facts.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(facts, [("reason", "upgrade"), ("since_seconds", "1768659501")]);
    }
}
