//! What people change while the sandbox runs: the books follow it from the journal, in its order. The partner's own
//! changes are people's, too.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use tapgate_engine::country::Country;
use tapgate_engine::fact::{
    Author, BreakKind, CardStatus, Channel, Controls, Discrepancy, Fact, FundingPolicy, FundsReplaced, Import,
    LayerChange, Provider, Record, Settled, UserReported, debit_id,
};
use tapgate_engine::ids::{AuthorizationId, BreakId, Sequence};
use tapgate_engine::money::{ChfMinor, Currency, Minor};

use super::play::Stage;
use super::ur::account::{Block, Funding};
use super::ur::contract::Limit;
use super::ur::people::{self as books, Change, PoolSet, ProgramChange, UserChange};

/// The journal as far as the books follow it.
#[derive(Debug, Default)]
pub(super) struct Followed {
    through: Sequence,
    /// Breaks that people resolved.
    pub(super) resolved: BTreeSet<BreakId>,
}

impl Stage {
    /// Passes over the records of the set-up: the books begin with them.
    ///
    /// # Errors
    /// The journal could not be read.
    pub(super) fn pass_set_up(&self) -> Result<(), String> {
        let mut followed = self.followed();
        for (sequence, record) in self.records_after(followed.through)? {
            self.note_told(&record.fact);
            followed.through = sequence;
        }
        Ok(())
    }

    /// Follows the journal to its durable end.
    ///
    /// # Errors
    /// The journal could not be read.
    pub(super) fn follow(&self) -> Result<(), String> {
        let mut followed = self.followed();
        if self.app.ledger.journal().durable() <= followed.through {
            return Ok(());
        }
        for (sequence, record) in self.records_after(followed.through)? {
            self.note_told(&record.fact);
            // UR's word about a card is what a person signed in UR's name: the simulated UR sends none. The second provider
            // gives its word by itself.
            let is_word = matches!(
                record.fact,
                Fact::CardReported(_) | Fact::AccountReported(_) | Fact::CardLimited(_) | Fact::ProviderSuspended(_)
            );
            if matches!(record.author, Author::Person { .. }) || is_word {
                if let Fact::BreakResolved { id, .. } = record.fact {
                    followed.resolved.insert(id);
                }
                if let Some(change) = self.change(&record.fact)? {
                    let now = self.now();
                    self.books().follow(change, now);
                }
            }
            followed.through = sequence;
        }
        Ok(())
    }

    /// Follows everything that tapgate answered or asks on: a report of UR's must not be older than its request.
    pub(super) async fn catch_up(self: Arc<Self>) {
        let journal = self.app.ledger.journal();
        if let Some(ticket) = journal.await_durable(journal.claimed()) {
            ticket.wait().await;
        }
        if let Err(error) = self.follow() {
            self.figures.disagree(error);
        }
    }

    /// The breaks that people resolved.
    ///
    /// # Errors
    /// The rows could not be read.
    pub(super) fn resolved(&self) -> Result<BTreeSet<(BreakKind, String)>, String> {
        let mut resolved = BTreeSet::new();
        for id in &self.followed().resolved {
            let found = self.app.ledger.break_by_id(*id).map_err(|error| error.to_string())?;
            resolved.extend(found.map(|found| (found.discrepancy.kind, found.discrepancy.subject.to_string())));
        }
        Ok(resolved)
    }

    /// Whether the books know what a break is about: a person may have said otherwise.
    ///
    /// # Errors
    /// The rows could not be read.
    pub(super) fn is_compared(&self, found: &Discrepancy) -> Result<bool, String> {
        let (is_reported, counts_less) = {
            let books = self.books();
            (books.people.reported.contains(found.subject.as_str()), books.limit_weight == 0)
        };
        let is_explained = match found.kind {
            BreakKind::PoolDrift => is_reported,
            // UR shows less than what settled.
            BreakKind::LimitDrift => counts_less,
            _ => false,
        };
        Ok(!is_explained && self.is_of_compared(&found.subject)?)
    }

    /// Whether the subject of a break, an authorization or a hash or a user, is of a user who is compared.
    ///
    /// # Errors
    /// The rows could not be read.
    pub(super) fn is_of_compared(&self, subject: &str) -> Result<bool, String> {
        let root = subject.parse().ok().map(|id| self.app.ledger.find(&id)).transpose();
        let root = root.map_err(|error| error.to_string())?.flatten().and_then(|found| found.authorization);
        let books = self.books();
        let by_hash = || books.statement.user_of(subject).map(str::to_owned);
        let owner = root.map(|row| row.user.to_string()).or_else(by_hash).unwrap_or_else(|| subject.to_owned());
        Ok(books.people.is_compared(&owner))
    }

    fn records_after(&self, after: Sequence) -> Result<Vec<(Sequence, Record)>, String> {
        let mut records = Vec::new();
        let read = self.app.ledger.records(after, &mut |sequence, record| {
            records.push((sequence, record));
            ControlFlow::Continue(())
        });
        read.map_err(|error| error.to_string())?;
        Ok(records)
    }

    fn note_told(&self, fact: &Fact) {
        let Fact::UserReported(report) = fact else { return };
        let UserReported { user, account, balances, .. } = &**report;
        let limit = account.as_ref().map(|account| Limit {
            used: francs(account.limit.used),
            client: francs(account.limit.client),
            start: account.limit.start.0.unsigned_abs(),
        });
        let balances = balances.iter().flatten().map(|money| (code(money.currency), money.amount.0));
        self.books().note_told(user.as_str(), limit, &balances.collect::<Vec<_>>());
    }

    /// What a record changes in the books; `None`: nothing.
    fn change(&self, fact: &Fact) -> Result<Option<Change>, String> {
        Ok(match fact {
            Fact::UserImported(import) => Some(of_user(&import.user, self.imported(import))),
            Fact::FundsReplaced(replaced) => Some(of_user(&replaced.user, self.funds(replaced)?)),
            Fact::UserSuspended { user, suspended } => Some(of_user(user, UserChange::Suspended(*suspended))),
            Fact::UserControlled { user, controls } => {
                Some(of_user(user, UserChange::Controlled { card: None, blocks: blocks(controls.as_deref()) }))
            }
            Fact::CardChanged { user, card, status } => {
                let (card, status) = (card.to_string(), card_status(*status));
                let set = UserChange::CardSet { card, status, is_persons: true };
                Some(of_user(user, set))
            }
            Fact::CardReported(report) => {
                let row = self.app.ledger.user(&report.user);
                let status =
                    row.and_then(|row| row.card(&report.card).map(|card| card.status)).unwrap_or(report.status);
                let (card, status) = (report.card.to_string(), card_status(status));
                let set = UserChange::CardSet { card, status, is_persons: false };
                Some(of_user(&report.user, set))
            }
            Fact::CardControlled { user, card, controls } => {
                let blocks = blocks(controls.as_deref());
                Some(of_user(user, UserChange::Controlled { card: Some(card.to_string()), blocks }))
            }
            Fact::CardUseSet { user, card, single_use } => {
                let set = UserChange::CardUseSet { card: card.to_string(), single_use: *single_use };
                Some(of_user(user, set))
            }
            Fact::CardAdded { user, card } => {
                let (id, status) = (card.id.to_string(), card_status(card.status));
                Some(of_user(user, UserChange::CardAdded { card: id, status, code: code(card.currency) }))
            }
            Fact::PoolReported(report) => Some(Change::OfProgram(ProgramChange::Pool(PoolSet {
                code: code(report.currency),
                is_reported: true,
                floor: minor(report.floor),
                reserve: minor(report.reserve),
                available_change: report.available_change.0,
            }))),
            Fact::PoolLimited(limited) => Some(Change::OfProgram(ProgramChange::Pool(PoolSet {
                code: code(limited.currency),
                is_reported: false,
                floor: minor(limited.floor),
                reserve: minor(limited.reserve),
                available_change: limited.available_change.0,
            }))),
            Fact::PoolCredited(credit) => Some(Change::OfProgram(ProgramChange::Credited {
                code: code(credit.currency),
                amount: minor(credit.amount),
            })),
            Fact::RatesReplaced(_) => Some(Change::OfProgram(ProgramChange::Rates)),
            Fact::ProviderSuspended(word) if word.provider == Provider::PartnerApi => {
                Some(Change::OfProgram(ProgramChange::ProviderSuspended(word.suspended)))
            }
            // The sandbox plays one provider: of the other it has no cards.
            Fact::ProviderSuspended(_) => None,
            Fact::AccountReported(report) => Some(of_user(&report.user, UserChange::StatusSet(report.status.name()))),
            Fact::CardLimited(limited) => {
                let blocks = blocks(limited.controls.as_deref());
                Some(of_user(&limited.user, UserChange::Controlled { card: Some(limited.card.to_string()), blocks }))
            }
            Fact::ProgramSuspended { suspended, .. } => Some(Change::OfProgram(ProgramChange::Suspended(*suspended))),
            Fact::Settled(settled) => self.settled(fact, settled)?,
            // No word of theirs changes UR or its users.
            Fact::BreakResolved { .. }
            | Fact::AlertAcknowledged { .. }
            | Fact::AlertSilenced { .. }
            | Fact::PrefundProposed(_)
            | Fact::PrefundApproved { .. }
            | Fact::PrefundSent(_)
            | Fact::PrefundCancelled { .. }
            | Fact::ClosureAdded(_)
            | Fact::ClosureRemoved { .. }
            | Fact::CursorMoved { .. }
            | Fact::MessageSkipped { .. }
            | Fact::PersonErased { .. }
            | Fact::RecordLost
            | Fact::RecordQuarantined(_)
            | Fact::Quarantined(_)
            | Fact::LossAccepted(_)
            | Fact::HeadSigned(_)
            | Fact::ClockSet(_) => None,
            // Never a person's.
            Fact::Decided(_)
            | Fact::UserReported(_)
            | Fact::PoolSynced(_)
            | Fact::BreakOpened(_)
            | Fact::AlertRaised(_)
            | Fact::AlertChanged { .. }
            | Fact::AlertRenotified { .. }
            | Fact::AlertResolved { .. }
            | Fact::PrefundOrdered(_)
            | Fact::Aged { .. }
            | Fact::UserAged { .. }
            | Fact::PolicyApplied(_)
            | Fact::BalanceOmitted { .. }
            | Fact::AllowancesReported(_) => None,
        })
    }

    fn imported(&self, import: &Import) -> UserChange {
        let usual = || self.app.ledger.program().policy.map_or(FundingPolicy::Crypto, |policy| policy.funding);
        // What the second provider suspended stays so.
        let row = self.app.ledger.user(&import.user).filter(|row| row.provider == Provider::PartnerApi);
        UserChange::Imported(Box::new(books::Import {
            status: row.map_or(import.status, |row| row.status).name(),
            limit: Limit {
                used: francs(import.limit.used),
                client: francs(import.limit.client),
                start: import.limit.start.0.unsigned_abs(),
            },
            funds: import.funds.map(|funds| (funds.amount.0, code(funds.currency))),
            fiat: import.fiat.iter().map(|new| (code(new.currency), new.amount.0, new.allowance)).collect(),
            funding: match import.funding.unwrap_or_else(usual) {
                FundingPolicy::Crypto => Funding::Crypto,
                FundingPolicy::Fiat => Funding::Fiat,
                FundingPolicy::CryptoThenFiat => Funding::CryptoThenFiat,
                FundingPolicy::FiatThenCrypto => Funding::FiatThenCrypto,
            },
            cards: import
                .cards
                .iter()
                .map(|card| (card.id.to_string(), card_status(card.status), code(card.currency), card.single_use))
                .collect(),
            overrides: import.overrides,
        }))
    }

    fn funds(&self, replaced: &FundsReplaced) -> Result<UserChange, String> {
        let mut ended = Vec::new();
        for sequence in &replaced.ended {
            let record = self.app.ledger.record(*sequence).map_err(|error| error.to_string())?;
            ended.extend(record.iter().flat_map(|record| debits(&record.fact)));
        }
        Ok(UserChange::Funds {
            amount: replaced.funds.amount.0,
            code: code(replaced.funds.currency),
            version: replaced.version,
            ended,
        })
    }

    fn settled(&self, fact: &Fact, settled: &Settled) -> Result<Option<Change>, String> {
        let found = self.app.ledger.find(&settled.root).map_err(|error| error.to_string())?;
        let Some(row) = found.and_then(|found| found.authorization) else { return Ok(None) };
        let pools = fact.differences().flat_map(|change| &change.pools);
        let pools = pools.map(|pool| (code(pool.currency), pool.available.0.unsigned_abs())).collect();
        Ok(Some(of_user(&row.user, UserChange::Settled { pools })))
    }
}

fn of_user(user: &tapgate_engine::ids::UrId, change: UserChange) -> Change {
    Change::OfUser(user.as_str().to_owned(), change)
}

fn code(currency: Currency) -> String {
    currency.as_str().to_owned()
}

/// A figure that is never negative.
fn minor(amount: Minor) -> u64 {
    amount.0.unsigned_abs()
}

fn francs(amount: ChfMinor) -> u64 {
    amount.0.unsigned_abs()
}

fn card_status(status: CardStatus) -> &'static str {
    match status {
        CardStatus::Active => "active",
        CardStatus::Frozen => "frozen",
        CardStatus::Deleted => "deleted",
    }
}

/// The restrictions, if the books know them: they keep no velocity.
fn blocks(controls: Option<&Controls>) -> Option<Vec<Block>> {
    let Some(controls) = controls else { return Some(Vec::new()) };
    if !controls.velocity.is_empty() {
        return None;
    }
    let mcc = |mcc: &u16| format!("{mcc:04}");
    let country = |country: &Country| country.as_str().to_owned();
    let channel = |channel: &Channel| channel.name().to_owned();
    let only = |block: fn(Vec<String>) -> Block, list: Vec<String>| (!list.is_empty()).then(|| block(list));
    let allow = [
        only(Block::OnlyCountries, controls.country_allow.iter().map(country).collect()),
        only(Block::OnlyMccs, controls.mcc_allow.iter().map(mcc).collect()),
        only(Block::OnlyMerchants, controls.merchant_allow.iter().map(ToString::to_string).collect()),
        only(Block::OnlyChannels, controls.channel_allow.iter().map(channel).collect()),
    ];
    let countries = controls.country_block.iter().map(country).map(Block::Country);
    let mccs = controls.mcc_block.iter().map(mcc).map(Block::Mcc);
    let merchants = controls.merchant_block.iter().map(|merchant| Block::Merchant(merchant.to_string()));
    let channels = controls.channel_block.iter().map(channel).map(Block::Channel);
    let max = controls.transaction_amount_max.iter().map(|max| Block::Above(minor(max.amount), code(max.currency)));
    let blocks = countries.chain(mccs).chain(merchants).chain(channels).chain(max);
    Some(blocks.chain(allow.into_iter().flatten()).collect())
}

/// The ids of the debits that a record requested.
fn debits(fact: &Fact) -> Vec<String> {
    let own = |root: &AuthorizationId, layers: &[LayerChange]| {
        let new = layers.iter().filter(|layer| layer.sequence.is_none());
        new.map(|layer| debit_id(root, layer.number).to_string()).collect()
    };
    match fact {
        Fact::Decided(decided) => vec![decided.request.id.to_string()],
        Fact::Settled(settled) => own(&settled.root, &settled.change.layers),
        _ => Vec::new(),
    }
}
