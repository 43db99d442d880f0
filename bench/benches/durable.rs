//! What durable decisions cost: engine and RocksDB without HTTP, beside a bare group commit of the same bytes.
#![allow(clippy::disallowed_methods, reason = "what is measured is real time")]
#![expect(clippy::expect_used, reason = "a bench that meets the unexpected stops")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tapgate_bench::{Requests, ledger, submit, wait};
use tapgate_engine::fact::Controls;
use tapgate_engine::ids::Sequence;
use tapgate_engine::ledger::Ledger;
use tapgate_engine::store::rocks::{Rocks, SyncMode};
use tapgate_engine::store::{Entry, Store};

/// Users of the measured world.
const USERS: u64 = 100_000;

/// Bytes of a decision's record, as the engine writes it.
const RECORD_BYTES: usize = 320;

const DURABILITIES: [(&str, SyncMode); 2] = [("fsync", SyncMode::Fsync), ("os", SyncMode::Os)];

/// Decides in rounds: so many at once, and all of them durable before the next round.
fn rounds(ledger: &Ledger, requests: &mut Requests, waiters: u64, iterations: u64) -> Duration {
    let mut took = Duration::ZERO;
    for _ in 0..iterations {
        let asked = requests.taps(waiters);
        let began = Instant::now();
        let submitted: Vec<_> = asked.into_iter().map(|request| submit(ledger, request)).collect();
        submitted.iter().for_each(wait);
        took += began.elapsed();
    }
    took
}

fn decisions(criterion: &mut Criterion) {
    for (name, durability) in DURABILITIES {
        let directory = tempfile::tempdir().expect("a directory");
        let store: Arc<dyn Store> = Arc::new(Rocks::open(directory.path(), durability).expect("a store"));
        let ledger = ledger(store, USERS, Controls::default());
        let mut requests = Requests::new(USERS, 0);
        let mut group = criterion.benchmark_group(format!("durable/{name}"));
        for waiters in [1_u64, 16, 64, 256, 1_024] {
            group.throughput(Throughput::Elements(waiters));
            group.bench_with_input(BenchmarkId::new("decisions", waiters), &waiters, |bench, &waiters| {
                bench.iter_custom(|iterations| rounds(&ledger, &mut requests, waiters, iterations));
            });
        }
    }
}

/// The floor: one thread writes batches of records with sequential keys, and nothing else.
fn bare(criterion: &mut Criterion) {
    for (name, durability) in DURABILITIES {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Rocks::open(directory.path(), durability).expect("a store");
        let mut next = 1;
        let mut group = criterion.benchmark_group(format!("durable/{name}"));
        for batch in [1_u64, 16, 64, 256, 1_024] {
            group.throughput(Throughput::Elements(batch));
            group.bench_with_input(BenchmarkId::new("bare_batch", batch), &batch, |bench, &batch| {
                bench.iter_custom(|iterations| {
                    let mut took = Duration::ZERO;
                    for _ in 0..iterations {
                        let entry = |sequence| Entry {
                            sequence: Sequence(sequence),
                            leaf: [0; 8],
                            payload: vec![7; RECORD_BYTES],
                        };
                        let entries: Vec<_> = (next..next + batch).map(entry).collect();
                        next += batch;
                        let began = Instant::now();
                        store.append(&entries, &[]).expect("a write");
                        took += began.elapsed();
                    }
                    took
                });
            });
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).measurement_time(Duration::from_secs(2)).without_plots();
    targets = bare, decisions
}
criterion_main!(benches);
