//! Pools: lists and shows them, records reports and credits; and sets the rates for payments.

use axum::extract::{Path, State};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde_json::json;
use tapgate_engine::ledger::Change;
use tapgate_engine::money::Currency;

use super::auth::Access;
use super::idempotency::{Asked, make};
use super::{Admin, Answer, Gate, id, malformed, no_such};
use crate::http::problem::Problem;
use crate::wire::admin::pools::{CreditForm, PairForm, RatesForm, ReportForm, UnpinForm, rates_view, view};

pub(super) fn routes(gate: &Gate) -> Router<Admin> {
    let read =
        Router::new().route("/pools", get(list)).route("/pools/{currency}", get(one)).route("/rates", get(rates));
    let treasury = Router::new()
        .route("/pools/{currency}", put(report))
        .route("/pools/{currency}/credits", post(credit))
        .route("/rates", put(replace_rates))
        .route("/rates/pin", post(pin_rate))
        .route("/rates/unpin", post(unpin_rate));
    gate.admit(Access::Read, read).merge(gate.admit(Access::Treasury, treasury))
}

async fn list(State(admin): State<Admin>) -> Answer {
    let mut pools = admin.app.ledger.pools();
    pools.sort_by_key(|pool| pool.currency);
    let items: Vec<_> = pools.iter().map(view).collect();
    Ok(Json(json!({"items": items, "next": null})))
}

async fn one(State(admin): State<Admin>, Path(code): Path<String>) -> Answer {
    show(&admin, id("pool", &code)?)
}

fn show(admin: &Admin, currency: Currency) -> Answer {
    let pool = admin.app.ledger.pool(currency).ok_or_else(|| no_such("pool", currency.as_str()))?;
    Ok(Json(view(&pool)))
}

/// A pool is opened by its first report, so an invalid currency is an error in the request, not a missing pool.
fn currency(code: &str) -> Result<Currency, Problem> {
    code.parse().map_err(|error| Problem::BadRequest(format!("{code:?}: {error}")))
}

async fn report(State(admin): State<Admin>, Path(code): Path<String>, asked: Asked) -> Answer {
    let currency = currency(&code)?;
    let change = asked.form::<ReportForm>()?.change(currency).map_err(malformed)?;
    make(&admin, asked.author, change).await?;
    show(&admin, currency)
}

async fn credit(State(admin): State<Admin>, Path(code): Path<String>, asked: Asked) -> Answer {
    let currency = currency(&code)?;
    let change = asked.form::<CreditForm>()?.change(currency).map_err(malformed)?;
    make(&admin, asked.author, change).await?;
    show(&admin, currency)
}

async fn rates(State(admin): State<Admin>) -> Answer {
    Ok(Json(rates_view(&admin.app.ledger.program().rates)))
}

async fn replace_rates(State(admin): State<Admin>, asked: Asked) -> Answer {
    let rates = asked.form::<RatesForm>()?.rates().map_err(malformed)?;
    make(&admin, asked.author, Change::ReplaceRates(Box::new(rates))).await?;
    Ok(Json(rates_view(&admin.app.ledger.program().rates)))
}

async fn pin_rate(State(admin): State<Admin>, asked: Asked) -> Answer {
    let change = asked.form::<PairForm>()?.pin().map_err(malformed)?;
    make(&admin, asked.author, change).await?;
    Ok(Json(rates_view(&admin.app.ledger.program().rates)))
}

async fn unpin_rate(State(admin): State<Admin>, asked: Asked) -> Answer {
    let change = asked.form::<UnpinForm>()?.change().map_err(malformed)?;
    make(&admin, asked.author, change).await?;
    Ok(Json(rates_view(&admin.app.ledger.program().rates)))
}
