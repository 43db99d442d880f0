//! What a decision costs in memory, beside the floor it is built on, by users and by threads.
//!
//! Submits are timed in batches while the store's gate is closed, so that neither the disk nor the journal thread has a
//! part in it; what they wrote is drained between batches.
#![allow(clippy::disallowed_methods, reason = "what is measured is real time")]
#![expect(clippy::expect_used, reason = "a bench that meets the unexpected stops")]

mod floors;

use std::cell::LazyCell;
use std::hint::black_box;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use compact_str::CompactString;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use tapgate_bench::{Requests, Sink, Slabs, all_controls, drain, ledger, now, submit};
use tapgate_engine::fact::{Controls, Request};
use tapgate_engine::ledger::Ledger;
use tapgate_engine::store::Store;
use tapgate_engine::testing::Gated;

use floors::{Floor, Remembering};

/// Decisions in a batch: what the queue holds, less some room.
const BATCH: u64 = 1_024;

/// Users of the measured world, unless the bench is about their number.
const USERS: u64 = 1_000_000;

/// What a bench's decisions take of memory, and the users'.
const TOUCHED_MIB: usize = 8 * 1024;

struct World {
    gate: Arc<Gated<Sink>>,
    ledger: Arc<Ledger>,
    lanes: Lanes,
}

impl World {
    fn new(users: u64, controls: Controls) -> World {
        let gate = Gated::new(Arc::new(Sink::default()), true);
        let ledger = Arc::new(ledger(gate.clone(), users, controls));
        World { gate, ledger, lanes: Lanes::start(2) }
    }

    /// Times the batches of all lanes, each in a thread of its own.
    fn time(&self, lanes: &mut [Requests], iterations: u64) -> Duration {
        in_batches(iterations, BATCH / lanes.len() as u64, |batch| {
            let asked: Vec<Vec<Request>> = lanes.iter_mut().map(|lane| lane.taps(batch)).collect();
            self.gate.set_open(false);
            let ledger = Arc::clone(&self.ledger);
            let took = self.lanes.side_by_side(asked, move |request| {
                let submitted = ledger.submit(request, now());
                assert!(black_box(submitted).is_ok(), "refused");
            });
            self.gate.set_open(true);
            drain(&self.ledger);
            took
        })
    }
}

/// Threads that outlive a batch, as a server's do: a new thread would begin with an empty heap each time.
struct Lanes(Vec<Lane>);

type Job = Box<dyn FnOnce() + Send>;

struct Lane {
    jobs: Sender<Job>,
}

impl Lanes {
    fn start(count: usize) -> Lanes {
        let lane = |_| {
            let (jobs, todo) = channel::<Job>();
            let thread = std::thread::Builder::new().name("lane".to_owned());
            thread.spawn(move || todo.into_iter().for_each(|job| job())).expect("a thread starts");
            Lane { jobs }
        };
        Lanes((0..count).map(lane).collect())
    }

    /// Does each list in a lane of its own, and gives how long the last of them took.
    fn side_by_side<T: Send + 'static>(
        &self,
        lists: Vec<Vec<T>>,
        one: impl Fn(T) + Clone + Send + 'static,
    ) -> Duration {
        let (done, results) = channel();
        let barrier = Arc::new(Barrier::new(lists.len()));
        for (lane, list) in self.0.iter().zip(lists) {
            let (done, barrier, one) = (done.clone(), Arc::clone(&barrier), one.clone());
            let job = move || {
                barrier.wait();
                let began = Instant::now();
                list.into_iter().for_each(one);
                done.send(began.elapsed()).expect("who asked still waits");
            };
            lane.jobs.send(Box::new(job)).expect("a lane lives as long as its bench");
        }
        drop(done);
        results.into_iter().max().unwrap_or_default()
    }
}

/// Times so many in batches of at most `most`.
fn in_batches(iterations: u64, most: u64, mut time: impl FnMut(u64) -> Duration) -> Duration {
    let mut left = iterations;
    let mut took = Duration::ZERO;
    while left > 0 {
        let batch = left.min(most);
        left -= batch;
        took += time(batch);
    }
    took
}

/// A floor is made when its bench runs: one that is filtered out costs nothing.
fn bench_floor<F: Send + Sync + 'static>(
    criterion: &mut Criterion,
    name: &str,
    make: impl FnOnce() -> F,
    lane: u64,
    decide: fn(&F, &Request) -> bool,
) {
    let floor = LazyCell::new(|| Arc::new(make()));
    let mut requests = Requests::new(USERS, lane);
    let lanes = Lanes::start(1);
    criterion.bench_function(name, |bench| {
        // Made before criterion looks at the clock: from its first call it concludes how many fit into its time.
        let floor = LazyCell::force(&floor);
        bench.iter_custom(|iterations| {
            in_batches(iterations, BATCH, |batch| {
                let floor = Arc::clone(floor);
                lanes.side_by_side(vec![requests.taps(batch)], move |request| {
                    assert!(black_box(decide(&floor, &request)), "declined");
                })
            })
        });
    });
}

fn floors(criterion: &mut Criterion) {
    bench_floor(
        criterion,
        "decision/floor",
        || Floor::new(USERS),
        7,
        |floor, request| {
            floor.decide(request.user.as_str(), CompactString::from(request.id.as_str()), request.amount.0)
        },
    );
    bench_floor(
        criterion,
        "decision/floor_remembering",
        || Remembering::new(USERS),
        8,
        |floor, request| black_box(floor.decide(request)).is_some(),
    );
    let slabs = || Slabs::new(USERS, record_bytes());
    bench_floor(criterion, "decision/floor_slabs", slabs, 9, |floor, request| floor.decide(request));
}

/// Bytes of the record of a decision under every control: the floor's are as many.
fn record_bytes() -> usize {
    let sink = Arc::new(Sink::default());
    let ledger = ledger(Arc::clone(&sink) as Arc<dyn Store>, 1, all_controls());
    let _ = submit(&ledger, Requests::new(1, 10).tap());
    drain(&ledger);
    sink.last_payload_bytes()
}

fn ladder(criterion: &mut Criterion) {
    for (name, controls) in [("plain", Controls::default()), ("all_controls", all_controls())] {
        let world = World::new(USERS, controls);
        let mut lanes = [Requests::new(USERS, 0)];
        criterion.bench_function(&format!("decision/{name}"), |bench| {
            bench.iter_custom(|iterations| world.time(&mut lanes, iterations));
        });
        let mut lanes = [Requests::new(USERS, 1), Requests::new(USERS, 2)];
        criterion.bench_function(&format!("decision/{name}/two_threads"), |bench| {
            // Each of the two decides half of them: the time of one iteration is that of one decision.
            bench.iter_custom(|iterations| world.time(&mut lanes, iterations.div_ceil(2)));
        });
    }
}

fn users(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decision/users");
    for count in [10_000, 100_000, 1_000_000, 10_000_000] {
        // Ten million users take long to make: only for a bench that runs.
        let world = LazyCell::new(|| World::new(count, Controls::default()));
        let mut lanes = [Requests::new(count, 0)];
        group.bench_with_input(BenchmarkId::from_parameter(count), &count, |bench, _| {
            let world = LazyCell::force(&world);
            bench.iter_custom(|iterations| world.time(&mut lanes, iterations));
        });
    }
}

/// Memory that decisions fill, touched before: the first touch of a page is the kernel's and, in a virtual machine, the
/// host's work, in some microseconds. A server meets it until the first turn of rows lets its ids leave memory; from then on
/// it fills what they left. `MIMALLOC_PURGE_DELAY=-1` has the allocator keep it.
fn touch(_: &mut Criterion) {
    let pieces: Vec<Vec<u8>> = (0..TOUCHED_MIB).map(|_| vec![1; 1 << 20]).collect();
    drop(black_box(pieces));
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).measurement_time(Duration::from_secs(3)).without_plots();
    targets = touch, floors, ladder, users
}
criterion_main!(benches);
