//! `tapgate sign` and `tapgate verify`: signatures of UR and of the partner, to debug an integration.

use std::io::Read;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::cli::Failed;
use crate::cli::print;
use crate::clock::Clock;
use crate::signature::{
    Address, DEADLINE_HEADER, PartnerRequest, PartnerScope, SIGNATURE_HEADER, SigningKey, WebhookHeaders,
    WebhookPolicy, partner_message, verify_partner, verify_webhook,
};

/// The default validity of a partner's signature: the most that UR accepts.
const DEADLINE_AHEAD_SECONDS: u64 = 300;

/// The window for V2's timestamp in `tapgate verify`.
const TIMESTAMP_WINDOW_SECONDS: u64 = 300;

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Signer {
    /// UR: the raw body.
    Ur,
    /// The partner: the body, a space, and the deadline.
    Partner,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Sign {
    /// Who signs.
    #[arg(long = "as")]
    signer: Signer,
    /// A file with the private key, 0x and 64 hexadecimal digits.
    #[arg(long)]
    key_file: PathBuf,
    /// Unix seconds until which a partner's request is valid [default: now + 300].
    #[arg(long)]
    deadline: Option<u64>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Verify {
    /// Who is said to have signed.
    #[arg(long = "as", default_value = "ur")]
    by: Signer,
    /// The signature, 0x and 130 hexadecimal digits.
    #[arg(long)]
    signature: String,
    /// An address whose signature is accepted; may be given more than once.
    #[arg(long, required = true)]
    signer: Vec<Address>,
    /// X-Webhook-Timestamp, for V2.
    #[arg(long)]
    timestamp: Option<String>,
    /// X-Webhook-Request-Id, for V2.
    #[arg(long)]
    request_id: Option<String>,
    /// X-Api-Deadline, for a partner's request.
    #[arg(long)]
    deadline: Option<String>,
}

fn body() -> Result<Vec<u8>, Failed> {
    let mut body = Vec::new();
    std::io::stdin().lock().read_to_end(&mut body)?;
    Ok(body)
}

fn now_seconds() -> u64 {
    Clock::start().now().at.0 / 1000
}

impl Sign {
    pub(in crate::cli) fn run(&self) -> Result<(), Failed> {
        let file = self.key_file.display();
        let text = std::fs::read_to_string(&self.key_file).map_err(|error| Failed(format!("{file}: {error}")))?;
        let key: SigningKey = text.trim().parse().map_err(|error| Failed(format!("{file}: {error}")))?;
        let body = body()?;
        let public = format!("X-Api-PublicKey: {}\n", key.address());
        match self.signer {
            Signer::Ur => print(&format!("{SIGNATURE_HEADER}: {}\n{public}", key.sign_hex(&[&body]))),
            Signer::Partner => {
                let deadline = self.deadline.unwrap_or_else(|| now_seconds() + DEADLINE_AHEAD_SECONDS);
                let signature = key.sign_hex(&[&partner_message(&body, deadline)]);
                print(&format!("{SIGNATURE_HEADER}: {signature}\n{DEADLINE_HEADER}: {deadline}\n{public}"))
            }
        }
    }
}

impl Verify {
    pub(in crate::cli) fn run(&self) -> Result<(), Failed> {
        let body = body()?;
        let signer = match self.by {
            Signer::Ur => self.webhook(&body)?,
            Signer::Partner => self.partner(&body)?,
        };
        print(&format!("ok: signed by {signer}\n"))
    }

    fn webhook(&self, body: &[u8]) -> Result<Address, Failed> {
        let policy = WebhookPolicy {
            signers: self.signer.clone(),
            require_v2: false,
            timestamp_window_seconds: TIMESTAMP_WINDOW_SECONDS,
        };
        let v2 = self.timestamp.is_some() || self.request_id.is_some();
        let signature = Some(self.signature.as_bytes());
        let headers = WebhookHeaders {
            signature: signature.filter(|_| !v2),
            signature_v2: signature.filter(|_| v2),
            timestamp: self.timestamp.as_ref().map(String::as_bytes),
            request_id: self.request_id.as_ref().map(String::as_bytes),
        };
        Ok(verify_webhook(&policy, &headers, body, now_seconds())?.signer)
    }

    fn partner(&self, body: &[u8]) -> Result<Address, Failed> {
        let request = PartnerRequest {
            signature: Some(self.signature.as_bytes()),
            deadline: self.deadline.as_ref().map(String::as_bytes),
            scope: PartnerScope::Open,
            body,
        };
        let mut refused = None;
        for signer in &self.signer {
            match verify_partner(*signer, &request, now_seconds()) {
                Ok(()) => return Ok(*signer),
                Err(error) => refused = Some(error),
            }
        }
        Err(refused.map_or_else(|| Failed("no signer was given".to_owned()), Failed::from))
    }
}
