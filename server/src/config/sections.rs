//! The settings, their forms, ranges and defaults, section by section as in `docs/interface.md`.

use std::io;
use std::path::{Path, PathBuf};

use super::reader::Reader;
use super::receipts::Receipts;
use super::setting::Setting;
use super::ur::{self, Ur};
use super::{
    Config, SyncMode, admin, auto_prefund, callback, controls, decision, deliver, listen, partner_api, receipts,
    reconcile, treasury,
};
use crate::http::{self, public};
use crate::provider::prefunding;
use crate::signature::SigningKey;

/// Longest age of figures, in seconds: UR's limit window of 30 days, beyond which no figure means anything.
pub(super) const MAX_AGE_SECONDS_MAX: u32 = 2_592_000;

/// Longest interval of a feed, in seconds: a day.
pub(super) const INTERVAL_SECONDS_MAX: u32 = 86_400;

/// Reads a file whose path a setting names.
pub(super) type ReadFile<'f> = &'f dyn Fn(&Path) -> io::Result<String>;

/// The configuration. A missing or bad setting becomes its default (or nothing) and adds to the reader's errors, so the
/// result counts only without errors.
pub(super) fn config(reader: &mut Reader<'_>, read_file: ReadFile<'_>) -> Config {
    let data_dir = reader.value("data_dir", |setting| setting.parsed(not_empty)).map(PathBuf::from);
    let durability = reader.value("durability", durability);
    let listen = listen::listen(reader);
    let connections = listen::connections(reader);
    let reconciliation = reconcile::reconcile(reader);
    let Ur { base_url, signatures, api, amounts, ops_account, mut feeds } = ur::ur(reader, read_file, reconciliation);
    let mapping = callback::callback(reader, read_file, signatures.require_v2);
    let controls = controls::controls(reader);
    let policy = decision::policy(reader, feeds.is_some(), controls, &reconciliation);
    let treasury = treasury::treasury(reader, read_file);
    let is_fed = feeds.is_some() && api.is_some() && ops_account.is_some();
    let auto_prefund = auto_prefund::auto_prefund(reader, is_fed);
    let mut watch = treasury::watch(reader, is_fed, auto_prefund.mode);
    let prefunding = prefunding::Settings {
        auto_prefund,
        base_url: base_url.into(),
        interval: watch.interval,
        rates_max_age_seconds: policy.rates_max_age_seconds,
        report_stale_seconds: watch.report_stale_seconds,
    };
    let card_currency = decision::card_currency(reader);
    let mut delivery = deliver::deliver(reader, read_file);
    let partner_api = partner_api::partner_api(reader, read_file, delivery.guard, card_currency);
    delivery.partner_api = partner_api.receiver;
    if let Some(feeds) = &mut feeds {
        feeds.other_pools.clone_from(&partner_api.pools);
    }
    watch.other_pools = partner_api.pools;
    let public = public::Settings {
        signatures,
        deadline: decision::deadline(reader),
        transaction_amounts: amounts.transactions,
        callback: mapping,
        partner_api: partner_api.events,
    };
    let data_dir = data_dir.unwrap_or_else(|| PathBuf::from("./data"));
    let Receipts { signer, heads_dir, kept_outside } = receipts::receipts(reader, read_file, &data_dir);
    let admin = http::admin::Settings { tokens: admin::tokens(reader), card_currency, auto_prefund, signer };
    Config {
        data_dir,
        heads_dir,
        kept_outside,
        durability: durability.unwrap_or(SyncMode::Fsync),
        listen,
        connections,
        policy,
        public,
        admin,
        api,
        ops_account,
        feeds,
        reconciliation,
        treasury,
        watch,
        prefunding,
        delivery,
    }
}

/// A private key, inline or from a file. No message repeats it.
pub(super) fn signing_key(
    reader: &mut Reader<'_>,
    read_file: ReadFile<'_>,
    [key_path, file_path]: [&'static str; 2],
) -> Option<SigningKey> {
    let parse = |text: &str| text.parse::<SigningKey>().map_err(|error| error.to_string());
    let key = reader.find(key_path);
    let file = reader.find(file_path);
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
            let [key, file_key] = [key_path, file_path].map(|path| path.rsplit('.').next().unwrap_or(path));
            reader.report(&file, format!("give either {key} or {file_key}, not both"));
            None
        }
    }
}

fn durability(setting: &Setting<'_>) -> Result<SyncMode, String> {
    if setting.text()? == "replicated" {
        return Err("\"replicated\" is not in this version: use \"fsync\" or \"os\"".to_owned());
    }
    setting.word(&[("fsync", SyncMode::Fsync), ("os", SyncMode::Os)])
}

/// At least one second.
pub(super) fn seconds(reader: &mut Reader<'_>, path: &'static str, most: u32, default: u32) -> u32 {
    reader.value(path, |setting| setting.integer(1..=most)).unwrap_or(default)
}

pub(super) fn not_empty(text: &str) -> Result<String, &'static str> {
    if text.trim().is_empty() { Err("must not be empty") } else { Ok(text.to_owned()) }
}
