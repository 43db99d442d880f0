//! PUT and POST: each makes one record and answers once it is durable, with the resource as it is then.

use axum::Json;
use axum::body::Bytes;
use axum::extract::FromRequest;
use axum::extract::{Extension, Path, Request, State};
use hyper::StatusCode;
use hyper::header::HeaderMap;
use serde::de::DeserializeOwned;
use tapgate_engine::ids::{AuthorizationId, CardId, UrId};
use tapgate_engine::journal::Settled;
use tapgate_engine::ledger::{Change, Receipt};
use tapgate_engine::money::Currency;
use tapgate_engine::record::{Author, Fingerprint, IdempotencyKey};

use super::auth::Caller;
use super::read::{id, no_such, show_authorization, show_pool, show_user};
use super::{Admin, Answer};
use crate::rescue::Problem;
use crate::wire::admin::controls::ControlsForm;
use crate::wire::admin::pools::{CreditForm, RatesForm, ReportForm, rates_view};
use crate::wire::admin::users::{CardChangeForm, FundsForm, card_view};
use crate::wire::admin::{ProgramForm, ReasonForm, SuspensionForm, parse};

/// The header that makes a repeated request one change.
const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Its longest value.
const IDEMPOTENCY_KEY_BYTES_MAX: usize = 128;

/// A change as it came: its body, and its author.
pub(super) struct Asked {
    body: Bytes,
    pub(super) author: Author,
}

impl<S: Send + Sync> FromRequest<S> for Asked {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Asked, Problem> {
        let name = request.extensions().get::<Caller>().map(|caller| caller.name.as_str().into());
        let name: compact_str::CompactString = name.ok_or(Problem::Unauthorized)?;
        let route = format!("{} {}\n", request.method(), request.uri().path());
        let key = idempotency_key(request.headers())?;
        let body = Bytes::from_request(request, state).await.map_err(|error| match error.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Problem::TooLarge { bytes_max: super::BODY_BYTES_MAX },
            _ => Problem::Malformed(error.body_text()),
        })?;
        let idempotency =
            key.map(|key| IdempotencyKey { key, fingerprint: Fingerprint::of(&[route.as_bytes(), &body].concat()) });
        Ok(Asked { body, author: Author::Person { name, idempotency } })
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<compact_str::CompactString>, Problem> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let key = value.to_str().ok().filter(|key| (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&key.len()));
    key.map(|key| Some(key.into())).ok_or_else(|| {
        Problem::BadRequest(format!("Idempotency-Key must be 1 to {IDEMPOTENCY_KEY_BYTES_MAX} printable characters"))
    })
}

impl Asked {
    pub(super) fn form<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        parse(&self.body).map_err(|error| Problem::Malformed(error.to_string()))
    }

    /// As [`Asked::form`], where nothing need be said.
    pub(super) fn form_or_default<T: DeserializeOwned + Default>(&self) -> Result<T, Problem> {
        if self.body.is_empty() { Ok(T::default()) } else { self.form() }
    }
}

fn malformed(error: crate::wire::Malformed) -> Problem {
    Problem::Malformed(error.0)
}

/// A pool is opened by its first report, so what is no currency is a mistake and not merely absent.
fn currency(code: &str) -> Result<Currency, Problem> {
    code.parse().map_err(|error| Problem::BadRequest(format!("{code:?}: {error}")))
}

/// Makes a change and waits until it is durable.
pub(super) async fn make(admin: &Admin, author: Author, change: Change) -> Result<(), Problem> {
    let now = admin.app.clock.now();
    let receipt = super::read::blocking(&admin.app.ledger, move |ledger| Ok(ledger.change(&author, change, now)?));
    durable(receipt.await?).await
}

pub(super) async fn durable(receipt: Receipt) -> Result<(), Problem> {
    match receipt.word {
        Some(word) if word.wait().await == Settled::Failed => Err(Problem::OutcomeUnknown),
        _ => Ok(()),
    }
}

pub(super) async fn pool(State(admin): State<Admin>, Path(code): Path<String>, asked: Asked) -> Answer {
    let currency = currency(&code)?;
    let change = asked.form::<ReportForm>()?.change(currency).map_err(malformed)?;
    make(&admin, asked.author, change).await?;
    show_pool(&admin, currency)
}

pub(super) async fn credit(State(admin): State<Admin>, Path(code): Path<String>, asked: Asked) -> Answer {
    let currency = currency(&code)?;
    let change = asked.form::<CreditForm>()?.change(currency).map_err(malformed)?;
    make(&admin, asked.author, change).await?;
    show_pool(&admin, currency)
}

pub(super) async fn rates(State(admin): State<Admin>, asked: Asked) -> Answer {
    let rates = asked.form::<RatesForm>()?.rates().map_err(malformed)?;
    make(&admin, asked.author, Change::ReplaceRates(Box::new(rates))).await?;
    Ok(Json(rates_view(&admin.app.ledger.program().rates)))
}

pub(super) async fn program(State(admin): State<Admin>, asked: Asked) -> Answer {
    let ProgramForm { suspended, reason } = asked.form()?;
    make(&admin, asked.author, Change::SuspendProgram { suspended, reason: reason.into() }).await?;
    super::read::program(State(admin)).await
}

pub(super) async fn funds(State(admin): State<Admin>, Path(text): Path<String>, asked: Asked) -> Answer {
    let user: UrId = id("user", &text)?;
    let change = asked.form::<FundsForm>()?.change(user.clone()).map_err(malformed)?;
    make(&admin, asked.author, change).await?;
    show_user(&admin, &user)
}

pub(super) async fn user_status(State(admin): State<Admin>, Path(text): Path<String>, asked: Asked) -> Answer {
    let user: UrId = id("user", &text)?;
    let SuspensionForm { suspended } = asked.form()?;
    make(&admin, asked.author, Change::SuspendUser { user: user.clone(), suspended }).await?;
    show_user(&admin, &user)
}

pub(super) async fn user_controls(State(admin): State<Admin>, Path(text): Path<String>, asked: Asked) -> Answer {
    let user: UrId = id("user", &text)?;
    let controls = asked.form::<ControlsForm>()?.controls().map_err(malformed)?;
    make(&admin, asked.author, Change::ControlUser { user: user.clone(), controls }).await?;
    show_user(&admin, &user)
}

pub(super) async fn card(State(admin): State<Admin>, Path(text): Path<String>, asked: Asked) -> Answer {
    let card: CardId = id("card", &text)?;
    let (status, controls) = asked.form::<CardChangeForm>()?.parts().map_err(malformed)?;
    let status = status.map(|status| Change::ChangeCard { card: card.clone(), status });
    let controls = controls.map(|controls| Change::ControlCard { card: card.clone(), controls });
    let mut author = asked.author;
    for change in [status, controls].into_iter().flatten() {
        make(&admin, author.clone(), change).await?;
        // One key names one record; what follows in the same request repeats without harm.
        if let Author::Person { idempotency, .. } = &mut author {
            *idempotency = None;
        }
    }
    show_card(&admin, &card)
}

pub(super) async fn card_controls(State(admin): State<Admin>, Path(text): Path<String>, asked: Asked) -> Answer {
    let card: CardId = id("card", &text)?;
    let controls = asked.form::<ControlsForm>()?.controls().map_err(malformed)?;
    make(&admin, asked.author, Change::ControlCard { card: card.clone(), controls }).await?;
    show_card(&admin, &card)
}

fn show_card(admin: &Admin, card: &CardId) -> Answer {
    let owner = admin.app.ledger.card_owner(card).and_then(|owner| admin.app.ledger.user(&owner));
    let shown = owner.as_ref().and_then(|owner| owner.card(card)).map(card_view);
    shown.map(Json).ok_or_else(|| no_such("card", card.as_str()))
}

pub(super) async fn release(State(admin): State<Admin>, Path(text): Path<String>, asked: Asked) -> Answer {
    let root: AuthorizationId = id("authorization", &text)?;
    let ReasonForm { reason } = asked.form()?;
    make(&admin, asked.author, Change::Release { root: root.clone(), reason: reason.into() }).await?;
    show_authorization(&admin, root).await
}

/// The caller, for handlers that make many changes.
pub(super) fn author_of(Extension(caller): &Extension<Caller>) -> Author {
    Author::Person { name: caller.name.as_str().into(), idempotency: None }
}
