//! The HTTPS client: signs each call, shares the budget, retries transient failures, and checks the form of each
//! answer, and its signature if there is one, before it trusts it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hyper::{Method, Request};
use metrics::counter;
use reqwest::{Url, redirect};
use serde_json::{Map, Value, json};
use tapgate_engine::ids::UrId;

use super::account_mode::{AccountMode, Question, Subject, number};
use super::{At, Breaker, Budget, DepositOrder, Priority, QuoteAsked, TransactionFilter, UrApi, UrError};
use crate::clock::Clock;
use crate::outgoing::{Answer as Carried, Carrier, Failure, Rest};
use crate::provider::findings::Findings;
use crate::randomness::Randomness;
use crate::signature::{
    Address, DEADLINE_HEADER, EXTERNAL_USER_ID_HEADER, PARTNER_DEADLINE_AHEAD_SECONDS_MAX, PUBLIC_KEY_HEADER,
    PartnerScope, SIGNATURE_HEADER, SigningKey, UR_ID_HEADER, WebhookHeaders, WebhookPolicy, partner_fma_message,
    partner_message, verify_webhook,
};
use crate::wire::ur::{
    AmountForm, Answer, Balances, DepositQuote, Page, Profile, Rate, RefusalCode, Token, Transaction, read,
};
use crate::wire::{Digits, Malformed};

/// A server that is up accepts a connection within milliseconds, across the world within one second.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for one answer; UR's own chain calls take seconds.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// A page of a hundred transactions has a hundred kilobytes.
const ANSWER_BYTES_MAX: usize = 4 << 20;
/// Attempts of one call, the first included, unless its caller must tell them apart.
const ATTEMPTS_MAX: u32 = 4;
/// The pause before the second attempt; each further one is twice as long. After "too many" from UR, four times that.
const BACKOFF: Duration = Duration::from_millis(250);
const RATE_LIMITED_BACKOFF: Duration = Duration::from_secs(1);
/// Distance of our deadlines: room for clocks that differ, below UR's bound.
const DEADLINE_AHEAD_SECONDS: u64 = PARTNER_DEADLINE_AHEAD_SECONDS_MAX / 2;

/// The endpoints whose rows are read one by one, beside the account's balances and transactions.
const ROWS_OF: [&str; 3] = ["/v1/exchangeRate", "/v1/tokens", "/v1/transaction/query"];

/// The client could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("UR's client: {0}")]
pub struct ClientSetUpError(String);

/// Settings of calls to UR.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Base of UR's API.
    pub base_url: String,
    /// Signs each call.
    pub key: SigningKey,
    /// Keys that may sign answers.
    pub signers: Vec<Address>,
    /// Whether an answer without a signature is refused.
    pub require_signed_answers: bool,
    /// For all calls together, 1 to 100,000.
    pub calls_per_minute: u32,
    pub amounts: AmountForms,
    pub mode: AccountMode,
}

/// The forms of amounts where UR's documents and its clients differ (docs/ur-facts.md, "Amounts on UR's wire").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AmountForms {
    /// Of `/v1/balance`.
    pub balances: AmountForm,
    /// Of `TransactionData`, in lists and in the event `transaction`.
    pub transactions: AmountForm,
}

impl AmountForms {
    /// As UR's reference says.
    pub const DOCUMENTED: AmountForms =
        AmountForms { balances: AmountForm::SmallestUnit, transactions: AmountForm::Decimal };
}

/// The client of UR's API.
pub struct Client {
    http: Box<dyn Carrier>,
    base: Url,
    key: SigningKey,
    signers: WebhookPolicy,
    require_signed_answers: bool,
    clock: Arc<Clock>,
    randomness: Randomness,
    budget: Mutex<Budget>,
    breaker: Mutex<Breaker>,
    amounts: AmountForms,
    mode: AccountMode,
    findings: Arc<Findings>,
}

/// One call.
struct Call<'a> {
    method: Method,
    path: &'static str,
    body: Vec<u8>,
    scope: PartnerScope<'a>,
    priority: Priority,
    attempts_max: u32,
}

impl Call<'_> {
    fn post(path: &'static str, body: &Value, priority: Priority) -> Call<'static> {
        let (method, body) = (Method::POST, body.to_string().into_bytes());
        Call { method, path, body, scope: PartnerScope::Open, priority, attempts_max: ATTEMPTS_MAX }
    }

    fn about<'a>(asked: &Question<'a>, priority: Priority) -> Call<'a> {
        Call { scope: asked.scope, ..Call::post(asked.path, &asked.body, priority) }
    }
}

impl Client {
    /// # Errors
    /// The base is not an http(s) URL, or TLS cannot be set up.
    pub fn new(
        settings: Settings,
        clock: Arc<Clock>,
        randomness: Randomness,
        findings: Arc<Findings>,
    ) -> Result<Client, ClientSetUpError> {
        // The process may have installed one already; it is the same provider.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(ANSWER_TIMEOUT)
            .redirect(redirect::Policy::none())
            .tcp_nodelay(true)
            .build()
            .map_err(|error| ClientSetUpError(error.to_string()))?;
        Client::over(Box::new(http), settings, clock, randomness, findings)
    }

    /// A client whose requests somebody else carries.
    ///
    /// # Errors
    /// The base URL is none.
    pub fn over(
        http: Box<dyn Carrier>,
        settings: Settings,
        clock: Arc<Clock>,
        randomness: Randomness,
        findings: Arc<Findings>,
    ) -> Result<Client, ClientSetUpError> {
        let Settings { base_url, key, signers, require_signed_answers, calls_per_minute, amounts, mode } = settings;
        let base = base_url.trim_end_matches('/').parse::<Url>();
        let base = base.map_err(|error| ClientSetUpError(format!("{base_url}: {error}")))?;
        let of_accounts = [Subject::Balance, Subject::Transactions].map(|subject| mode.path(subject));
        for path in ROWS_OF.into_iter().chain(of_accounts) {
            counter!("tapgate_ur_unreadable_total", "path" => path).increment(0);
        }
        let signers = WebhookPolicy { signers, require_v2: false, timestamp_window_seconds: DEADLINE_AHEAD_SECONDS };
        Ok(Client {
            http,
            base,
            key,
            signers,
            require_signed_answers,
            clock,
            randomness,
            budget: Mutex::new(Budget::new(calls_per_minute)),
            breaker: Mutex::new(Breaker::default()),
            amounts,
            mode,
            findings,
        })
    }

    /// Whether the breaker holds calls back.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.breaker().is_open()
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn budget(&self) -> MutexGuard<'_, Budget> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The complete answer of a call that UR did not refuse.
    async fn call(&self, call: Call<'_>) -> Result<Value, UrError> {
        let mut attempt = 1;
        loop {
            self.wait_for_budget(call.priority).await;
            let error = match self.attempt(&call).await {
                Ok(answer) => return Ok(answer),
                Err(error) if attempt >= call.attempts_max || !error.is_transient() => return Err(error),
                Err(UrError::Paused) => return Err(UrError::Paused),
                Err(error) => error,
            };
            let doubled = 2_u32.saturating_pow(attempt - 1);
            // Full jitter: callers that failed together do not return together.
            let jitter = self.randomness.within(0.5..1.5);
            if error.refusal() == Some(RefusalCode::RateLimited) {
                let pause = (RATE_LIMITED_BACKOFF * doubled).mul_f64(jitter);
                self.budget().pause(pause, self.clock.elapsed());
            } else {
                self.clock.sleep((BACKOFF * doubled).mul_f64(jitter)).await;
            }
            attempt += 1;
        }
    }

    fn note(&self, path: &'static str, unreadable: &[Malformed]) {
        let at = self.clock.now().at;
        unreadable.iter().for_each(|error| self.findings.unreadable(path, error, at));
    }

    fn decoded<T>(&self, path: &'static str, read: Result<T, Malformed>) -> Result<T, UrError> {
        read.map_err(|error| {
            self.note(path, std::slice::from_ref(&error));
            UrError::Malformed { path, error }
        })
    }

    fn text_in(&self, answer: &Value, key: &str, path: &'static str) -> Result<String, UrError> {
        let places = [answer.get("data"), answer.get("result"), Some(answer)];
        let found = places.into_iter().flatten().find_map(|place| place.get(key));
        let text = found.and_then(|value| serde_json::from_value::<Digits>(value.clone()).ok()).map(|text| text.0);
        self.decoded(path, text.filter(|text| !text.is_empty()).ok_or_else(|| Malformed(format!("{key} is missing"))))
    }

    fn transactions_in(&self, answer: &Value) -> Result<Page<Transaction>, Malformed> {
        let page = Page::read(answer, |row| Transaction::read(row, self.amounts.transactions))?;
        let other_tokens = page.rows.iter().filter(|row| row.is_none()).count();
        counter!("tapgate_ur_transactions_total", "outcome" => "other_token").increment(other_tokens as u64);
        Ok(page.flattened())
    }

    async fn wait_for_budget(&self, priority: Priority) {
        loop {
            let wait = match self.budget().take(priority, self.clock.elapsed()) {
                Ok(()) => return,
                Err(wait) => wait,
            };
            self.clock.sleep(wait).await;
        }
    }

    async fn attempt(&self, call: &Call<'_>) -> Result<Value, UrError> {
        if !self.breaker().admit(self.clock.elapsed()) {
            return Err(UrError::Paused);
        }
        let abandoned = Abandoned(self);
        let began = self.clock.running();
        let answered = self.ask(call).await;
        std::mem::forget(abandoned);
        let outcome = match &answered {
            Ok(_) => "done",
            Err(UrError::Refused { .. }) => "refused",
            Err(UrError::Timeout(_)) => "timeout",
            Err(UrError::Unreachable(_)) => "unreachable",
            Err(UrError::Malformed { .. } | UrError::Signature(_) | UrError::Unsigned(_) | UrError::Paused) => {
                "malformed"
            }
        };
        counter!("tapgate_ur_calls_total", "path" => call.path, "outcome" => outcome).increment(1);
        metrics::histogram!("tapgate_ur_call_seconds", "path" => call.path)
            .record((self.clock.running() - began).as_secs_f64());
        let failed = answered.as_ref().is_err_and(UrError::is_failure);
        let changed = self.breaker().ended(failed, self.clock.elapsed());
        if changed && failed {
            tracing::warn!(path = call.path, "UR fails repeatedly; it is asked again after a pause");
        } else if changed {
            tracing::info!("UR answers again");
        }
        metrics::gauge!("tapgate_ur_paused").set(if self.is_paused() { 1.0 } else { 0.0 });
        answered
    }

    async fn ask(&self, call: &Call<'_>) -> Result<Value, UrError> {
        let deadline = self.clock.now().at.0 / 1_000 + DEADLINE_AHEAD_SECONDS;
        let message = match call.scope {
            PartnerScope::Open => partner_message(&call.body, deadline),
            PartnerScope::ManagedCustody { ur_id, external_user_id } => {
                partner_fma_message(&call.body, ur_id, external_user_id, deadline)
            }
        };
        let url = format!("{}{}", self.base.as_str().trim_end_matches('/'), call.path);
        let mut request = Request::builder()
            .method(call.method.clone())
            .uri(url)
            .header(SIGNATURE_HEADER, self.key.sign_hex(&[&message]))
            .header(DEADLINE_HEADER, deadline.to_string())
            .header(PUBLIC_KEY_HEADER, self.key.address().to_string());
        if let PartnerScope::ManagedCustody { ur_id, external_user_id } = call.scope {
            let named = [(UR_ID_HEADER, ur_id), (EXTERNAL_USER_ID_HEADER, external_user_id)];
            for (header, id) in named.into_iter().filter(|(_, id)| !id.is_empty()) {
                request = request.header(header, id);
            }
        }
        if !call.body.is_empty() {
            request = request.header("Content-Type", "application/json");
        }
        let request = request.body(Bytes::from(call.body.clone()));
        let request = request.map_err(|error| UrError::Unreachable(format!("{}: {error}", call.path)))?;
        let carried = self.http.carry(request, ANSWER_BYTES_MAX).await;
        let Carried { status, headers, body, rest } = carried.map_err(|failure| broken(call.path, failure))?;
        match rest {
            Rest::Nothing => {}
            Rest::More => {
                let error = Malformed(format!("it is larger than {ANSWER_BYTES_MAX} bytes"));
                return Err(UrError::Malformed { path: call.path, error });
            }
            Rest::Lost(failure) => return Err(broken(call.path, failure)),
        }
        let signature = headers.get(SIGNATURE_HEADER).map(|value| value.as_bytes().to_vec());
        let refused = |kind, code, message: String| UrError::Refused { path: call.path, kind, code, message };
        let by_status = || match status.as_u16() {
            429 => Some(RefusalCode::RateLimited),
            code if code >= 500 => Some(RefusalCode::Unavailable),
            code if !(200..300).contains(&code) => Some(RefusalCode::Invalid),
            _ => None,
        };
        if let Some(signature) = signature {
            let headers = WebhookHeaders { signature: Some(&signature), ..WebhookHeaders::default() };
            let now = self.clock.now().at.0 / 1_000;
            verify_webhook(&self.signers, &headers, &body, now).map_err(|_| UrError::Signature(call.path))?;
        } else if self.require_signed_answers {
            // A refusal that nobody signed must end nothing: whoever is in between could have made it.
            return Err(match by_status() {
                Some(kind @ (RefusalCode::RateLimited | RefusalCode::Unavailable)) => {
                    refused(kind, i64::from(status.as_u16()), status.to_string())
                }
                _ => UrError::Unsigned(call.path),
            });
        }
        match read(&body) {
            Ok(Answer::Refused { code, message }) => {
                // A status that says more than an unknown code wins.
                let kind = match (RefusalCode::of(code), by_status()) {
                    (RefusalCode::Invalid, Some(status)) => status,
                    (kind, _) => kind,
                };
                if kind == RefusalCode::Signature {
                    tracing::error!(
                        path = call.path,
                        message,
                        "UR does not accept our signature: check ur.partner_key and this machine's clock"
                    );
                }
                Err(refused(kind, code, message))
            }
            Ok(Answer::Done(answer)) => match by_status() {
                None => Ok(answer),
                Some(kind) => Err(refused(kind, i64::from(status.as_u16()), status.to_string())),
            },
            Err(error) => match by_status() {
                Some(kind) => Err(refused(kind, i64::from(status.as_u16()), status.to_string())),
                None => Err(UrError::Malformed { path: call.path, error }),
            },
        }
    }
}

/// Reports a dropped call to the breaker.
struct Abandoned<'a>(&'a Client);

impl Drop for Abandoned<'_> {
    fn drop(&mut self) {
        self.0.breaker().abandoned();
    }
}

/// Names the path; the host is the configured one.
fn broken(path: &'static str, failure: Failure) -> UrError {
    match failure {
        Failure::Timeout => UrError::Timeout(path),
        Failure::Broken(what) => UrError::Unreachable(format!("{path}: {what}")),
    }
}

impl UrApi for Client {
    async fn profile(&self, user: &UrId, priority: Priority) -> Result<Profile, UrError> {
        let asked = self.mode.ask(Subject::Profile, user, Map::new());
        let answer = self.call(Call::about(&asked, priority)).await?;
        let profile = self.decoded(asked.path, Profile::read(&answer))?;
        let theirs = Malformed(format!("urId is {:?}, asked was {:?}", profile.user.as_str(), user.as_str()));
        self.decoded(asked.path, if profile.user == *user { Ok(profile) } else { Err(theirs) })
    }

    async fn balance(&self, user: &UrId, priority: Priority) -> Result<Balances, UrError> {
        let asked = self.mode.ask(Subject::Balance, user, Map::new());
        let answer = self.call(Call::about(&asked, priority)).await?;
        let balances = self.decoded(asked.path, Balances::read(&answer, self.amounts.balances))?;
        self.note(asked.path, &balances.unreadable);
        for error in &balances.unreadable {
            tracing::warn!(%user, %error, "a balance of UR cannot be read; the others are used");
        }
        Ok(balances)
    }

    fn balance_path(&self) -> &'static str {
        self.mode.path(Subject::Balance)
    }

    async fn transactions(
        &self,
        user: &UrId,
        filter: &TransactionFilter,
        at: At,
        priority: Priority,
    ) -> Result<Page<Transaction>, UrError> {
        let mut fields = Map::new();
        let mut set = |key: &str, value: Option<Value>| {
            value.map(|value| fields.insert(key.to_owned(), value));
        };
        set("pageSize", Some(filter.page_size.clamp(1, 100).into()));
        set("type", filter.kind.map(Value::from));
        set("fromTimestamp", filter.from.map(Value::from));
        if let At::After(cursor) = at {
            set("cursorTimestamp", Some(cursor.timestamp.into()));
            set("cursorId", Some(cursor.id.into()));
        }
        let asked = self.mode.ask(Subject::Transactions, user, fields);
        let answer = self.call(Call::about(&asked, priority)).await?;
        let page = self.decoded(asked.path, self.transactions_in(&answer))?;
        self.note(asked.path, &page.unreadable);
        Ok(page)
    }

    async fn transactions_of(
        &self,
        pairs: &[(UrId, String)],
        priority: Priority,
    ) -> Result<Page<Transaction>, UrError> {
        const PATH: &str = "/v1/transaction/query";
        let pairs: Vec<_> = pairs.iter().map(|(user, hash)| json!({"urId": number(user), "txHash": hash})).collect();
        let answer = self.call(Call::post(PATH, &json!({"txPairs": pairs}), priority)).await?;
        let page = self.decoded(PATH, self.transactions_in(&answer))?;
        self.note(PATH, &page.unreadable);
        Ok(page)
    }

    async fn tokens(&self, priority: Priority) -> Result<Vec<Token>, UrError> {
        const PATH: &str = "/v1/tokens";
        let (method, scope, attempts_max) = (Method::GET, PartnerScope::Open, ATTEMPTS_MAX);
        let call = Call { method, path: PATH, body: Vec::new(), scope, priority, attempts_max };
        let answer = self.call(call).await?;
        let page = self.decoded(PATH, Page::read(&answer, Token::read))?;
        self.note(PATH, &page.unreadable);
        Ok(page.rows)
    }

    async fn exchange_rate(&self, from: &str, to: &str, priority: Priority) -> Result<Rate, UrError> {
        const PATH: &str = "/v1/exchangeRate";
        let answer = self.call(Call::post(PATH, &json!({"inSymbol": from, "outSymbol": to}), priority)).await?;
        self.decoded(PATH, Rate::read(&answer))
    }

    async fn deposit_quote(&self, asked: &QuoteAsked<'_>) -> Result<DepositQuote, UrError> {
        const PATH: &str = "/v1/deposit/quote";
        let answer = self.call(Call::post(PATH, &quote(asked), Priority::High)).await?;
        self.decoded(PATH, DepositQuote::read(&answer))
    }

    async fn deposit(&self, asked: &DepositOrder) -> Result<String, UrError> {
        const PATH: &str = "/v1/deposit";
        let call = Call { attempts_max: 1, ..Call::post(PATH, &order(asked), Priority::High) };
        let answer = self.call(call).await?;
        self.text_in(&answer, "txHash", PATH)
    }
}

fn order(asked: &DepositOrder) -> Value {
    json!({
        "urId": number(&asked.user), "inputToken": asked.input, "outputToken": asked.output,
        "amount": asked.amount.to_string(), "requestId": asked.request_id,
    })
}

fn quote(asked: &QuoteAsked<'_>) -> Value {
    let QuoteAsked { user, input, output, amount } = asked;
    json!({"urId": number(user), "fromToken": input, "toToken": output, "amount": amount.to_string()})
}
