//! After the traffic: compares the books with tapgate's own, record by record and figure by figure.
#![expect(clippy::indexing_slicing, reason = "JSON indexed by a name that is not there is null, and no panic")]

use std::collections::BTreeSet;

use serde_json::Value;

use super::play::Stage;
use super::ur::Bounds;
use super::ur::account::Account;
use super::ur::books::Books;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Compared {
    pub(super) records: u64,
    pub(super) users: u64,
    pub(super) pools: u64,
}

impl Stage {
    /// Compares everything, and counts each disagreement in the figures.
    ///
    /// # Errors
    /// tapgate did not answer.
    pub(super) async fn audit(&self) -> Result<Compared, String> {
        self.follow()?;
        self.learn_of_taps_by_hand().await?;
        let records = self.audit_journal().await?;
        let pools = self.audit_pools().await?;
        let users = self.audit_users().await?;
        Ok(Compared { records, users, pools })
    }

    /// Every approval in the journal must be in UR's books, once, at that price, and vice versa.
    async fn audit_journal(&self) -> Result<u64, String> {
        let (mut after, mut records) = (0, 0);
        let mut seen = BTreeSet::new();
        loop {
            let lines = self.partner.journal(after).await?;
            if lines.is_empty() {
                break;
            }
            for line in lines.lines() {
                let entry: Value = serde_json::from_str(line).map_err(|error| format!("the journal: {error}"))?;
                after = entry["sequence"].as_u64().ok_or("a record without sequence")?;
                records += 1;
                if let Err(what) = audit_record(&self.books(), &entry["fact"], &mut seen) {
                    self.figures.disagree(format!("record {after}: {what}"));
                }
            }
        }
        let booked = self.books().approvals();
        if seen.len() != booked {
            self.figures.disagree(format!("the journal holds {} approvals, UR was given {booked}", seen.len()));
        }
        Ok(records)
    }

    async fn audit_pools(&self) -> Result<u64, String> {
        let pools = self.books().pools.clone();
        for (code, pool) in &pools {
            let shown = self.partner.get(&format!("/pools/{code}")).await?;
            self.within(&format!("pool {code} available"), &shown["available"], pool.bounds(self.is_fed));
            if self.is_fed || pool.unsure > 0 {
                continue;
            }
            let drift = self.books().drift.get(code).copied().unwrap_or(0);
            let by_contract = (pool.balance - pool.floor).cast_signed() - drift - pool.by_hand.cast_signed();
            self.same(&format!("pool {code} reported"), &shown["reported"], &pool.credited);
            self.same(&format!("pool {code} by UR's contract less drift"), &shown["available"], &by_contract);
        }
        Ok(pools.len() as u64)
    }

    async fn audit_users(&self) -> Result<u64, String> {
        let accounts: Vec<_> = {
            let books = self.books();
            let compared = books.accounts.iter().filter(|(ur_id, _)| books.people.is_compared(ur_id));
            compared.map(|(ur_id, account)| (ur_id.clone(), account.clone())).collect()
        };
        let mut users = 0;
        for (ur_id, account) in &accounts {
            let asked_at = self.now();
            let shown = self.partner.get(&format!("/users/{ur_id}")).await?;
            self.audit_user(ur_id, account, &shown, asked_at);
            users += 1;
        }
        Ok(users)
    }

    fn audit_user(&self, ur_id: &str, account: &Account, shown: &Value, asked_at: u64) {
        // UR's period may end, or a use become 30 days old, while tapgate answers; and tapgate's time of a use is earlier than
        // the books' by its answer's way: less than a second.
        let now = self.now();
        let later = now + self.books().speed;
        let of = |what: &str| format!("user {ur_id} {what}");
        let limit = &shown["limit"];
        let headroom = [asked_at, later].map(|at| account.headroom_bounds(at, self.is_fed));
        let headroom = Bounds {
            least: headroom.iter().map(|bounds| bounds.least).min().unwrap_or(0),
            most: headroom.iter().map(|bounds| bounds.most).max().unwrap_or(0),
        };
        if self.is_fed {
            self.within(&of("headroom"), &limit["headroom"], headroom);
        } else {
            // UR's row of a return may use the limit by more than its callback.
            let unsure = |least: u64, most: u64| Bounds {
                least: least.saturating_sub(account.limit_drift),
                most: most + account.limit_drift,
            };
            self.within(&of("headroom"), &limit["headroom"], unsure(headroom.least, headroom.most));
            let unreflected = [later, asked_at].map(|at| account.unreflected(at));
            let least = [later, asked_at].map(|at| account.unreflected(at) - account.ended(at));
            let (least, most) = (least[0].min(least[1]), unreflected[0].max(unreflected[1]));
            self.within(&of("unreflected"), &limit["unreflected"], unsure(least, most));
            self.same(&of("usedLimit"), &limit["usedLimit"], &account.reported.used);
        }
        // While the reported period lasts, UR's own figure is the report plus everything since.
        if !account.limit.has_ended(now) && account.limit.start == account.reported.start {
            let ours = account.reported.used + account.unreflected(now);
            if account.limit.used.abs_diff(ours) > account.limit_drift {
                self.figures.disagree(format!("user {ur_id}: UR's usedLimit is {}, ours {ours}", account.limit.used));
            }
        }
        if let Some(funds) = account.funds {
            self.same(&of("funds"), &shown["funds"]["amount"], &funds.amount);
            let (least, most) = (
                funds.held.saturating_sub(account.funds_drift),
                funds.held + account.funds_drift + account.funds_upcharged,
            );
            self.within(&of("funds held"), &shown["funds"]["held"], Bounds { least, most });
        }
        for balance in shown["fiat"].as_array().into_iter().flatten() {
            let code = balance["currency"].as_str().unwrap_or_default();
            let booked = account.fiat.iter().find(|(known, _)| **known == code);
            let bounds = booked.map_or(Bounds::default(), |(_, (balance, _))| balance.bounds(self.is_fed));
            self.within(&of(&format!("fiat {code}")), &balance["available"], bounds);
        }
        for card in shown["cards"].as_array().into_iter().flatten() {
            let booked = account.cards.iter().find(|booked| card["cardId"] == booked.id.as_str());
            if booked.is_none_or(|booked| card["status"] != booked.shown_status()) {
                self.figures.disagree(format!("user {ur_id}: the card is {card}, in the books {booked:?}"));
            }
        }
    }

    pub(super) fn within(&self, what: &str, shown: &Value, bounds: Bounds) {
        // Amounts that are counted twice for a while may exceed the balance.
        let figure = shown.as_str().and_then(|text| if text.starts_with('-') { Some(0) } else { text.parse().ok() });
        if !figure.is_some_and(|figure: u64| (bounds.least..=bounds.most).contains(&figure)) {
            self.figures.disagree(format!("{what}: tapgate says {shown}, the books say {bounds:?}"));
        }
    }

    pub(super) fn same(&self, what: &str, shown: &Value, booked: &impl ToString) {
        let booked = booked.to_string();
        if shown.as_str() != Some(&booked) {
            self.figures.disagree(format!("{what}: tapgate says {shown}, the books say {booked}"));
        }
    }
}

fn audit_record(books: &Books, fact: &Value, seen: &mut BTreeSet<String>) -> Result<(), String> {
    let request = &fact["request"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let id = text(&request["authorizationId"]);
    if request["urId"].as_str().is_some_and(|ur_id| !books.people.is_compared(ur_id)) {
        return Ok(());
    }
    match fact["kind"].as_str() {
        Some("decided") if fact["verdict"]["approved"] == true && !books.late.contains(&id) => {
            let verdict = &fact["verdict"];
            let root = request["originalAuthorizationId"].as_str().unwrap_or(&id);
            let (source, amount, paid, code, chf) =
                books.approval(root, &id).ok_or_else(|| format!("{id} is approved, and UR was never told"))?;
            let booked = [source.to_owned(), amount.to_string(), paid.to_string(), code.to_owned()];
            let theirs =
                [&verdict["source"], &verdict["amount"], &verdict["paid"]["amount"], &verdict["paid"]["currency"]];
            if booked != theirs.map(text) {
                return Err(format!("{id}: {verdict}, in the books {booked:?}"));
            }
            if text(&verdict["chf"]) != chf.to_string() {
                return Err(format!("{id}: {} francs, UR counts {chf}", verdict["chf"]));
            }
            if !seen.insert(id.clone()) {
                return Err(format!("{id} is approved twice"));
            }
        }
        Some("returned") if !id.is_empty() => {
            let paid =
                fact["draws"].as_array().into_iter().flatten().map(|draw| text(&draw["paid"]).parse().unwrap_or(0));
            let theirs = (text(&fact["amount"]).parse().unwrap_or(0), paid.sum::<u64>());
            match books.returns.get(&id) {
                Some(booked) if *booked == theirs => {}
                booked => return Err(format!("{id} gave back {theirs:?}, in the books {booked:?}")),
            }
        }
        _ => {}
    }
    Ok(())
}
