//! The time of credit of a top-up sent now. People operate UR (docs/ur-facts.md, Prefunding): they process transfers at a
//! cut-off on working days, need some hours of a working day, and rest on weekends and holidays.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, Timestamp, Zoned};
use tapgate_engine::fact::{Closed, Day};
use tapgate_engine::time::UnixMillis;

use super::holidays::Holidays;
use crate::wire::{date_of, day_of};

/// The search for an open day, in days: more than a year, so that only an endless closure exceeds it.
pub const DAYS_AHEAD_MAX: usize = 400;

/// Two weeks of working days, in hours.
pub const LEAD_HOURS_MAX: u16 = 240;

/// UR's hours of operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreditCalendar {
    /// UR's IANA zone.
    pub time_zone: TimeZone,
    /// UR processes money sent before this wall time on the same working day; money sent at it waits for the next.
    pub cut_off: Time,
    /// From the cut-off to the credit, counted on working days only, at most [`LEAD_HOURS_MAX`].
    pub lead_hours: u16,
    pub working_days: BTreeSet<WorkingDay>,
    pub holidays: Holidays,
    /// Closed days that people added.
    pub closures: Vec<Closure>,
}

/// A day of the week, ordered from Monday.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WorkingDay(i8);

impl From<Weekday> for WorkingDay {
    fn from(day: Weekday) -> WorkingDay {
        WorkingDay(day.to_monday_zero_offset())
    }
}

/// Days without credits, with a person's reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closure {
    pub from: Date,
    pub through: Date,
    pub reason: String,
}

/// The first possible credit of money sent now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// The money must be sent before this.
    pub cut_off: UnixMillis,
    pub credited_at: UnixMillis,
    /// Both as wall times, with the closed days between.
    pub why: String,
}

/// A stretch of closed days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    pub last_cut_off: UnixMillis,
    pub next_cut_off: UnixMillis,
}

impl CreditCalendar {
    /// The window of money sent at `sent_at`. Later money is never credited earlier, and no money before it is sent.
    ///
    /// `None` if no day is open within 400 days, or the time is beyond the year 9999.
    #[must_use]
    pub fn window(&self, sent_at: UnixMillis) -> Option<Window> {
        let sent = self.local(sent_at)?;
        let cut_off = self.cut_off_after(&sent)?;
        let credited = self.credited(&cut_off)?;
        let why = self.why(&sent, &cut_off, &credited);
        Some(Window { cut_off: millis(&cut_off)?, credited_at: millis(&credited)?, why })
    }

    /// The first cut-off after `after`; `None` as for [`CreditCalendar::window`].
    #[must_use]
    pub fn next_cut_off(&self, after: UnixMillis) -> Option<UnixMillis> {
        millis(&self.cut_off_after(&self.local(after)?)?)
    }

    /// The next stretch of closed days with a cut-off before it; `None` if there is none within 400 days.
    #[must_use]
    pub fn next_gap(&self, after: UnixMillis) -> Option<Gap> {
        let mut last = self.cut_off_after(&self.local(after)?)?;
        for _ in 0..DAYS_AHEAD_MAX {
            let next = self.cut_off_after(&last)?;
            if last.date().tomorrow().ok()? != next.date() {
                return Some(Gap { last_cut_off: millis(&last)?, next_cut_off: millis(&next)? });
            }
            last = next;
        }
        None
    }

    /// A local time for people: `Fri 3 Apr 14:00`.
    #[must_use]
    pub fn wall_time(&self, at: UnixMillis) -> String {
        self.local(at).map_or_else(String::new, |local| wall_time(&local))
    }

    /// The local day of the week: `Monday`.
    #[must_use]
    pub fn weekday(&self, at: UnixMillis) -> String {
        self.local(at).map_or_else(String::new, |local| local.strftime("%A").to_string())
    }

    #[must_use]
    pub fn zone_name(&self) -> String {
        self.time_zone.iana_name().unwrap_or("UTC").to_owned()
    }

    /// The local day, and the beginning of the next. All time beyond the year 9999 is one day.
    #[must_use]
    pub fn day(&self, at: UnixMillis) -> (Day, UnixMillis) {
        let found = self.local(at).and_then(|local| {
            let tomorrow = local.date().tomorrow().ok()?.to_zoned(self.time_zone.clone()).ok()?;
            Some((day_of(local.date())?, millis(&tomorrow)?))
        });
        found.unwrap_or((Day(u32::MAX), UnixMillis(u64::MAX)))
    }

    /// The calendar with further closed days.
    #[must_use]
    pub fn with_closures(&self, closed: impl IntoIterator<Item = Closed>) -> CreditCalendar {
        let closure = |closed: Closed| {
            let (from, through) = (date_of(closed.from)?, date_of(closed.through)?);
            Some(Closure { from, through, reason: closed.reason.into() })
        };
        let mut calendar = self.clone();
        calendar.closures.extend(closed.into_iter().filter_map(closure));
        calendar
    }

    /// The closed days of holiday files and of people, in `days` days from `from`, with their names.
    pub fn closed_days(&self, from: Date, days: usize) -> impl Iterator<Item = (Date, &str)> {
        from.series(Span::new().days(1)).take(days).filter_map(|date| Some((date, self.reason_closed(date)?)))
    }

    fn local(&self, at: UnixMillis) -> Option<Zoned> {
        let at = Timestamp::from_millisecond(i64::try_from(at.0).ok()?).ok()?;
        Some(at.to_zoned(self.time_zone.clone()))
    }

    fn is_open(&self, date: Date) -> bool {
        self.working_days.contains(&date.weekday().into()) && self.reason_closed(date).is_none()
    }

    /// The name of a closed day; `None` for an ordinary weekend.
    fn reason_closed(&self, date: Date) -> Option<&str> {
        let closure = || self.closures.iter().find(|closure| (closure.from..=closure.through).contains(&date));
        self.holidays.get(&date).or_else(|| closure().map(|closure| &closure.reason)).map(String::as_str)
    }

    fn cut_off_after(&self, after: &Zoned) -> Option<Zoned> {
        let mut date = after.date();
        for _ in 0..DAYS_AHEAD_MAX {
            if self.is_open(date) {
                // A wall time that the clocks skip counts as the time after the change. If that is another day, or the
                // zone skipped the whole day, this day has no cut-off.
                let cut_off = date.to_datetime(self.cut_off).to_zoned(self.time_zone.clone()).ok()?;
                if cut_off > *after && cut_off.date() == date {
                    return Some(cut_off);
                }
            }
            date = date.tomorrow().ok()?;
        }
        None
    }

    /// Lets the lead time pass, on working days only. It ends within a working day: an end at midnight moves to the
    /// beginning of the next working day.
    fn credited(&self, cut_off: &Zoned) -> Option<Zoned> {
        let mut left = SignedDuration::from_hours(self.lead_hours.into());
        let mut at = cut_off.clone();
        let mut date = cut_off.date();
        for _ in 0..DAYS_AHEAD_MAX {
            let tomorrow = date.tomorrow().ok()?;
            let midnight = tomorrow.to_zoned(self.time_zone.clone()).ok()?;
            if self.is_open(date) {
                let of_day = at.duration_until(&midnight);
                if left < of_day {
                    return at.checked_add(left).ok();
                }
                left -= of_day;
            }
            (at, date) = (midnight, tomorrow);
        }
        None
    }

    fn why(&self, sent: &Zoned, cut_off: &Zoned, credited: &Zoned) -> String {
        let mut why = format!("sent before {} it is credited {}", wall_time(cut_off), wall_time(credited));
        let mut closed = Vec::new();
        let mut date = sent.date();
        while date < credited.date() {
            if !self.is_open(date) {
                let reason = self.reason_closed(date).map_or_else(String::new, |reason| format!(" ({reason})"));
                closed.push(format!("{}{reason}", date.strftime("%a %-d %b")));
            }
            let Ok(tomorrow) = date.tomorrow() else { break };
            date = tomorrow;
        }
        /// Above this, days are counted instead of listed.
        const LISTED_MAX: usize = 6;
        match closed.len() {
            0 => {}
            1..=LISTED_MAX => _ = write!(why, "; closed {}", closed.join(", ")),
            days => _ = write!(why, "; {days} days between are closed"),
        }
        why
    }
}

fn wall_time(at: &Zoned) -> String {
    at.strftime("%a %-d %b %H:%M").to_string()
}

fn millis(at: &Zoned) -> Option<UnixMillis> {
    u64::try_from(at.timestamp().as_millisecond()).ok().map(UnixMillis)
}

#[cfg(test)]
pub(crate) mod tests {
    use jiff::civil::{date, time};
    use proptest::prelude::*;
    use tapgate_engine::testing::cases;

    use super::*;
    use crate::treasury::holidays;

    /// Zurich's bank days, cut-off at 14:00, credit four hours later.
    pub(crate) fn zurich() -> CreditCalendar {
        let weekdays = [Weekday::Monday, Weekday::Tuesday, Weekday::Wednesday, Weekday::Thursday, Weekday::Friday];
        CreditCalendar {
            time_zone: TimeZone::get("Europe/Zurich").unwrap(),
            cut_off: time(14, 0, 0, 0),
            lead_hours: 4,
            working_days: weekdays.into_iter().map(WorkingDay::from).collect(),
            holidays: holidays::parse(include_str!("../../../deploy/holidays/switzerland.txt")).unwrap(),
            closures: Vec::new(),
        }
    }

    fn at(calendar: &CreditCalendar, wall: &str) -> UnixMillis {
        let local = wall.replace(' ', "T").parse::<jiff::civil::DateTime>().unwrap();
        millis(&local.to_zoned(calendar.time_zone.clone()).unwrap()).unwrap()
    }

    fn minutes(calendar: &CreditCalendar, at: UnixMillis) -> String {
        calendar.local(at).unwrap().strftime("%Y-%m-%d %H:%M").to_string()
    }

    /// Each line: sent -> cut-off, credited; all as wall times.
    #[track_caller]
    fn check(calendar: &CreditCalendar, table: &str) {
        for line in table.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (sent, expected) = line.split_once(" -> ").unwrap();
            let said = match calendar.window(at(calendar, sent)) {
                Some(window) => {
                    format!("{}, {}", minutes(calendar, window.cut_off), minutes(calendar, window.credited_at))
                }
                None => "never".to_owned(),
            };
            assert_eq!(said, expected, "sent {sent}");
        }
    }

    #[test]
    fn an_ordinary_week() {
        check(
            &zurich(),
            "2026-09-09 09:00 -> 2026-09-09 14:00, 2026-09-09 18:00
             2026-09-09 13:59 -> 2026-09-09 14:00, 2026-09-09 18:00
             2026-09-09 14:00 -> 2026-09-10 14:00, 2026-09-10 18:00
             2026-09-11 13:59 -> 2026-09-11 14:00, 2026-09-11 18:00
             2026-09-11 14:00 -> 2026-09-14 14:00, 2026-09-14 18:00
             2026-09-12 03:00 -> 2026-09-14 14:00, 2026-09-14 18:00",
        );
    }

    #[test]
    fn chains_of_holidays_and_the_end_of_the_year() {
        check(
            &zurich(),
            "2026-04-02 13:00 -> 2026-04-02 14:00, 2026-04-02 18:00
             2026-04-02 14:00 -> 2026-04-07 14:00, 2026-04-07 18:00
             2026-12-24 15:00 -> 2026-12-28 14:00, 2026-12-28 18:00
             2026-12-31 15:00 -> 2027-01-04 14:00, 2027-01-04 18:00",
        );
    }

    #[test]
    fn lead_time_counts_on_working_days_only_and_never_ends_at_a_closed_midnight() {
        let lead = |lead_hours| CreditCalendar { lead_hours, ..zurich() };
        check(&lead(0), "2026-09-11 13:59 -> 2026-09-11 14:00, 2026-09-11 14:00");
        check(&lead(10), "2026-09-11 13:59 -> 2026-09-11 14:00, 2026-09-14 00:00");
        check(&lead(12), "2026-09-11 13:59 -> 2026-09-11 14:00, 2026-09-14 02:00");
        check(&lead(24), "2026-09-11 13:59 -> 2026-09-11 14:00, 2026-09-14 14:00");
        check(&lead(24), "2026-04-02 13:59 -> 2026-04-02 14:00, 2026-04-07 14:00");
    }

    #[test]
    fn clocks_that_change() {
        // In Zurich 02:00 to 03:00 does not exist on 2026-03-29 and occurs twice on 2026-10-25, both Sundays.
        let sunday = |cut_off| CreditCalendar {
            cut_off,
            working_days: [Weekday::Sunday.into()].into(),
            holidays: Holidays::new(),
            ..zurich()
        };
        check(&sunday(time(2, 30, 0, 0)), "2026-03-28 12:00 -> 2026-03-29 03:30, 2026-03-29 07:30");
        check(&sunday(time(1, 0, 0, 0)), "2026-03-28 12:00 -> 2026-03-29 01:00, 2026-03-29 06:00");
        check(&sunday(time(1, 0, 0, 0)), "2026-10-24 12:00 -> 2026-10-25 01:00, 2026-10-25 04:00");
        // A Sunday of 23 hours has 22 after 01:00; the other two fall on the next Sunday.
        let day = CreditCalendar { lead_hours: 24, ..sunday(time(1, 0, 0, 0)) };
        check(&day, "2026-03-28 12:00 -> 2026-03-29 01:00, 2026-04-05 02:00");
        // Samoa had no 2011-12-30: a Friday without a cut-off.
        let apia = CreditCalendar { time_zone: TimeZone::get("Pacific/Apia").unwrap(), ..zurich() };
        check(&apia, "2011-12-29 15:00 -> 2012-01-02 14:00, 2012-01-02 18:00");
    }

    #[test]
    fn closures_of_people_and_a_calendar_that_never_opens() {
        let closure = |from, through| Closure { from, through, reason: "moving house".to_owned() };
        let closed = |from, through| CreditCalendar { closures: vec![closure(from, through)], ..zurich() };
        let moving = closed(date(2026, 9, 10), date(2026, 9, 11));
        check(&moving, "2026-09-09 14:00 -> 2026-09-14 14:00, 2026-09-14 18:00");
        let window = moving.window(at(&moving, "2026-09-09 15:00")).unwrap();
        let closed_days = "closed Thu 10 Sep (moving house), Fri 11 Sep (moving house), Sat 12 Sep, Sun 13 Sep";
        let sent = "sent before Mon 14 Sep 14:00 it is credited Mon 14 Sep 18:00";
        assert_eq!(window.why, format!("{sent}; {closed_days}"));
        check(&closed(date(2026, 1, 1), date(2028, 1, 1)), "2026-09-09 09:00 -> never");
        check(&CreditCalendar { working_days: BTreeSet::new(), ..zurich() }, "2026-09-09 09:00 -> never");
        assert_eq!(zurich().window(UnixMillis(u64::MAX)), None);
    }

    #[test]
    fn the_last_cut_off_before_a_gap() {
        let zurich = zurich();
        let check = |after: &str, last: &str, next: &str| {
            let gap = zurich.next_gap(at(&zurich, after)).unwrap();
            assert_eq!(
                (minutes(&zurich, gap.last_cut_off), minutes(&zurich, gap.next_cut_off)),
                (last.into(), next.into())
            );
        };
        check("2026-09-09 09:00", "2026-09-11 14:00", "2026-09-14 14:00");
        check("2026-09-11 14:00", "2026-09-18 14:00", "2026-09-21 14:00");
        check("2026-03-30 09:00", "2026-04-02 14:00", "2026-04-07 14:00");
        check("2026-05-13 09:00", "2026-05-13 14:00", "2026-05-15 14:00");
        let all = (0..7).map(WorkingDay).collect();
        let never_closed = CreditCalendar { working_days: all, holidays: Holidays::new(), ..zurich.clone() };
        assert_eq!(never_closed.next_gap(at(&zurich, "2026-09-09 09:00")), None);
        assert_eq!(zurich.next_cut_off(at(&zurich, "2026-09-11 14:00")), Some(at(&zurich, "2026-09-14 14:00")));
    }

    fn calendars() -> impl Strategy<Value = CreditCalendar> {
        let zone =
            prop::sample::select(vec!["Europe/Zurich", "America/Sao_Paulo", "Pacific/Apia", "Asia/Tehran", "UTC"]);
        let days = prop::collection::btree_set((0_i8..7).prop_map(WorkingDay), 1..=7);
        let closure = (2_000_i64..20_000, 0_i64..40).prop_map(|(day, length)| {
            let from = date(1980, 1, 1).saturating_add(SignedDuration::from_hours(24 * day));
            let through = from.saturating_add(SignedDuration::from_hours(24 * length));
            Closure { from, through, reason: "closed".to_owned() }
        });
        let closures = prop::collection::vec(closure, 0..30);
        (zone, days, closures, 0_i8..24, 0_i8..60, 0_u16..=LEAD_HOURS_MAX).prop_map(
            |(zone, working_days, closures, hour, minute, lead_hours)| CreditCalendar {
                time_zone: TimeZone::get(zone).unwrap(),
                cut_off: time(hour, minute, 0, 0),
                lead_hours,
                working_days,
                closures,
                ..zurich()
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(cases(512)))]

        #[test]
        fn a_credit_comes_after_its_sending_in_order_and_on_an_open_day(
            calendar in calendars(),
            sent in 0_u64..2_000_000_000_000,
            later in 0_u64..800_000_000,
        ) {
            let (Some(first), Some(second)) =
                (calendar.window(UnixMillis(sent)), calendar.window(UnixMillis(sent + later)))
            else {
                return Ok(());
            };
            prop_assert!(first.cut_off.0 > sent && first.credited_at >= first.cut_off);
            prop_assert!(first.cut_off <= second.cut_off && first.credited_at <= second.credited_at);
            for at in [first.cut_off, first.credited_at] {
                prop_assert!(calendar.is_open(calendar.local(at).unwrap().date()));
            }
            prop_assert_eq!(calendar.next_cut_off(UnixMillis(sent)), Some(first.cut_off));
            let gap = calendar.next_gap(UnixMillis(sent));
            prop_assert!(gap.is_none_or(|gap| first.cut_off <= gap.last_cut_off && gap.last_cut_off < gap.next_cut_off));
        }
    }
}
