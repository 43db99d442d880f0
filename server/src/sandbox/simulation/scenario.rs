//! What happens in a simulation, step by step: drawn from a seed, or read from its text.
//!
//! One step a line, as `tap 3 user 1 place 4 amount 1250 twice`. An empty line or one with `#` before it is nothing.

use std::fmt;
use std::str::{FromStr, SplitWhitespace};

use super::chance::Chance;
use super::network::{Manners, Taking};

/// Users of the simulated world.
pub(super) const USERS: u8 = 3;

/// How UR asks for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asking {
    /// Until it has one.
    Insists,
    /// Once: without an answer it declines by itself.
    Once,
    /// Twice at the same time.
    Twice,
}

/// How UR tells what has settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Telling {
    Well,
    /// Each twice.
    Twice,
    /// The last first.
    Backwards,
    /// Not at all.
    Lost,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Tap {
        id: u16,
        user: u8,
        place: u8,
        amount: u32,
        asking: Asking,
    },
    Increment {
        id: u16,
        root: u16,
        amount: u32,
    },
    Reverse {
        id: u16,
        root: u16,
        amount: u32,
        is_advice: bool,
    },
    /// UR settles what is due, and tells it.
    Settle(Telling),
    Wait {
        minutes: u32,
    },
    /// The process ends after so many more writes.
    Crash {
        after: u8,
    },
    /// The process is stopped and started.
    Restart,
    /// The disk refuses the next append.
    DiskFails,
    /// Every sync takes so long.
    DiskSlow {
        millis: u32,
    },
    /// Free megabytes.
    DiskLeft {
        megabytes: u32,
    },
    /// The machine's clock jumps.
    Clock {
        seconds: i32,
    },
    Ur(Manners),
    Receiver(u8, Taking),
    /// A person freezes a card, or makes it active.
    Freeze {
        user: u8,
        frozen: bool,
    },
    Suspend {
        user: u8,
        suspended: bool,
    },
    /// The partner debits what the user has spent, and reports the user's funds.
    Debit {
        user: u8,
    },
    /// All faults end.
    Mend,
}

/// Names of a step's alternatives.
const ASKING: [(Asking, &str); 3] = [(Asking::Insists, "insists"), (Asking::Once, "once"), (Asking::Twice, "twice")];
const TELLING: [(Telling, &str); 4] =
    [(Telling::Well, "well"), (Telling::Twice, "twice"), (Telling::Backwards, "backwards"), (Telling::Lost, "lost")];
const MANNERS: [(Manners, &str); 5] = [
    (Manners::Well, "well"),
    (Manners::Away, "away"),
    (Manners::Deaf, "deaf"),
    (Manners::Failing, "failing"),
    (Manners::Garbled, "garbled"),
];
const TAKING: [(Taking, &str); 4] =
    [(Taking::Well, "well"), (Taking::Away, "away"), (Taking::Deaf, "deaf"), (Taking::Busy, "busy")];

fn word<T: PartialEq + Copy>(of: T, words: &[(T, &'static str)]) -> &'static str {
    words.iter().find(|(one, _)| *one == of).map_or("", |(_, word)| word)
}

fn meant<T: Copy>(said: &str, words: &[(T, &'static str)]) -> Option<T> {
    words.iter().find(|(_, word)| *word == said).map(|(one, _)| *one)
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Tap { id, user, place, amount, asking } => {
                write!(f, "tap {id} user {user} place {place} amount {amount} {}", word(*asking, &ASKING))
            }
            Step::Increment { id, root, amount } => write!(f, "increment {id} of {root} amount {amount}"),
            Step::Reverse { id, root, amount, is_advice } => {
                write!(f, "{} {id} of {root} amount {amount}", if *is_advice { "advice" } else { "reverse" })
            }
            Step::Settle(telling) => write!(f, "settle {}", word(*telling, &TELLING)),
            Step::Wait { minutes } => write!(f, "wait {minutes}"),
            Step::Crash { after } => write!(f, "crash {after}"),
            Step::Restart => f.write_str("restart"),
            Step::DiskFails => f.write_str("disk fails"),
            Step::DiskSlow { millis } => write!(f, "disk slow {millis}"),
            Step::DiskLeft { megabytes } => write!(f, "disk left {megabytes}"),
            Step::Clock { seconds } => write!(f, "clock {seconds}"),
            Step::Ur(manners) => write!(f, "ur {}", word(*manners, &MANNERS)),
            Step::Receiver(which, taking) => write!(f, "receiver {which} {}", word(*taking, &TAKING)),
            Step::Freeze { user, frozen: true } => write!(f, "freeze {user}"),
            Step::Freeze { user, frozen: false } => write!(f, "thaw {user}"),
            Step::Suspend { user, suspended: true } => write!(f, "suspend {user}"),
            Step::Suspend { user, suspended: false } => write!(f, "resume {user}"),
            Step::Debit { user } => write!(f, "debit {user}"),
            Step::Mend => f.write_str("mend"),
        }
    }
}

/// The words of a line.
struct Words<'a>(SplitWhitespace<'a>);

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<&'a str> {
        self.0.next()
    }

    fn number<T: FromStr>(&mut self) -> Option<T> {
        self.next()?.parse().ok()
    }

    /// The number after a word.
    fn after<T: FromStr>(&mut self, word: &str) -> Option<T> {
        (self.next()? == word).then(|| self.number())?
    }

    fn meant<T: Copy>(&mut self, words: &[(T, &'static str)]) -> Option<T> {
        meant(self.next()?, words)
    }

    fn step(&mut self) -> Option<Step> {
        Some(match self.next()? {
            "tap" => Step::Tap {
                id: self.number()?,
                user: self.after("user")?,
                place: self.after("place")?,
                amount: self.after("amount")?,
                asking: self.meant(&ASKING)?,
            },
            "increment" => {
                Step::Increment { id: self.number()?, root: self.after("of")?, amount: self.after("amount")? }
            }
            kind @ ("reverse" | "advice") => Step::Reverse {
                id: self.number()?,
                root: self.after("of")?,
                amount: self.after("amount")?,
                is_advice: kind == "advice",
            },
            "settle" => Step::Settle(self.meant(&TELLING)?),
            "wait" => Step::Wait { minutes: self.number()? },
            "crash" => Step::Crash { after: self.number()? },
            "restart" => Step::Restart,
            "disk" => match self.next()? {
                "fails" => Step::DiskFails,
                "slow" => Step::DiskSlow { millis: self.number()? },
                "left" => Step::DiskLeft { megabytes: self.number()? },
                _ => return None,
            },
            "clock" => Step::Clock { seconds: self.number()? },
            "ur" => Step::Ur(self.meant(&MANNERS)?),
            "receiver" => Step::Receiver(self.number()?, self.meant(&TAKING)?),
            "freeze" => Step::Freeze { user: self.number()?, frozen: true },
            "thaw" => Step::Freeze { user: self.number()?, frozen: false },
            "suspend" => Step::Suspend { user: self.number()?, suspended: true },
            "resume" => Step::Suspend { user: self.number()?, suspended: false },
            "debit" => Step::Debit { user: self.number()? },
            "mend" => Step::Mend,
            _ => return None,
        })
    }
}

/// A seed, which decides all that is left to chance, and the steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scenario {
    pub(super) seed: u64,
    pub(super) steps: Vec<Step>,
    /// The process ends at this write, counted from the first.
    pub(super) ends_at: Option<u64>,
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}", self.seed)?;
        if let Some(write) = self.ends_at {
            writeln!(f, "ends at write {write}")?;
        }
        self.steps.iter().try_for_each(|step| writeln!(f, "{step}"))
    }
}

impl FromStr for Scenario {
    type Err = String;

    fn from_str(text: &str) -> Result<Scenario, String> {
        let mut scenario = Scenario { seed: 0, steps: Vec::new(), ends_at: None };
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            let unknown = || format!("line {number} says nothing that is known: {line:?}");
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(seed) = line.strip_prefix("seed ") {
                scenario.seed = seed.parse().map_err(|_| unknown())?;
            } else if let Some(write) = line.strip_prefix("ends at write ") {
                scenario.ends_at = Some(write.parse().map_err(|_| unknown())?);
            } else {
                let mut words = Words(line.split_whitespace());
                let step = words.step().filter(|_| words.next().is_none());
                scenario.steps.push(step.ok_or_else(unknown)?);
            }
        }
        Ok(scenario)
    }
}

/// The most taps, increments and returns of a scenario.
const STEPS_MAX: usize = 40;
/// Places where users tap, by index of the sandbox's: in francs, euros, dollars, pounds, and what UR settles in euros.
const PLACES: [u8; 8] = [0, 2, 4, 8, 10, 13, 17, 18];

impl Scenario {
    /// The scenario of a seed.
    pub(super) fn of(seed: u64) -> Scenario {
        let chance = Chance::new(seed, 7);
        let count = 8 + chance.index(STEPS_MAX - 8);
        let mut taps = Vec::new();
        let steps = (0..count).map(|_| step(&chance, &mut taps)).collect();
        Scenario { seed, steps, ends_at: None }
    }

    /// The same without ends of the process, which then ends at one write alone.
    pub(super) fn without_ends(mut self) -> Scenario {
        self.steps.retain(|step| !matches!(step, Step::Crash { .. } | Step::Restart | Step::DiskFails));
        self
    }
}

fn small(chance: &Chance, most: u32) -> u32 {
    u32::try_from(chance.below(u64::from(most))).unwrap_or(0)
}

fn pick<T: Copy>(chance: &Chance, words: &[(T, &'static str)], otherwise: T) -> T {
    words.get(chance.index(words.len())).map_or(otherwise, |(one, _)| *one)
}

fn user(chance: &Chance) -> u8 {
    u8::try_from(chance.below(u64::from(USERS))).unwrap_or(0)
}

fn step(chance: &Chance, ids: &mut Vec<u16>) -> Step {
    let id = u16::try_from(ids.len() + 1).unwrap_or(u16::MAX);
    let earlier = |ids: &[u16]| ids.get(chance.index(ids.len().max(1))).copied().unwrap_or(999);
    match chance.below(100) {
        0..28 => {
            ids.push(id);
            let place = PLACES.get(chance.index(PLACES.len())).copied().unwrap_or(0);
            let asking = match chance.below(8) {
                0 => Asking::Once,
                1 => Asking::Twice,
                _ => Asking::Insists,
            };
            Step::Tap { id, user: user(chance), place, amount: 1 + small(chance, 20_000), asking }
        }
        28..36 => {
            let root = earlier(ids);
            ids.push(id);
            Step::Increment { id, root, amount: 1 + small(chance, 4_000) }
        }
        36..46 => {
            let root = earlier(ids);
            ids.push(id);
            Step::Reverse { id, root, amount: small(chance, 12_000), is_advice: chance.one_in(3) }
        }
        46..53 => Step::Settle(pick(chance, &TELLING, Telling::Well)),
        53..65 => Step::Wait { minutes: [1, 10, 60, 400, 1_500].get(chance.index(5)).copied().unwrap_or(1) },
        65..73 => Step::Crash { after: u8::try_from(chance.below(12)).unwrap_or(0) },
        73..76 => Step::Restart,
        76 => Step::DiskFails,
        77..80 => Step::DiskSlow { millis: [20, 300, 420, 900].get(chance.index(4)).copied().unwrap_or(20) },
        80 => Step::DiskLeft { megabytes: [100, 300, 10_000].get(chance.index(3)).copied().unwrap_or(100) },
        81..84 => Step::Clock {
            seconds: [7_200, -7_200, 50, -50, 3_000_000, 3_000_000].get(chance.index(6)).copied().unwrap_or(50),
        },
        84..87 => Step::Ur(pick(chance, &MANNERS, Manners::Well)),
        87..92 => Step::Receiver(u8::try_from(chance.below(3)).unwrap_or(0), pick(chance, &TAKING, Taking::Well)),
        92..94 => Step::Freeze { user: user(chance), frozen: chance.one_in(2) },
        94 => Step::Suspend { user: user(chance), suspended: chance.one_in(2) },
        95..97 => Step::Debit { user: user(chance) },
        _ => Step::Mend,
    }
}
