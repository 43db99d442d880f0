//! Conditions that need an operator's attention, in words.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

/// The longest subject, in bytes.
pub const SUBJECT_BYTES_MAX: usize = 256;

/// The longest title, in bytes: one line of a message.
pub const TITLE_BYTES_MAX: usize = 256;

/// The longest text, in bytes: a paragraph.
pub const TEXT_BYTES_MAX: usize = 2_048;

/// Maximum facts of a condition.
pub const FACTS_MAX: usize = 16;

/// The longest name or value of a fact, in bytes.
pub const FACT_BYTES_MAX: usize = 256;

/// How soon an operator must look, least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Severity {
    /// Plan for it: a top-up in the coming days.
    Notice,
    /// Look in the morning.
    Warning,
    /// Look today.
    Urgent,
    /// Look at once.
    Critical,
}

impl Severity {
    /// Every severity, least first.
    pub const ALL: &[Severity] = &[Severity::Notice, Severity::Warning, Severity::Urgent, Severity::Critical];

    /// The name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Severity::Notice => "notice",
            Severity::Warning => "warning",
            Severity::Urgent => "urgent",
            Severity::Critical => "critical",
        }
    }
}

/// The kind of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum AlertKind {
    /// A pool may run empty before a top-up sent now is credited.
    PoolLow,
    /// A pool's balance is below UR's minimum.
    FloorBreached,
    /// A top-up was not credited by its expected time.
    PrefundOverdue,
    /// Less of a top-up was credited than was sent.
    PrefundShort,
    /// A pool's balance report is too old.
    ReportStale,
    /// UR's figures and ours drift apart.
    Drift,
    /// A break stays open for too long.
    BreakAgeing,
    /// The decline rate is above normal.
    DeclineSpike,
    /// UR settled a declined authorization.
    StandIn,
    /// A delivery receiver stays down.
    DeliveryParked,
    /// Records wait too long for the disk.
    JournalSlow,
    /// Approvals within an hour exceeded their cap.
    HourlyCap,
    /// An automatic top-up was refused, by UR or by a bound of ours.
    PrefundRefused,
    /// A delivery receiver rejects one message while it accepts others.
    DeliveryStuck,
    /// The clock cannot be trusted: it jumped, or the journal is ahead of it.
    ClockWrong,
    /// The disk is nearly full.
    DiskLow,
    /// UR sends a field that cannot be read.
    FeedUnreadable,
    /// A rate of UR is not plausible and not used.
    RatesImplausible,
    /// UR counts a spend against the limit more or less often than the setting says.
    LimitWeightDiffers,
    /// The ops account's own limit or status keeps UR from drawing on the pools.
    OpsAccountLimited,
    /// A provider suspended its card service.
    ProviderSuspended,
    /// The disk has changed what was written.
    StoreDamaged,
    /// The day's head of the journal was not signed, or not published.
    HeadLate,
    /// The journal no longer has what was signed as its head.
    HeadChanged,
}

impl AlertKind {
    /// Every kind.
    pub const ALL: &[AlertKind] = &[
        AlertKind::PoolLow,
        AlertKind::FloorBreached,
        AlertKind::PrefundOverdue,
        AlertKind::PrefundShort,
        AlertKind::ReportStale,
        AlertKind::Drift,
        AlertKind::BreakAgeing,
        AlertKind::DeclineSpike,
        AlertKind::StandIn,
        AlertKind::DeliveryParked,
        AlertKind::JournalSlow,
        AlertKind::HourlyCap,
        AlertKind::PrefundRefused,
        AlertKind::DeliveryStuck,
        AlertKind::ClockWrong,
        AlertKind::DiskLow,
        AlertKind::FeedUnreadable,
        AlertKind::RatesImplausible,
        AlertKind::LimitWeightDiffers,
        AlertKind::OpsAccountLimited,
        AlertKind::ProviderSuspended,
        AlertKind::StoreDamaged,
        AlertKind::HeadLate,
        AlertKind::HeadChanged,
    ];

    /// The name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            AlertKind::PoolLow => "pool_low",
            AlertKind::FloorBreached => "floor_breached",
            AlertKind::PrefundOverdue => "prefund_overdue",
            AlertKind::PrefundShort => "prefund_short",
            AlertKind::ReportStale => "report_stale",
            AlertKind::Drift => "drift",
            AlertKind::BreakAgeing => "break_ageing",
            AlertKind::DeclineSpike => "decline_spike",
            AlertKind::StandIn => "stand_in",
            AlertKind::DeliveryParked => "delivery_parked",
            AlertKind::JournalSlow => "journal_slow",
            AlertKind::HourlyCap => "hourly_cap",
            AlertKind::PrefundRefused => "prefund_refused",
            AlertKind::DeliveryStuck => "delivery_stuck",
            AlertKind::ClockWrong => "clock_wrong",
            AlertKind::DiskLow => "disk_low",
            AlertKind::FeedUnreadable => "feed_unreadable",
            AlertKind::RatesImplausible => "rates_implausible",
            AlertKind::LimitWeightDiffers => "limit_weight_differs",
            AlertKind::OpsAccountLimited => "ops_account_limited",
            AlertKind::ProviderSuspended => "provider_suspended",
            AlertKind::StoreDamaged => "store_damaged",
            AlertKind::HeadLate => "head_late",
            AlertKind::HeadChanged => "head_changed",
        }
    }
}

/// A condition that needs an operator's attention, in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    pub kind: AlertKind,
    /// The pool's currency, the receiver, …; empty for a kind with a single subject.
    pub subject: CompactString,
    pub severity: Severity,
    pub title: CompactString,
    /// The consequence and the remedy.
    pub text: CompactString,
    /// The figures behind the condition, by name.
    pub facts: Vec<(CompactString, CompactString)>,
}

impl Condition {
    /// Truncates the condition to its bounds. Never refuses: no alert is lost because its text is long.
    #[must_use]
    pub fn bounded(mut self) -> Condition {
        cut(&mut self.subject, SUBJECT_BYTES_MAX);
        cut(&mut self.title, TITLE_BYTES_MAX);
        cut(&mut self.text, TEXT_BYTES_MAX);
        self.facts.truncate(FACTS_MAX);
        for (name, value) in &mut self.facts {
            cut(name, FACT_BYTES_MAX);
            cut(value, FACT_BYTES_MAX);
        }
        self
    }
}

/// Truncates to whole characters within `bytes_max`.
fn cut(text: &mut CompactString, bytes_max: usize) {
    text.truncate(text.floor_char_boundary(bytes_max));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_cut_at_whole_characters() {
        let condition = Condition {
            kind: AlertKind::PoolLow,
            subject: "EUR".into(),
            severity: Severity::Notice,
            title: "ü".repeat(200).into(),
            text: "x".repeat(TEXT_BYTES_MAX + 1).into(),
            facts: vec![("name".into(), "é".repeat(300).into()); FACTS_MAX + 1],
        };
        let bounded = condition.bounded();
        assert_eq!(bounded.title, "ü".repeat(TITLE_BYTES_MAX / 2));
        assert_eq!(bounded.text.len(), TEXT_BYTES_MAX);
        assert_eq!((bounded.subject.as_str(), bounded.facts.len()), ("EUR", FACTS_MAX));
        assert_eq!(bounded.clone().bounded(), bounded);
    }
}
