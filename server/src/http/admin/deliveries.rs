//! Receivers of deliveries: how they do, and a person who has them go on or back.

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};

use super::idempotency::Asked;
use super::{Admin, Answer, malformed, no_such};
use crate::delivery::Order;
use crate::delivery::receivers::Delivery;
use crate::http::problem::Problem;
use crate::wire::admin::deliveries::{Named, ReplayForm, SkipForm, view};

/// In the order of the configuration.
pub(super) async fn list(State(admin): State<Admin>) -> Answer {
    let items: Vec<_> = admin.app.deliveries.iter().map(|delivery| show(&admin, delivery)).collect();
    Ok(Json(json!({"items": items, "next": null})))
}

pub(super) async fn one(State(admin): State<Admin>, Path(name): Path<String>) -> Answer {
    Ok(Json(show(&admin, find(&admin, &name)?)))
}

pub(super) async fn resume(State(admin): State<Admin>, Path(name): Path<String>, asked: Asked) -> Answer {
    order(&admin, &name, Order::Resume, asked).await
}

pub(super) async fn replay(State(admin): State<Admin>, Path(name): Path<String>, asked: Asked) -> Answer {
    find(&admin, &name)?;
    let newest = admin.app.ledger.journal().durable();
    let from = asked.form::<ReplayForm>()?.from(newest).map_err(malformed)?;
    order(&admin, &name, Order::Replay(from), asked).await
}

pub(super) async fn skip(State(admin): State<Admin>, Path(name): Path<String>, asked: Asked) -> Answer {
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
