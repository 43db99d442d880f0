//! The server that is driven: where it listens, and the users, pool and rates that the load needs there.

use std::str::FromStr;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{Connection, SendRequest};
use hyper::header::{AUTHORIZATION, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::Failed;
use super::corpus::{AMPLE, FUNDS, card_id, unix_seconds, ur_id};

/// Users in one import: some 2 MB.
const USERS_PER_IMPORT: u64 = 5_000;

/// `http://HOST:PORT`.
#[derive(Clone, Debug)]
pub(crate) struct Base {
    /// Host and port.
    pub(crate) authority: String,
}

impl FromStr for Base {
    type Err = String;

    fn from_str(text: &str) -> Result<Base, String> {
        let authority = text.strip_prefix("http://").ok_or("expected http://HOST:PORT (TLS would measure TLS)")?;
        let authority = authority.trim_end_matches('/');
        if authority.is_empty() || authority.contains('/') || !authority.contains(':') {
            return Err("expected http://HOST:PORT without a path".to_owned());
        }
        Ok(Base { authority: authority.to_owned() })
    }
}

type Sender = SendRequest<Full<Bytes>>;

impl Base {
    /// A connection. It makes progress only while it is polled.
    pub(crate) async fn connect(&self) -> Result<(Sender, Connection<TokioIo<TcpStream>, Full<Bytes>>), Failed> {
        let stream = TcpStream::connect(&self.authority).await;
        let stream = stream.map_err(|error| Failed(format!("{}: {error}", self.authority)))?;
        // A callback is one small write: waiting for more to send would only delay it.
        stream.set_nodelay(true)?;
        Ok(hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?)
    }
}

/// Tells the server what the load needs: rates, an ample pool in EUR, and so many users.
pub(crate) async fn set_up(admin: &Base, token: &str, users: u64, progress: impl Fn(u64)) -> Result<(), Failed> {
    let (sender, connection) = admin.connect().await?;
    tokio::spawn(connection);
    let mut operator = Operator { sender, host: admin.authority.clone(), token: token.to_owned() };
    let rates = json!({
        "chf": {"EUR": "945", "USD": "863"}, "interchange_percent": "1",
        "pairs": [{"from": "USD", "to": "EUR", "rate": "9168", "spread": "10150"}],
    });
    operator.send(Method::PUT, "/rates", rates.to_string()).await?;
    let pool = json!({"reported": AMPLE.to_string(), "floor": "0", "reserve": "0", "reflectedThrough": "now"});
    operator.send(Method::PUT, "/pools/EUR", pool.to_string()).await?;
    let began = unix_seconds();
    let mut first = 0;
    while first < users {
        let end = users.min(first + USERS_PER_IMPORT);
        let lines: Vec<_> = (first..end).map(|user| line(user, began).to_string()).collect();
        let answer = operator.send(Method::POST, "/users/import", lines.join("\n")).await?;
        if answer.get("imported").and_then(Value::as_u64) != Some(end - first) {
            return Err(Failed(format!("not all users were imported: {answer}")));
        }
        first = end;
        progress(first);
    }
    Ok(())
}

fn line(user: u64, began: u64) -> Value {
    json!({
        "urId": ur_id(user).to_string(), "status": "live", "funding": "crypto",
        "limit": {"usedLimit": "0", "clientLimit": AMPLE.to_string(), "startLimitDate": began},
        "funds": {"amount": FUNDS.to_string(), "currency": "EUR"},
        "cards": [{"cardId": card_id(user), "status": "active", "currency": "EUR"}],
    })
}

/// Speaks to the admin API.
struct Operator {
    sender: Sender,
    host: String,
    token: String,
}

impl Operator {
    async fn send(&mut self, method: Method, path: &str, body: String) -> Result<Value, Failed> {
        let what = format!("{method} {path}");
        let request = Request::builder()
            .method(method)
            .uri(format!("/api/v1{path}"))
            .header(HOST, &self.host)
            .header(AUTHORIZATION, format!("Bearer {}", self.token))
            .body(Full::new(Bytes::from(body)))?;
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        let status = response.status();
        let text = response.into_body().collect().await?.to_bytes();
        if status != StatusCode::OK {
            return Err(Failed(format!("{what}: {status}: {}", String::from_utf8_lossy(&text))));
        }
        Ok(serde_json::from_slice(&text)?)
    }
}
