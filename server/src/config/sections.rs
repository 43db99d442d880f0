//! The settings, their forms, ranges and defaults, section by section as in `docs/interface.md`.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tapgate_engine::fact::Author;

use super::reader::Reader;
use super::setting::Setting;
use super::{
    Admin, AdminToken, Config, Durability, Listen, Reconcile, Role, TokenHash, Ur, controls, decision, deliver,
    treasury,
};
use crate::signature::{Address, SigningKey};

/// Most signers: each is a key that can approve spending, and a rotation needs two.
const SIGNERS_MAX: usize = 16;

/// Most admin tokens: every request with a token is compared with all of them.
const TOKENS_MAX: usize = 100;

/// Longest signature window, in seconds: within it a captured request can be replayed.
const TIMESTAMP_WINDOW_SECONDS_MAX: u64 = 3_600;

/// Longest age of figures, in seconds: UR's limit window of 30 days, beyond which no figure says anything.
pub(super) const MAX_AGE_SECONDS_MAX: u32 = 2_592_000;

/// Calls to UR a minute where nothing else is agreed: the least tier of UR's issuer (docs/ur-facts.md).
const CALLS_PER_MINUTE: u32 = 80;

/// Most calls a minute: more than any tier.
const CALLS_PER_MINUTE_MAX: u32 = 100_000;

/// Longest interval of a feed, in seconds: a day.
const INTERVAL_SECONDS_MAX: u32 = 86_400;

/// Longest wait for a settlement, in seconds: 90 days.
const EXPIRY_SECONDS_MAX: u32 = 7_776_000;

/// Largest tolerance, in basis points: a tenth.
const DRIFT_BPS_MAX: u16 = 1_000;

/// SHA-256 of nothing: as a token's hash it would let an empty token in.
const SHA256_OF_NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// How a file is read whose path a setting names.
pub(super) type ReadFile<'f> = &'f dyn Fn(&Path) -> io::Result<String>;

/// The configuration. What is missing or bad is read as its default (or as nothing) and is among the reader's errors,
/// so the result only counts if there are none.
pub(super) fn config(reader: &mut Reader<'_>, read_file: ReadFile<'_>) -> Config {
    let data_dir = reader.value("data_dir", |setting| setting.parsed(not_empty)).map(PathBuf::from);
    let durability = reader.value("durability", durability);
    let listen = listen(reader);
    let ur = ur(reader, read_file);
    let controls = controls::controls(reader);
    let policy = decision::policy(reader, ur.feeds, controls);
    let reconcile = reconcile(reader);
    let treasury = treasury::treasury(reader, read_file, &ur);
    let admin = admin(reader);
    let deliver = deliver::deliver(reader, read_file);
    Config {
        data_dir: data_dir.unwrap_or_else(|| PathBuf::from("./data")),
        durability: durability.unwrap_or(Durability::Fsync),
        listen,
        ur,
        policy,
        deadline: decision::deadline(reader),
        card_currency: decision::card_currency(reader),
        reconcile,
        treasury,
        admin,
        deliver,
    }
}

fn durability(setting: &Setting<'_>) -> Result<Durability, String> {
    if setting.text()? == "replicated" {
        return Err("\"replicated\" is not in this version: use \"fsync\" or \"os\"".to_owned());
    }
    setting.word(&[("fsync", Durability::Fsync), ("os", Durability::Os)])
}

fn listen(reader: &mut Reader<'_>) -> Listen {
    let public = reader.value("listen.public", socket_address).unwrap_or(SocketAddr::from(([127, 0, 0, 1], 8480)));
    let admin = reader.value("listen.admin", socket_address).unwrap_or(SocketAddr::from(([127, 0, 0, 1], 8481)));
    let same_host = public.ip() == admin.ip() || public.ip().is_unspecified() || admin.ip().is_unspecified();
    if public.port() != 0 && public.port() == admin.port() && same_host {
        let message = format!("collides with the other listener: public is {public}, admin is {admin}");
        // Where neither is given, the defaults hold, and they do not collide.
        if let Some(given) = reader.find("listen.admin").or_else(|| reader.find("listen.public")) {
            reader.report(&given, message);
        }
    }
    Listen { public, admin }
}

fn socket_address(setting: &Setting<'_>) -> Result<SocketAddr, String> {
    setting.parsed(|text| text.parse().map_err(|_| "must be an IP address and a port, such as 127.0.0.1:8480"))
}

fn ur(reader: &mut Reader<'_>, read_file: ReadFile<'_>) -> Ur {
    let base_url = reader.value("ur.base_url", base_url);
    let signers = signers(reader);
    let partner_key = partner_key(reader, read_file);
    let ops_ur_id = reader.value("ur.ops_ur_id", |setting| setting.parsed(ops_ur_id));
    let require_v2 = reader.value("ur.require_v2", Setting::boolean);
    let window = 1..=TIMESTAMP_WINDOW_SECONDS_MAX;
    let timestamp_window_seconds = reader.value("ur.timestamp_window_seconds", |setting| setting.integer(window));
    let feeds = reader.value("ur.feeds", Setting::boolean);
    let calls_per_minute = reader.value("ur.calls_per_minute", |setting| setting.integer(1..=CALLS_PER_MINUTE_MAX));
    Ur {
        base_url: base_url.unwrap_or_else(|| "https://openapi.ur.app".to_owned()),
        signers,
        partner_key,
        ops_ur_id,
        require_v2: require_v2.unwrap_or(false),
        timestamp_window_seconds: timestamp_window_seconds.unwrap_or(300),
        feeds: feeds.unwrap_or(true),
        calls_per_minute: calls_per_minute.unwrap_or(CALLS_PER_MINUTE),
        pools_interval_seconds: seconds(reader, "ur.pools_interval_seconds", INTERVAL_SECONDS_MAX, 15),
        rates_interval_seconds: seconds(reader, "ur.rates_interval_seconds", INTERVAL_SECONDS_MAX, 300),
        users_interval_seconds: seconds(reader, "ur.users_interval_seconds", INTERVAL_SECONDS_MAX, 21_600),
    }
}

fn reconcile(reader: &mut Reader<'_>) -> Reconcile {
    let drift_bps = reader.value("reconcile.drift_bps", |setting| setting.integer(0..=DRIFT_BPS_MAX));
    Reconcile {
        first_look_seconds: seconds(reader, "reconcile.first_look_seconds", INTERVAL_SECONDS_MAX, 300),
        silence_seconds: seconds(reader, "reconcile.silence_seconds", MAX_AGE_SECONDS_MAX, 86_400),
        expiry_seconds: seconds(reader, "reconcile.expiry_seconds", EXPIRY_SECONDS_MAX, 864_000),
        long_expiry_seconds: seconds(reader, "reconcile.long_expiry_seconds", EXPIRY_SECONDS_MAX, 2_592_000),
        drift_bps: drift_bps.unwrap_or(200),
    }
}

/// From one second.
fn seconds(reader: &mut Reader<'_>, path: &'static str, most: u32, default: u32) -> u32 {
    reader.value(path, |setting| setting.integer(1..=most)).unwrap_or(default)
}

fn signers(reader: &mut Reader<'_>) -> Vec<Address> {
    const WHAT: &str = "list the addresses whose webhook signatures are accepted";
    let mut seen = Vec::new();
    let mut items = 0_usize;
    let signers = reader.list("ur.signers", SIGNERS_MAX, |reader, item| {
        items += 1;
        // Not repeated in the message: where an address is expected, a private key is easily put by mistake.
        let address = item.text().and_then(|text| text.parse::<Address>().map_err(|error| error.to_string()));
        let address = reader.judge(item, address)?;
        if seen.contains(&address) {
            reader.report(item, format!("{address} is listed twice"));
        }
        seen.push(address);
        Some(address)
    });
    match reader.find("ur.signers") {
        None => reader.missing("ur.signers", WHAT),
        Some(setting) if signers.is_some() && items == 0 => {
            reader.report(&setting, format!("must not be empty: {WHAT}"));
        }
        Some(_) => {}
    }
    signers.unwrap_or_default()
}

/// The key itself or the content of its file. No message repeats either.
fn partner_key(reader: &mut Reader<'_>, read_file: ReadFile<'_>) -> Option<SigningKey> {
    let parse = |text: &str| text.parse::<SigningKey>().map_err(|error| error.to_string());
    let key = reader.find("ur.partner_key");
    let file = reader.find("ur.partner_key_file");
    match (key, file) {
        (None, None) => None,
        (Some(key), None) => {
            let parsed = key.text().and_then(parse);
            reader.judge(&key, parsed)
        }
        (None, Some(file)) => {
            let parsed = file.text().and_then(|path| {
                let digits = path.trim().trim_start_matches("0x");
                if digits.len() >= 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                    return Err("must be the path of a file, and looks like the key itself".to_owned());
                }
                let content = read_file(Path::new(path)).map_err(|error| format!("cannot read {path:?}: {error}"))?;
                parse(content.trim_end_matches(['\r', '\n'])).map_err(|error| format!("in {path:?}: {error}"))
            });
            reader.judge(&file, parsed)
        }
        (Some(_), Some(file)) => {
            reader.report(&file, "give either partner_key or partner_key_file, not both".to_owned());
            None
        }
    }
}

/// The value is never repeated: it may hold credentials, which have no place in it.
fn base_url(setting: &Setting<'_>) -> Result<String, String> {
    const FORM: &str = "must be http:// or https://, a host, and at most a port and a path; no user, query or fragment";
    let text = setting.text()?;
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).ok_or(FORM)?;
    let host = rest.split(['/', ':']).next().unwrap_or_default();
    let is_plain = rest.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#@\"<>\\^`{|}".contains(&byte));
    if host.is_empty() || !is_plain {
        return Err(FORM.to_owned());
    }
    Ok(text.trim_end_matches('/').to_owned())
}

fn ops_ur_id(text: &str) -> Result<String, &'static str> {
    let fits = (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if fits { Ok(text.to_owned()) } else { Err("must be 1 to 64 printable ASCII characters without spaces") }
}

fn not_empty(text: &str) -> Result<String, &'static str> {
    if text.trim().is_empty() { Err("must not be empty") } else { Ok(text.to_owned()) }
}

fn admin(reader: &mut Reader<'_>) -> Admin {
    let mut names = Vec::new();
    let mut hashes = Vec::new();
    let tokens = reader.list("admin.tokens", TOKENS_MAX, |reader, item| {
        let token = admin_token(reader, item)?;
        if names.contains(&token.name) {
            reader.report(item, format!("the name \"{}\" is given to two tokens", token.name));
        }
        if hashes.contains(&token.sha256) {
            reader.report(item, "the same sha256 is given to two tokens: which role it has would be chance".to_owned());
        }
        names.push(token.name.clone());
        hashes.push(token.sha256);
        Some(token)
    });
    Admin { tokens: tokens.unwrap_or_default() }
}

fn admin_token<'a>(reader: &mut Reader<'a>, item: &Setting<'a>) -> Option<AdminToken> {
    let roles = [("viewer", Role::Viewer), ("operator", Role::Operator), ("treasurer", Role::Treasurer)];
    let fields = reader.table(item, &["name", "role", "sha256"])?;
    // All three are read before any of them may end this, so that all their faults are reported.
    let name = reader.required_field(&fields, "name", |setting| setting.parsed(token_name));
    let role = reader.required_field(&fields, "role", |setting| setting.word(&roles));
    let sha256 = reader.required_field(&fields, "sha256", token_hash);
    Some(AdminToken { name: name?, role: role?, sha256: sha256? })
}

/// The journal names its authors so, and who approves must not be who proposed.
fn token_name(text: &str) -> Result<String, &'static str> {
    if [Author::Engine.name(), Author::Ur.name()].contains(&text) {
        return Err("must be neither engine nor ur: the journal names tapgate itself and UR so");
    }
    let fits = (1..=64).contains(&text.len());
    if fits && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) {
        Ok(text.to_owned())
    } else {
        Err("must be 1 to 64 letters, digits, '.', '_' or '-'")
    }
}

/// The value is never repeated: it may be the token itself, put there by mistake.
fn token_hash(setting: &Setting<'_>) -> Result<TokenHash, String> {
    const FORM: &str = "must be the token's SHA-256 in 64 hexadecimal digits";
    let text = setting.text()?;
    let mut hash = [0; 32];
    hex::decode_to_slice(text, &mut hash).map_err(|_| FORM)?;
    if text.eq_ignore_ascii_case(SHA256_OF_NOTHING) {
        return Err("is the SHA-256 of an empty token".to_owned());
    }
    Ok(TokenHash(hash))
}
