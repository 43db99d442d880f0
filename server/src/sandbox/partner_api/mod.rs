//! The second provider as the sandbox plays it: it changes its accounts and cards by itself, takes what people change in
//! tapgate, and suspends its card service now and then.

mod acts;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::{delete, post, put};
use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, HeaderMap};

/// The path below which the provider's API lies.
pub(super) const API: &str = "/partner-api";

/// The provider's own state.
#[derive(Debug, Default)]
struct Inside {
    /// The last status of each card that anybody changed.
    cards: BTreeMap<String, &'static str>,
    /// What the provider itself blocked or suspended, and may unblock and resume.
    blocked: BTreeSet<String>,
    suspended: BTreeSet<String>,
    /// Users whom the partner suspended.
    partner_suspended: BTreeSet<String>,
    /// Cards that a call changed, and whose events are still to come.
    called: BTreeSet<String>,
    is_away: bool,
    events: u64,
    calls: u64,
    refused: u64,
}

/// The second provider.
#[derive(Clone, Debug)]
pub(super) struct PartnerApi {
    inside: Arc<Mutex<Inside>>,
    /// The bearer token of tapgate's calls.
    key: Arc<str>,
}

impl PartnerApi {
    pub(super) fn new(key: &str) -> PartnerApi {
        PartnerApi { inside: Arc::default(), key: key.into() }
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its API.
    pub(super) fn router(self) -> Router {
        Router::new()
            .route(&format!("{API}/users/{{id}}/{{verb}}"), post(user))
            .route(&format!("{API}/cards/{{id}}/{{verb}}"), post(card))
            .route(&format!("{API}/cards/{{id}}/limits"), put(limits))
            .route(&format!("{API}/cards/{{id}}"), delete(deleted))
            .with_state(self)
    }

    /// The lines of the summary.
    pub(super) fn summary(&self) -> Vec<String> {
        let inside = self.lock();
        vec![
            format!("provider_events: {}", inside.events),
            format!("provider_calls: {}", inside.calls),
            format!("provider_calls_refused: {}", inside.refused),
        ]
    }

    /// Whether the caller may, and the service answers: while it is suspended every card call errors.
    fn admit(&self, headers: &HeaderMap, is_of_card: bool) -> Result<MutexGuard<'_, Inside>, StatusCode> {
        let bearer = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        if bearer != Some(&format!("Bearer {}", self.key)) {
            return Err(StatusCode::UNAUTHORIZED);
        }
        let mut inside = self.lock();
        if is_of_card && inside.is_away {
            inside.refused += 1;
            return Err(StatusCode::SERVICE_UNAVAILABLE);
        }
        inside.calls += 1;
        Ok(inside)
    }
}

type Answer = Result<&'static str, StatusCode>;

const DONE: Answer = Ok("{}");

async fn user(State(api): State<PartnerApi>, Path((id, verb)): Path<(String, String)>, headers: HeaderMap) -> Answer {
    let mut inside = api.admit(&headers, false)?;
    match verb.as_str() {
        "suspend" => inside.partner_suspended.insert(id),
        "unsuspend" => inside.partner_suspended.remove(&id),
        _ => return Err(StatusCode::NOT_FOUND),
    };
    DONE
}

async fn card(State(api): State<PartnerApi>, Path((id, verb)): Path<(String, String)>, headers: HeaderMap) -> Answer {
    let mut inside = api.admit(&headers, true)?;
    let status = match verb.as_str() {
        "block" => "frozen",
        "unblock" => "active",
        _ => return Err(StatusCode::NOT_FOUND),
    };
    inside.blocked.remove(&id);
    inside.called.insert(id.clone());
    inside.cards.insert(id, status);
    DONE
}

async fn deleted(State(api): State<PartnerApi>, Path(id): Path<String>, headers: HeaderMap) -> Answer {
    let mut inside = api.admit(&headers, true)?;
    inside.called.insert(id.clone());
    inside.cards.insert(id, "deleted");
    DONE
}

async fn limits(State(api): State<PartnerApi>, Path(_): Path<String>, headers: HeaderMap) -> Answer {
    drop(api.admit(&headers, true)?);
    DONE
}
