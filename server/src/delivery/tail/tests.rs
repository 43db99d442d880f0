//! Scenarios, and a receiver that fails at random: compares the messages it saw with those it must see.

use std::collections::BTreeSet;

use proptest::prelude::*;
use tapgate_engine::ids::Sequence;
use tapgate_engine::testing::cases;

use super::*;

const HOUR: Duration = Duration::from_secs(3_600);
const LIMITS: Limits = Limits { window: 8, concurrency: 3, park_after: Duration::from_secs(72 * 3_600) };

fn place(record: u64) -> Place {
    Place { record: Sequence(record), part: 0 }
}

fn message(record: u64, lane: &str) -> Message<()> {
    let lane = Some(lane).filter(|lane| !lane.is_empty()).map(CompactString::from);
    Message { place: place(record), lane, at: UnixMillis(record), kind: "test", content: () }
}

fn failure() -> Failure {
    Failure { reason: "HTTP 500".to_owned(), retry_after: None, draw: 0 }
}

/// A tail that took records 1, 2, … of these lanes at time 0.
fn tail(lanes: &[&str]) -> Tail<()> {
    let mut tail = Tail::new(LIMITS, Position::default());
    for (record, lane) in (1..).zip(lanes) {
        tail.offer(message(record, lane), UnixMillis(0));
    }
    tail
}

/// The records attempted at a time.
fn attempted(tail: &mut Tail<()>, now: u64) -> Vec<u64> {
    std::iter::from_fn(|| tail.next(UnixMillis(now))).map(|message| message.place.record.0).collect()
}

#[test]
fn a_lane_waits_for_its_first_and_others_do_not() {
    let mut tail = tail(&["alice", "alice", "bob", "", "", "alice"]);
    assert_eq!(attempted(&mut tail, 0), [1, 3, 4], "no more than three at once");
    tail.failed(place(1), UnixMillis(0), failure());
    tail.done(place(3), UnixMillis(0));
    assert_eq!(attempted(&mut tail, 0), [5]);
    tail.done(place(4), UnixMillis(0));
    tail.done(place(5), UnixMillis(0));
    assert_eq!(attempted(&mut tail, 4_999), [0_u64; 0], "alice waits behind her first");
    assert_eq!(tail.next_at(), Some(UnixMillis(5_000)));
    assert_eq!(attempted(&mut tail, 5_000), [1]);
    tail.done(place(1), UnixMillis(5_000));
    assert_eq!(attempted(&mut tail, 5_000), [2]);
    tail.done(place(2), UnixMillis(5_000));
    assert_eq!(attempted(&mut tail, 5_000), [6]);
    assert_eq!(tail.next_at(), None);
}

#[test]
fn the_position_is_before_the_first_that_waits_and_names_what_is_accepted_beyond() {
    let mut tail = tail(&["alice", "bob", "carol"]);
    assert_eq!(attempted(&mut tail, 0), [1, 2, 3]);
    tail.done(place(2), UnixMillis(0));
    let position = tail.position();
    assert_eq!((position.through, &position.accepted), (Place::end_of(Sequence(0)), &BTreeSet::from([place(2)])));

    let mut again = Tail::new(LIMITS, position);
    for (record, lane) in (1..).zip(["alice", "bob", "carol"]) {
        again.offer(message(record, lane), UnixMillis(9));
    }
    assert_eq!(attempted(&mut again, 9), [1, 3], "2 was accepted before");
    again.done(place(1), UnixMillis(9));
    again.done(place(3), UnixMillis(9));
    again.read_through(Place::end_of(Sequence(7)));
    assert_eq!(again.position(), Position { through: Place::end_of(Sequence(7)), ..Position::default() });
}

#[test]
fn nothing_is_read_beyond_the_window() {
    let mut tail = tail(&["a", "b", "c", "d", "e", "f", "g"]);
    assert_eq!(tail.room(), 1);
    tail.offer(message(8, "h"), UnixMillis(0));
    assert_eq!(tail.room(), 0);
    assert_eq!(attempted(&mut tail, 0), [1, 2, 3]);
    tail.done(place(2), UnixMillis(0));
    assert_eq!(tail.room(), 0, "what is accepted behind one that waits is remembered");
    tail.done(place(1), UnixMillis(0));
    assert_eq!(tail.room(), 2);
}

#[test]
fn a_receiver_that_is_down_is_asked_once_at_a_time_and_everything_goes_out_when_it_is_back() {
    let mut tail = tail(&["a", "b", "c", "d", "e", "f", "g"]);
    for _ in 0..2 {
        for record in attempted(&mut tail, 0) {
            tail.failed(place(record), UnixMillis(0), Failure { draw: u32::MAX, ..failure() });
        }
    }
    assert_eq!(tail.next_at(), Some(UnixMillis(9_999)), "six failed: it is down, and what was under way counts once");
    let mut asked = Vec::new();
    let mut now = 0;
    while now < 4 * 3_600_000 {
        now = tail.next_at().unwrap().0;
        let one = attempted(&mut tail, now);
        assert_eq!(one.len(), 1, "one finds out");
        tail.failed(place(one[0]), UnixMillis(now), Failure { draw: u32::MAX, ..failure() });
        asked.extend(one);
    }
    assert!((10..20).contains(&asked.len()), "asked ever more rarely: {asked:?}");
    assert_eq!(asked.iter().collect::<BTreeSet<_>>().len(), 7, "not the same one over and over");
    now = tail.next_at().unwrap().0;
    let one = attempted(&mut tail, now);
    tail.done(place(one[0]), UnixMillis(now));
    assert_eq!(attempted(&mut tail, now).len(), 3, "nobody waits for a pause any more");
    assert_eq!(tail.state(), State::Delivering);
}

#[test]
fn who_finds_the_receiver_back_ends_the_pauses_of_the_others() {
    let mut tail = tail(&["a"]);
    let mut now = UnixMillis(0);
    for _ in 0..DOWN_AFTER {
        now = tail.next_at().unwrap();
        assert!(tail.next(now).is_some());
        tail.failed(place(1), now, Failure { draw: u32::MAX, ..failure() });
    }
    tail.offer(message(2, "b"), now);
    let probe = tail.next_at().unwrap();
    assert!(probe.0 < now.0 + 10_000, "b need not wait as long as a");
    assert_eq!(attempted(&mut tail, probe.0), [2]);
    tail.done(place(2), probe);
    assert_eq!(attempted(&mut tail, probe.0), [1]);
}

#[test]
fn who_asks_to_be_left_alone_is_left_alone_by_every_lane() {
    let mut tail = tail(&["a", "b", "c", "d"]);
    assert_eq!(attempted(&mut tail, 0), [1, 2, 3]);
    let limited = Failure { retry_after: Some(Duration::from_secs(90)), ..failure() };
    tail.failed(place(1), UnixMillis(0), limited);
    tail.done(place(2), UnixMillis(0));
    assert_eq!(attempted(&mut tail, 89_999), [0_u64; 0]);
    assert_eq!(attempted(&mut tail, 90_000), [4, 1], "3 is under way still");
    let for_ever = Failure { retry_after: Some(Duration::MAX), ..failure() };
    tail.failed(place(1), UnixMillis(90_000), for_ever);
    assert_eq!(tail.next_at(), Some(UnixMillis(90_000 + 3_600_000)), "but not for ever");
}

#[test]
fn a_clock_that_is_set_back_holds_nothing_up() {
    let mut tail = tail(&["a"]);
    let noon = 43_200_000;
    assert_eq!(attempted(&mut tail, noon), [1]);
    tail.failed(place(1), UnixMillis(noon), failure());
    assert_eq!(attempted(&mut tail, noon - 1), [0_u64; 0]);
    assert_eq!(attempted(&mut tail, 0), [1]);
}

#[test]
fn a_receiver_that_accepts_nothing_for_three_days_is_parked_until_somebody_resumes_it() {
    let mut tail = tail(&["a", "b"]);
    let mut now = UnixMillis(1_000);
    while tail.next_at().is_some() {
        let message = tail.next(now).unwrap();
        tail.failed(message.place, now, failure());
        now = tail.next_at().unwrap_or(now);
    }
    let parked = tail.position().parked.unwrap();
    assert_eq!(parked.reason, "HTTP 500");
    let hours = Duration::from_millis(parked.since.0 - 1_000).as_secs_f64() / 3_600.0;
    assert!((72.0..73.1).contains(&hours), "after {hours} hours");
    assert!(matches!(tail.state(), State::Parked(_)));
    assert_eq!(attempted(&mut tail, u64::MAX), [0_u64; 0]);

    let mut tail = Tail::new(LIMITS, tail.position());
    tail.offer(message(1, "a"), now);
    assert_eq!(attempted(&mut tail, u64::MAX), [0_u64; 0], "a restart does not resume it");
    tail.resume(now);
    assert_eq!(tail.state(), State::Delivering);
    assert_eq!(attempted(&mut tail, now.0), [1]);
}

#[test]
fn days_in_which_nobody_tried_do_not_count() {
    let mut tail = tail(&["a"]);
    assert_eq!(attempted(&mut tail, 0), [1]);
    tail.failed(place(1), UnixMillis(0), failure());
    let week = u64::try_from((HOUR * 168).as_millis()).unwrap();
    let mut tail = Tail::new(LIMITS, tail.position());
    tail.offer(message(1, "a"), UnixMillis(week));
    for failures in 1..=DOWN_AFTER {
        assert!(matches!(tail.state(), State::Failing(_)), "after {failures}");
        let now = tail.next_at().unwrap();
        assert!(tail.next(now).is_some());
        tail.failed(place(1), now, failure());
    }
    assert!(matches!(tail.state(), State::Parked(_)), "it is down now, and was before");
}

#[test]
fn one_success_starts_the_three_days_again() {
    let mut tail = tail(&["poison", "b", "c"]);
    let at = |hour: u32| UnixMillis(u64::try_from((HOUR * hour).as_millis()).unwrap());
    assert_eq!(attempted(&mut tail, 0), [1, 2, 3]);
    tail.failed(place(1), at(0), failure());
    tail.done(place(2), at(71));
    assert_eq!(attempted(&mut tail, at(73).0), [1]);
    tail.failed(place(1), at(73), failure());
    assert_eq!(tail.state(), State::Failing(Trouble { since: at(73), reason: "HTTP 500".to_owned() }));
}

#[test]
fn a_refusal_parks_at_once_and_keeps_the_message() {
    let mut tail = tail(&["a", "a"]);
    assert_eq!(attempted(&mut tail, 0), [1]);
    tail.refused(place(1), UnixMillis(5), "HTTP 410: it is gone".to_owned());
    assert_eq!(
        tail.state(),
        State::Parked(Trouble { since: UnixMillis(5), reason: "HTTP 410: it is gone".to_owned() })
    );
    assert_eq!(attempted(&mut tail, u64::MAX), [0_u64; 0]);
    tail.resume(UnixMillis(6));
    assert_eq!(attempted(&mut tail, 6), [1]);
}

#[test]
fn a_replay_sends_everything_from_a_place_on_again() {
    let mut tail = tail(&["a", "b", "c", "d"]);
    assert_eq!(attempted(&mut tail, 0), [1, 2, 3]);
    tail.done(place(1), UnixMillis(0));
    tail.done(place(3), UnixMillis(0));
    tail.replay(place(1));
    assert_eq!(tail.position(), Position { through: place(1).before(), ..Position::default() });
    for record in 1..=4 {
        tail.offer(message(record, "a"), UnixMillis(0));
    }
    assert_eq!(attempted(&mut tail, 0), [1], "of a lane only its first");
    tail.done(place(1), UnixMillis(0));
    tail.replay(place(9));
    assert_eq!(tail.read(), place(2).before(), "what is still to be accepted is not left out");
}

/// The rejected record, the start of its rejection, and whether others pass.
fn rejected(tail: &Tail<()>) -> Option<(u64, u64, bool)> {
    tail.rejected().map(|rejected| (rejected.place.record.0, rejected.trouble.since.0, rejected.others_pass))
}

const HOUR_MILLIS: u64 = 3_600_000;

#[test]
fn a_message_that_fails_while_others_pass_is_stuck_after_an_hour() {
    let mut tail = tail(&["poison", "b", "c", "poison"]);
    assert_eq!(attempted(&mut tail, 10), [1, 2, 3]);
    tail.failed(place(1), UnixMillis(10), failure());
    assert_eq!(rejected(&tail), Some((1, 10, false)), "who knows");
    tail.done(place(2), UnixMillis(20));
    assert_eq!(rejected(&tail), Some((1, 10, false)), "it may have been a moment");
    assert_eq!(attempted(&mut tail, 6_000), [1]);
    tail.failed(place(1), UnixMillis(6_000), Failure { reason: "HTTP 422".to_owned(), ..failure() });
    let blamed = tail.rejected().unwrap();
    assert_eq!((rejected(&tail), &*blamed.trouble.reason), (Some((1, 10, true)), "HTTP 422"));
    assert!(!tail.is_stuck(UnixMillis(10 + HOUR_MILLIS - 1)) && tail.is_stuck(UnixMillis(10 + HOUR_MILLIS)));

    let now = UnixMillis(2 * HOUR_MILLIS);
    tail.resume(now);
    let mut tail = Tail::new(LIMITS, tail.position());
    assert_eq!(rejected(&tail), Some((1, 10, true)), "a restart knows it before it is read");
    for (record, lane) in (1..).zip(["poison", "b", "c", "poison"]) {
        tail.offer(message(record, lane), now);
    }
    assert_eq!(rejected(&tail), Some((1, 10, true)), "neither a person who hurries it nor a restart forgives it");
    assert_eq!(attempted(&mut tail, now.0), [1, 3]);
    tail.done(place(1), now);
    assert_eq!((rejected(&tail), tail.position().rejected), (None, None));
}

#[test]
fn the_one_that_is_rejected_longest_is_seen_to_first() {
    let mut tail = tail(&["a", "b", "c"]);
    assert_eq!(attempted(&mut tail, 10), [1, 2, 3]);
    tail.failed(place(2), UnixMillis(10), failure());
    tail.failed(place(1), UnixMillis(20), failure());
    assert_eq!(rejected(&tail), Some((2, 10, false)));
    tail.done(place(3), UnixMillis(30));
    assert_eq!(attempted(&mut tail, 6_000), [2, 1]);
    tail.failed(place(1), UnixMillis(6_000), failure());
    assert_eq!(rejected(&tail), Some((1, 20, true)), "of the other nobody knows yet");
    tail.failed(place(2), UnixMillis(6_000), failure());
    assert_eq!(rejected(&tail), Some((2, 10, true)));
    tail.skip(place(2), UnixMillis(6_000)).unwrap();
    assert_eq!(rejected(&tail), Some((1, 20, true)));
}

#[test]
fn what_fails_with_everything_else_is_not_to_blame() {
    let mut tail = tail(&["a", "b", "c", "d"]);
    let mut now = UnixMillis(0);
    while now.0 < 5 * HOUR_MILLIS {
        for record in attempted(&mut tail, now.0) {
            tail.failed(place(record), now, failure());
        }
        assert!(tail.rejected().is_none_or(|rejected| !rejected.others_pass));
        assert_eq!(tail.position().rejected, None, "each failure would be another position");
        now = tail.next_at().unwrap();
    }
    let back = attempted(&mut tail, now.0);
    tail.done(place(back[0]), now);
    for record in attempted(&mut tail, now.0) {
        tail.failed(place(record), now, failure());
    }
    assert!(!tail.is_stuck(now), "the hours in which nothing passed do not count");
}

#[test]
fn who_stands_still_for_one_message_is_told_of_within_minutes() {
    let mut tail = tail(&["poison", "b", "c", "d", "e", "f", "poison", "poison"]);
    assert_eq!(attempted(&mut tail, 10), [1, 2, 3]);
    tail.failed(place(1), UnixMillis(10), failure());
    [2, 3].into_iter().for_each(|record| tail.done(place(record), UnixMillis(20)));
    assert_eq!(attempted(&mut tail, 6_000), [4, 5, 6]);
    [4, 5].into_iter().for_each(|record| tail.done(place(record), UnixMillis(6_000)));
    assert_eq!(attempted(&mut tail, 6_000), [1]);
    tail.failed(place(1), UnixMillis(6_000), failure());
    let minutes = |count: u64| UnixMillis(10 + count * 60_000);
    assert_eq!((tail.room(), rejected(&tail)), (0, Some((1, 10, true))));
    assert!(!tail.is_stuck(minutes(59)), "6 may still pass");
    tail.done(place(6), UnixMillis(7_000));
    assert_eq!((tail.room(), tail.waiting.len()), (0, 3));
    assert!(!tail.is_stuck(minutes(4)) && tail.is_stuck(minutes(5)));
    assert_eq!(attempted(&mut tail, minutes(5).0), [1]);
    assert!(tail.is_stuck(minutes(5)), "while it is attempted, too");
    tail.failed(place(1), minutes(5), failure());
    tail.skip(place(1), minutes(5)).unwrap();
    assert!(!tail.is_stuck(minutes(500)) && tail.room() > 0);
}

#[test]
fn what_is_skipped_counts_as_accepted_and_lets_its_lane_go_on() {
    let mut tail = tail(&["poison", "b", "poison", "poison"]);
    assert_eq!(attempted(&mut tail, 0), [1, 2]);
    tail.failed(place(1), UnixMillis(0), failure());
    let refused = |asked: u64| Err(NotRejected { asked: place(asked), rejected: Some(place(1)) });
    for (asked, why) in [(2, "it is under way"), (3, "it waits"), (9, "it is not there")] {
        assert_eq!(tail.skip(place(asked), UnixMillis(1)), refused(asked), "{why}");
    }
    tail.skip(place(1), UnixMillis(1)).unwrap();
    assert_eq!((tail.through(), tail.rejected()), (place(2).before(), None));
    assert_eq!(attempted(&mut tail, 1), [3], "at once, and not the one that is skipped");
    tail.done(place(2), UnixMillis(2));
    tail.done(place(3), UnixMillis(2));
    assert_eq!(attempted(&mut tail, 2), [4]);
    let said = tail.skip(place(4), UnixMillis(3)).unwrap_err().to_string();
    assert_eq!(
        said,
        "only a message that the receiver was sent and does not accept can be skipped: msg_4_0 is none, nor is any other"
    );
}

#[test]
fn what_comes_after_others_since_a_replay_is_not_skipped_before_them() {
    let mut tail = tail(&["a", "a"]);
    assert_eq!(attempted(&mut tail, 0), [1]);
    tail.done(place(1), UnixMillis(0));
    assert_eq!(attempted(&mut tail, 0), [2]);
    tail.refused(place(2), UnixMillis(1), "the event is invalid".to_owned());
    tail.replay(place(1));
    tail.offer(message(1, "a"), UnixMillis(2));
    tail.offer(message(2, "a"), UnixMillis(2));
    let said = tail.skip(place(2), UnixMillis(2)).unwrap_err().to_string();
    assert_eq!(said, "msg_2_0 is being sent, or comes after others since a replay: ask again in a moment");
    tail.resume(UnixMillis(3));
    assert_eq!(attempted(&mut tail, 3), [1]);
    tail.done(place(1), UnixMillis(4));
    tail.skip(place(2), UnixMillis(4)).unwrap();
    assert_eq!((tail.through(), tail.next_at()), (place(2), None));
}

#[test]
fn a_receiver_that_went_down_is_not_a_message_to_blame() {
    let mut tail = tail(&["a", "b", "c"]);
    assert_eq!(attempted(&mut tail, 10), [1, 2, 3]);
    tail.failed(place(1), UnixMillis(10), failure());
    tail.done(place(2), UnixMillis(20));
    assert_eq!(attempted(&mut tail, 6_000), [1]);
    tail.failed(place(1), UnixMillis(6_000), failure());
    let later = UnixMillis(3 * HOUR_MILLIS);
    assert!(tail.is_stuck(later), "others pass, as far as anybody knows");
    tail.failed(place(3), UnixMillis(7_000), failure());
    assert!(tail.is_stuck(later), "it may be a moment");
    let mut now = UnixMillis(7_000);
    while !tail.is_down() {
        now = now.max(tail.next_at().unwrap());
        for record in attempted(&mut tail, now.0) {
            tail.failed(place(record), now, failure());
        }
    }
    assert!(!tail.is_stuck(later), "it takes nothing any more");
    while attempted(&mut tail, now.0) != [3] {
        now = now.max(tail.next_at().unwrap());
        tail.failed(place(1), now, failure());
    }
    tail.done(place(3), now);
    assert!(tail.is_stuck(later));
}

#[test]
fn what_parked_its_receiver_can_be_skipped_after_a_restart_too_and_it_stays_parked() {
    let mut tail = tail(&["a", "b"]);
    assert_eq!(attempted(&mut tail, 0), [1, 2]);
    tail.refused(place(1), UnixMillis(5), "the event is invalid".to_owned());
    tail.failed(place(2), UnixMillis(5), failure());
    let mut tail = Tail::new(LIMITS, tail.position());
    tail.offer(message(1, "a"), UnixMillis(6));
    tail.offer(message(2, "b"), UnixMillis(6));
    tail.skip(place(1), UnixMillis(6)).unwrap();
    assert!(matches!(tail.state(), State::Parked(_)));
    assert_eq!(attempted(&mut tail, u64::MAX), [0_u64; 0]);
    tail.resume(UnixMillis(7));
    assert_eq!(attempted(&mut tail, 7), [2]);
}

#[test]
fn a_message_is_named_by_its_place() {
    let third = Place { record: Sequence(1_200), part: 2 };
    assert_eq!(third.message_id(), "msg_1200_2");
    assert_eq!(Place::of_message("msg_1200_2"), Some(third));
    for other in
        ["", "msg_", "msg_1200", "1200_2", "msg_1200_-2", "msg_1200_+2", "msg_01200_2", "msg_1200_2_", "msg_1_65536"]
    {
        assert_eq!(Place::of_message(other), None, "{other}");
    }
}

#[test]
fn places_are_ordered_by_record_then_part() {
    let second = Place { record: Sequence(3), part: 1 };
    assert!(place(3) < second && second < Place::end_of(Sequence(3)) && Place::end_of(Sequence(3)) < place(4));
    assert_eq!((second.before(), place(4).before()), (place(3), Place::end_of(Sequence(3))));
    assert_eq!(place(0).before(), place(0));
    assert_eq!(second.to_string(), "3-1");
}

/// Steps of the property tests.
#[derive(Clone, Debug)]
enum Step {
    /// Reads as many messages as fit.
    Read,
    /// Starts attempts and leaves them running.
    Attempt,
    /// A running attempt reaches the receiver; its answer may be lost.
    Answer { which: usize, fails: bool, answer_is_lost: bool, draw: u32, retry_after: Option<u16> },
    /// Time passes.
    Pass(u32),
    /// The worker stores the position.
    Store,
    /// The process crashes and restarts.
    Crash,
    /// A person resumes the receiver.
    Resume,
    /// A person skips the rejected message; the order is stored at once.
    Skip,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let answer = (any::<usize>(), any::<bool>(), any::<bool>(), any::<u32>(), any::<Option<u16>>());
    let answer = answer.prop_map(|(which, fails, answer_is_lost, draw, retry_after)| Step::Answer {
        which,
        fails,
        answer_is_lost: answer_is_lost && fails,
        draw,
        retry_after: retry_after.filter(|after| after % 4 == 0),
    });
    let step = prop_oneof![
        4 => Just(Step::Read),
        6 => Just(Step::Attempt),
        8 => answer,
        3 => (0..8_000_000_u32).prop_map(Step::Pass),
        2 => Just(Step::Store),
        1 => Just(Step::Crash),
        1 => Just(Step::Resume),
        1 => Just(Step::Skip),
    ];
    proptest::collection::vec(step, 0..200)
}

/// A journal, a tail, a store, and a receiver that records every message it saw.
struct World {
    lanes: Vec<u8>,
    tail: Tail<()>,
    stored: Position,
    under_way: Vec<u64>,
    seen: Vec<u64>,
    skipped: BTreeSet<u64>,
    now: UnixMillis,
}

impl World {
    fn new(lanes: Vec<u8>) -> World {
        let tail = Tail::new(LIMITS, Position::default());
        let (stored, skipped) = (Position::default(), BTreeSet::new());
        World { lanes, tail, stored, under_way: Vec::new(), seen: Vec::new(), skipped, now: UnixMillis(1) }
    }

    fn lane(&self, record: u64) -> u8 {
        self.lanes[usize::try_from(record).unwrap() - 1]
    }

    /// Record n is for the receiver unless its lane is 0; lane 1 means no lane.
    fn read(&mut self) {
        let mut room = self.tail.room();
        while room > 0 && self.tail.read().record.0 < self.lanes.len() as u64 {
            let record = self.tail.read().record.0 + 1;
            match self.lane(record) {
                0 => {}
                1 => self.tail.offer(message(record, ""), self.now),
                lane => self.tail.offer(message(record, &format!("user {lane}")), self.now),
            }
            self.tail.read_through(Place::end_of(Sequence(record)));
            room -= 1;
        }
    }

    fn attempt(&mut self) {
        while let Some(message) = self.tail.next(self.now) {
            self.under_way.push(message.place.record.0);
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Read => self.read(),
            Step::Attempt => self.attempt(),
            Step::Answer { which, fails, answer_is_lost, draw, retry_after } => {
                if self.under_way.is_empty() {
                    return;
                }
                let record = self.under_way.swap_remove(which % self.under_way.len());
                if !fails || *answer_is_lost {
                    self.seen.push(record);
                }
                if *fails {
                    let retry_after = retry_after.map(|seconds| Duration::from_secs(seconds.into()));
                    self.tail.failed(
                        place(record),
                        self.now,
                        Failure { reason: String::new(), retry_after, draw: *draw },
                    );
                } else {
                    self.tail.done(place(record), self.now);
                }
            }
            Step::Pass(millis) => self.now.0 += u64::from(*millis),
            Step::Store => self.stored = self.tail.position(),
            Step::Crash => {
                // Running attempts may still arrive or not; in the worst case the receiver saw the message and the tail
                // does not know.
                self.seen.append(&mut self.under_way);
                self.tail = Tail::new(LIMITS, self.stored.clone());
            }
            Step::Resume => self.tail.resume(self.now),
            Step::Skip => {
                let Some(rejected) = self.tail.rejected() else { return };
                if self.tail.skip(rejected.place, self.now).is_ok() {
                    self.skipped.insert(rejected.place.record.0);
                    self.stored = self.tail.position();
                }
            }
        }
    }

    /// From now on the receiver accepts everything, and a person resumes it.
    fn recover(&mut self) {
        self.tail.resume(self.now);
        for _ in 0..10_000 {
            self.read();
            self.attempt();
            if self.under_way.is_empty() {
                match self.tail.next_at() {
                    Some(at) => self.now = self.now.max(at),
                    None if self.tail.read() >= place(self.lanes.len() as u64) => return,
                    None => {}
                }
            }
            for record in std::mem::take(&mut self.under_way) {
                self.seen.push(record);
                self.tail.done(place(record), self.now);
            }
        }
        panic!("it never ends");
    }

    /// Each message at its first arrival.
    fn first_seen(&self) -> Vec<u64> {
        let mut known = BTreeSet::new();
        self.seen.iter().copied().filter(|record| known.insert(*record)).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(512)))]

    /// After any failures, losses and crashes, the receiver has seen each message, each lane in order, and every
    /// message that the position calls accepted was accepted.
    #[test]
    fn nothing_is_lost_and_lanes_keep_their_order(lanes in proptest::collection::vec(0..6_u8, 0..60), steps in steps()) {
        let mut world = World::new(lanes);
        for step in &steps {
            world.step(step);
            let position = world.tail.position();
            let seen: BTreeSet<_> = world.seen.iter().copied().collect();
            prop_assert!(world.tail.waiting.len() + world.tail.accepted.len() <= LIMITS.window, "memory is bounded");
            prop_assert!(world.under_way.len() <= LIMITS.concurrency);
            let is_meant = |record: &u64| world.lane(*record) != 0;
            let through = position.through.record.0 + u64::from(position.through.part == u16::MAX);
            let claimed = (1..through).chain(position.accepted.iter().map(|place| place.record.0));
            for record in claimed.filter(is_meant) {
                let is_over = seen.contains(&record) || world.skipped.contains(&record);
                prop_assert!(is_over, "{record} is called accepted in {position:?}");
            }
            let mut busy = BTreeSet::new();
            for record in &world.under_way {
                let lane = world.lane(*record);
                prop_assert!(lane == 1 || busy.insert(lane), "two of one lane are under way");
            }
        }
        world.recover();
        let first_seen = world.first_seen();
        let meant: BTreeSet<_> = (1..=world.lanes.len() as u64).filter(|record| world.lane(*record) != 0).collect();
        let given_up = world.skipped.iter().copied();
        prop_assert_eq!(first_seen.iter().copied().chain(given_up).collect::<BTreeSet<_>>(), meant);
        for lane in 2..6 {
            let of_lane: Vec<_> = first_seen.iter().filter(|record| world.lane(**record) == lane).collect();
            prop_assert!(of_lane.is_sorted(), "lane {lane}: {of_lane:?}");
        }
        let end = Position { through: Place::end_of(Sequence(world.lanes.len() as u64)), ..Position::default() };
        if !world.lanes.is_empty() {
            prop_assert_eq!(world.tail.position(), end);
        }
    }

    /// Within the window, a lane that always fails delays no other lane, and waits no longer than its own pauses.
    #[test]
    fn a_failing_lane_never_blocks_others(lanes in proptest::collection::vec(2..6_u8, 1..=8), bad in 2..6_u8) {
        let mut world = World::new(lanes);
        world.read();
        for _ in 0..200 {
            world.attempt();
            for record in std::mem::take(&mut world.under_way) {
                if world.lane(record) == bad {
                    world.tail.failed(place(record), world.now, failure());
                } else {
                    world.seen.push(record);
                    world.tail.done(place(record), world.now);
                }
            }
            if world.seen.len() == world.lanes.iter().filter(|lane| **lane != bad).count() {
                break;
            }
        }
        let others: BTreeSet<_> = (1..=world.lanes.len() as u64).filter(|record| world.lane(*record) != bad).collect();
        prop_assert_eq!(world.seen.iter().copied().collect::<BTreeSet<_>>(), others, "all at one moment");
    }
}
