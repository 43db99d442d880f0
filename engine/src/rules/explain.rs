//! Explains a decision: climbs the ladder again over the stored inputs with an observer.

use super::ladder::{Observer, Shown, climb};
use super::{decide, largest_approvable};
use crate::contract::limit::LIMIT_PERIOD_SECONDS;
use crate::fact::{Inputs, Reason, Request, Source, Window};
use crate::money::Minor;
use crate::time::UnixSeconds;

/// One check of an explained decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rung {
    /// The check, named by its decline reason.
    pub check: Reason,
    pub passed: bool,
    /// The checked values, by name.
    pub values: Vec<(&'static str, String)>,
}

/// The checks of one funding source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceExplanation {
    pub source: Source,
    /// The checks in order, up to the first failed one.
    pub rungs: Vec<Rung>,
}

/// The explanation of a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The attempted sources in order, up to the approved one.
    pub sources: Vec<SourceExplanation>,
    /// For a declined request, the largest amount that would have been approved, if any.
    pub approved_up_to: Option<Minor>,
    /// The time after which the same request would be approved, if waiting alone is enough.
    pub approved_after: Option<UnixSeconds>,
}

struct Recorder(Vec<Rung>);

impl Observer for Recorder {
    fn saw(&mut self, check: Reason, passed: bool, values: impl FnOnce() -> Shown) {
        self.0.push(Rung { check, passed, values: values() });
    }
}

/// Climbs the ladder again over the stored inputs and records every check. Reversals and advices have no checks.
#[must_use]
pub fn explain(request: &Request, inputs: &Inputs) -> Explanation {
    let mut sources = Vec::new();
    if !request.kind.is_decided() {
        return Explanation { sources, approved_up_to: None, approved_after: None };
    }
    for source in &inputs.sources {
        let mut recorder = Recorder(Vec::new());
        let climbed = climb(request, request.amount, inputs, *source, &mut recorder);
        sources.push(SourceExplanation { source: *source, rungs: recorder.0 });
        if climbed.is_ok() {
            return Explanation { sources, approved_up_to: None, approved_after: None };
        }
    }
    let up_to = Some(largest_approvable(request, inputs)).filter(|amount| *amount > Minor::ZERO);
    Explanation { sources, approved_up_to: up_to, approved_after: approved_after(request, inputs) }
}

/// The first time at which the same request over the same inputs, aged, would pass: the end of UR's limit period, or
/// the oldest approval leaving a velocity window.
fn approved_after(request: &Request, inputs: &Inputs) -> Option<UnixSeconds> {
    let reason = decide(request, request.amount, inputs).err()?;
    let mut aged = inputs.clone();
    let after = match reason {
        Reason::LimitExceeded => {
            let user = aged.user.as_mut()?;
            // Saturating: the headroom of an unlimited account is at the end of i64 already.
            user.headroom = user.headroom.saturating_add(user.limit_used);
            user.limit_start.plus(LIMIT_PERIOD_SECONDS + 1)
        }
        Reason::VelocityAmount | Reason::VelocityCount => {
            let relief = aged.velocity.iter().filter_map(|seen| seen.relief_at).max();
            for seen in &mut aged.velocity {
                seen.window = Window::default();
            }
            relief?
        }
        _ => return None,
    };
    decide(request, request.amount, &aged).is_ok().then_some(after)
}
