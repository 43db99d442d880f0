//! The section `[ur]`: UR's address and authentication (docs/ur-facts.md, Authentication).

use std::net::Ipv4Addr;
use std::time::Duration;

use tapgate_engine::ids::UrId;

use super::reader::Reader;
use super::sections::{INTERVAL_SECONDS_MAX, ReadFile, seconds, signing_key};
use super::setting::Setting;
use crate::provider::api::{AccountMode, AmountForms};
use crate::provider::{api, feeds, reconciliation};
use crate::signature::{Address, WebhookPolicy};
use crate::wire::ur::AmountForm;

/// UR itself; others are its testnet, a proxy, or a simulation.
const PRODUCTION: &str = "https://openapi.ur.app";

/// Most signers: each key can approve spending, and a rotation needs two.
const SIGNERS_MAX: usize = 16;

/// Longest signature window, in seconds: within it a captured request can be replayed.
const TIMESTAMP_WINDOW_SECONDS_MAX: u64 = 3_600;

/// Default calls to UR a minute: the lowest tier of UR's issuer (docs/ur-facts.md).
const CALLS_PER_MINUTE: u32 = 80;

/// Most calls a minute: more than any tier.
const CALLS_PER_MINUTE_MAX: u32 = 100_000;

/// Largest permitted move of a rate, in basis points: a half. Beyond a factor of 2 only a person decides.
const RATES_JUMP_BPS_MAX: u16 = 5_000;

/// The settings of our calls to UR and of UR's calls to us.
pub(super) struct Ur {
    pub(super) base_url: String,
    pub(super) signatures: WebhookPolicy,
    pub(super) api: Option<api::Settings>,
    pub(super) amounts: AmountForms,
    pub(super) ops_account: Option<UrId>,
    pub(super) feeds: Option<feeds::Settings>,
}

pub(super) fn ur(reader: &mut Reader<'_>, read_file: ReadFile<'_>, reconciliation: reconciliation::Settings) -> Ur {
    let base_url = reader.value("ur.base_url", base_url).unwrap_or_else(|| PRODUCTION.to_owned());
    let signers = signers(reader);
    let partner_key = signing_key(reader, read_file, ["ur.partner_key", "ur.partner_key_file"]);
    let ops_account = reader.value("ur.ops_ur_id", |setting| setting.parsed(ops_account));
    let require_v2 = reader.value("ur.require_v2", Setting::boolean);
    let window = 1..=TIMESTAMP_WINDOW_SECONDS_MAX;
    let timestamp_window_seconds = reader.value("ur.timestamp_window_seconds", |setting| setting.integer(window));
    let is_fed = reader.value("ur.feeds", Setting::boolean).unwrap_or(true);
    let calls_per_minute = reader.value("ur.calls_per_minute", |setting| setting.integer(1..=CALLS_PER_MINUTE_MAX));
    let calls_per_minute = calls_per_minute.unwrap_or(CALLS_PER_MINUTE);
    let rates_jump_bps = reader.value("reconcile.rates_jump_bps", |setting| setting.integer(1..=RATES_JUMP_BPS_MAX));
    let feeds = feeds::Settings {
        rates_jump_bps: rates_jump_bps.unwrap_or(1_000),
        ops_account: ops_account.clone(),
        // The second provider's section names them.
        other_pools: Vec::new(),
        pools_interval: interval(reader, "ur.pools_interval_seconds", 15),
        rates_interval: interval(reader, "ur.rates_interval_seconds", 300),
        users_interval: interval(reader, "ur.users_interval_seconds", 21_600),
        calls_per_minute,
        reconciliation,
    };
    let amounts = AmountForms {
        balances: amount_form(reader, "ur.balance_amounts").unwrap_or(AmountForm::Unconfirmed),
        transactions: amount_form(reader, "ur.transaction_amounts").unwrap_or(AmountForm::Decimal),
    };
    let words = AccountMode::ALL.map(|mode| (mode.name(), mode));
    let mode = reader.value("ur.account_mode", |setting| setting.word(&words)).unwrap_or_default();
    let require_signed_answers =
        reader.value("ur.require_signed_answers", Setting::boolean).unwrap_or_else(|| is_production(&base_url));
    let api = |key| api::Settings {
        base_url: base_url.clone(),
        key,
        signers: signers.clone(),
        require_signed_answers,
        calls_per_minute,
        amounts,
        mode,
    };
    Ur {
        amounts,
        api: partner_key.map(api),
        signatures: WebhookPolicy {
            signers,
            require_v2: require_v2.unwrap_or(false),
            timestamp_window_seconds: timestamp_window_seconds.unwrap_or(300),
        },
        base_url,
        ops_account,
        feeds: is_fed.then_some(feeds),
    }
}

fn amount_form(reader: &mut Reader<'_>, path: &'static str) -> Option<AmountForm> {
    let words = [("decimal", AmountForm::Decimal), ("smallest_unit", AmountForm::SmallestUnit)];
    reader.value(path, |setting| setting.word(&words))
}

fn interval(reader: &mut Reader<'_>, path: &'static str, default: u32) -> Duration {
    Duration::from_secs(seconds(reader, path, INTERVAL_SECONDS_MAX, default).into())
}

fn ops_account(text: &str) -> Result<UrId, &'static str> {
    text.parse().map_err(|_| "must be 1 to 64 printable ASCII characters without spaces")
}

fn signers(reader: &mut Reader<'_>) -> Vec<Address> {
    const WHAT: &str = "list the addresses whose webhook signatures are accepted";
    let mut seen = Vec::new();
    let mut items = 0_usize;
    let signers = reader.list("ur.signers", SIGNERS_MAX, |reader, item| {
        items += 1;
        // An operator may paste a private key in place of the address, so the message does not repeat the value.
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

fn is_production(base_url: &str) -> bool {
    let host = |url: &str| url.strip_prefix("https://").map(|rest| host_of(rest).to_lowercase());
    host(base_url) == host(PRODUCTION)
}

/// The host of a URL without its scheme; of an IPv6 address in brackets only its beginning.
fn host_of(rest: &str) -> &str {
    rest.split(['/', ':']).next().unwrap_or_default()
}

/// No message repeats the value: it may hold credentials, which do not belong there.
fn base_url(setting: &Setting<'_>) -> Result<String, String> {
    const FORM: &str = "must be https://, a host, and at most a port and a path; no user, query or fragment";
    let text = setting.text()?;
    let plain = text.strip_prefix("http://");
    let rest = text.strip_prefix("https://").or(plain).ok_or(FORM)?;
    let host = host_of(rest);
    let is_here = host == "localhost" || host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback());
    if plain.is_some() && !is_here && !rest.starts_with("[::1]") {
        return Err(
            "must begin with https://: without it anybody on the way can read and change figures; http:// is for \
                    this machine only (127.0.0.1, localhost)"
                .to_owned(),
        );
    }
    let is_plain = rest.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#@\"<>\\^`{|}".contains(&byte));
    if host.is_empty() || !is_plain {
        return Err(FORM.to_owned());
    }
    Ok(text.trim_end_matches('/').to_owned())
}
