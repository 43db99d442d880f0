//! The section `[treasury]`: UR's credit times for top-ups, and alerts on pools.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive as _;
use tapgate_engine::money::Minor;

use super::reader::Reader;
use super::sections::ReadFile;
use super::setting::Setting;
use crate::alerting::watch;
use crate::provider::prefunding::AutoPrefundMode;
use crate::treasury::calendar::{CreditCalendar, LEAD_HOURS_MAX, WorkingDay};
use crate::treasury::follow::Settings;
use crate::treasury::forecast::Rules;
use crate::treasury::holidays::{self, Holidays};
use crate::treasury::level::Thresholds;

/// Most holiday files: the countries that one top-up passes through.
const HOLIDAY_FILES_MAX: usize = 16;

/// Largest caution, in standard deviations: beyond it money only lies idle.
const Z_MAX: u32 = 10;

/// Largest step and least top-up, in smallest units: 10^12.
const STEP_MAX: u64 = 1_000_000_000_000;

/// Longest cycle, in days.
const CYCLE_DAYS_MAX: u16 = 60;

/// Largest over-capture, in basis points: half again.
const OVER_CAPTURE_BPS_MAX: u16 = 5_000;

/// Longest wait before an alert is repeated, in seconds: a week.
const RENOTIFY_SECONDS_MAX: u32 = 604_800;

/// Longest age of a report before its alert, in seconds: the age up to which a decision may use it.
const REPORT_STALE_SECONDS_MAX: u32 = 2_592_000;

/// Largest hourly cap, in francs: 10^12.
const CAP_CHF_MAX: u64 = 1_000_000_000_000;

const DAYS: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];

/// Settings are small decimals; each has a nearest float.
fn float(decimal: Decimal) -> f64 {
    decimal.to_f64().unwrap_or_default()
}

/// Settings are bounded far below.
fn amount(amount: u64) -> Minor {
    Minor(i64::try_from(amount).unwrap_or(i64::MAX))
}

pub(super) fn treasury(reader: &mut Reader<'_>, read_file: ReadFile<'_>) -> Settings {
    let calendar = calendar(reader, read_file);
    let thresholds = thresholds(reader);
    let z = reader.value("treasury.z", |setting| setting.decimal(Decimal::ZERO..=Decimal::from(Z_MAX)));
    let step = reader.value("treasury.step", |setting| setting.integer(1..=STEP_MAX));
    let minimum = reader.value("treasury.minimum", |setting| setting.integer(0..=STEP_MAX));
    let cycle_days = reader.value("treasury.cycle_days", |setting| setting.integer(1..=CYCLE_DAYS_MAX));
    let over_capture_bps =
        reader.value("treasury.over_capture_bps", |setting| setting.integer(0..=OVER_CAPTURE_BPS_MAX));
    let rules = Rules {
        z: z.map_or(5.0, float),
        step: amount(step.unwrap_or(100_000)),
        minimum: amount(minimum.unwrap_or(100_000)),
        cycle_days: cycle_days.unwrap_or(7),
        over_capture_bps: over_capture_bps.unwrap_or(200),
        thresholds,
    };
    Settings { calendar, rules }
}

/// The thresholds of alerts, from the same section.
pub(super) fn watch(reader: &mut Reader<'_>, is_fed: bool, auto_prefund: AutoPrefundMode) -> watch::Settings {
    let interval = reader.value("treasury.watch_interval_seconds", |setting| setting.integer(1..=3_600));
    let renotify_seconds =
        reader.value("treasury.renotify_seconds", |setting| setting.integer(60..=RENOTIFY_SECONDS_MAX));
    let report_stale_seconds =
        reader.value("treasury.report_stale_seconds", |setting| setting.integer(60..=REPORT_STALE_SECONDS_MAX));
    let break_ageing_days = reader.value("treasury.break_ageing_days", |setting| setting.integer(1..=365));
    let hourly_cap_chf = reader.value("treasury.hourly_cap_chf", |setting| setting.integer(0..=CAP_CHF_MAX));
    let hourly_cap_suspends = reader.value("treasury.hourly_cap_suspends", Setting::boolean);
    watch::Settings {
        other_pools: Vec::new(),
        is_fed,
        interval: Duration::from_secs(interval.unwrap_or(60)),
        renotify_seconds: renotify_seconds.unwrap_or(14_400),
        report_stale_seconds: report_stale_seconds.unwrap_or(900),
        break_ageing_days: break_ageing_days.unwrap_or(3),
        hourly_cap_chf: hourly_cap_chf.unwrap_or(0),
        hourly_cap_suspends: hourly_cap_suspends.unwrap_or(false),
        auto_prefund,
    }
}

fn calendar(reader: &mut Reader<'_>, read_file: ReadFile<'_>) -> CreditCalendar {
    let time_zone = reader.value("treasury.time_zone", |setting| setting.parsed(time_zone));
    let cut_off = reader.value("treasury.cut_off", |setting| setting.parsed(wall_time));
    let lead_hours = reader.value("treasury.lead_hours", |setting| setting.integer(0..=LEAD_HOURS_MAX));
    CreditCalendar {
        // The binary embeds the default's time zone.
        time_zone: time_zone.or_else(|| time_zone_named("Europe/Zurich")).unwrap_or(TimeZone::UTC),
        cut_off: cut_off.unwrap_or(Time::constant(14, 0, 0, 0)),
        lead_hours: lead_hours.unwrap_or(4),
        working_days: working_days(reader),
        holidays: holidays(reader, read_file),
        closures: Vec::new(),
    }
}

fn working_days(reader: &mut Reader<'_>) -> BTreeSet<WorkingDay> {
    let days = reader.list("treasury.working_days", DAYS.len(), |reader, item| {
        let day = item.word(&DAYS);
        reader.judge(item, day)
    });
    if let Some(setting) = reader.find("treasury.working_days")
        && days.as_ref().is_some_and(Vec::is_empty)
    {
        reader.report(&setting, "must hold a day, or nothing is ever credited".to_owned());
    }
    let days = days.unwrap_or_else(|| DAYS.iter().take(5).map(|(_, day)| *day).collect());
    days.into_iter().map(WorkingDay::from).collect()
}

/// The holidays of all files together: a top-up passes through every country.
fn holidays(reader: &mut Reader<'_>, read_file: ReadFile<'_>) -> Holidays {
    let files = reader.list("treasury.holidays", HOLIDAY_FILES_MAX, |reader, item| {
        let path = reader.judge(item, item.text())?;
        match read_file(Path::new(path)).map(|text| holidays::parse(&text)) {
            Ok(Ok(holidays)) => return Some(holidays),
            Ok(Err(bad)) => bad.iter().for_each(|bad| reader.report(item, format!("in {path:?}, {bad}"))),
            Err(error) => reader.report(item, format!("cannot read {path:?}: {error}")),
        }
        None
    });
    files.unwrap_or_default().into_iter().flatten().collect()
}

fn thresholds(reader: &mut Reader<'_>) -> Thresholds {
    let range = Decimal::new(1, 4)..=Decimal::ONE;
    let notice = reader.value("treasury.notice_probability", |setting| setting.decimal(range.clone()));
    let urgent = reader.value("treasury.urgent_probability", |setting| setting.decimal(range));
    let (notice, urgent) = (notice.unwrap_or(Decimal::new(1, 2)), urgent.unwrap_or(Decimal::new(10, 2)));
    let given = reader.find("treasury.urgent_probability").or_else(|| reader.find("treasury.notice_probability"));
    if notice >= urgent
        && let Some(given) = given
    {
        let message =
            format!("urgent is worse than a notice: notice_probability is {notice}, urgent_probability is {urgent}");
        reader.report(&given, message);
    }
    Thresholds { notice: float(notice), urgent: float(urgent) }
}

fn time_zone(name: &str) -> Result<TimeZone, &'static str> {
    time_zone_named(name).ok_or("must be a time zone of the IANA database, such as Europe/Zurich")
}

fn time_zone_named(name: &str) -> Option<TimeZone> {
    TimeZone::get(name).ok()
}

fn wall_time(text: &str) -> Result<Time, &'static str> {
    let is_wall_time = text.len() == 5 && text.as_bytes().get(2) == Some(&b':');
    text.parse().ok().filter(|_| is_wall_time).ok_or("must be a time of the day, such as 14:00")
}
