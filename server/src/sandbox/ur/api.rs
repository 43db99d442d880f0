//! UR's own API (seeds 003 and 004) over its books, for requests signed by the partner, in both account modes.

mod accounts;
mod custody;
mod market;
mod provocation;

use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Map, Value, json};

pub use self::provocation::{Provocation, ProvocationError};
use super::books::Books;
use crate::clock::Clock;
use crate::signature::{
    Address, DEADLINE_HEADER, PARTNER_DEADLINE_AHEAD_SECONDS_MAX, PartnerRequest, PartnerScope, SIGNATURE_HEADER,
    verify_partner,
};

/// The ops account, which holds the pools.
pub(in crate::sandbox) const OPS_UR_ID: &str = "9999";

/// The chain of the simulated UR: Mantle's testnet (seed 003, "Chain ID Reference").
pub(super) const CHAIN: &str = "eip155:5003";

#[derive(Clone)]
pub(in crate::sandbox) struct Api {
    pub(in crate::sandbox) books: Arc<Mutex<Books>>,
    pub(in crate::sandbox) clock: Arc<Clock>,
    /// The longest time in transit, in seconds of the clock: on a fast clock, milliseconds become hours.
    pub(in crate::sandbox) on_the_way_seconds: u64,
    /// Whose signature is asked for; `None`: nobody's.
    pub(in crate::sandbox) partner: Option<Address>,
    pub(in crate::sandbox) catch_up: Arc<OnceLock<CatchUp>>,
}

/// Lets UR learn, before it answers, what people changed.
pub(in crate::sandbox) type CatchUp = Box<dyn Fn() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// `{code, message}`, with the HTTP status of the code.
#[derive(Debug)]
struct Refused(u32, String);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = match self.0 {
            4_001 => StatusCode::OK,
            10_001 => StatusCode::UNAUTHORIZED,
            10_016 => StatusCode::TOO_MANY_REQUESTS,
            10_000 | 50_001..=50_003 => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        };
        (status, Json(json!({"code": self.0, "message": self.1}))).into_response()
    }
}

impl From<(u32, String)> for Refused {
    fn from((code, message): (u32, String)) -> Self {
        Refused(code, message)
    }
}

/// 20003 (seed 003): an amount, a token, a chain or an account that is none.
fn invalid(message: impl Into<String>) -> Refused {
    Refused(20_003, message.into())
}

/// The fields of a verified request.
struct Fields(Map<String, Value>);

impl Fields {
    /// # Errors
    /// The body is no JSON object; an empty one has no fields.
    fn of(body: &[u8]) -> Result<Fields, Refused> {
        if body.is_empty() {
            return Ok(Fields(Map::new()));
        }
        serde_json::from_slice(body).map(Fields).map_err(|error| Refused(20_002, error.to_string()))
    }

    fn text(&self, name: &str) -> String {
        match self.0.get(name) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            _ => String::new(),
        }
    }

    fn optional(&self, name: &str) -> Option<String> {
        Some(self.text(name)).filter(|text| !text.is_empty())
    }

    fn needed(&self, name: &str) -> Result<String, Refused> {
        self.optional(name).ok_or_else(|| Refused(20_001, format!("{name} is required")))
    }

    /// In smallest units.
    fn amount(&self, name: &str) -> Result<u64, Refused> {
        let text = self.needed(name)?;
        let amount = text.parse().ok().filter(|amount| *amount <= 1_000_000_000_000_000_u64);
        amount.ok_or_else(|| invalid(format!("{name} must be a whole number of smallest units")))
    }

    fn address(&self, name: &str) -> Result<Option<Address>, Refused> {
        let parse = |text: String| text.parse().map_err(|error| invalid(format!("{name}: {error}")));
        self.optional(name).map(parse).transpose()
    }
}

type Answer = Result<Json<Value>, Refused>;

type Answering = fn(&mut Books, &Fields, u64) -> Answer;

/// How the partner authenticates, and names the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    ExternalWallet,
    ManagedCustody,
}

/// A path of UR's API, and the function that answers it.
type Endpoint = (&'static str, Mode, Answering);

/// Every endpoint that a partner's server calls: of seeds 003 and 004, and of Managed Custody.
const ENDPOINTS: [Endpoint; 15] = [
    ("/v1/profile", Mode::ExternalWallet, accounts::profile),
    ("/v1/balance", Mode::ExternalWallet, accounts::balance),
    ("/v1/transactions", Mode::ExternalWallet, accounts::transactions),
    ("/v1/transaction/query", Mode::ExternalWallet, accounts::query),
    ("/v1/mint/nft", Mode::ExternalWallet, accounts::mint),
    (TOKENS, Mode::ExternalWallet, market::tokens),
    ("/v1/exchangeRate", Mode::ExternalWallet, market::exchange_rate),
    ("/v1/exchange", Mode::ExternalWallet, market::exchange),
    ("/v1/deposit/quote", Mode::ExternalWallet, market::deposit_quote),
    ("/v1/deposit", Mode::ExternalWallet, market::deposit),
    ("/v1/onramp/quote", Mode::ExternalWallet, market::onramp_quote),
    ("/v1/onramp", Mode::ExternalWallet, market::onramp),
    ("/api/fma/v1/profile", Mode::ManagedCustody, accounts::profile),
    ("/api/fma/v1/balance", Mode::ManagedCustody, custody::balance),
    ("/api/fma/v1/transactions", Mode::ManagedCustody, accounts::transactions),
];

/// The one path that is asked by GET.
const TOKENS: &str = "/v1/tokens";

fn paths() -> impl Iterator<Item = &'static str> + Clone {
    ENDPOINTS.iter().map(|(path, ..)| *path)
}

impl Api {
    pub(in crate::sandbox) fn router(self) -> Router {
        let mut router = Router::new();
        for (path, mode, answer) in ENDPOINTS {
            let ask = move |State(api): State<Api>, headers: HeaderMap, body: Bytes| async move {
                let fields = match mode {
                    Mode::ExternalWallet => api.authenticate(&headers, PartnerScope::Open, &body),
                    Mode::ManagedCustody => custody::scope(&headers)
                        .and_then(|scope| api.authenticate(&headers, scope, &body))
                        .and_then(|fields| custody::fields(&headers, fields)),
                };
                let answered = match fields {
                    Ok(fields) => api.answer(path, answer, &fields).await,
                    Err(refused) => Err(refused),
                };
                match (answered, mode) {
                    (Ok(answer), _) => answer.into_response(),
                    (Err(refused), Mode::ExternalWallet) => refused.into_response(),
                    (Err(refused), Mode::ManagedCustody) => custody::refusal(refused),
                }
            };
            router = router.route(path, if path == TOKENS { get(ask) } else { post(ask) });
        }
        router.with_state(self)
    }

    async fn answer(&self, path: &'static str, answer: Answering, fields: &Fields) -> Answer {
        if let Some(catch_up) = self.catch_up.get() {
            catch_up().await;
        }
        let now = self.now();
        let mut books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        books.api_faults.meet(now)?;
        if let Some(provoked) = books.provoked.iter().find(|provoked| provoked.path == path) {
            return Err(Refused(provoked.code, provoked.message().to_owned()));
        }
        answer(&mut books, fields, now)
    }

    fn now(&self) -> u64 {
        self.clock.now().at.0 / 1_000
    }

    /// When a request was sent, estimated from its deadline, but no earlier than the time in transit allows.
    fn sent_at(&self, request: &PartnerRequest<'_>) -> u64 {
        let (now, ahead) = (self.now(), PARTNER_DEADLINE_AHEAD_SECONDS_MAX / 2);
        let deadline = request.deadline.and_then(|text| std::str::from_utf8(text).ok()?.parse::<u64>().ok());
        let sent_at = deadline.unwrap_or(now).saturating_sub(ahead);
        sent_at.clamp(now.saturating_sub(self.on_the_way_seconds), now)
    }

    /// Verifies and reads a request of the partner.
    fn authenticate(&self, headers: &HeaderMap, scope: PartnerScope<'_>, body: &[u8]) -> Result<Fields, Refused> {
        let header = |name: &str| headers.get(name).map(axum::http::HeaderValue::as_bytes);
        let request =
            PartnerRequest { signature: header(SIGNATURE_HEADER), deadline: header(DEADLINE_HEADER), scope, body };
        if let Some(partner) = self.partner {
            verify_partner(partner, &request, self.sent_at(&request))
                .map_err(|error| Refused(10_001, error.to_string()))?;
        }
        Fields::of(body)
    }
}

fn done(data: impl serde::Serialize) -> Answer {
    Ok(Json(json!({"code": 0, "message": "success", "data": data})))
}

fn unknown(ur_id: &str) -> Refused {
    invalid(format!("there is no user {ur_id}"))
}

/// Renders smallest units, of a token with six or two decimals, as a display decimal.
fn display(amount: u64, decimals: u32) -> String {
    let one = 10_u64.pow(decimals);
    format!("{}.{:0width$}", amount / one, amount % one, width = decimals as usize)
}
