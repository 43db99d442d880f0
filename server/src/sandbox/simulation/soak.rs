//! Ends the process at every write of every seed, for hours, and keeps what was done.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::run;
use super::scenario::Scenario;
use super::tests::told_of;

/// What is kept of a seed: every write of its scenario was an end of the process.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    /// The first bytes of the hash of the program that was simulated.
    program: String,
    seed: u64,
    /// Ends of the process, each at another write.
    ends: u64,
    seconds: f64,
    findings: u64,
}

/// How often the progress is told.
const TOLD_EVERY: Duration = Duration::from_secs(30);

/// Plays until the time is up, on every core. A finding is printed at once, and ends only its own seed.
pub(super) fn every_write(from: u64, seconds: u64) {
    let path = std::env::var("SIMULATION_KEPT").unwrap_or_else(|_| "simulation.jsonl".to_owned());
    let program = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    let program = hex::encode(Sha256::digest(program).get(..8).unwrap());
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let kept: Vec<Kept> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let done = kept.iter().filter(|kept| kept.program == program && kept.findings == 0);
    let done: BTreeSet<_> = done.map(|kept| kept.seed).collect();
    let (before, began) = (kept.iter().map(|kept| kept.ends).sum::<u64>(), Instant::now());
    if let Some(directory) = std::path::Path::new(&path).parent() {
        std::fs::create_dir_all(directory).unwrap();
    }
    let file = Mutex::new(OpenOptions::new().create(true).append(true).open(&path).unwrap());
    let (next, ends, findings) = (AtomicU64::new(from), AtomicU64::new(0), AtomicU64::new(0));
    let is_over = || began.elapsed() > Duration::from_secs(seconds);
    let (told, shrunk) = (Mutex::new(began), Mutex::new(BTreeSet::new()));
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let play = |seed: u64| {
        let plain = Scenario::of(seed).without_ends();
        let (seed_began, whole) = (Instant::now(), run(&plain));
        let mut found = whole.finding.clone().map(|finding| (plain.clone(), finding));
        let mut played = 0;
        while played < whole.writes && !is_over() && found.is_none() {
            played += 1;
            let scenario = Scenario { ends_at: Some(played), ..plain.clone() };
            found = run(&scenario).finding.map(|finding| (scenario, finding));
            ends.fetch_add(1, Ordering::Relaxed);
        }
        let is_whole = played == whole.writes;
        let kept = Kept {
            program: program.clone(),
            seed,
            ends: played,
            seconds: seed_began.elapsed().as_secs_f64(),
            findings: u64::from(found.is_some()),
        };
        if is_whole || found.is_some() {
            writeln!(file.lock().unwrap(), "{}", serde_json::to_string(&kept).unwrap()).unwrap();
        }
        if let Some((scenario, finding)) = found {
            findings.fetch_add(1, Ordering::Relaxed);
            // One fault breaks the same invariant in many seeds: it is shrunk once.
            let is_new = shrunk.lock().unwrap().insert(finding.invariant);
            eprintln!("{}", if is_new { told_of(&scenario, &finding) } else { format!("{finding}:\n\n{scenario}") });
        }
        let mut told = told.lock().unwrap();
        if told.elapsed() > TOLD_EVERY {
            *told = Instant::now();
            let (now, left) = (ends.load(Ordering::Relaxed), seconds.saturating_sub(began.elapsed().as_secs()));
            eprintln!("seed {seed}: {now} ends of the process, {} in all; {left} s left", before + now);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !is_over() {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if !done.contains(&seed) {
                        play(seed);
                    }
                }
            });
        }
    });
    let now = ends.load(Ordering::Relaxed);
    let findings = findings.into_inner();
    eprintln!("{now} ends of the process, {} in all", before + now);
    assert_eq!(findings, 0, "seeds that find something, each told above");
}
