//! What UR is told when the disk is slow or fails, over a real connection.

#![expect(clippy::unwrap_used, reason = "a test that meets the unexpected stops")]

use std::time::{Duration, Instant};

use tapgate::health::Health;
use tapgate::provider::hint::Hint;
use tapgate_engine::fact::{Channel, Kind, Merchant, Request};
use tapgate_engine::ids::Sequence;
use tapgate_engine::journal::Durability;
use tapgate_engine::money::{Currency, Minor};
use tapgate_engine::testing::{FailAfter, Gated, MemoryStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{DEADLINE, Server};

/// What no machine takes for a record.
const PATIENCE: Duration = Duration::from_secs(60);

const UNKNOWN_USER: &str = r#""reason":"unknown_user","responseCode":"14""#;
const DEADLINE_EXCEEDED: &str = r#""reason":"deadline_exceeded","responseCode":"91""#;
const JOURNAL_UNAVAILABLE: &str = r#""reason":"journal_unavailable","responseCode":"96""#;
const OUTCOME_UNKNOWN: &str = r#""code":"outcome_unknown""#;
const NOT_READY: &str = r#""code":"not_ready""#;

// Without users every new authorization is declined `unknown_user`.
impl Server {
    /// Sends one authorization.
    async fn send(&self, id: &str) -> TcpStream {
        let now = self.app.clock.now().at.0 / 1000;
        let data = format!(
            r#"{{"authorizationId":"{id}","urId":1,"cardId":"c","transactionAmount":1,"transactionCurrency":"EUR"}}"#
        );
        let body = format!(r#"{{"event":"card_authorization","timestamp":{now},"data":{data}}}"#);
        let signature = self.key.sign_hex(&[body.as_bytes()]);
        let head = format!(
            "POST /webhooks/ur HTTP/1.1\r\nHost: tapgate\r\nConnection: close\r\nX-Api-Signature: {signature}\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        let mut stream = TcpStream::connect(self.public).await.unwrap();
        stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        stream
    }

    /// Sends one authorization and reads the whole answer.
    async fn ask(&self, id: &str) -> String {
        let mut stream = self.send(id).await;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn check(&self, id: &str, status: u16, says: &str) {
        let answer = self.ask(id).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert!(answer.contains(says), "{answer}");
    }

    /// Whether there is such a record at last.
    async fn claims(&self, sequence: u64) -> bool {
        tokio::time::timeout(PATIENCE, self.claimed(sequence)).await.is_ok()
    }

    async fn claimed(&self, sequence: u64) {
        while self.app.ledger.journal().claimed() < Sequence(sequence) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_late_is_declined_once_its_release_is_durable_and_for_ever() {
    let store = Gated::new(MemoryStore::new(), false);
    let server = Server::over(store.clone()).await;
    let late = async {
        // The decision is the first record, its release the second: the disk completes both only now.
        server.claimed(2).await;
        store.set_open(true);
    };
    tokio::join!(server.check("late", 200, DEADLINE_EXCEEDED), late);
    server.check("late", 200, DEADLINE_EXCEEDED).await;
    server.check("in_time", 200, UNKNOWN_USER).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_changes_nothing() {
    for resets in [false, true] {
        let store = Gated::new(MemoryStore::new(), false);
        let server = Server::over(store.clone()).await;
        let stream = server.send("left").await;
        server.claimed(1).await;
        if resets {
            stream.set_zero_linger().unwrap();
        }
        drop(stream);
        let is_released = server.claims(2).await;
        // A closed store would keep a failing test from ending.
        store.set_open(true);
        assert!(is_released, "as everything that is late is");
        // UR did not hear that it was declined, and may have approved by itself.
        let hint = tokio::time::timeout(PATIENCE, async { server.hints.lock().await.recv().await }).await;
        assert!(matches!(hint, Ok(Some(Hint::Unheard { user, .. })) if user.as_str() == "1"), "{resets}");
        server.check("left", 200, DEADLINE_EXCEEDED).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_has_said_everything_gets_its_answer() {
    let store = Gated::new(MemoryStore::new(), false);
    let server = Server::within(store.clone(), PATIENCE).await;
    let mut stream = server.send("half").await;
    stream.shutdown().await.unwrap();
    server.claimed(1).await;
    store.set_open(true);
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains(UNKNOWN_USER), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_disk_does_not_complete_in_time_is_unknown_until_it_does() {
    let store = Gated::new(MemoryStore::new(), false);
    let server = Server::over(store.clone()).await;
    let asked = Instant::now();
    server.check("stuck", 503, OUTCOME_UNKNOWN).await;
    assert!(asked.elapsed() >= DEADLINE, "{:?}", asked.elapsed());
    store.set_open(true);
    server.check("stuck", 200, DEADLINE_EXCEEDED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_journal_leaves_one_outcome_unknown_and_declines_from_then_on() {
    let server = Server::over(FailAfter::new(MemoryStore::new(), 0)).await;
    server.check("first", 503, OUTCOME_UNKNOWN).await;
    server.check("second", 200, JOURNAL_UNAVAILABLE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_shed_at_the_edge_is_not_decided() {
    let server = Server::over(MemoryStore::new()).await;
    for set in [Health::set_stalled, Health::set_disk_full] {
        set(&server.app.health, true);
        server.check("shed", 503, NOT_READY).await;
        let (status, body) = suspend(&server).await;
        assert_eq!((status, body.contains("not_ready")), (503, true), "a change is a record, too: {body}");
        assert!(server.app.health.ready().is_err());
        set(&server.app.health, false);
    }
    assert_eq!(server.app.ledger.journal().claimed(), Sequence::ZERO);
    server.check("shed", 200, UNKNOWN_USER).await;
}

/// Records that may wait for any disk (`http::pressure`).
const WAITING_LEAST: u64 = 2_048;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_decided_is_answered_while_the_journal_takes_nothing_new() {
    let store = Gated::new(MemoryStore::new(), true);
    let server = Server::over(store.clone()).await;
    server.check("known", 200, UNKNOWN_USER).await;
    store.set_open(false);
    for number in 0..=WAITING_LEAST {
        server.app.ledger.submit(unknown_user(&format!("waiting-{number}")), server.app.clock.now()).unwrap();
    }
    let is_full = async {
        let mut number = 0;
        while !server.ask(&format!("new-{number}")).await.contains(r#""code":"overloaded""#) {
            number += 1;
        }
    };
    let is_full = tokio::time::timeout(PATIENCE, is_full).await;
    let again = server.ask("known").await;
    // A journal that waits for its disk does not end.
    store.set_open(true);
    is_full.unwrap();
    assert!(again.starts_with("HTTP/1.1 200 ") && again.contains(UNKNOWN_USER), "{again}");
}

fn http() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap()
}

/// GETs as a viewer: the status, and the body.
async fn read(server: &Server, path: &str) -> (u16, String) {
    let address = format!("http://{}/api/v1{path}", server.admin);
    let answer = http().get(address).bearer_auth("viewer").send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

/// Changes something as an operator, likewise.
async fn suspend(server: &Server) -> (u16, String) {
    let address = format!("http://{}/api/v1/program", server.admin);
    let change = serde_json::json!({"suspended": true, "reason": "a test"});
    let answer = http().post(address).bearer_auth("operator").json(&change).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_read_shows_what_the_disk_does_not_have() {
    let store = Gated::new(MemoryStore::new(), true);
    let server = Server::over(store.clone()).await;
    store.set_open(false);
    let asked = server.app.ledger.submit(unknown_user("pending"), server.app.clock.now()).unwrap();
    let paths = ["/authorizations/pending", "/stats", "/program", "/alerts", "/breaks", "/pools", "/users/1"];
    let mut reads = tokio::task::JoinSet::new();
    let server = std::sync::Arc::new(server);
    for path in paths {
        let server = std::sync::Arc::clone(&server);
        reads.spawn(async move { (path, read(&server, path).await) });
    }
    // Every read that is answered before the disk opens is an answer too early.
    let early = tokio::time::timeout(Duration::from_millis(200), reads.join_next()).await;
    assert!(early.is_err(), "{early:?}");
    store.set_open(true);
    while let Some(done) = reads.join_next().await {
        let (path, (status, body)) = done.unwrap();
        assert_eq!(status, if path == "/users/1" { 404 } else { 200 }, "{path}: {body}");
    }
    // Readers are told a moment before the decision's own waiter.
    assert_eq!(asked.ticket.unwrap().wait().await, Durability::Durable);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_the_disk_holds_up_is_refused() {
    let store = Gated::new(MemoryStore::new(), false);
    let server = Server::over(store.clone()).await;
    server.app.ledger.submit(unknown_user("stuck"), server.app.clock.now()).unwrap();
    let (status, body) = read(&server, "/authorizations/stuck").await;
    assert_eq!((status, body.contains("not_ready")), (503, true), "{body}");
    server.app.health.set_stalled(true);
    let (status, _) = read(&server, "/authorizations/stuck").await;
    assert_eq!(status, 503, "a stall that is known is not waited for");
    store.set_open(true);
}

fn unknown_user(id: &str) -> Request {
    Request {
        id: id.parse().unwrap(),
        kind: Kind::Authorization,
        original: None,
        user: "1".parse().unwrap(),
        card: "c".parse().unwrap(),
        amount: Minor(1),
        currency: Currency::EUR,
        settlement_amount: None,
        settlement_currency: None,
        partial_approval_allowed: false,
        merchant: Merchant::default(),
        channel: Channel::Pos,
        currency_given: None,
    }
}
