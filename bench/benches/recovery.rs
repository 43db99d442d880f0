//! How fast a start is: rows of users loaded, and records folded behind them.
#![allow(clippy::disallowed_methods, reason = "what is measured is real time")]
#![expect(clippy::expect_used, reason = "a bench that meets the unexpected stops")]

use std::hint::black_box;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tapgate_bench::{Requests, clearing, drain, ledger, post, submit, write_all_rows};
use tapgate_engine::fact::Controls;
use tapgate_engine::ids::Sequence;
use tapgate_engine::recovery::recover;
use tapgate_engine::store::rocks::{Rocks, SyncMode};
use tapgate_engine::store::{Leaf, Store};

/// Of a recovery whose records are half clearings of older authorizations.
const CLEARED_USERS: u64 = 100_000;
const CLEARED_RECORDS: u64 = 200_000;

/// A store with so many users in rows and so many decisions behind them.
fn filled(users: u64, decisions: u64) -> (tempfile::TempDir, Arc<dyn Store>) {
    let directory = tempfile::tempdir().expect("a directory");
    let store: Arc<dyn Store> = Arc::new(Rocks::open(directory.path(), SyncMode::Os).expect("a store"));
    let ledger = ledger(Arc::clone(&store), users, Controls::default());
    write_all_rows(&ledger);
    let mut requests = Requests::new(users, 0);
    for _ in 0..decisions {
        let _ = submit(&ledger, requests.tap());
    }
    drain(&ledger);
    (directory, store)
}

/// A store with so many users and authorizations in rows, and behind the rows so many records: every other one is a
/// clearing of an authorization that the rows hold.
fn filled_with_clearings(users: u64, older: u64, records: u64) -> (tempfile::TempDir, Arc<dyn Store>) {
    let directory = tempfile::tempdir().expect("a directory");
    let store: Arc<dyn Store> = Arc::new(Rocks::open(directory.path(), SyncMode::Os).expect("a store"));
    let ledger = ledger(Arc::clone(&store), users, Controls::default());
    let mut requests = Requests::new(users, 0);
    let older = requests.taps(older);
    for request in &older {
        let _ = submit(&ledger, request.clone());
    }
    drain(&ledger);
    write_all_rows(&ledger);
    for request in older.iter().take(usize::try_from(records / 2).expect("a small number")) {
        let _ = submit(&ledger, requests.tap());
        post(&ledger, &clearing(request));
    }
    drain(&ledger);
    (directory, store)
}

fn recovery(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("recovery");
    let filled: [(_, _, fn() -> _); 4] = [
        ("users", 1_000_000, || filled(1_000_000, 0)),
        ("records", 200_000, || filled(1_000, 200_000)),
        ("clearings", CLEARED_RECORDS, || filled_with_clearings(CLEARED_USERS, CLEARED_RECORDS / 2, CLEARED_RECORDS)),
        // The same rows alone: what loading them takes is no part of the time a record takes.
        ("clearings_rows", CLEARED_USERS, || filled_with_clearings(CLEARED_USERS, CLEARED_RECORDS / 2, 0)),
    ];
    for (name, count, filled) in filled {
        let (_directory, store) = filled();
        group.throughput(Throughput::Elements(count));
        group.bench_function(BenchmarkId::from_parameter(name), |bench| {
            bench.iter_custom(|iterations| {
                let mut took = Duration::ZERO;
                for _ in 0..iterations {
                    let began = Instant::now();
                    let recovered = recover(&store).expect("a state");
                    took += began.elapsed();
                    drop(recovered);
                }
                took
            });
        });
    }
}

/// What no recovery does without: the records read, and their hashes added to the tree.
fn reading(criterion: &mut Criterion) {
    let (_directory, store) = filled_with_clearings(CLEARED_USERS, CLEARED_RECORDS / 2, CLEARED_RECORDS);
    let kept = store.frontier().expect("a watermark");
    let mut group = criterion.benchmark_group("recovery");
    group.throughput(Throughput::Elements(CLEARED_RECORDS));
    group.bench_function("read", |bench| {
        bench.iter(|| {
            let mut frontier = kept.clone();
            let read = store.read(Sequence(kept.size()), &mut |entry| {
                frontier.append(entry.leaf_hash().and_then(Leaf::known).expect("what was written"), |_| {});
                ControlFlow::Continue(())
            });
            read.expect("a journal");
            black_box(frontier)
        });
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).measurement_time(Duration::from_secs(5)).without_plots();
    targets = recovery, reading
}
criterion_main!(benches);
