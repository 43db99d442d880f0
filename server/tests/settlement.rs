//! The same evidence through the front door: signed callbacks and notifications in every order, read by the admin API.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that meets the unexpected stops")]

use std::collections::BTreeMap;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use serde_json::{Value, json};
use tapgate_engine::testing::MemoryStore;

use crate::support::Server;

/// One message of UR's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    /// The authorization itself, where rows may come before it.
    Authorization(i64),
    Reversal(&'static str, i64),
    Advice(&'static str, i64),
    /// A notification: its hash, its status and its amount, below zero where money leaves the account.
    Row(&'static str, &'static str, i64),
    /// The same, naming the increment's own id.
    OfIncrement(&'static str, &'static str, i64),
}

use Piece::{Advice, Authorization, OfIncrement, Reversal, Row};

/// What UR decided before the evidence.
#[derive(Clone, Copy, Debug)]
struct Setting {
    funding: &'static str,
    /// The transaction currency: another than the card's is paid by rates.
    currency: &'static str,
    /// The authorization's amount, and an increment's.
    draws: &'static [i64],
}

const PALETTE: &[Piece] = &[
    Reversal("r1", 1_000),
    Reversal("r2", 300),
    Reversal("r3", 1_500),
    Advice("v1", 300),
    Row("h1", "pending", -1_000),
    Row("h1", "completed", -1_000),
    Row("h1", "rejected", -1_000),
    Row("h1", "settling", -1_000),
    Row("h1", "completed", -700),
    Row("h2", "completed", -300),
    Row("h2", "pending", -300),
    Row("h3", "completed", 1_000),
    Row("h4", "completed", 300),
    OfIncrement("h5", "rejected", -400),
    Row("h6", "completed", -1_200),
];

/// Sets of each setting, and pieces of each set: 24 orders a set.
const SETS: usize = 12;
const PIECES: usize = 4;

/// So long that no busy machine makes an approval late.
const DEADLINE: Duration = Duration::from_secs(60);

struct Front {
    server: Server,
    http: reqwest::Client,
}

impl Front {
    async fn start() -> Front {
        let server = Server::within(MemoryStore::new(), DEADLINE).await;
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
        let front = Front { server, http };
        let rates = json!({
            "chf": {"EUR": "945", "USD": "863"}, "interchange_percent": "1",
            "pairs": [{"from": "USD", "to": "EUR", "rate": "9168", "spread": "10150"}],
        });
        front.put("/rates", &rates).await;
        front.put("/pools/EUR", &json!({"reported": "1000000000", "floor": "0", "reserve": "0"})).await;
        front
    }

    async fn put(&self, path: &str, body: &Value) {
        let address = format!("http://{}/api/v1{path}", self.server.admin);
        let request = self.http.put(address).bearer_auth("treasurer").header("content-type", "application/json");
        let answer = request.body(body.to_string()).send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.text().await.unwrap());
    }

    async fn get(&self, path: &str) -> Value {
        let address = format!("http://{}/api/v1{path}", self.server.admin);
        let answer = self.http.get(address).bearer_auth("viewer").send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{path}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// Sends a signed event of UR's.
    async fn event(&self, event: &str, data: &Value) -> Value {
        let now = self.server.app.clock.now().at.seconds().0;
        let body = json!({"event": event, "timestamp": now, "data": data}).to_string();
        let signature = self.server.key.sign_hex(&[body.as_bytes()]);
        let request = self.http.post(format!("http://{}/webhooks/ur", self.server.public));
        let request = request.header("x-api-signature", signature).header("content-type", "application/json");
        let answer = request.body(body).send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{data}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// Imports so many users with these numbers.
    async fn import(&self, setting: Setting, users: std::ops::Range<usize>) {
        let started = self.server.app.clock.now().at.seconds().0 - 1_000;
        let line = |number: usize| {
            json!({
                "urId": number.to_string(), "status": "live", "funding": setting.funding,
                "limit": {"usedLimit": "0", "clientLimit": "1000000", "startLimitDate": started},
                "funds": {"amount": "1000000", "currency": "EUR"},
                "fiat": [{"currency": "EUR", "amount": "1000000", "allowance": true}],
                "cards": [{"cardId": format!("card_{number}"), "status": "active", "currency": "EUR"}],
            })
        };
        let lines: String = users.clone().map(|number| format!("{}\n", line(number))).collect();
        let address = format!("http://{}/api/v1/users/import", self.server.admin);
        let request = self.http.post(address).bearer_auth("operator").header("content-type", "application/x-ndjson");
        let answer: Value =
            serde_json::from_str(&request.body(lines).send().await.unwrap().text().await.unwrap()).unwrap();
        assert_eq!(answer, json!({"imported": users.len(), "rejected": []}));
    }

    async fn pool(&self) -> BTreeMap<String, i64> {
        let pool = self.get("/pools/EUR").await;
        let figure = |name: &str| (name.to_owned(), pool[name].as_str().unwrap().parse().unwrap());
        ["held", "unreflected", "available"].map(figure).into()
    }
}

/// One authorization of one user.
struct Case<'a> {
    front: &'a Front,
    setting: Setting,
    number: usize,
}

impl Case<'_> {
    fn id(&self, name: &str) -> String {
        format!("{name}_{}", self.number)
    }

    async fn callback(&self, name: &str, kind: &str, amount: i64) -> Value {
        let original = (kind != "authorization").then(|| self.id("a"));
        let data = json!({
            "authorizationId": self.id(name), "type": kind, "originalAuthorizationId": original,
            "urId": self.number.to_string(), "cardId": self.id("card"),
            "transactionAmount": amount.to_string(), "transactionCurrency": self.setting.currency,
        });
        let answer = self.front.event("card_authorization", &data).await;
        assert_eq!(answer["approved"], json!(true), "{data}: {answer}");
        answer
    }

    async fn notification(&self, hash: &str, status: &str, amount: i64, reference: &str) {
        let (sign, direction) = if amount < 0 { ('-', "OUT") } else { ('+', "IN") };
        let data = json!({
            "urId": self.number.to_string(), "type": "CRD", "title": "Café", "currency": "eur",
            "amount": format!("{sign}{}.{:02}", amount.abs() / 100, amount.abs() % 100), "direction": direction,
            "status": status, "txHash": self.id(hash), "partnerRefId": self.id(reference),
            "timestamp": self.front.server.app.clock.now().at.seconds().0,
        });
        assert_eq!(self.front.event("transaction", &data).await, json!({"received": true}));
    }

    async fn play(&self, piece: Piece) {
        match piece {
            Authorization(amount) => drop(self.callback("a", "authorization", amount).await),
            Reversal(name, amount) => drop(self.callback(name, "reversal", amount).await),
            Advice(name, amount) => drop(self.callback(name, "advice", amount).await),
            Row(hash, status, amount) => self.notification(hash, status, amount, "a").await,
            OfIncrement(hash, status, amount) => {
                let named = if self.setting.draws.len() > 1 { "i" } else { "a" };
                self.notification(hash, status, amount, named).await;
            }
        }
    }

    /// Everything that a person reads of it, but its breaks. It must not depend on the order.
    async fn ending(&self, before: &BTreeMap<String, i64>) -> Value {
        let shown = self.front.get(&format!("/authorizations/{}", self.id("a"))).await;
        let user = self.front.get(&format!("/users/{}", self.number)).await;
        let pool = self.front.pool().await;
        let amount = |value: &Value| value.as_str().unwrap().parse::<i64>().unwrap();
        let debits = shown["debits"].as_array().unwrap();
        let net: i64 = debits.iter().map(|debit| amount(&debit["requested"]) - amount(&debit["returned"])).sum();
        assert!(debits.iter().all(|debit| amount(&debit["returned"]) <= amount(&debit["requested"])), "{debits:?}");
        assert_eq!(net, amount(&shown["standing"]["debit"]), "{shown}");
        assert_eq!(shown["held"]["amount"], shown["standing"]["held"], "{shown}");
        let claims: BTreeMap<&String, i64> = pool.iter().map(|(name, figure)| (name, figure - before[name])).collect();
        json!({
            "state": shown["state"], "standing": shown["standing"], "debits": net, "pool": claims,
            "funds": user["funds"], "limit": user["limit"]["unreflected"], "headroom": user["limit"]["headroom"],
            "fiat": user["fiat"],
        })
    }
}

fn orders(pieces: &[Piece]) -> Vec<Vec<Piece>> {
    let Some((first, rest)) = pieces.split_first() else { return vec![Vec::new()] };
    let mut all = Vec::new();
    for shorter in orders(rest) {
        for place in 0..=shorter.len() {
            let mut longer = shorter.clone();
            longer.insert(place, *first);
            all.push(longer);
        }
    }
    all
}

/// Plays every order of the pieces, each with a user of its own, and asserts that all end alike.
async fn ends_alike(front: &Front, setting: Setting, pieces: &[Piece], first: usize) -> usize {
    let orders = orders(pieces);
    front.import(setting, first..first + orders.len()).await;
    let mut endings = Vec::new();
    for (number, order) in (first..).zip(&orders) {
        let case = Case { front, setting, number };
        let before = front.pool().await;
        for (name, (kind, amount)) in ["a", "i"].iter().zip(["authorization", "incremental"].iter().zip(setting.draws))
        {
            case.callback(name, kind, *amount).await;
        }
        for piece in order {
            case.play(*piece).await;
        }
        endings.push((case.id("a"), order, case.ending(&before).await));
    }
    let open = front.get("/breaks").await;
    let mut ends: BTreeMap<String, &Vec<Piece>> = BTreeMap::new();
    for (root, order, ending) in &endings {
        let found = open["items"].as_array().unwrap().iter().filter(|found| found["subject"] == json!(root));
        let mut breaks: Vec<String> = found
            .map(|found| format!("{} {} {} {}", found["kind"], found["field"], found["ours"], found["theirs"]))
            .collect();
        breaks.sort();
        ends.entry(format!("{ending} {breaks:?}")).or_insert(*order);
    }
    let listed: Vec<String> = ends.iter().map(|(end, order)| format!("  {order:?}\n    {end}")).collect();
    assert_eq!(ends.len(), 1, "one set of evidence ends in one way: {setting:?}\n{}", listed.join("\n"));
    orders.len()
}

/// Plays every order of a sample of sets on one server.
async fn a_sample_ends_alike(setting: Setting, seed: u64) {
    let front = Front::start().await;
    let mut random = StdRng::seed_from_u64(seed);
    let mut user = 1;
    for _ in 0..SETS {
        let pieces: Vec<Piece> = PALETTE.sample(&mut random, PIECES).copied().collect();
        user += ends_alike(&front, setting, &pieces, user).await;
    }
}

const CRYPTO: Setting = Setting { funding: "crypto", currency: "EUR", draws: &[1_000] };

#[tokio::test(flavor = "multi_thread")]
async fn any_order_of_urs_messages_ends_in_the_same_books() {
    a_sample_ends_alike(CRYPTO, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_order_of_urs_messages_ends_alike_for_two_draws() {
    a_sample_ends_alike(Setting { draws: &[600, 400], ..CRYPTO }, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_order_of_urs_messages_ends_alike_for_a_users_own_balance() {
    a_sample_ends_alike(Setting { funding: "fiat", ..CRYPTO }, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_order_of_urs_messages_ends_alike_in_another_currency() {
    a_sample_ends_alike(Setting { currency: "USD", ..CRYPTO }, 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_come_before_their_decision_end_alike() {
    let front = Front::start().await;
    let setting = Setting { draws: &[], ..CRYPTO };
    let rows = [Row("h1", "pending", -1_000), Row("h1", "completed", -1_000), Row("h3", "completed", 300)];
    ends_alike(&front, setting, &[&[Authorization(1_000)], &rows[..]].concat(), 1).await;
}
