//! The admin API. Handlers are thin: parse, ask the ledger, show the resource.

mod alerts;
pub mod auth;
mod authorizations;
mod breaks;
mod calendar;
mod cards;
mod deliveries;
mod idempotency;
mod journal;
mod paging;
mod pools;
mod prefunds;
mod program;
mod treasury;
mod users;

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body as AxumBody;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use metrics::counter;
use tapgate_engine::ledger::Ledger;

use self::auth::{Access, Lockout};
use super::listener::Peer;
use crate::http::context::App;
use crate::http::problem::Problem;
use crate::program::telemetry;
use crate::wire::Malformed;

/// The most one import may be: about 200,000 users. Larger ones come in parts.
const IMPORT_BYTES_MAX: usize = 64 << 20;
/// Any other admin request.
const BODY_BYTES_MAX: usize = 1 << 20;

/// What handlers share.
#[derive(Clone)]
struct Admin {
    app: Arc<App>,
    lockout: Arc<Lockout>,
}

/// A handler's answer.
type Answer = Result<axum::Json<serde_json::Value>, Problem>;

/// The admin API over a running program.
pub fn service(app: Arc<App>) -> Router {
    let admin = Admin { app, lockout: Arc::default() };
    let guarded = |access: Access| {
        let admin = admin.clone();
        middleware::from_fn(move |request: Request, next: Next| guard(admin.clone(), access, request, next))
    };
    let read = Router::new()
        .route("/users/{urId}", get(users::one))
        .route("/pools", get(pools::list))
        .route("/pools/{currency}", get(pools::one))
        .route("/pools/{currency}/forecast", get(treasury::forecast))
        .route("/pools/{currency}/statement", get(treasury::statement))
        .route("/calendar", get(calendar::show))
        .route("/rates", get(pools::rates))
        .route("/program", get(program::show))
        .route("/authorizations", get(authorizations::list))
        .route("/authorizations/{id}", get(authorizations::one))
        .route("/breaks", get(breaks::list))
        .route("/breaks/{id}", get(breaks::one))
        .route("/alerts", get(alerts::list))
        .route("/alerts/{id}", get(alerts::one))
        .route("/deliveries", get(deliveries::list))
        .route("/deliveries/{name}", get(deliveries::one))
        .route("/prefunds", get(prefunds::list))
        .route("/prefunds/automatic", get(prefunds::automatic))
        .route("/prefunds/{id}", get(prefunds::one))
        .route("/journal", get(journal::read))
        .route("/stats", get(program::stats))
        .route_layer(guarded(Access::Read));
    let treasury = Router::new()
        .route("/pools/{currency}", put(pools::report))
        .route("/pools/{currency}/credits", post(pools::credit))
        .route("/rates", put(pools::replace_rates))
        .route("/calendar", post(calendar::add))
        .route("/calendar/{id}", delete(calendar::remove))
        .route("/alerts/{id}/acknowledge", post(alerts::acknowledge))
        .route("/alerts/{id}/silence", post(alerts::silence))
        .route("/deliveries/{name}/resume", post(deliveries::resume))
        .route("/deliveries/{name}/replay", post(deliveries::replay))
        .route("/deliveries/{name}/skip", post(deliveries::skip))
        .route("/prefunds", post(prefunds::send))
        .route("/prefunds/automatic", post(prefunds::propose))
        .route("/prefunds/{id}/cancel", post(prefunds::cancel))
        .route_layer(guarded(Access::Treasury));
    let approve =
        Router::new().route("/prefunds/{id}/approve", post(prefunds::approve)).route_layer(guarded(Access::Approve));
    let operate = Router::new()
        .route("/users/import", post(users::import).layer(DefaultBodyLimit::max(IMPORT_BYTES_MAX)))
        .route("/users/{urId}/funds", put(users::funds))
        .route("/users/{urId}/status", put(users::status))
        .route("/users/{urId}/controls", put(users::controls))
        .route("/cards/{cardId}", put(cards::change))
        .route("/cards/{cardId}/controls", put(cards::controls))
        .route("/authorizations/{id}/release", post(authorizations::release))
        .route("/breaks/{id}/resolve", post(breaks::resolve))
        .route("/program", post(program::switch))
        .route_layer(guarded(Access::Operate));
    Router::new()
        .nest("/api/v1", read.merge(treasury).merge(approve).merge(operate))
        .route("/healthz", get(|| async { axum::Json(serde_json::json!({"status": "ok"})) }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .fallback(|| async { Problem::NotFound("there is no such path".to_owned()) })
        .method_not_allowed_fallback(|| async { Problem::MethodNotAllowed("another method") })
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn(count))
        .with_state(admin)
}

/// Lets a request through whose token's role may do what it wants; hands the caller on to the handler.
async fn guard(admin: Admin, access: Access, mut request: Request, next: Next) -> Response {
    let Some(caller) = auth::caller(request.headers(), &admin.app.config.tokens) else {
        let from = request.extensions().get::<Peer>().map_or(IpAddr::from([0, 0, 0, 0]), |peer| peer.0);
        return admin.lockout.wrong_token(from, admin.app.clock.now().at.0).into_response();
    };
    if let Err(problem) = caller.may(access) {
        return problem.into_response();
    }
    request.extensions_mut().insert(caller);
    next.run(request).await
}

async fn count(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let code = response.status().as_u16().to_string();
    counter!("tapgate_http_requests_total", "listener" => "admin", "code" => code).increment(1);
    response
}

async fn ready(State(admin): State<Admin>) -> Answer {
    admin.app.health.ready()?;
    Ok(axum::Json(serde_json::json!({"status": "ready"})))
}

async fn metrics(State(admin): State<Admin>) -> Result<Response, Problem> {
    // Forecasts are among them, which no decision must wait for.
    let rendered = tokio::task::spawn_blocking(move || telemetry::render(&admin.app)).await;
    let mut response = Response::new(AxumBody::from(rendered.map_err(|_| Problem::Internal)?));
    let text = HeaderValue::from_static("text/plain; version=0.0.4");
    response.headers_mut().insert(CONTENT_TYPE, text);
    Ok(response)
}

/// Runs what reads the disk off the async threads.
async fn blocking<T: Send + 'static>(
    ledger: &Arc<Ledger>,
    read: impl FnOnce(&Ledger) -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let ledger = Arc::clone(ledger);
    tokio::task::spawn_blocking(move || read(&ledger)).await.map_err(|_| Problem::Internal)?
}

fn no_such(what: &str, id: &str) -> Problem {
    Problem::NotFound(format!("there is no {what} {id}"))
}

/// An id in a path that cannot be one names nothing.
fn id<T: std::str::FromStr>(what: &str, text: &str) -> Result<T, Problem> {
    text.parse().map_err(|_| no_such(what, text))
}

fn malformed(error: Malformed) -> Problem {
    Problem::Malformed(error.0)
}
