//! What the hot path costs in instructions, counted by valgrind: the same on a loud machine as on a quiet one, so a rise
//! over the pinned count can fail a build (`bench/instructions.py`).
#![allow(clippy::disallowed_methods, reason = "what is measured is real time")]
#![expect(
    missing_docs,
    unused_qualifications,
    clippy::expect_used,
    clippy::needless_pass_by_value,
    reason = "gungraun's macros; a bench that meets the unexpected stops"
)]

use std::hint::black_box;
use std::sync::Arc;

use gungraun::{library_benchmark, library_benchmark_group, main};
use tapgate::signature::{SigningKey, WebhookHeaders, WebhookPolicy, verify_webhook};
use tapgate::wire::callback::{Envelope, render};
use tapgate_bench::{BODY, Requests, START_SECONDS, Sink, all_controls, drain, ledger, now, submit};
use tapgate_engine::fact::{Controls, Kind, Record, Request};
use tapgate_engine::ledger::{Ledger, Reply};
use tapgate_engine::money::Minor;
use tapgate_engine::testing::{Gated, MemoryStore};

const USERS: u64 = 1_000;

/// Decisions counted together: what a growing map costs now and then is shared by all of them.
const DECISIONS: u64 = 1_000;

/// A ledger whose journal waits, so that only the deciding thread runs, and what it is asked.
struct World {
    gate: Arc<Gated<Sink>>,
    ledger: Ledger,
    asked: Vec<Request>,
}

impl World {
    /// After as many decisions as will be counted: no row is new any more.
    fn new(controls: Controls, ask: impl Fn(Request) -> Request) -> World {
        let gate = Gated::new(Arc::new(Sink::default()), true);
        let ledger = ledger(gate.clone(), USERS, controls);
        let mut requests = Requests::new(USERS, 0);
        for request in requests.taps(DECISIONS) {
            let _ = submit(&ledger, request);
        }
        drain(&ledger);
        gate.set_open(false);
        World { gate, ledger, asked: requests.taps(DECISIONS).into_iter().map(ask).collect() }
    }
}

fn approved() -> World {
    World::new(Controls::default(), |request| request)
}

fn approved_under_all_controls() -> World {
    World::new(all_controls(), |request| request)
}

fn declined() -> World {
    World::new(Controls::default(), |request| Request { amount: Minor(999_000_000_000_000), ..request })
}

fn duplicated() -> World {
    // The generator of lane 0 begins anew: ids that were answered.
    let world = World::new(Controls::default(), |request| request);
    World { asked: Requests::new(USERS, 0).taps(DECISIONS), ..world }
}

fn reversed() -> World {
    let world = World::new(Controls::default(), |request| request);
    let asked = Requests::new(USERS, 0).taps(DECISIONS).into_iter().enumerate();
    let reversal = |(number, tap): (usize, Request)| Request {
        id: format!("reversal_{number}").parse().expect("an id"),
        kind: Kind::Reversal,
        original: Some(tap.id.clone()),
        ..tap
    };
    World { asked: asked.map(reversal).collect(), ..world }
}

// The world is given back, so that taking it down is not counted.
#[library_benchmark]
#[bench::approved(setup = approved, teardown = finish)]
#[bench::all_controls(setup = approved_under_all_controls, teardown = finish)]
#[bench::declined(setup = declined, teardown = finish)]
#[bench::duplicate(setup = duplicated, teardown = finish)]
#[bench::reversal(setup = reversed, teardown = finish)]
fn thousand_decisions(mut world: World) -> World {
    for request in std::mem::take(&mut world.asked) {
        assert!(black_box(world.ledger.submit(request, now())).is_ok(), "refused");
    }
    world
}

fn finish(world: World) {
    world.gate.set_open(true);
    drain(&world.ledger);
}

fn signed() -> (WebhookPolicy, String) {
    let key = SigningKey::from_bytes([7; 32]).expect("a key");
    let signature = key.sign_hex(&[BODY.as_bytes()]);
    let policy = WebhookPolicy { signers: vec![key.address()], require_v2: false, timestamp_window_seconds: 300 };
    // The context of the curve is made once a process.
    assert!(verified(&policy, &signature), "not the signer");
    (policy, signature)
}

fn verified(policy: &WebhookPolicy, signature: &str) -> bool {
    let headers = WebhookHeaders { signature: Some(signature.as_bytes()), ..WebhookHeaders::default() };
    verify_webhook(policy, &headers, black_box(BODY.as_bytes()), START_SECONDS).is_ok()
}

#[library_benchmark]
#[bench::v1(setup = signed)]
fn verification((policy, signature): (WebhookPolicy, String)) -> bool {
    verified(&policy, &signature)
}

fn parsed() -> Request {
    Envelope::parse(black_box(BODY.as_bytes())).expect("an envelope").request().expect("a request")
}

#[library_benchmark]
fn hundred_parsings() {
    for _ in 0..100 {
        black_box(parsed());
    }
}

fn answered() -> Reply {
    let ledger = ledger(Arc::new(Sink::default()), 1, Controls::default());
    submit(&ledger, Requests::new(1, 0).tap()).reply
}

#[library_benchmark]
#[bench::approval(setup = answered)]
fn rendering(reply: Reply) -> (Vec<u8>, Reply) {
    (render(black_box(&reply)), reply)
}

fn recorded() -> Record {
    let store = MemoryStore::new();
    let ledger = ledger(store.clone(), 1, all_controls());
    let _ = submit(&ledger, Requests::new(1, 0).tap());
    drain(&ledger);
    let bytes = store.entries().pop().map(|entry| entry.payload).unwrap_or_default();
    Record::decode(&bytes).expect("a record")
}

#[library_benchmark]
#[bench::decision(setup = recorded)]
fn encoding(record: Record) -> (Vec<u8>, Record) {
    (black_box(&record).encode(), record)
}

library_benchmark_group!(name = hot_path; benchmarks = thousand_decisions, verification, hundred_parsings, rendering, encoding);
main!(library_benchmark_groups = hot_path);
