//! The ops account's own status and limit: UR may charge both sides of a drawing on the pools.

use compact_str::{CompactString, format_compact};
use tapgate_engine::fact::{AccountStatus, AlertKind, Condition, Severity};
use tapgate_engine::time::UnixSeconds;

use super::facts;
use crate::provider::findings::OpsAccount;

/// The used share of the limit from which treasury must act, in percent: UR raises a limit by hand.
const USED_PERCENT: i128 = 80;

/// The ops account may not spend, or its limit is nearly used. UR's own accounts have no limit.
#[must_use]
pub fn ops_account_limited(shown: &OpsAccount, now: UnixSeconds) -> Option<Condition> {
    let OpsAccount { id, status, limit } = shown;
    let used = limit.counted_use(now);
    let is_limited = !id.is_unlimited();
    let share = i128::from(used.0) * 100;
    let (severity, title) = if *status != AccountStatus::Live {
        (Severity::Critical, format_compact!("UR shows the ops account {id} as {}: it may not spend", status.name()))
    } else if is_limited && used >= limit.client {
        (Severity::Critical, format_compact!("The ops account {id} has used its own limit at UR"))
    } else if is_limited && share >= i128::from(limit.client.0) * USED_PERCENT {
        (
            Severity::Urgent,
            format_compact!("The ops account {id} has used over {USED_PERCENT} % of its own limit at UR"),
        )
    } else {
        return None;
    };
    Some(Condition {
        kind: AlertKind::OpsAccountLimited,
        subject: CompactString::default(),
        severity,
        title,
        text:
            "UR may refuse what tapgate approves from the pools. Ask UR to raise the limit, or for an account without \
               one. docs/runbook/ops-account-limited.md says what to do until then."
                .into(),
        facts: facts([
            ("status", CompactString::const_new(status.name())),
            ("used", format_compact!("{used} CHF")),
            ("client", format_compact!("{} CHF", limit.client)),
        ]),
    })
}

#[cfg(test)]
mod tests {
    use tapgate_engine::contract::limit::{ClientLimit, LIMIT_PERIOD_SECONDS};
    use tapgate_engine::money::ChfMinor;

    use super::*;

    #[test]
    fn a_nearly_used_limit_and_a_status_that_may_not_spend_are_alerts() {
        #[track_caller]
        fn check(id: &str, status: AccountStatus, used: i64, now: i64, expected: Option<Severity>) {
            let limit = ClientLimit { used: ChfMinor(used), client: ChfMinor(100_000), start: UnixSeconds(1_000) };
            let shown = OpsAccount { id: id.parse().unwrap(), status, limit };
            let found = ops_account_limited(&shown, UnixSeconds(now));
            assert_eq!(found.map(|found| found.severity), expected);
        }
        let live = AccountStatus::Live;
        let (now, later) = (1_000, 1_001 + LIMIT_PERIOD_SECONDS);
        check("9999", live, 79_999, now, None);
        check("9999", live, 80_000, now, Some(Severity::Urgent));
        check("9999", live, 99_999, now, Some(Severity::Urgent));
        check("9999", live, 100_000, now, Some(Severity::Critical));
        check("9999", live, 100_000, later, None);
        check("9100", live, 100_000, now, None);
        check("9100", AccountStatus::Blocked, 0, now, Some(Severity::Critical));
        check("9999", AccountStatus::Tourist, 0, now, Some(Severity::Critical));
    }
}
