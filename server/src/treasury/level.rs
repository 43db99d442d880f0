//! The alert level of a pool. A level begins at its threshold and ends below half of it, so a probability that
//! fluctuates around a threshold notifies once.
//!
//! The pool's alert in the journal (`engine/src/rows/alert.rs`) keeps the notified level, the notifications and the
//! acknowledgement.

use tapgate_engine::fact::Severity;

/// A level ends below this share of its threshold.
const LEAVE_SHARE: f64 = 0.5;

/// In ascending order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    #[default]
    None,
    /// Consider a top-up.
    Notice,
    /// Send a top-up now.
    Urgent,
    /// The pool is dry: tapgate declines taps.
    Critical,
}

impl Level {
    /// As in messages and JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Level::None => "none",
            Level::Notice => "notice",
            Level::Urgent => "urgent",
            Level::Critical => "critical",
        }
    }

    /// `None` without an alert.
    #[must_use]
    pub fn severity(self) -> Option<Severity> {
        match self {
            Level::None => None,
            Level::Notice => Some(Severity::Notice),
            Level::Urgent => Some(Severity::Urgent),
            Level::Critical => Some(Severity::Critical),
        }
    }

    /// The level that an alert with this severity notified.
    #[must_use]
    pub fn told(severity: Option<Severity>) -> Level {
        match severity {
            None => Level::None,
            Some(Severity::Notice | Severity::Warning) => Level::Notice,
            Some(Severity::Urgent) => Level::Urgent,
            Some(Severity::Critical) => Level::Critical,
        }
    }
}

/// The probabilities of running dry above which levels begin; `0 < notice <= urgent <= 1`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    pub notice: f64,
    pub urgent: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Observation {
    /// Whether the pool has nothing to spend.
    pub dry: bool,
    /// Whether it had nothing at the previous check.
    pub was_dry: bool,
    /// `None` while there is too little history.
    pub probability_empty: Option<f64>,
}

impl Thresholds {
    /// The level of an observation alone.
    #[must_use]
    pub fn level(&self, seen: Observation) -> Level {
        self.level_at(seen, 1.0)
    }

    /// The level after another, with hysteresis: a level ends below half of its threshold. Critical ends only once the
    /// pool would not be urgent, or, without a probability, once it was not dry at two checks.
    #[must_use]
    pub fn level_after(&self, level: Level, seen: Observation) -> Level {
        let (entered, kept) = (self.level_at(seen, 1.0), self.level_at(seen, LEAVE_SHARE));
        match level {
            // A level does not ease only because its probability became unknown, as when no top-up can be credited.
            Level::Notice | Level::Urgent if seen.probability_empty.is_none() => entered.max(level),
            Level::Critical if kept >= Level::Urgent => Level::Critical,
            Level::Critical if seen.probability_empty.is_none() && seen.was_dry => Level::Critical,
            Level::Critical => kept,
            _ => entered.max(level.min(kept)),
        }
    }

    fn level_at(&self, seen: Observation, share: f64) -> Level {
        let above = |threshold: f64| seen.probability_empty.is_some_and(|probability| probability > threshold * share);
        match seen.dry {
            true => Level::Critical,
            false if above(self.urgent) => Level::Urgent,
            false if above(self.notice) => Level::Notice,
            false => Level::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tapgate_engine::testing::cases;

    use super::*;

    const THRESHOLDS: Thresholds = Thresholds { notice: 0.01, urgent: 0.10 };

    fn percent(percent: f64) -> Observation {
        Observation { dry: false, was_dry: false, probability_empty: Some(percent / 100.0) }
    }

    /// Each line: an observation (a percentage, `dry`, or `unknown`) -> the level from then on.
    #[track_caller]
    fn check(table: &str) {
        let (mut level, mut was_dry) = (Level::None, true);
        for line in table.lines().map(str::trim) {
            let (seen, expected) = line.split_once(" -> ").unwrap();
            let seen = match seen {
                "dry" => Observation { dry: true, ..percent(100.0) },
                "unknown" => Observation { probability_empty: None, ..percent(0.0) },
                "dry unknown" => Observation { dry: true, probability_empty: None, was_dry },
                number => percent(number.parse().unwrap()),
            };
            let seen = Observation { was_dry, ..seen };
            was_dry = seen.dry;
            level = THRESHOLDS.level_after(level, seen);
            assert_eq!(level.name(), expected, "at {line}");
            assert_eq!(Level::told(level.severity()), level, "an alert keeps the level");
        }
    }

    #[test]
    fn a_pool_runs_dry_and_is_topped_up() {
        check(
            "0.5 -> none
             1.0 -> none
             1.1 -> notice
             10.5 -> urgent
             dry -> critical
             99 -> critical
             dry -> critical
             5.1 -> critical
             4.9 -> notice
             0.6 -> notice
             0.4 -> none
             dry -> critical
             0.1 -> none",
        );
    }

    #[test]
    fn a_fluctuating_probability_keeps_its_level() {
        check(
            "10.1 -> urgent\n9.9 -> urgent\n10.1 -> urgent\n5.1 -> urgent\n4.9 -> notice\n9.9 -> notice\n10.1 -> urgent",
        );
    }

    #[test]
    fn without_history_only_a_dry_pool_notifies() {
        check("unknown -> none\ndry unknown -> critical\nunknown -> critical\nunknown -> none");
    }

    #[test]
    fn without_history_a_pool_around_zero_notifies_once() {
        check("dry unknown -> critical\nunknown -> critical\ndry unknown -> critical\nunknown -> critical");
        check("dry -> critical\n0.1 -> none");
    }

    #[test]
    fn a_level_does_not_ease_when_its_probability_becomes_unknown() {
        check("1.1 -> notice\nunknown -> notice\n10.5 -> urgent\nunknown -> urgent\n0.4 -> none");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(cases(512)))]

        #[test]
        fn a_level_rises_at_once_and_falls_only_below_half_of_its_threshold(
            seen in proptest::collection::vec((prop_oneof![0.0..0.02_f64, 0.04..0.12_f64], prop::bool::weighted(0.1)), 1..200),
        ) {
            let mut level = Level::None;
            for (probability, dry) in seen {
                let observation = Observation { dry, was_dry: dry, probability_empty: Some(probability) };
                let before = level;
                level = THRESHOLDS.level_after(before, observation);
                prop_assert!(level >= THRESHOLDS.level(observation), "worsening is seen at once");
                let left = match before {
                    _ if level >= before => true,
                    Level::Critical | Level::Urgent => probability <= 0.05 && !dry,
                    Level::Notice | Level::None => probability <= 0.005 && !dry,
                };
                prop_assert!(left, "{before:?} was left for {level:?} at {probability}");
            }
        }
    }
}
