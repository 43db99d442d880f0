//! Prefunds: lists, shows, records as sent, approves and abandons them.

use axum::extract::{Extension, Path, Query, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use tapgate_engine::fact::PrefundSent;
use tapgate_engine::ids::{PrefundId, Sequence};
use tapgate_engine::ledger::{Change, Ledger, Page, PrefundChange};
use tapgate_engine::money::Currency;
use tapgate_engine::rows::Prefund;
use tapgate_engine::time::UnixMillis;

use super::auth::{Access, Caller};
use super::idempotency::{Asked, make};
use super::paging::PageAsked;
use super::views::prefunding::automatic_view;
use super::{Admin, Answer, Gate, blocking, id, malformed, no_such};
use crate::http::problem::Problem;
use crate::provider::prefunding;
use crate::treasury::calendar::DAYS_AHEAD_MAX;
use crate::wire::admin::prefunds::{CancelForm, PrefundForm, ProposalForm, view};

/// Filters of the list; all must match.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filters {
    state: Option<String>,
    currency: Option<String>,
    limit: Option<usize>,
    cursor: Option<u64>,
}

impl Filters {
    fn ask_about(&self, prefund: &Prefund, now: UnixMillis) -> bool {
        self.state.as_ref().is_none_or(|state| prefund.state(now).name() == state)
            && self.currency.as_ref().is_none_or(|currency| prefund.currency.as_str() == currency)
    }
}

pub(super) fn routes(gate: &Gate) -> Router<Admin> {
    let read = Router::new()
        .route("/prefunds", get(list))
        .route("/prefunds/automatic", get(automatic))
        .route("/prefunds/{id}", get(one));
    let treasury = Router::new()
        .route("/prefunds", post(send))
        .route("/prefunds/automatic", post(propose))
        .route("/prefunds/{id}/cancel", post(cancel));
    let approve = Router::new().route("/prefunds/{id}/approve", post(approve));
    gate.admit(Access::Read, read)
        .merge(gate.admit(Access::Treasury, treasury))
        .merge(gate.admit(Access::Approve, approve))
}

/// Newest first.
async fn list(
    State(admin): State<Admin>,
    query: Result<Query<Filters>, axum::extract::rejection::QueryRejection>,
) -> Answer {
    let Query(filters) = query.map_err(|error| Problem::Malformed(error.body_text()))?;
    let asked = PageAsked::new(filters.limit, filters.cursor)?;
    let now = now(&admin);
    let shown = blocking(&admin.app.ledger, move |ledger| {
        let found = ledger.prefunds(asked.page(), &|prefund| filters.ask_about(prefund, now))?;
        Ok(asked.answer(found, |prefund| prefund.id.0, |prefund| view(prefund, now)))
    });
    shown.await.map(Json)
}

async fn one(State(admin): State<Admin>, Path(text): Path<String>) -> Answer {
    show(&admin, id("prefund", &text)?).await
}

async fn show(admin: &Admin, id: PrefundId) -> Answer {
    let found = blocking(&admin.app.ledger, move |ledger| Ok(ledger.prefund(id)?)).await?;
    let found = found.ok_or_else(|| no_such("prefund", &id.to_string()))?;
    Ok(Json(view(&found, now(admin))))
}

fn now(admin: &Admin) -> UnixMillis {
    admin.app.ledger.time(admin.app.clock.now().at)
}

/// A person records money as sent.
async fn send(State(admin): State<Admin>, asked: Asked) -> Answer {
    let form: PrefundForm = asked.form()?;
    let sent = expected(&admin, form.sent().map_err(malformed)?)?;
    make(&admin, asked.author.clone(), Change::Prefund(PrefundChange::Send(sent))).await?;
    let (currency, reference) = form.name().map_err(malformed)?;
    let reference = reference.to_owned();
    let found = blocking(&admin.app.ledger, move |ledger| newest_of(ledger, currency, &reference)).await?;
    Ok(Json(view(&found.ok_or(Problem::Internal)?, now(&admin))))
}

/// Without an expected time from the person, takes the calendar's credit time for money sent now: a prefund without one
/// would never be overdue.
fn expected(admin: &Admin, sent: PrefundSent) -> Result<PrefundSent, Problem> {
    if sent.expected_at.is_some() {
        return Ok(sent);
    }
    let calendar = admin.app.treasury.calendar(&admin.app.ledger);
    let window = calendar.window(now(admin)).ok_or_else(|| {
        Problem::Conflict(format!(
            "no day is open for credits within {DAYS_AHEAD_MAX} days: give expectedAt, or look at the closures and \
             holidays of [treasury]"
        ))
    })?;
    Ok(PrefundSent { expected_at: Some(window.credited_at), ..sent })
}

/// The next steps of automatic prefunds, and their reasons.
async fn automatic(State(admin): State<Admin>) -> Answer {
    let looked = admin.app.prefunding.looked();
    Ok(Json(automatic_view(&admin.settings.auto_prefund, looked.as_ref())))
}

/// A person proposes a top-up to order from UR: like tapgate's own, but in every mode a treasurer must approve it.
async fn propose(State(admin): State<Admin>, asked: Asked) -> Answer {
    let form: ProposalForm = asked.form()?;
    let mode = admin.settings.auto_prefund.mode;
    if !mode.orders() {
        return Err(Problem::Conflict(format!(
            "nothing is ordered from UR while [treasury.auto_prefund] mode is {}: set it to approval, or send the money by hand",
            mode.name()
        )));
    }
    let change = form.change(prefunding::request_id(&admin.app.randomness)).map_err(malformed)?;
    let PrefundChange::Propose(proposed) = &change else { return Err(Problem::Internal) };
    let (currency, reference, by) = (proposed.currency, proposed.reference.clone(), asked.author.name().to_owned());
    make(&admin, asked.author, Change::Prefund(change)).await?;
    let found = blocking(&admin.app.ledger, move |ledger| {
        // A request repeated under its idempotency key proposes nothing new.
        let made = newest_of(ledger, currency, &reference)?;
        made.map_or_else(|| newest_by(ledger, currency, &by), |made| Ok(Some(made)))
    });
    Ok(Json(view(&found.await?.ok_or(Problem::Internal)?, now(&admin))))
}

/// The newest prefund of a currency with this reference.
fn newest_of(ledger: &Ledger, currency: Currency, reference: &str) -> Result<Option<Prefund>, Problem> {
    let named = |prefund: &Prefund| prefund.currency == currency && prefund.reference == reference;
    Ok(ledger.prefunds(Page { before: Sequence(u64::MAX), limit: 1 }, &named)?.pop())
}

/// The newest prefund of a currency that this author proposed.
fn newest_by(ledger: &Ledger, currency: Currency, by: &str) -> Result<Option<Prefund>, Problem> {
    let own =
        |prefund: &Prefund| prefund.currency == currency && prefund.proposed.as_ref().is_some_and(|step| step.by == by);
    Ok(ledger.prefunds(Page { before: Sequence(u64::MAX), limit: 1 }, &own)?.pop())
}

async fn approve(State(admin): State<Admin>, Path(text): Path<String>, asked: Asked) -> Answer {
    let id = id("prefund", &text)?;
    make(&admin, asked.author, Change::Prefund(PrefundChange::Approve { id })).await?;
    show(&admin, id).await
}

async fn cancel(
    State(admin): State<Admin>,
    Extension(caller): Extension<Caller>,
    Path(text): Path<String>,
    asked: Asked,
) -> Answer {
    let id = id("prefund", &text)?;
    let CancelForm { reason, not_executed } = asked.form_or_default()?;
    let found = blocking(&admin.app.ledger, move |ledger| Ok(ledger.prefund(id)?)).await?;
    let may_have_left = found
        .is_some_and(|prefund| prefund.request_id.is_some() && (prefund.ordered.is_some() || prefund.sent.is_some()));
    // Without this prefund tapgate orders the same amount anew, so abandoning it needs an approver's role.
    if may_have_left || not_executed {
        caller.may(Access::Approve)?;
    }
    make(&admin, asked.author, Change::Prefund(PrefundChange::Cancel { id, reason: reason.into(), not_executed }))
        .await?;
    show(&admin, id).await
}
