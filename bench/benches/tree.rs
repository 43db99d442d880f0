//! What a record's place in the Merkle tree costs the journal's thread, beside the hash chain that the tree replaced.
#![allow(clippy::disallowed_methods, reason = "what is measured is real time")]

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use tapgate_engine::tree::{Frontier, leaf};

/// Bytes of a decision's record, with some room.
const RECORD_BYTES: usize = 350;

/// The link after `before`: the hash of the link before and the hash of the record.
fn chained(before: &[u8; 32], payload: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(before);
    hasher.update(blake3::hash(payload).as_bytes());
    *hasher.finalize().as_bytes()
}

fn record(criterion: &mut Criterion) {
    let payload = vec![7; RECORD_BYTES];
    let mut group = criterion.benchmark_group("tree");
    group.bench_function("chained_record", |bench| {
        let mut chain = [0; 32];
        bench.iter(|| chain = chained(&chain, black_box(&payload)));
    });
    group.bench_function("record", |bench| {
        let (mut frontier, mut nodes) = (Frontier::default(), 0_u64);
        bench.iter(|| frontier.append(leaf(frontier.size() + 1, black_box(&payload)), |_| nodes += 1));
        black_box(nodes);
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().measurement_time(Duration::from_secs(3)).without_plots();
    targets = record
}
criterion_main!(benches);
