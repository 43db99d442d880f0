//! A pool below UR's floor.

use compact_str::format_compact;
use tapgate_engine::fact::{AlertKind, Condition, Severity};
use tapgate_engine::money::Minor;
use tapgate_engine::rows::PoolFigures;

use super::{facts, figure};
use crate::treasury::words::major;

/// The available balance is negative, or UR's balance itself is below the floor.
#[must_use]
pub fn floor_breached(pool: &PoolFigures) -> Option<Condition> {
    let currency = pool.currency;
    let balance_is_low = pool.reported < pool.floor;
    if pool.available >= Minor::ZERO && !balance_is_low {
        return None;
    }
    let text = if balance_is_low {
        format_compact!(
            "UR's balance of {} {currency} is below the floor of {}. Every tap on this pool is declined. Send a top-up now.",
            major(pool.reported),
            major(pool.floor),
        )
    } else {
        format_compact!(
            "More is approved or settled than UR's balance holds above the floor: {} {currency} are missing. UR settled \
             without asking, or its balance fell; `tapgate breaks` lists what was found. Send a top-up now.",
            major(-pool.available),
        )
    };
    Some(Condition {
        kind: AlertKind::FloorBreached,
        subject: currency.as_str().into(),
        severity: Severity::Critical,
        title: format_compact!("The {currency} pool is below its floor"),
        text,
        facts: facts([
            ("available", figure(pool.available, currency)),
            ("reported", figure(pool.reported, currency)),
            ("floor", figure(pool.floor, currency)),
        ]),
    })
}

#[cfg(test)]
mod tests {
    use tapgate_engine::money::Currency;

    use super::*;

    #[test]
    fn below_the_floor_and_not_at_it() {
        let check = |available: i64, reported: i64, floor: i64, says: Option<&str>| {
            let pool = PoolFigures {
                available: Minor(available),
                reported: Minor(reported),
                floor: Minor(floor),
                ..PoolFigures::empty(Currency::EUR)
            };
            let found = floor_breached(&pool);
            assert_eq!(found.is_some(), says.is_some(), "{pool:?}");
            if let (Some(found), Some(says)) = (found, says) {
                assert!(found.text.contains(says) && found.severity == Severity::Critical, "{}", found.text);
            }
        };
        check(0, 100, 100, None);
        check(500, 600, 100, None);
        check(-1_000, 1_100, 100, Some("10 EUR are missing"));
        check(-100, 9_900, 10_000, Some("balance of 99 EUR is below the floor of 100"));
        // Returns since the last report can hide a low balance.
        check(5, 9_900, 10_000, Some("balance of 99 EUR"));
    }
}
