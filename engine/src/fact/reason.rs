//! Decline reasons: the ladder's rungs, in precedence order.

use serde::{Deserialize, Serialize};

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $code:literal;)*) => {
        /// A reason to decline. The order of the variants *is* the ladder's precedence: where several hold, the
        /// smallest is given, so the order must never change without a new version of the interface.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Reason {
            $($(#[$doc])* $variant,)*
        }

        impl Reason {
            /// Every reason, in precedence order.
            pub const ALL: &[Reason] = &[$(Reason::$variant,)*];

            /// The name on the wire.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Reason::$variant => $name,)* }
            }

            /// The ISO 8583 response code (field 39).
            #[must_use]
            pub fn response_code(self) -> &'static str {
                match self { $(Reason::$variant => $code,)* }
            }
        }
    };
}

reasons! {
    /// The whole program is suspended by a person or the provider.
    ProgramSuspended = "program_suspended", "91";
    /// No such user was imported.
    UnknownUser = "unknown_user", "14";
    /// The card is not one of this user's.
    UnknownCard = "unknown_card", "14";
    /// The reversal came before the authorization.
    AlreadyReversed = "already_reversed", "12";
    /// An increment without a live parent of the same user, card and currency.
    ParentNotFound = "parent_not_found", "12";
    /// The provider of the card suspended its card service.
    ProviderSuspended = "provider_suspended", "91";
    /// UR closed the account.
    AccountClosed = "account_closed", "46";
    /// UR blocked the account.
    AccountBlocked = "account_blocked", "62";
    /// UR soft-blocked the account.
    AccountSoftBlocked = "account_soft_blocked", "62";
    /// The account is not yet Live (Na or Tourist).
    AccountNotLive = "account_not_live", "57";
    /// The partner suspended the user.
    UserSuspended = "user_suspended", "62";
    /// The card is frozen.
    CardFrozen = "card_frozen", "62";
    /// The card was deleted.
    CardDeleted = "card_deleted", "14";
    /// The amount is above 10^15, or zero where it must not be.
    AmountInvalid = "amount_invalid", "13";
    /// The transaction currency cannot be priced.
    CurrencyUnsupported = "currency_unsupported", "12";
    /// A control blocks the merchant's country.
    CountryBlocked = "country_blocked", "62";
    /// A control blocks the merchant category.
    MccBlocked = "mcc_blocked", "57";
    /// A control blocks the merchant.
    MerchantBlocked = "merchant_blocked", "57";
    /// A control blocks the channel.
    ChannelBlocked = "channel_blocked", "57";
    /// Above a control's amount for one transaction.
    TransactionAmountLimit = "transaction_amount_limit", "61";
    /// Above a control's amount within a window.
    VelocityAmount = "velocity_amount", "61";
    /// Above a control's count within a window.
    VelocityCount = "velocity_count", "65";
    /// Rates were never set or are too old to price with.
    RatesStale = "rates_stale", "96";
    /// UR's report is too old, or the clock is not trusted.
    StateStale = "state_stale", "96";
    /// Above the CHF client limit.
    LimitExceeded = "limit_exceeded", "61";
    /// The user's funds or fiat balance do not cover the amount.
    InsufficientUserFunds = "insufficient_user_funds", "51";
    /// The user gave no allowance on the fiat balance.
    FiatAllowanceMissing = "fiat_allowance_missing", "57";
    /// The pool is under stress, and pays only what its tiers let through.
    PoolStressed = "pool_stressed", "51";
    /// The pool covers the amount only from its reserve.
    PoolReserveHeld = "pool_reserve_held", "51";
    /// The pool does not cover the amount.
    PoolExhausted = "pool_exhausted", "51";
    /// The decision was not durable in time; its hold was released.
    DeadlineExceeded = "deadline_exceeded", "91";
    /// The journal has failed; nothing can be approved.
    JournalUnavailable = "journal_unavailable", "96";
}

/// Wire name and code of the answer to a known id with other data; it is no decision and is not stored.
pub const DUPLICATE_MISMATCH: (&str, &str) = ("duplicate_mismatch", "94");

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
