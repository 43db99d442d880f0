//! The admin API's client: address, token, and errors in the caller's terms.

use std::fmt;
use std::io;
use std::time::Duration;

use clap::Args;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, Url};
use serde::Deserialize;

use crate::cli::Failed;
use crate::cli::ui::screen::{Text, clean};

/// A running server accepts a connection within milliseconds, across the world within a second.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A page of the slowest list reads 200,000 records, which takes seconds at most; a thousand imported users are one or
/// a few groups of the journal.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// A thousand items of a list are one megabyte.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Where the admin API is, and the token to ask it with.
#[derive(Debug, Args)]
#[command(next_help_heading = "Admin API")]
pub(in crate::cli) struct Connection {
    /// The admin API's base URL.
    #[arg(long, global = true, env = "TAPGATE_URL", value_name = "URL", default_value = "http://127.0.0.1:8481",
          value_parser = base_url)]
    url: Url,
    /// A bearer token of the admin API; better given as TAPGATE_TOKEN, where no list of processes shows it.
    #[arg(long, global = true, env = "TAPGATE_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    token: Option<String>,
}

fn base_url(text: &str) -> Result<Url, String> {
    let url: Url = text.parse().map_err(|error| format!("{error}, such as http://127.0.0.1:8481 is needed"))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err("it must begin with http:// or https://".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err("it holds scheme, host, port and path only; credentials go into --token".to_owned());
    }
    Ok(url)
}

#[derive(Debug)]
pub(in crate::cli) enum ClientError {
    /// No connection. Without a cause, nothing listens at the address.
    Unreachable { url: Url, cause: Option<String> },
    /// The connection broke, or the answer took too long.
    Broken { url: Url, cause: String, may_have_changed: bool },
    /// 401.
    Unauthorized { url: Url, token_given: bool },
    /// 403: the API names the role.
    Forbidden { message: Text },
    /// Any other refusal, in the API's words.
    Refused { code: Text, message: Text },
    /// The server at the address is not tapgate's admin API.
    NotTapgate { url: Url, status: u16 },
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::Unreachable { url, cause } => {
                write!(
                    f,
                    "no server answers at {} – is `tapgate serve` running? Set --url or TAPGATE_URL",
                    shown(url)
                )?;
                cause.as_ref().map_or(Ok(()), |cause| write!(f, " ({})", clean(cause)))
            }
            ClientError::Broken { url, cause, may_have_changed } => {
                write!(f, "{} gave no answer: {}", shown(url), clean(cause))?;
                let warning = "; the change may have been made all the same, so look before you repeat it";
                f.write_str(if *may_have_changed { warning } else { "" })
            }
            ClientError::Unauthorized { url, token_given: false } => {
                write!(f, "{} wants a token: set --token or TAPGATE_TOKEN", shown(url))
            }
            ClientError::Unauthorized { url, token_given: true } => {
                write!(f, "{} does not know this token: set another with --token or TAPGATE_TOKEN", shown(url))
            }
            ClientError::Forbidden { message } => {
                write!(f, "forbidden: {message}; use the token of a role that may (--token or TAPGATE_TOKEN)")
            }
            ClientError::Refused { code, message } => write!(f, "{code}: {message}"),
            ClientError::NotTapgate { url, status } => write!(
                f,
                "what answers at {} is not tapgate's admin API (HTTP {status}); set --url or TAPGATE_URL to the admin \
                 listener",
                shown(url)
            ),
        }
    }
}

impl std::error::Error for ClientError {}

/// The URL without the slash that parsing adds.
fn shown(url: &Url) -> &str {
    url.as_str().trim_end_matches('/')
}

#[derive(Debug)]
pub(in crate::cli) struct ApiCall<'a> {
    method: Method,
    path: &'a [&'a str],
    query: &'a [(&'a str, String)],
    body: Option<Vec<u8>>,
    headers: HeaderMap,
}

impl<'a> ApiCall<'a> {
    /// Reads a resource under `/api/v1`; each segment is escaped.
    pub(in crate::cli) fn get(path: &'a [&'a str], query: &'a [(&'a str, String)]) -> ApiCall<'a> {
        ApiCall { method: Method::GET, path, query, body: None, headers: HeaderMap::new() }
    }

    /// Replaces a resource with JSON.
    pub(in crate::cli) fn put(path: &'a [&'a str], body: impl Into<Vec<u8>>) -> ApiCall<'a> {
        ApiCall::get(path, &[]).with(Method::PUT, body.into(), "application/json")
    }

    /// Requests an action, with JSON.
    pub(in crate::cli) fn post(path: &'a [&'a str], body: impl Into<Vec<u8>>) -> ApiCall<'a> {
        ApiCall::get(path, &[]).with(Method::POST, body.into(), "application/json")
    }

    pub(in crate::cli) fn delete(path: &'a [&'a str]) -> ApiCall<'a> {
        ApiCall { method: Method::DELETE, ..ApiCall::get(path, &[]) }
    }

    /// Sends lines of JSON.
    pub(in crate::cli) fn post_lines(path: &'a [&'a str], body: Vec<u8>) -> ApiCall<'a> {
        ApiCall::get(path, &[]).with(Method::POST, body, "application/x-ndjson")
    }

    fn with(mut self, method: Method, body: Vec<u8>, content_type: &'static str) -> ApiCall<'a> {
        self.method = method;
        self.body = Some(body);
        self.headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        self
    }

    /// Lets repeats of this request count once.
    pub(in crate::cli) fn idempotent(mut self, key: Option<&HeaderValue>) -> ApiCall<'a> {
        if let Some(key) = key {
            self.headers.insert("idempotency-key", key.clone());
        }
        self
    }
}

/// The API's answer: unchanged JSON.
#[derive(Debug)]
pub(in crate::cli) struct Answer {
    url: Url,
    text: String,
}

impl Answer {
    pub(in crate::cli) fn text(&self) -> &str {
        &self.text
    }

    /// The resource, in the form that tables need.
    ///
    /// # Errors
    /// Not JSON, or not the requested resource.
    pub(in crate::cli) fn read<T: for<'de> Deserialize<'de>>(&self) -> Result<T, ClientError> {
        serde_json::from_str(&self.text).map_err(|_| ClientError::NotTapgate { url: self.url.clone(), status: 200 })
    }
}

/// A client without proxies or redirects, so that neither ever sees the token.
pub(in crate::cli) struct Client {
    http: reqwest::Client,
    runtime: tokio::runtime::Runtime,
    base: Url,
    token: Option<HeaderValue>,
}

impl Client {
    /// # Errors
    /// The token is malformed, or the system's certificates cannot be read (for `https` only).
    pub(in crate::cli) fn open(connection: &Connection) -> Result<Client, Failed> {
        let token = connection.token.as_deref().map(str::trim).filter(|token| !token.is_empty());
        let token = token.map(|token| HeaderValue::try_from(format!("Bearer {token}"))).transpose();
        let mut token = token.map_err(|_| Failed("the token holds characters that no header can carry".to_owned()))?;
        if let Some(token) = &mut token {
            token.set_sensitive(true);
        }
        // This fails only if a provider is already installed, and any provider will do.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(ANSWER_TIMEOUT);
        if connection.url.scheme() == "http" {
            // Without TLS there is nothing to verify, and a machine without certificates must still work.
            http = http.tls_certs_only([]);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let http = http.build().map_err(|error| Failed(root_cause(&error).to_string()))?;
        Ok(Client { http, runtime, base: connection.url.clone(), token })
    }

    /// # Errors
    /// See [`ClientError`].
    pub(in crate::cli) fn send(&self, call: ApiCall<'_>) -> Result<Answer, ClientError> {
        self.runtime.block_on(self.answer(call))
    }

    async fn answer(&self, call: ApiCall<'_>) -> Result<Answer, ClientError> {
        let changes = call.method != Method::GET;
        let broken = |error: &reqwest::Error| self.broken(error, changes);
        let url = self.url(call.path)?;
        let mut request = self.http.request(call.method, url).query(call.query).headers(call.headers);
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token.clone());
        }
        if let Some(body) = call.body {
            request = request.body(body);
        }
        let mut response = request.send().await.map_err(|error| broken(&error))?;
        let status = response.status().as_u16();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| broken(&error))? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(self.foreign(status));
            }
            body.extend_from_slice(&chunk);
        }
        let text = String::from_utf8(body).map_err(|_| self.foreign(status))?;
        if status != 200 {
            return Err(self.refused(status, &text));
        }
        serde_json::from_str::<serde::de::IgnoredAny>(&text).map_err(|_| self.foreign(status))?;
        Ok(Answer { url: self.base.clone(), text })
    }

    /// The base URL, `/api/v1` and the segments.
    fn url(&self, path: &[&str]) -> Result<Url, ClientError> {
        // A URL drops these two segments, so the request would reach another resource.
        if let Some(id) = path.iter().find(|segment| matches!(**segment, "." | "..")) {
            return Err(ClientError::Refused {
                code: Text::of("not_found"),
                message: Text::of(&format!("there is no {id}")),
            });
        }
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["api", "v1"]).extend(path);
        }
        Ok(url)
    }

    fn foreign(&self, status: u16) -> ClientError {
        ClientError::NotTapgate { url: self.base.clone(), status }
    }

    fn broken(&self, error: &reqwest::Error, changes: bool) -> ClientError {
        let url = self.base.clone();
        let cause = root_cause(error);
        if error.is_connect() {
            let refused =
                cause.downcast_ref().is_some_and(|io: &io::Error| io.kind() == io::ErrorKind::ConnectionRefused);
            return ClientError::Unreachable { url, cause: (!refused).then(|| cause.to_string()) };
        }
        let cause = if error.is_timeout() {
            format!("nothing came within {} seconds", ANSWER_TIMEOUT.as_secs())
        } else {
            cause.to_string()
        };
        ClientError::Broken { url, cause, may_have_changed: changes }
    }

    fn refused(&self, status: u16, body: &str) -> ClientError {
        #[derive(Deserialize)]
        struct Body {
            error: Told,
        }
        #[derive(Deserialize)]
        struct Told {
            code: Text,
            message: Text,
        }
        match (status, serde_json::from_str(body)) {
            (_, Err(_)) => self.foreign(status),
            (401, Ok(Body { .. })) => {
                ClientError::Unauthorized { url: self.base.clone(), token_given: self.token.is_some() }
            }
            (403, Ok(Body { error })) => ClientError::Forbidden { message: error.message },
            (_, Ok(Body { error })) => ClientError::Refused { code: error.code, message: error.message },
        }
    }
}

/// The last error of the chain: the system's own message.
fn root_cause(error: &reqwest::Error) -> &(dyn std::error::Error + 'static) {
    let mut cause: &(dyn std::error::Error + 'static) = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_names_a_server_and_nothing_else() {
        let check = |text: &str, expected: Option<&str>| {
            let url = base_url(text);
            assert_eq!(url.as_ref().ok().map(shown), expected, "{text}: {url:?}");
        };
        check("http://127.0.0.1:8481", Some("http://127.0.0.1:8481"));
        check("https://tapgate.example/behind/", Some("https://tapgate.example/behind"));
        for bad in ["", "127.0.0.1:8481", "localhost:8481", "ftp://host", "http://a:b@host", "http://host/?a=b"] {
            check(bad, None);
        }
    }

    #[test]
    fn segments_are_escaped_and_never_lead_elsewhere() {
        let url = base_url("http://host/behind/").unwrap();
        let client = Client::open(&Connection { url, token: None }).unwrap();
        let check = |id: &str, expected: &str| assert_eq!(client.url(&["users", id]).unwrap().as_str(), expected);
        check("12345", "http://host/behind/api/v1/users/12345");
        check("a/../b?c#d%e", "http://host/behind/api/v1/users/a%2F..%2Fb%3Fc%23d%25e");
        assert!(client.url(&["users", ".."]).is_err());
    }
}
