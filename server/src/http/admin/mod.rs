//! The admin API. Handlers are thin: parse, ask the ledger, show the resource.

mod alerts;
mod auth;
mod breaks;
mod calendar;
mod deliveries;
mod import;
mod prefunds;
mod read;
mod treasury;
mod write;

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body as AxumBody;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use hyper::StatusCode;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use metrics::counter;

use self::auth::{Access, Lockout};
use super::listener::Peer;
use crate::app::App;
use crate::rescue::Problem;
use crate::telemetry;

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
        .route("/users/{urId}", get(read::user))
        .route("/pools", get(read::pools))
        .route("/pools/{currency}", get(read::pool))
        .route("/pools/{currency}/forecast", get(treasury::forecast))
        .route("/pools/{currency}/statement", get(treasury::statement))
        .route("/calendar", get(calendar::show))
        .route("/rates", get(read::rates))
        .route("/program", get(read::program))
        .route("/authorizations", get(read::authorizations))
        .route("/authorizations/{id}", get(read::authorization))
        .route("/breaks", get(breaks::list))
        .route("/breaks/{id}", get(breaks::one))
        .route("/alerts", get(alerts::list))
        .route("/alerts/{id}", get(alerts::one))
        .route("/deliveries", get(deliveries::list))
        .route("/deliveries/{name}", get(deliveries::one))
        .route("/prefunds", get(prefunds::list))
        .route("/prefunds/automatic", get(prefunds::automatic))
        .route("/prefunds/{id}", get(prefunds::one))
        .route("/journal", get(read::journal))
        .route("/stats", get(read::stats))
        .route_layer(guarded(Access::Read));
    let treasury = Router::new()
        .route("/pools/{currency}", put(write::pool))
        .route("/pools/{currency}/credits", post(write::credit))
        .route("/rates", put(write::rates))
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
        .route("/users/import", post(import::users).layer(DefaultBodyLimit::max(IMPORT_BYTES_MAX)))
        .route("/users/{urId}/funds", put(write::funds))
        .route("/users/{urId}/status", put(write::user_status))
        .route("/users/{urId}/controls", put(write::user_controls))
        .route("/cards/{cardId}", put(write::card))
        .route("/cards/{cardId}/controls", put(write::card_controls))
        .route("/authorizations/{id}/release", post(write::release))
        .route("/breaks/{id}/resolve", post(breaks::resolve))
        .route("/program", post(write::program))
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
    let Some(caller) = auth::caller(request.headers(), &admin.app.config.admin.tokens) else {
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

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(AxumBody::from(self.body()));
        *response.status_mut() = StatusCode::from_u16(self.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if self == Problem::Unauthorized {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after_seconds() {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if matches!(self, Problem::MethodNotAllowed(_)) && !headers.contains_key(ALLOW) {
            headers.insert(ALLOW, HeaderValue::from_static("GET, PUT, POST, DELETE"));
        }
        response
    }
}
