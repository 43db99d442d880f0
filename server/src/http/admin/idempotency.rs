//! A person's change: with an author, perhaps an idempotency key, and answered once it is durable.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use hyper::StatusCode;
use hyper::header::HeaderMap;
use serde::de::DeserializeOwned;
use tapgate_engine::bytes::Fingerprint;
use tapgate_engine::fact::{Author, IdempotencyKey};
use tapgate_engine::journal::Durability;
use tapgate_engine::ledger::{Change, Receipt};

use super::auth::Caller;
use super::{Admin, blocking};
use crate::http::problem::Problem;
use crate::http::single::{Repeated, single};
use crate::wire::admin::parse;

/// The header that makes repeated requests one change.
const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Its longest value.
const IDEMPOTENCY_KEY_BYTES_MAX: usize = 128;

/// A request for a change: its body and its author.
pub(super) struct Asked {
    body: Bytes,
    pub(super) author: Author,
}

impl<S: Send + Sync> FromRequest<S> for Asked {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Asked, Problem> {
        let name = request.extensions().get::<Caller>().map(|caller| caller.name.as_str().into());
        let name: compact_str::CompactString = name.ok_or(Problem::Unauthorized)?;
        let route = format!("{} {}\n", request.method(), request.uri().path());
        let key = idempotency_key(request.headers())?;
        let body = Bytes::from_request(request, state).await.map_err(|error| match error.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Problem::TooLarge { bytes_max: super::BODY_BYTES_MAX },
            _ => Problem::Malformed(error.body_text()),
        })?;
        let idempotency =
            key.map(|key| IdempotencyKey { key, fingerprint: Fingerprint::of(&[route.as_bytes(), &body].concat()) });
        Ok(Asked { body, author: Author::Person { name, idempotency } })
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<compact_str::CompactString>, Problem> {
    let value = single(headers, IDEMPOTENCY_KEY)
        .map_err(|Repeated| Problem::BadRequest("Idempotency-Key comes twice: send one".to_owned()))?;
    let Some(value) = value else { return Ok(None) };
    let key = value.to_str().ok().filter(|key| (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&key.len()));
    key.map(|key| Some(key.into())).ok_or_else(|| {
        Problem::BadRequest(format!("Idempotency-Key must be 1 to {IDEMPOTENCY_KEY_BYTES_MAX} printable characters"))
    })
}

impl Asked {
    pub(super) fn form<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        parse(&self.body).map_err(|error| Problem::Malformed(error.to_string()))
    }

    /// As [`Asked::form`]; an empty body is the default.
    pub(super) fn form_or_default<T: DeserializeOwned + Default>(&self) -> Result<T, Problem> {
        if self.body.is_empty() { Ok(T::default()) } else { self.form() }
    }
}

/// Makes a change and waits until it is durable.
pub(super) async fn make(admin: &Admin, author: Author, change: Change) -> Result<(), Problem> {
    let now = admin.app.clock.now();
    let receipt = blocking(&admin.app.ledger, move |ledger| Ok(ledger.change(&author, change, now)?));
    durable(receipt.await?).await
}

pub(super) async fn durable(receipt: Receipt) -> Result<(), Problem> {
    match receipt.ticket {
        Some(ticket) if ticket.wait().await == Durability::Failed => Err(Problem::OutcomeUnknown),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_once_or_not_at_all() {
        let mut headers = HeaderMap::new();
        assert_eq!(idempotency_key(&headers), Ok(None));
        headers.append(IDEMPOTENCY_KEY, "one".parse().unwrap());
        assert_eq!(idempotency_key(&headers), Ok(Some("one".into())));
        headers.append(IDEMPOTENCY_KEY, "one".parse().unwrap());
        assert!(matches!(idempotency_key(&headers), Err(Problem::BadRequest(_))), "even the same one");
    }
}
