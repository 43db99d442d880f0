//! Both listeners over an injected store: the stage of every server test that is written in Rust.

#![expect(clippy::unwrap_used, reason = "a test that meets the unexpected stops")]

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusBuilder;
use sha2::{Digest, Sha256};
use tapgate::clock::Clock;
use tapgate::config::Config;
use tapgate::http::context::App;
use tapgate::http::listener::{self, CONNECTIONS_MAX, Terms};
use tapgate::http::places::Places;
use tapgate::http::{admin, public::Public};
use tapgate::provider::hint::Hint;
use tapgate::randomness::Randomness;
use tapgate::signature::SigningKey;
use tapgate::stopping::{Stop, stopping};
use tapgate::treasury::follow::Follower;
use tapgate_engine::ledger::{Ledger, Policy};
use tapgate_engine::rows::State;
use tapgate_engine::store::Store;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, mpsc};

/// The latest an approval may be answered: the least that a configuration may set.
pub(crate) const DEADLINE: Duration = Duration::from_millis(50);

/// A server with an empty journal. `key` signs as UR; each role's admin token is the role's name.
pub(crate) struct Server {
    pub(crate) app: Arc<App>,
    pub(crate) public: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) key: SigningKey,
    /// What the feeds would be told.
    pub(crate) hints: Mutex<mpsc::Receiver<Hint>>,
    _stop: Stop,
}

impl Server {
    pub(crate) async fn over(store: Arc<dyn Store>) -> Server {
        Server::within(store, DEADLINE).await
    }

    /// The same with another deadline of approvals, which may be longer than a configuration's.
    pub(crate) async fn within(store: Arc<dyn Store>, deadline: Duration) -> Server {
        let key = SigningKey::from_bytes([0xA1; 32]).unwrap();
        let ledger = Ledger::start(store, State::default(), Policy::default(), 1, Box::new(|_| {})).unwrap();
        let mut config = config(&key);
        config.public.deadline = deadline;
        let (hint, hints) = mpsc::channel(8);
        let app = Arc::new(App::new(
            Arc::new(ledger),
            Arc::new(Follower::new(config.treasury)),
            Arc::new(Clock::start()),
            PrometheusBuilder::new().build_recorder().handle(),
            hint,
            Vec::new(),
            Randomness::of_system(),
        ));
        let (stop, stopping) = stopping();
        let [public, admin] = [bind().await, bind().await];
        let addresses = [&public, &admin].map(|listener| listener.local_addr().unwrap());
        let answers = Public::new(Arc::clone(&app), config.public);
        tokio::spawn(answers.pressure().watch(Arc::clone(&app.ledger), stopping.clone()));
        tokio::spawn(listener::serve(
            public,
            Terms::UR,
            Places::new(config.connections.public(CONNECTIONS_MAX)),
            answers.services(),
            |_| {},
            stopping.clone(),
        ));
        tokio::spawn(listener::serve(
            admin,
            Terms::PEOPLE,
            Places::new(config.connections.admin(CONNECTIONS_MAX)),
            admin::services(Arc::clone(&app), config.admin, Handle::current()),
            |_| {},
            stopping,
        ));
        let [public, admin] = addresses;
        Server { app, public, admin, key, hints: Mutex::new(hints), _stop: stop }
    }
}

fn config(key: &SigningKey) -> Config {
    let token = |role: &str| {
        let sha256: String = Sha256::digest(role).iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{{ name = \"{role}\", role = \"{role}\", sha256 = \"{sha256}\" }}")
    };
    let tokens = ["viewer", "operator", "treasurer"].map(token).join(", ");
    let text = format!("ur.signers = [\"{}\"]\nur.feeds = false\nadmin.tokens = [{tokens}]\n", key.address());
    let no_files = |_: &Path| Err(io::Error::from(io::ErrorKind::NotFound));
    Config::load(&text, "test.toml", [], no_files).unwrap()
}

async fn bind() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}
