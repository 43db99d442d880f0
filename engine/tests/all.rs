//! Every integration test of the engine, in one binary: it is linked once, and its modules share one `world`.
#![allow(clippy::disallowed_methods, reason = "tests wait for real threads and real time")]

mod alerts;
mod bounds;
mod clock;
mod closures;
mod contract;
mod controls;
pub mod corpora;
mod cursors;
mod evidence;
mod floors;
mod growth;
mod hostile;
mod interleaved;
mod journal;
#[cfg(feature = "rocksdb")]
mod kept;
#[cfg(feature = "rocksdb")]
mod loss;
mod model;
mod persons;
mod postings;
mod prefunds;
mod providers;
#[cfg(feature = "rocksdb")]
mod quarantine;
mod rates;
mod scenarios;
mod settlement;
mod threads;
mod tree;
mod upcharge;
mod world;
