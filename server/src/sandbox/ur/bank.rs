//! UR as a bank: deposits of USDC, exchanges between currencies, onramps, new accounts. A request id identifies each; a
//! repeated id gets the same answer.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::account::{Account, Balance, Funding};
use super::books::Books;
use super::contract::{Code, Limit, Rates};
use super::statement::{Row, Statement};
use crate::signature::Address;

/// The smallest deposit and onramp, in millionths of a dollar (seed 003).
const DEPOSIT_MIN: u64 = 3_000_000;
const ONRAMP_MIN: u64 = 5_000_000;
/// Fees of a deposit (seed 003): the network's, in millionths of a dollar, and UR's, in basis points.
const NETWORK_FEE: u64 = 50_000;
const PROCESSING_BPS: u64 = 50;
/// 1,000.00 francs (docs/ur-facts.md).
const NEW_CLIENT_LIMIT: u64 = 100_000;
const FIRST_MINTED: usize = 900_000;
/// The ops account's own limit and USDC: more than a run uses.
const OPS_CLIENT_LIMIT: u64 = 100_000_000_000;
const OPS_USDC: u64 = 900_000_000_000_000;

/// Longest validity of a quote, in real time.
const QUOTE_SECONDS: u64 = 60;
/// The most that one onramp takes, in whole units of its currency.
pub(super) const ONRAMP_MAX_UNITS: u64 = 10_000;

/// UR's code and message.
pub(in crate::sandbox) type Refusal = (u32, String);

/// Earlier requests and their answers.
#[derive(Debug, Default)]
pub(in crate::sandbox) struct Bank {
    /// By request id: the request, and the hash in the answer.
    done: BTreeMap<String, (String, String)>,
    quotes: BTreeMap<String, OnrampQuote>,
    /// The wallets of accounts opened through the API.
    minted: BTreeMap<Address, String>,
}

impl Bank {
    /// The wallet of an account opened through the API.
    pub(super) fn wallet(&self, ur_id: &str) -> Option<Address> {
        self.minted.iter().find(|(_, opened)| *opened == ur_id).map(|(wallet, _)| *wallet)
    }
}

/// The wallet of an account of the world.
pub(super) fn wallet_of(ur_id: &str) -> Address {
    derived(&format!("wallet of {ur_id}"))
}

pub(super) fn token_address(symbol: &str) -> Address {
    derived(&format!("token {symbol}"))
}

/// An address that only needs to be one.
fn derived(name: &str) -> Address {
    let [_, _, _, _, _, _, _, _, _, _, _, _, address @ ..]: [u8; 32] = Sha256::digest(name).into();
    Address(address)
}

/// The ops account, beside the pools that it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sandbox) struct Ops {
    /// The account's own limit: UR charges it where it counts both sides of a drawing.
    pub(in crate::sandbox) limit: Limit,
    /// In millionths of a dollar.
    pub(in crate::sandbox) usdc: u64,
}

impl Default for Ops {
    fn default() -> Ops {
        Ops { limit: Limit { used: 0, client: OPS_CLIENT_LIMIT, start: 0 }, usdc: OPS_USDC }
    }
}

/// A quote of fiat to USDC; amounts of USDC in millionths of a dollar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OnrampQuote {
    pub(super) id: String,
    ur_id: String,
    paid: (Code, u64),
    pub(super) output: u64,
    pub(super) output_min: u64,
    /// The contract that would swap the USDC.
    pub(super) aggregator: String,
    /// In unix seconds.
    pub(super) deadline: u64,
}

/// An order to execute a quote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OnrampOrder {
    pub(super) quote: String,
    pub(super) paid: (Code, u64),
    /// `None`: to the user's own wallet.
    pub(super) withdraw_to: Option<Address>,
    /// As quoted, where the order names one.
    pub(super) aggregator: Option<String>,
    pub(super) output_min: Option<u64>,
}

/// A deposit on the ops account, in flight to a pool.
#[derive(Clone, Debug)]
pub(in crate::sandbox) struct Wire {
    pub(in crate::sandbox) code: Code,
    /// In smallest units of the pool's currency.
    pub(in crate::sandbox) amount: u64,
    /// The transaction's row number.
    pub(in crate::sandbox) number: usize,
    pub(in crate::sandbox) hash: String,
    pub(in crate::sandbox) request: String,
}

/// The fiat output of an amount of USDC.
#[derive(Clone, Copy, Debug)]
pub(in crate::sandbox) struct DepositQuote {
    pub(in crate::sandbox) output: u64,
    pub(in crate::sandbox) processing_fee: u64,
    pub(in crate::sandbox) network_fee: u64,
}

fn invalid(message: impl Into<String>) -> Refusal {
    (20_003, message.into())
}

/// Converts at the bank's selling rate: less the spread.
fn at_selling_rate(rates: &Rates, amount: u128, from: Code, to: Code) -> Option<u64> {
    let rate = rates.between(from, to)?;
    let less = 20_000_u128.checked_sub(u128::from(rate.spread))?;
    u64::try_from(amount * u128::from(rate.rate) * less / 100_000_000).ok()
}

impl Books {
    /// The currency of a symbol, `EUR` or `EUR24`, if UR holds it.
    pub(in crate::sandbox) fn code(&self, symbol: &str) -> Result<Code, Refusal> {
        let wanted = symbol.trim_end_matches("24");
        let found = self.rates.usd.keys().find(|code| **code == wanted);
        found.copied().ok_or_else(|| invalid(format!("the token {symbol} is not known")))
    }

    fn account_mut(&mut self, ur_id: &str) -> Result<&mut Account, Refusal> {
        let found = self.accounts.get_mut(ur_id).or_else(|| self.minted.get_mut(ur_id));
        found.ok_or_else(|| invalid(format!("there is no user {ur_id}")))
    }

    /// The USDC of an account, in millionths of a dollar.
    fn usdc_mut(&mut self, ur_id: &str) -> Result<&mut u64, Refusal> {
        if ur_id == super::OPS_UR_ID { Ok(&mut self.ops.usdc) } else { Ok(&mut self.account_mut(ur_id)?.usdc) }
    }

    /// The fiat balance of an account, opened by its first money.
    fn balance_mut(&mut self, ur_id: &str, code: Code) -> Result<&mut Balance, Refusal> {
        let account = self.account_mut(ur_id)?;
        Ok(&mut account.fiat.entry(code).or_insert((Balance::of(0, 0), false)).0)
    }

    /// The stored answer of a repeated request.
    fn before(&self, request: &str, asked: &str) -> Result<Option<String>, Refusal> {
        match self.bank.done.get(request) {
            None if request.is_empty() => Err(invalid("requestId is required")),
            None => Ok(None),
            Some((before, hash)) if before == asked => Ok(Some(hash.clone())),
            Some(_) => Err(invalid(format!("the requestId {request} was used for another request"))),
        }
    }

    /// Every fiat operation uses the account's limit.
    fn use_limit(&mut self, ur_id: &str, amount: u64, code: Code, now: u64) -> Result<(), Refusal> {
        let chf = self.rates.to_chf(amount, code);
        let account = self.account_mut(ur_id)?;
        if account.status != "live" {
            return Err((10_006, format!("the account {ur_id} is {}", account.status)));
        }
        if !account.limit.allows(chf, now) {
            return Err(invalid(format!("the limit of {ur_id} does not allow it")));
        }
        account.limit.add(chf, now);
        Ok(())
    }

    fn charge(&mut self, ur_id: &str, amount: u64, from: Code, now: u64) -> Result<(), Refusal> {
        let paid = self.balance_mut(ur_id, from)?;
        let left = paid.balance.checked_sub(amount).ok_or_else(|| invalid(format!("{from} holds {}", paid.balance)))?;
        self.use_limit(ur_id, amount, from, now)?;
        self.balance_mut(ur_id, from)?.balance = left;
        Ok(())
    }

    /// `amount` is in millionths of a dollar.
    pub(in crate::sandbox) fn quote_deposit(&self, to: Code, amount: u64) -> Result<DepositQuote, Refusal> {
        if amount < DEPOSIT_MIN {
            return Err(invalid(format!("amount must be at least {DEPOSIT_MIN}")));
        }
        let processing_fee = amount * PROCESSING_BPS / 10_000;
        let cents = u128::from(amount - processing_fee - NETWORK_FEE) / 10_000;
        let output = at_selling_rate(&self.rates, cents, "USD", to).ok_or_else(|| invalid("no rate"))?;
        Ok(DepositQuote { output, processing_fee, network_fee: NETWORK_FEE })
    }

    /// Converts USDC to fiat on an account, or on the ops account: a prefund. Returns the transaction's hash.
    pub(in crate::sandbox) fn deposit(
        &mut self,
        ur_id: &str,
        to: Code,
        amount: u64,
        request: &str,
        now: u64,
    ) -> Result<String, Refusal> {
        let asked = format!("deposit {ur_id} {to} {amount}");
        if let Some(hash) = self.before(request, &asked)? {
            return Ok(hash);
        }
        let quote = self.quote_deposit(to, amount)?;
        let usdc = self.usdc_mut(ur_id)?;
        *usdc = usdc.checked_sub(amount).ok_or_else(|| invalid(format!("the wallet holds {usdc} of USDC")))?;
        let is_prefund = ur_id == super::OPS_UR_ID;
        if !is_prefund {
            self.balance_mut(ur_id, to)?.balance += quote.output;
        }
        let row = Self::row(ur_id, "CDP", "Deposit", false, (quote.output, to), now);
        let exchanged = Some(("USDC".to_owned(), amount, quote.output));
        let row = Row { exchanged, reference: request.to_owned(), is_settled: !is_prefund, ..row };
        let (number, hash) = self.finish(request, asked, row);
        if is_prefund {
            // UR's operations credit it later; until then the transaction is pending.
            let wire = Wire { code: to, amount: quote.output, number, hash: hash.clone(), request: request.to_owned() };
            self.deposits.push(wire);
        }
        Ok(hash)
    }

    /// UR's operations credit a deposit to its pool, and its transaction shows as completed.
    pub(in crate::sandbox) fn arrive(&mut self, wire: &Wire) {
        self.statement.settle(wire.number);
        self.raise(wire.code, wire.amount);
    }

    pub(in crate::sandbox) fn raise(&mut self, code: Code, amount: u64) {
        if let Some(pool) = self.pools.get_mut(code) {
            pool.balance += amount;
            pool.credited += amount.cast_signed();
            pool.doubt.add(None, amount);
        }
    }

    /// Exchanges between an account's balances. Returns the transaction's hash.
    pub(in crate::sandbox) fn exchange_tokens(
        &mut self,
        ur_id: &str,
        (from, to): (Code, Code),
        amount: u64,
        request: &str,
        now: u64,
    ) -> Result<String, Refusal> {
        let asked = format!("exchange {ur_id} {from} {to} {amount}");
        if let Some(hash) = self.before(request, &asked)? {
            return Ok(hash);
        }
        let output = at_selling_rate(&self.rates, u128::from(amount), from, to).ok_or_else(|| invalid("no rate"))?;
        if from == to || amount == 0 {
            return Err(invalid("two tokens and an amount are needed"));
        }
        self.charge(ur_id, amount, from, now)?;
        self.balance_mut(ur_id, to)?.balance += output;
        let row = Self::row(ur_id, "FRX", "Exchange", true, (amount, from), now);
        let row = Row { exchanged: Some((from.to_owned(), amount, output)), reference: request.to_owned(), ..row };
        Ok(self.finish(request, asked, row).1)
    }

    /// Quotes fiat to USDC.
    pub(super) fn quote_onramp(
        &mut self,
        ur_id: &str,
        (from, amount): (Code, u64),
        slippage_bps: u64,
        now: u64,
    ) -> Result<OnrampQuote, Refusal> {
        let output =
            at_selling_rate(&self.rates, u128::from(amount) * 10_000, from, "USD").ok_or_else(|| invalid("no rate"))?;
        if output < ONRAMP_MIN {
            return Err(invalid(format!("amount must come to at least {ONRAMP_MIN} of USDC")));
        }
        if amount > ONRAMP_MAX_UNITS * 100 {
            return Err(invalid(format!("amount must be at most {ONRAMP_MAX_UNITS}.00 {from}")));
        }
        let quote = OnrampQuote {
            id: format!("quote_{}", self.bank.quotes.len() + 1),
            ur_id: ur_id.to_owned(),
            paid: (from, amount),
            output,
            output_min: output - output * slippage_bps / 10_000,
            aggregator: derived("aggregator").to_string(),
            deadline: now + QUOTE_SECONDS * self.speed.max(1),
        };
        self.bank.quotes.insert(quote.id.clone(), quote.clone());
        Ok(quote)
    }

    /// Executes a quote. Returns the transaction's hash.
    pub(super) fn onramp(
        &mut self,
        ur_id: &str,
        order: &OnrampOrder,
        request: &str,
        now: u64,
    ) -> Result<String, Refusal> {
        let asked = format!("onramp {ur_id} {order:?}");
        if let Some(hash) = self.before(request, &asked)? {
            return Ok(hash);
        }
        let found = self.bank.quotes.get(&order.quote).filter(|quote| quote.ur_id == ur_id && quote.paid == order.paid);
        let quote = found.cloned().ok_or_else(|| invalid(format!("no such quote: {}", order.quote)))?;
        if quote.deadline < now {
            return Err(invalid(format!("the quote {} has expired", quote.id)));
        }
        if order.aggregator.as_ref().is_some_and(|aggregator| !aggregator.eq_ignore_ascii_case(&quote.aggregator)) {
            return Err(invalid("dstAggregator is not the quote's"));
        }
        if order.output_min.is_some_and(|least| least > quote.output) {
            return Err(invalid(format!("dstMinAmountOut is above the quote's {}", quote.output)));
        }
        let (from, amount) = quote.paid;
        self.charge(ur_id, amount, from, now)?;
        if order.withdraw_to.is_none_or(|wallet| wallet == wallet_of(ur_id)) {
            *self.usdc_mut(ur_id)? += quote.output;
        }
        let row = Self::row(ur_id, "ONR", "Onramp", true, (amount, from), now);
        let row =
            Row { exchanged: Some((from.to_owned(), amount, quote.output)), reference: request.to_owned(), ..row };
        Ok(self.finish(request, asked, row).1)
    }

    /// Opens an account for a wallet; refuses a wallet that has an account, with its id.
    pub(super) fn mint(&mut self, wallet: Address, now: u64) -> Result<String, Refusal> {
        let of_the_world = || self.accounts.keys().find(|ur_id| wallet_of(ur_id) == wallet);
        if let Some(ur_id) = self.bank.minted.get(&wallet).or_else(of_the_world) {
            return Err((10_005, format!("the wallet has the account {ur_id} already")));
        }
        let ur_id = (FIRST_MINTED + self.bank.minted.len()).to_string();
        let limit = Limit { used: 0, client: NEW_CLIENT_LIMIT, start: now };
        let account = Account::new("tourist", limit, Funding::Crypto);
        self.minted.insert(ur_id.clone(), account);
        self.bank.minted.insert(wallet, ur_id.clone());
        Ok(ur_id)
    }

    fn row(ur_id: &str, kind: &'static str, title: &str, is_out: bool, (amount, code): (u64, Code), now: u64) -> Row {
        Row {
            ur_id: ur_id.to_owned(),
            kind,
            title: title.to_owned(),
            is_out,
            amount,
            code,
            at: now,
            settles_at: now,
            is_settled: true,
            reference: String::new(),
            mcc: None,
            exchanged: None,
            shown_at: None,
            word: None,
            parts: Vec::new(),
        }
    }

    /// The transaction's number and hash.
    fn finish(&mut self, request: &str, asked: String, row: Row) -> (usize, String) {
        let number = self.statement.add(row);
        let hash = Statement::hash(number);
        self.bank.done.insert(request.to_owned(), (asked, hash.clone()));
        (number, hash)
    }
}
