//! How loud treasury is told of a pool: a state machine that tells each worsening at once and never flickers.
//!
//! A level is entered at its threshold and left below half of it, so a probability that trembles round a threshold is told
//! once. People are told the difference between the level and what they were told last; an acknowledgement and a silence
//! only hold back what they cover.

use serde::{Deserialize, Serialize};
use tapgate_engine::time::UnixMillis;

/// A level is left below this share of the threshold at which it is entered.
const LEAVE_SHARE: f64 = 0.5;

/// How bad it is, ascending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Nothing to tell.
    #[default]
    None,
    /// Think of a top-up.
    Notice,
    /// Send one now.
    Urgent,
    /// Nothing can be spent: taps are being declined.
    Critical,
}

impl Level {
    /// The level's name, as in messages and in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Level::None => "none",
            Level::Notice => "notice",
            Level::Urgent => "urgent",
            Level::Critical => "critical",
        }
    }
}

/// At which probability of running dry a level is entered; `0 < notice <= urgent <= 1`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// Above it: notice.
    pub notice: f64,
    /// Above it: urgent.
    pub urgent: f64,
}

/// What is seen of a pool.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Observation {
    /// Whether nothing can be spent from it.
    pub dry: bool,
    /// The probability that it runs dry; `None` while there is too little history to say.
    pub probability_empty: Option<f64>,
}

impl Thresholds {
    /// The level of an observation by itself.
    #[must_use]
    pub fn level(&self, seen: Observation) -> Level {
        self.level_at(seen, 1.0)
    }

    /// The level after another: what is entered at a threshold is left below half of it, and what was critical is left
    /// only once it would not be urgent.
    fn level_after(&self, level: Level, seen: Observation) -> Level {
        let (entered, kept) = (self.level_at(seen, 1.0), self.level_at(seen, LEAVE_SHARE));
        match level {
            Level::Critical if kept >= Level::Urgent => Level::Critical,
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

/// What is known of a pool's alert. It begins as [`Alert::default`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    level: Level,
    /// What people were told last.
    told: Level,
    told_at: UnixMillis,
    acknowledged: bool,
    silence: Option<Silence>,
}

/// Something that is known and need not be told: a planned drain, a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// What stands at this time is told.
    pub until: UnixMillis,
    /// What is worse than this is told all the same.
    pub up_to: Level,
}

/// What people are to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It is worse than they were told.
    Raised {
        /// What they were told.
        from: Level,
        /// What it is.
        to: Level,
    },
    /// It is better, and not over.
    Eased {
        /// What they were told.
        from: Level,
        /// What it is.
        to: Level,
    },
    /// It still stands, and nobody acknowledged it.
    Repeated(Level),
    /// It is over.
    Resolved {
        /// What they were told.
        from: Level,
    },
}

impl Alert {
    /// How bad it is.
    #[must_use]
    pub fn level(&self) -> Level {
        self.level
    }

    /// Whether somebody said that they know.
    #[must_use]
    pub fn is_acknowledged(&self) -> bool {
        self.acknowledged
    }

    /// Somebody knows: it is not repeated until it worsens.
    #[must_use]
    pub fn acknowledge(self) -> Alert {
        Alert { acknowledged: self.told > Level::None, ..self }
    }

    /// Replaces the silence; `None` ends it.
    #[must_use]
    pub fn silence(self, silence: Option<Silence>) -> Alert {
        Alert { silence, ..self }
    }

    /// What an observation makes of it, and what is to be told. An event that is not delivered is lost to this machine:
    /// delivering is the journal's work.
    #[must_use]
    pub fn observe(self, seen: Observation, rules: &AlertRules, now: UnixMillis) -> (Alert, Option<Event>) {
        let level = rules.thresholds.level_after(self.level, seen);
        let silence = self.silence.filter(|silence| now < silence.until);
        let alert = Alert { level, silence, ..self };
        if silence.is_some_and(|silence| level <= silence.up_to) {
            return (alert, None);
        }
        let (from, to) = (self.told, level);
        let repeat_at = self.told_at.0.saturating_add(rules.renotify_seconds.saturating_mul(1000));
        let event = if to > from {
            Event::Raised { from, to }
        } else if to == Level::None && from > to {
            Event::Resolved { from }
        } else if to < from {
            Event::Eased { from, to }
        } else if to > Level::None && !self.acknowledged && now.0 >= repeat_at {
            Event::Repeated(to)
        } else {
            return (alert, None);
        };
        // An acknowledgement covers what it was given for and everything milder, until the alert is over.
        let acknowledged = self.acknowledged && matches!(event, Event::Eased { .. });
        (Alert { told: level, told_at: now, acknowledged, ..alert }, Some(event))
    }
}

/// When people are told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AlertRules {
    /// When a level is entered.
    pub thresholds: Thresholds,
    /// What stands and nobody acknowledged is told again after so long, in seconds.
    pub renotify_seconds: u64,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const THRESHOLDS: Thresholds = Thresholds { notice: 0.01, urgent: 0.10 };
    const RULES: AlertRules = AlertRules { thresholds: THRESHOLDS, renotify_seconds: 3_600 };

    fn percent(percent: f64) -> Observation {
        Observation { dry: false, probability_empty: Some(percent / 100.0) }
    }

    /// Each line: minute, what is seen or done -> what is told. Seen: a percentage, `dry`, or `unknown`.
    #[track_caller]
    fn check(table: &str) {
        let mut alert = Alert::default();
        for line in table.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (step, expected) = line.split_once(" -> ").unwrap();
            let (minute, step) = step.split_once(' ').unwrap();
            let now = UnixMillis(minute.parse::<u64>().unwrap() * 60_000);
            let seen = match step.split_whitespace().collect::<Vec<_>>().as_slice() {
                ["acknowledge"] => {
                    alert = alert.acknowledge();
                    continue;
                }
                ["silence", level, until] => {
                    let up_to = if *level == "urgent" { Level::Urgent } else { Level::Notice };
                    let until = UnixMillis(until.parse::<u64>().unwrap() * 60_000);
                    alert = alert.silence(Some(Silence { until, up_to }));
                    continue;
                }
                ["dry"] => Observation { dry: true, probability_empty: Some(1.0) },
                ["unknown"] => Observation { dry: false, probability_empty: None },
                [number] => percent(number.parse().unwrap()),
                other => panic!("{other:?}"),
            };
            let (next, event) = alert.observe(seen, &RULES, now);
            let said = event.map_or("nothing".to_owned(), |event| match event {
                Event::Raised { from, to } => format!("raised {} {}", from.name(), to.name()),
                Event::Eased { from, to } => format!("eased {} {}", from.name(), to.name()),
                Event::Repeated(level) => format!("repeated {}", level.name()),
                Event::Resolved { from } => format!("resolved {}", from.name()),
            });
            assert_eq!(said, expected, "at {line}");
            alert = next;
        }
    }

    #[test]
    fn a_pool_runs_dry_and_is_topped_up() {
        check(
            "0 0.5 -> nothing
             1 1.0 -> nothing
             2 1.1 -> raised none notice
             3 10.5 -> raised notice urgent
             4 dry -> raised urgent critical
             5 99 -> nothing
             6 dry -> nothing
             7 5.1 -> nothing
             8 4.9 -> eased critical notice
             9 0.6 -> nothing
             10 0.4 -> resolved notice
             11 dry -> raised none critical
             12 0.1 -> resolved critical",
        );
    }

    #[test]
    fn flicker_is_told_once_and_repeated_in_time() {
        check(
            "0 10.1 -> raised none urgent
             1 9.9 -> nothing
             2 10.1 -> nothing
             59 5.1 -> nothing
             60 10.1 -> repeated urgent
             119 10.1 -> nothing
             120 5.1 -> repeated urgent
             121 4.9 -> eased urgent notice
             122 9.9 -> nothing
             123 10.1 -> raised notice urgent",
        );
    }

    #[test]
    fn an_acknowledgement_holds_until_it_worsens() {
        check(
            "0 acknowledge -> nothing
             1 2 -> raised none notice
             61 2 -> repeated notice
             62 acknowledge -> nothing
             200 2 -> nothing
             201 20 -> raised notice urgent
             261 20 -> repeated urgent
             262 acknowledge -> nothing
             263 2 -> eased urgent notice
             400 2 -> nothing
             401 0 -> resolved notice
             402 2 -> raised none notice
             462 2 -> repeated notice",
        );
    }

    #[test]
    fn a_silence_holds_back_what_it_covers_and_tells_what_stands_in_the_end() {
        check(
            "0 silence urgent 100 -> nothing
             1 2 -> nothing
             2 20 -> nothing
             3 dry -> raised none critical
             4 20 -> nothing
             5 2 -> nothing
             100 2 -> eased critical notice
             101 silence notice 200 -> nothing
             102 0 -> nothing
             103 2 -> nothing
             200 2 -> repeated notice",
        );
    }

    #[test]
    fn without_history_only_a_dry_pool_is_told() {
        check("0 unknown -> nothing\n1 dry -> raised none critical\n2 unknown -> resolved critical");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn worsening_is_told_at_once_and_flicker_once_a_cycle(
            seen in proptest::collection::vec((prop_oneof![0.0..0.02_f64, 0.04..0.12_f64], prop::bool::weighted(0.1)), 1..200),
        ) {
            let mut alert = Alert::default();
            let (mut raised, mut fell_below) = (0, 0);
            let mut told = Level::None;
            for (minute, (probability, dry)) in (0_u64..).zip(seen) {
                let observation = Observation { dry, probability_empty: Some(probability) };
                let event;
                (alert, event) = alert.observe(observation, &RULES, UnixMillis(minute * 60_000));
                let by_itself = THRESHOLDS.level(observation);
                prop_assert!(alert.level() >= by_itself);
                match event {
                    Some(Event::Raised { from, to }) => {
                        prop_assert!(from == told && to > told);
                        raised += 1;
                        told = to;
                    }
                    Some(Event::Eased { from, to }) => {
                        // Only below half of the threshold of what is left.
                        prop_assert!(from == told && probability <= 0.05 && !dry && to == alert.level());
                        fell_below += usize::try_from(told as i32 - to as i32).unwrap();
                        told = to;
                    }
                    Some(Event::Resolved { from }) => {
                        prop_assert!(from == told && probability <= 0.005 && !dry);
                        fell_below += usize::try_from(told as i32).unwrap();
                        told = Level::None;
                    }
                    Some(Event::Repeated(level)) => prop_assert_eq!(level, told),
                    None => {}
                }
                prop_assert!(by_itself <= told, "worsening was not told");
            }
            // Each level is raised once, and once more each time it was left.
            prop_assert!(raised <= 3 + fell_below);
        }
    }
}
