//! One HTTP request to a receiver, and the meaning of its answer.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use hyper::Request;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER, USER_AGENT};
use reqwest::{Method, StatusCode, redirect};
use tapgate_engine::time::UnixSeconds;

use super::guard::{Endpoint, Guard};
use crate::delivery::Outcome;
use crate::error_chain::error_chain;
use crate::outgoing::{Carrier, Failure};

/// Longest attempt, answer included: the Standard Webhooks specification's recommendation.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(15);
/// A server that is up accepts a connection within milliseconds, across the world within one second.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes read of an answer: enough for an error text, and for a short answer to end, so that its connection is reused.
const ANSWER_BYTES_MAX: usize = 4_096;

/// TLS could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("the deliveries' HTTP client: {0}")]
pub struct PostSetUpError(String);

/// Posts to receivers that the guard permits. Clones share their connections.
#[derive(Clone)]
pub struct Post {
    http: Arc<dyn Carrier>,
    guard: Guard,
}

/// A receiver's answer.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    retry_after: Option<Duration>,
    /// The beginning of its body.
    pub(super) body: String,
}

impl std::fmt::Debug for Post {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Post").field("guard", &self.guard).finish_non_exhaustive()
    }
}

impl Post {
    /// A client whose attempts end after a time, such as [`ATTEMPT_TIMEOUT`].
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn new(guard: Guard, timeout: Duration) -> Result<Post, PostSetUpError> {
        // The process may have installed one already; it is the same provider.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(timeout)
            .redirect(redirect::Policy::none())
            // A proxy would resolve the host itself and bypass the guard.
            .no_proxy()
            .dns_resolver(guard)
            .tcp_nodelay(true)
            .build()
            .map_err(|error| PostSetUpError(error_chain(&error)))?;
        Ok(Post::over(Arc::new(http), guard))
    }

    /// Posts that somebody else carries.
    #[must_use]
    pub fn over(http: Arc<dyn Carrier>, guard: Guard) -> Post {
        Post { http, guard }
    }

    /// Posts JSON.
    ///
    /// # Errors
    /// No answer, with the reason.
    pub(super) async fn json(
        &self,
        to: &Endpoint,
        headers: HeaderMap,
        body: Bytes,
        now: UnixSeconds,
    ) -> Result<Answer, Outcome> {
        self.send(Method::POST, to, headers, body, now).await
    }

    /// Sends JSON.
    ///
    /// # Errors
    /// As for [`Post::json`].
    pub(super) async fn send(
        &self,
        method: Method,
        to: &Endpoint,
        mut headers: HeaderMap,
        body: Bytes,
        now: UnixSeconds,
    ) -> Result<Answer, Outcome> {
        self.guard.check(to).map_err(|error| Outcome::failed(error.to_string()))?;
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("tapgate/", env!("CARGO_PKG_VERSION"))));
        let failed = |said: &str| Outcome::failed(format!("{}: {said}", to.host()));
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = to.url().as_str().parse().map_err(|_| failed("the URL cannot be sent"))?;
        *request.headers_mut() = headers;
        // An answer that breaks off still counts.
        let answer = self.http.carry(request, ANSWER_BYTES_MAX).await.map_err(|failure| match failure {
            Failure::Timeout => failed("no answer in time"),
            Failure::Broken(said) => failed(&said),
        })?;
        let retry_after = answer.headers.get(RETRY_AFTER).and_then(|value| retry_after(value, now));
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        Ok(Answer { status: answer.status, retry_after, body })
    }
}

impl Answer {
    #[cfg(test)]
    pub(super) fn of(status: u16, body: String) -> Answer {
        Answer { status: StatusCode::from_u16(status).unwrap(), retry_after: None, body }
    }

    /// The meaning of the status, for every receiver.
    pub(super) fn outcome(&self) -> Outcome {
        let status = self.status;
        match status.as_u16() {
            200..=299 => Outcome::Accepted,
            300..=399 => Outcome::failed(format!("HTTP {status}: redirects are not followed, give the final URL")),
            410 => Outcome::Refused { reason: format!("HTTP {status}: the receiver wants no more deliveries") },
            // Only these two statuses carry a time to come back.
            429 | 503 => Outcome::Failed { reason: format!("HTTP {status}"), retry_after: self.retry_after },
            _ => Outcome::failed(format!("HTTP {status}")),
        }
    }
}

/// Seconds or a date (RFC 9110, 10.2.3).
fn retry_after(value: &HeaderValue, now: UnixSeconds) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
    let now = Duration::from_secs(u64::try_from(now.0).unwrap_or_default());
    Some(at.saturating_sub(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        // 1994-11-06 08:49:37 UTC.
        let now = UnixSeconds(784_111_777);
        let check = |text: &str, seconds: Option<u64>| {
            let value = HeaderValue::from_str(text).unwrap();
            assert_eq!(retry_after(&value, now), seconds.map(Duration::from_secs), "{text}");
        };
        check("120", Some(120));
        check("Sun, 06 Nov 1994 08:51:37 GMT", Some(120));
        check("Sun, 06 Nov 1994 08:00:00 GMT", Some(0));
        check("soon", None);
        check("-1", None);
    }

    #[test]
    fn each_status_has_its_meaning() {
        let outcome = |status: u16| {
            let status = StatusCode::from_u16(status).unwrap();
            Answer { status, retry_after: Some(Duration::from_secs(7)), body: String::new() }.outcome()
        };
        for status in [200, 201, 202, 204, 299] {
            assert_eq!(outcome(status), Outcome::Accepted);
        }
        assert!(matches!(outcome(410), Outcome::Refused { .. }));
        for status in [429, 503] {
            assert!(matches!(outcome(status), Outcome::Failed { retry_after: Some(_), .. }), "{status}");
        }
        for status in [301, 302, 307, 400, 401, 404, 409, 500, 502, 504] {
            assert!(matches!(outcome(status), Outcome::Failed { retry_after: None, .. }), "{status}");
        }
    }
}
