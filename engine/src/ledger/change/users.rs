//! Changes to one user's row: imports, funds, controls, cards.

use std::sync::Arc;

use super::{ChangeError, in_range, in_signed_range, not_found};
use crate::fact::{Author, Controls, Fact, FundsReplaced, Import, ImportedCard};
use crate::ids::{AuthorizationId, UrId};
use crate::journal::Ticket;
use crate::ledger::commit::{fold, fold_into};
use crate::ledger::{Admin, Ledger};
use crate::money::{Minor, Money};
use crate::rows::User;
use crate::sync::Entry;
use crate::time::UnixMillis;

impl Ledger {
    /// Commits a change to one user's row.
    pub(in crate::ledger) fn user_change(
        &self,
        author: &Author,
        at: UnixMillis,
        user: &UrId,
        fact: impl FnOnce(&User) -> Result<Fact, ChangeError>,
    ) -> Result<Arc<Ticket>, ChangeError> {
        let shared = self.read_shared();
        let mut row = self.users.get_mut(user).ok_or_else(|| not_found("user", user))?;
        let fact = fact(&row)?;
        Ok(self.commit(shared, author, at, fact, |_, sequence, record| fold(&mut **row, sequence, record))?)
    }

    pub(in crate::ledger) fn import(
        &self,
        author: &Author,
        at: UnixMillis,
        import: Box<Import>,
    ) -> Result<Arc<Ticket>, ChangeError> {
        let shared = self.read_shared();
        let place = self.users.entry(import.user.clone());
        let before = match &place {
            Entry::Occupied(row) => Some(&**row.get()),
            Entry::Vacant(_) => None,
        };
        check_import(before, &import)?;
        let fact = Fact::UserImported(import);
        Ok(self.commit(shared, author, at, fact, |_, sequence, record| fold_into(place, sequence, record))?)
    }

    /// Whether an import would be refused now.
    ///
    /// # Errors
    /// The refusal.
    pub fn check_import(&self, import: &Import) -> Result<(), ChangeError> {
        self.check_owners(&self.lock_admin(), import)?;
        check_import(self.users.get(&import.user).as_ref().map(|row| &***row), import)
    }

    pub(in crate::ledger) fn check_owners(&self, admin: &Admin, import: &Import) -> Result<(), ChangeError> {
        let is_others = |card: &&ImportedCard| self.owner(admin, &card.id).is_some_and(|owner| *owner != import.user);
        match import.cards.iter().find(is_others) {
            None => Ok(()),
            Some(card) => Err(ChangeError::Conflict(format!("card {} is another user's", card.id))),
        }
    }
}

fn check_import(before: Option<&User>, import: &Import) -> Result<(), ChangeError> {
    validate_import(import)?;
    let Some(row) = before else { return Ok(()) };
    let kept = row.cards.iter().filter(|card| card.outlives(import));
    let kept = kept.filter(|card| import.cards.iter().all(|new| new.id != card.id)).count();
    if import.cards.len() + kept > LIST_MAX {
        return Err(ChangeError::Invalid(format!(
            "a user has at most {LIST_MAX} cards, and {kept} that are frozen or deleted stay"
        )));
    }
    if let Some(provider) = import.provider.filter(|new| *new != row.provider) {
        let (user, own) = (&import.user, row.provider.name());
        if !import.overrides {
            return Err(ChangeError::Conflict(format!(
                "user {user} is an account of {own}, not of {}: say \"override\": true to move it",
                provider.name()
            )));
        }
        if !row.holds().is_empty() || !row.asked().is_empty() {
            return Err(ChangeError::Conflict(format!(
                "{own} has authorizations of user {user} still to settle: the account moves once they are over"
            )));
        }
    }
    let held = row.funds.filter(|funds| !funds.held.is_zero());
    if let Some(held) = held
        && import.funds.is_none_or(|funds| funds.currency != held.currency)
    {
        return Err(ChangeError::Conflict(format!(
            "{} {} of the user's funds are held: the currency of the funds cannot change until they are debited or released",
            held.held, held.currency
        )));
    }
    Ok(())
}

pub(in crate::ledger) fn replaced_funds(
    row: &User,
    user: &UrId,
    funds: Money,
    version: u64,
    debited: &[AuthorizationId],
) -> Result<Fact, ChangeError> {
    if let Some(before) = row.funds.filter(|before| version <= before.version) {
        return Err(ChangeError::Conflict(format!("version {version} is not above the stored {}", before.version)));
    }
    let ended: Vec<_> = row.holds().iter().filter(|hold| debited.contains(&hold.id) && !hold.funds.is_zero()).collect();
    let ending = ended.iter().map(|hold| hold.funds).sum();
    if let Some(before) = row.funds.filter(|before| before.currency != funds.currency && before.held != ending) {
        return Err(ChangeError::Conflict(format!(
            "{} {} stay held: the currency of the funds cannot change",
            before.held - ending,
            before.currency
        )));
    }
    let ended = ended.into_iter().map(|hold| hold.sequence).collect();
    Ok(Fact::FundsReplaced(FundsReplaced { user: user.clone(), funds, version, ended }))
}

/// Maximum length of a user's lists: every decision walks them.
pub(in crate::ledger) const LIST_MAX: usize = 64;

fn validate_import(import: &Import) -> Result<(), ChangeError> {
    let invalid = |message: String| Err(ChangeError::Invalid(message));
    if import.cards.len() > LIST_MAX || import.fiat.len() > LIST_MAX {
        return invalid(format!("a user has at most {LIST_MAX} cards and {LIST_MAX} fiat balances"));
    }
    in_range("limit.usedLimit", Minor(import.limit.used.0))?;
    in_range("limit.clientLimit", Minor(import.limit.client.0))?;
    for (place, balance) in import.fiat.iter().enumerate() {
        in_signed_range("fiat.amount", balance.amount)?;
        if import.fiat.iter().take(place).any(|other| other.currency == balance.currency) {
            return invalid(format!("fiat holds {} twice", balance.currency));
        }
    }
    for (place, card) in import.cards.iter().enumerate() {
        if import.cards.iter().take(place).any(|other| other.id == card.id) {
            return invalid(format!("card {} is given twice", card.id));
        }
    }
    import.funds.map_or(Ok(()), |funds| in_signed_range("funds.amount", funds.amount))
}

pub(in crate::ledger) fn some_unless_empty(controls: Controls) -> Option<Box<Controls>> {
    (controls != Controls::default()).then(|| Box::new(controls))
}
