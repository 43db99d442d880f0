//! The switch that suspends every decision; and the program's counts.

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::json;
use tapgate_engine::ledger::Change;

use super::auth::Access;
use super::idempotency::{Asked, make};
use super::{Admin, Answer, Gate};
use crate::wire::admin::ProgramForm;
use crate::wire::admin::users::ProviderForm;

pub(super) fn routes(gate: &Gate) -> Router<Admin> {
    let read = Router::new().route("/program", get(show)).route("/stats", get(stats));
    let operate = Router::new().route("/program", post(switch));
    gate.admit(Access::Read, read).merge(gate.admit(Access::Operate, operate))
}

async fn show(State(admin): State<Admin>) -> Answer {
    let program = admin.app.ledger.program();
    let providers = program.providers.iter().map(
        |word| json!({"provider": word.provider.name(), "suspended": word.suspended, "reason": word.reason.as_str()}),
    );
    let (suspended, reason) = (program.suspended, program.reason.as_str());
    // A program with one provider has one switch.
    Ok(Json(match program.providers.is_empty() {
        true => json!({"suspended": suspended, "reason": reason}),
        false => json!({"suspended": suspended, "reason": reason, "providers": providers.collect::<Vec<_>>()}),
    }))
}

async fn switch(State(admin): State<Admin>, asked: Asked) -> Answer {
    let ProgramForm { suspended, reason, provider } = asked.form()?;
    let reason = reason.into();
    let change = match provider.map(ProviderForm::provider) {
        Some(provider) => Change::SuspendProvider { provider, suspended, reason },
        None => Change::SuspendProgram { suspended, reason },
    };
    make(&admin, asked.author, change).await?;
    show(State(admin)).await
}

async fn stats(State(admin): State<Admin>) -> Answer {
    let ledger = &admin.app.ledger;
    Ok(Json(json!({
        "users": ledger.user_count(),
        "pools": ledger.pools().len(),
        "journal": {"claimed": ledger.journal().claimed().0, "durable": ledger.journal().durable().0},
    })))
}
