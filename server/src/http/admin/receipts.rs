//! Receipts of decisions, and signed heads of the journal.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;
use tapgate_engine::fact::HeadSigned;
use tapgate_engine::ids::{AuthorizationId, Sequence};
use tapgate_engine::time::UnixMillis;

use super::auth::Access;
use super::{Admin, Answer, Gate, blocking, id, no_such, shown_durable};
use crate::http::problem::Problem;
use crate::receipts::{Signer, document};

pub(super) fn routes(gate: &Gate) -> Router<Admin> {
    let read = Router::new().route("/authorizations/{id}/receipt", get(receipt)).route("/journal/head", get(head));
    gate.admit(Access::Read, read)
}

/// Of which size the receipt's head is.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Under {
    under: Option<u64>,
}

async fn receipt(
    State(admin): State<Admin>,
    Path(text): Path<String>,
    query: Result<Query<Under>, QueryRejection>,
) -> Answer {
    let (id, signer): (AuthorizationId, _) = (id("authorization", &text)?, signer(&admin)?);
    let Query(asked) = query.map_err(|error| Problem::Malformed(error.body_text()))?;
    let now = trusted(&admin)?;
    shown_durable(&admin.app).await?;
    let made = blocking(&admin.app.ledger, move |ledger| {
        let receipt = signer.receipt(ledger, &id, now, asked.under.map(Sequence))?;
        let missing = || match asked.under {
            Some(size) => Problem::NotFound(format!("the head of {size} records has no decision on {}", id.as_str())),
            None => no_such("authorization", id.as_str()),
        };
        Ok(json!(receipt.ok_or_else(missing)?))
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
    /// Of now, with the proof that it extends the head of so many records.
    since: Option<u64>,
}

async fn head(State(admin): State<Admin>, query: Result<Query<Asked>, QueryRejection>) -> Answer {
    let Query(asked) = query.map_err(|error| Problem::Malformed(error.body_text()))?;
    let (signer, now) = (signer(&admin)?, trusted(&admin)?);
    let made = blocking(&admin.app.ledger, move |ledger| {
        let is_own = |signed: &HeadSigned| signed.signer == signer.key.address().0;
        let last = ledger.head_signed()?.filter(|last| !asked.fresh && asked.since.is_none() && is_own(last));
        let signed = match last {
            Some(last) => last,
            None => {
                let signed = signer.sign(ledger, now, None, asked.since.map(Sequence))?;
                signed.ok_or_else(|| no_such("head", &asked.since.unwrap_or_default().to_string()))?
            }
        };
        tracing::info!(size = signed.size, root = hex::encode(signed.root), "a signed head was given away");
        Ok(json!(document(ledger, &signed)?))
    });
    made.await.map(Json)
}

/// The time to sign.
fn trusted(admin: &Admin) -> Result<UnixMillis, Problem> {
    let now = admin.app.clock.now();
    if now.trusted {
        Ok(now.at)
    } else {
        Err(Problem::NotReady("the clock is wrong, and a head says when it is signed"))
    }
}

fn signer(admin: &Admin) -> Result<Signer, Problem> {
    let missing = || Problem::Conflict("no key signs receipts: set receipts.key_file and restart".to_owned());
    admin.settings.signer.clone().ok_or_else(missing)
}
