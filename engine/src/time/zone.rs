//! Time zones of calendar windows.

use std::sync::OnceLock;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::UnixSeconds;

/// A zone of the IANA database, with its rules: it is looked up once, when it is set or read.
#[derive(Clone)]
pub struct Zone(TimeZone);

/// The engine's own copy of the database: a replay decides as the first decision did, whatever the machine has installed.
fn database() -> &'static TimeZoneDatabase {
    static DATABASE: OnceLock<TimeZoneDatabase> = OnceLock::new();
    DATABASE.get_or_init(TimeZoneDatabase::bundled)
}

impl Zone {
    /// The zone of this name, in whatever case; `None` if there is none.
    #[must_use]
    pub fn named(name: &str) -> Option<Zone> {
        let zone = database().get(name).ok().filter(|zone| !zone.is_unknown())?;
        zone.iana_name().is_some().then_some(Zone(zone))
    }

    /// The name in the IANA database.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or_default()
    }

    /// The calendar day in which `now` lies: its first second and that of the next day. A day has 23 to 25 hours.
    #[must_use]
    pub fn day(&self, now: UnixSeconds) -> [UnixSeconds; 2] {
        self.between(now, |date| Some([date, date.tomorrow().ok()?]))
    }

    /// The calendar month in which `now` lies: its first second and that of the next month.
    #[must_use]
    pub fn month(&self, now: UnixSeconds) -> [UnixSeconds; 2] {
        self.between(now, |date| Some([date.first_of_month(), date.last_of_month().tomorrow().ok()?]))
    }

    fn between(&self, now: UnixSeconds, dates: impl FnOnce(Date) -> Option<[Date; 2]>) -> [UnixSeconds; 2] {
        let bounds = || {
            let date = Timestamp::from_second(now.0).ok()?.to_zoned(self.0.clone()).date();
            let [first, next] = dates(date)?;
            // Where a day begins within a gap, or twice, it begins at its earliest second.
            let start = |date: Date| Some(UnixSeconds(date.to_zoned(self.0.clone()).ok()?.timestamp().as_second()));
            Some([start(first)?, start(next)?])
        };
        // Outside of the years that a calendar has, a window has no start and no end.
        bounds().unwrap_or([UnixSeconds(i64::MIN), UnixSeconds(i64::MAX)])
    }

    /// The local time, with offset and zone: `2026-03-29T00:00:00+01:00[Europe/Zurich]`.
    #[must_use]
    pub fn shown(&self, at: UnixSeconds) -> String {
        Timestamp::from_second(at.0).map_or_else(|_| at.0.to_string(), |at| at.to_zoned(self.0.clone()).to_string())
    }
}

impl PartialEq for Zone {
    fn eq(&self, other: &Zone) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Zone {}

impl std::fmt::Debug for Zone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Zone {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Zone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Zone, D::Error> {
        let name = compact_str::CompactString::deserialize(deserializer)?;
        let zone = Zone::named(&name).ok_or_else(|| D::Error::custom("no time zone"))?;
        // A record has one encoding.
        if zone.name() == name { Ok(zone) } else { Err(D::Error::custom("no canonical name of a time zone")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hours of the day or month around a time of a zone, and the local time at which it begins.
    fn check(zone: &str, at: &str, is_month: bool, hours: i64, begins: &str) {
        let zone = Zone::named(zone).unwrap();
        let at: Timestamp = at.parse().unwrap();
        let now = UnixSeconds(at.as_second());
        let [first, next] = if is_month { zone.month(now) } else { zone.day(now) };
        assert!((first..next).contains(&now));
        assert_eq!((next.0 - first.0, zone.shown(first).as_str()), (hours * 3600, begins), "{at} in {zone:?}");
    }

    #[test]
    fn days_and_months_begin_and_end_by_the_clock_of_their_zone() {
        let [day, month] = [false, true];
        let zurich = "Europe/Zurich";
        check(zurich, "2026-01-17T12:00:00Z", day, 24, "2026-01-17T00:00:00+01:00[Europe/Zurich]");
        check(zurich, "2026-01-16T23:00:00Z", day, 24, "2026-01-17T00:00:00+01:00[Europe/Zurich]");
        check(zurich, "2026-01-16T22:59:59Z", day, 24, "2026-01-16T00:00:00+01:00[Europe/Zurich]");
        check(zurich, "2026-03-29T12:00:00Z", day, 23, "2026-03-29T00:00:00+01:00[Europe/Zurich]");
        check(zurich, "2026-10-25T12:00:00Z", day, 25, "2026-10-25T00:00:00+02:00[Europe/Zurich]");
        check(zurich, "2026-03-10T12:00:00Z", month, 31 * 24 - 1, "2026-03-01T00:00:00+01:00[Europe/Zurich]");
        check(zurich, "2026-10-31T22:59:59Z", month, 31 * 24 + 1, "2026-10-01T00:00:00+02:00[Europe/Zurich]");
        check(zurich, "2028-02-29T12:00:00Z", month, 29 * 24, "2028-02-01T00:00:00+01:00[Europe/Zurich]");
        check("America/New_York", "2026-11-01T12:00:00Z", day, 25, "2026-11-01T00:00:00-04:00[America/New_York]");
        check("Asia/Kathmandu", "2026-05-05T18:15:00Z", day, 24, "2026-05-06T00:00:00+05:45[Asia/Kathmandu]");
        check("UTC", "2026-05-05T18:15:00Z", day, 24, "2026-05-05T00:00:00+00:00[UTC]");
        // The clock springs from midnight to one.
        check("Africa/Cairo", "2026-04-24T12:00:00Z", day, 23, "2026-04-24T01:00:00+03:00[Africa/Cairo]");
        // The clock falls from one to midnight: the day begins at the first of both.
        check("America/Havana", "2026-11-01T12:00:00Z", day, 25, "2026-11-01T00:00:00-04:00[America/Havana]");
    }

    #[test]
    fn a_zone_is_known_by_its_name_alone() {
        assert_eq!(Zone::named("europe/zurich").unwrap().name(), "Europe/Zurich");
        for none in ["", "CEST+1", "Europe/Zuerich", "Etc/Unknown", "/etc/localtime"] {
            assert!(Zone::named(none).is_none(), "{none}");
        }
        let bytes = postcard::to_allocvec("Europe/Zurich").unwrap();
        assert_eq!(postcard::from_bytes::<Zone>(&bytes).unwrap(), Zone::named("Europe/Zurich").unwrap());
        assert!(postcard::from_bytes::<Zone>(&postcard::to_allocvec("europe/zurich").unwrap()).is_err());
    }

    #[test]
    fn a_time_that_no_calendar_has_lies_in_a_window_without_end() {
        for now in [i64::MIN, i64::MAX] {
            assert_eq!(
                Zone::named("UTC").unwrap().month(UnixSeconds(now)),
                [UnixSeconds(i64::MIN), UnixSeconds(i64::MAX)]
            );
        }
    }
}
