//! What people send to the admin API: reading never panics, and what is read changes a ledger whose journal then folds.

use std::sync::Arc;
use std::task::Waker;

use serde::de::DeserializeOwned;
use tapgate::wire::Malformed;
use tapgate::wire::admin::alerts::{AcknowledgeForm, SilenceForm};
use tapgate::wire::admin::calendar::ClosureForm;
use tapgate::wire::admin::controls::ControlsForm;
use tapgate::wire::admin::parse;
use tapgate::wire::admin::pools::{CreditForm, PairForm, RatesForm, ReportForm, UnpinForm};
use tapgate::wire::admin::prefunds::{PrefundForm, ProposalForm};
use tapgate::wire::admin::users::{CardChangeForm, FundsForm, ImportLine};
use tapgate_engine::fact::Author;
use tapgate_engine::ids::{AlertId, Sequence};
use tapgate_engine::ledger::{Change, Ledger, Policy, PrefundChange};
use tapgate_engine::money::Currency;
use tapgate_engine::rows::State;
use tapgate_engine::store::Store;
use tapgate_engine::testing::{MemoryStore, check_prefixes};
use tapgate_engine::time::{Moment, UnixMillis};

const NOW: Moment = Moment { at: UnixMillis(1_768_659_501_000), trusted: true };

/// Bodies with a line of zeros in between, each with the name of its form in its first line.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let store = MemoryStore::new();
    let over = (Box::new(|_| {}) as Box<_>, Waker::noop().clone());
    let ledger = Ledger::by_hand(Arc::clone(&store) as Arc<dyn Store>, State::default(), Policy::default(), 7, over);
    let Ok(ledger) = ledger else { return };
    let person = Author::Person { name: "fuzz".into(), idempotency: None };
    for part in text.split('\0') {
        let (form, body) = part.split_once('\n').unwrap_or((part, ""));
        for change in changes(form, body.as_bytes()).unwrap_or_default() {
            let _ = ledger.change(&person, change, NOW);
        }
    }
    ledger.journal().close();
    check_prefixes(&store);
}

fn changes(form: &str, body: &[u8]) -> Result<Vec<Change>, Malformed> {
    fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Malformed> {
        parse(body)
    }
    let user = || "12345".parse().map_err(|_| Malformed("the user".to_owned()));
    let card = "card_1".parse().map_err(|_| Malformed("the card".to_owned()))?;
    let alert = AlertId(Sequence(3));
    Ok(match form {
        "import" => {
            let line: ImportLine = read(body)?;
            line.person()?;
            vec![Change::ImportUser(Box::new(line.import(Currency::EUR)?))]
        }
        "funds" => vec![read::<FundsForm>(body)?.change(user()?)?],
        "card" => read::<CardChangeForm>(body)?.changes(&card)?,
        "controls" => vec![Change::ControlUser { user: user()?, controls: read::<ControlsForm>(body)?.controls()? }],
        "card-controls" => read::<ControlsForm>(body)?.card_changes(&card)?,
        "report" => vec![read::<ReportForm>(body)?.change(Currency::EUR)?],
        "credit" => vec![read::<CreditForm>(body)?.change(Currency::EUR)?],
        "rates" => vec![Change::ReplaceRates(Box::new(read::<RatesForm>(body)?.rates()?))],
        "pin" => vec![read::<PairForm>(body)?.pin()?],
        "unpin" => vec![read::<UnpinForm>(body)?.change()?],
        "prefund" => vec![Change::Prefund(PrefundChange::Send(read::<PrefundForm>(body)?.sent()?))],
        "proposal" => vec![Change::Prefund(read::<ProposalForm>(body)?.change("request-1".into())?)],
        "closure" => vec![Change::Closure(read::<ClosureForm>(body)?.change()?)],
        "acknowledge" => vec![Change::Alert(read::<AcknowledgeForm>(body)?.change(alert))],
        "silence" => vec![Change::Alert(read::<SilenceForm>(body)?.change(alert, NOW.at)?)],
        _ => Vec::new(),
    })
}
