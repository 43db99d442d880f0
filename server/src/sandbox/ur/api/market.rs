//! Tokens, rates, exchanges, deposits (offramp) and onramps (seed 003).

use serde_json::{Value, json};

use super::{Answer, CHAIN, Fields, OPS_UR_ID, Refused, display, done, invalid, unknown};
use crate::sandbox::ur::bank::{ONRAMP_MAX_UNITS, OnrampOrder, token_address};
use crate::sandbox::ur::books::Books;
use crate::sandbox::ur::contract::Code;

/// Mantle's chains (seed 003, "Chain ID Reference"), the default of every request.
const MANTLE: [&str; 2] = ["eip155:5000", CHAIN];

/// The other chains that a deposit may come from: BSC (seed 003), and the testnet that UR's demo client offers.
const FOREIGN: [&str; 3] = ["eip155:56", "eip155:97", "eip155:421614"];

/// The bridge's fee from another chain, in the native token's smallest unit.
const BRIDGE_FEE: &str = "1500000000000000";

/// Default slippage, in basis points.
const SLIPPAGE_BPS: u64 = 50;

fn token_name(code: &str) -> &'static str {
    match code {
        "USD" => "US Dollar",
        "EUR" => "Euro",
        "CHF" => "Swiss Franc",
        "JPY" => "Japanese Yen",
        "CNH" => "Chinese Yuan",
        "SGD" => "Singapore Dollar",
        "HKD" => "Hong Kong Dollar",
        "GBP" => "Pound Sterling",
        _ => "USD Coin",
    }
}

/// `/v1/tokens`.
pub(super) fn tokens(books: &mut Books, _: &Fields, _: u64) -> Answer {
    let token = |symbol: &str, decimals: u32, is_fiat: bool| {
        json!({
            "symbol": symbol, "name": token_name(symbol), "address": token_address(symbol).to_string(),
            "decimals": decimals, "displayDecimals": 2, "isFiat": is_fiat,
        })
    };
    let fiat = books.rates.usd.keys().map(|code| token(code, 2, true));
    let mut tokens: Vec<_> = fiat.chain([token("USDC", 6, false)]).collect();
    if books.quirks.leaves_out("", "token") {
        tokens.remove(0);
    }
    tokens.extend(books.quirks.tokens());
    done(tokens)
}

/// `/v1/exchangeRate`. USDC is a dollar.
pub(super) fn exchange_rate(books: &mut Books, asked: &Fields, _: u64) -> Answer {
    let code = |name: &str| match asked.needed(name)?.as_str() {
        "USDC" => Ok("USD"),
        symbol => books.code(symbol).map_err(Refused::from),
    };
    let (from, to) = (code("inSymbol")?, code("outSymbol")?);
    let rate = books.rates.between(from, to).ok_or_else(|| invalid("no rate"))?;
    done(books.quirks.rate((&display(rate.rate, 4), &display(rate.spread, 4))))
}

/// `/v1/exchange`.
pub(super) fn exchange(books: &mut Books, asked: &Fields, now: u64) -> Answer {
    let tokens = (books.code(&asked.needed("inputToken")?)?, books.code(&asked.needed("outputToken")?)?);
    let (ur_id, amount, request) = (asked.needed("urId")?, asked.amount("amount")?, asked.needed("requestId")?);
    done(json!({"txHash": books.exchange_tokens(&ur_id, tokens, amount, &request, now)?}))
}

/// UR accepts only USDC (seed 003).
fn usdc(asked: &Fields, name: &str) -> Result<(), Refused> {
    match asked.needed(name)?.as_str() {
        "USDC" => Ok(()),
        other => Err(invalid(format!("{name} must be USDC, got {other}"))),
    }
}

/// The chain that a deposit comes from. Another than Mantle needs the user's address, for the bridge.
fn source_chain(asked: &Fields) -> Result<String, Refused> {
    let chain = asked.optional("chainId").unwrap_or_else(|| CHAIN.to_owned());
    let address = asked.address("userAddress")?;
    if FOREIGN.contains(&chain.as_str()) && address.is_none() {
        return Err(Refused(20_001, format!("userAddress is required for {chain}")));
    }
    let is_known = [MANTLE.as_slice(), &FOREIGN].concat().contains(&chain.as_str());
    if is_known { Ok(chain) } else { Err(invalid(format!("chainId {chain} is not supported"))) }
}

fn known_user(books: &Books, asked: &Fields) -> Result<String, Refused> {
    let ur_id = asked.needed("urId")?;
    let is_known = ur_id == OPS_UR_ID || books.account(&ur_id).is_some();
    if is_known { Ok(ur_id) } else { Err(unknown(&ur_id)) }
}

/// `/v1/deposit/quote`.
pub(super) fn deposit_quote(books: &mut Books, asked: &Fields, _: u64) -> Answer {
    usdc(asked, "fromToken")?;
    known_user(books, asked)?;
    let (to, amount, chain) = (books.code(&asked.needed("toToken")?)?, asked.amount("amount")?, source_chain(asked)?);
    let quote = books.quote_deposit(to, amount)?;
    let rate = books.rates.between("USD", to).map_or(10_000, |rate| rate.rate);
    let bridge_fee = if MANTLE.contains(&chain.as_str()) { "0" } else { BRIDGE_FEE };
    done(json!({
        "feeAmountViaUsdc": display(quote.network_fee, 6), "outputAmount": display(quote.output, 2),
        "exchangeRate": display(rate, 4), "crossChainFee": bridge_fee, "feeAmountViaNativeToken": "0",
        "processingFee": display(quote.processing_fee, 6), "networkFee": display(quote.network_fee, 6),
        "totalFee": display(quote.processing_fee + quote.network_fee, 6), "chainId": chain,
        "allQuotes": [], "best": null,
    }))
}

/// `/v1/deposit`.
pub(super) fn deposit(books: &mut Books, asked: &Fields, now: u64) -> Answer {
    usdc(asked, "inputToken")?;
    source_chain(asked)?;
    let (ur_id, to) = (known_user(books, asked)?, books.code(&asked.needed("outputToken")?)?);
    let (amount, request) = (asked.amount("amount")?, asked.needed("requestId")?);
    done(json!({"txHash": books.deposit(&ur_id, to, amount, &request, now)?}))
}

/// UR quotes and starts onramps on Mantle only (seed 003).
fn mantle(asked: &Fields) -> Result<String, Refused> {
    let chain = asked.optional("chainId").unwrap_or_else(|| CHAIN.to_owned());
    if MANTLE.contains(&chain.as_str()) { Ok(chain) } else { Err(invalid(format!("chainId {chain} is not Mantle"))) }
}

/// `/v1/onramp/quote`.
pub(super) fn onramp_quote(books: &mut Books, asked: &Fields, now: u64) -> Answer {
    let (from, amount) = (books.code(&asked.needed("fromToken")?)?, asked.amount("amount")?);
    usdc(asked, "toToken")?;
    let (ur_id, chain) = (known_user(books, asked)?, mantle(asked)?);
    let slippage = asked.optional("slippageBps").map_or(Ok(SLIPPAGE_BPS), |text| {
        text.parse().ok().filter(|bps| *bps <= 10_000).ok_or_else(|| invalid("slippageBps must be 0 to 10000"))
    })?;
    let quote = books.quote_onramp(&ur_id, (from, amount), slippage, now)?;
    let rate = books.rates.between(from, "USD").map_or(10_000, |rate| rate.rate);
    let is_live = books.account(&ur_id).is_some_and(|account| account.status == "live");
    let most = |code: &Code| ((*code).to_owned(), json!(ONRAMP_MAX_UNITS.to_string()));
    let expected = quote.output.to_string();
    done(json!({
        "quoteId": quote.id, "chainId": chain,
        "best": {
            "aggregator": quote.aggregator, "to": quote.aggregator, "swapCalldata": "0x",
            "minUsdcAmount": quote.output_min.to_string(), "expectedUsdcAmount": expected,
            "slippageBps": slippage, "deadline": quote.deadline, "priceImpact": "0",
        },
        "allQuotes": [{"source": quote.aggregator, "expectedUsdcAmount": expected, "priceImpact": "0"}],
        "feeAmountViaUsdc": "0", "outputAmount": expected, "exchangeRate": display(rate, 4), "crossChainFee": "0",
        "feeAmountViaNativeToken": "0", "isSupport": is_live, "needLivenessCheck": false,
        "maxAmounts": books.rates.usd.keys().map(most).collect::<serde_json::Map<String, Value>>(),
    }))
}

/// `/v1/onramp`.
pub(super) fn onramp(books: &mut Books, asked: &Fields, now: u64) -> Answer {
    let (ur_id, request) = (asked.needed("urId")?, asked.needed("requestId")?);
    let order = OnrampOrder {
        quote: asked.needed("quoteId")?,
        paid: (books.code(&asked.needed("tokenIn")?)?, asked.amount("amountIn")?),
        withdraw_to: asked.address("withdrawAddress")?,
        aggregator: asked.optional("dstAggregator"),
        output_min: asked.optional("dstMinAmountOut").map(|_| asked.amount("dstMinAmountOut")).transpose()?,
    };
    mantle(asked)?;
    if let Some(calldata) = asked.optional("dstSwapCalldata").filter(|calldata| calldata != "0x") {
        return Err(invalid(format!("dstSwapCalldata {calldata} is not the quote's")));
    }
    if asked.optional("dstTokenOut").is_some() {
        usdc(asked, "dstTokenOut")?;
    }
    let is_caip = |chain: &String| {
        chain.strip_prefix("eip155:").is_some_and(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()))
    };
    if let Some(chain) = asked.optional("dstChainId").filter(|chain| !is_caip(chain)) {
        return Err(invalid(format!("dstChainId {chain} is no chain")));
    }
    done(json!({"txHash": books.onramp(&ur_id, &order, &request, now)?}))
}
