//! Where the time of answered callbacks went: from when each was due to its answer, stage by stage, of all of them and of
//! the slowest hundredth. A traced server names the moments in a header of each answer (`tapgate::trace`), by the clock
//! that the generator reads, too.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;
use tapgate::trace::{MARKS, Mark};

/// The stages, in their order. Each ends where the next begins.
pub(crate) const STAGES: [&str; 12] = [
    "due → sent: the generator is late, or no connection free",
    "→ reached the machine: kernel",
    "→ head and body read: kernel and runtime",
    "→ verified and parsed",
    "→ decided",
    "→ journal begins its write: wakes, or is behind the group before",
    "→ group written and synced",
    "→ task told: behind the group's other waiters",
    "→ task runs",
    "→ answer rendered",
    "→ answer handed to the socket",
    "→ received: kernel and generator",
];

/// Inside the verification, parsing and decision.
const WITHIN: [&str; 4] =
    ["rows looked up on disk", "on a core", "waiting for a core", "off the core otherwise: locks, the disk"];

/// Stages outside the server: what it can do nothing about.
const OUTSIDE: [usize; 3] = [0, 1, 11];

/// Slow callbacks that are due within this time of each other had most likely one cause.
const WINDOW: Duration = Duration::from_millis(100);

/// The slowest are one of so many.
const SLOWEST_OF: usize = 100;

/// Spans of that time that are told by themselves, those with the most slow ones.
const BURSTS: usize = 12;

/// Nanoseconds of the clock that every process of this machine reads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    at: Instant,
    nanos: u64,
    /// By the wall clock, as other programs' logs have it.
    unix_nanos: u64,
}

impl Clock {
    pub(crate) fn start() -> Clock {
        let time = clock_gettime(ClockId::Monotonic);
        let [seconds, nanos] = [time.tv_sec, time.tv_nsec].map(i64::unsigned_abs);
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Clock { at: Instant::now(), nanos: seconds * 1_000_000_000 + nanos, unix_nanos: as_nanos(unix) }
    }

    /// Of a moment after the clock's start.
    fn nanos(&self, moment: Instant) -> u64 {
        self.nanos + as_nanos(moment.saturating_duration_since(self.at))
    }
}

fn as_nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The numbers of a traced answer's header; `None` where it is no such header.
pub(crate) fn marks(header: &str) -> Option<[u64; MARKS]> {
    let mut marks = [0; MARKS];
    let mut numbers = header.split(' ');
    for mark in &mut marks {
        *mark = numbers.next()?.parse().ok()?;
    }
    numbers.next().is_none().then_some(marks)
}

/// One answered callback, as the generator saw it and, where the server is a traced one, as the server did.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) due: Instant,
    pub(crate) sent: Instant,
    pub(crate) received: Instant,
    pub(crate) marks: Option<[u64; MARKS]>,
    /// When the answer was handed to the socket, which only the connection's next answer tells; 0 where none came.
    pub(crate) written: u64,
}

/// Nanoseconds of one callback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Split {
    /// Since 1970.
    due: u64,
    latency: u64,
    stages: [u64; STAGES.len()],
    within: [u64; WITHIN.len()],
}

impl Asked {
    /// A stage whose end was not noted is empty, and its time is the next one's; where nothing was noted, only the wait
    /// before the sending is known.
    pub(crate) fn split(&self, clock: &Clock) -> Split {
        let [due, sent, received] = [self.due, self.sent, self.received].map(|moment| clock.nanos(moment));
        let latency = received.saturating_sub(due);
        let since_1970 = due.saturating_sub(clock.nanos) + clock.unix_nanos;
        let mut stages = [0; STAGES.len()];
        let Some(marks) = &self.marks else {
            stages[0] = sent.saturating_sub(due);
            return Split { due: since_1970, latency, stages, within: [0; WITHIN.len()] };
        };
        let of = |mark: Mark| marks.get(mark as usize).copied().unwrap_or(0);
        let ends = [
            sent,
            of(Mark::Read),
            of(Mark::Handled),
            of(Mark::Parsed),
            of(Mark::Decided),
            of(Mark::AppendBegan),
            of(Mark::AppendEnded),
            of(Mark::Told),
            of(Mark::Woke),
            of(Mark::Answered),
            self.written,
            received,
        ];
        let mut reached = due;
        for (stage, end) in stages.iter_mut().zip(ends) {
            // The journal may write a record whose decision is still on its way back: that write began with the stage.
            let end = end.clamp(reached, received.max(reached));
            *stage = end - reached;
            reached = end;
        }
        let took = of(Mark::Decided).saturating_sub(of(Mark::Handled));
        let [rows, on_core, waited] = [Mark::RowReadsTook, Mark::OnCore, Mark::WaitedForCore].map(of);
        Split {
            due: since_1970,
            latency,
            stages,
            within: [rows, on_core, waited, took.saturating_sub(on_core + waited)],
        }
    }
}

/// The mean and three quantiles, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    mean_us: f64,
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
}

#[expect(clippy::cast_precision_loss, reason = "times and counts of one run")]
impl Spread {
    fn of(mut nanos: Vec<u64>) -> Spread {
        nanos.sort_unstable();
        let quantile = |thousandths: usize| {
            let place = (nanos.len() * thousandths / 1_000).min(nanos.len().saturating_sub(1));
            nanos.get(place).copied().unwrap_or(0) as f64 / 1e3
        };
        let sum: u64 = nanos.iter().sum();
        Spread {
            mean_us: sum as f64 / 1e3 / nanos.len().max(1) as f64,
            p50_us: quantile(500),
            p99_us: quantile(990),
            p999_us: quantile(999),
        }
    }
}

/// One stage, of all callbacks and of the slowest.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Line {
    name: &'static str,
    all: Spread,
    slowest: Spread,
    /// Its part of the time of the slowest.
    share_percent: f64,
}

/// A span of 100 ms in which many slow ones were due.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Burst {
    unix_micros: u64,
    slow: usize,
    /// The stage that took the most of them.
    stage: &'static str,
}

impl Burst {
    /// The largest, in the order of time.
    fn of(slowest: &[Split]) -> Vec<Burst> {
        let mut spans: BTreeMap<u64, (usize, [u64; STAGES.len()])> = BTreeMap::new();
        for split in slowest {
            let (slow, took) = spans.entry(window(split)).or_default();
            *slow += 1;
            took.iter_mut().zip(split.stages).for_each(|(sum, stage)| *sum += stage);
        }
        let burst = |(window, (slow, took)): (u64, (usize, [u64; STAGES.len()]))| {
            let (stage, _) = STAGES.iter().zip(took).max_by_key(|(_, took)| *took).unwrap_or((&STAGES[0], 0));
            Burst { unix_micros: window * as_nanos(WINDOW) / 1_000, slow, stage }
        };
        let mut bursts: Vec<_> = spans.into_iter().map(burst).collect();
        bursts.sort_by_key(|burst| std::cmp::Reverse(burst.slow));
        bursts.truncate(BURSTS);
        bursts.sort_by_key(|burst| burst.unix_micros);
        bursts
    }
}

fn window(split: &Split) -> u64 {
    split.due / as_nanos(WINDOW)
}

/// Where the time went.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Stages {
    callbacks: usize,
    slowest: usize,
    latency: Line,
    stages: Vec<Line>,
    /// Of the stages from the body to the decision.
    within: Vec<Line>,
    /// Of the time of the slowest, what lies in some stage, and what of it the server's own clock cannot see.
    explained_percent: f64,
    outside_percent: f64,
    /// Spans of 100 ms in which a slow one was due, and all spans: few of many say that one event delayed many.
    windows_with_slow: usize,
    windows: usize,
    bursts: Vec<Burst>,
    /// When the first was due.
    first_unix_micros: u64,
}

impl std::fmt::Display for Stages {
    /// The means: `--json` has the rest.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Stages { callbacks, slowest, explained_percent, .. } = self;
        write!(f, "{callbacks} callbacks; of the slowest {slowest} the stages explain {explained_percent:.1} %")?;
        for Line { name, all, slowest, .. } in self.stages.iter().chain(&self.within).chain([&self.latency]) {
            write!(f, "\n{:>10.1} µs, {:>10.1} of the slowest: {name}", all.mean_us, slowest.mean_us)?;
        }
        Ok(())
    }
}

impl Stages {
    /// `None` without any callback.
    pub(crate) fn of(mut splits: Vec<Split>) -> Option<Stages> {
        splits.sort_unstable_by_key(|split| split.latency);
        let count = splits.len().div_ceil(SLOWEST_OF);
        let slowest = splits.get(splits.len() - count..).filter(|slowest| !slowest.is_empty())?;
        let mean_us = |splits: &[Split]| Spread::of(splits.iter().map(|split| split.latency).collect()).mean_us;
        let whole = mean_us(slowest).max(f64::MIN_POSITIVE);
        let line = |name, of: &dyn Fn(&Split) -> u64| {
            let spread = |splits: &[Split]| Spread::of(splits.iter().map(of).collect());
            let (all, slowest) = (spread(&splits), spread(slowest));
            Line { name, all, slowest, share_percent: 100.0 * slowest.mean_us / whole }
        };
        let column = |at: usize| move |split: &Split| split.stages.get(at).copied().unwrap_or(0);
        let stages: Vec<_> = STAGES.iter().enumerate().map(|(at, name)| line(name, &column(at))).collect();
        let within = |at: usize| move |split: &Split| split.within.get(at).copied().unwrap_or(0);
        let outside = OUTSIDE.iter().filter_map(|at| stages.get(*at)).map(|line| line.share_percent).sum();
        let windows = |splits: &[Split]| splits.iter().map(window).collect::<HashSet<_>>().len();
        Some(Stages {
            callbacks: splits.len(),
            slowest: count,
            latency: line("due → received", &|split| split.latency),
            explained_percent: stages.iter().map(|line| line.share_percent).sum(),
            outside_percent: outside,
            within: WITHIN.iter().enumerate().map(|(at, name)| line(name, &within(at))).collect(),
            windows_with_slow: windows(slowest),
            bursts: Burst::of(slowest),
            first_unix_micros: splits.iter().map(|split| split.due).min().unwrap_or(0) / 1_000,
            windows: windows(&splits),
            stages,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Marks at these nanoseconds after the clock's start, in their order from [`Mark::Read`] to [`Mark::Answered`].
    fn marked(clock: &Clock, moments: [u64; 9], durations: [u64; 5]) -> [u64; MARKS] {
        let mut marks = [0; MARKS];
        let moments = moments.map(|nanos| if nanos == 0 { 0 } else { clock.nanos + nanos });
        let all = std::iter::once(0).chain(moments).chain(durations);
        marks.iter_mut().zip(all).for_each(|(mark, number)| *mark = number);
        marks
    }

    fn asked(clock: &Clock, marks: Option<[u64; MARKS]>, written: u64) -> Asked {
        let [due, sent, received] = [10, 20, 1_000].map(|nanos| clock.at + Duration::from_nanos(nanos));
        Asked { due, sent, received, marks, written: if written == 0 { 0 } else { clock.nanos + written } }
    }

    #[test]
    fn the_stages_of_a_callback_add_up_to_its_latency() {
        let clock = Clock::start();
        let check = |marks, written, stages: [u64; 12], within| {
            let split = asked(&clock, marks, written).split(&clock);
            assert_eq!((split.stages, split.within), (stages, within), "{marks:?}");
            assert_eq!(split.latency, 990);
            split.stages.iter().sum::<u64>()
        };
        let all = marked(&clock, [30, 50, 80, 120, 170, 230, 300, 380, 470], [2, 5, 40, 20, 0]);
        assert_eq!(check(Some(all), 570, [10, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 430], [5, 40, 20, 10]), 990);
        // The write began before the decision was back, and nobody learned when the answer was handed over.
        let early = marked(&clock, [30, 50, 80, 120, 100, 230, 300, 380, 470], [0; 5]);
        assert_eq!(check(Some(early), 0, [10, 10, 20, 30, 40, 0, 110, 70, 80, 90, 0, 530], [0, 0, 0, 70]), 990);
        // It was durable at the first look: nobody told it.
        let at_once = marked(&clock, [30, 50, 80, 120, 0, 0, 0, 380, 470], [0; 5]);
        assert_eq!(check(Some(at_once), 570, [10, 10, 20, 30, 40, 0, 0, 0, 260, 90, 100, 430], [0, 0, 0, 70]), 990);
        assert_eq!(check(None, 0, [10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], [0; 4]), 10);
    }

    #[test]
    fn a_header_has_a_number_for_every_mark() {
        let numbers: Vec<_> = (0..MARKS).map(|number| number.to_string()).collect();
        assert_eq!(marks(&numbers.join(" ")).and_then(|marks| marks.last().copied()), Some(MARKS as u64 - 1));
        assert_eq!(marks(&numbers[1..].join(" ")), None);
        assert_eq!(marks(&format!("{} 1", numbers.join(" "))), None);
        assert_eq!(marks(&numbers.join(",")), None);
    }

    #[test]
    fn the_table_tells_what_the_slowest_wait_for() {
        let split = |number: u64, sync: u64, lost: u64| {
            let mut stages = [0; STAGES.len()];
            (stages[1], stages[6]) = (100_000, sync);
            Split { due: number * 50_000_000, latency: 100_000 + sync + lost, stages, within: [0; WITHIN.len()] }
        };
        let ordinary = (0..198).map(|number| split(number, 300_000, 0));
        let slow = (198..200).map(|number| split(number, 700_000, 200_000));
        let table = Stages::of(ordinary.chain(slow).collect()).unwrap();
        assert_eq!((table.callbacks, table.slowest), (200, 2));
        assert_eq!((table.windows_with_slow, table.windows), (1, 100));
        assert_eq!(table.bursts, [Burst { unix_micros: 9_900_000, slow: 2, stage: STAGES[6] }]);
        assert_eq!(table.latency.slowest.mean_us, 1_000.0);
        assert_eq!(table.latency.all, Spread { mean_us: 406.0, p50_us: 400.0, p99_us: 1_000.0, p999_us: 1_000.0 });
        let shares: Vec<_> = table.stages.iter().map(|line| line.share_percent.round()).collect();
        assert_eq!(shares, [0.0, 10.0, 0.0, 0.0, 0.0, 0.0, 70.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!((table.explained_percent.round(), table.outside_percent.round()), (80.0, 10.0));
        assert!(Stages::of(Vec::new()).is_none());
    }
}
