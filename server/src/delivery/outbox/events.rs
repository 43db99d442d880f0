//! The events that a record causes.

use compact_str::{CompactString, format_compact};
use serde_json::{Value, json};
use tapgate_engine::fact::{AlertKind, Effect, Ended, Evidence, Fact, Kind, Record, Tolerance, Verdict};
use tapgate_engine::ids::{AuthorizationId, BreakId, Sequence, UrId};
use tapgate_engine::rows::{Authorization, Row};

use super::history::{History, Subject};
use super::{Telling, Told, debits};
use crate::delivery::{Event, EventKind, Place};
use crate::wire::admin::{alerts, authorizations, breaks, journal};

/// The kinds of events that one receiver wants.
#[derive(Clone, Debug)]
pub struct Events {
    /// Without repetition.
    pub wanted: Vec<EventKind>,
    /// By which an authorization's standing is worked out.
    pub tolerance: Tolerance,
}

impl Telling for Events {
    type Content = Event;

    fn subject(&self, sequence: Sequence, record: &Record) -> Option<Subject> {
        let fact = &record.fact;
        // A narrow receiver wants few kinds: nothing more is read for the other records.
        if !self.wanted.iter().any(|kind| may_be(fact, *kind)) {
            return None;
        }
        match fact {
            Fact::Decided(_) | Fact::Settled(_) => fact.touches(sequence).root.cloned().map(Subject::Authorization),
            Fact::BreakResolved { id, .. } => Some(Subject::Break(*id)),
            Fact::AlertRaised(_) | Fact::AlertChanged { .. } | Fact::AlertResolved { .. } => {
                fact.touches(sequence).alert.map(Subject::Alert)
            }
            Fact::BreakOpened(_) | Fact::PoolCredited(_) | Fact::ProgramSuspended { .. } => Some(Subject::Itself),
            _ => None,
        }
    }

    fn tell(&self, history: &History) -> Vec<Told<Event>> {
        let (sequence, record) = history.newest();
        let told = (0..)
            .zip(happenings(history, self.tolerance))
            .filter(|(_, happening)| self.wanted.contains(&happening.kind));
        let event = |(part, Happening { kind, lane, data }): (u16, Happening)| {
            let id = Place { record: *sequence, part }.message_id();
            Told { part, lane: Some(lane), kind: kind.name(), content: Event::new(id, kind, record.at, &data) }
        };
        told.map(event).collect()
    }
}

/// Whether the record alone permits an event of this kind.
fn may_be(fact: &Fact, kind: EventKind) -> bool {
    match kind {
        EventKind::AuthorizationApproved
        | EventKind::AuthorizationDeclined
        | EventKind::AuthorizationIncremented
        | EventKind::AuthorizationReversed
        | EventKind::AuthorizationReleased
        | EventKind::AuthorizationExpired
        | EventKind::AuthorizationCleared => of_fact(fact).is_some_and(|(own, _)| own == kind),
        EventKind::DebitRequested | EventKind::DebitReturned => debits::may_be(fact, kind),
        EventKind::PoolAlertRaised => match fact {
            Fact::AlertRaised(condition) | Fact::AlertChanged { condition, .. } => is_about_pool(condition.kind),
            _ => false,
        },
        EventKind::PoolAlertResolved => matches!(fact, Fact::AlertResolved { .. }),
        EventKind::PoolCredited => matches!(fact, Fact::PoolCredited(_)),
        EventKind::BreakOpened => fact.breaks(Sequence::ZERO).next().is_some(),
        EventKind::BreakResolved => matches!(fact, Fact::BreakResolved { .. }) || fact.explained().next().is_some(),
        EventKind::ProgramSuspended => matches!(fact, Fact::ProgramSuspended { suspended: true, .. }),
        EventKind::ProgramResumed => matches!(fact, Fact::ProgramSuspended { suspended: false, .. }),
    }
}

/// One event of a record.
struct Happening {
    kind: EventKind,
    lane: CompactString,
    data: Value,
}

/// All events of the newest record, in the order of their parts.
fn happenings(history: &History, tolerance: Tolerance) -> Vec<Happening> {
    let (sequence, record) = history.newest();
    let mut all = match &record.fact {
        Fact::Decided(_) | Fact::Settled(_) => of_authorization(history, tolerance),
        Fact::PoolCredited(credit) => {
            let lane = pool_lane(credit.currency.as_str());
            vec![Happening { kind: EventKind::PoolCredited, lane, data: journal::entry(*sequence, record) }]
        }
        Fact::ProgramSuspended { suspended, reason } => {
            let kind = if *suspended { EventKind::ProgramSuspended } else { EventKind::ProgramResumed };
            let data = json!({"suspended": suspended, "reason": reason.as_str()});
            vec![Happening { kind, lane: CompactString::const_new("program"), data }]
        }
        Fact::BreakResolved { id, .. } => resolved(history, *id).into_iter().collect(),
        Fact::AlertRaised(_) | Fact::AlertChanged { .. } | Fact::AlertResolved { .. } => {
            of_alert(history).into_iter().collect()
        }
        _ => Vec::new(),
    };
    let found = record.fact.breaks(*sequence).filter_map(|(id, _)| history.opened(id));
    // A break that is explained when it is found needs no attention.
    all.extend(found.filter(|found| found.resolved.is_none()).map(|found| Happening {
        kind: EventKind::BreakOpened,
        lane: break_lane(found.id),
        data: breaks::view(&found, record.at),
    }));
    all
}

fn user_lane(user: &UrId) -> CompactString {
    format_compact!("user {user}")
}

fn pool_lane(currency: &str) -> CompactString {
    format_compact!("pool {currency}")
}

/// One lane, so that the opening is sent before the resolution.
fn break_lane(id: BreakId) -> CompactString {
    format_compact!("break {id}")
}

/// Events of a callback, a release or a UR transaction: first the authorization's, then the debits', then those of
/// breaks that the record explains.
fn of_authorization(history: &History, tolerance: Tolerance) -> Vec<Happening> {
    let (sequence, record) = history.newest();
    let (_, after) = history.authorization();
    let fact = &record.fact;
    let user = fact.touches(*sequence).user.cloned().or_else(|| after.as_ref().map(|row| row.user.clone()));
    let lane = user.as_ref().map_or(CompactString::const_new("nobody"), user_lane);
    let happening = |(kind, data)| Happening { kind, lane: lane.clone(), data };
    let own = of_fact(fact).map(|(kind, id)| (kind, resource(history, id, after, tolerance)));
    let mut all: Vec<Happening> = own.into_iter().chain(debits::events(history)).map(happening).collect();
    all.extend(fact.explained().filter_map(|id| resolved(history, id)));
    all
}

/// The kind of event that a record causes for an authorization, and the id of the resource that it shows.
fn of_fact(fact: &Fact) -> Option<(EventKind, &AuthorizationId)> {
    match fact {
        Fact::Decided(decided) => {
            let kind = match (&decided.verdict, decided.request.kind) {
                (Verdict::Declined(_), _) => EventKind::AuthorizationDeclined,
                (Verdict::Approved(_), Kind::Incremental) => EventKind::AuthorizationIncremented,
                (Verdict::Approved(_), _) => EventKind::AuthorizationApproved,
            };
            Some((kind, &decided.request.id))
        }
        Fact::Settled(settled) => {
            if let Evidence::Ended(Ended { draws, despite, .. }) = &settled.evidence
                && draws.is_empty()
                && despite.is_empty()
            {
                // A late decline took nothing.
                return None;
            }
            let kind = match settled.change.effect {
                Effect::Cleared | Effect::PartlyCleared | Effect::LateCleared | Effect::ForcePosted => {
                    EventKind::AuthorizationCleared
                }
                Effect::Reversed | Effect::Refunded => EventKind::AuthorizationReversed,
                Effect::Released => EventKind::AuthorizationReleased,
                Effect::Expired => EventKind::AuthorizationExpired,
                Effect::Confirmed | Effect::Noted => return None,
            };
            Some((kind, &settled.root))
        }
        _ => None,
    }
}

/// The admin API's resource at the time of the record.
fn resource(history: &History, id: &AuthorizationId, after: Option<Authorization>, tolerance: Tolerance) -> Value {
    let found = history.found(id, after);
    let decision = found.answer.as_ref().and_then(|answer| history.record(answer.decided));
    let events: Vec<_> = history.all().cloned().collect();
    authorizations::view(id, &found, decision, &events, tolerance)
}

fn resolved(history: &History, id: BreakId) -> Option<Happening> {
    let (sequence, record) = history.newest();
    let mut found = history.opened(id)?;
    found.apply(*sequence, record);
    let data = breaks::view(&found, record.at);
    Some(Happening { kind: EventKind::BreakResolved, lane: break_lane(id), data })
}

/// Only a pool's own alerts; a change of severity sends the event again.
fn of_alert(history: &History) -> Option<Happening> {
    let alert = history.alert()?;
    if !is_about_pool(alert.condition.kind) {
        return None;
    }
    let kind = if alert.is_open() { EventKind::PoolAlertRaised } else { EventKind::PoolAlertResolved };
    Some(Happening { kind, lane: pool_lane(&alert.condition.subject), data: alerts::view(&alert) })
}

fn is_about_pool(kind: AlertKind) -> bool {
    matches!(kind, AlertKind::PoolLow | AlertKind::FloorBreached | AlertKind::ReportStale)
}
