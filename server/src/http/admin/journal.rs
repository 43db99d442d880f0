//! The journal, one JSON object per record.

use std::ops::ControlFlow;

use axum::Router;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use serde::Deserialize;
use tapgate_engine::ids::Sequence;

use super::auth::Access;
use super::{Admin, Gate, blocking};
use crate::http::problem::Problem;
use crate::wire::admin::journal::entry;

/// Most records in one answer, and the default number.
const RECORDS_MAX: usize = 10_000;

/// The part of the journal to read.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Part {
    #[serde(default)]
    from: u64,
    limit: Option<usize>,
}

pub(super) fn routes(gate: &Gate) -> Router<Admin> {
    let read = Router::new().route("/journal", get(read));
    gate.admit(Access::Read, read)
}

/// The durable records after `from`, one JSON object per line.
async fn read(
    State(admin): State<Admin>,
    query: Result<Query<Part>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Problem> {
    let Query(part) = query.map_err(|error| Problem::Malformed(error.body_text()))?;
    let limit = part.limit.unwrap_or(RECORDS_MAX).min(RECORDS_MAX);
    let lines = blocking(&admin.app.ledger, move |ledger| {
        let mut lines = String::new();
        let mut left = limit;
        ledger.records(Sequence(part.from), &mut |sequence, record| {
            if left == 0 {
                return ControlFlow::Break(());
            }
            left -= 1;
            lines.push_str(&entry(sequence, &record).to_string());
            lines.push('\n');
            ControlFlow::Continue(())
        })?;
        Ok(lines)
    });
    let mut response = lines.await?.into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    Ok(response)
}
