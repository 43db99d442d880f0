//! The configuration: a TOML file, overridden by the environment, checked as a whole.
//!
//! [`Config::load`] reports **every** bad setting at once, each with its place: `tapgate.toml:12: decision.limit_weight:
//! must be 0, 1 or 2, got 7`. Nothing is silently ignored: unknown keys, unknown `TAPGATE__…` variables and sections of
//! other versions are errors. The function is pure: the environment is an argument and files are read by a closure.
//!
//! - `TAPGATE__SECTION__KEY` overrides `section.key`; the value in the file is then not looked at. Strings are taken as
//!   they stand (TOML quotes around them are removed), everything else is TOML: `TAPGATE__UR__SIGNERS='["0x…"]'`.
//! - A secret `key` may instead be given as `key_file`, the path of a file that holds nothing else.
//! - Neither error messages nor `Debug` show a secret.

mod admin;
mod auto_prefund;
mod controls;
mod decision;
mod deliver;
mod document;
mod errors;
mod listen;
mod reader;
mod reconcile;
mod sections;
mod setting;
mod treasury;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use auto_prefund::{AutoPrefund, AutoPrefundMode};
pub use errors::{ConfigError, ConfigErrors, Place};
pub use treasury::Treasury;

use tapgate_engine::ledger::Policy;
use tapgate_engine::money::Currency;
use tapgate_engine::store::rocks::Durability;

use crate::delivery;
use crate::http::admin::auth::Token;
use crate::http::listener::Addresses;
use crate::provider::reconciliation;
use crate::signature::{Address, SigningKey};

/// Everything that `tapgate serve` is told. Defaults and ranges are those of [`default_text`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Directory of the journal and its rows; created if absent. Relative to the working directory.
    pub data_dir: PathBuf,
    /// When an answer may leave.
    pub durability: Durability,
    /// The two listeners.
    pub listen: Addresses,
    /// UR, the banking provider.
    pub ur: Ur,
    /// How authorizations are decided.
    pub policy: Policy,
    /// The latest an approval may be answered after the request's arrival, 50 to 450 ms: inside UR's 500 ms.
    pub deadline: Duration,
    /// Of cards that name no currency of their own.
    pub card_currency: Currency,
    /// How UR's transactions are compared with our holds.
    pub reconciliation: reconciliation::Settings,
    /// When top-ups are credited and asked for.
    pub treasury: Treasury,
    /// Of the admin API. With none, it refuses everything that needs a token.
    pub tokens: Vec<Token>,
    /// The receivers of deliveries.
    pub delivery: delivery::settings::Settings,
}

/// How UR is reached and recognised (docs/ur-facts.md, Authentication).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ur {
    /// Base of UR's API, without a slash at its end.
    pub base_url: String,
    /// The addresses whose webhook signatures are accepted; at least one, without repetition.
    pub signers: Vec<Address>,
    /// Signs our requests. Without it the engine can ask UR nothing.
    pub partner_key: Option<SigningKey>,
    /// The urId of the ops account that holds the pools, 1 to 64 printable ASCII characters.
    pub ops_ur_id: Option<String>,
    /// Whether webhooks without a V2 signature are refused.
    pub require_v2: bool,
    /// The most a signed timestamp may differ from our clock, in seconds, 1 to 3,600.
    pub timestamp_window_seconds: u64,
    /// Whether figures are polled from UR; otherwise they come only through the admin API.
    pub feeds: bool,
    /// Calls to UR a minute, all of ours together, 1 to 100,000.
    pub calls_per_minute: u32,
    /// How often the pools' balances are asked for, in seconds, 1 to 86,400.
    pub pools_interval_seconds: u32,
    /// How often the rates are, in seconds, 1 to 86,400.
    pub rates_interval_seconds: u32,
    /// How often each user is at the latest, in seconds, 1 to 86,400; the budget may make it longer.
    pub users_interval_seconds: u32,
}

impl Config {
    /// Reads the configuration from the text of a TOML file and the environment.
    ///
    /// `file_name` only names the file in messages. Variables that do not begin with `TAPGATE__` are somebody else's.
    /// `read_file` gives the content of a secret's file; line ends at its end are dropped.
    ///
    /// # Errors
    /// Every bad setting, in the order of the file and then of the environment. Settings below a
    /// broken section header are not judged, because nobody knows to which section they belong.
    pub fn load(
        text: &str,
        file_name: &str,
        environment: impl IntoIterator<Item = (String, String)>,
        read_file: impl Fn(&Path) -> io::Result<String>,
    ) -> Result<Config, ConfigErrors> {
        let is_ours = |(name, _): &(String, String)| name.starts_with(errors::VARIABLE_PREFIX);
        let variables = environment.into_iter().filter(is_ours).collect();
        let text = document::Text::read(text);
        let document = document::Document::parse(&text, file_name, &variables);
        let mut reader = reader::Reader::new(&document);
        let config = sections::config(&mut reader, &read_file);
        reader.finish().map_or(Ok(config), Err)
    }
}

/// The commented default configuration, which itself loads without errors.
#[must_use]
pub fn default_text() -> &'static str {
    include_str!("default.toml")
}

#[cfg(test)]
mod tests;
