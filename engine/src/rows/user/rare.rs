//! What most users lack, in a piece of its own; and a user's bytes on disk, in which it stands among the rest.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smallvec::SmallVec;

use super::cards::CardWord;
use super::{EndedHold, FiatBalance, Hold, Rest};
use crate::fact::{AccountWord, Controls};
use crate::ids::{AuthorizationId, CardId};
use crate::rows::{Completions, Spends};
use crate::time::UnixSeconds;

/// Fields that most users lack, those who spend, too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rare {
    pub(super) fiat: Vec<FiatBalance>,
    pub(super) controls: Option<Box<Controls>>,
    /// Holds that we ended, oldest first.
    pub(super) ended: Vec<EndedHold>,
    /// Authorizations with an open question, oldest first.
    pub(super) asked: Vec<AuthorizationId>,
    /// Settled debits of fiat balances that no report provably includes yet; boxed, because most users have none.
    pub(super) completions: Option<Box<Completions>>,
    /// Of the user's cards that UR reported.
    pub(super) card_words: Vec<CardWord>,
    /// Time of UR's last event about allowances.
    pub(super) allowances_at: UnixSeconds,
    /// The provider's last word about the account, and its time.
    pub(super) account_word: Option<(AccountWord, UnixSeconds)>,
    /// Times of the provider's last word about cards' limits.
    pub(super) limited_at: Vec<(CardId, UnixSeconds)>,
    /// Late approvals that leave their single-use card unused unless UR takes them, oldest first.
    pub(super) freed: Vec<(AuthorizationId, CardId)>,
}

impl Rare {
    pub(super) const NONE: &'static Rare = &Rare {
        fiat: Vec::new(),
        controls: None,
        ended: Vec::new(),
        asked: Vec::new(),
        completions: None,
        card_words: Vec::new(),
        allowances_at: UnixSeconds(0),
        account_word: None,
        limited_at: Vec::new(),
        freed: Vec::new(),
    };

    pub(super) fn shrink(&mut self) {
        let Rare { fiat, ended, asked, card_words, limited_at, freed, .. } = self;
        fiat.shrink_to_fit();
        ended.shrink_to_fit();
        asked.shrink_to_fit();
        card_words.shrink_to_fit();
        limited_at.shrink_to_fit();
        freed.shrink_to_fit();
    }

    /// Drops empty fields.
    pub(super) fn tidy(&mut self) {
        self.completions.take_if(|completions| **completions == Completions::default());
    }
}

/// The fields of [`Rest`] and [`Rare`] as they are on disk, in their order there.
#[derive(Serialize, Deserialize)]
struct OnDisk<'a> {
    fiat: Cow<'a, [FiatBalance]>,
    controls: Cow<'a, Option<Box<Controls>>>,
    spends: Cow<'a, Spends>,
    holds: Cow<'a, SmallVec<[Hold; 1]>>,
    ended: Cow<'a, [EndedHold]>,
    asked: Cow<'a, [AuthorizationId]>,
    completions: Cow<'a, Option<Box<Completions>>>,
    card_words: Cow<'a, [CardWord]>,
    allowances_at: UnixSeconds,
    account_word: Option<(AccountWord, UnixSeconds)>,
    limited_at: Cow<'a, [(CardId, UnixSeconds)]>,
    freed: Cow<'a, [(AuthorizationId, CardId)]>,
}

impl Serialize for Rest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Rest { spends, holds, rare } = self;
        let rare = rare.as_deref().unwrap_or(Rare::NONE);
        let on_disk = OnDisk {
            fiat: Cow::Borrowed(&rare.fiat),
            controls: Cow::Borrowed(&rare.controls),
            spends: Cow::Borrowed(spends),
            holds: Cow::Borrowed(holds),
            ended: Cow::Borrowed(&rare.ended),
            asked: Cow::Borrowed(&rare.asked),
            completions: Cow::Borrowed(&rare.completions),
            card_words: Cow::Borrowed(&rare.card_words),
            allowances_at: rare.allowances_at,
            account_word: rare.account_word,
            limited_at: Cow::Borrowed(&rare.limited_at),
            freed: Cow::Borrowed(&rare.freed),
        };
        on_disk.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Rest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Rest, D::Error> {
        let on_disk = OnDisk::deserialize(deserializer)?;
        let rare = Rare {
            fiat: on_disk.fiat.into_owned(),
            controls: on_disk.controls.into_owned(),
            ended: on_disk.ended.into_owned(),
            asked: on_disk.asked.into_owned(),
            completions: on_disk.completions.into_owned(),
            card_words: on_disk.card_words.into_owned(),
            allowances_at: on_disk.allowances_at,
            account_word: on_disk.account_word,
            limited_at: on_disk.limited_at.into_owned(),
            freed: on_disk.freed.into_owned(),
        };
        let rare = Some(rare).filter(|rare| rare != Rare::NONE).map(Box::new);
        Ok(Rest { spends: on_disk.spends.into_owned(), holds: on_disk.holds.into_owned(), rare })
    }
}
