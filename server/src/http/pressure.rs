//! How late the process is with what has arrived, and what it refuses then: an answer after UR's patience is work for nothing,
//! and makes the next one late, too.
//!
//! Each request tells how long it lay before its turn came ([`Arrival`](super::arrival::Arrival)). Where nearly all lay long,
//! the process does not keep up.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use memchr::memmem;
use metrics::{Counter, counter};
use tapgate_engine::ledger::Ledger;
use tokio::time::Instant;

use crate::stopping::Stopping;

/// How often the disk and the time are looked at.
const TURN: Duration = Duration::from_millis(5);

/// Over which the requests' ages say whether the process keeps up: a single stall is no overload.
const WINDOW: Duration = Duration::from_millis(100);

/// What lay no longer than this is young.
const YOUNG: Duration = Duration::from_millis(20);

/// The process keeps up while one in so many is young. A client can make its own request look young, by sending its last byte
/// late, and no others.
const YOUNG_SHARE: u64 = 8;

/// With fewer requests than this a window says nothing: that is no load.
const REQUESTS_LEAST: u64 = 8;

/// What is refused for its age while the process does not keep up, and otherwise; the latter also where more than five eighths
/// of the deadline are over.
const SHED_ABOVE: Duration = Duration::from_millis(40);
const SHED_ABOVE_AT_BEST: Duration = Duration::from_millis(250);

/// What waits for the disk may take it as long at the rate at which it works.
const DISK_WAIT: Duration = Duration::from_millis(200);

/// Records that may wait for any disk: more than an import puts into the journal at once.
const WAITING_LEAST: u64 = 2_048;

/// What a busy window that wrote less takes off what may wait, one in so many: a disk that hesitates is not slow.
const WAITING_DECAY: u64 = 8;

/// Turns without which a window says nothing: one stall could be all of it.
const TURNS_LEAST: u32 = 3;

/// Of the requests that came too late, those that can wait and are taken all the same: one in so many.
const PATIENT_SHARE: u64 = 8;

/// What recovering a signer takes of a core, generously.
const VERIFICATION: Duration = Duration::from_micros(50);

/// Of the cores, what strangers' signatures may take: one in so many.
const STRANGERS_SHARE: u32 = 4;

/// Unused time for strangers' signatures that is kept.
const STRANGERS_BURST: Duration = Duration::from_millis(100);

/// Bytes of a body that are looked at unverified.
const PEEKED_BYTES: usize = 4 * 1024;

/// Shared by all connections of the public listener.
#[derive(Debug)]
pub struct Pressure {
    began: Instant,
    /// The latest turn, in microseconds since then.
    turned: AtomicU64,
    at_best: Duration,
    known: Ages,
    /// Of those who have not shown who they are: their ages are their own word, by which only they are judged.
    strangers: Ages,
    /// Records that may wait for the disk.
    waiting_max: AtomicU64,
    late: AtomicU64,
    spared: AtomicU64,
    /// Microseconds left for strangers' signatures.
    for_strangers: AtomicI64,
    cores: u32,
    window: Mutex<Window>,
    shed: [Counter; 3],
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Shed {
    Late,
    Journal,
    Stranger,
}

/// How long requests lay.
#[derive(Debug, Default)]
struct Ages {
    /// Requests of this window, and the young ones among them.
    asked: AtomicU64,
    young: AtomicU64,
    /// Whether too few of the window before were young.
    overloaded: AtomicBool,
}

impl Ages {
    fn took(&self, age: Duration) {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if age <= YOUNG {
            self.young.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn end_window(&self) {
        let (asked, young) = (self.asked.swap(0, Ordering::Relaxed), self.young.swap(0, Ordering::Relaxed));
        self.overloaded.store(asked >= REQUESTS_LEAST && young * YOUNG_SHARE < asked, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct Window {
    began: Instant,
    turns: u32,
    durable: u64,
    /// Whether the disk had something to do all the time.
    busy: bool,
}

impl Pressure {
    /// `deadline`: of an approval.
    pub(super) fn new(deadline: Duration) -> Pressure {
        let began = Instant::now();
        let shed = |why: &'static str| counter!("tapgate_shed_total", "why" => why);
        Pressure {
            began,
            turned: AtomicU64::new(0),
            at_best: SHED_ABOVE_AT_BEST.min(deadline * 5 / 8),
            known: Ages::default(),
            strangers: Ages::default(),
            waiting_max: AtomicU64::new(u64::MAX),
            late: AtomicU64::new(0),
            spared: AtomicU64::new(0),
            for_strangers: AtomicI64::new(i64::MAX),
            cores: std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(1)),
            window: Mutex::new(Window { began, turns: 0, durable: 0, busy: false }),
            shed: [shed("late"), shed("journal"), shed("stranger")],
        }
    }

    /// Looks at disk and time until asked to stop.
    pub async fn watch(self: Arc<Pressure>, ledger: Arc<Ledger>, stopping: Stopping) {
        let journal = ledger.journal();
        loop {
            tokio::select! {
                biased;
                () = stopping.set() => return,
                () = tokio::time::sleep(TURN) => {}
            }
            self.turn(Instant::now(), (journal.claimed().0, journal.durable().0));
        }
    }

    /// Takes in the last record that has a place in the journal, and the last on the disk.
    fn turn(&self, now: Instant, (claimed, durable): (u64, u64)) {
        let turned = micros(now.saturating_duration_since(self.began));
        let elapsed = turned.saturating_sub(self.turned.swap(turned, Ordering::Relaxed));
        self.refill(Duration::from_micros(elapsed));
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        window.turns += 1;
        window.busy &= claimed > durable;
        let passed = now.saturating_duration_since(window.began);
        if passed < WINDOW || window.turns < TURNS_LEAST {
            return;
        }
        self.known.end_window();
        self.strangers.end_window();
        let written = u128::from(durable.saturating_sub(window.durable));
        let writes = u64::try_from(written * DISK_WAIT.as_micros() / passed.as_micros().max(1)).unwrap_or(u64::MAX);
        let before = self.waiting_max.load(Ordering::Relaxed);
        // A window in which the disk rested says only what it can do at least.
        let kept = match (window.busy, before) {
            (true, u64::MAX) => 0,
            (true, before) => before - before / WAITING_DECAY,
            (false, before) => before,
        };
        self.waiting_max.store(kept.max(writes).max(WAITING_LEAST), Ordering::Relaxed);
        self.late.store(0, Ordering::Relaxed);
        self.spared.store(0, Ordering::Relaxed);
        *window = Window { began: now, turns: 0, durable, busy: claimed > durable };
    }

    fn refill(&self, elapsed: Duration) {
        let share = |time: Duration| i64::try_from(micros(time * self.cores / STRANGERS_SHARE)).unwrap_or(i64::MAX);
        let left = self.for_strangers.load(Ordering::Relaxed).saturating_add(share(elapsed.min(STRANGERS_BURST)));
        self.for_strangers.store(left.min(share(STRANGERS_BURST)), Ordering::Relaxed);
    }

    /// Whether a request that lay so long is refused, so that those that lay less are answered in time.
    pub(super) fn is_late(&self, age: Duration, is_strangers: bool) -> bool {
        let ages = if is_strangers { &self.strangers } else { &self.known };
        ages.took(age);
        age > if ages.overloaded.load(Ordering::Relaxed) { SHED_ABOVE.min(self.at_best) } else { self.at_best }
    }

    /// Whether a late request is taken all the same: what can wait has a share, where the form tells it. Unverified: who
    /// lies gains only that.
    pub(super) fn spares(&self, body: &[u8], is_told: bool) -> bool {
        let late = self.late.fetch_add(1, Ordering::Relaxed);
        is_told
            && can_wait(body)
            && self
                .spared
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |spared| {
                    (spared.saturating_mul(PATIENT_SHARE) <= late).then(|| spared + 1)
                })
                .is_ok()
    }

    /// Whether a stranger's request is looked at. What has no signature costs nothing to refuse, and must not use up what
    /// those have who sign.
    pub(super) fn takes_a_stranger(&self, has_signature: bool) -> bool {
        if !has_signature {
            return true;
        }
        let cost = i64::try_from(micros(VERIFICATION)).unwrap_or(i64::MAX);
        let taken = self
            .for_strangers
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| (left >= cost).then(|| left - cost));
        taken.is_ok()
    }

    /// Whether the journal has room for a record that is on the disk in time.
    pub(super) fn has_room(&self, claimed: u64, durable: u64) -> bool {
        claimed.saturating_sub(durable) <= self.waiting_max.load(Ordering::Relaxed)
    }

    /// Counts a refusal.
    pub(super) fn sheds(&self, why: Shed) {
        if let Some(counter) = self.shed.get(why as usize) {
            counter.increment(1);
        }
    }
}

/// Whether UR waits longer for this than for a decision: a reversal, an advice, or a notification.
fn can_wait(body: &[u8]) -> bool {
    let peeked = body.get(..PEEKED_BYTES).unwrap_or(body);
    let says = |text: &str| memmem::find(peeked, text.as_bytes()).is_some();
    !says("\"card_authorization\"") || says("\"reversal\"") || says("\"advice\"")
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAP: &[u8] = br#"{"event":"card_authorization","data":{"type":"authorization"}}"#;
    const RETURN: &[u8] = br#"{"event":"card_authorization","data":{"type":"reversal"}}"#;

    const DEADLINE: Duration = Duration::from_millis(400);

    /// Turns, with a request between two of them.
    struct Turns {
        pressure: Pressure,
        now: Instant,
    }

    impl Turns {
        fn new() -> Turns {
            let pressure = Pressure::new(DEADLINE);
            let now = pressure.began;
            Turns { pressure, now }
        }

        fn turn(&mut self, journal: (u64, u64)) {
            self.now += TURN;
            self.pressure.turn(self.now, journal);
        }

        /// So many turns with two requests in each, as old as that.
        fn asked(&mut self, turns: u32, ages_millis: [u64; 2]) {
            for _ in 0..turns {
                ages_millis.iter().for_each(|age| _ = self.is_late(*age));
                self.turn((0, 0));
            }
        }

        fn is_late(&self, age_millis: u64) -> bool {
            self.pressure.is_late(Duration::from_millis(age_millis), false)
        }
    }

    #[test]
    fn a_stall_is_no_overload_and_an_overload_sheds_what_lay_long() {
        let mut turns = Turns::new();
        turns.asked(10, [0, 0]);
        turns.asked(10, [200, 200]);
        turns.asked(10, [1, 1]);
        assert!(!turns.is_late(200), "a stall: what lay so long is answered in time");
        assert!(turns.is_late(251), "too late in any case");
        turns.asked(40, [60, 60]);
        assert!(turns.is_late(41), "none is young");
        assert!(!turns.is_late(40), "what lay 40 ms is answered in time");
        turns.asked(40, [60, 1]);
        assert!(!turns.is_late(60), "half of them are young");
        turns.asked(40, [60, 60]);
        assert!(turns.is_late(41));
        (0..40).for_each(|_| turns.turn((0, 0)));
        assert!(!turns.is_late(60), "nobody asked");
    }

    #[test]
    fn a_few_requests_are_no_overload_and_a_few_young_ones_are_no_relief() {
        let mut turns = Turns::new();
        for _ in 0..100 {
            turns.is_late(60);
            (0..3).for_each(|_| turns.turn((0, 0)));
        }
        assert!(!turns.is_late(60), "seven in a window, none of them young");
        for turn in 0..400 {
            turns.is_late(if turn % 10 == 0 { 0 } else { 60 });
            turns.turn((0, 0));
        }
        assert!(turns.is_late(60), "one in ten seems young");
    }

    #[test]
    fn strangers_are_late_by_themselves() {
        let mut turns = Turns::new();
        for _ in 0..40 {
            turns.pressure.is_late(Duration::from_millis(60), true);
            turns.asked(1, [60, 0]);
        }
        assert!(turns.pressure.is_late(Duration::from_millis(60), true));
        assert!(!turns.is_late(60));
    }

    #[test]
    fn what_has_no_time_left_to_its_deadline_is_late() {
        let pressure = Pressure::new(Duration::from_millis(80));
        let is_late = |millis| pressure.is_late(Duration::from_millis(millis), false);
        assert!(is_late(51) && !is_late(50));
    }

    #[test]
    fn what_can_wait_has_an_eighth_of_what_is_late() {
        let pressure = Pressure::new(DEADLINE);
        assert!(can_wait(RETURN) && can_wait(br#"{"event":"transaction"}"#) && !can_wait(TAP));
        let spared = (0..800).filter(|_| pressure.spares(RETURN, true)).count();
        assert_eq!(spared, 100);
        assert!(!pressure.spares(TAP, true));
    }

    #[test]
    fn the_journal_takes_what_the_disk_writes_in_a_fifth_of_a_second() {
        let mut turns = Turns::new();
        assert!(turns.pressure.has_room(u64::MAX, 0), "as long as nothing is known of the disk");
        // A thousand records in each turn of 5 ms: 40,000 in 200 ms.
        for turn in 1..100 {
            turns.turn((turn * 1_000 + 1, turn * 1_000));
        }
        assert!(turns.pressure.has_room(40_000, 0) && !turns.pressure.has_room(40_001, 0));
        // Idle times say nothing of the disk.
        (0..100).for_each(|_| turns.turn((99_000, 99_000)));
        assert!(turns.pressure.has_room(40_000, 0) && !turns.pressure.has_room(40_001, 0));
        (0..60).for_each(|_| turns.turn((99_600, 99_000)));
        assert!(turns.pressure.has_room(30_000, 0), "a disk that hesitates");
        (0..1_000).for_each(|_| turns.turn((99_600, 99_000)));
        assert!(turns.pressure.has_room(2_048, 0) && !turns.pressure.has_room(2_049, 0), "a disk that stands still");
        // It need not be busy all the time to show that it writes again.
        for turn in 1..60 {
            turns.turn((99_000 + turn * 1_000, 99_000 + turn * 1_000));
        }
        assert!(turns.pressure.has_room(40_000, 0));
    }

    #[test]
    fn strangers_take_a_quarter_of_the_cores() {
        let mut turns = Turns::new();
        turns.turn((0, 0));
        let taken = |pressure: &Pressure| (0..1_000_000).take_while(|_| pressure.takes_a_stranger(true)).count();
        let of_cores =
            |time: Duration| (time * turns.pressure.cores / STRANGERS_SHARE).as_micros() / VERIFICATION.as_micros();
        assert!((0..1_000_000).all(|_| turns.pressure.takes_a_stranger(false)), "without a signature");
        let (burst, turn) = (of_cores(STRANGERS_BURST), of_cores(TURN));
        assert_eq!(taken(&turns.pressure) as u128, burst);
        turns.turn((0, 0));
        assert_eq!(taken(&turns.pressure) as u128, turn);
    }
}
