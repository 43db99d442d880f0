//! The calendar of credits: shows it; people close days.

use axum::extract::{Path, State};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use tapgate_engine::ids::ClosureId;
use tapgate_engine::ledger::{Change, ClosureChange};

use super::auth::Access;
use super::idempotency::{Asked, make};
use super::views::calendar::view;
use super::{Admin, Answer, Gate, id, malformed};
use crate::wire::admin::calendar::ClosureForm;

pub(super) fn routes(gate: &Gate) -> Router<Admin> {
    let read = Router::new().route("/calendar", get(show));
    let treasury = Router::new().route("/calendar", post(add)).route("/calendar/{id}", delete(remove));
    gate.admit(Access::Read, read).merge(gate.admit(Access::Treasury, treasury))
}

async fn show(State(admin): State<Admin>) -> Answer {
    Ok(shown(&admin))
}

fn shown(admin: &Admin) -> Json<serde_json::Value> {
    let app = &admin.app;
    let now = app.ledger.time(app.clock.now().at);
    let mut pools: Vec<_> = app.ledger.pools().iter().map(|pool| pool.currency).collect();
    pools.sort();
    Json(view(&app.treasury.calendar(&app.ledger), &app.ledger.closures(), &pools, now))
}

/// Closes days; returns the calendar afterwards.
async fn add(State(admin): State<Admin>, asked: Asked) -> Answer {
    let change = asked.form::<ClosureForm>()?.change().map_err(malformed)?;
    make(&admin, asked.author, Change::Closure(change)).await?;
    Ok(shown(&admin))
}

/// Withdraws a closure.
async fn remove(State(admin): State<Admin>, Path(text): Path<String>, asked: Asked) -> Answer {
    let id: ClosureId = id("closure", &text)?;
    make(&admin, asked.author, Change::Closure(ClosureChange::Remove { id })).await?;
    Ok(shown(&admin))
}
