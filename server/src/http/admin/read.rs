//! GET.

use std::ops::ControlFlow;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use serde::Deserialize;
use serde_json::json;
use tapgate_engine::authorization::Kind;
use tapgate_engine::ids::{AuthorizationId, Sequence, UrId};
use tapgate_engine::ledger::{Found, Ledger, Page};
use tapgate_engine::money::Currency;
use tapgate_engine::record::{Fact, Record, ReturnCause};

use super::{Admin, Answer};
use crate::rescue::Problem;
use crate::wire::admin::{authorizations as wire, journal as journal_wire, pools as pools_wire, users as users_wire};

/// Records that one page of a list looks at: tens of milliseconds of reading.
const RECORDS_PER_PAGE_MAX: usize = 200_000;
/// Items on a page, unless asked for fewer or more.
const ITEMS_DEFAULT: usize = 100;
/// Items on a page at most.
const ITEMS_MAX: usize = 1_000;
/// Records in one answer of the journal, unless asked for fewer.
const JOURNAL_RECORDS_MAX: usize = 10_000;

/// Runs what reads the disk off the async threads.
pub(super) async fn blocking<T: Send + 'static>(
    ledger: &Arc<Ledger>,
    read: impl FnOnce(&Ledger) -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let ledger = Arc::clone(ledger);
    tokio::task::spawn_blocking(move || read(&ledger)).await.map_err(|_| Problem::Internal)?
}

pub(super) fn no_such(what: &str, id: &str) -> Problem {
    Problem::NotFound(format!("there is no {what} {id}"))
}

/// An id in a path that cannot be one names nothing.
pub(super) fn id<T: std::str::FromStr>(what: &str, text: &str) -> Result<T, Problem> {
    text.parse().map_err(|_| no_such(what, text))
}

pub(super) async fn user(State(admin): State<Admin>, Path(text): Path<String>) -> Answer {
    show_user(&admin, &id("user", &text)?)
}

pub(super) fn show_user(admin: &Admin, id: &UrId) -> Answer {
    let user = admin.app.ledger.user(id).ok_or_else(|| no_such("user", id.as_str()))?;
    let now = admin.app.ledger.time(admin.app.clock.now().at).seconds();
    Ok(Json(users_wire::view(id, &user, now)))
}

pub(super) async fn pools(State(admin): State<Admin>) -> Answer {
    let mut pools = admin.app.ledger.pools();
    pools.sort_by_key(|pool| pool.currency);
    let items: Vec<_> = pools.iter().map(pools_wire::view).collect();
    Ok(Json(json!({"items": items, "next": null})))
}

pub(super) async fn pool(State(admin): State<Admin>, Path(code): Path<String>) -> Answer {
    show_pool(&admin, id("pool", &code)?)
}

pub(super) fn show_pool(admin: &Admin, currency: Currency) -> Answer {
    let pool = admin.app.ledger.pool(currency).ok_or_else(|| no_such("pool", currency.as_str()))?;
    Ok(Json(pools_wire::view(&pool)))
}

pub(super) async fn rates(State(admin): State<Admin>) -> Answer {
    Ok(Json(pools_wire::rates_view(&admin.app.ledger.program().rates)))
}

pub(super) async fn program(State(admin): State<Admin>) -> Answer {
    let program = admin.app.ledger.program();
    Ok(Json(json!({"suspended": program.suspended, "reason": program.reason.as_str()})))
}

pub(super) async fn stats(State(admin): State<Admin>) -> Answer {
    let ledger = &admin.app.ledger;
    Ok(Json(json!({
        "users": ledger.user_count(),
        "pools": ledger.pools().len(),
        "journal": {"claimed": ledger.journal().claimed().0, "durable": ledger.journal().durable().0},
    })))
}

pub(super) async fn authorization(State(admin): State<Admin>, Path(text): Path<String>) -> Answer {
    let id: AuthorizationId = id("authorization", &text)?;
    show_authorization(&admin, id).await
}

pub(super) async fn show_authorization(admin: &Admin, id: AuthorizationId) -> Answer {
    let shown = blocking(&admin.app.ledger, move |ledger| {
        let found = ledger.find(&id)?.ok_or_else(|| no_such("authorization", id.as_str()))?;
        let decision = decision(ledger, &found)?;
        let mut events = Vec::new();
        for sequence in found.authorization.iter().flat_map(|row| &row.events) {
            events.extend(ledger.record(*sequence)?.map(|record| (*sequence, record)));
        }
        if events.is_empty() {
            let decided = found.answer.as_ref().map(|answer| answer.decided);
            events.extend(decided.zip(decision.clone()));
        }
        Ok(wire::view(&id, &found, decision.as_ref(), &events))
    });
    shown.await.map(Json)
}

fn decision(ledger: &Ledger, found: &Found) -> Result<Option<Record>, Problem> {
    match &found.answer {
        Some(answer) => Ok(ledger.record(answer.decided)?),
        None => Ok(None),
    }
}

/// Which part of a list is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct PageAsked {
    before: Sequence,
    limit: usize,
}

impl PageAsked {
    /// As a request gives it: items on a page, and the `next` of the page before.
    pub(super) fn new(limit: Option<usize>, cursor: Option<u64>) -> Result<PageAsked, Problem> {
        let limit = limit.unwrap_or(ITEMS_DEFAULT);
        if !(1..=ITEMS_MAX).contains(&limit) {
            return Err(Problem::BadRequest(format!("limit must be 1 to {ITEMS_MAX}")));
        }
        Ok(PageAsked { before: Sequence(cursor.unwrap_or(u64::MAX)), limit })
    }

    /// The page to read: one item more than is shown, to know whether there is a next one.
    pub(super) fn page(self) -> Page {
        Page { before: self.before, limit: self.limit + 1 }
    }

    /// The list's answer, of what that page held.
    pub(super) fn answer<T>(
        self,
        mut found: Vec<T>,
        begun: impl Fn(&T) -> Sequence,
        view: impl Fn(&T) -> serde_json::Value,
    ) -> serde_json::Value {
        let more = found.len() > self.limit;
        found.truncate(self.limit);
        let next = found.last().filter(|_| more).map(|last| begun(last).to_string());
        json!({"items": found.iter().map(view).collect::<Vec<_>>(), "next": next})
    }
}

/// Filters of the list; all must hold.
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
        let Some(request) = wire::request_of(&record.fact) else { return false };
        let at = record.at.seconds().0;
        self.ur_id.as_ref().is_none_or(|user| request.user.as_str() == user)
            && self.card_id.as_ref().is_none_or(|card| request.card.as_str() == card)
            && self.from.is_none_or(|from| at >= from)
            && self.to.is_none_or(|to| at <= to)
    }
}

/// The id that a record lists: a decision's, or the root that a reversal without authorization left a tombstone for.
fn listed(record: &Record) -> Option<AuthorizationId> {
    match &record.fact {
        Fact::Decided(decided) if matches!(decided.request.kind, Kind::Authorization | Kind::Incremental) => {
            Some(decided.request.id.clone())
        }
        Fact::Returned(returned) => match &returned.cause {
            ReturnCause::Requested { .. } if returned.user.is_none() && !returned.mismatch => {
                Some(returned.root.clone())
            }
            _ => None,
        },
        _ => None,
    }
}

/// Newest first. A page looks at a bounded part of the journal, so it may hold few items and still name a next page.
pub(super) async fn authorizations(
    State(admin): State<Admin>,
    query: Result<Query<Filters>, axum::extract::rejection::QueryRejection>,
) -> Answer {
    let Query(filters) = query.map_err(|error| Problem::Malformed(error.body_text()))?;
    let asked = PageAsked::new(filters.limit, filters.cursor)?;
    blocking(&admin.app.ledger, move |ledger| page(ledger, &filters, asked)).await.map(Json)
}

fn page(ledger: &Ledger, filters: &Filters, asked: PageAsked) -> Result<serde_json::Value, Problem> {
    let mut items = Vec::new();
    let mut next = None;
    let mut read = 0;
    let mut failed = None;
    ledger.records_back(asked.before, &mut |sequence, record, _| {
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

fn item(ledger: &Ledger, filters: &Filters, record: &Record) -> Result<Option<serde_json::Value>, Problem> {
    let Some(id) = listed(record) else { return Ok(None) };
    let Some(found) = ledger.find(&id)? else { return Ok(None) };
    let shown = wire::summary(&id, &found, Some(record).filter(|_| found.answer.is_some()));
    let is = |name: &str, wanted: &Option<String>| {
        wanted.as_ref().is_none_or(|wanted| shown.get(name).and_then(|value| value.as_str()) == Some(wanted))
    };
    let wanted = is("state", &filters.state) && is("reason", &filters.reason);
    Ok(wanted.then(|| shown.into()))
}

/// Where to read the journal.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Part {
    #[serde(default)]
    from: u64,
    limit: Option<usize>,
}

/// The durable records after `from`, one JSON object a line.
pub(super) async fn journal(
    State(admin): State<Admin>,
    query: Result<Query<Part>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Problem> {
    let Query(part) = query.map_err(|error| Problem::Malformed(error.body_text()))?;
    let limit = part.limit.unwrap_or(JOURNAL_RECORDS_MAX).min(JOURNAL_RECORDS_MAX);
    let lines = blocking(&admin.app.ledger, move |ledger| {
        let mut lines = String::new();
        let mut left = limit;
        ledger.records(Sequence(part.from), &mut |sequence, record, _| {
            if left == 0 {
                return ControlFlow::Break(());
            }
            left -= 1;
            lines.push_str(&journal_wire::entry(sequence, &record).to_string());
            lines.push('\n');
            ControlFlow::Continue(())
        })?;
        Ok(lines)
    });
    let mut response = lines.await?.into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    Ok(response)
}
