//! Breaks: lists and shows them; a person resolves one.

use axum::extract::{Path, Query, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;
use tapgate_engine::ids::BreakId;
use tapgate_engine::ledger::Change;

use super::auth::Access;
use super::idempotency::{Asked, make};
use super::{Admin, Answer, Gate, blocking, id, no_such};
use crate::http::problem::Problem;
use crate::wire::admin::ReasonForm;
use crate::wire::admin::breaks::view;

/// Filters of the list; all must match.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filters {
    kind: Option<String>,
}

pub(super) fn routes(gate: &Gate) -> Router<Admin> {
    let read = Router::new().route("/breaks", get(list)).route("/breaks/{id}", get(one));
    let operate = Router::new().route("/breaks/{id}/resolve", post(resolve));
    gate.admit(Access::Read, read).merge(gate.admit(Access::Operate, operate))
}

/// Open breaks, oldest first.
async fn list(
    State(admin): State<Admin>,
    query: Result<Query<Filters>, axum::extract::rejection::QueryRejection>,
) -> Answer {
    let Query(Filters { kind }) = query.map_err(|error| Problem::Malformed(error.body_text()))?;
    let now = admin.app.clock.now().at;
    let open = admin.app.ledger.open_breaks();
    let wanted = open.iter().filter(|found| kind.as_ref().is_none_or(|kind| found.discrepancy.kind.name() == kind));
    Ok(Json(json!({"items": wanted.map(|found| view(found, now)).collect::<Vec<_>>(), "next": null})))
}

async fn one(State(admin): State<Admin>, Path(text): Path<String>) -> Answer {
    show(&admin, id("break", &text)?).await
}

async fn show(admin: &Admin, id: BreakId) -> Answer {
    let now = admin.app.clock.now().at;
    let found = blocking(&admin.app.ledger, move |ledger| Ok(ledger.break_by_id(id)?)).await?;
    let found = found.ok_or_else(|| no_such("break", &id.to_string()))?;
    Ok(Json(view(&found, now)))
}

async fn resolve(State(admin): State<Admin>, Path(text): Path<String>, asked: Asked) -> Answer {
    let id: BreakId = id("break", &text)?;
    let ReasonForm { reason } = asked.form()?;
    let known = blocking(&admin.app.ledger, move |ledger| Ok(ledger.break_by_id(id)?.is_some()));
    if !known.await? {
        return Err(no_such("break", &text));
    }
    make(&admin, asked.author, Change::ResolveBreak { id, reason: reason.into() }).await?;
    show(&admin, id).await
}
