//! The second provider's API: changes that people made here about its accounts and cards.

use std::sync::Arc;

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use tapgate_engine::time::UnixSeconds;

use super::guard::Endpoint;
use super::post::Post;
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
        let answer = self.post.send(method, &to, headers, Bytes::from(body.to_string()), now).await;
        answer.map_or_else(|outcome| outcome, |answer| answer.outcome())
    }
}
