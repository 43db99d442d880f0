//! The settings, their forms, ranges and defaults, section by section as in `docs/interface.md`.

use std::io;
use std::path::{Path, PathBuf};

use super::reader::Reader;
use super::setting::Setting;
use super::{Config, Durability, Ur, admin, controls, decision, deliver, listen, reconcile, treasury};
use crate::signature::{Address, SigningKey};

/// Most signers: each is a key that can approve spending, and a rotation needs two.
const SIGNERS_MAX: usize = 16;

/// Longest signature window, in seconds: within it a captured request can be replayed.
const TIMESTAMP_WINDOW_SECONDS_MAX: u64 = 3_600;

/// Longest age of figures, in seconds: UR's limit window of 30 days, beyond which no figure says anything.
pub(super) const MAX_AGE_SECONDS_MAX: u32 = 2_592_000;

/// Calls to UR a minute where nothing else is agreed: the least tier of UR's issuer (docs/ur-facts.md).
const CALLS_PER_MINUTE: u32 = 80;

/// Most calls a minute: more than any tier.
const CALLS_PER_MINUTE_MAX: u32 = 100_000;

/// Longest interval of a feed, in seconds: a day.
pub(super) const INTERVAL_SECONDS_MAX: u32 = 86_400;

/// How a file is read whose path a setting names.
pub(super) type ReadFile<'f> = &'f dyn Fn(&Path) -> io::Result<String>;

/// The configuration. What is missing or bad is read as its default (or as nothing) and is among the reader's errors,
/// so the result only counts if there are none.
pub(super) fn config(reader: &mut Reader<'_>, read_file: ReadFile<'_>) -> Config {
    let data_dir = reader.value("data_dir", |setting| setting.parsed(not_empty)).map(PathBuf::from);
    let durability = reader.value("durability", durability);
    let listen = listen::listen(reader);
    let ur = ur(reader, read_file);
    let controls = controls::controls(reader);
    let policy = decision::policy(reader, ur.feeds, controls);
    let reconciliation = reconcile::reconcile(reader);
    let treasury = treasury::treasury(reader, read_file, &ur);
    let tokens = admin::tokens(reader);
    let delivery = deliver::deliver(reader, read_file);
    Config {
        data_dir: data_dir.unwrap_or_else(|| PathBuf::from("./data")),
        durability: durability.unwrap_or(Durability::Fsync),
        listen,
        ur,
        policy,
        deadline: decision::deadline(reader),
        card_currency: decision::card_currency(reader),
        reconciliation,
        treasury,
        tokens,
        delivery,
    }
}

fn durability(setting: &Setting<'_>) -> Result<Durability, String> {
    if setting.text()? == "replicated" {
        return Err("\"replicated\" is not in this version: use \"fsync\" or \"os\"".to_owned());
    }
    setting.word(&[("fsync", Durability::Fsync), ("os", Durability::Os)])
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

/// From one second.
pub(super) fn seconds(reader: &mut Reader<'_>, path: &'static str, most: u32, default: u32) -> u32 {
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
