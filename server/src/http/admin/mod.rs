//! The admin API. Handlers are thin: parse, call the ledger, show the resource.

mod alerts;
pub mod auth;
mod authorizations;
mod breaks;
mod calendar;
mod cards;
mod deliveries;
mod idempotency;
mod journal;
mod metrics;
mod paging;
mod pools;
mod prefunds;
mod program;
mod reads;
mod receipts;
mod treasury;
mod users;
mod views;

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ::metrics::counter;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use tapgate_engine::journal::Durability;
use tapgate_engine::ledger::Ledger;
use tapgate_engine::money::Currency;
use tokio::runtime::Handle;
use tokio::sync::Mutex;

use self::auth::{Access, Found, Lockout, Token};
use self::metrics::Latest;
use self::reads::{Abandoned, Reads};
use super::exchange::Arriving;
use super::listener::Connection;
use super::places::Seat;
use crate::health::NotReady;
use crate::http::context::App;
use crate::http::problem::Problem;
use crate::provider::prefunding::AutoPrefund;
use crate::receipts::Signer;
use crate::wire::Malformed;

/// Largest admin request, imports excepted.
const BODY_BYTES_MAX: usize = 1 << 20;

/// Longest wait of an answer for the durability of what it shows: by then the disk counts as stalled.
const SHOWN_DURABLE_MAX: Duration = Duration::from_secs(1);

/// Access to the admin API, and the settings that it uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Without tokens, every request that needs one is refused.
    pub tokens: Vec<Token>,
    /// The currency of imported cards that name none.
    pub card_currency: Currency,
    /// Shown to callers; the mode affects proposals.
    pub auto_prefund: AutoPrefund,
    /// Signs receipts; `None`: there are none.
    pub signer: Option<Signer>,
}

/// The handlers' shared parts.
#[derive(Clone)]
struct Admin {
    app: Arc<App>,
    settings: Arc<Settings>,
    lockout: Arc<Lockout>,
    reads: Reads,
    metrics: Arc<Mutex<Latest>>,
}

/// Admits requests by their token's role.
struct Gate(Admin);

impl Gate {
    /// The routes, for callers whose role permits `access`.
    fn admit(&self, access: Access, routes: Router<Admin>) -> Router<Admin> {
        let admin = self.0.clone();
        let guarded = move |request: Request, next: Next| guard(admin.clone(), access, request, next);
        routes.route_layer(middleware::from_fn(guarded))
    }
}

/// A handler's answer.
type Answer = Result<axum::Json<serde_json::Value>, Problem>;

/// The peer's address, as an extension of the request.
#[derive(Clone, Copy, Debug)]
struct Peer(IpAddr);

/// The admin API over one connection.
pub struct Serving {
    router: TowerToHyperService<Router>,
    peer: Peer,
    seat: Arc<Seat>,
}

impl Service<hyper::Request<Arriving>> for Serving {
    type Response = Response;
    type Error = Infallible;
    type Future = <TowerToHyperService<Router> as Service<hyper::Request<Arriving>>>::Future;

    fn call(&self, mut request: hyper::Request<Arriving>) -> Self::Future {
        request.extensions_mut().insert(self.peer);
        request.extensions_mut().insert(Arc::clone(&self.seat));
        self.router.call(request)
    }
}

/// The service of each connection: the admin API over a running program. What only reads runs on the runtime `reads`, so
/// that it delays neither changes nor decisions.
pub fn services(app: Arc<App>, settings: Settings, reads: Handle) -> impl Fn(Connection) -> Serving {
    let router = TowerToHyperService::new(router(app, settings, Reads::new(reads)));
    move |connection| Serving { router: router.clone(), peer: Peer(connection.peer), seat: connection.seat }
}

fn router(app: Arc<App>, settings: Settings, reads: Reads) -> Router {
    let admin = Admin { app, settings: Arc::new(settings), lockout: Arc::default(), reads, metrics: Arc::default() };
    let gate = Gate(admin.clone());
    let nouns: [fn(&Gate) -> Router<Admin>; 13] = [
        alerts::routes,
        authorizations::routes,
        breaks::routes,
        calendar::routes,
        cards::routes,
        deliveries::routes,
        journal::routes,
        pools::routes,
        prefunds::routes,
        program::routes,
        receipts::routes,
        treasury::routes,
        users::routes,
    ];
    let api = nouns.into_iter().fold(Router::new(), |api, routes| api.merge(routes(&gate)));
    Router::new()
        .nest("/api/v1", api)
        .route("/healthz", get(|| async { axum::Json(serde_json::json!({"status": "ok"})) }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics::show))
        .fallback(|| async { Problem::NotFound("there is no such path".to_owned()) })
        .method_not_allowed_fallback(|| async { Problem::MethodNotAllowed("another method") })
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn(count))
        .with_state(admin)
}

/// Admits a request if its token's role permits the access; passes the caller to the handler.
async fn guard(admin: Admin, access: Access, mut request: Request, next: Next) -> Response {
    let from = request.extensions().get::<Peer>().map_or(IpAddr::from([0, 0, 0, 0]), |peer| peer.0);
    let now = admin.app.clock.running();
    if let Err(problem) = admin.lockout.admits(from, now) {
        return problem.into_response();
    }
    let seat = request.extensions().get::<Arc<Seat>>();
    let caller = match auth::caller(request.headers(), &admin.settings.tokens) {
        Found::Known(caller) => {
            seat.inspect(|seat| seat.prove());
            caller
        }
        Found::Wrong(token) => {
            seat.inspect(|seat| seat.unprove());
            admin.lockout.count(from, token, now);
            return Problem::Unauthorized.into_response();
        }
        Found::Nothing => return Problem::Unauthorized.into_response(),
    };
    if let Err(problem) = caller.may(access) {
        return problem.into_response();
    }
    request.extensions_mut().insert(caller);
    let response = match access {
        Access::Read => admin.reads.read(async move { next.run(request).await }).await,
        // A change is a record: where no tap may write one, nobody else may.
        _ => match admin.app.health.admit() {
            Ok(()) => Ok(next.run(request).await),
            Err(reason) => Err(reason.into()),
        },
    };
    let response = response.unwrap_or_else(IntoResponse::into_response);
    match shown_durable(&admin.app).await {
        Err(problem) if !response.status().is_server_error() => problem.into_response(),
        _ => response,
    }
}

/// Waits until everything that an answer may show is durable: handlers read memory, which is ahead of the disk, and a
/// crash would take back what a person has read. A refusal shows the state as well as a resource does.
async fn shown_durable(app: &App) -> Result<(), Problem> {
    let journal = app.ledger.journal();
    let Some(ticket) = journal.await_durable(journal.claimed()) else { return Ok(()) };
    // A stalled disk is known: no reader waits for it in vain.
    if app.health.is_stalled() {
        return Err(NotReady::Stalled.into());
    }
    match tokio::time::timeout(SHOWN_DURABLE_MAX, ticket.wait()).await {
        Ok(Durability::Durable | Durability::Released) => Ok(()),
        Ok(Durability::Failed) => Err(NotReady::Failed.into()),
        Err(_) => Err(NotReady::Stalled.into()),
    }
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

/// Runs a disk read off the async threads. Who stops waiting for it before it begins cancels it.
#[expect(clippy::disallowed_methods, reason = "reads of people, on threads of their own")]
async fn blocking<T: Send + 'static>(
    ledger: &Arc<Ledger>,
    read: impl FnOnce(&Ledger) -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let ledger = Arc::clone(ledger);
    let mut running = Abandoned(tokio::task::spawn_blocking(move || read(&ledger)));
    (&mut running.0).await.map_err(|_| Problem::Internal)?
}

fn no_such(what: &str, id: &str) -> Problem {
    Problem::NotFound(format!("there is no {what} {id}"))
}

/// An invalid id in a path means that nothing is found.
fn id<T: std::str::FromStr>(what: &str, text: &str) -> Result<T, Problem> {
    text.parse().map_err(|_| no_such(what, text))
}

fn malformed(error: Malformed) -> Problem {
    Problem::Malformed(error.0)
}
