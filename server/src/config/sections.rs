//! The settings, their forms, ranges and defaults, section by section as in `docs/interface.md`.

use std::io;
use std::path::{Path, PathBuf};

use super::reader::Reader;
use super::setting::Setting;
use super::ur::{self, Ur};
use super::{
    Config, SyncMode, admin, auto_prefund, callback, controls, decision, deliver, listen, partner_api, reconcile,
    treasury,
};
use crate::http::{self, public};
use crate::provider::prefunding;

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
    let admin = http::admin::Settings { tokens: admin::tokens(reader), card_currency, auto_prefund };
    Config {
        data_dir: data_dir.unwrap_or_else(|| PathBuf::from("./data")),
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

fn not_empty(text: &str) -> Result<String, &'static str> {
    if text.trim().is_empty() { Err("must not be empty") } else { Ok(text.to_owned()) }
}
