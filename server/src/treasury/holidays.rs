//! Holiday files: one day a line, `2026-12-25 Christmas Day`. Blank lines and lines that begin with `#` are ignored.
//! `deploy/holidays/` has examples.

use std::collections::BTreeMap;
use std::fmt;

use jiff::civil::Date;

/// Days on which UR credits no top-ups, with their names.
pub type Holidays = BTreeMap<Date, String>;

/// In bytes; sentences quote the name.
const NAME_BYTES_MAX: usize = 80;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// From 1.
    pub line: usize,
    pub message: &'static str,
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

/// Reads a holiday file.
///
/// # Errors
/// Every bad line, in order: a day that was skipped silently would let treasury wait for a credit in vain.
pub fn parse(text: &str) -> Result<Holidays, Vec<BadLine>> {
    let mut holidays = Holidays::new();
    let mut bad = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line_number = index + 1;
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match holiday(line) {
            Ok((date, _)) if holidays.contains_key(&date) => {
                bad.push(BadLine { line: line_number, message: "this day is listed twice" });
            }
            Ok((date, name)) => {
                holidays.insert(date, name.to_owned());
            }
            Err(message) => bad.push(BadLine { line: line_number, message }),
        }
    }
    if bad.is_empty() { Ok(holidays) } else { Err(bad) }
}

fn holiday(line: &str) -> Result<(Date, &str), &'static str> {
    const FORM: &str = "must be a date and a name, such as 2026-12-25 Christmas Day";
    let (date, name) = line.split_once(' ').ok_or(FORM)?;
    // The parser accepts more forms of a date; files have only one, so that a typing error is detected.
    let is_dash = |place: usize| place == 4 || place == 7;
    let fits = |(place, byte): (usize, u8)| if is_dash(place) { byte == b'-' } else { byte.is_ascii_digit() };
    if date.len() != 10 || !date.bytes().enumerate().all(fits) {
        return Err(FORM);
    }
    let date: Date = date.parse().map_err(|_| "there is no such day")?;
    let name = name.trim();
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
        return Err("the name must be 1 to 80 printable bytes");
    }
    Ok((date, name))
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan;
    use jiff::civil::date;
    use proptest::prelude::*;
    use tapgate_engine::testing::cases;

    use super::*;

    const SWITZERLAND: &str = include_str!("../../../deploy/holidays/switzerland.txt");
    const TARGET: &str = include_str!("../../../deploy/holidays/target.txt");

    #[test]
    fn every_bad_line_is_reported_with_its_number() {
        let check = |text: &str, expected: &[&str]| {
            let said = parse(text).map_or_else(|bad| bad.iter().map(BadLine::to_string).collect(), |_| Vec::new());
            assert_eq!(said, expected, "of {text:?}");
        };
        const FORM: &str = "must be a date and a name, such as 2026-12-25 Christmas Day";
        check("# comment\n\n2026-12-25 Christmas Day\r\n  2026-12-26   Boxing Day  \n", &[]);
        check("2026-12-25", &[&format!("line 1: {FORM}")]);
        check("\n25.12.2026 Christmas\n20261225 x\n", &[&format!("line 2: {FORM}"), &format!("line 3: {FORM}")]);
        check("2026-02-29 Leap\n2026-13-01 x", &["line 1: there is no such day", "line 2: there is no such day"]);
        check("2026-01-01 a\n2026-01-01 b", &["line 2: this day is listed twice"]);
        check("2026-01-01 \u{7}", &["line 1: the name must be 1 to 80 printable bytes"]);
    }

    /// Easter Sunday by Gauss's rule in Meeus's form, to detect errors in the files.
    fn easter(year: i16) -> Date {
        let year = i32::from(year);
        let (golden, century, of_century) = (year % 19, year / 100, year % 100);
        let epact = (19 * golden + century - century / 4 - (century - (century + 8) / 25 + 1) / 3 + 15) % 30;
        let weekday = (32 + 2 * (century % 4) + 2 * (of_century / 4) - epact - of_century % 4) % 7;
        let late = (golden + 11 * epact + 22 * weekday) / 451;
        let of_march = epact + weekday - 7 * late + 22;
        date(i16::try_from(year).unwrap(), 3, 1) + (of_march - 1).days()
    }

    #[test]
    fn the_shipped_files_hold_the_days_that_move_and_those_that_stay() {
        let (switzerland, target) = (parse(SWITZERLAND).unwrap(), parse(TARGET).unwrap());
        assert_eq!(easter(2026), date(2026, 4, 5));
        for year in 2026..=2031 {
            let easter = easter(year);
            let good_friday = easter - 2.days();
            let common = [date(year, 1, 1), good_friday, easter + 1.day(), date(year, 5, 1), date(year, 12, 25)];
            let common: Vec<Date> = common.into_iter().chain([date(year, 12, 26)]).collect();
            let swiss = [date(year, 1, 2), easter + 39.days(), easter + 50.days(), date(year, 8, 1)];
            let of_year = |holidays: &Holidays| holidays.keys().filter(|day| day.year() == year).count();
            assert!(common.iter().all(|day| target.contains_key(day) && switzerland.contains_key(day)), "{year}");
            assert!(swiss.iter().all(|day| switzerland.contains_key(day)), "{year}");
            assert_eq!((of_year(&target), of_year(&switzerland)), (6, 10));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(cases(256)))]

        #[test]
        fn any_text_is_read_or_answered_with_its_lines(text in "([0-9-]{8,11} ?[a-z#\\n]{0,4}){0,8}") {
            if let Err(bad) = parse(&text) {
                let lines = text.lines().count();
                prop_assert!(!bad.is_empty() && bad.iter().all(|bad| (1..=lines).contains(&bad.line)));
            }
        }
    }
}
