//! Cards: freezes, activates, deletes and restricts them.

use axum::extract::{Path, State};
use axum::routing::put;
use axum::{Json, Router};
use tapgate_engine::fact::Author;
use tapgate_engine::ids::CardId;
use tapgate_engine::ledger::Change;

use super::auth::Access;
use super::idempotency::{Asked, make};
use super::{Admin, Answer, Gate, id, malformed, no_such};
use crate::wire::admin::controls::ControlsForm;
use crate::wire::admin::users::{CardChangeForm, card_view};

pub(super) fn routes(gate: &Gate) -> Router<Admin> {
    let operate = Router::new().route("/cards/{cardId}", put(change)).route("/cards/{cardId}/controls", put(controls));
    gate.admit(Access::Operate, operate)
}

async fn change(State(admin): State<Admin>, Path(text): Path<String>, asked: Asked) -> Answer {
    let card: CardId = id("card", &text)?;
    let (status, controls) = asked.form::<CardChangeForm>()?.parts().map_err(malformed)?;
    let status = status.map(|status| Change::ChangeCard { card: card.clone(), status });
    let controls = controls.map(|controls| Change::ControlCard { card: card.clone(), controls });
    let mut author = asked.author;
    for change in [status, controls].into_iter().flatten() {
        make(&admin, author.clone(), change).await?;
        // The key names one record; the rest of the request may safely repeat.
        if let Author::Person { idempotency, .. } = &mut author {
            *idempotency = None;
        }
    }
    show(&admin, &card)
}

async fn controls(State(admin): State<Admin>, Path(text): Path<String>, asked: Asked) -> Answer {
    let card: CardId = id("card", &text)?;
    let controls = asked.form::<ControlsForm>()?.controls().map_err(malformed)?;
    make(&admin, asked.author, Change::ControlCard { card: card.clone(), controls }).await?;
    show(&admin, &card)
}

fn show(admin: &Admin, card: &CardId) -> Answer {
    let owner = admin.app.ledger.card_owner(card).and_then(|owner| admin.app.ledger.user(&owner));
    let shown = owner.as_ref().and_then(|owner| owner.card(card)).map(card_view);
    shown.map(Json).ok_or_else(|| no_such("card", card.as_str()))
}
