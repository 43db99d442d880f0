//! Where UR is asked about an account, and how the request names it, in each of UR's two account modes. Everything else of
//! a call is the same in both: headers of the signature, envelopes, retries and the budget.
//!
//! UR's documents of Managed Custody are not to be had; this file is the one to change once they are.
//!
//! | | External Wallet Access | Managed Custody | what the latter rests on |
//! |---|---|---|---|
//! | paths | `/v1/*` | `/api/fma/v1/*` | evidence for the prefix; **guess** for the names behind it, which are those of `/v1` |
//! | method | `POST`, JSON | `POST`, JSON | evidence of other paths; for these three a **guess** |
//! | account | `urId` in the body, a number | the header `X-Ur-Id`; no `urId` in the body | evidence: without the header UR answers 10003, and its documents forbid a second one |
//! | partner's own id | none | the header `X-External-User-Id` may replace the other; tapgate sends none | evidence |
//! | signed message | `{body} {deadline}` | `{body}urId:{X-Ur-Id}externalUserId:{X-External-User-Id} {deadline}`; an absent header counts as empty | evidence |
//! | filters | of seed 004 | the same names | **guess** |
//! | answers | seed 004 | the same fields; amounts in the form that `ur.balance_amounts` and `ur.transaction_amounts` name | **guess**; the evidence says major units for other paths |
//! | refusals | `{code, message}` | also `{error_code, error_msg}` | evidence |
//!
//! Evidence is a partner's published client (docs/ur-facts.md, (x)). Tokens, rates, deposits and single transactions are
//! asked at `/v1/*` in both modes: nothing shows that Managed Custody has paths of its own for them.

use serde_json::{Map, Value, json};
use tapgate_engine::ids::UrId;

use crate::signature::PartnerScope;

/// UR's account mode of a partner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AccountMode {
    /// The user's own wallet holds the account.
    #[default]
    ExternalWallet,
    /// UR holds the account's wallet.
    ManagedCustody,
}

/// What is asked about an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    Profile,
    Balance,
    Transactions,
}

/// A question about one account.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Question<'a> {
    pub(super) path: &'static str,
    pub(super) scope: PartnerScope<'a>,
    pub(super) body: Value,
}

impl AccountMode {
    pub const ALL: [AccountMode; 2] = [AccountMode::ExternalWallet, AccountMode::ManagedCustody];

    /// The word of `ur.account_mode`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            AccountMode::ExternalWallet => "external_wallet",
            AccountMode::ManagedCustody => "managed_custody",
        }
    }

    pub(super) fn path(self, subject: Subject) -> &'static str {
        match (self, subject) {
            (AccountMode::ExternalWallet, Subject::Profile) => "/v1/profile",
            (AccountMode::ExternalWallet, Subject::Balance) => "/v1/balance",
            (AccountMode::ExternalWallet, Subject::Transactions) => "/v1/transactions",
            (AccountMode::ManagedCustody, Subject::Profile) => "/api/fma/v1/profile",
            (AccountMode::ManagedCustody, Subject::Balance) => "/api/fma/v1/balance",
            (AccountMode::ManagedCustody, Subject::Transactions) => "/api/fma/v1/transactions",
        }
    }

    /// A question about an account, with further fields.
    pub(super) fn ask(self, subject: Subject, user: &UrId, mut fields: Map<String, Value>) -> Question<'_> {
        let scope = match self {
            AccountMode::ExternalWallet => {
                fields.insert("urId".to_owned(), number(user));
                PartnerScope::Open
            }
            AccountMode::ManagedCustody => PartnerScope::ManagedCustody { ur_id: user.as_str(), external_user_id: "" },
        };
        Question { path: self.path(subject), scope, body: Value::Object(fields) }
    }
}

/// UR's account numbers are int64 on its wire; any other id goes as text, for UR to refuse.
pub(super) fn number(user: &UrId) -> Value {
    user.as_str().parse::<i64>().map_or_else(|_| json!(user.as_str()), |number| json!(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_named_in_the_body_or_in_a_header_and_never_in_both() {
        let user = "12345".parse::<UrId>().unwrap();
        let fields = || Map::from_iter([("pageSize".to_owned(), json!(50))]);
        let open = AccountMode::ExternalWallet.ask(Subject::Transactions, &user, fields());
        assert_eq!((open.path, open.scope), ("/v1/transactions", PartnerScope::Open));
        assert_eq!(open.body, json!({"urId": 12_345, "pageSize": 50}));
        let custody = AccountMode::ManagedCustody.ask(Subject::Transactions, &user, fields());
        let scope = PartnerScope::ManagedCustody { ur_id: "12345", external_user_id: "" };
        assert_eq!((custody.path, custody.scope), ("/api/fma/v1/transactions", scope));
        assert_eq!(custody.body, json!({"pageSize": 50}));
    }
}
