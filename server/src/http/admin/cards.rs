//! Cards: freezes, activates, deletes and restricts them.

use axum::extract::{Path, State};
use axum::routing::put;
use axum::{Json, Router};
use compact_str::format_compact;
use tapgate_engine::fact::Author;
use tapgate_engine::ids::CardId;
use tapgate_engine::ledger::Change;

use super::auth::Access;
use super::idempotency::{Asked, make};
use super::{Admin, Answer, Gate, id, malformed, no_such};
use crate::http::problem::Problem;
use crate::wire::admin::controls::ControlsForm;
use crate::wire::admin::users::{CardChangeForm, card_view};

pub(super) fn routes(gate: &Gate) -> Router<Admin> {
    let operate = Router::new().route("/cards/{cardId}", put(change)).route("/cards/{cardId}/controls", put(controls));
    gate.admit(Access::Operate, operate)
}

async fn change(State(admin): State<Admin>, Path(text): Path<String>, asked: Asked) -> Answer {
    let card: CardId = id("card", &text)?;
    let changes = asked.form::<CardChangeForm>()?.changes(&card).map_err(malformed)?;
    make_all(&admin, asked.author, changes).await?;
    show(&admin, &card)
}

async fn controls(State(admin): State<Admin>, Path(text): Path<String>, asked: Asked) -> Answer {
    let card: CardId = id("card", &text)?;
    let changes = asked.form::<ControlsForm>()?.card_changes(&card).map_err(malformed)?;
    make_all(&admin, asked.author, changes).await?;
    show(&admin, &card)
}

async fn make_all(admin: &Admin, author: Author, changes: Vec<Change>) -> Result<(), Problem> {
    for (number, change) in changes.into_iter().enumerate() {
        make(admin, of_part(author.clone(), number), change).await?;
    }
    Ok(())
}

/// The author of one of a request's changes. A key names one record, so each further change has a key of its own: a
/// repeated request must not activate again a card that was used meanwhile. No header holds a `·`.
fn of_part(mut author: Author, number: usize) -> Author {
    if let Author::Person { idempotency: Some(asked), .. } = &mut author
        && number > 0
    {
        asked.key = format_compact!("{}·{number}", asked.key);
    }
    author
}

fn show(admin: &Admin, card: &CardId) -> Answer {
    let owner = admin.app.ledger.card_owner(card).and_then(|owner| admin.app.ledger.user(&owner));
    let shown = owner.as_ref().and_then(|owner| owner.card(card)).map(card_view);
    shown.map(Json).ok_or_else(|| no_such("card", card.as_str()))
}
