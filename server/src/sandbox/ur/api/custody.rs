//! Managed Custody (`/api/fma/v1/*`): the account is named by a header, which is signed; refusals of the gateway have a
//! form of their own; amounts are of major units. docs/ur-facts.md says what of this is evidence.

use axum::Json;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::{Answer, Fields, Refused, accounts, display, invalid};
use crate::sandbox::ur::books::Books;
use crate::signature::{EXTERNAL_USER_ID_HEADER, PartnerScope, UR_ID_HEADER};

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, Refused> {
    let value = headers.get(name).map_or(Ok(""), |value| value.to_str());
    value.map_err(|_| invalid(format!("{name} must be text")))
}

/// # Errors
/// A header is no text.
pub(super) fn scope(headers: &HeaderMap) -> Result<PartnerScope<'_>, Refused> {
    let (ur_id, external_user_id) = (header(headers, UR_ID_HEADER)?, header(headers, EXTERNAL_USER_ID_HEADER)?);
    Ok(PartnerScope::ManagedCustody { ur_id, external_user_id })
}

/// The fields of a request, the account's number among them.
///
/// # Errors
/// 10003: no account is named, or the body names one, too.
pub(super) fn fields(headers: &HeaderMap, fields: Fields) -> Result<Fields, Refused> {
    let ur_id = header(headers, UR_ID_HEADER)?;
    if ur_id.is_empty() {
        return Err(Refused(10_003, format!("{UR_ID_HEADER} is required")));
    }
    let Fields(mut named) = fields;
    if named.insert("urId".to_owned(), ur_id.into()).is_some() {
        return Err(invalid(format!("urId belongs into {UR_ID_HEADER}, and not into the body")));
    }
    Ok(Fields(named))
}

/// Codes of the gateway come as `{error_code, error_msg}`, all others as ever.
pub(super) fn refusal(refused: Refused) -> Response {
    let Refused(code, message) = &refused;
    let gateway = matches!(*code, 10_001 | 10_003).then(|| json!({"error_code": code, "error_msg": message}));
    let response = refused.into_response();
    match gateway {
        Some(body) => (response.status(), Json(body)).into_response(),
        None => response,
    }
}

pub(super) fn balance(books: &mut Books, asked: &Fields, now: u64) -> Answer {
    accounts::balance_in(books, asked, now, display)
}
