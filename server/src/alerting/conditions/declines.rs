//! A decline rate above the usual.

use std::collections::BTreeMap;

use compact_str::{CompactString, format_compact};
use tapgate_engine::fact::{AlertKind, Condition, Reason, Severity};

use crate::treasury::outcomes::{Declines, RECENT_MINUTES};

/// Fewer declines are no spike, whatever their share.
const DECLINES_MIN: u64 = 20;

/// The prior of the usual share, and its weight in decisions: a new program's first declines are mistakes of its
/// set-up.
const USUAL_PRIOR: f64 = 0.10;
const DECISIONS_TO_BELIEVE: f64 = 200.0;

/// A spike is at least this many standard deviations above the usual share, and this multiple of it.
const SIGMAS_MIN: f64 = 4.0;
const TIMES_MIN: f64 = 1.5;

/// An open alert ends once both are below this share of their thresholds, so that a fluctuating share notifies once.
const LEAVE_SHARE: f64 = 0.5;

/// Urgent from this share on, until below the other.
const URGENT_SHARE: f64 = 0.5;
const URGENT_LEAVE_SHARE: f64 = 0.35;

/// Whether the last ten minutes declined far more than usual; `told` is the severity of the open alert.
#[must_use]
pub fn decline_spike(seen: &Declines, told: Option<Severity>) -> Option<Condition> {
    let is_open = told.is_some();
    let declines: u64 = seen.declined.values().sum();
    let (decisions, share) = (seen.decisions as f64, declines as f64 / (seen.decisions as f64).max(1.0));
    let usual = (seen.usual * seen.usual_decisions + USUAL_PRIOR * DECISIONS_TO_BELIEVE)
        / (seen.usual_decisions + DECISIONS_TO_BELIEVE);
    let ease = if is_open { LEAVE_SHARE } else { 1.0 };
    let sigma = (usual * (1.0 - usual) / decisions.max(1.0)).sqrt();
    let is_far = share > usual + ease * SIGMAS_MIN * sigma && share > usual * (1.0 + ease * (TIMES_MIN - 1.0));
    let declines_min = if is_open { DECLINES_MIN / 2 } else { DECLINES_MIN };
    if declines < declines_min || !is_far {
        return None;
    }
    // Each rise of severity notifies again, even after an acknowledgement, so a fluctuating share must not count as a
    // rise.
    let urgent = if told == Some(Severity::Urgent) { URGENT_LEAVE_SHARE } else { URGENT_SHARE };
    let severity = if share > urgent { Severity::Urgent } else { Severity::Warning };
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    let mut facts: Vec<(CompactString, CompactString)> = vec![
        ("decisions".into(), format_compact!("{}", seen.decisions)),
        ("declined".into(), format_compact!("{declines}")),
        ("usual_share".into(), percent(usual).into()),
    ];
    let families = families(&seen.declined);
    facts.extend(families.iter().map(|(family, (count, _))| ((*family).into(), format_compact!("{count}"))));
    let most = families.values().max_by_key(|(count, _)| *count).map(|(_, what_to_do)| *what_to_do);
    Some(Condition {
        kind: AlertKind::DeclineSpike,
        subject: CompactString::default(),
        severity,
        title: format_compact!("{} of taps are declined, usually {}", percent(share), percent(usual)),
        text: format_compact!(
            "{declines} of {} decisions in the last {RECENT_MINUTES} minutes were declined. {}",
            seen.decisions,
            most.unwrap_or_default()
        ),
        facts,
    })
}

/// The number of declines by family of reasons, with the remedy.
fn families(declined: &BTreeMap<Reason, u64>) -> BTreeMap<&'static str, (u64, &'static str)> {
    let mut families: BTreeMap<_, (u64, _)> = BTreeMap::new();
    for (reason, count) in declined {
        let (family, what_to_do) = family(*reason);
        families.entry(family).or_insert((0, what_to_do)).0 += count;
    }
    families
}

fn family(reason: Reason) -> (&'static str, &'static str) {
    match reason {
        Reason::ProgramSuspended => ("program", "The program is suspended: `tapgate program` says why."),
        Reason::ProviderSuspended => {
            ("provider", "A provider suspended its card service: `tapgate program` says which and why.")
        }
        Reason::UnknownUser | Reason::UnknownCard | Reason::AlreadyReversed | Reason::ParentNotFound => {
            ("unknown", "Most are of users or cards that were not imported: import them.")
        }
        Reason::AccountClosed
        | Reason::AccountBlocked
        | Reason::AccountSoftBlocked
        | Reason::AccountNotLive
        | Reason::UserSuspended
        | Reason::CardFrozen
        | Reason::CardDeleted => {
            ("account", "Most are for the state of accounts or cards: look whether UR blocks many.")
        }
        Reason::AmountInvalid | Reason::CurrencyUnsupported => ("request", "Most cannot be priced: look at the rates."),
        Reason::CountryBlocked
        | Reason::MccBlocked
        | Reason::MerchantBlocked
        | Reason::ChannelBlocked
        | Reason::TransactionAmountLimit
        | Reason::VelocityAmount
        | Reason::VelocityCount => {
            ("controls", "Most are stopped by controls: an attack, or a control that is too tight.")
        }
        Reason::RatesStale | Reason::StateStale => {
            ("stale", "Most are for figures that are too old: UR does not answer.")
        }
        Reason::LimitExceeded | Reason::InsufficientUserFunds | Reason::FiatAllowanceMissing => {
            ("funds", "Most are for the users' own limits and funds: look whether the partner's figures arrive.")
        }
        Reason::PoolStressed | Reason::PoolReserveHeld | Reason::PoolExhausted => {
            ("pool", "Most are for an empty pool: send a top-up now.")
        }
        Reason::DeadlineExceeded | Reason::JournalUnavailable => {
            ("engine", "Most are for a slow disk: look at the journal.")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(decisions: u64, declined: u64, usual: f64, usual_decisions: f64) -> Declines {
        Declines { decisions, declined: [(Reason::PoolExhausted, declined)].into(), usual, usual_decisions }
    }

    #[test]
    fn a_spike_is_far_above_the_usual_and_never_a_handful() {
        let check = |seen: Declines, is_open: bool, spike: bool| {
            let told = is_open.then_some(Severity::Warning);
            assert_eq!(decline_spike(&seen, told).is_some(), spike, "{seen:?} {is_open}");
        };
        // Thin data: at night, all of a few taps are declined.
        check(seen(5, 5, 0.02, 10_000.0), false, false);
        check(seen(19, 19, 0.02, 10_000.0), false, false);
        check(seen(20, 20, 0.02, 10_000.0), false, true);
        // Without earlier decisions: the prior is a tenth.
        check(seen(100, 14, 0.0, 0.0), false, false);
        check(seen(100, 40, 0.0, 0.0), false, true);
        // A third is usual.
        check(seen(1_000, 330, 0.33, 100_000.0), false, false);
        check(seen(1_000, 480, 0.33, 100_000.0), false, false);
        check(seen(1_000, 520, 0.33, 100_000.0), false, true);
        // Rare and steady: significant, but not half as much again.
        check(seen(100_000, 2_500, 0.02, 1e9), false, false);
        // An open alert ends only well below its threshold.
        check(seen(1_000, 420, 0.33, 100_000.0), true, true);
        check(seen(1_000, 400, 0.33, 100_000.0), true, false);
        check(seen(0, 0, 0.0, 0.0), true, false);
    }

    #[test]
    fn a_share_that_fluctuates_around_a_half_notifies_once() {
        let severity = |declined, told| decline_spike(&seen(100, declined, 0.02, 1e6), Some(told)).unwrap().severity;
        assert_eq!(severity(51, Severity::Warning), Severity::Urgent);
        assert_eq!(severity(49, Severity::Urgent), Severity::Urgent);
        assert_eq!(severity(49, Severity::Warning), Severity::Warning);
        assert_eq!(severity(34, Severity::Urgent), Severity::Warning);
    }

    #[test]
    fn the_text_names_the_family_of_reasons() {
        let declined = [(Reason::PoolExhausted, 70), (Reason::PoolReserveHeld, 20), (Reason::CardFrozen, 10)];
        let found = decline_spike(
            &Declines { decisions: 120, declined: declined.into(), usual: 0.02, usual_decisions: 1e6 },
            None,
        );
        let found = found.unwrap();
        assert_eq!(
            (found.title.as_str(), found.severity),
            ("83 % of taps are declined, usually 2 %", Severity::Urgent)
        );
        assert!(found.text.contains("empty pool"), "{}", found.text);
        let facts: Vec<_> = found.facts.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(facts[3..], [("account", "10"), ("pool", "90")]);
    }
}
