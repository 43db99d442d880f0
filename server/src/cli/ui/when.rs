//! Times and durations: UTC for people, unix seconds on the wire.

use crate::clock::Clock;
use crate::wire::date;

const DAY_SECONDS: i64 = 86_400;

/// Unix seconds now.
pub(in crate::cli) fn now() -> i64 {
    i64::try_from(Clock::start().now().at.0 / 1000).unwrap_or(i64::MAX)
}

/// `2026-11-21 08:48:17 UTC`.
pub(in crate::cli) fn utc(unix_seconds: i64) -> String {
    let (days, seconds) = (unix_seconds.div_euclid(DAY_SECONDS), unix_seconds.rem_euclid(DAY_SECONDS));
    let (year, month, day) = date(days);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// The inverse of [`date`]; `None` if the date does not exist.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let from_march = if month > 2 { month - 3 } else { month + 9 };
    let shifted = year - i64::from(month <= 2);
    let (cycle, of_cycle) = (shifted.div_euclid(400), shifted.rem_euclid(400));
    let of_year = (153 * from_march + 2) / 5 + day - 1;
    let found = cycle * 146_097 + of_cycle * 365 + of_cycle / 4 - of_cycle / 100 + of_year - 719_468;
    (date(found) == (year, month, day)).then_some(found)
}

/// A duration in its two largest units: `3 d 4 h`, `12 min`, `0 s`.
pub(in crate::cli) fn duration(seconds: i64) -> String {
    const UNITS: [(i64, &str); 4] = [(DAY_SECONDS, "d"), (3600, "h"), (60, "min"), (1, "s")];
    let mut rest = seconds.max(0);
    let mut parts = Vec::new();
    for (unit, name) in UNITS {
        let count = rest / unit;
        rest %= unit;
        if count > 0 {
            parts.push(format!("{count} {name}"));
        } else if !parts.is_empty() {
            break;
        }
        if parts.len() == 2 {
            break;
        }
    }
    if parts.is_empty() { "0 s".to_owned() } else { parts.join(" ") }
}

/// A time on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum When {
    /// Unix seconds.
    At(i64),
    /// Seconds before now.
    Ago(i64),
}

impl When {
    /// Unix seconds.
    pub(in crate::cli) fn resolve(self, now: i64) -> i64 {
        match self {
            When::At(at) => at,
            When::Ago(seconds) => now.saturating_sub(seconds),
        }
    }

    /// Reads `1768659501`, `2026-11-21`, `2026-11-21T08:48[:17]Z` (also as this program prints it), `90s`, `15m`, `2h`,
    /// `7d`.
    pub(in crate::cli) fn parse(text: &str) -> Result<When, String> {
        let form = "give 2026-11-21, 2026-11-21T08:48:17Z, an age such as 15m, 2h or 7d, or unix seconds".to_owned();
        let plain = text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit())).map(When::At);
        plain.or_else(|| age(text)).or_else(|| moment(text).map(When::At)).ok_or(form)
    }
}

fn age(text: &str) -> Option<When> {
    let unit = match text.chars().next_back()? {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => DAY_SECONDS,
        _ => return None,
    };
    number(text.get(..text.len() - 1)?, 1..=9).and_then(|count| count.checked_mul(unit)).map(When::Ago)
}

fn moment(text: &str) -> Option<i64> {
    let text = text.strip_suffix('Z').or(text.strip_suffix(" UTC")).unwrap_or(text);
    let (date, time) = text.split_once(['T', ' ']).unwrap_or((text, "00:00"));
    let mut date = date.split('-');
    let (year, month, day) = (number(date.next()?, 4..=4)?, number(date.next()?, 2..=2)?, number(date.next()?, 2..=2)?);
    let mut time = time.split(':');
    let (hour, minute) = (number(time.next()?, 2..=2)?, number(time.next()?, 2..=2)?);
    let second = time.next().map_or(Some(0), |second| number(second, 2..=2))?;
    let fits = hour < 24 && minute < 60 && second < 60 && date.next().is_none() && time.next().is_none();
    let days = days(year, month, day).filter(|_| fits)?;
    Some(days * DAY_SECONDS + hour * 3600 + minute * 60 + second)
}

fn number(text: &str, digits: std::ops::RangeInclusive<usize>) -> Option<i64> {
    text.parse().ok().filter(|_| digits.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_800_years_has_its_date() {
        let mut expected = (1600, 1, 1);
        let first = days(1600, 1, 1).unwrap();
        for count in 0..146_097 * 2 {
            assert_eq!(date(first + count), expected);
            assert_eq!(days(expected.0, expected.1, expected.2), Some(first + count));
            let (year, month, day) = expected;
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let last = match month {
                2 => 28 + i64::from(leap),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            expected = match (day == last, month) {
                (false, _) => (year, month, day + 1),
                (true, 12) => (year + 1, 1, 1),
                (true, _) => (year, month + 1, 1),
            };
        }
        assert_eq!(utc(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(utc(1_768_659_501), "2026-01-17 14:18:21 UTC");
        assert_eq!(utc(-1), "1969-12-31 23:59:59 UTC");
    }

    #[test]
    fn times_are_read_as_they_are_printed() {
        let check = |text: &str, expected: When| assert_eq!(When::parse(text), Ok(expected), "{text}");
        check("1768659501", When::At(1_768_659_501));
        check("2026-01-17T14:18:21Z", When::At(1_768_659_501));
        check(&utc(1_768_659_501), When::At(1_768_659_501));
        check("2026-01-17 14:18", When::At(1_768_659_480));
        check("2026-01-17", When::At(1_768_608_000));
        check("90s", When::Ago(90));
        check("2h", When::Ago(7200));
        check("7d", When::Ago(604_800));
        for bad in [
            "",
            "h",
            "-1",
            "2h30",
            "2026-02-30",
            "2026-1-1",
            "2026-01-17T24:00Z",
            "2026-01-17T14:18:21+01:00",
            "yesterday",
        ] {
            assert!(When::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations_name_two_units() {
        let check = |seconds: i64, expected: &str| assert_eq!(duration(seconds), expected);
        check(-5, "0 s");
        check(59, "59 s");
        check(3600, "1 h");
        check(3660, "1 h 1 min");
        check(3601, "1 h");
        check(90_000, "1 d 1 h");
        check(2_592_000, "30 d");
    }
}
