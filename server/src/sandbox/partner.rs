//! The partner's side of the sandbox: its operators and its treasury, as clients of the admin API.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::Provider;
use super::ur::account::{Account, Block, Funds};
use super::ur::bank::Wire;
use super::ur::books::Books;
use super::ur::contract::Code;

/// Long enough for an import of many users.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Retries while the disk is slow, and the pause between them.
const TRIES_MAX: u32 = 40;
const TRIED_AGAIN_AFTER: Duration = Duration::from_millis(250);

/// Users in one import.
const USERS_PER_IMPORT: usize = 5_000;

/// A request that had no effect.
#[derive(Debug)]
pub(super) struct Refusal {
    status: Option<StatusCode>,
    text: String,
}

impl Refusal {
    /// Whether a person's change may have come before.
    pub(super) fn is_overtaken(&self) -> bool {
        matches!(self.status, Some(StatusCode::CONFLICT | StatusCode::NOT_FOUND))
    }
}

impl From<Refusal> for String {
    fn from(refusal: Refusal) -> String {
        refusal.text
    }
}

/// A client of the admin API.
#[derive(Clone, Debug)]
pub(super) struct Partner {
    client: reqwest::Client,
    base: String,
    token: String,
    /// Of the imported accounts.
    provider: Provider,
}

impl Partner {
    pub(super) fn new(client: reqwest::Client, admin: &str, token: String, provider: Provider) -> Partner {
        Partner { client, base: format!("{admin}/api/v1"), token, provider }
    }

    /// # Errors
    /// A refusal or no answer.
    async fn send(&self, method: Method, path: &str, body: impl Into<reqwest::Body>) -> Result<Value, Refusal> {
        let what = format!("{method} {path}");
        let failed = |status, why: String| Refusal { status, text: format!("{what}: {why}") };
        let request = self.client.request(method, format!("{}{path}", self.base)).bearer_auth(&self.token);
        let response = request.timeout(TIMEOUT).body(body).send().await;
        let response = response.map_err(|error| failed(None, format!("{error:?}")))?;
        let status = response.status();
        let text = response.text().await.map_err(|error| failed(None, format!("{error:?}")))?;
        if !status.is_success() {
            return Err(failed(Some(status), format!("{status}: {text}")));
        }
        serde_json::from_str(&text).map_err(|error| failed(None, error.to_string()))
    }

    pub(super) async fn get(&self, path: &str) -> Result<Value, String> {
        self.insist(Method::GET, path, String::new()).await
    }

    /// Sends a request that may be repeated, until the disk is quick enough for an answer.
    async fn insist(&self, method: Method, path: &str, body: String) -> Result<Value, String> {
        let mut tries = 0;
        loop {
            match self.send(method.clone(), path, body.clone()).await {
                Err(refusal) if refusal.status == Some(StatusCode::SERVICE_UNAVAILABLE) && tries < TRIES_MAX => {
                    tries += 1;
                    tokio::time::sleep(TRIED_AGAIN_AFTER).await;
                }
                answered => return Ok(answered?),
            }
        }
    }

    /// The durable records after `sequence`, one JSON object a line; empty at the end.
    pub(super) async fn journal(&self, after: u64) -> Result<String, String> {
        let url = format!("{}/journal?from={after}", self.base);
        let response = self.client.get(url).bearer_auth(&self.token).timeout(TIMEOUT).send().await;
        let response = response.and_then(reqwest::Response::error_for_status).map_err(|error| error.to_string())?;
        response.text().await.map_err(|error| error.to_string())
    }

    /// Loads the books' initial state into tapgate.
    pub(super) async fn set_up(&self, books: &Books, progress: impl Fn(usize)) -> Result<(), String> {
        self.insist(Method::PUT, "/rates", rates(books).to_string()).await?;
        for (code, pool) in &books.pools {
            let report = json!({
                "reported": pool.balance.to_string(), "floor": pool.floor.to_string(), "reserve": pool.reserve.to_string(),
                "reflectedThrough": "now",
            });
            self.insist(Method::PUT, &format!("/pools/{code}"), report.to_string()).await?;
        }
        let mut accounts: Vec<_> = books.accounts.iter().collect();
        accounts.sort_by_key(|(ur_id, _)| *ur_id);
        for part in accounts.chunks(USERS_PER_IMPORT) {
            let lines: Vec<_> =
                part.iter().map(|(ur_id, account)| user(ur_id, account, self.provider).to_string()).collect();
            let answer = self.insist(Method::POST, "/users/import", lines.join("\n")).await?;
            if answer.get("imported").and_then(Value::as_u64) != Some(part.len() as u64) {
                return Err(format!("not all users were imported: {answer}"));
            }
            progress(part.len());
        }
        for (ur_id, account) in accounts {
            if account.suspended {
                self.insist(Method::PUT, &format!("/users/{ur_id}/status"), r#"{"suspended":true}"#.to_owned()).await?;
            }
            if !account.blocks.is_empty() {
                let controls = controls(&account.blocks).to_string();
                self.insist(Method::PUT, &format!("/users/{ur_id}/controls"), controls).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn put_funds(&self, ur_id: &str, funds: Funds, debited: &[String]) -> Result<(), Refusal> {
        let body = json!({
            "amount": funds.amount.to_string(), "currency": funds.currency, "version": funds.version,
            "debited": debited,
        });
        self.send(Method::PUT, &format!("/users/{ur_id}/funds"), body.to_string()).await.map(drop)
    }

    pub(super) async fn put_card(&self, card: &str, status: &str) -> Result<(), Refusal> {
        self.send(Method::PUT, &format!("/cards/{card}"), json!({"status": status}).to_string()).await.map(drop)
    }

    /// Records a prefund as sent.
    pub(super) async fn announce(
        &self,
        code: Code,
        amount: u64,
        reference: &str,
        expected_at: u64,
    ) -> Result<(), Refusal> {
        let body =
            json!({"currency": code, "amount": amount.to_string(), "reference": reference, "expectedAt": expected_at});
        self.send(Method::POST, "/prefunds", body.to_string()).await.map(drop)
    }

    pub(super) async fn has_ordered(&self, wire: &Wire) -> Result<bool, String> {
        let page = self.get(&format!("/prefunds?currency={}", wire.code)).await?;
        let items = page.get("items").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        Ok(items.iter().any(|prefund| prefund["requestId"] == *wire.request))
    }

    pub(super) async fn credit(&self, code: Code, amount: u64, reference: &str) -> Result<(), Refusal> {
        let body = json!({"amount": amount.to_string(), "reference": reference});
        self.send(Method::POST, &format!("/pools/{code}/credits"), body.to_string()).await.map(drop)
    }
}

pub(super) fn rates(books: &Books) -> Value {
    let pairs = books.rates.usd.iter().filter(|(code, _)| **code != "USD").map(|(code, rate)| {
        json!({"from": "USD", "to": code, "rate": rate.to_string(), "spread": books.rates.spread.to_string()})
    });
    let thousandths = |rate: &u64| format!("{}.{}", rate / 10, rate % 10);
    let chf = books.rates.chf.iter().map(|(code, rate)| ((*code).to_owned(), json!(thousandths(rate))));
    json!({
        "chf": chf.collect::<serde_json::Map<_, _>>(), "pairs": pairs.collect::<Vec<_>>(),
        "interchange_percent": books.rates.interchange_percent.to_string(),
    })
}

pub(super) fn user(ur_id: &str, account: &Account, provider: Provider) -> Value {
    let fiat = account.fiat.iter().map(|(code, (balance, allowed))| {
        json!({"currency": code, "amount": balance.balance.to_string(), "allowance": allowed})
    });
    let cards = account.cards.iter().map(|card| {
        json!({
            "cardId": card.id, "status": card.status, "currency": card.currency, "single_use": card.single_use,
        })
    });
    let mut line = json!({
        "urId": ur_id, "status": account.status,
        "provider": match provider {
            Provider::Ur => "ur",
            Provider::PartnerApi => "partner_api",
        },
        "limit": {
            "usedLimit": account.reported.used.to_string(), "clientLimit": account.reported.client.to_string(),
            "startLimitDate": account.reported.start,
        },
        "fiat": fiat.collect::<Vec<_>>(), "funding": account.funding.name(), "cards": cards.collect::<Vec<_>>(),
    });
    if let (Some(funds), Some(line)) = (account.funds, line.as_object_mut()) {
        line.insert("funds".to_owned(), json!({"amount": funds.amount.to_string(), "currency": funds.currency}));
    }
    line
}

pub(super) fn controls(blocks: &[Block]) -> Value {
    let of = |pick: fn(&Block) -> Option<&String>| blocks.iter().filter_map(pick).collect::<Vec<_>>();
    let only = |pick: fn(&Block) -> Option<&Vec<String>>| blocks.iter().find_map(pick).cloned().unwrap_or_default();
    json!({
        "country_block": of(|block| if let Block::Country(name) = block { Some(name) } else { None }),
        "mcc_block": of(|block| if let Block::Mcc(name) = block { Some(name) } else { None }),
        "channel_block": of(|block| if let Block::Channel(name) = block { Some(name) } else { None }),
        "country_allow": only(|block| if let Block::OnlyCountries(names) = block { Some(names) } else { None }),
        "mcc_allow": only(|block| if let Block::OnlyMccs(names) = block { Some(names) } else { None }),
        "channel_allow": only(|block| if let Block::OnlyChannels(names) = block { Some(names) } else { None }),
    })
}
