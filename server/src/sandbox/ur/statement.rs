//! The statements of UR's accounts: every transaction with its status, and pages of them (seed 004).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::api::CHAIN;
use super::contract::Code;

/// UR settles an authorization's card transactions this long after its last event: a day, longer than any follow-up of
/// a purchase.
const SETTLES_AFTER_SECONDS: u64 = 86_400;

/// The largest and default number of rows in a page.
const PAGE_ROWS: usize = 50;
const PAGE_ROWS_MAX: usize = 100;

#[derive(Clone, Debug)]
pub(in crate::sandbox) struct Row {
    pub(in crate::sandbox) ur_id: String,
    /// CRD, FRX, CDP, ONR.
    pub(in crate::sandbox) kind: &'static str,
    pub(in crate::sandbox) title: String,
    pub(in crate::sandbox) is_out: bool,
    /// Smallest units of `code`.
    pub(in crate::sandbox) amount: u64,
    pub(in crate::sandbox) code: Code,
    pub(in crate::sandbox) at: u64,
    /// The time at which it is due for settlement.
    pub(in crate::sandbox) settles_at: u64,
    pub(in crate::sandbox) is_settled: bool,
    /// The partner's reference.
    pub(in crate::sandbox) reference: String,
    pub(in crate::sandbox) mcc: Option<&'static str>,
    /// For exchanges: token paid, its smallest units, and the output.
    pub(in crate::sandbox) exchanged: Option<(String, u64, u64)>,
    /// When UR first showed it to tapgate as settled.
    pub(in crate::sandbox) shown_at: Option<u64>,
    /// The status that UR shows until it settles, if not "pending".
    pub(in crate::sandbox) word: Option<&'static str>,
    /// The rows that settle parts of it.
    pub(in crate::sandbox) parts: Vec<usize>,
}

/// All transactions in order of time. Row numbers count from 1.
#[derive(Debug, Default)]
pub(in crate::sandbox) struct Statement {
    rows: Vec<Row>,
    by_user: BTreeMap<String, Vec<usize>>,
    by_root: BTreeMap<String, Vec<usize>>,
    /// Unsettled card transactions, by the time at which they settle.
    unsettled: BTreeSet<(u64, usize)>,
    /// Card transactions since the last [`Statement::take_fresh`].
    fresh: Vec<usize>,
}

/// The parameters of a list request.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(in crate::sandbox) struct Asked {
    r#type: Option<String>,
    transaction_types: Vec<String>,
    chain_id: Option<String>,
    symbol: Option<String>,
    currencies: Vec<String>,
    page_size: Option<usize>,
    from_timestamp: Option<u64>,
    to_timestamp: Option<u64>,
    direction: Option<String>,
    min_amount: Option<String>,
    max_amount: Option<String>,
    status: Option<String>,
    cursor_id: Option<usize>,
    prev_cursor_id: Option<usize>,
}

/// A card's transaction as UR shows it.
#[derive(Clone, Debug)]
pub(in crate::sandbox) struct Shown {
    pub(in crate::sandbox) number: usize,
    pub(in crate::sandbox) hash: String,
    pub(in crate::sandbox) ur_id: String,
    pub(in crate::sandbox) reference: String,
    pub(in crate::sandbox) is_out: bool,
    /// `TransactionData`.
    pub(in crate::sandbox) data: Value,
}

impl Shown {
    /// The data with another status.
    pub(in crate::sandbox) fn with_status(&self, status: &str) -> Value {
        let mut data = self.data.clone();
        if let Some(fields) = data.as_object_mut() {
            fields.insert("status".to_owned(), status.into());
        }
        data
    }
}

impl Statement {
    /// Removes and returns the rows due for settlement by `now`, except authorizations with follow-ups to come: on a
    /// fast clock, a busy machine turns a second into a day.
    pub(in crate::sandbox) fn take_due(&mut self, now: u64, is_followed: impl Fn(&str) -> bool) -> Vec<usize> {
        let later = self.unsettled.split_off(&(now.saturating_add(1), 0));
        let due = std::mem::replace(&mut self.unsettled, later);
        let waits = |(_, number): &(u64, usize)| self.row(*number).is_some_and(|row| is_followed(&row.reference));
        let (waiting, due): (Vec<_>, Vec<_>) = due.into_iter().partition(waits);
        self.unsettled.extend(waiting);
        due.into_iter().map(|(_, number)| number).collect()
    }

    pub(in crate::sandbox) fn settle(&mut self, number: usize) -> Option<Shown> {
        self.row_mut(number)?.is_settled = true;
        self.shown(number)
    }

    /// Card transactions that UR has not settled, each once.
    pub(in crate::sandbox) fn take_fresh(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.fresh)
    }

    /// Shows an unsettled transaction under another status than "pending".
    pub(in crate::sandbox) fn show_as(&mut self, number: usize, word: &'static str) -> Option<Shown> {
        self.row_mut(number).filter(|row| !row.is_settled)?.word = Some(word);
        self.shown(number)
    }

    /// A root's unsettled debit in a currency.
    pub(in crate::sandbox) fn open_debit(&self, root: &str, code: Code) -> Option<usize> {
        let numbers = self.by_root.get(root)?.iter().copied();
        numbers
            .rev()
            .find(|number| self.row(*number).is_some_and(|row| row.is_out && !row.is_settled && row.code == code))
    }

    /// When UR had shown a transaction with all its parts as settled.
    pub(in crate::sandbox) fn shown_at(&self, number: usize) -> Option<u64> {
        let row = self.row(number)?;
        let parts = row.parts.iter().map(|part| self.row(*part)?.shown_at);
        parts.chain([row.shown_at]).try_fold(0, |latest, at| Some(at?.max(latest)))
    }

    /// A card transaction as UR shows it.
    pub(in crate::sandbox) fn shown(&self, number: usize) -> Option<Shown> {
        let row = self.row(number)?;
        Some(Shown {
            number,
            hash: hash(number),
            ur_id: row.ur_id.clone(),
            reference: row.reference.clone(),
            is_out: row.is_out,
            data: row.shown(number),
        })
    }

    pub(in crate::sandbox) fn debits(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.kind == "CRD" && row.is_out)
    }

    pub(in crate::sandbox) fn of_user(&self, ur_id: &str) -> impl Iterator<Item = &Row> {
        self.numbered(ur_id).map(|(_, row)| row)
    }

    fn numbered(&self, ur_id: &str) -> impl Iterator<Item = (usize, &Row)> {
        let numbers = self.by_user.get(ur_id).into_iter().flatten();
        numbers.filter_map(|number| Some((*number, self.row(*number)?)))
    }

    /// The user of a settlement that names no authorization.
    pub(in crate::sandbox) fn user_of(&self, wanted: &str) -> Option<&str> {
        let unasked = self.rows.iter().enumerate().filter(|(_, row)| row.reference.is_empty());
        let mut users = unasked.filter(|(place, _)| hash(place + 1) == wanted).map(|(_, row)| row.ur_id.as_str());
        users.next()
    }

    pub(in crate::sandbox) fn row(&self, number: usize) -> Option<&Row> {
        self.rows.get(number.checked_sub(1)?)
    }

    pub(in crate::sandbox) fn row_mut(&mut self, number: usize) -> Option<&mut Row> {
        self.rows.get_mut(number.checked_sub(1)?)
    }

    /// The first debit of an authorization.
    pub(in crate::sandbox) fn debit_of(&self, root: &str) -> Option<usize> {
        let rows = self.by_root.get(root)?;
        rows.iter().copied().find(|number| self.row(*number).is_some_and(|row| row.is_out))
    }

    /// The rows of an authorization.
    pub(in crate::sandbox) fn of_root(&self, root: &str) -> impl Iterator<Item = &Row> {
        self.by_root.get(root).into_iter().flatten().filter_map(|number| self.row(*number))
    }

    /// Notes that UR showed these rows to tapgate at `now`.
    pub(in crate::sandbox) fn note_shown(&mut self, numbers: &[usize], now: u64) {
        for number in numbers {
            if let Some(row) = self.row_mut(*number)
                && row.is_settled
            {
                row.shown_at.get_or_insert(now);
            }
        }
    }

    /// Adds a transaction; returns its row number.
    pub(in crate::sandbox) fn add(&mut self, row: Row) -> usize {
        let number = self.rows.len() + 1;
        self.by_user.entry(row.ur_id.clone()).or_default().push(number);
        self.rows.push(row);
        number
    }

    /// Adds a card transaction: it settles together with the rest of its authorization, a day after the last event.
    pub(in crate::sandbox) fn add_card(&mut self, row: Row) -> usize {
        let (root, at) = (row.reference.clone(), row.at);
        let number = self.add(Row { is_settled: false, ..row });
        self.by_root.entry(root.clone()).or_default().push(number);
        self.fresh.push(number);
        self.settle_later(&root, at);
        number
    }

    /// Puts off the settlement of an authorization's transactions after an event.
    pub(in crate::sandbox) fn settle_later(&mut self, root: &str, at: u64) {
        let settles_at = at + SETTLES_AFTER_SECONDS;
        let of_root = self.by_root.get(root).map(Vec::as_slice).unwrap_or_default();
        for number in of_root {
            let Some(row) = number.checked_sub(1).and_then(|place| self.rows.get_mut(place)) else { continue };
            self.unsettled.remove(&(row.settles_at, *number));
            if !row.is_settled {
                row.settles_at = settles_at;
                self.unsettled.insert((settles_at, *number));
            }
        }
    }

    pub(in crate::sandbox) fn hash(number: usize) -> String {
        hash(number)
    }

    /// One page, newest first; its last row may be left out.
    ///
    /// # Errors
    /// The error in the request.
    pub(in crate::sandbox) fn page(
        &mut self,
        ur_id: &str,
        asked: &Asked,
        now: u64,
        lacks_one: bool,
    ) -> Result<Value, String> {
        if asked.r#type.is_some() && !asked.transaction_types.is_empty() {
            return Err("type and transactionTypes exclude each other".to_owned());
        }
        let is_chain = |chain: &str| chain.strip_prefix("eip155:").is_some_and(|id| id.parse::<u64>().is_ok());
        if let Some(chain) = asked.chain_id.as_deref().filter(|chain| !is_chain(chain)) {
            return Err(format!("chainId {chain:?} is no chain"));
        }
        let size = asked.page_size.unwrap_or(PAGE_ROWS).clamp(1, PAGE_ROWS_MAX);
        let amount = |text: &Option<String>| {
            let parsed = text.as_ref().map(|text| text.parse::<u64>().map_err(|_| format!("the amount {text:?}")));
            parsed.transpose()
        };
        let (least, most) = (amount(&asked.min_amount)?, amount(&asked.max_amount)?);
        let fits = |row: &Row| {
            let direction = asked.direction.as_deref().unwrap_or("ALL");
            asked.r#type.as_deref().is_none_or(|kind| kind == row.kind)
                && (asked.transaction_types.is_empty() || asked.transaction_types.iter().any(|kind| kind == row.kind))
                && asked.chain_id.as_deref().is_none_or(|chain| chain == CHAIN)
                && asked.symbol.as_deref().is_none_or(|symbol| row.is_of(symbol))
                && (asked.currencies.is_empty() || asked.currencies.iter().any(|code| row.is_in(code)))
                && asked.from_timestamp.is_none_or(|from| row.at >= from)
                && asked.to_timestamp.is_none_or(|to| row.at <= to)
                && (direction == "ALL" || (direction == "OUT") == row.is_out)
                && least.is_none_or(|least| row.amount >= least)
                && most.is_none_or(|most| row.amount <= most)
                && asked.status.as_deref().is_none_or(|status| status == row.status())
        };
        let found: Vec<_> = self.numbered(ur_id).filter(|(_, row)| fits(row)).collect();
        // A cursor is a row number: the next page is older, the previous page newer.
        let mut older = found.iter().rev().filter(|(number, _)| asked.cursor_id.is_none_or(|cursor| *number < cursor));
        let page: Vec<_> = match asked.prev_cursor_id {
            None => older.by_ref().take(size).collect(),
            Some(cursor) => {
                let mut younger: Vec<_> = found.iter().filter(|(number, _)| *number > cursor).take(size).collect();
                younger.reverse();
                younger
            }
        };
        let cursor = |row: Option<&&(usize, &Row)>| row.map(|(number, row)| json!({"timestamp": row.at, "id": number}));
        let (first, last) = (page.first(), page.last());
        let has_next = last.is_some_and(|(last, _)| found.iter().any(|(number, _)| number < last));
        let has_previous = first.is_some_and(|(first, _)| found.iter().any(|(number, _)| number > first));
        let shown = page.split_last().filter(|_| lacks_one).map_or(page.as_slice(), |(_, others)| others);
        let answer = json!({
            "code": 0, "message": "success",
            "data": shown.iter().map(|(number, row)| row.shown(*number)).collect::<Vec<_>>(),
            "hasNextPage": has_next, "hasPrevPage": has_previous,
            "nextCursor": has_next.then(|| cursor(last)).flatten(),
            "prevCursor": has_previous.then(|| cursor(first)).flatten(),
            "currentPageSize": page.len(),
        });
        let numbers: Vec<_> = shown.iter().map(|(number, _)| *number).collect();
        self.note_shown(&numbers, now);
        Ok(answer)
    }

    /// The transactions of pairs of account and hash; `None` if one does not exist.
    pub(in crate::sandbox) fn query(&self, pairs: &[(String, String)]) -> Option<Vec<Value>> {
        let one = |(ur_id, wanted): &(String, String)| {
            let found = (1..).zip(&self.rows).find(|(number, row)| row.ur_id == *ur_id && hash(*number) == *wanted);
            found.map(|(number, row)| row.shown(number))
        };
        pairs.iter().map(one).collect()
    }
}

impl Row {
    /// Whether it moved a fiat currency, `EUR` or `EUR24` in any case.
    fn is_in(&self, symbol: &str) -> bool {
        symbol.trim_end_matches("24").eq_ignore_ascii_case(self.code)
    }

    /// Whether it moved a token: a fiat one, or the one paid.
    fn is_of(&self, symbol: &str) -> bool {
        let paid = self.exchanged.as_ref().is_some_and(|(token, ..)| token.eq_ignore_ascii_case(symbol));
        paid || self.is_in(symbol)
    }

    fn status(&self) -> &'static str {
        if self.is_settled { "completed" } else { self.word.unwrap_or("pending") }
    }

    /// `TransactionData`.
    fn shown(&self, number: usize) -> Value {
        let sign = if self.is_out { '-' } else { '+' };
        let mut shown = json!({
            "urId": self.ur_id, "title": self.title, "subtitle": "",
            "amount": format!("{sign}{}.{:02}", self.amount / 100, self.amount % 100),
            "type": self.kind, "timestamp": self.at, "currency": self.code.to_ascii_lowercase(),
            "direction": if self.is_out { "OUT" } else { "IN" }, "txHash": hash(number), "chainId": CHAIN,
            "status": self.status(), "partnerRefId": self.reference, "reference": "",
        });
        if let Some(fields) = shown.as_object_mut() {
            if let Some(mcc) = self.mcc.and_then(|mcc| mcc.parse::<u64>().ok()) {
                fields.insert("mcc".to_owned(), mcc.into());
            }
            if let Some((token, paid, out)) = &self.exchanged {
                fields.insert("inputToken".to_owned(), token.as_str().into());
                fields.insert("inputAmount".to_owned(), paid.to_string().into());
                fields.insert("outputAmount".to_owned(), out.to_string().into());
            }
        }
        shown
    }
}

/// 32 bytes that only need to be unique.
fn hash(number: usize) -> String {
    use sha2::{Digest, Sha256};
    format!("0x{}", hex::encode(Sha256::digest(format!("transaction {number}"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authorization_settles_after_its_last_follow_up() {
        let mut statement = Statement::default();
        let row = |root: &str| Row {
            ur_id: "20000".to_owned(),
            kind: "CRD",
            title: String::new(),
            is_out: true,
            amount: 1,
            code: "EUR",
            at: 0,
            settles_at: 0,
            is_settled: false,
            reference: root.to_owned(),
            mcc: None,
            exchanged: None,
            shown_at: None,
            word: None,
            parts: Vec::new(),
        };
        let (followed, other) = (statement.add_card(row("followed")), statement.add_card(row("other")));
        assert_eq!(statement.take_due(SETTLES_AFTER_SECONDS - 1, |_| false), Vec::<usize>::new());
        assert_eq!(statement.take_due(SETTLES_AFTER_SECONDS, |root| root == "followed"), [other]);
        assert_eq!(statement.take_due(SETTLES_AFTER_SECONDS, |_| false), [followed]);
    }
}
