//! Users: shows, funds, suspends and restricts them; imports them line by line as the body arrives. An import replaces,
//! so a broken import can be sent again.

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Extension, Path, State};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tapgate_engine::fact::Author;
use tapgate_engine::ids::UrId;
use tapgate_engine::journal::NoPlace;
use tapgate_engine::ledger::{Change, ChangeError, Receipt};
use tapgate_engine::money::Currency;

use super::auth::{Access, Caller};
use super::idempotency::{Asked, durable, make};
use super::{Admin, Answer, Gate, id, malformed, no_such};
use crate::http::problem::Problem;
use crate::wire::admin::controls::ControlsForm;
use crate::wire::admin::users::{FundsForm, ImportLine, view};
use crate::wire::admin::{SuspensionForm, parse};

/// Largest import: about 200,000 users. Split larger ones.
const IMPORT_BYTES_MAX: usize = 64 << 20;
/// Longest line: a user with 64 cards needs a tenth of it.
const LINE_BYTES_MAX: usize = 64 * 1024;
/// Lines whose records may wait for the disk at once: a small part of the journal's queue, so that taps have room.
const LINES_IN_FLIGHT_MAX: usize = 1_000;
/// Bad lines listed one by one; further ones are only counted.
const REJECTED_SHOWN_MAX: usize = 1_000;

pub(super) fn routes(gate: &Gate) -> Router<Admin> {
    let read = Router::new().route("/users/{urId}", get(one));
    let operate = Router::new()
        .route("/users/import", post(import).layer(DefaultBodyLimit::max(IMPORT_BYTES_MAX)))
        .route("/users/{urId}/funds", put(funds))
        .route("/users/{urId}/status", put(status))
        .route("/users/{urId}/controls", put(controls));
    gate.admit(Access::Read, read).merge(gate.admit(Access::Operate, operate))
}

async fn one(State(admin): State<Admin>, Path(text): Path<String>) -> Answer {
    show(&admin, &id("user", &text)?)
}

fn show(admin: &Admin, id: &UrId) -> Answer {
    let user = admin.app.ledger.user(id).ok_or_else(|| no_such("user", id.as_str()))?;
    let now = admin.app.ledger.time(admin.app.clock.now().at).seconds();
    Ok(Json(view(id, &user, now)))
}

async fn funds(State(admin): State<Admin>, Path(text): Path<String>, asked: Asked) -> Answer {
    let user: UrId = id("user", &text)?;
    let change = asked.form::<FundsForm>()?.change(user.clone()).map_err(malformed)?;
    make(&admin, asked.author, change).await?;
    show(&admin, &user)
}

async fn status(State(admin): State<Admin>, Path(text): Path<String>, asked: Asked) -> Answer {
    let user: UrId = id("user", &text)?;
    let SuspensionForm { suspended } = asked.form()?;
    make(&admin, asked.author, Change::SuspendUser { user: user.clone(), suspended }).await?;
    show(&admin, &user)
}

async fn controls(State(admin): State<Admin>, Path(text): Path<String>, asked: Asked) -> Answer {
    let user: UrId = id("user", &text)?;
    let controls = asked.form::<ControlsForm>()?.controls().map_err(malformed)?;
    make(&admin, asked.author, Change::ControlUser { user: user.clone(), controls }).await?;
    show(&admin, &user)
}

/// A running import.
struct Import<'a> {
    admin: &'a Admin,
    author: Author,
    card_currency: Currency,
    line: usize,
    imported: usize,
    rejected: Vec<Value>,
    in_flight: Vec<Receipt>,
}

async fn import(State(admin): State<Admin>, caller: Extension<Caller>, body: Body) -> Answer {
    let Extension(Caller { name, .. }) = caller;
    let author = Author::Person { name: name.as_str().into(), idempotency: None };
    let mut import = Import {
        admin: &admin,
        author,
        card_currency: admin.settings.card_currency,
        line: 0,
        imported: 0,
        rejected: Vec::new(),
        in_flight: Vec::new(),
    };
    import.read(body).await?;
    import.await_durable().await?;
    Ok(Json(json!({"imported": import.imported, "rejected": import.rejected})))
}

impl Import<'_> {
    async fn read(&mut self, mut body: Body) -> Result<(), Problem> {
        let mut rest: Vec<u8> = Vec::new();
        let mut total = 0;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Problem::Malformed("the body broke off".to_owned()))?;
            let Ok(data) = frame.into_data() else { continue };
            total += data.len();
            if total > IMPORT_BYTES_MAX {
                return Err(Problem::TooLarge { bytes_max: IMPORT_BYTES_MAX });
            }
            rest.extend_from_slice(&data);
            let Some(end) = rest.iter().rposition(|byte| *byte == b'\n') else {
                if rest.len() > LINE_BYTES_MAX {
                    return Err(Problem::Malformed(format!(
                        "line {} is longer than {LINE_BYTES_MAX} bytes",
                        self.line + 1
                    )));
                }
                continue;
            };
            let after = rest.split_off(end + 1);
            for line in rest.split_inclusive(|byte| *byte == b'\n') {
                self.take(line).await?;
            }
            rest = after;
        }
        if rest.is_empty() { Ok(()) } else { self.take(&rest).await }
    }

    async fn take(&mut self, line: &[u8]) -> Result<(), Problem> {
        self.line += 1;
        let line = line.trim_ascii();
        if line.is_empty() {
            return Ok(());
        }
        let change = parse::<ImportLine>(line).and_then(|line| line.import(self.card_currency));
        let change = match change {
            Ok(import) => Change::ImportUser(Box::new(import)),
            Err(error) => {
                self.reject(&error.0);
                return Ok(());
            }
        };
        loop {
            match self.admin.app.ledger.change(&self.author, change.clone(), self.admin.app.clock.now()) {
                Ok(receipt) => {
                    self.imported += 1;
                    self.in_flight.push(receipt);
                    break;
                }
                Err(ChangeError::NoPlace(NoPlace::Full)) if !self.in_flight.is_empty() => self.await_durable().await?,
                Err(error @ (ChangeError::Conflict(_) | ChangeError::Invalid(_))) => {
                    self.reject(&error.to_string());
                    break;
                }
                Err(error) => return Err(error.into()),
            }
        }
        if self.in_flight.len() >= LINES_IN_FLIGHT_MAX { self.await_durable().await } else { Ok(()) }
    }

    fn reject(&mut self, error: &str) {
        if self.rejected.len() < REJECTED_SHOWN_MAX {
            self.rejected.push(json!({"line": self.line, "error": error}));
        }
    }

    async fn await_durable(&mut self) -> Result<(), Problem> {
        for receipt in self.in_flight.drain(..) {
            durable(receipt).await?;
        }
        Ok(())
    }
}
