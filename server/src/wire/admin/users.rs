//! Users, funds and cards as JSON.

use std::fmt;

use serde::Deserialize;
use serde_json::{Value, json};
use tapgate_engine::contract::limit::ClientLimit;
use tapgate_engine::fact::{
    AccountStatus, CardStatus, CardUse, FundingPolicy, Import, ImportedCard, ImportedFiat, Provider,
};
use tapgate_engine::ids::{CardId, UrId};
use tapgate_engine::ledger::Change;
use tapgate_engine::money::{ChfMinor, Currency};
use tapgate_engine::person::{ExternalId, Label, Person};
use tapgate_engine::rows::User;
use tapgate_engine::time::UnixSeconds;

use super::super::forms::{amount, parsed, signed_amount};
use super::controls::ControlsForm;
use super::{Digits, Malformed, MoneyForm, controls, money};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ImportLine {
    ur_id: Digits,
    status: StatusForm,
    limit: LimitForm,
    funds: Option<MoneyForm>,
    #[serde(default)]
    fiat: Vec<FiatForm>,
    funding: Option<FundingForm>,
    #[serde(default)]
    cards: Vec<CardForm>,
    /// Whether the cards' statuses replace those that a person set.
    #[serde(default, rename = "override")]
    overrides: bool,
    provider: Option<ProviderForm>,
    external_id: Option<Unshown>,
    label: Option<Unshown>,
}

/// A text that no debug output shows.
#[derive(Deserialize)]
#[serde(transparent)]
struct Unshown(String);

impl fmt::Debug for Unshown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// A provider of accounts.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProviderForm {
    Ur,
    PartnerApi,
}

impl ProviderForm {
    #[must_use]
    pub fn provider(self) -> Provider {
        match self {
            ProviderForm::Ur => Provider::Ur,
            ProviderForm::PartnerApi => Provider::PartnerApi,
        }
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StatusForm {
    Na,
    SoftBlocked,
    Tourist,
    Blocked,
    Closed,
    Live,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum FundingForm {
    Crypto,
    Fiat,
    CryptoThenFiat,
    FiatThenCrypto,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum CardStatusForm {
    Active,
    Frozen,
    Deleted,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct LimitForm {
    used_limit: Digits,
    client_limit: Digits,
    start_limit_date: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FiatForm {
    currency: String,
    amount: Digits,
    #[serde(default)]
    allowance: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct CardForm {
    card_id: String,
    status: CardStatusForm,
    currency: Option<String>,
    #[serde(rename = "single_use")]
    single_use: Option<bool>,
}

impl ImportLine {
    /// What names the person: it is kept apart from the import's record.
    ///
    /// # Errors
    /// A value is malformed; the message names its field and does not repeat it.
    pub fn person(&self) -> Result<Person, Malformed> {
        let external_id = self.external_id.as_ref().map(|text| parsed("externalId", &text.0)).transpose()?;
        let label = self.label.as_ref().map(|text| parsed("label", &text.0)).transpose()?;
        Ok(Person { external_id, label })
    }

    /// # Errors
    /// A value is malformed; the message names its field.
    pub fn import(&self, card_currency: Currency) -> Result<Import, Malformed> {
        let fiat = self.fiat.iter().map(|balance| {
            Ok(ImportedFiat {
                currency: parsed("fiat.currency", &balance.currency)?,
                amount: signed_amount("fiat.amount", &balance.amount.0)?,
                allowance: balance.allowance,
            })
        });
        let cards = self.cards.iter().map(|card| {
            let currency = card.currency.as_ref().map(|code| parsed("cards.currency", code)).transpose()?;
            Ok(ImportedCard {
                id: parsed("cards.cardId", &card.card_id)?,
                status: card_status(card.status),
                currency: currency.unwrap_or(card_currency),
                single_use: card.single_use,
            })
        });
        Ok(Import {
            user: parsed("urId", &self.ur_id.0)?,
            status: match self.status {
                StatusForm::Na => AccountStatus::Na,
                StatusForm::SoftBlocked => AccountStatus::SoftBlocked,
                StatusForm::Tourist => AccountStatus::Tourist,
                StatusForm::Blocked => AccountStatus::Blocked,
                StatusForm::Closed => AccountStatus::Closed,
                StatusForm::Live => AccountStatus::Live,
            },
            limit: ClientLimit {
                used: ChfMinor(amount("limit.usedLimit", &self.limit.used_limit.0)?.0),
                client: ChfMinor(amount("limit.clientLimit", &self.limit.client_limit.0)?.0),
                start: UnixSeconds(i64::from(self.limit.start_limit_date)),
            },
            funds: self.funds.as_ref().map(|funds| funds.signed_money("funds")).transpose()?,
            fiat: fiat.collect::<Result<_, Malformed>>()?,
            funding: self.funding.map(|funding| match funding {
                FundingForm::Crypto => FundingPolicy::Crypto,
                FundingForm::Fiat => FundingPolicy::Fiat,
                FundingForm::CryptoThenFiat => FundingPolicy::CryptoThenFiat,
                FundingForm::FiatThenCrypto => FundingPolicy::FiatThenCrypto,
            }),
            cards: cards.collect::<Result<_, Malformed>>()?,
            overrides: self.overrides,
            provider: self.provider.map(ProviderForm::provider),
        })
    }
}

fn card_status(status: CardStatusForm) -> CardStatus {
    match status {
        CardStatusForm::Active => CardStatus::Active,
        CardStatusForm::Frozen => CardStatus::Frozen,
        CardStatusForm::Deleted => CardStatus::Deleted,
    }
}

/// A new report of a user's funds.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FundsForm {
    amount: Digits,
    currency: String,
    version: u64,
    #[serde(default)]
    debited: Vec<String>,
}

impl FundsForm {
    /// # Errors
    /// A value is malformed; the message names its field.
    pub fn change(self, user: UrId) -> Result<Change, Malformed> {
        let funds = MoneyForm { amount: self.amount, currency: self.currency }.signed_money("funds")?;
        let debited = self.debited.iter().map(|id| parsed("debited", id)).collect::<Result<_, _>>()?;
        Ok(Change::ReplaceFunds { user, funds, version: self.version, debited })
    }
}

/// A change of a card: its status, how often it may be used, its controls.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CardChangeForm {
    status: Option<CardStatusForm>,
    single_use: Option<bool>,
    controls: Option<ControlsForm>,
}

impl CardChangeForm {
    /// The changes, in the order in which they are made: an activation comes after what makes a card single-use.
    ///
    /// # Errors
    /// Nothing is given, or a control is malformed.
    pub fn changes(self, card: &CardId) -> Result<Vec<Change>, Malformed> {
        if self.status.is_none() && self.single_use.is_none() && self.controls.is_none() {
            return Err(Malformed("give status, single_use or controls".to_owned()));
        }
        let controls = self.controls.map(|controls| controls.card_changes(card)).transpose()?;
        let used = self.single_use.map(|single_use| Change::SetCardUse { card: card.clone(), single_use });
        let status = self.status.map(card_status).map(|status| Change::ChangeCard { card: card.clone(), status });
        Ok(controls.into_iter().flatten().chain(used).chain(status).collect())
    }
}

fn card_status_name(status: CardStatus) -> &'static str {
    match status {
        CardStatus::Active => "active",
        CardStatus::Frozen => "frozen",
        CardStatus::Deleted => "deleted",
    }
}

pub(super) fn funding_name(funding: FundingPolicy) -> &'static str {
    match funding {
        FundingPolicy::Crypto => "crypto",
        FundingPolicy::Fiat => "fiat",
        FundingPolicy::CryptoThenFiat => "crypto_then_fiat",
        FundingPolicy::FiatThenCrypto => "fiat_then_crypto",
    }
}

#[must_use]
pub fn card_view(card: &tapgate_engine::rows::Card) -> Value {
    json!({
        "cardId": card.id.as_str(),
        "status": card_status_name(card.shown_status()),
        "currency": card.currency.as_str(),
        "single_use": card.card_use != CardUse::Any,
        "controls": controls::view(card.controls.as_deref()),
    })
}

#[must_use]
pub fn view(id: &UrId, user: &User, person: &Person, now: UnixSeconds) -> Value {
    let fiat = user.fiat().iter().map(|balance| {
        json!({
            "currency": balance.currency.as_str(),
            "amount": balance.amount.to_string(),
            "held": balance.held.to_string(),
            "available": balance.available().to_string(),
            "allowance": balance.allowance,
        })
    });
    let holds = user.holds().iter().map(|hold| {
        json!({
            "authorizationId": hold.id.as_str(),
            "rootId": hold.root.as_str(),
            "source": hold.source.name(),
            "held": money(hold.paid),
            "funds": hold.funds.to_string(),
        })
    });
    json!({
        "urId": id.as_str(),
        "externalId": person.external_id.as_ref().map(ExternalId::as_str),
        "label": person.label.as_ref().map(Label::as_str),
        "provider": user.provider.name(),
        "status": user.status.name(),
        "suspended": user.suspended,
        "limit": {
            "usedLimit": user.limit.used.to_string(),
            "clientLimit": user.limit.client.to_string(),
            "startLimitDate": user.limit.start.0,
            "unreflected": user.spends().unreflected(now).to_string(),
            "headroom": user.headroom(id, now).to_string(),
        },
        "funds": user.funds.map(|funds| json!({
            "amount": funds.amount.to_string(),
            "held": funds.held.to_string(),
            "available": funds.available().to_string(),
            "currency": funds.currency.as_str(),
            "version": funds.version,
        })),
        "fiat": fiat.collect::<Vec<_>>(),
        "funding": user.funding.map(funding_name),
        "cards": user.cards.iter().map(card_view).collect::<Vec<_>>(),
        "controls": controls::view(user.controls()),
        "holds": holds.collect::<Vec<_>>(),
    })
}
