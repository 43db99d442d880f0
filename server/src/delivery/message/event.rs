//! The events that webhooks send, in the form of the Standard Webhooks specification.

use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;
use tapgate_engine::time::UnixMillis;

use crate::wire::rfc3339;

/// The kinds of events (docs/interface.md, "Out").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventKind {
    AuthorizationApproved,
    AuthorizationDeclined,
    /// An incremental authorization was approved.
    AuthorizationIncremented,
    /// All or part of the authorization was reversed.
    AuthorizationReversed,
    /// A person or reconciliation released the hold.
    AuthorizationReleased,
    /// The hold expired.
    AuthorizationExpired,
    /// UR settled the authorization.
    AuthorizationCleared,
    /// The partner must debit the user's crypto.
    DebitRequested,
    /// The partner must return a debit.
    DebitReturned,
    /// A pool runs low.
    PoolAlertRaised,
    /// A pool no longer runs low.
    PoolAlertResolved,
    PoolCredited,
    BreakOpened,
    BreakResolved,
    /// The program declines every authorization from now on.
    ProgramSuspended,
    /// The program decides again.
    ProgramResumed,
}

impl EventKind {
    pub const ALL: [EventKind; 16] = [
        EventKind::AuthorizationApproved,
        EventKind::AuthorizationDeclined,
        EventKind::AuthorizationIncremented,
        EventKind::AuthorizationReversed,
        EventKind::AuthorizationReleased,
        EventKind::AuthorizationExpired,
        EventKind::AuthorizationCleared,
        EventKind::DebitRequested,
        EventKind::DebitReturned,
        EventKind::PoolAlertRaised,
        EventKind::PoolAlertResolved,
        EventKind::PoolCredited,
        EventKind::BreakOpened,
        EventKind::BreakResolved,
        EventKind::ProgramSuspended,
        EventKind::ProgramResumed,
    ];

    /// The `type` on the wire, which is the name in the configuration too.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            EventKind::AuthorizationApproved => "authorization.approved",
            EventKind::AuthorizationDeclined => "authorization.declined",
            EventKind::AuthorizationIncremented => "authorization.incremented",
            EventKind::AuthorizationReversed => "authorization.reversed",
            EventKind::AuthorizationReleased => "authorization.released",
            EventKind::AuthorizationExpired => "authorization.expired",
            EventKind::AuthorizationCleared => "authorization.cleared",
            EventKind::DebitRequested => "debit.requested",
            EventKind::DebitReturned => "debit.returned",
            EventKind::PoolAlertRaised => "pool.alert.raised",
            EventKind::PoolAlertResolved => "pool.alert.resolved",
            EventKind::PoolCredited => "pool.credited",
            EventKind::BreakOpened => "break.opened",
            EventKind::BreakResolved => "break.resolved",
            EventKind::ProgramSuspended => "program.suspended",
            EventKind::ProgramResumed => "program.resumed",
        }
    }

    /// The kind of a name.
    #[must_use]
    pub fn of(name: &str) -> Option<EventKind> {
        EventKind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// One event. Its body is built once, so that every attempt sends the same bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// `webhook-id`: the same on every attempt, 1 to 128 bytes of 0x21–0x7E.
    pub id: String,
    pub kind: EventKind,
    /// `{"type","timestamp","data"}`.
    pub body: Bytes,
}

impl Event {
    /// Builds an event; `data` has the admin API's form of the resource.
    #[must_use]
    pub fn new(id: String, kind: EventKind, at: UnixMillis, data: &Value) -> Event {
        #[derive(Serialize)]
        struct Body<'a> {
            r#type: &'static str,
            timestamp: String,
            data: &'a Value,
        }
        let body = Body { r#type: kind.name(), timestamp: rfc3339(at), data };
        // Cannot fail: all keys are strings.
        let body = serde_json::to_vec(&body).unwrap_or_default();
        Event { id, kind, body: body.into() }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_body_is_that_of_the_specification() {
        let data = json!({"authorizationId": "auth_7Q2", "approved": true});
        let event =
            Event::new("12-0".to_owned(), EventKind::AuthorizationApproved, UnixMillis(1_768_659_501_250), &data);
        let expected = r#"{"type":"authorization.approved","timestamp":"2026-01-17T14:18:21.250Z","data":{"approved":true,"authorizationId":"auth_7Q2"}}"#;
        assert_eq!(event.body, expected);
    }

    #[test]
    fn every_kind_has_a_name_of_its_own() {
        for kind in EventKind::ALL {
            assert_eq!(EventKind::of(kind.name()), Some(kind));
        }
        assert_eq!(EventKind::of("authorization.*"), None);
    }
}
