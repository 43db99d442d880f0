//! Which of UR's rates are plausible enough to price with: a pure judgement over the last rate and the inverse.

use tapgate_engine::contract::pricing::RATE_ONE;
use tapgate_engine::time::UnixMillis;

/// The bounds of UR's contract on a spread; the upper one times the factor of a closed market (10,005 of 10,000).
const SPREAD_MIN: u32 = 9_000;
const SPREAD_MAX: u32 = 11_005;

/// Permitted difference from the inverse, in percent.
const INVERSE_PERCENT: u64 = 5;

/// Answers that confirm a suspicious rate, and the least time between them.
const CONFIRMATIONS: u32 = 2;
const CONFIRMATIONS_APART_MILLIS: u64 = 30_000;

/// A rate from this factor on is taken from a person only.
const FACTOR_MAX: u64 = 2;

/// A suspicious rate, until later answers confirm it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Suspect {
    /// The first suspicious rate.
    pub(super) rate: u32,
    /// Time of the last answer that counted.
    pub(super) asked_at: UnixMillis,
    pub(super) confirmations: u32,
}

/// A rate as UR answered it, and the figures it is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) rate: u32,
    pub(super) spread: u32,
    /// The opposite rate, of the same answers or else the last one.
    pub(super) inverse: Option<u32>,
    /// The rate in use.
    pub(super) last: Option<u32>,
    pub(super) at: UnixMillis,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    Taken,
    /// The last rate stays, and ages.
    Refused(Suspect),
}

/// Judges one answer; `before` is the open suspicion about the same rate.
#[must_use]
pub(super) fn judge(asked: &Asked, before: Option<Suspect>, jump_bps: u16) -> Judgement {
    let Asked { rate, spread, inverse, last, at } = *asked;
    let is_coherent = (SPREAD_MIN..=SPREAD_MAX).contains(&spread) && agrees_with_inverse(rate, inverse, last);
    if is_coherent && last.is_none_or(|last| is_within(rate, last, jump_bps)) {
        return Judgement::Taken;
    }
    let first = Suspect { rate, asked_at: at, confirmations: 0 };
    let Some(suspect) = before.filter(|suspect| is_coherent && is_within(rate, suspect.rate, jump_bps)) else {
        return Judgement::Refused(first);
    };
    if at.0 < suspect.asked_at.0.saturating_add(CONFIRMATIONS_APART_MILLIS) {
        return Judgement::Refused(suspect);
    }
    let confirmations = suspect.confirmations.saturating_add(1);
    if confirmations >= CONFIRMATIONS && last.is_none_or(|last| !is_for_a_person(rate, last)) {
        return Judgement::Taken;
    }
    Judgement::Refused(Suspect { asked_at: at, confirmations, ..suspect })
}

/// Within 5 % of the inverse, or one last decimal of the smaller of the two. A rate without an inverse is compared with
/// the last one only; without that either, nothing vouches for it.
fn agrees_with_inverse(rate: u32, inverse: Option<u32>, last: Option<u32>) -> bool {
    let Some(inverse) = inverse else { return last.is_some() };
    let one = u64::from(RATE_ONE) * u64::from(RATE_ONE);
    let allowed = (one * INVERSE_PERCENT / 100).max(u64::from(rate.max(inverse)));
    (u64::from(rate) * u64::from(inverse)).abs_diff(one) <= allowed
}

fn is_within(rate: u32, other: u32, jump_bps: u16) -> bool {
    u64::from(rate.abs_diff(other)) * 10_000 <= u64::from(other) * u64::from(jump_bps)
}

fn is_for_a_person(rate: u32, last: u32) -> bool {
    let (less, more) = (u64::from(rate.min(last)), u64::from(rate.max(last)));
    more >= less * FACTOR_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    const JUMP: u16 = 1_000;

    fn asked(rate: u32, spread: u32, inverse: Option<u32>, last: Option<u32>) -> Asked {
        Asked { rate, spread, inverse, last, at: UnixMillis(0) }
    }

    #[test]
    fn a_rate_is_taken_at_once_only_if_everything_vouches_for_it() {
        #[track_caller]
        fn check(rate: u32, spread: u32, inverse: Option<u32>, last: Option<u32>, taken: bool) {
            let judged = judge(&asked(rate, spread, inverse, last), None, JUMP);
            assert_eq!(judged == Judgement::Taken, taken, "{judged:?}");
        }
        check(9_168, 10_000, Some(10_907), Some(9_168), true);
        check(9_168, 10_000, Some(10_907), None, true);
        check(9_168, 10_000, None, Some(9_168), true);
        check(9_168, 10_000, None, None, false);
        check(1, 10_000, Some(10_907), Some(9_168), false);
        check(1, 10_000, Some(10_907), None, false);
        for (spread, taken) in
            [(1, false), (150, false), (8_999, false), (9_000, true), (11_005, true), (11_006, false)]
        {
            check(9_168, spread, Some(10_907), Some(9_168), taken);
        }
        // A dollar is 149.50 yen, a yen 0.0067 dollars: one last decimal decides.
        check(1_495_000, 10_000, Some(67), None, true);
        check(67, 10_000, Some(1_495_000), None, true);
        check(1_495_000, 10_000, Some(71), None, false);
        check(14_000_000, 10_000, Some(8), None, true);
        check(14_000_000, 10_000, Some(9), None, false);
        check(10_000, 10_000, Some(10_500), None, true);
        check(10_000, 10_000, Some(10_501), None, false);
        check(11_000, 10_000, Some(9_091), Some(10_000), true);
        check(11_001, 10_000, Some(9_091), Some(10_000), false);
        check(8_999, 10_000, Some(11_112), Some(10_000), false);
        check(u32::MAX, 10_000, Some(u32::MAX), Some(u32::MAX), false);
    }

    #[test]
    fn a_suspicious_rate_needs_two_later_answers_and_a_factor_of_two_a_person() {
        /// Answers at times in seconds, with rate and inverse; the last one's judgement.
        #[track_caller]
        fn check(answers: &[(u64, u32, u32)], taken: bool) {
            let mut suspect = None;
            for (number, (at, rate, inverse)) in answers.iter().copied().enumerate() {
                let at = UnixMillis(at * 1_000);
                let answer = Asked { at, ..asked(rate, 10_000, Some(inverse), Some(10_000)) };
                let judged = judge(&answer, suspect, JUMP);
                let is_last = number + 1 == answers.len();
                assert_eq!(judged == Judgement::Taken, taken && is_last, "answer {number}: {judged:?}");
                suspect = match judged {
                    Judgement::Taken => None,
                    Judgement::Refused(suspect) => Some(suspect),
                };
            }
        }
        check(&[(0, 12_000, 8_333), (30, 12_000, 8_333)], false);
        check(&[(0, 12_000, 8_333), (30, 12_100, 8_264), (60, 12_000, 8_333)], true);
        check(&[(0, 12_000, 8_333), (29, 12_000, 8_333), (58, 12_000, 8_333)], false);
        check(&[(0, 12_000, 8_333), (30, 14_000, 7_143), (60, 14_000, 7_143)], false);
        check(&[(0, 12_000, 8_333), (30, 12_000, 9_999), (60, 12_000, 8_333)], false);
        check(&[(0, 20_000, 5_000), (30, 20_000, 5_000), (60, 20_000, 5_000), (90, 20_000, 5_000)], false);
        check(&[(0, 5_000, 20_000), (30, 5_000, 20_000), (60, 5_000, 20_000)], false);
        check(&[(0, 19_999, 5_000), (30, 19_999, 5_000), (60, 19_999, 5_000)], true);
    }
}
