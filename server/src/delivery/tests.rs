//! Whole deliveries: a journal in memory, workers, and misbehaving receivers on real sockets.

use std::collections::{BTreeSet, VecDeque};
use std::future::pending;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::json;
use tapgate_engine::bytes::Fingerprint;
use tapgate_engine::fact::{Author, IdempotencyKey};
use tapgate_engine::ids::Sequence;
use tapgate_engine::time::{UnixMillis, UnixSeconds};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::channel::guard::{Endpoint, Guard};
use super::channel::post::Post;
use super::channel::signing::{WebhookSecret, signatures};
use super::channel::webhook::Webhook;
use super::channel::{pagerduty, secret, slack};
use super::message::notice;
use super::tail::NotRejected;
use super::tail::{Limits, State};
use super::worker::{Handle, OrderError, Setup, Worker};
use super::*;
use crate::beside::Beside;
use crate::clock::Clock;
use crate::randomness::Randomness;

const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const OTHER_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// Deadline of an unanswered attempt, in real time.
const TIMEOUT: Duration = Duration::from_millis(200);
/// An hour of pauses takes 36 ms.
const SPEED: u32 = 100_000;

/// A journal of events in memory, with one position.
#[derive(Debug, Default)]
struct Journal {
    messages: Vec<Message<Event>>,
    position: Mutex<Option<Position>>,
    stores: Mutex<u32>,
    /// The stored orders, and whether the journal refuses further ones.
    orders: Mutex<Vec<(Order, Author)>>,
    is_full: Mutex<bool>,
    /// Records exist up to here, with or without messages.
    empty_through: Mutex<Sequence>,
}

impl Journal {
    /// Record n is of user n mod 7; every third record has no message.
    fn of(records: u64) -> Arc<Journal> {
        let event = |record: u64| {
            let place = Place { record: Sequence(record), part: 0 };
            let at = UnixMillis(1_768_659_501_000 + record);
            let kind = EventKind::AuthorizationApproved;
            let content = Event::new(place.to_string(), kind, at, &json!({"authorizationId": record.to_string()}));
            let lane = Some(compact_str::format_compact!("user {}", record % 7));
            Message { place, lane, at, kind: kind.name(), content }
        };
        let messages = (1..=records).filter(|record| record % 3 != 0).map(event).collect();
        let position = Mutex::new(Some(Position::default()));
        Arc::new(Journal { messages, position, ..Journal::default() })
    }

    fn ids(&self) -> Vec<String> {
        self.messages.iter().map(|message| message.content.id.clone()).collect()
    }
}

/// The journal stores no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the journal is full")]
struct Full;

impl Outbox for Journal {
    type Content = Event;
    type Error = Full;

    fn after(&self, place: Place, max: usize) -> Result<Batch<Event>, Full> {
        let messages: Vec<_> =
            self.messages.iter().filter(|message| message.place > place).take(max).cloned().collect();
        let through = match messages.get(max - 1) {
            Some(last) => last.place,
            None => Place::end_of(self.newest()).max(place),
        };
        let more = messages.len() == max;
        Ok(Batch { messages, through, more })
    }

    fn newest(&self) -> Sequence {
        let told = self.messages.last().map_or(Sequence::ZERO, |message| message.place.record);
        told.max(*self.empty_through.lock().unwrap())
    }

    fn position(&self, _: &str) -> Result<Option<Position>, Full> {
        Ok(self.position.lock().unwrap().clone())
    }

    fn store_position(&self, _: &str, position: &Position) -> Result<(), Full> {
        *self.stores.lock().unwrap() += 1;
        *self.position.lock().unwrap() = Some(position.clone());
        Ok(())
    }

    fn is_repeated(&self, by: &Author) -> Result<bool, Full> {
        let has_key = matches!(by, Author::Person { idempotency: Some(_), .. });
        Ok(has_key && self.orders.lock().unwrap().iter().any(|(_, before)| before == by))
    }

    fn store_order(&self, name: &str, order: &Order, position: &Position, by: &Author) -> Result<(), Full> {
        if *self.is_full.lock().unwrap() {
            return Err(Full);
        }
        self.orders.lock().unwrap().push((order.clone(), by.clone()));
        self.store_position(name, position)
    }
}

/// The receiver's reaction to one request.
#[derive(Clone, Copy, Debug)]
enum Answer {
    Status(u16),
    RetryAfter(u16, u32),
    Redirect(SocketAddr),
    Never,
    /// Answers 204 once the test permits it.
    Slow,
}

/// A receiver on a real socket. It follows its script, then answers 204.
#[derive(Clone, Default)]
struct Server {
    script: Arc<Mutex<VecDeque<Answer>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
    /// The message that it answers with 422, whatever the script says.
    rejects: Arc<Mutex<Option<String>>>,
    /// Unanswered requests that the client has closed.
    given_up: Arc<Mutex<u32>>,
    /// Releases one slow answer.
    go_on: Arc<tokio::sync::Notify>,
}

/// Counts on drop.
struct Counted(Arc<Mutex<u32>>);

impl Drop for Counted {
    fn drop(&mut self) {
        *self.0.lock().unwrap() += 1;
    }
}

#[derive(Clone, Debug)]
struct Seen {
    id: String,
    at: i64,
    signature: String,
    body: Bytes,
    accepted: bool,
}

impl Server {
    async fn start(script: &[Answer]) -> (Server, Endpoint) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Server { script: Arc::new(Mutex::new(script.iter().copied().collect())), ..Server::default() };
        server.serve(listener);
        (server, endpoint(address))
    }

    fn serve(&self, listener: TcpListener) {
        let server = self.clone();
        let answer = move |headers: HeaderMap, body: Bytes| async move { server.answer(&headers, body).await };
        let app = Router::new().route("/hooks", post(answer));
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    }

    async fn answer(&self, headers: &HeaderMap, body: Bytes) -> Response {
        let header = |name: &str| headers[name].to_str().unwrap().to_owned();
        let is_rejected = self.rejects.lock().unwrap().as_ref() == Some(&header("webhook-id"));
        let next = || self.script.lock().unwrap().pop_front().unwrap_or(Answer::Status(204));
        let answer = if is_rejected { Answer::Status(422) } else { next() };
        assert_eq!(header("content-type"), "application/json");
        self.seen.lock().unwrap().push(Seen {
            id: header("webhook-id"),
            at: header("webhook-timestamp").parse().unwrap(),
            signature: header("webhook-signature"),
            body,
            accepted: matches!(answer, Answer::Status(200..=299) | Answer::Slow),
        });
        let status = |code: u16| StatusCode::from_u16(code).unwrap();
        match answer {
            Answer::Status(code) => status(code).into_response(),
            Answer::RetryAfter(code, seconds) => (status(code), [("retry-after", seconds.to_string())]).into_response(),
            Answer::Redirect(to) => (status(307), [("location", format!("http://{to}/hooks"))]).into_response(),
            Answer::Never => {
                let _counted = Counted(Arc::clone(&self.given_up));
                pending().await
            }
            Answer::Slow => {
                self.go_on.notified().await;
                status(204).into_response()
            }
        }
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    fn accepted(&self) -> BTreeSet<String> {
        self.seen().into_iter().filter(|seen| seen.accepted).map(|seen| seen.id).collect()
    }
}

fn endpoint(address: SocketAddr) -> Endpoint {
    format!("http://{address}/hooks").parse().unwrap()
}

fn webhook(to: Endpoint, timeout: Duration) -> Webhook {
    let post = Post::new(Guard { allow_private: true }, timeout).unwrap();
    Webhook::new(post, to, vec![SECRET.parse().unwrap()])
}

/// A running worker, and the means to stop it.
struct Running {
    handle: Handle<Full>,
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    fn start(journal: &Arc<Journal>, to: Endpoint, speed: u32) -> Running {
        Running::with(journal, webhook(to, TIMEOUT), speed)
    }

    fn with(journal: &Arc<Journal>, webhook: Webhook, speed: u32) -> Running {
        Running::on(if speed == 1 { Clock::start() } else { Clock::accelerated(speed) }, journal, webhook)
    }

    fn on(clock: Clock, journal: &Arc<Journal>, webhook: Webhook) -> Running {
        let limits = Limits { window: 32, concurrency: 4, park_after: Duration::from_secs(24 * 3_600) };
        let setup = Setup {
            name: "webhook".to_owned(),
            limits,
            clock: Arc::new(clock),
            randomness: Randomness::of_system(),
            beside: Beside::on_threads(),
        };
        let (worker, handle) = Worker::new(setup, Arc::clone(journal), webhook).unwrap();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(worker.run(async { drop(stopped.await) }));
        Running { handle, stop, task }
    }

    async fn end(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap();
    }
}

/// A person, with or without an idempotency key.
fn ops(key: &str) -> Author {
    let idempotency = IdempotencyKey { key: key.into(), fingerprint: Fingerprint::of(key.as_bytes()) };
    Author::Person { name: "ops".into(), idempotency: Some(idempotency).filter(|_| !key.is_empty()) }
}

/// Waits for another task; fails after a timeout.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(20), waiting).await.is_ok(), "waited in vain until {what}");
}

/// Each user's messages first arrived in order.
fn assert_ordered(seen: &[Seen]) {
    let mut known = BTreeSet::new();
    let mut last = [0; 7];
    for seen in seen.iter().filter(|seen| seen.accepted && known.insert(seen.id.clone())) {
        let record: usize = seen.id.split('-').next().unwrap().parse().unwrap();
        assert!(last[record % 7] < record, "{record} came before another one of its user");
        last[record % 7] = record;
    }
}

#[tokio::test]
async fn a_jump_of_wall_time_neither_parks_a_receiver_nor_puts_off_what_is_sent_again() {
    const MONTH: u64 = 30 * 86_400_000;
    let (server, to) = Server::start(&[Answer::Status(500), Answer::Status(500)]).await;
    let (ahead, began) = (Arc::new(AtomicU64::new(0)), tokio::time::Instant::now());
    let jumped = Arc::clone(&ahead);
    let wall = move || {
        let passed = u64::try_from(began.elapsed().as_millis()).unwrap() * u64::from(SPEED);
        UnixMillis(1_768_659_501_000 + passed + jumped.load(Ordering::Relaxed))
    };
    let journal = Journal::of(1);
    let running = Running::on(Clock::simulated(SPEED, wall), &journal, webhook(to, TIMEOUT));
    until("it has failed once", || !server.seen().is_empty()).await;
    ahead.store(MONTH, Ordering::Relaxed);
    until("it has failed again", || server.seen().len() > 1).await;
    ahead.store(0, Ordering::Relaxed);
    until("it is accepted", || !server.accepted().is_empty()).await;
    until("it says so", || running.handle.status().state == State::Delivering).await;
    running.end().await;
}

#[tokio::test]
async fn whatever_the_receiver_does_everything_arrives_in_order_with_the_same_bytes() {
    let (trap, elsewhere) = Server::start(&[]).await;
    let elsewhere = elsewhere.url().socket_addrs(|| None).unwrap()[0];
    let script = [
        Answer::Status(500),
        Answer::Never,
        Answer::RetryAfter(429, 7),
        Answer::Status(200),
        Answer::RetryAfter(503, 60),
        Answer::Redirect(elsewhere),
        Answer::Status(404),
        Answer::Status(401),
        Answer::Status(502),
        Answer::Status(202),
        Answer::Status(500),
    ];
    let (server, to) = Server::start(&script).await;
    let journal = Journal::of(100);
    let running = Running::start(&journal, to, SPEED);
    let all: BTreeSet<_> = journal.ids().into_iter().collect();
    until("all is accepted", || server.accepted() == all).await;
    until("it says so", || running.handle.status().oldest.is_none()).await;
    assert_eq!(running.handle.status().state, State::Delivering);
    running.end().await;
    let position = journal.position.lock().unwrap().clone().unwrap();
    assert_eq!(position, Position { through: Place::end_of(Sequence(100)), ..Position::default() });

    let seen = server.seen();
    assert_ordered(&seen);
    let secret: WebhookSecret = SECRET.parse().unwrap();
    for seen in &seen {
        let record = journal.messages.iter().find(|message| message.content.id == seen.id).unwrap();
        assert_eq!(seen.body, record.content.body, "the same bytes on every attempt");
        let expected = signatures(std::slice::from_ref(&secret), &seen.id, UnixSeconds(seen.at), &seen.body);
        assert_eq!(seen.signature, expected);
    }
    assert!(seen.len() >= all.len() + script.len() - 2, "every failure was followed by another attempt");
    assert!(trap.seen().is_empty(), "a redirect was followed");
}

#[tokio::test]
async fn a_receiver_that_is_not_there_is_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let journal = Journal::of(20);
    let running = Running::start(&journal, endpoint(address), SPEED);
    until("it fails", || matches!(running.handle.status().state, State::Failing(_))).await;
    let State::Failing(failing) = running.handle.status().state else { panic!("not failing") };
    assert!(failing.reason.starts_with("127.0.0.1: ") && failing.reason.contains("refused"), "{}", failing.reason);
    let server = Server::default();
    server.serve(TcpListener::bind(address).await.unwrap());
    let all: BTreeSet<_> = journal.ids().into_iter().collect();
    until("all is accepted", || server.accepted() == all).await;
    running.end().await;
}

#[tokio::test]
async fn a_connection_that_breaks_is_a_failure() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = endpoint(listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 64]).await;
        }
    });
    let event = &Journal::of(1).messages[0].content;
    let outcome = webhook(to, TIMEOUT).send(event, UnixSeconds(1)).await;
    assert!(matches!(&outcome, Outcome::Failed { reason, .. } if reason.starts_with("127.0.0.1: ")), "{outcome:?}");
}

#[tokio::test]
async fn gone_parks_and_a_person_resumes() {
    let (server, to) = Server::start(&[Answer::Status(200), Answer::Status(410)]).await;
    let journal = Journal::of(20);
    let running = Running::start(&journal, to.clone(), SPEED);
    until("it is parked", || matches!(running.handle.status().state, State::Parked(_))).await;
    running.end().await;
    assert!(server.accepted().len() < journal.ids().len());

    let running = Running::start(&journal, to, SPEED);
    let State::Parked(parked) = running.handle.status().state else { panic!("a restart forgot it") };
    assert_eq!(parked.reason, "HTTP 410 Gone: the receiver wants no more deliveries");
    running.handle.order(Order::Resume, ops("")).await.unwrap();
    let all: BTreeSet<_> = journal.ids().into_iter().collect();
    until("all is accepted", || server.accepted() == all).await;
    let seen = server.seen().len();
    running.handle.order(Order::Replay(Place { record: Sequence(10), part: 0 }), ops("")).await.unwrap();
    let from_10 = journal.messages.iter().filter(|message| message.place.record.0 >= 10).count();
    until("it is all sent again from there", || server.seen().len() == seen + from_10).await;
    running.end().await;
}

#[tokio::test]
async fn an_order_that_is_not_kept_is_not_carried_out() {
    let (server, to) = Server::start(&[Answer::Status(410)]).await;
    let journal = Journal::of(1);
    let running = Running::start(&journal, to, SPEED);
    until("it is parked", || matches!(running.handle.status().state, State::Parked(_))).await;
    let before = running.handle.status();
    *journal.is_full.lock().unwrap() = true;
    for order in [Order::Resume, Order::Replay(Place::default())] {
        assert_eq!(running.handle.order(order, ops("")).await, Err(OrderError::Outbox(Full)));
        assert_eq!(running.handle.status(), before);
    }
    *journal.is_full.lock().unwrap() = false;
    running.handle.order(Order::Resume, ops("")).await.unwrap();
    assert_eq!(*journal.orders.lock().unwrap(), [(Order::Resume, ops(""))]);
    assert_eq!(journal.position.lock().unwrap().as_ref().unwrap().parked, None, "it is kept when that returns");
    until("it is accepted", || server.accepted().len() == 1).await;
    running.end().await;
}

#[tokio::test]
async fn an_order_that_is_repeated_is_carried_out_once() {
    let (server, to) = Server::start(&[]).await;
    let journal = Journal::of(2);
    let running = Running::start(&journal, to, SPEED);
    until("all is accepted", || running.handle.status().accepted == 2).await;
    let replay = Order::Replay(Place::default());
    running.handle.order(replay.clone(), ops("key")).await.unwrap();
    assert!(running.handle.status().through.record < Sequence(1), "everything is to be sent again");
    until("all is accepted again", || running.handle.status().accepted == 4).await;
    let before = running.handle.status();
    running.handle.order(replay.clone(), ops("key")).await.unwrap();
    assert_eq!(running.handle.status(), before);
    running.handle.order(replay, ops("another")).await.unwrap();
    until("all is accepted a third time", || running.handle.status().accepted == 6).await;
    running.end().await;
    assert_eq!(server.seen().len(), 6);
}

#[tokio::test]
async fn a_message_that_is_rejected_is_told_of_and_skipped_by_a_person_alone() {
    let (server, to) = Server::start(&[]).await;
    let journal = Journal::of(100);
    *server.rejects.lock().unwrap() = Some("1-0".to_owned());
    let running = Running::start(&journal, to.clone(), SPEED);
    until("people are told", || running.handle.status().is_stuck).await;
    let told = running.handle.status().rejected;
    running.end().await;
    let before = server.accepted().len();
    assert!((1..32).contains(&before), "others pass, as far as the window reaches: {before}");

    let running = Running::start(&journal, to, SPEED);
    assert_eq!(running.handle.status().rejected, told, "a restart forgives nothing");
    let rejected = told.unwrap();
    let place = |record: u64| Place { record: Sequence(record), part: 0 };
    let said = rejected.trouble.reason.as_str();
    assert_eq!((rejected.place, &*rejected.kind), (place(1), "authorization.approved"));
    assert_eq!((said, rejected.others_pass), ("HTTP 422 Unprocessable Entity", true));

    let skip = |record: u64| Order::Skip { place: place(record), reason: "the account is closed".to_owned() };
    for (record, why) in [(2, "it was accepted"), (8, "it waits behind it"), (100, "it is not read yet")] {
        let refused = NotRejected { asked: place(record), rejected: Some(place(1)) };
        let answer = running.handle.order(skip(record), ops("")).await;
        assert_eq!(answer, Err(OrderError::NotRejected(refused)), "{why}");
    }
    for _ in 0..2 {
        running.handle.order(skip(1), ops("key")).await.unwrap();
    }
    assert_eq!(*journal.orders.lock().unwrap(), [(skip(1), ops("key"))]);
    assert!(journal.position.lock().unwrap().as_ref().unwrap().through >= place(1));
    until("all others are accepted", || server.accepted().len() == journal.ids().len() - 1).await;
    until("it says so", || running.handle.status().oldest.is_none()).await;
    let status = running.handle.status();
    assert_eq!((status.rejected, status.is_stuck, status.state), (None, false, State::Delivering));
    running.end().await;
    assert_ordered(&server.seen());
}

#[tokio::test]
async fn what_is_accepted_while_it_is_given_up_is_not_given_up() {
    let (server, to) = Server::start(&[Answer::Status(500), Answer::Slow]).await;
    let journal = Journal::of(1);
    let running = Running::with(&journal, webhook(to, Duration::from_secs(600)), SPEED);
    until("it is attempted again", || server.seen().len() == 2).await;
    let place = Place { record: Sequence(1), part: 0 };
    let skip = Order::Skip { place, reason: "no use".to_owned() };
    let skipping = running.handle.order(skip, ops(""));
    let (answer, ()) = tokio::join!(skipping, async { server.go_on.notify_one() });
    assert_eq!(answer, Err(OrderError::NotRejected(NotRejected { asked: place, rejected: None })));
    assert!(journal.orders.lock().unwrap().is_empty());
    running.end().await;
}

#[tokio::test]
async fn a_receiver_that_stays_down_is_parked() {
    let (server, to) = Server::start(&[Answer::Status(500); 10_000]).await;
    let running = Running::start(&Journal::of(20), to, SPEED);
    until("it is parked", || matches!(running.handle.status().state, State::Parked(_))).await;
    let attempts = server.seen().len();
    assert!((20..200).contains(&attempts), "{attempts} attempts in a day");
    running.end().await;
}

#[tokio::test]
async fn a_crash_repeats_and_loses_nothing() {
    let (server, to) = Server::start(&[Answer::Status(500); 3]).await;
    let journal = Journal::of(300);
    for _ in 0..5 {
        let running = Running::start(&journal, to.clone(), SPEED);
        let before = server.seen().len();
        until("some arrive", || server.seen().len() > before + 20).await;
        running.task.abort();
    }
    let running = Running::start(&journal, to, SPEED);
    let all: BTreeSet<_> = journal.ids().into_iter().collect();
    until("all is accepted", || server.accepted() == all).await;
    running.end().await;
    assert_ordered(&server.seen());
}

#[tokio::test]
async fn positions_are_stored_at_most_once_a_second_and_at_the_end() {
    let (server, to) = Server::start(&[]).await;
    let journal = Journal::of(300);
    let running = Running::start(&journal, to, 1);
    until("all is accepted", || server.accepted().len() == journal.ids().len()).await;
    running.end().await;
    let stores = *journal.stores.lock().unwrap();
    assert!((1..=4).contains(&stores), "{stores} stores");
    assert_eq!(journal.position.lock().unwrap().as_ref().unwrap().through, Place::end_of(Sequence(299)));
}

#[tokio::test]
async fn passing_records_that_tell_of_nothing_is_not_stored() {
    let (server, to) = Server::start(&[]).await;
    let journal = Arc::new(Journal { position: Mutex::new(Some(Position::default())), ..Journal::default() });
    *journal.empty_through.lock().unwrap() = Sequence(9_999);
    let running = Running::start(&journal, to, 1);
    until("they are passed", || running.handle.status().through == Place::end_of(Sequence(9_999))).await;
    running.end().await;
    assert_eq!(*journal.stores.lock().unwrap(), 0, "else each stored position would make others store theirs");

    *journal.empty_through.lock().unwrap() = Sequence(10_000);
    let running = Running::start(&journal, endpoint("127.0.0.1:9".parse().unwrap()), 1);
    until("they are passed", || running.handle.status().through == Place::end_of(Sequence(10_000))).await;
    running.end().await;
    assert_eq!(*journal.stores.lock().unwrap(), 1, "what is long to read again is");
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn a_new_receiver_is_told_what_happens_from_now_on() {
    let (server, to) = Server::start(&[]).await;
    let journal = Journal::of(20);
    *journal.position.lock().unwrap() = None;
    let running = Running::start(&journal, to, SPEED);
    assert_eq!(running.handle.status().through, Place::end_of(Sequence(20)));
    assert!(journal.position.lock().unwrap().is_some(), "stored before anything else happens");
    running.handle.order(Order::Replay(Place { record: Sequence(20), part: 0 }), ops("")).await.unwrap();
    until("it gets what it asks for", || server.seen().len() == 1).await;
    running.end().await;
    assert_eq!(server.seen()[0].id, "20-0");
}

#[tokio::test]
async fn a_replay_ends_what_is_under_way() {
    let (server, to) = Server::start(&[Answer::Never]).await;
    let running = Running::with(&Journal::of(1), webhook(to, Duration::from_secs(600)), SPEED);
    until("it is under way", || server.seen().len() == 1).await;
    running.handle.order(Order::Replay(Place::default()), ops("")).await.unwrap();
    until("it is sent again", || server.accepted().len() == 1).await;
    until("the first attempt is given up", || *server.given_up.lock().unwrap() == 1).await;
    running.end().await;
}

#[tokio::test]
async fn notices_reach_a_chat_and_whoever_is_on_call() {
    let seen: Arc<Mutex<Vec<(&'static str, serde_json::Value)>>> = Arc::default();
    let note = |path: &'static str, status: u16| {
        let seen = Arc::clone(&seen);
        post(move |axum::Json(body): axum::Json<serde_json::Value>| async move {
            seen.lock().unwrap().push((path, body));
            StatusCode::from_u16(status).unwrap()
        })
    };
    let app = Router::new().route("/services/T0", note("chat", 200)).route("/v2/enqueue", note("on call", 202));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    let post = Post::new(Guard { allow_private: true }, TIMEOUT).unwrap();

    let raised = notice::example(NoticeKind::Raised);
    let chat = slack::Slack::new(post.clone(), format!("{base}/services/T0").parse().unwrap());
    assert_eq!(chat.send(&raised, UnixSeconds(1)).await, Outcome::Accepted);
    let key = secret::Secret::new("R0UT1NG".to_owned());
    let on_call = pagerduty::PagerDuty::new(post, &base.parse().unwrap(), key);
    for kind in [NoticeKind::Raised, NoticeKind::Acknowledged, NoticeKind::Resolved] {
        assert_eq!(on_call.send(&notice::example(kind), UnixSeconds(1)).await, Outcome::Accepted);
    }
    let seen = seen.lock().unwrap();
    assert_eq!(seen.iter().map(|(path, _)| *path).collect::<Vec<_>>(), ["chat", "on call", "on call", "on call"]);
    let keys: BTreeSet<_> = seen[1..].iter().map(|(_, body)| body["dedup_key"].to_string()).collect();
    assert_eq!(keys.len(), 1, "one matter is one incident");
    assert_eq!(seen[3].1["event_action"], "resolve");
}

#[tokio::test]
async fn nothing_is_sent_to_a_private_address() {
    let (server, to) = Server::start(&[]).await;
    let port = to.url().port().unwrap();
    let post = Post::new(Guard { allow_private: false }, TIMEOUT).unwrap();
    let event = &Journal::of(1).messages[0].content;
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433"] {
        let to: Endpoint = format!("https://{host}:{port}/hooks").parse().unwrap();
        let webhook = Webhook::new(post.clone(), to, vec![SECRET.parse().unwrap()]);
        let outcome = webhook.send(event, UnixSeconds(1)).await;
        assert!(matches!(&outcome, Outcome::Failed { reason, .. } if reason.contains("not public")), "{outcome:?}");
    }
    let plain = Webhook::new(post, "http://example.org/".parse().unwrap(), vec![SECRET.parse().unwrap()]);
    let outcome = plain.send(event, UnixSeconds(1)).await;
    assert!(matches!(&outcome, Outcome::Failed { reason, .. } if reason.contains("https://")), "{outcome:?}");
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn while_a_secret_changes_both_sign() {
    let (server, to) = Server::start(&[]).await;
    let post = Post::new(Guard { allow_private: true }, TIMEOUT).unwrap();
    let secrets: Vec<WebhookSecret> = vec![SECRET.parse().unwrap(), OTHER_SECRET.parse().unwrap()];
    let event = &Journal::of(1).messages[0].content;
    assert_eq!(Webhook::new(post, to, secrets.clone()).send(event, UnixSeconds(7)).await, Outcome::Accepted);
    let seen = server.seen().remove(0);
    let each: Vec<_> = secrets
        .iter()
        .map(|secret| signatures(std::slice::from_ref(secret), &event.id, UnixSeconds(7), &event.body))
        .collect();
    assert_eq!(seen.signature, each.join(" "));
}
