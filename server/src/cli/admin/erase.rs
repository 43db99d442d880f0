//! `tapgate erase`.

use clap::Args;
use serde::Deserialize;
use tapgate_engine::ids::UrId;

use super::api::Api;
use super::client::ApiCall;
use crate::cli::Failed;
use crate::cli::ui::screen::Text;

#[derive(Debug, Args)]
pub(in crate::cli) struct Erase {
    #[command(flatten)]
    api: Api,
    /// The user; everything but the name stays.
    ur_id: UrId,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Erased {
    ur_id: Text,
}

impl Erase {
    pub(in crate::cli) fn run(&self) -> Result<(), Failed> {
        let answer = self.api.open()?.send(ApiCall::delete(&["users", self.ur_id.as_str(), "person"]))?;
        self.api.show(&answer, |erased: &Erased, _| {
            format!("user {}: external id and label are erased here; backups made before keep them\n", erased.ur_id)
        })
    }
}
