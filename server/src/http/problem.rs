//! Errors as HTTP responses, for both listeners; the only place that converts them.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use hyper::StatusCode;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use tapgate_engine::journal::NoPlace;
use tapgate_engine::ledger::{ChangeError, Refusal};
use tapgate_engine::store::StoreError;

use crate::delivery::outbox::OutboxError;
use crate::delivery::worker::OrderError;
use crate::health::NotReady;
use crate::signature::{SharedSecretError, SignatureError};

/// Seconds after which a shed caller may try again: the journal has completed a group by then.
const RETRY_AFTER_SECONDS: u64 = 1;

/// A request without its regular answer. No variant approves anything.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// 404: no such route or resource.
    #[error("{0}")]
    NotFound(String),
    /// 405.
    #[error("this path takes {0}")]
    MethodNotAllowed(&'static str),
    /// 408: the body did not come in time.
    #[error("the body did not arrive in time")]
    Timeout,
    /// 413.
    #[error("the body is larger than {bytes_max} bytes")]
    TooLarge {
        /// The bound.
        bytes_max: usize,
    },
    /// 415.
    #[error("the content type must be application/json")]
    UnsupportedMediaType,
    /// 400: not JSON, or not of the expected form.
    #[error("{0}")]
    Malformed(String),
    /// 400: well-formed, but out of range.
    #[error("{0}")]
    BadRequest(String),
    /// 401: the signature.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// 401: the second provider's secret.
    #[error(transparent)]
    SharedSecret(#[from] SharedSecretError),
    /// 401: the token.
    #[error("a valid bearer token is needed: Authorization: Bearer <token>")]
    Unauthorized,
    /// 403.
    #[error("the role {0} may not do this")]
    Forbidden(&'static str),
    /// 409.
    #[error("{0}")]
    Conflict(String),
    /// 429.
    #[error("too many wrong tokens from this address; wait {seconds} s")]
    TooManyAttempts {
        /// Until the address is admitted again.
        seconds: u64,
    },
    /// 503: shed; nothing was decided.
    #[error("too many requests are waiting; try again")]
    Overloaded,
    /// 503: the journal has it, and its durability is unknown.
    #[error("the outcome is unknown: a hold may stand until it is reconciled; ask again with the same id")]
    OutcomeUnknown,
    /// 503: not serving now.
    #[error("not ready: {0}")]
    NotReady(&'static str),
    /// 500.
    #[error("internal error; the log says more")]
    Internal,
}

impl Problem {
    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Problem::Malformed(_) | Problem::BadRequest(_) => 400,
            Problem::Signature(_) | Problem::SharedSecret(_) | Problem::Unauthorized => 401,
            Problem::Forbidden(_) => 403,
            Problem::NotFound(_) => 404,
            Problem::MethodNotAllowed(_) => 405,
            Problem::Timeout => 408,
            Problem::Conflict(_) => 409,
            Problem::TooLarge { .. } => 413,
            Problem::UnsupportedMediaType => 415,
            Problem::TooManyAttempts { .. } => 429,
            Problem::Internal => 500,
            Problem::Overloaded | Problem::OutcomeUnknown | Problem::NotReady(_) => 503,
        }
    }

    /// The code in the body, for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Problem::NotFound(_) => "not_found",
            Problem::MethodNotAllowed(_) => "method_not_allowed",
            Problem::Timeout => "timeout",
            Problem::TooLarge { .. } => "too_large",
            Problem::UnsupportedMediaType => "unsupported_media_type",
            Problem::Malformed(_) => "malformed",
            Problem::BadRequest(_) => "bad_request",
            Problem::Signature(error) => error.code(),
            Problem::SharedSecret(error) => error.code(),
            Problem::Unauthorized => "unauthorized",
            Problem::Forbidden(_) => "forbidden",
            Problem::Conflict(_) => "conflict",
            Problem::TooManyAttempts { .. } => "too_many_attempts",
            Problem::Overloaded => "overloaded",
            Problem::OutcomeUnknown => "outcome_unknown",
            Problem::NotReady(_) => "not_ready",
            Problem::Internal => "internal",
        }
    }

    /// Seconds for the `Retry-After` header, if an early retry makes sense.
    #[must_use]
    pub fn retry_after_seconds(&self) -> Option<u64> {
        match self {
            Problem::Overloaded | Problem::NotReady(_) => Some(RETRY_AFTER_SECONDS),
            Problem::TooManyAttempts { seconds } => Some(*seconds),
            _ => None,
        }
    }

    /// `{"error":{"code":…,"message":…}}`.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        let body = serde_json::json!({"error": {"code": self.code(), "message": self.to_string()}});
        body.to_string().into_bytes()
    }
}

impl From<NotReady> for Problem {
    fn from(reason: NotReady) -> Self {
        Problem::NotReady(reason.as_str())
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        if let StoreError::Quarantined(_) = error {
            tracing::warn!(%error, "a request is refused: runbook record-in-quarantine");
            return Problem::Conflict(error.to_string());
        }
        tracing::error!(%error, "the store failed while a request was answered");
        Problem::Internal
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Overloaded => Problem::Overloaded,
            Refusal::Store(error) => error.into(),
        }
    }
}

impl From<ChangeError> for Problem {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::NotFound { .. } => Problem::NotFound(error.to_string()),
            ChangeError::Conflict(message) => Problem::Conflict(message),
            ChangeError::Invalid(message) => Problem::BadRequest(message),
            ChangeError::NoPlace(NoPlace::Full) => Problem::Overloaded,
            ChangeError::NoPlace(NoPlace::Unavailable) => Problem::NotReady("the journal is not available"),
            ChangeError::Store(error) => error.into(),
        }
    }
}

impl From<OrderError<OutboxError>> for Problem {
    fn from(error: OrderError<OutboxError>) -> Self {
        match error {
            OrderError::Stopped => Problem::NotReady("shutting down"),
            OrderError::NotRejected(error) => Problem::Conflict(error.to_string()),
            OrderError::Outbox(OutboxError::Store(error)) => error.into(),
            OrderError::Outbox(OutboxError::Change(error)) => error.into(),
            OrderError::Outbox(OutboxError::Unknown) => Problem::OutcomeUnknown,
            OrderError::Outbox(error @ OutboxError::Position { .. }) => {
                tracing::error!(%error, "an order to a receiver was not kept");
                Problem::Internal
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body()));
        *response.status_mut() = StatusCode::from_u16(self.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if self == Problem::Unauthorized {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after_seconds() {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if matches!(self, Problem::MethodNotAllowed(_)) && !headers.contains_key(ALLOW) {
            headers.insert(ALLOW, HeaderValue::from_static("GET, PUT, POST, DELETE"));
        }
        response
    }
}
