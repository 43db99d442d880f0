//! UR's own API (seeds 003 and 004) over its books, for requests signed by the partner.

use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Map, Value, json};

use super::account::Account;
use super::books::Books;
use super::contract::Code;
use crate::clock::Clock;
use crate::signature::{
    Address, DEADLINE_HEADER, PARTNER_DEADLINE_AHEAD_SECONDS_MAX, PartnerRequest, PartnerScope, SIGNATURE_HEADER,
    verify_partner,
};

/// The ops account, which holds the pools.
pub(in crate::sandbox) const OPS_UR_ID: &str = "9999";

#[derive(Clone)]
pub(in crate::sandbox) struct Api {
    pub(in crate::sandbox) books: Arc<Mutex<Books>>,
    pub(in crate::sandbox) clock: Arc<Clock>,
    /// The longest time in transit, in seconds of the clock: on a fast clock, milliseconds become hours.
    pub(in crate::sandbox) on_the_way_seconds: u64,
    pub(in crate::sandbox) partner: Address,
    pub(in crate::sandbox) catch_up: Arc<OnceLock<CatchUp>>,
}

/// Lets UR learn, before it answers, what people changed.
pub(in crate::sandbox) type CatchUp = Box<dyn Fn() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// `{code, message}`.
struct Refused(StatusCode, u32, String);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, Json(json!({"code": self.1, "message": self.2}))).into_response()
    }
}

impl From<(u32, String)> for Refused {
    fn from((code, message): (u32, String)) -> Self {
        Refused(StatusCode::BAD_REQUEST, code, message)
    }
}

/// The fields of a verified request.
struct Fields(Map<String, Value>);

impl Fields {
    fn text(&self, name: &str) -> String {
        match self.0.get(name) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            _ => String::new(),
        }
    }

    fn needed(&self, name: &str) -> Result<String, Refused> {
        let text = self.text(name);
        if text.is_empty() {
            return Err(Refused(StatusCode::BAD_REQUEST, 20_001, format!("{name} is required")));
        }
        Ok(text)
    }

    /// In smallest units.
    fn amount(&self, name: &str) -> Result<u64, Refused> {
        let text = self.needed(name)?;
        let amount = text.parse().ok().filter(|amount| *amount <= 1_000_000_000_000_000_u64);
        amount.ok_or_else(|| Refused::from((20_003, format!("{name} must be a whole number of smallest units"))))
    }
}

type Answer = Result<Json<Value>, Refused>;

type Endpoint = fn(&mut Books, &Fields, u64) -> Answer;

/// Every endpoint of seeds 003 and 004 that a partner's server calls.
const ENDPOINTS: [(&str, Endpoint); 12] = [
    ("/v1/profile", profile),
    ("/v1/balance", balance),
    ("/v1/transactions", transactions),
    ("/v1/transaction/query", query),
    ("/v1/tokens", tokens),
    ("/v1/exchangeRate", exchange_rate),
    ("/v1/exchange", exchange),
    ("/v1/deposit/quote", deposit_quote),
    ("/v1/deposit", deposit),
    ("/v1/onramp/quote", onramp_quote),
    ("/v1/onramp", onramp),
    ("/v1/mint/nft", mint),
];

impl Api {
    pub(in crate::sandbox) fn router(self) -> Router {
        let mut router = Router::new();
        for (path, endpoint) in ENDPOINTS {
            let ask = move |State(api): State<Api>, headers: HeaderMap, body: Bytes| async move {
                let fields = api.authenticate(&headers, &body)?;
                if let Some(catch_up) = api.catch_up.get() {
                    catch_up().await;
                }
                let now = api.now();
                let mut books = api.books.lock().unwrap_or_else(PoisonError::into_inner);
                books.api_faults.meet(now)?;
                endpoint(&mut books, &fields, now)
            };
            router = router.route(path, if path == "/v1/tokens" { get(ask) } else { post(ask) });
        }
        router.with_state(self)
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
    fn authenticate(&self, headers: &HeaderMap, body: &[u8]) -> Result<Fields, Refused> {
        let header = |name: &str| headers.get(name).map(axum::http::HeaderValue::as_bytes);
        let request = PartnerRequest {
            signature: header(SIGNATURE_HEADER),
            deadline: header(DEADLINE_HEADER),
            scope: PartnerScope::Open,
            body,
        };
        verify_partner(self.partner, &request, self.sent_at(&request))
            .map_err(|error| Refused(StatusCode::UNAUTHORIZED, 10_001, error.to_string()))?;
        if body.is_empty() {
            return Ok(Fields(Map::new()));
        }
        let fields = serde_json::from_slice(body);
        fields.map(Fields).map_err(|error| Refused(StatusCode::BAD_REQUEST, 20_002, error.to_string()))
    }
}

fn done(data: impl serde::Serialize) -> Answer {
    Ok(Json(json!({"code": 0, "message": "success", "data": data})))
}

fn unknown(ur_id: &str) -> Refused {
    Refused(StatusCode::NOT_FOUND, 10_006, format!("there is no user {ur_id}"))
}

/// Renders smallest units, of a token with six or two decimals, as a display decimal.
fn display(amount: u64, decimals: u32) -> String {
    let one = 10_u64.pow(decimals);
    format!("{}.{:0width$}", amount / one, amount % one, width = decimals as usize)
}

fn profile(books: &mut Books, asked: &Fields, now: u64) -> Answer {
    let ur_id = asked.needed("urId")?;
    books.account(&ur_id).ok_or_else(|| unknown(&ur_id))?;
    let is_lacking = books.quirks.leaves_out(&ur_id, "usedLimit");
    if !is_lacking {
        books.report_limit(&ur_id, now);
    }
    let account = books.account(&ur_id).ok_or_else(|| unknown(&ur_id))?;
    let allowances =
        account.fiat.iter().map(|(code, (_, allowed))| json!({"tokenSymbol": code, "hasAllowance": allowed}));
    done(json!({
        "urId": ur_id, "chainStatus": chain_status(account),
        "usedLimit": (!is_lacking).then_some(account.limit.used),
        "clientLimit": account.limit.client, "startLimitDate": account.limit.start,
        "allowances": allowances.collect::<Vec<_>>(),
    }))
}

fn balance(books: &mut Books, asked: &Fields, now: u64) -> Answer {
    let ur_id = asked.needed("urId")?;
    let held: Vec<(Code, u64)> = if ur_id == OPS_UR_ID {
        books.pools.iter().map(|(code, pool)| (*code, pool.balance)).collect()
    } else {
        let account = books.account(&ur_id).ok_or_else(|| unknown(&ur_id))?;
        account.fiat.iter().map(|(code, (balance, _))| (*code, balance.balance)).collect()
    };
    let quirks = &mut books.quirks;
    let omitted = held.iter().map(|(code, _)| *code).find(|code| quirks.leaves_out(&ur_id, code));
    let unreadable = held.iter().map(|(code, _)| *code).find(|code| quirks.spoils(&ur_id, code));
    let mut shown = quirks.balances();
    shown.extend(held.iter().filter(|(code, _)| Some(*code) != omitted).map(|(code, amount)| {
        let amount = if Some(*code) == unreadable { "plenty".to_owned() } else { amount.to_string() };
        json!({"symbol": code, "amount": amount})
    }));
    // An answer that lacks a figure is asked for again before any of it counts.
    if omitted.is_none() {
        books.report_balances(Some(ur_id.as_str()).filter(|ur_id| *ur_id != OPS_UR_ID), unreadable, now);
    }
    done(shown)
}

fn transactions(books: &mut Books, asked: &Fields, now: u64) -> Answer {
    let ur_id = asked.needed("urId")?;
    let wanted = serde_json::from_value(Value::Object(asked.0.clone()));
    let wanted = wanted.map_err(|error| Refused::from((20_003, error.to_string())))?;
    let lacks_one = books.quirks.leaves_out(&ur_id, "row");
    let page = books.statement.page(&ur_id, &wanted, now, lacks_one);
    let mut page = page.map_err(|error| Refused::from((20_003, error)))?;
    if let (Some(odd), Some(Value::Array(rows))) = (books.quirks.row(&ur_id), page.get_mut("data")) {
        rows.push(odd);
    }
    Ok(Json(page))
}

fn query(books: &mut Books, asked: &Fields, _: u64) -> Answer {
    let pairs = asked.0.get("txPairs").and_then(Value::as_array).filter(|pairs| !pairs.is_empty());
    let pairs = pairs.ok_or_else(|| Refused::from((20_001, "txPairs is required".to_owned())))?;
    let read = |pair: &Value| {
        let pair = Fields(pair.as_object().cloned().unwrap_or_default());
        Ok((pair.needed("urId")?, pair.needed("txHash")?))
    };
    let pairs = pairs.iter().map(read).collect::<Result<Vec<_>, Refused>>()?;
    let not_found = || Refused(StatusCode::OK, 4_001, "transaction not found".to_owned());
    done(books.statement.query(&pairs).ok_or_else(not_found)?)
}

fn tokens(books: &mut Books, _: &Fields, _: u64) -> Answer {
    let token = |symbol: &str, decimals: u32, is_fiat: bool| {
        json!({
            "symbol": symbol, "name": symbol, "address": "0x0000000000000000000000000000000000000000",
            "decimals": decimals, "displayDecimals": 2, "isFiat": is_fiat,
        })
    };
    let fiat = books.rates.usd.keys().map(|code| token(code, 2, true));
    let mut tokens: Vec<_> = fiat.chain([token("USDC", 6, false)]).collect();
    if books.quirks.leaves_out("", "token") {
        tokens.remove(0);
    }
    tokens.extend(books.quirks.tokens());
    done(tokens)
}

fn exchange_rate(books: &mut Books, asked: &Fields, _: u64) -> Answer {
    let (from, to) = (books.code(&asked.needed("inSymbol")?)?, books.code(&asked.needed("outSymbol")?)?);
    let rate = books.rates.between(from, to).ok_or_else(|| Refused::from((20_003, "no rate".to_owned())))?;
    done(books.quirks.rate((&display(rate.rate, 4), &display(rate.spread, 4))))
}

fn exchange(books: &mut Books, asked: &Fields, now: u64) -> Answer {
    let tokens = (books.code(&asked.needed("inputToken")?)?, books.code(&asked.needed("outputToken")?)?);
    let (ur_id, amount, request) = (asked.needed("urId")?, asked.amount("amount")?, asked.needed("requestId")?);
    done(json!({"txHash": books.exchange_tokens(&ur_id, tokens, amount, &request, now)?}))
}

/// UR accepts only USDC (seed 003).
fn from_usdc(asked: &Fields, name: &str) -> Result<(), Refused> {
    match asked.needed(name)?.as_str() {
        "USDC" => Ok(()),
        other => Err(Refused::from((20_003, format!("{name} must be USDC, got {other}")))),
    }
}

fn deposit_quote(books: &mut Books, asked: &Fields, _: u64) -> Answer {
    from_usdc(asked, "fromToken")?;
    asked.needed("urId")?;
    let (to, amount) = (books.code(&asked.needed("toToken")?)?, asked.amount("amount")?);
    let quote = books.quote_deposit(to, amount)?;
    let rate = books.rates.between("USD", to).map_or(10_000, |rate| rate.rate);
    done(json!({
        "feeAmountViaUsdc": display(quote.network_fee, 6), "outputAmount": display(quote.output, 2),
        "exchangeRate": display(rate, 4), "crossChainFee": "0", "feeAmountViaNativeToken": "0",
        "processingFee": display(quote.processing_fee, 6), "networkFee": display(quote.network_fee, 6),
        "totalFee": display(quote.processing_fee + quote.network_fee, 6), "chainId": "eip155:5003",
        "allQuotes": [], "best": null,
    }))
}

fn deposit(books: &mut Books, asked: &Fields, now: u64) -> Answer {
    from_usdc(asked, "inputToken")?;
    let to = books.code(&asked.needed("outputToken")?)?;
    let (ur_id, amount, request) = (asked.needed("urId")?, asked.amount("amount")?, asked.needed("requestId")?);
    done(json!({"txHash": books.deposit(&ur_id, to, amount, &request, now)?}))
}

fn onramp_quote(books: &mut Books, asked: &Fields, _: u64) -> Answer {
    let (from, amount) = (books.code(&asked.needed("fromToken")?)?, asked.amount("amount")?);
    let (quote, output) = books.quote_onramp(&asked.needed("urId")?, from, amount)?;
    let rate = books.rates.between(from, "USD").map_or(10_000, |rate| rate.rate);
    done(json!({
        "quoteId": quote, "chainId": "eip155:5003", "best": null, "allQuotes": [], "feeAmountViaUsdc": "0",
        "outputAmount": output.to_string(), "exchangeRate": display(rate, 4), "crossChainFee": "0",
        "feeAmountViaNativeToken": "0", "isSupport": true, "needLivenessCheck": false, "maxAmounts": {},
    }))
}

fn onramp(books: &mut Books, asked: &Fields, now: u64) -> Answer {
    let (from, amount) = (books.code(&asked.needed("tokenIn")?)?, asked.amount("amountIn")?);
    let (ur_id, quote, request) = (asked.needed("urId")?, asked.needed("quoteId")?, asked.needed("requestId")?);
    done(json!({"txHash": books.onramp(&ur_id, from, amount, (&quote, &request), now)?}))
}

fn mint(books: &mut Books, asked: &Fields, now: u64) -> Answer {
    for field in ["email", "signature", "hash", "deadline"] {
        asked.needed(field)?;
    }
    let ur_id = books.mint(&asked.needed("evmAddress")?, now)?;
    done(json!({"tokenId": ur_id, "txHash": format!("0x{ur_id:0>64}")}))
}

/// `chainStatus` of the contract (docs/ur-facts.md, "Status").
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
