//! Breaks: lists and shows them; a person resolves or links one.

use axum::extract::{Path, Query, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;
use tapgate_engine::fact::{BreakAnswer, BreakKind, Closing, Fact};
use tapgate_engine::ids::{AuthorizationId, BreakId};
use tapgate_engine::ledger::Change;
use tapgate_engine::rows::Break;

use super::auth::Access;
use super::idempotency::{Asked, make};
use super::{Admin, Answer, Gate, blocking, id, no_such};
use crate::http::problem::Problem;
use crate::wire::admin::breaks::view;
use crate::wire::admin::reason;

/// Filters of the list; all must match.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filters {
    kind: Option<String>,
}

/// The resolution of a break.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ResolveForm {
    /// At most 1,024 bytes.
    #[serde(default, deserialize_with = "reason")]
    reason: String,
    outcome: Option<Outcome>,
}

/// The outcome of a missing return, or of a movement that stands alone.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    WillCome,
    WrittenOff,
    Charged,
}

impl Outcome {
    fn closing(self) -> Closing {
        match self {
            Outcome::WillCome => Closing::WillCome,
            Outcome::WrittenOff => Closing::WrittenOff,
            Outcome::Charged => Closing::Charged,
        }
    }

    /// The one kind of break that it answers.
    fn kind(self) -> BreakKind {
        match self {
            Outcome::WillCome | Outcome::WrittenOff => BreakKind::ReturnMissing,
            Outcome::Charged => BreakKind::OrphanAtProvider,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct LinkForm {
    authorization_id: String,
}

pub(super) fn routes(gate: &Gate) -> Router<Admin> {
    let read = Router::new().route("/breaks", get(list)).route("/breaks/{id}", get(one));
    let operate = Router::new().route("/breaks/{id}/resolve", post(resolve)).route("/breaks/{id}/link", post(link));
    gate.admit(Access::Read, read).merge(gate.admit(Access::Operate, operate))
}

/// Open breaks, oldest first.
async fn list(
    State(admin): State<Admin>,
    query: Result<Query<Filters>, axum::extract::rejection::QueryRejection>,
) -> Answer {
    let Query(Filters { kind }) = query.map_err(|error| Problem::Malformed(error.body_text()))?;
    let now = admin.app.clock.now().at;
    let open = admin.app.ledger.open_breaks();
    let wanted = open.iter().filter(|found| kind.as_ref().is_none_or(|kind| found.discrepancy.kind.name() == kind));
    Ok(Json(json!({"items": wanted.map(|found| view(found, now)).collect::<Vec<_>>(), "next": null})))
}

async fn one(State(admin): State<Admin>, Path(text): Path<String>) -> Answer {
    show(&admin, id("break", &text)?).await
}

async fn show(admin: &Admin, id: BreakId) -> Answer {
    let now = admin.app.clock.now().at;
    let found = blocking(&admin.app.ledger, move |ledger| Ok(ledger.break_by_id(id)?)).await?;
    let found = found.ok_or_else(|| no_such("break", &id.to_string()))?;
    Ok(Json(view(&found, now)))
}

/// Resolves a break, with the outcome of the question that UR leaves open.
async fn resolve(State(admin): State<Admin>, Path(text): Path<String>, asked: Asked) -> Answer {
    let id: BreakId = id("break", &text)?;
    let ResolveForm { reason, outcome } = asked.form()?;
    let Some(outcome) = outcome else {
        let known = blocking(&admin.app.ledger, move |ledger| Ok(ledger.break_by_id(id)?.is_some()));
        if !known.await? {
            return Err(no_such("break", &text));
        }
        make(&admin, asked.author, Change::ResolveBreak { id, reason: reason.into() }).await?;
        return show(&admin, id).await;
    };
    let (found, root) = root_of(&admin, id).await?;
    let (closing, kind, wanted) = (outcome.closing(), found.discrepancy.kind, outcome.kind());
    if kind != wanted {
        let (outcome, kind, wanted) = (closing.name(), kind.name(), wanted.name());
        return Err(Problem::Malformed(format!("outcome {outcome} answers {wanted}; this break is {kind}")));
    }
    let answer = BreakAnswer { id, reason: reason.into() };
    make(&admin, asked.author, Change::AnswerBreak { root, closing, answer }).await?;
    show(&admin, id).await
}

/// Links a movement that stands alone with the authorization that it belongs to.
async fn link(State(admin): State<Admin>, Path(text): Path<String>, asked: Asked) -> Answer {
    let id: BreakId = id("break", &text)?;
    let LinkForm { authorization_id } = asked.form()?;
    let to: AuthorizationId = super::id("authorization", &authorization_id)?;
    let (_, from) = root_of(&admin, id).await?;
    make(&admin, asked.author, Change::Link { from, to }).await?;
    show(&admin, id).await
}

/// A break, and the authorization whose evidence opened it.
async fn root_of(admin: &Admin, id: BreakId) -> Result<(Break, AuthorizationId), Problem> {
    let found = blocking(&admin.app.ledger, move |ledger| {
        let found = ledger.break_by_id(id)?;
        Ok(found.zip(ledger.record(id.opened)?))
    });
    let (found, record) = found.await?.ok_or_else(|| no_such("break", &id.to_string()))?;
    // Only evidence names an authorization: other breaks are about accounts and pools.
    let root = match &record.fact {
        Fact::Settled(settled) => Some(settled.root.clone()),
        Fact::Decided(decided) => Some(decided.request.root().clone()),
        _ => None,
    };
    let root = root.ok_or_else(|| Problem::Conflict(format!("break {id} is not about an authorization")))?;
    Ok((found, root))
}
