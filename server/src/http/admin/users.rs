//! Users: shows, funds, suspends and restricts them; imports them line by line as the body arrives. An import replaces,
//! so a broken import can be sent again.

use std::collections::HashSet;

use axum::body::Body;
use axum::extract::{Extension, Path, State};
use axum::routing::{delete, get, post, put};
use axum::{Json, Router};
use http_body_util::BodyExt;
use hyper::body::Body as _;
use serde_json::json;
use tapgate_engine::fact::{Author, Import};
use tapgate_engine::ids::{CardId, UrId};
use tapgate_engine::journal::NoPlace;
use tapgate_engine::ledger::{Change, ChangeError, Receipt};
use tapgate_engine::money::Currency;
use tapgate_engine::person::Person;

use super::auth::{Access, Caller};
use super::idempotency::{Asked, durable, make};
use super::{Admin, Answer, Gate, blocking, id, malformed, no_such};
use crate::http::problem::Problem;
use crate::wire::admin::controls::ControlsForm;
use crate::wire::admin::users::{FundsForm, ImportLine, view};
use crate::wire::admin::{SuspensionForm, parse};

/// Largest import that comes with its length, about 200,000 users. Larger ones are split, or streamed.
const IMPORT_BYTES_MAX: usize = 64 << 20;
/// Longest line: a user with 64 cards needs a tenth of it.
const LINE_BYTES_MAX: usize = 64 * 1024;
/// Lines that are imported together: what names their users is one write, and their records wait for the disk at once. A
/// small part of the journal's queue, so that taps have room.
const LINES_TOGETHER_MAX: usize = 1_000;
/// Bad lines listed one by one; further ones are only counted.
const REJECTED_SHOWN_MAX: usize = 1_000;

pub(super) fn routes(gate: &Gate) -> Router<Admin> {
    let read = Router::new().route("/users/{urId}", get(one));
    let operate = Router::new()
        .route("/users/import", post(import))
        .route("/users/{urId}/funds", put(funds))
        .route("/users/{urId}/status", put(status))
        .route("/users/{urId}/controls", put(controls))
        .route("/users/{urId}/person", delete(erase));
    gate.admit(Access::Read, read).merge(gate.admit(Access::Operate, operate))
}

async fn one(State(admin): State<Admin>, Path(text): Path<String>) -> Answer {
    show(&admin, &id("user", &text)?).await
}

async fn show(admin: &Admin, id: &UrId) -> Answer {
    let user = admin.app.ledger.user(id).ok_or_else(|| no_such("user", id.as_str()))?;
    let now = admin.app.ledger.time(admin.app.clock.now().at).seconds();
    let of = id.clone();
    let person = blocking(&admin.app.ledger, move |ledger| Ok(ledger.person(&of)?)).await?;
    Ok(Json(view(id, &user, &person, now)))
}

async fn funds(State(admin): State<Admin>, Path(text): Path<String>, asked: Asked) -> Answer {
    let user: UrId = id("user", &text)?;
    let change = asked.form::<FundsForm>()?.change(user.clone()).map_err(malformed)?;
    make(&admin, asked.author, change).await?;
    show(&admin, &user).await
}

async fn status(State(admin): State<Admin>, Path(text): Path<String>, asked: Asked) -> Answer {
    let user: UrId = id("user", &text)?;
    let SuspensionForm { suspended } = asked.form()?;
    make(&admin, asked.author, Change::SuspendUser { user: user.clone(), suspended }).await?;
    show(&admin, &user).await
}

async fn controls(State(admin): State<Admin>, Path(text): Path<String>, asked: Asked) -> Answer {
    let user: UrId = id("user", &text)?;
    let controls = asked.form::<ControlsForm>()?.controls().map_err(malformed)?;
    make(&admin, asked.author, Change::ControlUser { user: user.clone(), controls }).await?;
    show(&admin, &user).await
}

/// Erases what names the person; the answer is what is left of it. Asking again is harmless.
async fn erase(State(admin): State<Admin>, Path(text): Path<String>, asked: Asked) -> Answer {
    let user: UrId = id("user", &text)?;
    let (erased, now) = (user.clone(), admin.app.clock.now());
    let receipt =
        blocking(&admin.app.ledger, move |ledger| Ok(ledger.erase_person(&asked.author, &erased, now)?)).await?;
    durable(receipt).await?;
    Ok(Json(json!({"urId": user.as_str(), "externalId": null, "label": null})))
}

/// A line of an import, with its number.
struct Line {
    number: usize,
    import: Box<Import>,
    person: Person,
}

/// Consecutive lines. Of those that name a user, none is about a user or a card of an earlier one: its check holds until
/// it is imported.
#[derive(Default)]
struct Together {
    lines: Vec<Line>,
    users: HashSet<UrId>,
    cards: HashSet<CardId>,
}

impl Together {
    fn overlaps(&self, line: &Line) -> bool {
        self.users.contains(&line.import.user) || line.import.cards.iter().any(|card| self.cards.contains(&card.id))
    }

    fn push(&mut self, line: Line) {
        self.users.insert(line.import.user.clone());
        self.cards.extend(line.import.cards.iter().map(|card| card.id.clone()));
        self.lines.push(line);
    }
}

/// A running import.
struct Importing<'a> {
    admin: &'a Admin,
    author: Author,
    card_currency: Currency,
    line: usize,
    imported: usize,
    /// By line.
    rejected: Vec<(usize, String)>,
    together: Together,
}

async fn import(State(admin): State<Admin>, caller: Extension<Caller>, body: Body) -> Answer {
    let Extension(Caller { name, .. }) = caller;
    // Nobody should find out at the last line. Without a length the body is a stream, which has no bound.
    if body.size_hint().lower() > IMPORT_BYTES_MAX as u64 {
        return Err(Problem::TooLarge { bytes_max: IMPORT_BYTES_MAX });
    }
    let author = Author::Person { name: name.as_str().into(), idempotency: None };
    let mut import = Importing {
        admin: &admin,
        author,
        card_currency: admin.settings.card_currency,
        line: 0,
        imported: 0,
        rejected: Vec::new(),
        together: Together::default(),
    };
    import.read(body).await?;
    import.import_together().await?;
    import.rejected.sort_unstable();
    let rejected = import.rejected.iter().map(|(line, error)| json!({"line": line, "error": error}));
    Ok(Json(json!({"imported": import.imported, "rejected": rejected.collect::<Vec<_>>()})))
}

impl Importing<'_> {
    async fn read(&mut self, mut body: Body) -> Result<(), Problem> {
        let mut rest: Vec<u8> = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Problem::Malformed("the body broke off".to_owned()))?;
            let Ok(data) = frame.into_data() else { continue };
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
        let parsed = parse::<ImportLine>(line).and_then(|line| Ok((line.import(self.card_currency)?, line.person()?)));
        let (import, person) = match parsed {
            Ok((import, person)) => (Box::new(import), person),
            Err(error) => {
                self.reject(self.line, error.0);
                return Ok(());
            }
        };
        let line = Line { number: self.line, import, person };
        if self.together.lines.len() >= LINES_TOGETHER_MAX {
            self.import_together().await?;
        }
        match self.check(&line).await? {
            Ok(()) => self.together.push(line),
            Err(error) => self.reject(line.number, error.to_string()),
        }
        Ok(())
    }

    /// A refused line must not change what names its user, so a line that names one is checked before, and after the
    /// lines that may change how it ends.
    async fn check(&mut self, line: &Line) -> Result<Result<(), ChangeError>, Problem> {
        if line.person.is_empty() {
            return Ok(Ok(()));
        }
        let checked = self.admin.app.ledger.check_import(&line.import);
        if checked.is_ok() && !self.together.overlaps(line) {
            return Ok(Ok(()));
        }
        // An earlier line may take the card, or free it.
        self.import_together().await?;
        Ok(self.admin.app.ledger.check_import(&line.import))
    }

    /// What names the users is durable before the first of their records.
    async fn import_together(&mut self) -> Result<(), Problem> {
        // As for a tap. What was imported before stands, and the import can be sent again.
        self.admin.app.health.admit()?;
        let Together { lines, .. } = std::mem::take(&mut self.together);
        let named = lines.iter().filter(|line| !line.person.is_empty());
        let persons: Vec<_> = named.map(|line| (line.import.user.clone(), line.person.clone())).collect();
        if !persons.is_empty() {
            blocking(&self.admin.app.ledger, move |ledger| Ok(ledger.keep_persons(&persons)?)).await?;
        }
        let mut in_flight = Vec::new();
        for line in lines {
            self.import_one(line, &mut in_flight).await?;
        }
        await_durable(&mut in_flight).await
    }

    async fn import_one(&mut self, line: Line, in_flight: &mut Vec<Receipt>) -> Result<(), Problem> {
        let change = Change::ImportUser(line.import);
        loop {
            match self.admin.app.ledger.change(&self.author, change.clone(), self.admin.app.clock.now()) {
                Ok(receipt) => {
                    self.imported += 1;
                    in_flight.push(receipt);
                    return Ok(());
                }
                Err(ChangeError::NoPlace(NoPlace::Full)) if !in_flight.is_empty() => await_durable(in_flight).await?,
                Err(error @ (ChangeError::Conflict(_) | ChangeError::Invalid(_))) => {
                    self.reject(line.number, error.to_string());
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn reject(&mut self, line: usize, error: String) {
        if self.rejected.len() < REJECTED_SHOWN_MAX {
            self.rejected.push((line, error));
        }
    }
}

async fn await_durable(in_flight: &mut Vec<Receipt>) -> Result<(), Problem> {
    for receipt in in_flight.drain(..) {
        durable(receipt).await?;
    }
    Ok(())
}
