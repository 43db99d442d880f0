//! Receipts of decisions, and signed heads of the journal.

use axum::extract::{Path, Query, State};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;
use tapgate_engine::ids::AuthorizationId;

use super::auth::Access;
use super::{Admin, Answer, Gate, blocking, id, no_such, shown_durable};
use crate::http::problem::Problem;
use crate::receipts::{Signer, document};

pub(super) fn routes(gate: &Gate) -> Router<Admin> {
    let read = Router::new().route("/authorizations/{id}/receipt", get(receipt)).route("/journal/head", get(head));
    gate.admit(Access::Read, read)
}

async fn receipt(State(admin): State<Admin>, Path(text): Path<String>) -> Answer {
    let (id, signer): (AuthorizationId, _) = (id("authorization", &text)?, signer(&admin)?);
    let now = admin.app.clock.now();
    shown_durable(&admin.app).await?;
    let made = blocking(&admin.app.ledger, move |ledger| {
        let receipt = signer.receipt(ledger, &id, now.at)?.ok_or_else(|| no_such("authorization", id.as_str()))?;
        Ok(json!(receipt))
    });
    made.await.map(Json)
}

/// Which head is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// Of now, instead of the day's.
    #[serde(default)]
    fresh: bool,
}

async fn head(State(admin): State<Admin>, Query(asked): Query<Asked>) -> Answer {
    let (signer, now) = (signer(&admin)?, admin.app.clock.now());
    let made = blocking(&admin.app.ledger, move |ledger| {
        let last = ledger.head_signed().filter(|_| !asked.fresh);
        let signed = last.map_or_else(|| signer.sign(ledger, now.at), Ok)?;
        Ok(json!(document(ledger, &signed)?))
    });
    made.await.map(Json)
}

fn signer(admin: &Admin) -> Result<Signer, Problem> {
    let missing = || Problem::Conflict("no key signs receipts: set receipts.key_file and restart".to_owned());
    admin.settings.signer.clone().ok_or_else(missing)
}
