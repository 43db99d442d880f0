//! UR's answers about accounts, balances, rates, tokens and quotes (seeds 003 and 004).

use serde_json::Value;
use tapgate_engine::contract::limit::ClientLimit;
use tapgate_engine::fact::AccountStatus;
use tapgate_engine::ids::UrId;
use tapgate_engine::money::{AMOUNT_MAX, ChfMinor, Currency, Minor};
use tapgate_engine::time::UnixSeconds;

use super::amounts::{AmountForm, FIAT_DECIMALS, STABLECOIN_DECIMALS, display_amount, ten_thousandths, text_of};
use super::envelope::data;
use super::transaction::currency;
use crate::wire::Malformed;

fn text(value: &Value, key: &str) -> Result<String, Malformed> {
    let text = value.get(key).and_then(text_of);
    text.filter(|text| !text.is_empty()).ok_or_else(|| Malformed(format!("{key} is missing")))
}

fn number(value: &Value, key: &str, most: i64) -> Result<i64, Malformed> {
    let number = text(value, key)?.parse().ok().filter(|number| (0..=most).contains(number));
    number.ok_or_else(|| Malformed(format!("{key} must be a whole number from 0 to {most}")))
}

/// `/v1/profile`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    pub user: UrId,
    /// `chainStatus`.
    pub status: AccountStatus,
    pub limit: ClientLimit,
    /// For each fiat currency, whether UR's card contract may debit it.
    pub allowances: Vec<(Currency, bool)>,
}

impl Profile {
    /// # Errors
    /// A field is missing or out of range; the message names it.
    pub fn read(answer: &Value) -> Result<Profile, Malformed> {
        let data = data(answer);
        let status = match number(data, "chainStatus", 5)? {
            1 => AccountStatus::SoftBlocked,
            2 => AccountStatus::Tourist,
            3 => AccountStatus::Blocked,
            4 => AccountStatus::Closed,
            5 => AccountStatus::Live,
            _ => AccountStatus::Na,
        };
        let francs = |key| number(data, key, AMOUNT_MAX.0).map(ChfMinor);
        let limit = ClientLimit {
            used: francs("usedLimit")?,
            client: francs("clientLimit")?,
            start: UnixSeconds(number(data, "startLimitDate", i64::from(u32::MAX))?),
        };
        let user = text(data, "urId")?.parse().map_err(|error| Malformed(format!("urId: {error}")))?;
        Ok(Profile { user, status, limit, allowances: allowances(data).unwrap_or_default() })
    }
}

/// Chains that hold no fiat tokens of UR's (seed 003, "Available Scopes").
const CHAINS_WITHOUT_FIAT: [&str; 2] = ["eip155:56", "eip155:97"];

/// For each fiat currency of `allowances`, whether UR's card contract may debit it; a currency with two answers is not
/// allowed. `None` if there is no list.
pub(super) fn allowances(data: &Value) -> Option<Vec<(Currency, bool)>> {
    let mut read: Vec<(Currency, bool)> = Vec::new();
    for row in data.get("allowances")?.as_array()? {
        let Some(currency) = text(row, "tokenSymbol").ok().and_then(|symbol| currency(&symbol)) else { continue };
        let Some(has) = row.get("hasAllowance").and_then(Value::as_bool) else { continue };
        if !currency.is_held_by_ur() || text(row, "chainId").is_ok_and(|id| CHAINS_WITHOUT_FIAT.contains(&&*id)) {
            continue;
        }
        match read.iter_mut().find(|(known, _)| *known == currency) {
            Some((_, allowed)) => *allowed &= has,
            None => read.push((currency, has)),
        }
    }
    Some(read)
}

/// One balance of `/v1/balance`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Balance {
    pub currency: Currency,
    /// In smallest units.
    pub amount: Minor,
}

/// An answer of `/v1/balance`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Balances {
    /// The fiat balances that can be read, each currency once.
    pub rows: Vec<Balance>,
    /// The errors of the other rows.
    pub unreadable: Vec<Malformed>,
    /// The currencies of rows that cannot be read.
    pub unclear: Vec<Currency>,
    /// Whether every row names its token: only then a currency that is missing is left out.
    pub is_complete: bool,
}

impl Balances {
    /// Whether the answer leaves the currency out.
    #[must_use]
    pub fn omits(&self, currency: Currency) -> bool {
        let is_read = self.rows.iter().any(|row| row.currency == currency);
        self.is_complete && !is_read && !self.unclear.contains(&currency)
    }

    /// The fiat balances of an answer, row by row; other tokens are nobody's balance and are ignored. A row that cannot
    /// be read spoils no other. An answer without any point may be of either form: unless a person has confirmed one,
    /// only its zeros are read.
    ///
    /// # Errors
    /// No list.
    pub fn read(answer: &Value, form: AmountForm) -> Result<Balances, Malformed> {
        let rows = rows_of_balances(answer)?;
        let has_point = |row: &Value| fiat(row).is_some() && text(row, "amount").is_ok_and(|shown| shown.contains('.'));
        let is_ambiguous = form == AmountForm::Unconfirmed && !rows.iter().any(has_point);
        let mut read = Balances { is_complete: true, ..Balances::default() };
        for row in rows {
            if let Err(error) = text(row, "symbol") {
                read.unreadable.push(error);
                read.is_complete = false;
                continue;
            }
            let Some(currency) = fiat(row) else { continue };
            let field = format!("amount of {currency}");
            let amount = text(row, "amount").and_then(|shown| form.read(&field, &shown, FIAT_DECIMALS));
            let known = read.rows.iter().find(|other| other.currency == currency);
            let error = match (amount, known) {
                (Ok(amount), _) if is_ambiguous && amount != Minor::ZERO => {
                    Malformed(format!("{field} has no point, and may be of either form: set ur.balance_amounts"))
                }
                (Ok(amount), None) => {
                    read.rows.push(Balance { currency, amount });
                    continue;
                }
                (Ok(amount), Some(other)) if other.amount == amount => continue,
                // Which of two figures holds, or whether their sum does, would be chance.
                (Ok(_), Some(_)) => Malformed(format!("{field} is listed twice")),
                (Err(error), _) => error,
            };
            read.unreadable.push(error);
            read.unclear.push(currency);
        }
        let unclear = &read.unclear;
        read.rows.retain(|row| !unclear.contains(&row.currency));
        Ok(read)
    }
}

/// The fiat currency of a row: ETH, and a token of another kind with a currency's name, are nobody's balance.
fn fiat(row: &Value) -> Option<Currency> {
    let symbol = text(row, "symbol").ok()?;
    currency(&symbol).filter(|currency| currency.is_held_by_ur())
}

fn rows_of_balances(answer: &Value) -> Result<&Vec<Value>, Malformed> {
    let data = data(answer);
    let rows = [Some(data), data.get("items"), data.get("list"), data.get("balances")];
    let rows = rows.into_iter().flatten().find_map(Value::as_array);
    rows.ok_or_else(|| Malformed("the answer holds no list of balances".to_owned()))
}

/// `/v1/exchangeRate`: both on 10,000.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub rate: u32,
    pub spread: u32,
}

impl Rate {
    /// # Errors
    /// The rate or its spread is missing or not a positive number.
    pub fn read(answer: &Value) -> Result<Rate, Malformed> {
        let data = data(answer);
        let ten_thousandths = |key| ten_thousandths(key, data.get(key).unwrap_or(&Value::Null));
        Ok(Rate { rate: ten_thousandths("rate")?, spread: ten_thousandths("exchangeSpread")? })
    }
}

/// One token of `/v1/tokens`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The name in requests.
    pub symbol: String,
    pub decimals: u32,
    pub is_fiat: bool,
}

impl Token {
    /// # Errors
    /// A field is missing or out of range.
    pub fn read(value: &Value) -> Result<Token, Malformed> {
        Ok(Token {
            symbol: text(value, "symbol")?,
            decimals: u32::try_from(number(value, "decimals", 36)?).unwrap_or(0),
            is_fiat: value.get("isFiat").and_then(Value::as_bool).unwrap_or(false),
        })
    }
}

/// `/v1/deposit/quote`: the fiat amount for an amount of USDC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DepositQuote {
    /// After fees and spread, in smallest units of the fiat token.
    pub output: Minor,
    /// All fees, in millionths of a dollar.
    pub fee: Minor,
}

impl DepositQuote {
    /// Amounts are display decimals.
    ///
    /// # Errors
    /// An amount is missing or malformed.
    pub fn read(answer: &Value) -> Result<DepositQuote, Malformed> {
        let data = data(answer);
        let output = display_amount("outputAmount", &text(data, "outputAmount")?, FIAT_DECIMALS)?;
        let fee = text(data, "totalFee").or_else(|_| text(data, "feeAmountViaUsdc"));
        let fee = fee.map_or(Ok(Minor::ZERO), |fee| display_amount("totalFee", &fee, STABLECOIN_DECIMALS))?;
        Ok(DepositQuote { output, fee })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_profile_is_read_from_either_envelope() {
        let figures = json!({
            "urId": 12_345, "chainStatus": 5, "usedLimit": "505", "clientLimit": 100_000, "startLimitDate": 1_768_659_501,
            "allowances": [{"tokenSymbol": "EUR", "hasAllowance": true}, {"tokenSymbol": "USDC", "hasAllowance": true}],
        });
        let expected = Profile {
            user: "12345".parse().unwrap(),
            status: AccountStatus::Live,
            limit: ClientLimit { used: ChfMinor(505), client: ChfMinor(100_000), start: UnixSeconds(1_768_659_501) },
            allowances: vec![(Currency::EUR, true)],
        };
        assert_eq!(Profile::read(&json!({"code": 0, "data": figures})).unwrap(), expected);
        assert_eq!(Profile::read(&json!({"retCode": 0, "result": figures})).unwrap(), expected);
        let mut strange = figures.clone();
        strange["chainStatus"] = json!(9);
        assert!(Profile::read(&json!({"data": strange})).is_err());
        strange["chainStatus"] = json!(5);
        strange["usedLimit"] = json!(-1);
        assert!(Profile::read(&json!({"data": strange})).is_err());
    }

    #[test]
    fn each_row_of_balances_stands_alone() {
        use AmountForm::{Decimal, SmallestUnit, Unconfirmed};
        #[track_caller]
        fn check(form: AmountForm, rows: &Value, expected: &[(Currency, i64)], unreadable: usize) {
            let answer = json!({"code": 0, "data": rows});
            let read = Balances::read(&answer, form).unwrap();
            assert!(!read.omits(Currency::EUR) || expected.iter().all(|(currency, _)| *currency != Currency::EUR));
            let expected: Vec<_> = expected
                .iter()
                .map(|(currency, amount)| Balance { currency: *currency, amount: Minor(*amount) })
                .collect();
            assert_eq!((&read.rows, read.unreadable.len()), (&expected, unreadable), "{answer}: {read:?}");
        }
        let eur = |amount: Value| json!({"symbol": "EUR24", "amount": amount});
        check(SmallestUnit, &json!([eur(json!("1250"))]), &[(Currency::EUR, 1_250)], 0);
        check(Decimal, &json!([eur(json!("12.50"))]), &[(Currency::EUR, 1_250)], 0);
        check(Decimal, &json!([eur(json!("1000000"))]), &[(Currency::EUR, 100_000_000)], 0);
        check(SmallestUnit, &json!([eur(json!("12.50"))]), &[], 1);
        check(SmallestUnit, &json!([eur(json!("12.00"))]), &[], 1);
        check(SmallestUnit, &json!({"list": [eur(json!(1_250))]}), &[(Currency::EUR, 1_250)], 0);
        check(Decimal, &json!([eur(json!("-123.45"))]), &[(Currency::EUR, -12_345)], 0);
        check(Decimal, &json!([eur(json!("1.00")), {"symbol": "SGD", "amount": null}]), &[(Currency::EUR, 100)], 1);
        check(
            Decimal,
            &json!([{"symbol": "ETH", "amount": "12.345678901234567890"}, eur(json!("1.00"))]),
            &[(Currency::EUR, 100)],
            0,
        );
        check(
            Decimal,
            &json!([eur(json!("a lot")), {"symbol": "cny", "amount": "2.00"}, 7]),
            &[(Currency::CNH, 200)],
            2,
        );
        check(Decimal, &json!([eur(json!("5.00")), {"symbol": "eur", "amount": "7.00"}]), &[], 1);
        check(Decimal, &json!([eur(json!("5.00")), {"symbol": "eur", "amount": "5"}]), &[(Currency::EUR, 500)], 0);
        check(Decimal, &json!([eur(json!("5.00")), {"symbol": "eur", "amount": "?"}]), &[], 1);
        check(Unconfirmed, &json!([eur(json!("1000000"))]), &[], 1);
        check(Unconfirmed, &json!([eur(json!("0"))]), &[(Currency::EUR, 0)], 0);
        let usd = json!({"symbol": "USD", "amount": "7.50"});
        check(Unconfirmed, &json!([eur(json!("10")), usd]), &[(Currency::EUR, 1_000), (Currency::USD, 750)], 0);
        check(Unconfirmed, &json!([eur(json!("10")), {"symbol": "ETH", "amount": "7.50"}]), &[], 1);
        assert!(Balances::read(&json!({"data": "none"}), Decimal).is_err());
    }

    #[test]
    fn a_complete_answer_leaves_out_what_none_of_its_rows_is_about() {
        let check = |rows: Value, omits: bool| {
            let read = Balances::read(&json!({"data": rows}), AmountForm::Decimal).unwrap();
            assert_eq!(read.omits(Currency::EUR), omits, "{read:?}");
        };
        check(json!([]), true);
        check(json!([{"symbol": "USD", "amount": "5.00"}, {"symbol": "ETH", "amount": null}]), true);
        check(json!([{"symbol": "EUR", "amount": "0"}]), false);
        check(json!([{"symbol": "EUR", "amount": null}]), false);
        check(json!([{"symbol": "USD", "amount": "5.00"}, {"amount": "7.00"}]), false);
    }

    #[test]
    fn quotes_and_rates_are_read_in_their_forms() {
        let quote = json!({"data": {"outputAmount": "2.61", "totalFee": "0.065", "feeAmountViaUsdc": "0.05"}});
        assert_eq!(DepositQuote::read(&quote), Ok(DepositQuote { output: Minor(261), fee: Minor(65_000) }));
        let rate = json!({"data": {"rate": "0.9168", "exchangeSpread": "10150"}});
        assert_eq!(Rate::read(&rate), Ok(Rate { rate: 9_168, spread: 10_150 }));
        let token = json!({"symbol": "USDC", "name": "USD Coin", "decimals": 6, "isFiat": false});
        assert_eq!(Token::read(&token), Ok(Token { symbol: "USDC".to_owned(), decimals: 6, is_fiat: false }));
    }
}
