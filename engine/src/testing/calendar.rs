//! Calendar arithmetic of the model, by the rules of two zones as their laws say them today.

pub(super) const DAY: i64 = 86_400;

const HOUR: i64 = 3_600;

/// A zone whose summer begins and ends on Sundays.
pub(super) struct Zone {
    /// Seconds ahead of UTC in winter.
    offset: i64,
    /// The first second of a year's summer, and of the winter after it.
    summer: fn(i64) -> [i64; 2],
}

/// From one o'clock UTC on the last Sunday of March to the same of October.
pub(super) const ZURICH: Zone =
    Zone { offset: HOUR, summer: |year| [(year, 3, 31), (year, 10, 31)].map(|last| sunday_until(last) * DAY + HOUR) };

/// From two o'clock on the second Sunday of March to two o'clock on the first Sunday of November.
pub(super) const NEW_YORK: Zone = Zone {
    offset: -5 * HOUR,
    summer: |year| [sunday_until((year, 3, 14)) * DAY + 7 * HOUR, sunday_until((year, 11, 7)) * DAY + 6 * HOUR],
};

/// The local second of a second of UTC.
pub(super) fn local(at: i64, zone: &Zone) -> i64 {
    let (year, _) = month_of(at.div_euclid(DAY));
    let [begins, ends] = (zone.summer)(year);
    at + zone.offset + if (begins..ends).contains(&at) { HOUR } else { 0 }
}

/// The year and month of a local second.
pub(super) fn month(local: i64) -> (i64, i64) {
    month_of(local.div_euclid(DAY))
}

/// The last Sunday up to a date, in days since 1970-01-01, a Thursday.
fn sunday_until((year, month, day): (i64, i64, i64)) -> i64 {
    let first = (1_970..year).map(days_of).sum::<i64>();
    let days = first + (1..month).map(|month| length(year, month)).sum::<i64>() + day - 1;
    days - (days + 4).rem_euclid(7)
}

fn month_of(mut days: i64) -> (i64, i64) {
    let mut year = 1_970;
    while days >= days_of(year) {
        days -= days_of(year);
        year += 1;
    }
    let mut month = 1;
    while days >= length(year, month) {
        days -= length(year, month);
        month += 1;
    }
    (year, month)
}

fn days_of(year: i64) -> i64 {
    if is_leap(year) { 366 } else { 365 }
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn length(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}
