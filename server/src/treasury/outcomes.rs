//! Recent decisions and the usual share of declines: for the alerts about declines and about the hourly cap.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tapgate_engine::fact::{Reason, Verdict};
use tapgate_engine::money::ChfMinor;
use tapgate_engine::time::UnixMillis;

const MINUTE_MS: u64 = 60_000;

/// The minutes, including the current one, whose declines are compared with the usual share.
pub const RECENT_MINUTES: u64 = 10;

/// An hour, and the current minute.
const MINUTES_MAX: u64 = 61;

/// The weight of the previous minute in the usual share: it halves in three days, so that a campaign becomes usual but
/// a bad night does not.
const DECAY_PER_MINUTE: f64 = 0.999_84;

/// Decisions of one minute.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Minute {
    approved: u64,
    declined: BTreeMap<Reason, u64>,
    approved_chf: ChfMinor,
    /// The part approved since the program was last resumed.
    since_resumed_chf: ChfMinor,
}

impl Minute {
    fn declines(&self) -> u64 {
        self.declined.values().sum()
    }
}

/// The decisions of the last hour, minute by minute, and the share of declines before the last ten minutes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcomes {
    minutes: BTreeMap<u64, Minute>,
    /// The usual share includes decisions up to this minute.
    learnt: u64,
    usual_decisions: f64,
    usual_declines: f64,
    is_suspended: bool,
}

/// The declines, with the usual share for comparison.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Declines {
    /// All decisions of the last ten minutes.
    pub decisions: u64,
    /// The declines among them, by reason.
    pub declined: BTreeMap<Reason, u64>,
    /// The usual share, 0 to 1; 0 without earlier decisions.
    pub usual: f64,
    /// The number of decisions behind it, older decisions with less weight.
    pub usual_decisions: f64,
}

impl Outcomes {
    /// Counts a decision. Francs saturate: at the end of `i64` they exceed every cap. A late answer is not a decision of its own: the approval was counted, and is released.
    pub fn add(&mut self, at: UnixMillis, verdict: &Verdict) {
        self.roll(at);
        let minute = self.minutes.entry(at.0 / MINUTE_MS).or_default();
        match verdict {
            Verdict::Approved(approval) => {
                minute.approved += 1;
                minute.approved_chf = minute.approved_chf.saturating_add(approval.spent);
                minute.since_resumed_chf = minute.since_resumed_chf.saturating_add(approval.spent);
            }
            Verdict::Declined(reason) => *minute.declined.entry(*reason).or_default() += 1,
        }
    }

    /// Notes that the program was suspended or resumed. The resume accepts all earlier approvals.
    pub fn suspend(&mut self, suspended: bool) {
        self.is_suspended = suspended;
        if !suspended {
            self.minutes.values_mut().for_each(|minute| minute.since_resumed_chf = ChfMinor::ZERO);
        }
    }

    /// Lets time pass: minutes that are no longer recent enter the usual share, and minutes older than an hour are
    /// dropped.
    pub fn roll(&mut self, now: UnixMillis) {
        let now = now.0 / MINUTE_MS;
        let learn_until = now.saturating_sub(RECENT_MINUTES);
        if learn_until > self.learnt {
            let passed = (learn_until - self.learnt) as f64;
            let decay = DECAY_PER_MINUTE.powf(passed);
            self.usual_decisions *= decay;
            self.usual_declines *= decay;
            for (_, minute) in self.minutes.range(self.learnt + 1..=learn_until) {
                let declines = minute.declines();
                self.usual_decisions += (minute.approved + declines) as f64;
                self.usual_declines += declines as f64;
            }
            self.learnt = learn_until;
        }
        self.minutes.retain(|minute, _| minute + MINUTES_MAX > now);
    }

    /// The declines of the last ten minutes against the usual.
    #[must_use]
    pub fn declines(&self, now: UnixMillis) -> Declines {
        let since = (now.0 / MINUTE_MS).saturating_sub(RECENT_MINUTES) + 1;
        let mut seen = Declines::default();
        for (_, minute) in self.minutes.range(since..) {
            seen.decisions += minute.approved + minute.declines();
            for (reason, count) in &minute.declined {
                *seen.declined.entry(*reason).or_default() += count;
            }
        }
        if self.usual_decisions > 0.0 {
            seen.usual = self.usual_declines / self.usual_decisions;
            seen.usual_decisions = self.usual_decisions;
        }
        seen
    }

    /// Approvals of the last 60 minutes, including the current one.
    #[must_use]
    pub fn approved_chf(&self, now: UnixMillis) -> ChfMinor {
        self.last_hour(now, |minute| minute.approved_chf)
    }

    /// The part of them since the program was last resumed; zero while it is suspended.
    #[must_use]
    pub fn approved_since_resumed_chf(&self, now: UnixMillis) -> ChfMinor {
        if self.is_suspended { ChfMinor::ZERO } else { self.last_hour(now, |minute| minute.since_resumed_chf) }
    }

    fn last_hour(&self, now: UnixMillis, part: fn(&Minute) -> ChfMinor) -> ChfMinor {
        let since = (now.0 / MINUTE_MS).saturating_sub(60) + 1;
        let minutes = self.minutes.range(since..);
        minutes.fold(ChfMinor::ZERO, |sum, (_, minute)| sum.saturating_add(part(minute)))
    }
}

#[cfg(test)]
mod tests {
    use tapgate_engine::fact::{Approval, Source, Upcharge};
    use tapgate_engine::money::{Currency, Minor, Money};

    use super::*;

    /// Sunday 2026-09-06 00:00 UTC.
    const START_MS: u64 = 1_788_652_800_000;

    fn at(minute: u64) -> UnixMillis {
        UnixMillis(START_MS + minute * MINUTE_MS)
    }

    /// Approves the amount, or declines.
    fn happen(outcomes: &mut Outcomes, minute: u64, chf: Option<i64>) {
        let approved = |chf: i64| Approval {
            source: Source::Crypto,
            amount: Minor(1),
            paid: Money { amount: Minor(1), currency: Currency::EUR },
            spent: ChfMinor(chf),
            limit: ChfMinor(0),
            funds: None,
            upcharge: Upcharge::default(),
        };
        let verdict = chf.map_or(Verdict::Declined(Reason::PoolExhausted), |chf| Verdict::Approved(approved(chf)));
        outcomes.add(at(minute), &verdict);
    }

    #[test]
    fn an_hour_is_its_last_sixty_minutes() {
        let mut outcomes = Outcomes::default();
        happen(&mut outcomes, 0, Some(1));
        happen(&mut outcomes, 1, Some(20));
        happen(&mut outcomes, 60, Some(300));
        happen(&mut outcomes, 60, None);
        let check = |minute: u64, expected: i64| assert_eq!(outcomes.approved_chf(at(minute)).0, expected, "{minute}");
        check(60, 320);
        check(61, 300);
        check(119, 300);
        check(120, 0);
    }

    #[test]
    fn a_resume_is_respected_for_what_was_approved_before_it() {
        let mut outcomes = Outcomes::default();
        happen(&mut outcomes, 0, Some(7));
        let check = |outcomes: &Outcomes, minute: u64, expected: i64| {
            assert_eq!(outcomes.approved_since_resumed_chf(at(minute)).0, expected, "{minute}");
        };
        check(&outcomes, 0, 7);
        outcomes.suspend(true);
        check(&outcomes, 0, 0);
        outcomes.suspend(false);
        check(&outcomes, 0, 0);
        // Also within the minute of the resume.
        happen(&mut outcomes, 0, Some(10));
        happen(&mut outcomes, 1, Some(200));
        check(&outcomes, 1, 210);
        check(&outcomes, 60, 200);
        assert_eq!(outcomes.approved_chf(at(1)).0, 217);
    }

    #[test]
    fn decisions_become_usual_after_ten_minutes() {
        let mut outcomes = Outcomes::default();
        for _ in 0..3 {
            happen(&mut outcomes, 5, Some(1));
        }
        happen(&mut outcomes, 6, None);
        let seen = outcomes.declines(at(14));
        assert_eq!((seen.decisions, seen.declined.values().sum::<u64>(), seen.usual_decisions), (4, 1, 0.0));
        outcomes.roll(at(15));
        assert_eq!((outcomes.declines(at(15)).decisions, outcomes.declines(at(15)).usual), (1, 0.0));
        outcomes.roll(at(16));
        let seen = outcomes.declines(at(16));
        assert_eq!(seen.decisions, 0);
        assert!((seen.usual - 0.25).abs() < 1e-3, "{seen:?}");
        // Half of the weight is gone after three days.
        outcomes.roll(at(16 + 3 * 24 * 60));
        let seen = outcomes.declines(at(16 + 3 * 24 * 60));
        assert!((1.9..2.1).contains(&seen.usual_decisions) && (seen.usual - 0.25).abs() < 1e-3, "{seen:?}");
    }

    #[test]
    fn a_long_pause_loses_nothing_of_the_usual_and_keeps_no_minutes() {
        let mut outcomes = Outcomes::default();
        happen(&mut outcomes, 0, None);
        happen(&mut outcomes, 500, Some(7));
        assert_eq!(outcomes.minutes.len(), 1);
        assert!(outcomes.declines(at(500)).usual > 0.99);
    }
}
