//! Makes a scenario that finds something as short as it gets.

use super::judge::Invariant;
use super::scenario::{Scenario, Step};

/// Runs that a shrinking may take.
const RUNS_MAX: usize = 400;

/// The shortest scenario found that breaks the same invariant.
pub(super) fn shrink(scenario: &Scenario, finds: impl Fn(&Scenario) -> Option<Invariant>) -> Scenario {
    let Some(invariant) = finds(scenario) else { return scenario.clone() };
    let mut least = scenario.clone();
    let mut runs = 0;
    let mut tries = |candidate: &Scenario| -> bool {
        runs += 1;
        runs <= RUNS_MAX && finds(candidate) == Some(invariant)
    };
    // Halves, quarters, and so on down to single steps; again while anything could be left out.
    let mut part = least.steps.len().div_ceil(2);
    while part > 0 {
        let mut from = 0;
        let mut is_shorter = false;
        while from < least.steps.len() {
            let until = (from + part).min(least.steps.len());
            let without = |instead: &[Step]| {
                let mut steps = least.steps.clone();
                steps.splice(from..until, instead.iter().cloned());
                Scenario { steps, ..least.clone() }
            };
            // Of several steps it may be only the time that they take.
            let waits = Some(without(&[Step::Wait { minutes: 400 }])).filter(|_| until - from > 1);
            match [without(&[])].into_iter().chain(waits).find(&mut tries) {
                Some(shorter) => (least, is_shorter) = (shorter, true),
                None => from += part,
            }
        }
        part = match (part, is_shorter) {
            (1, true) => 1,
            (1, false) => 0,
            (part, _) => part.div_ceil(2),
        };
    }
    for place in 0..least.steps.len() {
        for simpler in simpler(&least.steps[place]) {
            let mut steps = least.steps.clone();
            steps[place] = simpler;
            let candidate = Scenario { steps, ..least.clone() };
            if tries(&candidate) {
                least = candidate;
            }
        }
    }
    least
}

/// Simpler forms of a step.
fn simpler(step: &Step) -> Vec<Step> {
    use super::scenario::{Asking, Telling};
    match *step {
        Step::Tap { id, user, place, amount, asking } => vec![
            Step::Tap { id, user, place, amount, asking: Asking::Insists },
            Step::Tap { id, user, place, amount: 100, asking },
            Step::Tap { id, user, place: 2, amount, asking },
        ],
        Step::Settle(_) => vec![Step::Settle(Telling::Well)],
        Step::Wait { .. } => vec![Step::Wait { minutes: 1 }, Step::Wait { minutes: 60 }],
        _ => Vec::new(),
    }
}
