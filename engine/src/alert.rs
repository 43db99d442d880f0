//! Alerts: conditions that somebody must know of, from the moment they are raised until they are over.
//!
//! A condition is named by its kind and its subject, and at most one alert of that name is open at a time: a pool that
//! runs lower is the same alert with another severity, not a second one.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use crate::ids::{AlertId, Sequence};
use crate::record::{Author, Fact};
use crate::time::UnixMillis;

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

/// One alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// The last record folded into this row.
    pub sequence: Sequence,
    /// Which it is.
    pub id: AlertId,
    /// The condition as it was last told.
    pub condition: Condition,
    /// When it was raised.
    pub raised_at: UnixMillis,
    /// When it was last told to anybody.
    pub last_notified_at: UnixMillis,
    /// How often; the raising is the first time.
    pub notified: u32,
    /// Who has taken it on.
    pub acknowledged: Option<Acknowledgement>,
    /// It is not told again before this time.
    pub silenced_until: Option<UnixMillis>,
    /// How it ended, once it has.
    pub resolved: Option<AlertEnd>,
    /// Every record that changed it, oldest first: with them it can be shown as it stood at any of them.
    pub events: Vec<Sequence>,
}

/// Who has taken an alert on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledgement {
    /// When.
    pub at: UnixMillis,
    /// The person's name.
    pub by: CompactString,
    /// As the person gave it.
    pub reason: Option<CompactString>,
}

/// How an alert ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertEnd {
    /// When.
    pub at: UnixMillis,
    /// Who said so; `engine` where the condition was seen to be over.
    pub by: CompactString,
}

impl Alert {
    /// The alert that a record raises.
    #[must_use]
    pub fn raised(sequence: Sequence, at: UnixMillis, fact: &Fact) -> Option<Alert> {
        let Fact::AlertRaised(condition) = fact else { return None };
        Some(Alert {
            sequence,
            id: AlertId(sequence),
            condition: (**condition).clone(),
            raised_at: at,
            last_notified_at: at,
            notified: 1,
            acknowledged: None,
            silenced_until: None,
            resolved: None,
            events: vec![sequence],
        })
    }

    /// Whether its condition lasts.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.resolved.is_none()
    }

    /// Whether nobody wants to be told again at `now`: somebody has taken it on, silenced it, or it is over.
    #[must_use]
    pub fn is_quiet(&self, now: UnixMillis) -> bool {
        !self.is_open() || self.acknowledged.is_some() || self.silenced_until.is_some_and(|until| now < until)
    }

    /// Folds one record of this alert; what is over stays so.
    pub fn apply(&mut self, sequence: Sequence, at: UnixMillis, author: &Author, fact: &Fact) {
        if sequence <= self.sequence || !self.is_open() {
            return;
        }
        match fact {
            Fact::AlertChanged { condition, .. } => self.change(at, condition),
            Fact::AlertRenotified { .. } => self.told(at),
            Fact::AlertAcknowledged { reason, .. } => {
                self.acknowledged = Some(Acknowledgement { at, by: author.name().into(), reason: reason.clone() });
            }
            Fact::AlertSilenced { until, .. } => self.silenced_until = (*until > at).then_some(*until),
            Fact::AlertResolved { .. } => self.resolved = Some(AlertEnd { at, by: author.name().into() }),
            _ => return,
        }
        self.events.push(sequence);
        self.sequence = sequence;
    }

    fn change(&mut self, at: UnixMillis, condition: &Condition) {
        if condition.severity > self.condition.severity {
            // Who has taken on a notice has not taken on what became critical.
            self.acknowledged = None;
            self.silenced_until = None;
        }
        self.condition = condition.clone();
        if !self.is_quiet(at) {
            self.told(at);
        }
    }

    fn told(&mut self, at: UnixMillis) {
        self.last_notified_at = at;
        self.notified = self.notified.saturating_add(1);
    }
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
