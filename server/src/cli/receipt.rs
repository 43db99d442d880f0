//! `tapgate receipt`: the proof that a decision is in the journal, and its check without any server.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use tapgate_engine::ids::{AuthorizationId, Sequence};

use super::admin::api::Api;
use super::admin::client::ApiCall;
use super::ui::screen::{self, clean_json};
use super::{Failed, print};
use crate::receipts::verify::{self, Known};
use crate::signature::Address;
use crate::wire::admin::journal::entry;
use crate::wire::receipt::{Document, Head, Receipt as Proof};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Receipt {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    get: Get,
}

#[derive(Debug, Args)]
struct Get {
    #[command(flatten)]
    api: Api,
    /// The authorization or increment; its receipt goes to stdout.
    #[arg(required = true)]
    id: Option<AuthorizationId>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check a receipt, or a signed head, without the server that made it.
    Verify {
        /// The receipt, or a head.
        file: PathBuf,
        /// The address whose signature you trust. The one in the file proves nothing.
        #[arg(long, required_unless_present = "head")]
        key: Option<Address>,
        /// A head that you have kept, or that was published. It is trusted as it is.
        #[arg(long)]
        head: Option<PathBuf>,
    },
    /// Print the journal's head that was signed last, to keep it elsewhere.
    Head {
        #[command(flatten)]
        api: Api,
        /// Sign one of now.
        #[arg(long)]
        fresh: bool,
    },
}

impl Receipt {
    pub(super) fn run(&self) -> Result<(), Failed> {
        match (&self.command, &self.get.id) {
            (Some(Command::Verify { file, key, head }), _) => verify_file(file, *key, head.as_deref()),
            (Some(Command::Head { api, fresh }), _) => {
                let query = fresh.then(|| ("fresh", "true".to_owned()));
                let answer = api.open()?.send(ApiCall::get(&["journal", "head"], query.as_slice()))?;
                print(&format!("{}\n", clean_json(answer.text())))
            }
            (None, Some(id)) => {
                let path = ["authorizations", id.as_str(), "receipt"];
                let answer = self.get.api.open()?.send(ApiCall::get(&path, &[]))?;
                print(&format!("{}\n", clean_json(answer.text())))
            }
            (None, None) => Err(Failed("which authorization?".to_owned())),
        }
    }
}

fn verify_file(file: &Path, key: Option<Address>, kept: Option<&Path>) -> Result<(), Failed> {
    let document: Document = read(file, "neither a receipt nor a head")?;
    let kept: Option<Head> = kept.map(|kept| read(kept, "no head")).transpose()?;
    let known = Known { key, head: kept.as_ref() };
    let named = |error: verify::Unproved| Failed(format!("{}: {error}", file.display()));
    match document {
        Document::Receipt(receipt) => {
            let proved = verify::receipt(&receipt, known).map_err(named)?;
            print(&shown(&receipt, &proved, known))
        }
        Document::Head(head) => {
            verify::head(&head, known).map_err(named)?;
            print(&format!("{}verdict: {}\n", of_head(&head), trusted(known)))
        }
    }
}

fn read<T: for<'de> serde::Deserialize<'de>>(file: &Path, otherwise: &str) -> Result<T, Failed> {
    let text = std::fs::read(file).map_err(|error| Failed(format!("{}: {error}", file.display())))?;
    serde_json::from_slice(&text).map_err(|_| Failed(format!("{} is {otherwise}", file.display())))
}

fn shown(receipt: &Proof, proved: &verify::Proved, known: Known<'_>) -> String {
    let record = clean_json(&entry(Sequence(receipt.sequence), &proved.record).to_string());
    format!(
        "authorization: {}\nrecord: {record}\n{}verdict: the record is in the journal, {}\nThis is what was recorded then. \
         What stands now may differ: later records reverse, settle and correct.\n",
        screen::clean(&receipt.authorization_id),
        of_head(&receipt.head),
        trusted(known),
    )
}

fn of_head(head: &Head) -> String {
    let (journal, root, key) = (screen::clean(&head.journal), screen::clean(&head.root), screen::clean(&head.key));
    format!(
        "journal: {journal}\nsize: {}\nroot: {root}\nsigned_at_seconds: {}\nkey: {key}\n",
        head.size,
        head.time / 1000
    )
}

/// By what the checker knows.
fn trusted(known: Known<'_>) -> &'static str {
    match (known.key, known.head) {
        (Some(_), Some(_)) => "signed by the key that you trust, and under the head that you keep",
        (Some(_), None) => "signed by the key that you trust",
        (None, _) => "under the head that you keep",
    }
}
