//! UR's own API, as far as its books answer it: profile and balance (seed 004), for signed requests of the partner.

use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::books::{Account, Books};
use crate::app::App;
use crate::signature::{Address, DEADLINE_HEADER, PartnerRequest, PartnerScope, SIGNATURE_HEADER, verify_partner};
use crate::wire::Digits;

/// The ops account, which holds the pools.
pub(in crate::sandbox) const OPS_UR_ID: &str = "9999";

/// What the handlers share.
#[derive(Clone)]
pub(in crate::sandbox) struct Api {
    pub(in crate::sandbox) books: Arc<Mutex<Books>>,
    pub(in crate::sandbox) app: Arc<App>,
    pub(in crate::sandbox) partner: Address,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    ur_id: Digits,
}

/// `{code, message, data}`.
struct Refused(StatusCode, u32, String);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, Json(json!({"code": self.1, "message": self.2}))).into_response()
    }
}

impl Api {
    pub(in crate::sandbox) fn router(self) -> Router {
        Router::new().route("/v1/profile", post(profile)).route("/v1/balance", post(balance)).with_state(self)
    }

    /// The urId asked for, in a request that the partner signed.
    fn asked(&self, headers: &HeaderMap, body: &[u8]) -> Result<String, Refused> {
        let header = |name: &str| headers.get(name).map(axum::http::HeaderValue::as_bytes);
        let request = PartnerRequest {
            signature: header(SIGNATURE_HEADER),
            deadline: header(DEADLINE_HEADER),
            scope: PartnerScope::Open,
            body,
        };
        // The partner's clock need not be the sandbox's: its deadline is one of real or of virtual time.
        let now = self.app.clock.now().at.0 / 1_000;
        verify_partner(self.partner, &request, now)
            .map_err(|error| Refused(StatusCode::UNAUTHORIZED, 10_001, error.to_string()))?;
        let asked: Asked = serde_json::from_slice(body)
            .map_err(|error| Refused(StatusCode::BAD_REQUEST, 10_002, error.to_string()))?;
        Ok(asked.ur_id.0)
    }
}

fn done(data: &Value) -> Json<Value> {
    Json(json!({"code": 0, "message": "success", "data": data}))
}

fn unknown(ur_id: &str) -> Refused {
    Refused(StatusCode::NOT_FOUND, 10_006, format!("there is no user {ur_id}"))
}

async fn profile(State(api): State<Api>, headers: HeaderMap, body: Bytes) -> Result<Json<Value>, Refused> {
    let ur_id = api.asked(&headers, &body)?;
    let books = api.books.lock().unwrap_or_else(PoisonError::into_inner);
    let account = books.accounts.get(&ur_id).ok_or_else(|| unknown(&ur_id))?;
    let allowances =
        account.fiat.iter().map(|(code, (_, allowed))| json!({"tokenSymbol": code, "hasAllowance": allowed}));
    Ok(done(&json!({
        "urId": ur_id, "chainStatus": chain_status(account),
        "usedLimit": account.limit.used, "clientLimit": account.limit.client, "startLimitDate": account.limit.start,
        "allowances": allowances.collect::<Vec<_>>(),
    })))
}

async fn balance(State(api): State<Api>, headers: HeaderMap, body: Bytes) -> Result<Json<Value>, Refused> {
    let ur_id = api.asked(&headers, &body)?;
    let books = api.books.lock().unwrap_or_else(PoisonError::into_inner);
    let shown = |code: &str, amount: u64| json!({"symbol": code, "amount": amount.to_string()});
    let balances: Vec<_> = if ur_id == OPS_UR_ID {
        books.pools.iter().map(|(code, pool)| shown(code, pool.balance)).collect()
    } else {
        let account = books.accounts.get(&ur_id).ok_or_else(|| unknown(&ur_id))?;
        account.fiat.iter().map(|(code, (balance, _))| shown(code, balance.balance)).collect()
    };
    Ok(done(&json!(balances)))
}

/// `chainStatus` of the contract (ur-facts.md, "Status").
fn chain_status(account: &Account) -> u8 {
    match account.status {
        "soft_blocked" => 1,
        "tourist" => 2,
        "blocked" => 3,
        "closed" => 4,
        "live" => 5,
        _ => 0,
    }
}
