//! Why a request was decided as it was: the ladder, climbed again over the stored inputs with an observer.

use super::ladder::{Observer, Shown, climb};
use super::{decide, largest_approvable};
use crate::contract::limit::LIMIT_PERIOD_SECONDS;
use crate::fact::{Inputs, Reason, Request, Source, Window};
use crate::money::Minor;
use crate::time::UnixSeconds;

/// One check of an explained decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rung {
    /// The check, by the reason it declines with.
    pub check: Reason,
    /// Whether it passed.
    pub passed: bool,
    /// What it saw.
    pub values: Vec<(&'static str, String)>,
}

/// The checks of one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceExplanation {
    /// The source tried.
    pub source: Source,
    /// Its checks in order, up to the first that failed.
    pub rungs: Vec<Rung>,
}

/// Why a request was decided as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The sources in the order they were tried, up to the one that was approved.
    pub sources: Vec<SourceExplanation>,
    /// Up to this amount it would have been approved, where it was declined and some amount would.
    pub approved_up_to: Option<Minor>,
    /// After this time it would have been approved, where time alone is what it lacked.
    pub approved_after: Option<UnixSeconds>,
}

struct Recorder(Vec<Rung>);

impl Observer for Recorder {
    fn saw(&mut self, check: Reason, passed: bool, values: impl FnOnce() -> Shown) {
        self.0.push(Rung { check, passed, values: values() });
    }
}

/// Climbs the ladder again over the stored inputs, recording every check. Reversals and advices climb none.
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
            // What is left of an unlimited account's limit stands at the end of i64 already.
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
