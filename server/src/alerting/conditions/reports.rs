//! A pool without a recent balance report.

use compact_str::format_compact;
use tapgate_engine::fact::{AlertKind, Condition, Severity};
use tapgate_engine::rows::PoolFigures;
use tapgate_engine::time::UnixMillis;

use super::facts;

/// The report is older than `max_age_seconds`. Only with feeds, which request the reports.
#[must_use]
pub fn report_stale(pool: &PoolFigures, max_age_seconds: u32, now: UnixMillis) -> Option<Condition> {
    let age_seconds = now.0.saturating_sub(pool.reported_at.0) / 1_000;
    if age_seconds <= max_age_seconds.into() {
        return None;
    }
    let currency = pool.currency;
    Some(Condition {
        kind: AlertKind::ReportStale,
        subject: currency.as_str().into(),
        severity: Severity::Warning,
        title: format_compact!("UR's balance of the {currency} pool is not known for {} minutes", age_seconds / 60),
        text: "Credits are not seen, and figures that are too old decline every tap with state_stale. The log says why UR \
               could not be asked; ur.ops_ur_id and ur.partner_key must be the ops account's."
            .into(),
        facts: facts([
            ("reported_at", format_compact!("{}", pool.reported_at.seconds().0)),
            ("age_seconds", format_compact!("{age_seconds}")),
        ]),
    })
}

#[cfg(test)]
mod tests {
    use tapgate_engine::money::Currency;

    use super::*;

    #[test]
    fn a_report_is_stale_once_it_is_older_than_the_setting() {
        let pool = PoolFigures { reported_at: UnixMillis(1_000_000), ..PoolFigures::empty(Currency::EUR) };
        let check = |now: u64, stale: bool| assert_eq!(report_stale(&pool, 900, UnixMillis(now)).is_some(), stale);
        check(999_000, false);
        check(1_000_000 + 900_999, false);
        check(1_000_000 + 901_000, true);
    }
}
