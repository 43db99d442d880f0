//! One connection: sends callbacks one after the other, and judges each answer by its bytes.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::SendRequest;
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, StatusCode};
use tapgate::signature::SIGNATURE_HEADER;
use tapgate::trace::{self, Mark};
use tokio::sync::Semaphore;

use super::Failed;
use super::bare::ANSWER;
use super::corpus::{Callback, Draft, Signer, What};
use super::feed::{Feed, Taken};
use super::pace::Pace;
use super::report::Latencies;
use super::stages::{Asked, Clock, Split, marks};
use super::target::Base;

/// Before the next attempt to connect, and before the next look at a feed that does not keep up.
const CONNECT_PAUSE: Duration = Duration::from_millis(100);
const FEED_PAUSE: Duration = Duration::from_millis(1);

/// After the last callback is due, how long the open loop still sends what is behind.
const DRAIN: Duration = Duration::from_secs(10);

/// The error of a callback whose answer came too late, or did not come.
const GIVEN_UP: &str = "given up";

/// The error of a callback that found no connection free, or a sender that was busy: nobody asked for an answer.
const NOT_SENT: &str = "not sent";

/// How late a callback is still sent by a sender that gives up: what is sent with no time left only adds to an overload.
const TARDY: Duration = Duration::from_millis(50);

/// How callbacks follow one another.
pub(crate) enum Loop {
    /// Each connection's next goes when its last is answered.
    Closed,
    /// Each goes at its time, as long as a connection is free; latency counts from that time all the same.
    Open(Pace, Arc<Semaphore>),
}

/// What the connections of a run share.
pub(crate) struct Run {
    pub(crate) target: Base,
    /// `None`: the target answers [`ANSWER`].
    pub(crate) signer: Option<Signer>,
    pub(crate) feed: Feed,
    pub(crate) pacing: Loop,
    /// From then on it is measured.
    pub(crate) measured_from: Instant,
    /// From then on nothing new is sent.
    pub(crate) ends: Instant,
    /// How long after a callback was due the sender gives it up, as UR does.
    pub(crate) patience: Option<Duration>,
    /// For the live line.
    pub(crate) answered: AtomicU64,
    /// Where answers are split into stages.
    pub(crate) clock: Option<Clock>,
    /// Numbers of requests that were answered late: none of them stands, and later requests about them are answered so.
    pub(crate) late: Mutex<HashSet<u64>>,
    /// One for all connections: thousands of histograms would cost the sender more time than the sending.
    pub(crate) seen: Mutex<Seen>,
}

/// Errors of a server whose disk kept it waiting beyond its deadline: it gave the right answer, late.
const LATE: [&str; 3] = ["deadline_exceeded", "503 outcome_unknown", "about a late one"];

/// Whether an error says that a deadline was missed, and nothing worse.
pub(crate) fn is_late(error: &str) -> bool {
    LATE.contains(&error)
}

/// What the connections saw.
pub(crate) struct Seen {
    /// From the intended send time.
    pub(crate) latency: Latencies,
    /// From the actual one.
    pub(crate) service: Latencies,
    /// Between the two.
    pub(crate) waited: Latencies,
    /// Correct answers within the measured time, by what was asked.
    pub(crate) counts: BTreeMap<&'static str, u64>,
    /// No answer, or an answer that says that there is none: by kind.
    pub(crate) errors: BTreeMap<String, u64>,
    /// Answers with other bytes than they must have, and the first of them.
    pub(crate) wrong: u64,
    pub(crate) first_wrong: Option<String>,
    /// How often the signing did not keep up.
    pub(crate) starved: u64,
    /// When the last answer came.
    pub(crate) last: Option<Instant>,
    pub(crate) splits: Vec<Split>,
}

impl Seen {
    pub(crate) fn nothing() -> Result<Seen, Failed> {
        Ok(Seen {
            latency: Latencies::new()?,
            service: Latencies::new()?,
            waited: Latencies::new()?,
            counts: BTreeMap::new(),
            errors: BTreeMap::new(),
            wrong: 0,
            first_wrong: None,
            starved: 0,
            last: None,
            splits: Vec::new(),
        })
    }

    fn error(&mut self, kind: impl Into<String>) {
        *self.errors.entry(kind.into()).or_default() += 1;
    }
}

impl Run {
    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends until everything is sent or the time is over; connects again where a connection ends.
    pub(crate) async fn connection(self: Arc<Run>) {
        while Instant::now() < self.ends {
            match self.target.connect().await {
                Ok((sender, connection)) => {
                    let mut bench = Bench { run: &self, sender, expected: Vec::new(), before: None };
                    // Both in one task: an answer wakes it once. The connection ends first only if the server ended it.
                    let ending = tokio::select! {
                        biased;
                        ending = bench.send_all() => ending,
                        _ = connection => Ending::Broken,
                    };
                    match ending {
                        Ending::Finished => break,
                        Ending::GaveUp => {}
                        Ending::Broken => self.seen().error("connection ended"),
                    }
                }
                Err(Failed(error)) => {
                    self.seen().error(error);
                    tokio::time::sleep(CONNECT_PAUSE).await;
                }
            }
        }
    }

    /// The next callback and when it is due; `None` once there is none, or no time.
    async fn next(&self) -> Option<(Instant, Callback)> {
        if let Loop::Open(_, permits) = &self.pacing {
            permits.acquire().await.ok()?.forget();
        }
        loop {
            if Instant::now() >= self.ends {
                return None;
            }
            match (self.feed.take(), &self.pacing) {
                (Taken::Callback(index, callback), Loop::Open(pace, _)) => return Some((pace.due(index), callback)),
                (Taken::Callback(_, callback), Loop::Closed) => return Some((Instant::now(), callback)),
                (Taken::NotYet, _) => {
                    self.seen().starved += 1;
                    tokio::time::sleep(FEED_PAUSE).await;
                }
                (Taken::Finished, _) => return None,
            }
        }
    }

    /// When an open loop stops sending what is behind.
    pub(crate) fn drained(last_due: Instant) -> Instant {
        last_due + DRAIN
    }
}

/// Why a connection sends no more.
enum Ending {
    /// Everything is sent.
    Finished,
    /// It was given up with a callback.
    GaveUp,
    Broken,
}

struct Answer {
    status: StatusCode,
    body: Bytes,
    /// Of a traced server.
    marks: Option<[u64; trace::MARKS]>,
}

/// A connection at work.
struct Bench<'a> {
    run: &'a Run,
    sender: SendRequest<Full<Bytes>>,
    expected: Vec<u8>,
    /// The last traced answer: the next one tells when it was handed to the socket.
    before: Option<Asked>,
}

impl Bench<'_> {
    async fn send_all(&mut self) -> Ending {
        while let Some((due, callback)) = self.run.next().await {
            let gives_up = self.run.patience.map(|patience| due + patience);
            if self.sender.ready().await.is_err() {
                return Ending::Broken;
            }
            let sent = Instant::now();
            if gives_up.is_some() && sent > due + TARDY {
                self.run.seen().error(NOT_SENT);
                continue;
            }
            let answer = match gives_up {
                None => self.ask(&callback).await,
                Some(at) => match tokio::time::timeout_at(at.into(), self.ask(&callback)).await {
                    Ok(answer) => answer,
                    Err(_) => {
                        self.run.seen().error(GIVEN_UP);
                        return Ending::GaveUp;
                    }
                },
            };
            let Ok(Answer { status, body, marks }) = answer else { return Ending::Broken };
            let now = Instant::now();
            self.run.answered.fetch_add(1, Ordering::Relaxed);
            let is_right = self.judge(&callback, status, &body);
            if due >= self.run.measured_from {
                let mut seen = self.run.seen();
                seen.last = seen.last.max(Some(now));
                seen.latency.took(now.saturating_duration_since(due));
                seen.service.took(now.saturating_duration_since(sent));
                seen.waited.took(sent.saturating_duration_since(due));
                if is_right {
                    *seen.counts.entry(callback.draft.what.name()).or_default() += 1;
                }
                drop(seen);
                if let Some(clock) = &self.run.clock {
                    let asked = Asked { due, sent, received: now, marks, written: 0 };
                    self.split(Some(asked), clock);
                }
            }
        }
        if let Some(clock) = &self.run.clock {
            self.split(None, clock);
        }
        Ending::Finished
    }

    /// Splits the answer before this one, which now is known as a whole.
    fn split(&mut self, next: Option<Asked>, clock: &Clock) {
        let marks = next.as_ref().and_then(|next| next.marks.as_ref());
        let written = marks.and_then(|marks| marks.get(Mark::WrittenBefore as usize)).copied().unwrap_or(0);
        if let Some(before) = std::mem::replace(&mut self.before, next) {
            self.run.seen().splits.push(Asked { written, ..before }.split(clock));
        }
    }

    async fn ask(&mut self, callback: &Callback) -> Result<Answer, Failed> {
        let mut request = Request::new(Full::new(callback.body.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = hyper::Uri::from_static("/webhooks/ur");
        let headers = request.headers_mut();
        headers.insert(HOST, HeaderValue::from_str(&self.run.target.authority)?);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(SIGNATURE_HEADER, callback.signature.clone());
        let response = self.sender.send_request(request).await?;
        let status = response.status();
        let header = self.run.clock.and_then(|_| response.headers().get(trace::HEADER));
        let marks = header.and_then(|header| header.to_str().ok()).and_then(marks);
        Ok(Answer { status, marks, body: response.into_body().collect().await?.to_bytes() })
    }

    /// Whether it is the answer that must be given. Errors count also before measuring begins.
    fn judge(&mut self, callback: &Callback, status: StatusCode, body: &[u8]) -> bool {
        match &self.run.signer {
            Some(signer) => signer.expect(callback.draft, &mut self.expected),
            None => {
                self.expected.clear();
                self.expected.extend_from_slice(ANSWER);
            }
        }
        if status == StatusCode::OK && body == self.expected.as_slice() {
            return true;
        }
        let said: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
        let word = |pointer| said.pointer(pointer).and_then(serde_json::Value::as_str);
        let error = match word("/reason") {
            _ if status != StatusCode::OK => {
                Some(format!("{} {}", status.as_u16(), word("/error/code").unwrap_or("without a code")))
            }
            Some(reason @ "deadline_exceeded") => Some(reason.to_owned()),
            _ => None,
        };
        let Draft { number, what, .. } = callback.draft;
        let about = if let What::Reversal(root) = what { root } else { number };
        let mut seen = self.run.seen();
        let mut late = self.run.late.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = error {
            if is_late(&error) {
                late.insert(number);
            }
            seen.error(error);
        } else if late.contains(&about) {
            seen.error("about a late one");
        } else {
            seen.wrong += 1;
            let [expected, body] = [&self.expected, body].map(String::from_utf8_lossy);
            seen.first_wrong.get_or_insert_with(|| format!("expected {expected}, got {body}"));
        }
        false
    }
}
