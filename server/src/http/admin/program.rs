//! The switch over every decision; and what the program holds, counted.

use axum::Json;
use axum::extract::State;
use serde_json::json;
use tapgate_engine::ledger::Change;

use super::idempotency::{Asked, make};
use super::{Admin, Answer};
use crate::wire::admin::ProgramForm;

pub(super) async fn show(State(admin): State<Admin>) -> Answer {
    let program = admin.app.ledger.program();
    Ok(Json(json!({"suspended": program.suspended, "reason": program.reason.as_str()})))
}

pub(super) async fn switch(State(admin): State<Admin>, asked: Asked) -> Answer {
    let ProgramForm { suspended, reason } = asked.form()?;
    make(&admin, asked.author, Change::SuspendProgram { suspended, reason: reason.into() }).await?;
    show(State(admin)).await
}

pub(super) async fn stats(State(admin): State<Admin>) -> Answer {
    let ledger = &admin.app.ledger;
    Ok(Json(json!({
        "users": ledger.user_count(),
        "pools": ledger.pools().len(),
        "journal": {"claimed": ledger.journal().claimed().0, "durable": ledger.journal().durable().0},
    })))
}
