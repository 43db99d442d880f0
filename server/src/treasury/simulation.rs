//! Checks that the probabilities come true: forecasts, hour by hour, of years of generated traffic.
//!
//! `cargo test -p tapgate --lib treasury::simulation -- --ignored --nocapture` prints the tables of `docs/treasury.md`.

use std::fmt::Write as _;

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan, tz::TimeZone};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use tapgate_engine::money::{Currency, Minor};
use tapgate_engine::time::UnixMillis;

use super::burn::Burn;
use super::calendar::CreditCalendar;
use super::calendar::tests::zurich;
use super::forecast::{PoolNow, Rules, TopUp, forecast};
use super::level::Thresholds;

/// 2026-01-05 00:00 UTC, a Monday.
const BEGIN_MS: u64 = 1_767_571_200_000;

const HOUR_MS: u64 = 3_600_000;

const WEEK_HOURS: usize = 168;

/// The first judged week: earlier forecasts are mostly the prior.
const JUDGED_FROM_WEEK: usize = 8;

/// Programs of three sizes, in taps an hour on average.
const TAPS_AN_HOUR: [f64; 3] = [3.0, 15.0, 60.0];

const RULES: Rules = Rules {
    z: 5.0,
    step: Minor(100_000),
    minimum: Minor(100_000),
    cycle_days: 7,
    over_capture_bps: 0,
    thresholds: Thresholds { notice: 0.01, urgent: 0.10 },
};

/// Generated spending, hour by hour.
struct Traffic {
    random: ChaCha8Rng,
    taps_an_hour: f64,
}

impl Traffic {
    fn new(seed: u64) -> Traffic {
        let size = usize::try_from(seed % 3).unwrap();
        Traffic { random: ChaCha8Rng::seed_from_u64(seed), taps_an_hour: TAPS_AN_HOUR[size] }
    }

    /// Net spending of each hour: hours of the week, busy and quiet weeks and days, pay-days, December, and growth by a
    /// third each year.
    fn weeks(mut self, weeks: usize) -> Vec<i64> {
        let (mut of_week, mut hours) = (0.0, Vec::new());
        for week in 0..weeks {
            of_week = 0.6 * of_week + 0.12 * self.normal();
            for day in 0..7 {
                let date = date_of(hours.len());
                let of_day = 0.10 * self.normal();
                let payday = if (25..=27).contains(&date.day()) { 1.4 } else { 1.0 };
                let december = if date.month() == 12 { 1.2 } else { 1.0 };
                let growth = (1.0 + 1.0 / 3.0_f64).powf(f64::from(u32::try_from(week).unwrap()) / 52.0);
                let busy = f64::exp(of_week + of_day) * payday * december * growth;
                for hour in 0..24 {
                    hours.push(self.hour(busy * usual(day, hour)));
                }
            }
        }
        hours
    }

    /// Taps of one hour, log-normal with a median of 22.00; one in thirty is returned.
    fn hour(&mut self, busy: f64) -> i64 {
        let taps = self.poisson(busy * self.taps_an_hour);
        let mut spent = 0.0;
        for _ in 0..taps {
            let amount = f64::exp(7.7 + 0.9 * self.normal());
            spent += if self.random.random_ratio(1, 30) { -amount } else { amount };
        }
        rounded(spent)
    }

    fn normal(&mut self) -> f64 {
        let uniform: f64 = self.random.random_range(f64::MIN_POSITIVE..1.0);
        let angle: f64 = self.random.random_range(0.0..std::f64::consts::TAU);
        (-2.0 * uniform.ln()).sqrt() * angle.cos()
    }

    /// Draws waiting times between taps.
    fn poisson(&mut self, mean: f64) -> u32 {
        let (mut waited, mut taps) = (0.0, 0);
        loop {
            waited -= self.random.random_range(f64::MIN_POSITIVE..1.0).ln();
            if waited > mean {
                return taps;
            }
            taps += 1;
        }
    }
}

/// Relative traffic of an hour of the week, 1 on average: lunch and evening, and the weekend's late nights.
fn usual(day: usize, hour: usize) -> f64 {
    const WEEKDAY: [f64; 24] = [
        0.2, 0.1, 0.1, 0.1, 0.1, 0.2, 0.5, 0.9, 1.1, 1.0, 1.1, 1.6, 1.9, 1.4, 1.1, 1.1, 1.4, 1.9, 2.0, 1.6, 1.2, 0.9,
        0.6, 0.4,
    ];
    let of_day = [0.85, 0.85, 0.9, 1.0, 1.3, 1.4, 0.7][day];
    let late = if matches!((day, hour), (4 | 5, 20..)) { 1.6 } else { 1.0 };
    WEEKDAY[hour] * of_day * late
}

#[expect(clippy::cast_possible_truncation, reason = "an hour's spending is far below 2^53")]
fn rounded(spent: f64) -> i64 {
    spent.round() as i64
}

fn at(hour: usize) -> UnixMillis {
    UnixMillis(BEGIN_MS + u64::try_from(hour).unwrap() * HOUR_MS)
}

fn hour_of(at: UnixMillis) -> usize {
    usize::try_from((at.0 - BEGIN_MS) / HOUR_MS).unwrap()
}

fn date_of(hour: usize) -> Date {
    let begin = Timestamp::from_millisecond(i64::try_from(BEGIN_MS).unwrap()).unwrap();
    (begin + i64::try_from(hour).unwrap().hours()).to_zoned(TimeZone::UTC).date()
}

fn pool(spendable: i64, in_flight: Vec<TopUp>) -> PoolNow {
    PoolNow { currency: Currency::EUR, available: Minor(spendable), reserve: Minor::ZERO, in_flight }
}

/// Stated probabilities in a range, and their outcomes.
#[derive(Clone, Copy, Default)]
struct Bin {
    hours: u32,
    stated: f64,
    came_true: u32,
    /// Fillings of a pool that were in the bin. All hours of a filling share an outcome, so the fillings are the
    /// independent observations.
    drains: u32,
    last_drain: u32,
}

impl Bin {
    fn add(&mut self, stated: f64, came_true: bool, drain: u32) {
        self.drains += u32::from(self.last_drain != drain);
        self.last_drain = drain;
        self.hours += 1;
        self.stated += stated;
        self.came_true += u32::from(came_true);
    }

    fn stated(&self) -> f64 {
        self.stated / f64::from(self.hours)
    }

    fn observed(&self) -> f64 {
        f64::from(self.came_true) / f64::from(self.hours)
    }
}

/// Upper ends of the bins, among them the thresholds of notice and urgent.
const BINS: [f64; 9] = [0.001, 0.01, 0.03, 0.10, 0.25, 0.50, 0.75, 0.90, 1.0];

#[derive(Clone, Copy, Default)]
struct Calibration([Bin; BINS.len()]);

impl Calibration {
    fn add(&mut self, stated: f64, came_true: bool, drain: u32) {
        let bin = BINS.iter().position(|end| stated <= *end).unwrap();
        self.0[bin].add(stated, came_true, drain);
    }

    fn merge(&mut self, other: &Calibration) {
        for (bin, other) in self.0.iter_mut().zip(&other.0) {
            bin.hours += other.hours;
            bin.stated += other.stated;
            bin.came_true += other.came_true;
            bin.drains += other.drains;
        }
    }

    fn table(&self) -> String {
        let mut table =
            "| stated | hours | fillings | stated, mean | came true |\n|---|---:|---:|---:|---:|\n".to_owned();
        let mut begin = 0.0;
        for (bin, end) in self.0.iter().zip(BINS) {
            let [begin_percent, end_percent] = [begin, end].map(|share| share * 100.0);
            let [stated, observed] = [bin.stated(), bin.observed()].map(|share| share * 100.0);
            _ = writeln!(
                table,
                "| {begin_percent} to {end_percent} % | {} | {} | {stated:.2} % | {observed:.2} % |",
                bin.hours, bin.drains
            );
            begin = end;
        }
        table
    }
}

/// Without any reaction: fills a pool with one to seven days' spending, drains it, and fills it again once dry. Every
/// hour gets a forecast, which the following traffic confirms or refutes.
fn drain(seed: u64, weeks: usize) -> [Calibration; 2] {
    let (calendar, hours) = (zurich(), Traffic::new(seed).weeks(weeks));
    let mut random = ChaCha8Rng::seed_from_u64(seed ^ 0xD2A1);
    let [mut missed, mut unavoidable] = [Calibration::default(); 2];
    let (mut burn, mut left, mut drain) = (Burn::default(), 0, 0);
    // The last two weeks only serve as outcomes of earlier forecasts.
    for (hour, spent) in hours.iter().enumerate().take(hours.len() - 2 * WEEK_HOURS) {
        burn.roll(at(hour));
        if hour >= JUDGED_FROM_WEEK * WEEK_HOURS {
            if left <= 0 {
                drain += 1;
                let week: i64 = hours[hour - WEEK_HOURS..hour].iter().sum();
                left = week / 7 * random.random_range(1..=6) + random.random_range(0..week / 7);
            }
            let said = forecast(&burn, &calendar, (&pool(left, Vec::new()), &RULES), at(hour)).unwrap();
            let dry_before = |until: UnixMillis| {
                let spent = hours[hour..hour_of(until)].iter();
                spent
                    .scan(left, |left, spent| {
                        Some({
                            *left -= spent;
                            *left
                        })
                    })
                    .any(|left| left <= 0)
            };
            missed.add(said.probability_empty, dry_before(said.next_window.credited_at), drain);
            unavoidable.add(said.probability_unavoidable, dry_before(said.window.credited_at), drain);
        }
        burn.add(at(hour), Minor(*spent));
        left -= spent;
    }
    [missed, unavoidable]
}

/// A treasury that checks once every working day, four hours before the cut-off, and sends the suggestion.
struct Treasury {
    rules: Rules,
    left: i64,
    in_flight: Vec<TopUp>,
    hours_dry: u32,
    top_ups: u32,
    /// Σ of the pool's balance, hour by hour.
    kept: f64,
}

impl Treasury {
    fn look(&mut self, burn: &Burn, calendar: &CreditCalendar, now: UnixMillis) {
        let pool = pool(self.left, self.in_flight.clone());
        if let Ok(said) = forecast(burn, calendar, (&pool, &self.rules), now)
            && said.suggested > Minor::ZERO
        {
            self.in_flight.push(TopUp { amount: said.suggested, credited_at: said.window.credited_at });
            self.top_ups += 1;
        }
    }

    fn credit(&mut self, now: UnixMillis) {
        let credited = self.in_flight.extract_if(.., |top_up| top_up.credited_at <= now);
        self.left += credited.map(|top_up| top_up.amount.0).sum::<i64>();
    }

    fn spend(&mut self, spent: i64) {
        self.left -= spent;
        self.hours_dry += u32::from(self.left <= 0);
        self.kept += self.left as f64;
    }
}

/// Results of treasuries of different caution with the same traffic, and the spending.
fn follow(hours: &[i64]) -> ([Treasury; Z.len()], i64) {
    let (calendar, mut burn) = (zurich(), Burn::default());
    // The first top-up is a guess: three times the first week's spending.
    let left = 3 * hours[..WEEK_HOURS].iter().sum::<i64>();
    let mut treasuries = Z.map(|z| {
        let rules = Rules { z, ..RULES };
        Treasury { rules, left, in_flight: Vec::new(), hours_dry: 0, top_ups: 0, kept: 0.0 }
    });
    for (hour, spent) in hours.iter().enumerate() {
        let now = at(hour);
        burn.roll(now);
        let looks = calendar.next_cut_off(now) == Some(UnixMillis(now.0 + 4 * HOUR_MS));
        for treasury in &mut treasuries {
            treasury.credit(now);
            if looks {
                treasury.look(&burn, &calendar, now);
            }
            treasury.spend(*spent);
        }
        burn.add(now, Minor(*spent));
    }
    (treasuries, hours.iter().sum())
}

/// Runs each seed in one of two threads.
fn of_seeds<T: Send>(seeds: std::ops::Range<u64>, run: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let half = |odd: u64| seeds.clone().filter(move |seed| seed % 2 == odd).map(&run).collect::<Vec<T>>();
    std::thread::scope(|scope| {
        let (even, odd) = (scope.spawn(|| half(0)), scope.spawn(|| half(1)));
        even.join().unwrap().into_iter().chain(odd.join().unwrap()).collect()
    })
}

/// Covers a quarter of the programs in the document, so that every run of the tests checks them; a range needs a
/// minimum of fillings.
#[test]
fn probabilities_come_true() {
    calibrate(0..6, 20);
}

#[test]
#[ignore = "makes the tables of docs/treasury.md, in minutes"]
fn probabilities_come_true_for_all_programs() {
    calibrate(0..24, 100);
}

fn calibrate(seeds: std::ops::Range<u64>, fillings_min: u32) {
    let mut sums = [Calibration::default(); 2];
    for of_seed in of_seeds(seeds, |seed| drain(seed, 54)) {
        sums.iter_mut().zip(&of_seed).for_each(|(sum, of_seed)| sum.merge(of_seed));
    }
    for (when, sum) in
        [("Before the later credit, if the coming cut-off is missed", &sums[0]), ("Before the first credit", &sums[1])]
    {
        eprintln!("{when}:\n\n{}", sum.table());
        for (bin, end) in sum.0.iter().zip(BINS) {
            let (stated, observed) = (bin.stated(), bin.observed());
            assert!(bin.drains > fillings_min, "{when}, up to {end}: only {} fillings", bin.drains);
            // Three standard errors, and a twentieth of the stated probability.
            let tolerance = 3.0 * (stated * (1.0 - stated) / f64::from(bin.drains)).sqrt() + stated / 20.0;
            let apart = (observed - stated).abs();
            assert!(
                apart <= tolerance,
                "{when}, up to {end}: {stated} came true as {observed}, more than {tolerance} apart"
            );
        }
    }
}

/// The compared values of z; the last is the default.
const Z: [f64; 4] = [2.0, 3.0, 4.0, 5.0];

#[test]
fn no_pool_runs_dry_where_suggestions_are_followed() {
    follow_suggestions(100..106);
}

#[test]
#[ignore = "makes the tables of docs/treasury.md, in minutes"]
fn no_pool_of_any_program_runs_dry_where_suggestions_are_followed() {
    follow_suggestions(100..124);
}

fn follow_suggestions(seeds: std::ops::Range<u64>) {
    const WEEKS: usize = 104;
    let all = of_seeds(seeds, |seed| follow(&Traffic::new(seed).weeks(WEEKS)));
    let years = 2.0 * all.len() as f64;
    eprintln!("| z | pool-years | top-ups a year | days of spending kept | dry hours |\n|---:|---:|---:|---:|---:|");
    for (index, z) in Z.into_iter().enumerate() {
        let top_ups: u32 = all.iter().map(|(treasuries, _)| treasuries[index].top_ups).sum();
        let kept = all.iter().map(|(treasuries, spent)| treasuries[index].kept / 24.0 / *spent as f64);
        let kept = kept.sum::<f64>() / all.len() as f64;
        let dry: u32 = all.iter().map(|(treasuries, _)| treasuries[index].hours_dry).sum();
        eprintln!("| {z} | {years:.0} | {:.0} | {kept:.1} | {dry} |", f64::from(top_ups) / years);
    }
    assert!(all.iter().all(|(treasuries, _)| treasuries.last().unwrap().hours_dry == 0), "a pool ran dry");
}
