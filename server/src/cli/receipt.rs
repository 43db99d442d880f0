//! `tapgate receipt`: the proof that a decision is in the journal, and its check without any server.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use tapgate_engine::ids::{AuthorizationId, Sequence};

use super::admin::api::Api;
use super::admin::client::ApiCall;
use super::ui::screen::{self, clean_json};
use super::{Failed, print};
use crate::receipts::verify::{self, Known, Signed, Unproved};
use crate::signature::Address;
use crate::wire::admin::journal::entry;
use crate::wire::receipt::{Document, Head, Receipt as Proof, document};

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
    /// Under the head of so many records, such as one that is kept elsewhere.
    #[arg(long, value_name = "SIZE")]
    under: Option<u64>,
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
        /// Sign one of now, with the proof that it extends the head of so many records.
        #[arg(long, value_name = "SIZE")]
        since: Option<u64>,
    },
}

impl Receipt {
    pub(super) fn run(&self) -> Result<(), Failed> {
        match (&self.command, &self.get.id) {
            (Some(Command::Verify { file, key, head }), _) => verify_file(file, *key, head.as_deref()),
            (Some(Command::Head { api, fresh, since }), _) => {
                let since = since.map(|size| ("since", size.to_string()));
                let query: Vec<_> = fresh.then(|| ("fresh", "true".to_owned())).into_iter().chain(since).collect();
                let answer = api.open()?.send(ApiCall::get(&["journal", "head"], &query))?;
                print(&format!("{}\n", clean_json(answer.text())))
            }
            (None, Some(id)) => {
                let path = ["authorizations", id.as_str(), "receipt"];
                let query = self.get.under.map(|size| ("under", size.to_string()));
                let answer = self.get.api.open()?.send(ApiCall::get(&path, query.as_slice()))?;
                print(&format!("{}\n", clean_json(answer.text())))
            }
            (None, None) => Err(Failed("which authorization?".to_owned())),
        }
    }
}

fn verify_file(file: &Path, key: Option<Address>, kept: Option<&Path>) -> Result<(), Failed> {
    let kept = kept.map(|kept| match read(kept)? {
        Document::Head(head) => Ok(head),
        Document::Receipt(_) => Err(Failed(format!("{} is a receipt: a head is needed", kept.display()))),
    });
    let kept: Option<Box<Head>> = kept.transpose()?;
    let known = Known { key, head: kept.as_deref() };
    let named = |error: Unproved| Failed(format!("{}: {error}", file.display()));
    match read(file)? {
        Document::Receipt(receipt) => {
            let proved = verify::receipt(&receipt, known).map_err(named)?;
            let record = clean_json(&entry(Sequence(receipt.sequence), &proved.record).to_string());
            print(&format!(
                "authorization: {}\nrecord: {record}\n{}verdict: the record is in the journal, {}\nThis is what was \
                 recorded then. What stands now may differ: later records reverse, settle and correct, and say where the \
                 answer came too late.\n",
                screen::clean(&receipt.authorization_id),
                of_head(&receipt.head, proved.signed),
                trusted(known, proved.signed, under(&receipt, known)),
            ))
        }
        Document::Head(head) => {
            let signed = verify::head(&head, known).map_err(named)?;
            let verdict = trusted(known, signed, "it extends the head that you keep");
            print(&format!("{}verdict: {verdict}\n", of_head(&head, signed)))
        }
    }
}

/// Where the record lies.
fn under(receipt: &Proof, known: Known<'_>) -> &'static str {
    match known.head {
        Some(kept) if receipt.sequence > kept.size => "under a head that extends the one that you keep",
        _ => "under the head that you keep",
    }
}

fn read(file: &Path) -> Result<Document, Failed> {
    let named = |error: &dyn std::fmt::Display| Failed(format!("{}: {error}", file.display()));
    let text = std::fs::read(file).map_err(|error| named(&error))?;
    document(&text).map_err(|error| named(&format_args!("neither a receipt nor a head: {error}")))
}

/// What of a head was checked.
fn of_head(head: &Head, signed: Option<Signed>) -> String {
    let (journal, root) = (screen::clean(&head.journal), screen::clean(&head.root));
    let signed = signed.map(|Signed { by, at }| format!("signed_by: {by}\nsigned_at_seconds: {}\n", at.seconds().0));
    format!("journal: {journal}\nsize: {}\nroot: {root}\n{}", head.size, signed.unwrap_or_default())
}

/// By what the checker knows.
fn trusted(known: Known<'_>, signed: Option<Signed>, kept: &str) -> String {
    let by_key = known.key.zip(signed).map(|(key, signed)| match signed.by == key {
        true => "signed by the key that you trust".to_owned(),
        false => format!("signed by {}, which the key that you trust introduced", signed.by),
    });
    match (by_key, known.head) {
        (Some(by_key), Some(_)) => format!("{by_key}; {kept}"),
        (Some(by_key), None) => by_key,
        (None, _) => format!("{kept}; its signature was not checked, for want of a key"),
    }
}
