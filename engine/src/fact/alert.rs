//! Conditions that somebody must know of, in words.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

/// The longest subject kept, in bytes.
pub const SUBJECT_BYTES_MAX: usize = 256;

/// The longest title kept, in bytes: one line of a message.
pub const TITLE_BYTES_MAX: usize = 256;

/// The longest text kept, in bytes: a paragraph.
pub const TEXT_BYTES_MAX: usize = 2_048;

/// Most facts kept, and the longest name or value of one in bytes.
pub const FACTS_MAX: usize = 16;

/// See [`FACTS_MAX`].
pub const FACT_BYTES_MAX: usize = 256;

/// How soon somebody must look, least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Severity {
    /// To be planned for: a top-up in the coming days.
    Notice,
    /// In the morning.
    Warning,
    /// Today.
    Urgent,
    /// At once.
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

/// What is the matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum AlertKind {
    /// A pool may run empty before a top-up sent now is credited.
    PoolLow,
    /// A pool's balance is below what UR wants left in it.
    FloorBreached,
    /// A top-up was not credited when it was expected.
    PrefundOverdue,
    /// Less of a top-up was credited than was sent.
    PrefundShort,
    /// A pool's balance was not reported for too long.
    ReportStale,
    /// UR's figures and ours drift apart.
    Drift,
    /// A break stays unexplained.
    BreakAgeing,
    /// More is declined than usual.
    DeclineSpike,
    /// UR settled what we declined.
    StandIn,
    /// A receiver of deliveries stays down.
    DeliveryParked,
    /// Records wait long for the disk.
    JournalSlow,
    /// More was approved within an hour than is allowed.
    HourlyCap,
    /// An automatic top-up is refused: by UR, or by a bound of ours.
    PrefundRefused,
    /// A receiver of deliveries rejects one message while it accepts others.
    DeliveryStuck,
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
        }
    }
}

/// What somebody must know of, in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// What is the matter.
    pub kind: AlertKind,
    /// With what: a pool's currency, a receiver, …; empty where there is only one.
    pub subject: CompactString,
    /// How soon somebody must look.
    pub severity: Severity,
    /// One line.
    pub title: CompactString,
    /// What it means, and what to do.
    pub text: CompactString,
    /// The figures behind it, by name.
    pub facts: Vec<(CompactString, CompactString)>,
}

impl Condition {
    /// The condition within its bounds. It is cut and never refused: no alert is lost because its words are many.
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

/// Keeps whole characters up to `bytes_max`.
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
