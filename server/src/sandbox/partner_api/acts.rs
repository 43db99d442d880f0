//! What the second provider does by itself, one act at a time, and the comparison of its state with tapgate's.

use std::time::Duration;

use serde_json::{Value, json};

use super::PartnerApi;
use crate::sandbox::play::Stage;
use crate::sandbox::world;

/// Looks at the end, and the pause between two, until every change of people has reached the provider.
const LOOKS_MAX: u32 = 200;
const LOOK_PAUSE: Duration = Duration::from_millis(100);

/// One act in this many suspends the card service, and the next one resumes it.
const SERVICE_EVERY: u64 = 8;

impl Stage {
    /// The provider changes one of the user's cards, the user, or its card service.
    pub(in crate::sandbox) async fn provider_acts(&self, user: usize) {
        let Some(provider) = &self.provider else { return };
        self.tell_called(provider).await;
        let number = {
            let mut inside = provider.lock();
            inside.events += 1;
            inside.events
        };
        let away = std::mem::take(&mut provider.lock().is_away);
        if away || number % SERVICE_EVERY == 0 {
            provider.lock().is_away = !away;
            let kind = if away { "card_service.resumed" } else { "card_service.suspended" };
            return self.tell(kind, &json!({"reason": "maintenance"})).await;
        }
        let Some(turn) = self.turns.get(user) else { return };
        let _turn = turn.lock().await;
        if let Err(error) = self.follow() {
            return self.figures.disagree(error);
        }
        let ur_id = world::ur_id(user);
        let card = self.books().accounts.get(&ur_id).and_then(|account| {
            let card = account.cards.iter().find(|card| card.status != "deleted")?;
            Some((card.id.clone(), card.shown_status()))
        });
        if number % 2 == 0 {
            let is_back = provider.lock().suspended.remove(&ur_id);
            if !is_back {
                provider.lock().suspended.insert(ur_id.clone());
            }
            let kind = if is_back { "user.unsuspended" } else { "user.suspended" };
            return self.tell(kind, &json!({"userId": ur_id})).await;
        }
        let Some((card, status)) = card else { return };
        let kind = {
            let mut inside = provider.lock();
            if inside.blocked.remove(&card) {
                inside.cards.insert(card.clone(), "active");
                "card.unblocked"
            } else if status == "active" {
                inside.blocked.insert(card.clone());
                inside.cards.insert(card.clone(), "frozen");
                "card.blocked"
            } else {
                return;
            }
        };
        self.tell(kind, &json!({"userId": ur_id, "cardId": card})).await;
    }

    /// Every change of a card is an event, a called one, too: a call may arrive after what the provider did meanwhile.
    async fn tell_called(&self, provider: &PartnerApi) {
        let called = std::mem::take(&mut provider.lock().called);
        for card in called {
            let owner = {
                let books = self.books();
                let mut owners = books.accounts.iter();
                owners
                    .find(|(_, account)| account.cards.iter().any(|own| own.id == card))
                    .map(|(ur_id, _)| ur_id.clone())
            };
            let Some(ur_id) = owner else { continue };
            let turn = world::index_of(&ur_id).and_then(|index| self.turns.get(index));
            let _turn = match turn {
                Some(turn) => Some(turn.lock().await),
                None => None,
            };
            let status = provider.lock().cards.get(&card).copied();
            let kind = match status {
                Some("active") => "card.unblocked",
                Some("frozen") => "card.blocked",
                _ => "card.deleted",
            };
            self.tell(kind, &json!({"userId": ur_id, "cardId": card})).await;
        }
    }

    async fn tell(&self, kind: &str, data: &Value) {
        if let Err(error) = self.courier.tell(kind, data, || self.now()).await {
            self.figures.disagree(error);
        }
        if let Err(error) = self.follow() {
            self.figures.disagree(error);
        }
    }

    /// After the traffic: the service works again, and every change that anybody made to a card stands on both sides.
    ///
    /// # Errors
    /// tapgate did not answer.
    pub(in crate::sandbox) async fn compare_provider(&self) -> Result<usize, String> {
        let Some(provider) = &self.provider else { return Ok(0) };
        if std::mem::take(&mut provider.lock().is_away) {
            self.tell("card_service.resumed", &json!({})).await;
        }
        let mut looks = 0;
        loop {
            self.tell_called(provider).await;
            let different = self.different(provider).await?;
            if different.is_empty() {
                return Ok(provider.lock().cards.len());
            }
            looks += 1;
            if looks == LOOKS_MAX {
                different.into_iter().for_each(|what| self.figures.disagree(what));
                return Ok(provider.lock().cards.len());
            }
            tokio::time::sleep(LOOK_PAUSE).await;
        }
    }

    /// The cards whose status at the provider is another than in tapgate.
    async fn different(&self, provider: &PartnerApi) -> Result<Vec<String>, String> {
        let (cards, partner_suspended) = {
            let inside = provider.lock();
            (inside.cards.clone(), inside.partner_suspended.clone())
        };
        let owners: Vec<_> = {
            let books = self.books();
            let compared = books.accounts.iter().filter(|(ur_id, _)| books.people.is_compared(ur_id));
            compared.map(|(ur_id, _)| ur_id.clone()).collect()
        };
        let mut different = Vec::new();
        for ur_id in owners {
            let shown = self.partner.get(&format!("/users/{ur_id}")).await?;
            for card in shown.get("cards").and_then(Value::as_array).into_iter().flatten() {
                let text = |field: &str| card.get(field).and_then(Value::as_str).unwrap_or_default();
                let (id, ours) = (text("cardId"), text("status"));
                if let Some(theirs) = cards.get(id).filter(|theirs| **theirs != ours) {
                    different.push(format!("card {id} is {ours} in tapgate, and {theirs} at the provider"));
                }
            }
            let is_suspended = shown.get("suspended") == Some(&Value::Bool(true));
            let is_known = self.books().accounts.get(&ur_id).is_some_and(|account| account.suspended == is_suspended);
            if partner_suspended.contains(&ur_id) && (!is_suspended || !is_known) {
                different.push(format!("the partner suspended user {ur_id} at the provider alone"));
            }
        }
        Ok(different)
    }
}
