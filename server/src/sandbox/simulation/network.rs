//! The network: carries what the server sends to the simulated UR and to receivers, slowly, wrongly, or not at all.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::service::Service;
use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::service::TowerToHyperService;
use tapgate_engine::time::UnixMillis;

use super::chance::Chance;
use super::disk::Mounted;
use super::wall::Wall;
use crate::outgoing::{Answer, Carrier, Carrying, Failure, Rest};

/// How long the client waits: not the 15 s of a real one, which are days on a fast clock.
const TIMEOUT: Duration = Duration::from_millis(100);

/// How UR answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Manners {
    #[default]
    Well,
    /// Nobody answers.
    Away,
    /// It does what it is asked, and its answer does not come.
    Deaf,
    /// It answers with an error of its own.
    Failing,
    /// What comes is no answer of UR's.
    Garbled,
}

/// How a receiver takes what it is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Taking {
    #[default]
    Well,
    /// Nobody is there.
    Away,
    /// It takes the message, and its answer does not come.
    Deaf,
    /// It is overloaded.
    Busy,
}

/// A message as a receiver has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Received {
    pub(super) receiver: String,
    pub(super) id: String,
    pub(super) body: Bytes,
    /// Whether the sender was told that it is there.
    pub(super) is_told: bool,
}

/// What UR is asked all the time, and the longest pause in between while it answers: the server's disk may take hours for a
/// sync.
const ASKED: [(&str, Duration); 2] =
    [("/v1/balance", Duration::from_secs(86_400)), ("/v1/profile", Duration::from_secs(3 * 86_400))];

/// What a receiver has taken is noted so much later at most: a process that ends before does not know.
const NOTED_WITHIN: Duration = Duration::from_secs(12 * 3_600);

/// The state of the world outside.
#[derive(Default)]
struct Outside {
    ur: Manners,
    /// Since when UR answers as it does, and when it was asked last, by path.
    ur_since: UnixMillis,
    asked: BTreeMap<String, UnixMillis>,
    receivers: BTreeMap<String, Taking>,
    /// Since when a receiver has taken nothing, from when times were bad first, and when it took something again.
    ill: BTreeMap<String, (UnixMillis, Option<UnixMillis>)>,
    received: Vec<Received>,
    /// Calls to UR, by path.
    calls: BTreeMap<String, u64>,
}

/// The world outside, which outlives every process.
pub(super) struct Network {
    outside: Mutex<Outside>,
    ur: TowerToHyperService<Router>,
    chance: Chance,
    wall: Arc<Wall>,
}

impl Network {
    pub(super) fn new(ur: Router, chance: Chance, wall: Arc<Wall>) -> Arc<Network> {
        Arc::new(Network { outside: Mutex::default(), ur: TowerToHyperService::new(ur), chance, wall })
    }

    fn outside(&self) -> MutexGuard<'_, Outside> {
        self.outside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_ur(&self, manners: Manners) {
        let mut outside = self.outside();
        (outside.ur, outside.ur_since) = (manners, self.wall.now());
    }

    pub(super) fn set_receiver(&self, host: &str, taking: Taking) {
        let mut outside = self.outside();
        outside.receivers.insert(host.to_owned(), taking);
        if taking != Taking::Well {
            let now = self.wall.now();
            let ill = outside.ill.entry(host.to_owned()).or_insert((now, None));
            if ill.1.is_some() {
                *ill = (now, None);
            }
        }
    }

    pub(super) fn all_is_well(&self) {
        self.set_ur(Manners::Well);
        self.outside().receivers.clear();
    }

    /// A process begins: it may not know what receivers took at the end of the one before.
    pub(super) fn process_begins(&self) {
        for (_, until) in self.outside().ill.values_mut() {
            *until = until.filter(|until| self.wall.since(*until) > NOTED_WITHIN);
        }
    }

    /// A path that UR has not been asked for too long although it answers and a process has lived since `alive`.
    pub(super) fn unasked(&self, alive: UnixMillis) -> Option<(&'static str, Duration)> {
        let outside = self.outside();
        let unasked = ASKED.into_iter().map(|(path, most)| {
            let asked = outside.asked.get(path).copied().unwrap_or_default();
            (path, self.wall.since(asked.max(outside.ur_since).max(alive)), most)
        });
        let mut too_long = unasked.filter(|(_, since, most)| outside.ur == Manners::Well && since > most);
        too_long.next().map(|(path, since, _)| (path, since))
    }

    /// How long a receiver has taken nothing, since times were bad first.
    pub(super) fn ill_for(&self, host: &str) -> Duration {
        match self.outside().ill.get(host) {
            Some((since, None)) => self.wall.since(*since),
            _ => Duration::ZERO,
        }
    }

    /// What receivers got since it was asked last.
    pub(super) fn take_received(&self) -> Vec<Received> {
        std::mem::take(&mut self.outside().received)
    }

    /// Calls to UR so far.
    pub(super) fn calls(&self) -> BTreeMap<String, u64> {
        self.outside().calls.clone()
    }

    async fn ask_ur(&self, request: Request<Bytes>, most: usize) -> Result<Answer, Failure> {
        let manners = self.outside().ur;
        let broken = |what: &str| Failure::Broken(what.to_owned());
        match manners {
            Manners::Away => return Err(broken("connection refused")),
            Manners::Failing => return Ok(answer(StatusCode::BAD_GATEWAY, "bad gateway")),
            Manners::Garbled => return Ok(answer(StatusCode::OK, "<html>Maintenance</html>")),
            Manners::Well | Manners::Deaf => {}
        }
        self.outside().asked.insert(request.uri().path().to_owned(), self.wall.now());
        *self.outside().calls.entry(request.uri().path().to_owned()).or_default() += 1;
        let answered = self.ur.call(request.map(Full::new)).await.map_err(|_| broken("unreachable"))?;
        let (head, body) = answered.into_parts();
        let body = body.collect().await.map_err(|error| broken(&error.to_string()))?.to_bytes().to_vec();
        if manners == Manners::Deaf {
            tokio::time::sleep(TIMEOUT).await;
            return Err(Failure::Timeout);
        }
        if body.len() > most {
            return Err(broken("the simulated UR's answer is too long"));
        }
        Ok(Answer { status: head.status, headers: head.headers, body, rest: Rest::Nothing })
    }

    async fn deliver(&self, request: Request<Bytes>) -> Result<Answer, Failure> {
        let host = request.uri().host().unwrap_or_default().to_owned();
        let taking = self.outside().receivers.get(&host).copied().unwrap_or_default();
        match taking {
            Taking::Away => return Err(Failure::Broken("connection refused".to_owned())),
            Taking::Busy => return Ok(answer(StatusCode::SERVICE_UNAVAILABLE, "busy")),
            Taking::Well | Taking::Deaf => {}
        }
        let id = request.headers().get("webhook-id").and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned();
        let is_told = taking == Taking::Well;
        if is_told && let Some((_, until)) = self.outside().ill.get_mut(&host) {
            *until = Some(self.wall.now());
        }
        let received = Received { receiver: host, id, body: request.into_body(), is_told };
        self.outside().received.push(received);
        if is_told {
            // Slack answers "ok"; PagerDuty's status is 202.
            Ok(answer(StatusCode::ACCEPTED, "ok"))
        } else {
            tokio::time::sleep(TIMEOUT).await;
            Err(Failure::Timeout)
        }
    }
}

fn answer(status: StatusCode, body: &str) -> Answer {
    Answer { status, headers: HeaderMap::new(), body: body.as_bytes().to_vec(), rest: Rest::Nothing }
}

/// The network as one process reaches it: after its end nothing leaves it, and nothing comes back.
pub(super) struct Line {
    pub(super) network: Arc<Network>,
    pub(super) process: Arc<Mounted>,
    /// The longest way there, and back, in milliseconds.
    pub(super) way: u64,
}

/// The host of UR.
pub(super) const UR_HOST: &str = "ur.example.com";

impl Carrier for Line {
    fn carry(&self, request: Request<Bytes>, most: usize) -> Carrying<'_> {
        let Line { network, process, way } = self;
        Box::pin(async move {
            tokio::time::sleep(network.chance.millis(*way)).await;
            if process.is_dead() {
                return std::future::pending().await;
            }
            let is_urs = request.uri().host() == Some(UR_HOST);
            let answered = if is_urs { network.ask_ur(request, most).await } else { network.deliver(request).await };
            tokio::time::sleep(network.chance.millis(*way)).await;
            answered
        })
    }
}
