use std::net::Ipv4Addr;

use super::*;

const UR: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));
const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1));
const PROXY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 7));

/// Of places on the public listener, with a proxy of our own.
fn places(count: usize) -> Arc<Places> {
    let connections = Connections { trusted: vec!["10.0.0.0/24".parse().unwrap()], ..Connections::default() };
    Places::new(connections.public(count))
}

fn seat(places: &Arc<Places>, from: IpAddr) -> Seat {
    places.admit(from).unwrap()
}

/// With a request in.
fn asking(places: &Arc<Places>, from: IpAddr) -> Seat {
    let seat = seat(places, from);
    seat.place.begins(false);
    seat
}

fn proven(places: &Arc<Places>, from: IpAddr) -> Seat {
    let seat = seat(places, from);
    seat.prove();
    seat
}

/// Whether the connection was asked to end.
fn is_ended(seat: &Seat) -> bool {
    let ended = std::pin::pin!(seat.place.ended());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    ended.poll(&mut context).is_ready()
}

/// Lets time pass, and looks once.
fn passes(places: &Places, time: Duration) -> Counts {
    places.sweep(TICK * places.now() + time)
}

#[test]
fn the_oldest_stranger_gives_way() {
    let places = places(8);
    // Half of the places are not for strangers.
    let first: Vec<_> = (0..4).map(|_| seat(&places, STRANGER)).collect();
    let fifth = seat(&places, STRANGER);
    assert_eq!(first.iter().map(is_ended).collect::<Vec<_>>(), [true, false, false, false]);
    assert!(!is_ended(&fifth));
    let counts = passes(&places, TICK);
    assert_eq!((counts.taken, counts.evicted, counts.refused), (4, 1, 0));
    drop(first);
    assert_eq!(passes(&places, TICK).taken, 1, "one that has lost its place does not leave twice");
}

#[test]
fn the_peer_with_the_most_gives_way() {
    let places = places(8);
    let single = seat(&places, OTHER);
    let many: Vec<_> = (0..3).map(|_| seat(&places, STRANGER)).collect();
    let next = seat(&places, UR);
    assert!(is_ended(&many[0]) && !is_ended(&single), "the oldest of all has but one connection");
    drop(next);
}

#[test]
fn a_request_that_is_in_is_never_cut_off() {
    let places = places(4);
    let (first, second) = (asking(&places, STRANGER), seat(&places, STRANGER));
    let third = asking(&places, STRANGER);
    assert_eq!([&first, &second, &third].map(is_ended), [false, true, false]);
    assert!(places.admit(STRANGER).is_none(), "both places of strangers have a request in");
    assert_eq!(passes(&places, TICK).refused, 1);
    first.place.is_answered();
    let fourth = seat(&places, STRANGER);
    assert_eq!([&first, &third, &fourth].map(is_ended), [true, false, false]);
}

#[test]
fn whoever_is_known_finds_a_place_among_any_number_of_strangers() {
    let places = places(8);
    drop(proven(&places, UR));
    let strangers: Vec<_> = (0..100).map(|_| seat(&places, STRANGER)).collect();
    let kept: Vec<_> = (0..4).map(|_| proven(&places, UR)).collect();
    let fresh = seat(&places, UR);
    assert!(kept.iter().chain([&fresh]).all(|seat| !is_ended(seat)));
    assert_eq!(strangers.iter().filter(|seat| !is_ended(seat)).count(), 3);
}

#[test]
fn strangers_at_the_address_of_ur_do_not_take_what_ur_has_proven() {
    let places = places(8);
    let kept = proven(&places, UR);
    let strangers: Vec<_> = (0..100).map(|_| seat(&places, UR)).collect();
    let fresh = asking(&places, UR);
    let more: Vec<_> = (0..100).map(|_| seat(&places, UR)).collect();
    assert!(!is_ended(&kept) && !is_ended(&fresh));
    assert!(strangers.iter().all(is_ended));
    assert_eq!(more.iter().filter(|seat| !is_ended(seat)).count(), 6);
}

#[test]
fn a_wrong_signature_unproves_the_connection_but_not_the_peer() {
    let places = places(2);
    let (proven, stranger) = (proven(&places, UR), seat(&places, STRANGER));
    proven.unprove();
    drop(stranger);
    let known = seat(&places, UR);
    assert!(!is_ended(&proven));
    let next = seat(&places, UR);
    assert!(is_ended(&proven) && !is_ended(&known) && !is_ended(&next));
}

#[test]
fn among_the_proven_the_oldest_without_a_request_gives_way_to_a_known_one_alone() {
    let places = places(2);
    let kept: Vec<_> = (0..2).map(|_| proven(&places, UR)).collect();
    assert!(places.admit(STRANGER).is_none());
    kept[0].place.begins(false);
    let next = seat(&places, UR);
    assert_eq!([&kept[0], &kept[1], &next].map(is_ended), [false, true, false]);
    assert_eq!(passes(&places, TICK).proven, 1);
}

#[test]
fn a_proof_lasts_a_day() {
    let places = places(2);
    drop(proven(&places, UR));
    passes(&places, PROOF_LASTS - TICK);
    let known = [seat(&places, UR), seat(&places, UR)];
    assert!(!known.iter().any(is_ended), "both places are for known peers");
    drop(known);
    passes(&places, TICK);
    let strangers = [seat(&places, UR), seat(&places, UR)];
    assert_eq!(strangers.each_ref().map(is_ended), [true, false]);
}

#[test]
fn a_connection_that_proves_itself_all_the_time_keeps_its_peer_known() {
    let places = places(2);
    let kept = proven(&places, UR);
    kept.place.begins(false);
    for _ in 0..48 {
        passes(&places, Duration::from_secs(3_600));
        kept.prove();
    }
    drop(kept);
    let known = [seat(&places, UR), seat(&places, UR)];
    assert!(!known.iter().any(is_ended));
}

#[test]
fn our_own_proxies_need_no_proof() {
    let places = places(4);
    let proxied: Vec<_> = (0..4).map(|_| seat(&places, PROXY)).collect();
    proxied[0].unprove();
    assert!(places.admit(STRANGER).is_none());
    let next = seat(&places, PROXY);
    assert_eq!(proxied.iter().map(is_ended).collect::<Vec<_>>(), [true, false, false, false]);
    assert!(!is_ended(&next));
}

/// The time after which a connection is ended that does this first.
fn lasts(first: impl FnOnce(&Place)) -> Option<Duration> {
    let places = places(2);
    let seat = seat(&places, STRANGER);
    first(&seat.place);
    let ticks = (1..=in_ticks(Duration::from_secs(100))).find(|_| {
        passes(&places, TICK);
        is_ended(&seat)
    });
    ticks.map(|ticks| (ticks - 1) * TICK)
}

#[test]
fn each_step_has_its_time() {
    let seconds = |first: fn(&Place)| lasts(first).map(|time| time.as_secs());
    assert_eq!(seconds(|_| {}), Some(5), "without a byte");
    assert_eq!(seconds(|place| place.heard()), Some(5), "without the rest of a header");
    assert_eq!(seconds(|place| place.begins(true)), None, "nobody has asked for its body yet");
    assert_eq!(seconds(|place| place.has_a_piece()), None, "while a piece is worked on");
    let pieces = |place: &Place| {
        place.begins(true);
        place.has_a_piece();
        place.awaits_more();
    };
    assert_eq!(lasts(pieces).map(|time| time.as_secs()), Some(5), "without the next piece of a body");
    assert_eq!(seconds(|place| place.begins(false)), None, "the decision has a deadline of its own");
    let answers = |place: &Place| {
        place.begins(false);
        place.is_answered();
        place.writes();
    };
    let unread = lasts(answers).map(|time| time.as_secs());
    assert_eq!(unread, Some(5), "with an answer that the client does not read");
    let idle = lasts(|place| {
        answers(place);
        place.has_sent();
    });
    assert_eq!(idle.map(|time| time.as_secs()), Some(75), "between requests");
}

#[test]
fn who_reads_a_byte_at_a_time_is_ended_although_requests_go_on() {
    let places = places(2);
    let seat = seat(&places, STRANGER);
    let ended = (0..40).find(|_| {
        seat.place.begins(false);
        seat.place.is_answered();
        seat.place.writes();
        passes(&places, TICK);
        is_ended(&seat)
    });
    assert_eq!(ended, Some(20), "5 s after the first byte that was not taken");
}

#[test]
fn an_answer_is_heard_once_the_client_was_there_after_it() {
    let place = || Place::new(Peer::of(UR), 1, Standing::Stranger, Arc::default());
    let answered = |place: &Place| {
        assert!(!place.is_unheard());
        place.begins(false);
        assert!(place.is_unheard(), "it is being decided");
        place.is_answered();
        assert!(place.is_unheard(), "nothing has left");
        place.writes();
        assert!(place.is_unheard(), "not all has left");
        place.has_sent();
        assert!(!place.is_unheard());
    };
    let gone = place();
    answered(&gone);
    gone.hangs_up();
    assert!(gone.is_unheard(), "it had hung up before the answer");
    for is_quiet in [false, true] {
        let there = place();
        answered(&there);
        if is_quiet {
            there.hears_nothing();
        } else {
            there.heard();
        }
        there.hangs_up();
        assert!(!there.is_unheard());
    }
}
