//! Answers and webhooks of UR and the second provider: reading never panics, and no figure leaves its range.

use serde_json::{Value, json};
use tapgate::wire::partner_api;
use tapgate::wire::ur::{
    AmountForm, Answer, Balances, DepositQuote, Direction, Page, Profile, Rate, Status, Token, Transaction, read,
};
use tapgate_engine::money::{AMOUNT_MAX, Minor};

/// Reads the bytes as every kind of answer. A transaction that can be read must render to one that reads the same.
pub fn check(data: &[u8]) {
    let _ = partner_api::Envelope::parse(data).map(|envelope| envelope.event());
    let Ok(Answer::Done(answer)) = read(data) else { return };
    let _ = (Rate::read(&answer), DepositQuote::read(&answer), Profile::read(&answer));
    let _ = Page::read(&answer, Token::read);
    for form in [AmountForm::Decimal, AmountForm::SmallestUnit] {
        for balance in Balances::read(&answer, form).unwrap_or_default().rows {
            assert!(balance.amount.0.unsigned_abs() <= AMOUNT_MAX.0.unsigned_abs());
        }
        let read = |value: &Value| Transaction::read(value, form);
        for transaction in Page::read(&answer, read).map(|page| page.flattened().rows).unwrap_or_default() {
            assert!((Minor::ZERO..=AMOUNT_MAX).contains(&transaction.amount), "{transaction:?}");
            assert_eq!(Transaction::read(&shown(&transaction), AmountForm::Decimal), Ok(Some(transaction)));
        }
    }
}

/// The transaction as UR would show it.
fn shown(transaction: &Transaction) -> Value {
    let Transaction { user, kind, amount, currency, direction, status, at, hash, mcc, .. } = transaction;
    let Transaction { title, partner_reference, reference, charged_in, .. } = transaction;
    let (sign, direction) = match direction {
        Direction::In => ('+', "IN"),
        Direction::Out => ('-', "OUT"),
    };
    let status = match status {
        Status::Pending => "pending",
        Status::Completed => "completed",
        Status::Rejected => "rejected",
        Status::Unknown => "unknown",
    };
    json!({
        "urId": user.as_str(), "type": kind, "amount": format!("{sign}{}.{:02}", amount.0 / 100, amount.0 % 100),
        "currency": currency.as_str(), "direction": direction, "status": status, "timestamp": at.0, "txHash": hash,
        "mcc": mcc, "title": title, "partnerRefId": partner_reference, "reference": reference,
        "crdCurrency": charged_in.map(|code| code.as_str().to_owned()),
    })
}
