//! Alerts and proposed prefunds over a real admin listener: the engine raises them, people take them on.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that meets the unexpected stops")]

use std::io;
use std::path::Path;
use std::sync::Arc;

use hyper_util::service::TowerToHyperService;
use metrics_exporter_prometheus::PrometheusBuilder;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tapgate::clock::Clock;
use tapgate::config::Config;
use tapgate::http::context::App;
use tapgate::http::{admin, listener};
use tapgate::stopping::{Stop, stopping};
use tapgate::treasury::follow::Follower;
use tapgate_engine::fact::{AlertKind, Author, Condition, PrefundProposed, Severity};
use tapgate_engine::journal::Settled;
use tapgate_engine::ledger::{Change, Ledger, Policy, PrefundChange, Reflected};
use tapgate_engine::money::{Currency, Minor};
use tapgate_engine::rows::State;
use tapgate_engine::testing::{MemoryStore, check_prefixes};
use tokio::net::TcpListener;

/// An admin listener over one store in memory; each role's token is its name.
struct Server {
    app: Arc<App>,
    store: Arc<MemoryStore>,
    http: reqwest::Client,
    base: String,
    _stop: Stop,
}

impl Server {
    async fn start() -> Server {
        let token = |role: &str| {
            let sha256: String = Sha256::digest(role).iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{{ name = \"{role}\", role = \"{role}\", sha256 = \"{sha256}\" }}")
        };
        let tokens = ["viewer", "operator", "treasurer"].map(token).join(", ");
        let signer = "0xee28dEaD5F114C8405BE3be1144D59A4110B7F79";
        let text = format!("ur.signers = [\"{signer}\"]\nur.feeds = false\nadmin.tokens = [{tokens}]\n");
        let no_files = |_: &Path| Err(io::Error::from(io::ErrorKind::NotFound));
        let config = Config::load(&text, "test.toml", [], no_files).unwrap();
        let store = MemoryStore::new();
        let ledger = Ledger::start(store.clone(), State::default(), Policy::default(), 1, Box::new(|_| {})).unwrap();
        let app = Arc::new(App::new(
            Arc::new(ledger),
            Arc::new(Follower::new(config.treasury)),
            Arc::new(Clock::start()),
            PrometheusBuilder::new().build_recorder().handle(),
            tokio::sync::mpsc::channel(1).0,
            Vec::new(),
        ));
        let bound = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}/api/v1", bound.local_addr().unwrap());
        let (stop, stopping) = stopping();
        let router = TowerToHyperService::new(admin::service(Arc::clone(&app), config.admin));
        tokio::spawn(listener::serve(bound, router, stopping));
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
        Server { app, store, http, base, _stop: stop }
    }

    async fn ask(&self, method: Method, path: &str, role: &str, body: Option<Value>) -> (StatusCode, Value) {
        let mut request = self.http.request(method, format!("{}{path}", self.base)).bearer_auth(role);
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let answer = request.send().await.unwrap();
        let status = answer.status();
        (status, serde_json::from_str(&answer.text().await.unwrap()).unwrap())
    }

    async fn get(&self, path: &str) -> Value {
        let (status, answer) = self.ask(Method::GET, path, "viewer", None).await;
        assert_eq!(status, StatusCode::OK, "{path}: {answer}");
        answer
    }

    /// POSTs as a treasurer, and expects this status.
    async fn post(&self, path: &str, body: Value, expected: StatusCode) -> Value {
        let (status, answer) = self.ask(Method::POST, path, "treasurer", Some(body)).await;
        assert_eq!(status, expected, "{path}: {answer}");
        answer
    }

    fn raise(&self, subject: &str, severity: Severity) {
        let condition = Condition {
            kind: AlertKind::PoolLow,
            subject: subject.into(),
            severity,
            title: "The pool runs low".into(),
            text: "Send a top-up today.".into(),
            facts: vec![("available".into(), "90000 EUR".into())],
        };
        let word = self.app.ledger.raise_alert(condition, self.app.clock.now()).unwrap().unwrap();
        assert_eq!(word.block(), Settled::Durable);
    }

    fn change(&self, change: Change) {
        let receipt = self.app.ledger.change(&Author::Engine, change, self.app.clock.now()).unwrap();
        assert_eq!(receipt.word.unwrap().block(), Settled::Durable);
    }

    fn check(self) {
        self.app.ledger.write_rows().unwrap();
        self.app.ledger.journal().close();
        check_prefixes(&self.store);
    }
}

fn ids(list: &Value) -> Vec<String> {
    let id = |item: &Value| item["id"].as_str().unwrap().to_owned();
    list["items"].as_array().unwrap().iter().map(id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_takes_an_alert_on_until_it_becomes_worse() {
    let server = Server::start().await;
    server.raise("EUR", Severity::Urgent);
    let shown = server.get("/alerts/1").await;
    assert_eq!(
        (&shown["state"], &shown["severity"], &shown["notified"]),
        (&json!("open"), &json!("urgent"), &json!(1))
    );
    assert_eq!(server.get("/alerts").await["items"], json!([shown]));
    let path = "/alerts/1/acknowledge";
    let (forbidden, _) = server.ask(Method::POST, path, "viewer", Some(json!({}))).await;
    assert_eq!(forbidden, StatusCode::FORBIDDEN);
    let taken = server.post(path, json!({"reason": "on it"}), StatusCode::OK).await;
    assert_eq!(
        (&taken["acknowledged"]["by"], &taken["acknowledged"]["reason"]),
        (&json!("treasurer"), &json!("on it"))
    );
    server.post(path, json!({}), StatusCode::CONFLICT).await;
    server.raise("EUR", Severity::Critical);
    let worse = server.get("/alerts/1").await;
    assert_eq!((&worse["acknowledged"], &worse["notified"]), (&Value::Null, &json!(2)));
    let (status, by_operator) = server.ask(Method::POST, path, "operator", None).await;
    assert_eq!(
        (status, &by_operator["acknowledged"]["reason"]),
        (StatusCode::OK, &Value::Null),
        "nothing need be said"
    );
    server.check();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_is_silenced_for_so_long_or_until_a_time() {
    let server = Server::start().await;
    server.raise("EUR", Severity::Urgent);
    let path = "/alerts/1/silence";
    let now = server.app.clock.now().at.seconds().0;
    let silenced = server.post(path, json!({"seconds": 3_600}), StatusCode::OK).await;
    assert!((now + 3_600..now + 3_630).contains(&silenced["silencedUntil"].as_i64().unwrap()), "{silenced}");
    let silenced = server.post(path, json!({"until": now + 60}), StatusCode::OK).await;
    assert_eq!(silenced["silencedUntil"], json!(now + 60));
    server.post(path, json!({"seconds": 31 * 86_400}), StatusCode::BAD_REQUEST).await;
    let told = server.post(path, json!({"seconds": 0}), StatusCode::OK).await;
    assert_eq!(told["silencedUntil"], Value::Null, "the silence is over");
    server.check();
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_filtered_and_paged_from_memory_and_the_disk() {
    let server = Server::start().await;
    for subject in ["EUR", "USD", "CHF"] {
        server.raise(subject, Severity::Notice);
    }
    server.app.ledger.write_rows().unwrap();
    server.app.ledger.resolve_alert(AlertKind::PoolLow, "USD", server.app.clock.now()).unwrap().unwrap().block();
    server.app.ledger.write_rows().unwrap();
    assert_eq!(ids(&server.get("/alerts").await), ["3", "1"], "newest first");
    assert_eq!(ids(&server.get("/alerts?state=resolved").await), ["2"]);
    assert_eq!(ids(&server.get("/alerts?state=all&subject=USD").await), ["2"]);
    assert!(ids(&server.get("/alerts?state=all&kind=drift").await).is_empty());
    let first = server.get("/alerts?state=all&limit=2").await;
    assert_eq!((ids(&first), &first["next"]), (vec!["3".to_owned(), "2".to_owned()], &json!("2")));
    let last = server.get("/alerts?state=all&limit=2&cursor=2").await;
    assert_eq!((ids(&last), &last["next"]), (vec!["1".to_owned()], &Value::Null));
    server.post("/alerts/2/acknowledge", json!({}), StatusCode::CONFLICT).await;
    server.check();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proposal_waits_for_the_treasurer() {
    let server = Server::start().await;
    server.change(Change::ReportPool {
        currency: Currency::EUR,
        reported: Some(Minor(100_000)),
        floor: None,
        reserve: None,
        reflected: Some(Reflected::Now),
    });
    server.change(Change::Prefund(PrefundChange::Propose(PrefundProposed {
        currency: Currency::EUR,
        amount: Minor(50_000),
        reference: "deposit 1".into(),
        request_id: "request 1".into(),
        expected_at: None,
    })));
    let shown = server.get("/prefunds/2").await;
    assert_eq!(
        (&shown["state"], &shown["proposed"]["by"], &shown["requestId"]),
        (&json!("proposed"), &json!("engine"), &json!("request 1"))
    );
    for role in ["viewer", "operator"] {
        let (status, answer) = server.ask(Method::POST, "/prefunds/2/approve", role, Some(json!({}))).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{role}: {answer}");
    }
    let approved = server.post("/prefunds/2/approve", json!({}), StatusCode::OK).await;
    assert_eq!((&approved["state"], &approved["approved"]["by"]), (&json!("approved"), &json!("treasurer")));
    server.post("/prefunds/2/approve", json!({}), StatusCode::CONFLICT).await;
    assert_eq!(server.get("/pools/EUR").await["available"], json!("100000"));
    server.check();
}
