//! HTTP requests that go out, to UR and to receivers, so that a simulation carries them itself.

use std::pin::Pin;

use bytes::Bytes;
use hyper::{HeaderMap, Request, StatusCode};

use crate::error_chain::error_chain;

/// An answer, with as much of its body as was asked for.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// What of the body is not here.
    pub rest: Rest,
}

/// What of an answer's body was not read.
#[derive(Debug)]
pub enum Rest {
    /// It is all here.
    Nothing,
    /// There may be more than was asked for.
    More,
    /// It broke off.
    Lost(Failure),
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// None came in time.
    Timeout,
    /// The receiver was not reached, or broke off, in words.
    Broken(String),
}

/// The answer to come.
pub type Carrying<'a> = Pin<Box<dyn Future<Output = Result<Answer, Failure>> + Send + 'a>>;

/// Carries requests to where they are addressed.
pub trait Carrier: Send + Sync + 'static {
    /// Sends a request, and reads the answer's body up to `most` bytes.
    fn carry(&self, request: Request<Bytes>, most: usize) -> Carrying<'_>;
}

impl Carrier for reqwest::Client {
    fn carry(&self, request: Request<Bytes>, most: usize) -> Carrying<'_> {
        Box::pin(async move {
            let request = request.try_into().map_err(failure)?;
            let mut response = self.execute(request).await.map_err(failure)?;
            let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
            let mut body = Vec::new();
            let rest = loop {
                match response.chunk().await {
                    Ok(None) => break Rest::Nothing,
                    // Nobody waits for what may come after it.
                    Ok(Some(chunk)) if chunk.len() >= most - body.len() => {
                        body.extend(chunk.iter().take(most - body.len()));
                        break Rest::More;
                    }
                    Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                    Err(error) => break Rest::Lost(failure(error)),
                }
            };
            Ok(Answer { status, headers, body, rest })
        })
    }
}

/// Without the address, which may hold a secret.
fn failure(error: reqwest::Error) -> Failure {
    if error.is_timeout() { Failure::Timeout } else { Failure::Broken(error_chain(&error.without_url())) }
}
