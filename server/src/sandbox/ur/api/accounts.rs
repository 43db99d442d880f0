//! The accounts: profile, balance, transactions, and the mint of a new one (seed 004).

use axum::Json;
use serde_json::{Value, json};

use super::{Answer, Fields, OPS_UR_ID, Refused, done, invalid, unknown};
use crate::sandbox::ur::bank::wallet_of;
use crate::sandbox::ur::books::Books;
use crate::sandbox::ur::contract::Code;
use crate::signature::verify_consent;

/// The longest validity of a wallet's signature, in seconds (seed 002, "Field Definitions").
const CONSENT_SECONDS_MAX: u64 = 1_200;

/// `/v1/profile`.
pub(super) fn profile(books: &mut Books, asked: &Fields, now: u64) -> Answer {
    let ur_id = asked.needed("urId")?;
    let is_lacking = books.quirks.leaves_out(&ur_id, "usedLimit");
    if !is_lacking {
        books.report_limit(&ur_id, now);
    }
    let account = books.account(&ur_id);
    let (status, limit) = match account {
        Some(account) => (account.status, account.limit),
        None if ur_id == OPS_UR_ID => ("live", books.ops.limit),
        None => return Err(unknown(&ur_id)),
    };
    let allowances = account.into_iter().flat_map(|account| &account.fiat);
    let allowances = allowances.map(|(code, (_, allowed))| json!({"tokenSymbol": code, "hasAllowance": allowed}));
    let (step, step_name) = kyc_step(status);
    let wallet = books.bank.wallet(&ur_id).unwrap_or_else(|| wallet_of(&ur_id));
    done(json!({
        "urId": number(&ur_id), "chainStatus": chain_status(status), "evmAddress": wallet.to_string(),
        "usedLimit": (!is_lacking).then_some(limit.used),
        "clientLimit": limit.client, "startLimitDate": limit.start,
        "allowances": allowances.collect::<Vec<_>>(),
        "kycRetryVerificationLevel": 0, "kycRetryVerificationLevelStr": "UNKNOWN",
        "kycCurrentStep": step, "kycCurrentStepStr": step_name,
    }))
}

/// An account's number as UR sends it: an int64, but for an id that people imported.
fn number(ur_id: &str) -> Value {
    ur_id.parse::<i64>().map_or_else(|_| json!(ur_id), |number| json!(number))
}

/// `/v1/balance`, in smallest units.
pub(super) fn balance(books: &mut Books, asked: &Fields, now: u64) -> Answer {
    balance_in(books, asked, now, |amount, _| amount.to_string())
}

/// An account's balances in the form of `shown`, which is given the amount and the token's decimals.
pub(super) fn balance_in(books: &mut Books, asked: &Fields, now: u64, shown: fn(u64, u32) -> String) -> Answer {
    let ur_id = asked.needed("urId")?;
    let (held, usdc): (Vec<(Code, u64)>, u64) = if ur_id == OPS_UR_ID {
        (books.pools.iter().map(|(code, pool)| (*code, pool.balance)).collect(), books.ops.usdc)
    } else {
        let account = books.account(&ur_id).ok_or_else(|| unknown(&ur_id))?;
        (account.fiat.iter().map(|(code, (balance, _))| (*code, balance.balance)).collect(), account.usdc)
    };
    let quirks = &mut books.quirks;
    let omitted = held.iter().map(|(code, _)| *code).find(|code| quirks.leaves_out(&ur_id, code));
    let unreadable = held.iter().map(|(code, _)| *code).find(|code| quirks.spoils(&ur_id, code));
    let mut rows = quirks.balances();
    rows.extend(held.iter().filter(|(code, _)| Some(*code) != omitted).map(|(code, amount)| {
        let amount = if Some(*code) == unreadable { "plenty".to_owned() } else { shown(*amount, 2) };
        json!({"symbol": code, "amount": amount})
    }));
    rows.push(json!({"symbol": "USDC", "amount": shown(usdc, 6)}));
    // An answer that lacks a figure is asked for again before any of it counts.
    if omitted.is_none() {
        books.report_balances(Some(ur_id.as_str()).filter(|ur_id| *ur_id != OPS_UR_ID), unreadable, now);
    }
    done(rows)
}

/// `/v1/transactions`.
pub(super) fn transactions(books: &mut Books, asked: &Fields, now: u64) -> Answer {
    let ur_id = asked.needed("urId")?;
    if books.account(&ur_id).is_none() && ur_id != OPS_UR_ID {
        return Err(unknown(&ur_id));
    }
    let wanted = serde_json::from_value(Value::Object(asked.0.clone()));
    let wanted = wanted.map_err(|error| invalid(error.to_string()))?;
    let lacks_one = books.quirks.leaves_out(&ur_id, "row");
    let page = books.statement.page(&ur_id, &wanted, now, lacks_one);
    let mut page = page.map_err(invalid)?;
    if let (Some(odd), Some(Value::Array(rows))) = (books.quirks.row(&ur_id), page.get_mut("data")) {
        rows.push(odd);
    }
    Ok(Json(page))
}

/// `/v1/transaction/query`.
pub(super) fn query(books: &mut Books, asked: &Fields, _: u64) -> Answer {
    let pairs = asked.0.get("txPairs").and_then(Value::as_array).filter(|pairs| !pairs.is_empty());
    let pairs = pairs.ok_or_else(|| Refused(20_001, "txPairs is required".to_owned()))?;
    let read = |pair: &Value| {
        let pair = Fields(pair.as_object().cloned().unwrap_or_default());
        Ok((pair.needed("urId")?, pair.needed("txHash")?))
    };
    let pairs = pairs.iter().map(read).collect::<Result<Vec<_>, Refused>>()?;
    let not_found = || Refused(4_001, "transaction not found".to_owned());
    done(books.statement.query(&pairs).ok_or_else(not_found)?)
}

/// `/v1/mint/nft`: the new user's wallet must have signed its consent.
pub(super) fn mint(books: &mut Books, asked: &Fields, now: u64) -> Answer {
    let (email, hash, deadline) = (asked.needed("email")?, asked.needed("hash")?, asked.needed("deadline")?);
    let signature = asked.needed("signature")?;
    asked.needed("evmAddress")?;
    let wallet = asked.address("evmAddress")?.ok_or_else(|| invalid("evmAddress"))?;
    if !email.contains('@') {
        return Err(invalid("email must be an e-mail address"));
    }
    let unsigned = |what: String| Refused(10_001, what);
    verify_consent(wallet, signature.as_bytes(), &hash, &deadline)
        .map_err(|error| unsigned(format!("the wallet's signature: {error}")))?;
    let until: u64 = deadline.parse().map_err(|_| invalid("deadline must be unix seconds"))?;
    if until < now || until > now + CONSENT_SECONDS_MAX {
        return Err(unsigned(format!(
            "the wallet's deadline {until} has passed or is over {CONSENT_SECONDS_MAX} s ahead"
        )));
    }
    let ur_id = books.mint(wallet, now)?;
    done(json!({"tokenId": ur_id, "txHash": format!("0x{ur_id:0>64}")}))
}

/// `chainStatus` of the contract (docs/ur-facts.md, "Status").
fn chain_status(status: &str) -> u8 {
    match status {
        "soft_blocked" => 1,
        "tourist" => 2,
        "blocked" => 3,
        "closed" => 4,
        "live" => 5,
        _ => 0,
    }
}

/// `kycCurrentStep` (seed 004): an account that was ever Live is past the review.
fn kyc_step(status: &str) -> (u8, &'static str) {
    match status {
        "na" => (0, "UNKNOWN"),
        "tourist" => (1, "FormA"),
        _ => (4, "Review"),
    }
}
