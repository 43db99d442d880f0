//! UR's own API: its answers, read with tolerance where its documents and its clients differ (docs/ur-facts.md, "Amounts
//! on UR's wire" and "More that a partner's published integration shows").

mod amounts;
mod envelope;
mod event;
mod figures;
mod transaction;

pub use amounts::{AmountForm, FIAT_DECIMALS, STABLECOIN_DECIMALS, display_amount, ten_thousandths};
pub use envelope::{Answer, Cursor, Page, RefusalCode, read};
pub use event::{EVENTS, Event, account, name, shape};
pub use figures::{Balance, Balances, DepositQuote, Profile, Rate, Token};
pub use transaction::{Direction, Status, Transaction};
