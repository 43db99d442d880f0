//! The second provider's API: changes that people made here about its accounts and cards.

use std::sync::Arc;

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use tapgate_engine::time::UnixSeconds;

use super::guard::Endpoint;
use super::post::{Answer, Post};
use super::secret::Secret;
use crate::delivery::{Outcome, Receiver};
use crate::wire::partner_api::{Call, Instruction};

/// The provider as a receiver.
#[derive(Clone, Debug)]
pub struct PartnerApi {
    post: Post,
    base_url: Endpoint,
    api_key: Secret,
}

impl PartnerApi {
    #[must_use]
    pub fn new(post: Post, base_url: Endpoint, api_key: Secret) -> PartnerApi {
        PartnerApi { post, base_url, api_key }
    }

    fn headers(&self) -> Option<HeaderMap> {
        let mut bearer = HeaderValue::from_str(&format!("Bearer {}", self.api_key.reveal())).ok()?;
        bearer.set_sensitive(true);
        Some(HeaderMap::from_iter([(AUTHORIZATION, bearer)]))
    }
}

impl Receiver for PartnerApi {
    type Content = Arc<Instruction>;

    async fn send(&self, instruction: &Arc<Instruction>, now: UnixSeconds) -> Outcome {
        let Call { method, path, body } = instruction.call();
        let (Some(headers), Ok(method)) = (self.headers(), Method::from_bytes(method.as_bytes())) else {
            return Outcome::Refused { reason: "the API key cannot be sent in a header".to_owned() };
        };
        let to = self.base_url.below(&path);
        let answer = self.post.send(method.clone(), &to, headers, Bytes::from(body.to_string()), now).await;
        answer.map_or_else(|outcome| outcome, |answer| outcome(&method, &answer))
    }
}

/// The meaning of an answer about one account or card.
fn outcome(method: &Method, answer: &Answer) -> Outcome {
    match answer.status.as_u16() {
        // What a repeated deletion finds no more is deleted.
        404 | 410 if *method == Method::DELETE => Outcome::Accepted,
        // This card is gone, not the provider: other calls go on.
        410 => Outcome::failed(format!("HTTP {}", answer.status)),
        _ => answer.outcome(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_that_is_gone_is_deleted_and_parks_no_other_call() {
        let check = |method: Method, status: u16, is_accepted: bool| {
            let outcome = outcome(&method, &Answer::of(status, String::new()));
            assert_eq!(outcome == Outcome::Accepted, is_accepted, "{method} {status}");
            assert!(!matches!(outcome, Outcome::Refused { .. }), "{method} {status} parks the receiver");
        };
        for status in [404, 410] {
            check(Method::DELETE, status, true);
            check(Method::POST, status, false);
            check(Method::PUT, status, false);
        }
        check(Method::DELETE, 204, true);
        check(Method::DELETE, 503, false);
    }
}
