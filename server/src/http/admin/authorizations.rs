//! Authorizations: lists, shows and releases them.

use axum::Router;
use axum::routing::{get, post};
use std::ops::ControlFlow;

use axum::Json;
use axum::extract::{Path, Query, State};
use serde::Deserialize;
use serde_json::{Value, json};
use tapgate_engine::fact::{AuthorizationState, Evidence, Fact, Kind, Record};
use tapgate_engine::ids::{AuthorizationId, Sequence};
use tapgate_engine::ledger::{Change, Found, Ledger};

use super::auth::Access;
use super::idempotency::{Asked, make};
use super::paging::PageAsked;
use super::{Admin, Answer, Gate, blocking, id, no_such, shown_durable};
use crate::http::problem::Problem;
use crate::wire::admin::{ReasonForm, authorizations as wire};

/// Events shown of one authorization, the newest: its decisions and its evidence together are bounded below that.
const EVENTS_MAX: usize = 10_000;

/// Records read for one page: tens of milliseconds.
const RECORDS_PER_PAGE_MAX: usize = 200_000;

pub(super) fn routes(gate: &Gate) -> Router<Admin> {
    let read = Router::new().route("/authorizations", get(list)).route("/authorizations/{id}", get(one));
    let operate = Router::new().route("/authorizations/{id}/release", post(release));
    gate.admit(Access::Read, read).merge(gate.admit(Access::Operate, operate))
}

async fn one(State(admin): State<Admin>, Path(text): Path<String>) -> Answer {
    let id: AuthorizationId = id("authorization", &text)?;
    show(&admin, id).await
}

async fn show(admin: &Admin, id: AuthorizationId) -> Answer {
    // The history is read from the disk: no thread waits for one that is held up.
    shown_durable(&admin.app).await?;
    let shown = blocking(&admin.app.ledger, move |ledger| {
        let found = ledger.find(&id)?.ok_or_else(|| no_such("authorization", id.as_str()))?;
        let decision = decision(ledger, &found)?;
        let mut events = match &found.authorization {
            Some(row) => {
                let root = found.answer.as_ref().map_or(&id, |answer| &answer.root);
                ledger.history(root, row.sequence, EVENTS_MAX)?
            }
            None => Vec::new(),
        };
        if events.is_empty() {
            let decided = found.answer.as_ref().map(|answer| answer.decided);
            events.extend(decided.zip(decision.clone()));
        }
        Ok(wire::view(&id, &found, decision.as_ref(), &events, ledger.policy().tolerance))
    });
    shown.await.map(Json)
}

fn decision(ledger: &Ledger, found: &Found) -> Result<Option<Record>, Problem> {
    match &found.answer {
        Some(answer) => Ok(ledger.record(answer.decided)?),
        None => Ok(None),
    }
}

/// Filters of the list; all must match.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Filters {
    ur_id: Option<String>,
    card_id: Option<String>,
    state: Option<String>,
    reason: Option<String>,
    from: Option<i64>,
    to: Option<i64>,
    limit: Option<usize>,
    cursor: Option<u64>,
}

impl Filters {
    fn ask_about(&self, record: &Record) -> bool {
        let Some(request) = record.fact.request() else { return false };
        let at = record.at.seconds().0;
        self.ur_id.as_ref().is_none_or(|user| request.user.as_str() == user)
            && self.card_id.as_ref().is_none_or(|card| request.card.as_str() == card)
            && self.from.is_none_or(|from| at >= from)
            && self.to.is_none_or(|to| at <= to)
    }
}

/// The id under which a record is listed: a decision's, or the root of a tombstone that a reversal without
/// authorization left.
fn listed(record: &Record) -> Option<AuthorizationId> {
    match &record.fact {
        Fact::Decided(decided) if matches!(decided.request.kind, Kind::Authorization | Kind::Incremental) => {
            Some(decided.request.id.clone())
        }
        Fact::Settled(settled) => {
            let is_first = matches!(settled.evidence, Evidence::Announced(_)) && settled.previous == Sequence::ZERO;
            let is_tombstone = settled.change.state == AuthorizationState::Tombstoned;
            (is_first && is_tombstone).then(|| settled.root.clone())
        }
        _ => None,
    }
}

/// Newest first. A page reads a bounded part of the journal, so it may hold few items and still have a next page.
async fn list(
    State(admin): State<Admin>,
    query: Result<Query<Filters>, axum::extract::rejection::QueryRejection>,
) -> Answer {
    let Query(filters) = query.map_err(|error| Problem::Malformed(error.body_text()))?;
    let asked = PageAsked::new(filters.limit, filters.cursor)?;
    blocking(&admin.app.ledger, move |ledger| page(ledger, &filters, asked)).await.map(Json)
}

fn page(ledger: &Ledger, filters: &Filters, asked: PageAsked) -> Result<Value, Problem> {
    let mut items = Vec::new();
    let mut next = None;
    let mut read = 0;
    let mut failed = None;
    ledger.records_back(asked.before, &mut |sequence, record| {
        if items.len() == asked.limit || read == RECORDS_PER_PAGE_MAX {
            next = Some((sequence.0 + 1).to_string());
            return ControlFlow::Break(());
        }
        read += 1;
        if !filters.ask_about(&record) {
            return ControlFlow::Continue(());
        }
        match item(ledger, filters, &record) {
            Ok(shown) => items.extend(shown),
            Err(problem) => {
                failed = Some(problem);
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    })?;
    failed.map_or_else(|| Ok(json!({"items": items, "next": next})), Err)
}

fn item(ledger: &Ledger, filters: &Filters, record: &Record) -> Result<Option<Value>, Problem> {
    let Some(id) = listed(record) else { return Ok(None) };
    // One that is in quarantine keeps no other from being listed.
    let Some(found) = ledger.find_usable(&id)? else { return Ok(None) };
    let shown = wire::summary(&id, &found, Some(record).filter(|_| found.answer.is_some()));
    let is = |name: &str, wanted: &Option<String>| {
        wanted.as_ref().is_none_or(|wanted| shown.get(name).and_then(|value| value.as_str()) == Some(wanted))
    };
    let wanted = is("state", &filters.state) && is("reason", &filters.reason);
    Ok(wanted.then(|| shown.into()))
}

async fn release(State(admin): State<Admin>, Path(text): Path<String>, asked: Asked) -> Answer {
    let root: AuthorizationId = id("authorization", &text)?;
    let ReasonForm { reason } = asked.form()?;
    make(&admin, asked.author, Change::Release { root: root.clone(), reason: reason.into() }).await?;
    show(&admin, root).await
}
