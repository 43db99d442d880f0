//! Seeds, many of them; one seed in two processes; and scenarios that once found something.

use std::sync::atomic::{AtomicU64, Ordering};

use super::judge::Finding;
use super::run;
use super::scenario::Scenario;
use super::shrink::shrink;
use super::soak;

/// Seeds of one run of the tests.
const SEEDS: u64 = 1_000;

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// Runs seeds on every core, and returns the first finding by seed.
fn first_finding(from: u64, count: u64) -> Option<(Scenario, Finding)> {
    let next = AtomicU64::new(from);
    let found = std::sync::Mutex::new(None::<(u64, Scenario, Finding)>);
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + count || found.lock().unwrap().is_some() {
                        return;
                    }
                    let scenario = Scenario::of(seed);
                    if let Some(finding) = run(&scenario).finding {
                        let mut found = found.lock().unwrap();
                        if found.as_ref().is_none_or(|(before, ..)| seed < *before) {
                            *found = Some((seed, scenario, finding));
                        }
                    }
                }
            });
        }
    });
    found.into_inner().unwrap().map(|(_, scenario, finding)| (scenario, finding))
}

/// What is found, with the shortest scenario that finds the same.
pub(super) fn told_of(scenario: &Scenario, finding: &Finding) -> String {
    let least = shrink(scenario, |candidate| run(candidate).finding.map(|finding| finding.invariant));
    let ended = run(&least);
    let shown = ended.finding.as_ref().unwrap_or(finding);
    format!(
        "seed {} finds {finding}\n\nshrunk to {} steps, which find {shown}:\n\n{least}",
        scenario.seed,
        least.steps.len()
    )
}

#[test]
fn no_seed_finds_anything() {
    let (from, count) = (number("SIMULATION_FROM", 0), number("SIMULATION_SEEDS", SEEDS));
    if let Some((scenario, finding)) = first_finding(from, count) {
        panic!("{}", told_of(&scenario, &finding));
    }
}

#[test]
fn a_scenario_is_its_text() {
    for seed in 0..200 {
        let scenario = Scenario::of(seed);
        assert_eq!(scenario.to_string().parse(), Ok(scenario));
    }
    assert!("tap 1 user 0".parse::<Scenario>().unwrap_err().contains("line 1"));
}

/// `SIMULATION_SECONDS` of every write of every seed as the end of the process, from `SIMULATION_FROM` on. What was done is
/// added to the file `SIMULATION_KEPT`, one line a seed, and not done again while the program is the same.
#[test]
#[ignore = "a soak: make soak"]
fn every_write_is_an_end() {
    soak::every_write(number("SIMULATION_FROM", 0), number("SIMULATION_SECONDS", 60));
}

/// Seeds whose traces two processes compare.
const TRACED: std::ops::Range<u64> = 0..6;

fn traces() -> String {
    TRACED.map(|seed| run(&Scenario::of(seed)).trace.join("\n") + "\n").collect()
}

#[test]
#[ignore = "prints what the next test compares"]
fn traces_are_printed() {
    use std::io::Write;
    std::io::stdout().write_all(format!("<traces>{}</traces>", traces()).as_bytes()).unwrap();
}

#[test]
fn one_seed_makes_one_history_in_two_processes() {
    let name = std::any::type_name_of_val(&traces_are_printed).split_once("::").unwrap().1;
    let other = std::process::Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let other = String::from_utf8(other.stdout).unwrap();
    let other = other.split_once("<traces>").unwrap().1.split_once("</traces>").unwrap().0;
    let (ours, mut differs) = (traces(), None);
    for (number, lines) in (1..).zip(ours.lines().zip(other.lines())) {
        if lines.0 != lines.1 {
            differs = Some((number, lines));
            break;
        }
    }
    assert_eq!(differs, None, "the first line that differs");
    assert_eq!(ours.len(), other.len());
}

/// `SIMULATION_SCENARIO=file cargo test a_file_is_played -- --ignored --nocapture` plays a scenario and prints its trace.
#[test]
#[ignore = "plays a file"]
fn a_file_is_played() {
    let path = std::env::var("SIMULATION_SCENARIO").unwrap();
    let scenario: Scenario = std::fs::read_to_string(path).unwrap().parse().unwrap();
    crate::program::telemetry::start_logging("tapgate=info");
    let ended = run(&scenario);
    eprintln!("{}", ended.trace.join("\n"));
    eprintln!("{} records, {} writes, {} ends of the process", ended.records, ended.writes, ended.crashes);
    assert_eq!(ended.finding, None);
}
