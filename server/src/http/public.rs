//! `POST /webhooks/ur`: the interface defines the order of the checks. The second provider's route shares all but the
//! authentication and the form.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::Body;
use hyper::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use hyper::http::request::Parts;
use hyper::service::Service;
use hyper::{Method, Response, StatusCode};
use metrics::counter;
use tapgate_engine::fact::{Provider, Request};
use tapgate_engine::ids::UrId;
use tapgate_engine::journal::{Durability, Ticket};
use tapgate_engine::ledger::{GaveUp, Reply, Submission};
use tapgate_engine::time::{Moment, UnixMillis};
use tokio::time::Instant;

use super::arrival::Arrival;
use super::delivered::{Delivered, delivery};
use super::events::Events;
use super::exchange::Arriving;
use super::listener::Connection;
use super::meters::Meters;
use super::partner::{self, Partner};
use super::places::Seat;
use super::pressure::{Pressure, Shed};
use super::single::{Repeated, single};
use crate::http::context::App;
use crate::http::problem::Problem;
use crate::provider::hint::Hint;
use crate::signature::{
    REQUEST_ID_HEADER, SIGNATURE_HEADER, SIGNATURE_V2_HEADER, SignatureError, TIMESTAMP_HEADER, Verified,
    WebhookHeaders, WebhookPolicy, WebhookVersion, check_freshness, verify_webhook,
};
use crate::trace::{self, Mark};
use crate::wire::callback::{self, CARD_AUTHORIZATION, Envelope};
use crate::wire::ur::AmountForm;

/// UR's route.
const PATH: &str = "/webhooks/ur";

/// A callback needs about 500 bytes; UR's largest event a few thousand.
const BODY_BYTES_MAX: usize = 64 * 1024;

const TOO_LARGE: Problem = Problem::TooLarge { bytes_max: BODY_BYTES_MAX };

/// UR waits 500 ms; no callback's body takes four times as long.
const BODY_TIMEOUT: Duration = Duration::from_secs(2);

/// Bytes still read of a refused body, and time for it: a sender's socket buffers, and a few round trips.
const SWALLOWED_BYTES_MAX: usize = 1024 * 1024;
const SWALLOW_TIMEOUT: Duration = Duration::from_secs(1);

/// Time after its deadline for a late decision's release to become durable: UR's 500 ms less the deadline's 400 ms,
/// less half of the rest for the way back.
const RELEASE_TIMEOUT: Duration = Duration::from_millis(50);

/// Authentication and answers of callbacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// A captured request can be replayed within its window, 1 to 3,600 seconds.
    pub signatures: WebhookPolicy,
    /// The latest time for an approval after the request's arrival, 50 to 450 ms: inside UR's 500 ms.
    pub deadline: Duration,
    /// The form of amounts in the event `transaction`.
    pub transaction_amounts: AmountForm,
    /// Another wire form of the callback than tapgate's own.
    pub callback: Option<callback::Mapping>,
    /// The second provider's events; `None`: they are not taken.
    pub partner_api: Option<partner::Settings>,
}

/// Answers UR.
pub struct Public {
    app: Arc<App>,
    settings: Settings,
    meters: Meters,
    events: Events,
    delivered: Delivered,
    partner: Option<Partner>,
    pressure: Arc<Pressure>,
    /// The body of a refusal under load, which has to cost little.
    overloaded: Bytes,
}

/// Answers UR over one connection.
pub struct Answering {
    public: Arc<Public>,
    caller: Arc<Caller>,
}

/// The client of a connection.
pub(super) struct Caller {
    arrival: Arrival,
    pub(super) seat: Arc<Seat>,
    /// Whom the current request is about, or the latest one, and when it came.
    asked: Mutex<Option<(UrId, UnixMillis)>>,
}

impl Caller {
    /// Notes whether what came was signed by one of the expected keys, and is no replay.
    pub(super) fn note_proof<T, E>(&self, proof: &Result<T, E>) {
        match proof {
            Ok(_) => self.seat.prove(),
            Err(_) => self.seat.unprove(),
        }
    }

    fn asked(&self) -> MutexGuard<'_, Option<(UrId, UnixMillis)>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Answering {
    /// The connection ends. If UR did not hear the last answer, it may have decided either way.
    fn drop(&mut self) {
        if let Some((user, since)) = self.caller.asked().take().filter(|_| self.caller.seat.place().is_unheard()) {
            self.public.app.hint(Hint::Unheard { user, since });
        }
    }
}

impl Public {
    /// Over a running program.
    #[must_use]
    pub fn new(app: Arc<App>, settings: Settings) -> Public {
        let events = Events::new(Arc::clone(&app), settings.transaction_amounts);
        let partner = settings.partner_api.clone().map(|partner| Partner::new(Arc::clone(&app), partner));
        Public {
            app,
            meters: Meters::new(),
            events,
            delivered: Delivered::default(),
            partner,
            pressure: Arc::new(Pressure::new(settings.deadline)),
            settings,
            overloaded: Problem::Overloaded.body().into(),
        }
    }

    /// Decides what is refused under load. Its `watch` must run beside the listener.
    #[must_use]
    pub fn pressure(&self) -> Arc<Pressure> {
        Arc::clone(&self.pressure)
    }

    /// The service of each connection.
    pub fn services(self) -> impl Fn(Connection) -> Answering {
        let public = Arc::new(self);
        move |Connection { arrival, seat, .. }| {
            let caller = Arc::new(Caller { arrival, seat, asked: Mutex::default() });
            Answering { public: Arc::clone(&public), caller }
        }
    }

    pub(super) fn now(&self) -> Moment {
        self.app.clock.now()
    }

    /// The most that the time of a request for a decision may differ from our clock.
    pub(super) fn timestamp_window_seconds(&self) -> u64 {
        self.settings.signatures.timestamp_window_seconds
    }

    async fn respond<B: Sent>(&self, request: hyper::Request<Arriving<B>>, caller: &Caller) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let mut upload = Upload { ended: body.is_end_stream(), body };
        let answered = self.answer(&head, &mut upload, caller).await;
        let mut response = match answered {
            Ok(body) => json(StatusCode::OK, body.into()),
            Err(Problem::Overloaded) => refuse(&Problem::Overloaded, self.overloaded.clone()),
            Err(problem) => refuse(&problem, problem.body().into()),
        };
        if !upload.ended {
            tokio::spawn(swallow(upload.body.into_inner()));
        }
        if response.status().is_client_error() && !caller.seat.is_proven() {
            // Who sends what nobody takes, and shows nothing of who they are, sends it once a connection.
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        caller.arrival.forget();
        match response.status() {
            StatusCode::OK => self.meters.answered.increment(1),
            StatusCode::SERVICE_UNAVAILABLE => self.meters.unavailable.increment(1),
            refused => {
                let code = refused.as_u16().to_string();
                counter!("tapgate_http_requests_total", "listener" => "public", "code" => code).increment(1);
            }
        }
        response
    }

    /// The checks that need no body come before it is read.
    async fn answer<B: Sent>(&self, head: &Parts, upload: &mut Upload<B>, caller: &Caller) -> Result<Vec<u8>, Problem> {
        let arrived = caller.arrival.of_request();
        *caller.asked() = None;
        let partner = self.partner.as_ref().filter(|_| head.uri.path() == partner::PATH);
        if head.uri.path() != PATH && partner.is_none() {
            return Err(Problem::NotFound(format!("there is nothing here but POST {PATH}")));
        }
        if head.method != Method::POST {
            return Err(Problem::MethodNotAllowed("POST"));
        }
        self.app.health.admit()?;
        if upload.body.size_hint().lower() > BODY_BYTES_MAX as u64 {
            return Err(TOO_LARGE);
        }
        check_content_type(&head.headers)?;
        let is_strangers = caller.seat.is_strangers();
        let body = if self.pressure.is_late(caller.arrival.age(), is_strangers) {
            // Only tapgate's own form of UR's callback says what can wait.
            self.spared(upload, partner.is_none() && self.settings.callback.is_none()).await?
        } else {
            tokio::time::timeout(BODY_TIMEOUT, upload.read()).await.map_err(|_| Problem::Timeout)??
        };
        let is_signed = partner.is_some() || has_signature(&head.headers);
        if is_strangers && !self.pressure.takes_a_stranger(is_signed) {
            return Err(self.shed(Shed::Stranger));
        }
        match partner {
            Some(partner) => self.answer_partner(partner, &head.headers, &body, (caller, arrived)).await,
            None => self.handle(&head.headers, &body, (caller, arrived)).await,
        }
    }

    /// The body of a request that comes too late for a decision in time, if it can wait and is here.
    async fn spared<B: Sent>(&self, upload: &mut Upload<B>, is_told: bool) -> Result<Bytes, Problem> {
        let here = tokio::select! {
            biased;
            body = upload.read() => Some(body?),
            () = std::future::ready(()) => None,
        };
        here.filter(|body| self.pressure.spares(body, is_told)).ok_or_else(|| self.shed(Shed::Late))
    }

    fn shed(&self, why: Shed) -> Problem {
        self.pressure.sheds(why);
        Problem::Overloaded
    }

    async fn handle(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        (caller, arrived): (&Caller, Instant),
    ) -> Result<Vec<u8>, Problem> {
        trace::mark(Mark::Handled);
        let now = self.app.clock.now();
        let now_seconds = now.at.0 / 1000;
        let verified =
            signed(headers).and_then(|signed| verify_webhook(&self.settings.signatures, &signed, body, now_seconds));
        // An old event of V1 could be anybody's replay: only what its body says makes it fresh.
        if !matches!(verified, Ok(Verified { version: WebhookVersion::V1, .. })) {
            caller.note_proof(&verified);
        }
        let delivery = verified?.request_id.map(|id| delivery(id, body));
        let mapping = self.settings.callback.as_ref();
        let envelope = match mapping {
            None => Envelope::parse(body),
            Some(mapping) => mapping.read(body, now_seconds),
        };
        let envelope = envelope.map_err(|error| Problem::Malformed(error.to_string()))?;
        self.meters.event(&envelope.event);
        if envelope.event != CARD_AUTHORIZATION {
            if delivery.is_some_and(|delivery| self.delivered.has(delivery)) {
                return Ok(callback::RECEIVED.to_vec());
            }
            self.events.take(&envelope.event, envelope.timestamp, body, now).await?;
            if let Some(delivery) = delivery {
                self.delivered.note(delivery, now_seconds, self.timestamp_window_seconds());
            }
            return Ok(callback::RECEIVED.to_vec());
        }
        // A return is acknowledged at any age: its id makes it idempotent, and a hold is not kept because a retry was late.
        if !envelope.announces_return() {
            check_freshness(envelope.timestamp, now_seconds, self.settings.signatures.timestamp_window_seconds)?;
            caller.seat.prove();
        }
        let request = envelope.request().map_err(|error| Problem::Malformed(error.to_string()))?;
        trace::mark(Mark::Parsed);
        let reply = self.decide(Provider::Ur, request, now, (caller, arrived)).await?;
        Ok(mapping.map_or_else(|| callback::render(&reply), |mapping| mapping.render(&reply)))
    }

    /// Decides a provider's request about one of its accounts, or acknowledges a return, and waits until that is durable.
    pub(super) async fn decide(
        &self,
        provider: Provider,
        request: Request,
        now: Moment,
        (caller, arrived): (&Caller, Instant),
    ) -> Result<Reply, Problem> {
        let journal = self.app.ledger.journal();
        // What gives money back waits for as long as it takes, and what was decided once needs no room.
        let is_decided = request.kind.is_decided();
        if is_decided
            && !self.pressure.has_room(journal.claimed().0, journal.durable().0)
            && self.app.ledger.find(&request.id)?.and_then(|found| found.answer).is_none()
        {
            return Err(self.shed(Shed::Journal));
        }
        if self.app.ledger.is_of_another(provider, &request)? {
            return Err(Problem::NotFound("the account or authorization is another provider's".to_owned()));
        }
        *caller.asked() = Some((request.user.clone(), now.at));
        let submission = self.app.ledger.submit(request, now)?;
        trace::mark(Mark::Decided);
        // UR waits longer for the acknowledgement of what gives money back: what lay long is acknowledged all the same.
        let counted_from = if is_decided { arrived } else { Instant::now() };
        let reply = self.reply_once_durable(submission, counted_from).await?;
        self.meters.decision_seconds.record(arrived.elapsed().as_secs_f64());
        self.meters.decision(&reply);
        Ok(reply)
    }

    /// Waits for the record's durability up to the deadline, then for its release's; then answers that the outcome is
    /// unknown.
    async fn reply_once_durable(&self, submission: Submission, counted_from: Instant) -> Result<Reply, Problem> {
        let Some(ticket) = submission.ticket.clone() else { return Ok(submission.reply) };
        let deadline = counted_from + self.settings.deadline;
        let durability = match wait(&ticket, deadline).await {
            Some(durability) => Some(durability),
            None => match self.app.ledger.give_up(&submission, self.app.clock.now()) {
                // A request that itself arrived late still has its release to wait for.
                GaveUp::WaitAgain => wait(&ticket, deadline.max(Instant::now()) + RELEASE_TIMEOUT).await,
                GaveUp::Unknown => None,
            },
        };
        durability.and_then(|durability| submission.reply_when(durability)).ok_or(Problem::OutcomeUnknown)
    }
}

impl<B: Sent> Service<hyper::Request<Arriving<B>>> for Answering {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: hyper::Request<Arriving<B>>) -> Self::Future {
        let (public, caller) = (Arc::clone(&self.public), Arc::clone(&self.caller));
        Box::pin(async move { Ok(trace::traced(public.respond(request, &caller)).await) })
    }
}

pub(super) async fn wait(ticket: &Ticket, until: Instant) -> Option<Durability> {
    tokio::time::timeout_at(until, trace::told(ticket.wait())).await.ok()
}

/// A content type, if present, must be JSON; parameters such as a charset do not matter.
fn check_content_type(headers: &HeaderMap) -> Result<(), Problem> {
    let value = single(headers, CONTENT_TYPE.as_str()).map_err(|Repeated| Problem::UnsupportedMediaType)?;
    let Some(value) = value else { return Ok(()) };
    let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") { Ok(()) } else { Err(Problem::UnsupportedMediaType) }
}

/// A request's body as it arrives: hyper's own, or a whole one where nothing is between.
pub trait Sent: Body<Data = Bytes> + Send + Unpin + 'static {}

impl<B: Body<Data = Bytes> + Send + Unpin + 'static> Sent for B {}

/// A request's body, and whether it was read to its end.
struct Upload<B> {
    body: Arriving<B>,
    ended: bool,
}

impl<B: Sent> Upload<B> {
    async fn read(&mut self) -> Result<Bytes, Problem> {
        let mut read = BytesMut::with_capacity(usize::try_from(self.body.size_hint().lower()).unwrap_or(0));
        while let Some(frame) = self.body.frame().await {
            let frame = frame.map_err(|_| Problem::Malformed("the body broke off".to_owned()))?;
            // Trailers carry nothing here.
            let Ok(data) = frame.into_data() else { continue };
            if read.len() + data.len() > BODY_BYTES_MAX {
                return Err(TOO_LARGE);
            }
            read.extend_from_slice(&data);
        }
        self.ended = true;
        Ok(read.freeze())
    }
}

/// Reads, within bounds, the rest of a refused body: closing a connection on unread bytes resets it, and the sender would not
/// see the reason.
async fn swallow<B: Sent>(mut body: B) {
    let swallowed = async {
        let mut left = SWALLOWED_BYTES_MAX;
        while let Some(Ok(frame)) = body.frame().await {
            let Some(rest) = left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) else { return };
            left = rest;
        }
    };
    // A slower sender is cut off.
    let _ = tokio::time::timeout(SWALLOW_TIMEOUT, swallowed).await;
}

/// Whether there is a header with a signature of UR's.
fn has_signature(headers: &HeaderMap) -> bool {
    [SIGNATURE_HEADER, SIGNATURE_V2_HEADER].iter().any(|name| headers.contains_key(*name))
}

fn signed(headers: &HeaderMap) -> Result<WebhookHeaders<'_>, SignatureError> {
    let one = |name: &str| {
        let value = single(headers, name).map_err(|Repeated| SignatureError::Repeated);
        value.map(|value| value.map(HeaderValue::as_bytes))
    };
    Ok(WebhookHeaders {
        signature: one(SIGNATURE_HEADER)?,
        signature_v2: one(SIGNATURE_V2_HEADER)?,
        timestamp: one(TIMESTAMP_HEADER)?,
        request_id: one(REQUEST_ID_HEADER)?,
    })
}

fn json(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn refuse(problem: &Problem, body: Bytes) -> Response<Full<Bytes>> {
    let status = StatusCode::from_u16(problem.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = json(status, body);
    let headers = response.headers_mut();
    if let Problem::MethodNotAllowed(allowed) = problem {
        headers.insert(ALLOW, HeaderValue::from_static(allowed));
    }
    if let Some(seconds) = problem.retry_after_seconds() {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}
