//! Receivers of deliveries: lists their health; a person resumes, replays or skips.

use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::auth::Access;
use super::idempotency::Asked;
use super::views::deliveries::{Named, ReplayForm, SkipForm, view};
use super::{Admin, Answer, Gate, malformed, no_such};
use crate::delivery::Order;
use crate::delivery::receivers::Delivery;
use crate::http::problem::Problem;

pub(super) fn routes(gate: &Gate) -> Router<Admin> {
    let read = Router::new().route("/deliveries", get(list)).route("/deliveries/{name}", get(one));
    let operate = Router::new()
        .route("/deliveries/{name}/resume", post(resume))
        .route("/deliveries/{name}/replay", post(replay))
        .route("/deliveries/{name}/skip", post(skip));
    gate.admit(Access::Read, read).merge(gate.admit(Access::Operate, operate))
}

/// In the order of the configuration.
async fn list(State(admin): State<Admin>) -> Answer {
    let items: Vec<_> = admin.app.deliveries.iter().map(|delivery| show(&admin, delivery)).collect();
    Ok(Json(json!({"items": items, "next": null})))
}

async fn one(State(admin): State<Admin>, Path(name): Path<String>) -> Answer {
    Ok(Json(show(&admin, find(&admin, &name)?)))
}

async fn resume(State(admin): State<Admin>, Path(name): Path<String>, asked: Asked) -> Answer {
    order(&admin, &name, Order::Resume, asked).await
}

async fn replay(State(admin): State<Admin>, Path(name): Path<String>, asked: Asked) -> Answer {
    find(&admin, &name)?;
    let newest = admin.app.ledger.journal().durable();
    let from = asked.form::<ReplayForm>()?.from(newest).map_err(malformed)?;
    order(&admin, &name, Order::Replay(from), asked).await
}

async fn skip(State(admin): State<Admin>, Path(name): Path<String>, asked: Asked) -> Answer {
    find(&admin, &name)?;
    let (place, reason) = asked.form::<SkipForm>()?.parts().map_err(malformed)?;
    order(&admin, &name, Order::Skip { place, reason }, asked).await
}

async fn order(admin: &Admin, name: &str, order: Order, asked: Asked) -> Answer {
    let delivery = find(admin, name)?;
    delivery.handle.order(order, asked.author).await?;
    Ok(Json(show(admin, delivery)))
}

fn find<'a>(admin: &'a Admin, name: &str) -> Result<&'a Delivery, Problem> {
    let found = admin.app.deliveries.iter().find(|delivery| delivery.handle.name() == name);
    found.ok_or_else(|| no_such("receiver", name))
}

fn show(admin: &Admin, delivery: &Delivery) -> Value {
    let named = Named { name: delivery.handle.name(), kind: delivery.kind, url: &delivery.url };
    let newest = admin.app.ledger.journal().durable();
    view(named, &delivery.handle.status(), newest, admin.app.clock.now().at)
}
