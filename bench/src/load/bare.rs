//! The HTTP floor: hyper, the signature's recovery, a fixed answer, and nothing of tapgate around them.

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
use tokio::net::TcpListener;

use super::corpus::unix_seconds;
use super::{Failed, drive, print};

/// What is answered to everything with a good signature; as long as a real answer.
pub(crate) const ANSWER: &[u8] = br#"{"authorizationId":"ld5ba3e0f1c2d4e_000000001","approved":true,"source":"CRYPTO","approvedAmount":"1250","currency":"EUR","partnerRefId":"ld5ba3e0f1c2d4e_000000001"}"#;

/// Serve the HTTP floor.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Where to listen; with port 0 on any free port, which stdout names.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// UR's private key (0x and 64 hexadecimal digits); its address is the accepted signer.
    #[arg(long)]
    ur_key_file: PathBuf,
}

pub(crate) fn run(options: &Options) -> Result<(), Failed> {
    let policy = Arc::new(WebhookPolicy {
        signers: vec![drive::read_key(&options.ur_key_file)?.address()],
        require_v2: false,
        timestamp_window_seconds: 300,
    });
    // As tapgate's own runtime is built: one worker a core.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(options.listen, policy))
}

async fn serve(address: SocketAddr, policy: Arc<WebhookPolicy>) -> Result<(), Failed> {
    let listener = TcpListener::bind(address).await?;
    print(&format!("public: http://{}\n", listener.local_addr()?))?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let policy = Arc::clone(&policy);
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(Arc::clone(&policy), request));
            // Whoever broke a connection off notices it at the other end.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(policy: Arc<WebhookPolicy>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let is_good = match body.collect().await {
        Ok(body) => {
            let signature = head.headers.get(SIGNATURE_HEADER).map(HeaderValue::as_bytes);
            let headers = WebhookHeaders { signature, ..WebhookHeaders::default() };
            verify_webhook(&policy, &headers, &body.to_bytes(), unix_seconds()).is_ok()
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
