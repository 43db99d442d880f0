//! Alerts: lists and shows them; a person acknowledges or silences one.

use axum::extract::{Path, Query, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use tapgate_engine::ids::AlertId;
use tapgate_engine::ledger::{AlertChange, Change};
use tapgate_engine::rows::{Alert, Row};

use super::auth::Access;
use super::idempotency::{Asked, make};
use super::paging::PageAsked;
use super::{Admin, Answer, Gate, blocking, id, malformed, no_such};
use crate::http::problem::Problem;
use crate::wire::admin::alerts::{AcknowledgeForm, SilenceForm, view};

/// Filters of the list; all must match.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filters {
    #[serde(default)]
    state: Wanted,
    kind: Option<String>,
    subject: Option<String>,
    limit: Option<usize>,
    cursor: Option<u64>,
}

/// The alerts to list; by default the open ones.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Wanted {
    #[default]
    Open,
    Resolved,
    All,
}

impl Filters {
    fn ask_about(&self, alert: &Alert) -> bool {
        let stands_so = match self.state {
            Wanted::Open => alert.is_open(),
            Wanted::Resolved => !alert.is_open(),
            Wanted::All => true,
        };
        stands_so
            && self.kind.as_ref().is_none_or(|kind| alert.condition.kind.name() == kind)
            && self.subject.as_ref().is_none_or(|subject| alert.condition.subject == *subject)
    }
}

pub(super) fn routes(gate: &Gate) -> Router<Admin> {
    let read = Router::new().route("/alerts", get(list)).route("/alerts/{id}", get(one));
    let treasury =
        Router::new().route("/alerts/{id}/acknowledge", post(acknowledge)).route("/alerts/{id}/silence", post(silence));
    gate.admit(Access::Read, read).merge(gate.admit(Access::Treasury, treasury))
}

/// Newest first.
async fn list(
    State(admin): State<Admin>,
    query: Result<Query<Filters>, axum::extract::rejection::QueryRejection>,
) -> Answer {
    let Query(filters) = query.map_err(|error| Problem::Malformed(error.body_text()))?;
    let asked = PageAsked::new(filters.limit, filters.cursor)?;
    let shown = blocking(&admin.app.ledger, move |ledger| {
        let found = ledger.alerts(asked.page(), &|alert| filters.ask_about(alert))?;
        Ok(asked.answer(found, |alert| alert.id.0, view))
    });
    shown.await.map(Json)
}

async fn one(State(admin): State<Admin>, Path(text): Path<String>) -> Answer {
    show(&admin, id("alert", &text)?).await
}

async fn show(admin: &Admin, id: AlertId) -> Answer {
    let found = blocking(&admin.app.ledger, move |ledger| Ok(ledger.alert(id)?)).await?;
    let found = found.ok_or_else(|| no_such("alert", &id.to_string()))?;
    Ok(Json(view(&found)))
}

async fn acknowledge(State(admin): State<Admin>, Path(text): Path<String>, asked: Asked) -> Answer {
    let id: AlertId = id("alert", &text)?;
    let change = asked.form_or_default::<AcknowledgeForm>()?.change(id);
    changed(&admin, id, asked, change).await
}

async fn silence(State(admin): State<Admin>, Path(text): Path<String>, asked: Asked) -> Answer {
    let id: AlertId = id("alert", &text)?;
    let now = admin.app.ledger.time(admin.app.clock.now().at);
    let change = asked.form::<SilenceForm>()?.change(id, now).map_err(malformed)?;
    changed(&admin, id, asked, change).await
}

async fn changed(admin: &Admin, id: AlertId, asked: Asked, change: AlertChange) -> Answer {
    make(admin, asked.author, Change::Alert(change)).await?;
    show(admin, id).await
}
