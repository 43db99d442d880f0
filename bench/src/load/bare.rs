//! The HTTP floor: hyper, the signature's recovery, a fixed answer, and nothing of tapgate around them; with a bare group
//! commit before the answer, what this machine permits a server that keeps what it answered.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tapgate::signature::{SIGNATURE_HEADER, WebhookHeaders, WebhookPolicy, verify_webhook};
use tapgate::trace::{self, Mark};
use tapgate_engine::store::rocks::Rocks;
use tokio::net::TcpListener;

use super::corpus::unix_seconds;
use super::engine::Durable;
use super::floor::Writer;
use super::{Failed, drive, print};

/// What is answered to everything with a good signature; as long as a real answer.
pub(crate) const ANSWER: &[u8] = br#"{"authorizationId":"ld5ba3e0f1c2d4e_000000001","approved":true,"source":"CRYPTO","approvedAmount":"1250","currency":"EUR","partnerRefId":"ld5ba3e0f1c2d4e_000000001"}"#;

/// What is answered to everything by a server that refuses; as long as a real refusal.
const REFUSAL: &[u8] =
    br#"{"error":{"code":"overloaded","message":"more came than can be answered in time; try again"}}"#;

/// Of a body, what is made durable: as much as a record of tapgate's has.
const KEPT_BYTES: usize = 233;

/// Serve the HTTP floor.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Where to listen; with port 0 on any free port, which stdout names.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// UR's private key (0x and 64 hexadecimal digits); its address is the accepted signer.
    #[arg(long)]
    ur_key_file: PathBuf,
    /// Before each answer, have the body's beginning durable in RocksDB.
    #[arg(long, value_enum, requires = "dir")]
    durability: Option<Durable>,
    /// Where RocksDB keeps it; a directory that is not there yet.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Answer everything 503, unseen: what a refusal must cost.
    #[arg(long, conflicts_with = "durability")]
    refuse: bool,
}

/// What every answer takes.
struct Served {
    refuses: bool,
    policy: WebhookPolicy,
    writer: Option<Writer>,
}

pub(crate) fn run(options: &Options) -> Result<(), Failed> {
    let policy = WebhookPolicy {
        signers: vec![drive::read_key(&options.ur_key_file)?.address()],
        require_v2: false,
        timestamp_window_seconds: 300,
    };
    let writer = match (options.durability, &options.dir) {
        (Some(durability), Some(dir)) => {
            let store = trace::watched(Arc::new(Rocks::open(dir, durability.of_store())?));
            Some(Writer::start(store, None)?.0)
        }
        _ => None,
    };
    // One worker a core, as tapgate's.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(options.listen, Arc::new(Served { refuses: options.refuse, policy, writer })))
}

async fn serve(address: SocketAddr, served: Arc<Served>) -> Result<(), Failed> {
    let listener = TcpListener::bind(address).await?;
    traced::listening(&listener);
    print(&format!("public: http://{}\n", listener.local_addr()?))?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let served = Arc::clone(&served);
        tokio::spawn(async move {
            let (stream, connection) = traced::noted(stream);
            let service =
                service_fn(move |request| traced::answer(connection.clone(), answer(Arc::clone(&served), request)));
            // Whoever broke a connection off notices it at the other end.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// With the feature `trace` the server tells where a request's time went, as tapgate then does.
#[cfg(feature = "trace")]
mod traced {
    use std::convert::Infallible;

    use hyper::Response;
    use tapgate::http::arrival::{self, Arrival, Noted};
    use tapgate::trace;
    use tokio::net::{TcpListener, TcpStream};

    pub(super) fn listening(listener: &TcpListener) {
        arrival::stamp(listener);
    }

    pub(super) fn noted(stream: TcpStream) -> (Noted, Arrival) {
        let arrival = Arrival::default();
        (Noted::new(stream, arrival.clone()), arrival)
    }

    pub(super) async fn answer<B>(
        arrival: Arrival,
        answer: impl Future<Output = Result<Response<B>, Infallible>>,
    ) -> Result<Response<B>, Infallible> {
        let begun = async {
            let _ = arrival.of_request();
            match answer.await {
                Ok(response) => response,
            }
        };
        let response = trace::traced(begun).await;
        arrival.forget();
        Ok(response)
    }
}

#[cfg(not(feature = "trace"))]
mod traced {
    use tokio::net::{TcpListener, TcpStream};

    #[derive(Clone)]
    pub(super) struct Untraced;

    pub(super) fn listening(_: &TcpListener) {}

    pub(super) fn noted(stream: TcpStream) -> (TcpStream, Untraced) {
        (stream, Untraced)
    }

    pub(super) fn answer<F: Future>(_: Untraced, answer: F) -> F {
        answer
    }
}

async fn answer(served: Arc<Served>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    if served.refuses {
        let _ = body.collect().await;
        let mut response = Response::new(Full::new(Bytes::from_static(REFUSAL)));
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        return Ok(response);
    }
    let is_good = match body.collect().await {
        Ok(body) => {
            let signature = head.headers.get(SIGNATURE_HEADER).map(HeaderValue::as_bytes);
            let headers = WebhookHeaders { signature, ..WebhookHeaders::default() };
            let body = body.to_bytes();
            trace::mark(Mark::Handled);
            let is_signed = verify_webhook(&served.policy, &headers, &body, unix_seconds()).is_ok();
            trace::mark(Mark::Parsed);
            match &served.writer {
                Some(writer) if is_signed => {
                    let kept = body.iter().copied().take(KEPT_BYTES).collect();
                    trace::mark(Mark::Decided);
                    trace::told(writer.put(kept)).await.is_ok()
                }
                _ => is_signed,
            }
        }
        Err(_) => false,
    };
    let mut response = Response::new(Full::new(Bytes::from_static(if is_good { ANSWER } else { b"{}" })));
    if !is_good {
        *response.status_mut() = StatusCode::UNAUTHORIZED;
    }
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}
