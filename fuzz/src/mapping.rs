//! Mappings of UR's callback: neither a mapping nor what is read by it panics, and every answer that it writes is JSON where
//! its template is.

use std::path::Path;

use serde_json::Value;
use tapgate::config::Config;
use tapgate_engine::ids::AuthorizationId;
use tapgate_engine::ledger::Reply;
use tapgate_engine::money::Currency;

const NOW_UNIX_SECONDS: u64 = 1_768_659_501;

/// Three parts with zeros in between: the section `[ur.callback]` and what else is set, the sample, and a body.
pub fn check(data: &[u8]) {
    let mut parts = data.split(|byte| *byte == 0);
    let (file, sample, body) = (parts.next(), parts.next(), parts.next());
    let text =
        |part: Option<&[u8]>| part.and_then(|part| std::str::from_utf8(part).ok()).unwrap_or_default().to_owned();
    let (file, sample) = (text(file), text(sample));
    let signed = format!("ur.signers = [\"0x000000000000000000000000000000000000dEaD\"]\n{file}");
    let Ok(config) = Config::load(&signed, "fuzz.toml", [], |_: &Path| Ok(sample.clone())) else { return };
    let Some(mapping) = config.public.callback else { return };
    if let Ok(envelope) = mapping.read(body.unwrap_or_default(), NOW_UNIX_SECONDS) {
        let _ = envelope.request();
    }
    let Ok(id) = "auth_\"1\\".parse::<AuthorizationId>() else { return };
    let reply = Reply { root: id.clone(), id, currency: Currency::EUR.into(), outcome: None };
    let written = mapping.render(&reply);
    assert!(serde_json::from_slice::<Value>(&written).is_ok(), "{}", String::from_utf8_lossy(&written));
}
