//! The calendar: days as dates, and times in the form of RFC 3339.

use jiff::civil::Date;
use jiff::{Span, Unit};
use tapgate_engine::fact::Day;
use tapgate_engine::time::UnixMillis;

const DAY_MILLIS: u64 = 86_400_000;

/// `2026-01-17T14:18:21.250Z`.
#[must_use]
pub fn rfc3339(at: UnixMillis) -> String {
    let (days, millis) = (at.0 / DAY_MILLIS, at.0 % DAY_MILLIS);
    let (year, month, day) = date(i64::try_from(days).unwrap_or(i64::MAX));
    let (hour, minute, second) = (millis / 3_600_000, millis / 60_000 % 60, millis / 1_000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", millis % 1_000)
}

/// The Gregorian date of a day counted from 1970-01-01. Years start in March, so that the leap day is the last day, and
/// run in cycles of 400 years, which all have the same 146,097 days.
#[must_use]
pub fn date(days: i64) -> (i64, i64, i64) {
    let days = days.saturating_add(719_468);
    let (cycle, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (cycle * 400 + year + i64::from(month <= 2), month, day)
}

/// The journal's form of a date; `None` before 1970.
#[must_use]
pub fn day_of(date: Date) -> Option<Day> {
    let days = date.since((Unit::Day, Date::constant(1970, 1, 1))).ok()?.get_days();
    u32::try_from(days).ok().map(Day)
}

/// The date of a day; `None` beyond the year 9999.
#[must_use]
pub fn date_of(day: Day) -> Option<Date> {
    Date::constant(1970, 1, 1).checked_add(Span::new().try_days(i64::from(day.0)).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        let check = |millis: u64, text: &str| assert_eq!(rfc3339(UnixMillis(millis)), text);
        check(0, "1970-01-01T00:00:00.000Z");
        check(951_782_399_999, "2000-02-28T23:59:59.999Z");
        check(951_782_400_000, "2000-02-29T00:00:00.000Z");
        check(1_768_659_501_250, "2026-01-17T14:18:21.250Z");
        check(4_107_542_399_000, "2100-02-28T23:59:59.000Z");
        check(4_107_542_400_000, "2100-03-01T00:00:00.000Z");
    }
}
