//! How fast a start is: rows of users loaded, and records folded behind them.
#![expect(clippy::expect_used, reason = "a bench that meets the unexpected stops")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tapgate_bench::{Requests, drain, ledger, submit};
use tapgate_engine::fact::Controls;
use tapgate_engine::recovery::recover;
use tapgate_engine::store::Store;
use tapgate_engine::store::rocks::{Rocks, SyncMode};

/// A store with so many users in rows and so many decisions behind them.
fn filled(users: u64, decisions: u64) -> (tempfile::TempDir, Arc<dyn Store>) {
    let directory = tempfile::tempdir().expect("a directory");
    let store: Arc<dyn Store> = Arc::new(Rocks::open(directory.path(), SyncMode::Os).expect("a store"));
    let ledger = ledger(Arc::clone(&store), users, Controls::default());
    while ledger.write_rows().expect("rows").more {}
    let mut requests = Requests::new(users, 0);
    for _ in 0..decisions {
        let _ = submit(&ledger, requests.tap());
    }
    drain(&ledger);
    (directory, store)
}

fn recovery(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("recovery");
    for (name, users, decisions) in [("users", 1_000_000, 0), ("records", 1_000, 200_000)] {
        let (_directory, store) = filled(users, decisions);
        group.throughput(Throughput::Elements(users.max(decisions)));
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

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).measurement_time(Duration::from_secs(5)).without_plots();
    targets = recovery
}
criterion_main!(benches);
