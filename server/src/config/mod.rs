//! The configuration: a TOML file, overridden by the environment, checked as a whole.
//!
//! [`Config::load`] reports **every** bad setting at once, each with its place: `tapgate.toml:12:
//! decision.limit_weight: must be 0, 1 or 2, got 7`. It ignores nothing silently: unknown keys, unknown `TAPGATE__…`
//! variables and sections of other versions are errors. The function is pure: the environment is an argument, and a
//! closure reads files.
//!
//! - `TAPGATE__SECTION__KEY` overrides `section.key`; the value in the file is then ignored. Strings are taken
//!   literally (TOML quotes around them are removed); everything else is TOML: `TAPGATE__UR__SIGNERS='["0x…"]'`.
//! - A secret `key` may instead be given as `key_file`, the path of a file that holds nothing else.
//! - Neither error messages nor `Debug` show a secret.

mod admin;
mod auto_prefund;
mod callback;
mod controls;
mod decision;
mod deliver;
mod document;
mod errors;
mod listen;
mod partner_api;
mod reader;
mod receipts;
mod reconcile;
mod sections;
mod setting;
mod treasury;
mod ur;

use std::io;
use std::path::{Path, PathBuf};

pub use errors::{ConfigError, ConfigErrors, Place};

use tapgate_engine::ids::UrId;
use tapgate_engine::ledger::Policy;
use tapgate_engine::store::rocks::SyncMode;

use crate::http::listener::Addresses;
use crate::http::places::Connections;
use crate::http::{admin as admin_api, public};
use crate::provider::{api, feeds, prefunding, reconciliation};
use crate::treasury::follow;
use crate::{alerting, delivery};

/// The configuration of `tapgate serve`: the settings of each part, in its own type. [`default_text`] lists defaults
/// and ranges.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The directory of the journal and its rows, relative to the working directory; created if absent.
    pub data_dir: PathBuf,
    /// Where signed heads are published.
    pub heads_dir: Option<PathBuf>,
    /// Keys and published heads, which must not lie in the data directory.
    pub kept_outside: Vec<PathBuf>,
    /// The point at which an answer may leave.
    pub durability: SyncMode,
    pub listen: Addresses,
    pub connections: Connections,
    pub policy: Policy,
    /// Authentication and answers of UR's callbacks.
    pub public: public::Settings,
    pub admin: admin_api::Settings,
    /// The client of UR's API; `None` without a key to sign calls.
    pub api: Option<api::Settings>,
    /// The account that holds the pools at UR.
    pub ops_account: Option<UrId>,
    /// The intervals of reading figures from UR; `None`: they come only through the admin API.
    pub feeds: Option<feeds::Settings>,
    /// The rules for comparing UR's transactions with our holds.
    pub reconciliation: reconciliation::Settings,
    /// Credit times and forecasts of top-ups.
    pub treasury: follow::Settings,
    pub watch: alerting::watch::Settings,
    pub prefunding: prefunding::Settings,
    pub delivery: delivery::settings::Settings,
}

impl Config {
    /// Reads the configuration from the text of a TOML file and the environment.
    ///
    /// `file_name` only names the file in messages. Variables without the prefix `TAPGATE__` belong to other programs
    /// and are ignored. `read_file` returns the content of a secret's file; line ends at its end are dropped.
    ///
    /// # Errors
    /// Every bad setting, in the order of the file and then of the environment. Settings below a broken section header
    /// are not checked, because their section is unknown.
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
