//! The rows that a fact touches.

use compact_str::CompactString;
use smallvec::SmallVec;

use super::cursor::HEADS;
use super::{
    Author, BreakAnswer, Difference, Discrepancy, EndCause, Ended, Evidence, Fact, Kind, Linked, PoolCredited, Posting,
    Record, Request, Source, Verdict,
};
use crate::ids::{AlertId, AuthorizationId, BreakId, ClosureId, PrefundId, Sequence, UrId};
use crate::money::Currency;

/// The rows that a record touches: exactly these fold it. The program's row folds every record, for its time, and is not
/// named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touches<'a> {
    pub user: Option<&'a UrId>,
    pub root: Option<&'a AuthorizationId>,
    /// The root that a link takes movements from.
    pub other_root: Option<&'a AuthorizationId>,
    /// The id whose answer the fact gives or changes.
    pub answer: Option<&'a AuthorizationId>,
    /// The movement of money that the fact posts.
    pub posting: Option<&'a Posting>,
    /// The pools whose figures change. An approval of nothing changes none.
    pub pools: SmallVec<[Currency; 2]>,
    /// The breaks that are opened or resolved.
    pub breaks: SmallVec<[BreakId; 1]>,
    pub alert: Option<AlertId>,
    pub prefund: Option<PrefundId>,
    /// A credit also touches the prefund that awaits it: a person's credit does not name one.
    pub credit: Option<&'a PoolCredited>,
    /// The reader of the journal whose cursor moves.
    pub cursor: Option<&'a CompactString>,
    pub closure: Option<ClosureId>,
    /// The author's name and idempotency key.
    pub key: Option<(&'a CompactString, &'a CompactString)>,
}

/// What an entry of the index of ids is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A root authorization, and the answer to its own id.
    Authorization,
    /// The answer to an increment, a reversal or an advice.
    Answer,
}

/// An entry of the index of ids that a record replaces: the journal's last record about a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Indexed<'a> {
    pub subject: Subject,
    pub id: &'a AuthorizationId,
    /// The record that the entry named before; zero for a new entry.
    pub before: Sequence,
}

impl<'a> Touches<'a> {
    fn nothing() -> Touches<'a> {
        Touches::default()
    }

    fn user(user: &'a UrId) -> Touches<'a> {
        Touches { user: Some(user), ..Touches::nothing() }
    }

    fn pool(currency: Currency) -> Touches<'a> {
        Touches { pools: SmallVec::from_iter([currency]), ..Touches::nothing() }
    }

    fn alert(id: AlertId) -> Touches<'a> {
        Touches { alert: Some(id), ..Touches::nothing() }
    }

    fn prefund(id: PrefundId) -> Touches<'a> {
        Touches { prefund: Some(id), ..Touches::nothing() }
    }

    fn cursor(name: &'a CompactString) -> Touches<'a> {
        Touches { cursor: Some(name), ..Touches::nothing() }
    }
}

impl Record {
    /// The rows that the record at `sequence` touches: those of its fact, and its author's key.
    #[must_use]
    pub fn touches(&self, sequence: Sequence) -> Touches<'_> {
        let key = match &self.author {
            Author::Person { name, idempotency: Some(made) } => Some((name, &made.key)),
            Author::Person { .. } | Author::Ur | Author::Engine | Author::PartnerApi => None,
        };
        Touches { key, ..self.fact.touches(sequence) }
    }
}

impl Fact {
    /// The rows that the fact touches as the record at `sequence`.
    #[must_use]
    pub fn touches(&self, sequence: Sequence) -> Touches<'_> {
        match self {
            Fact::Decided(decided) => Touches {
                user: Some(&decided.request.user),
                root: Some(decided.request.root()),
                answer: Some(&decided.request.id),
                pools: pools(decided.verdict.pool(), decided.settled.as_deref()),
                breaks: decided.settled.iter().flat_map(|change| broken(sequence, change)).collect(),
                ..Touches::nothing()
            },
            Fact::Settled(settled) => {
                let linked = settled.evidence.linked();
                let other = linked.map(|linked| &linked.change);
                Touches {
                    user: settled.user.as_ref(),
                    root: Some(&settled.root),
                    other_root: linked.map(|linked| &linked.from),
                    answer: settled.evidence.answered(),
                    posting: settled.shown().map(|shown| &shown.posting),
                    pools: pools(None, std::iter::once(&settled.change).chain(other)),
                    breaks: self.breaks(sequence).map(|(id, _)| id).chain(self.explained()).collect(),
                    ..Touches::nothing()
                }
            }
            Fact::UserImported(import) => Touches::user(&import.user),
            Fact::FundsReplaced(replaced) => Touches::user(&replaced.user),
            Fact::UserReported(report) => Touches::user(&report.user),
            Fact::CardReported(report) => Touches::user(&report.user),
            Fact::AllowancesReported(report) => Touches::user(&report.user),
            Fact::AccountReported(report) => Touches::user(&report.user),
            Fact::CardLimited(limited) => Touches::user(&limited.user),
            Fact::UserSuspended { user, .. }
            | Fact::UserControlled { user, .. }
            | Fact::CardChanged { user, .. }
            | Fact::CardControlled { user, .. }
            | Fact::CardAdded { user, .. }
            | Fact::CardUseSet { user, .. }
            | Fact::UserAged { user, .. } => Touches::user(user),
            Fact::PoolReported(report) => Touches::pool(report.currency),
            Fact::PoolSynced(synced) => Touches::pool(synced.currency),
            Fact::PoolLimited(limited) => Touches::pool(limited.currency),
            Fact::PoolCredited(credit) => Touches { credit: Some(credit), ..Touches::pool(credit.currency) },
            Fact::RatesReplaced(_)
            | Fact::ProgramSuspended { .. }
            | Fact::Aged { .. }
            | Fact::PolicyApplied(_)
            | Fact::BalanceOmitted { .. }
            | Fact::ProviderSuspended(_)
            | Fact::PersonErased { .. }
            | Fact::RecordLost
            | Fact::RecordQuarantined(_)
            | Fact::Quarantined(_)
            | Fact::LossAccepted(_) => Touches::nothing(),
            Fact::ClockSet(set) => Touches { pools: set.pools.iter().copied().collect(), ..Touches::nothing() },
            Fact::BreakOpened(_) => {
                Touches { breaks: SmallVec::from_iter([BreakId { opened: sequence, number: 0 }]), ..Touches::nothing() }
            }
            Fact::BreakResolved { id, .. } => Touches { breaks: SmallVec::from_iter([*id]), ..Touches::nothing() },
            Fact::AlertRaised(_) => Touches::alert(AlertId(sequence)),
            Fact::AlertChanged { id, .. }
            | Fact::AlertRenotified { id }
            | Fact::AlertAcknowledged { id, .. }
            | Fact::AlertSilenced { id, .. }
            | Fact::AlertResolved { id } => Touches::alert(*id),
            Fact::PrefundProposed(_) => Touches::prefund(PrefundId(sequence)),
            Fact::PrefundSent(sent) => Touches::prefund(sent.proposal.unwrap_or(PrefundId(sequence))),
            Fact::PrefundOrdered(ordered) => Touches::prefund(ordered.id),
            Fact::PrefundApproved { id } | Fact::PrefundCancelled { id, .. } => Touches::prefund(*id),
            Fact::CursorMoved { name, .. } | Fact::MessageSkipped { name, .. } => Touches::cursor(name),
            Fact::HeadSigned(_) => Touches::cursor(&HEADS),
            Fact::ClosureAdded(_) => Touches { closure: Some(ClosureId(sequence)), ..Touches::nothing() },
            Fact::ClosureRemoved { id } => Touches { closure: Some(*id), ..Touches::nothing() },
        }
    }

    /// The user whose spends and holds the fact changes.
    pub(crate) fn spender(&self) -> Option<&UrId> {
        match self {
            Fact::Decided(decided) => Some(&decided.request.user),
            Fact::Settled(settled) => settled.user.as_ref(),
            _ => None,
        }
    }

    /// The callback that the fact answers.
    #[must_use]
    pub fn request(&self) -> Option<&Request> {
        match self {
            Fact::Decided(decided) => Some(&decided.request),
            Fact::Settled(settled) => match &settled.evidence {
                Evidence::Announced(announced) => Some(&announced.request),
                _ => None,
            },
            _ => None,
        }
    }

    /// What the index of ids names this record for, from now on.
    pub fn indexed(&self) -> impl Iterator<Item = Indexed<'_>> {
        let known = match self {
            Fact::RecordQuarantined(quarantined) => quarantined.said.as_ref().unwrap_or(self),
            known => known,
        };
        known.entries().into_iter().flatten()
    }

    fn entries(&self) -> [Option<Indexed<'_>>; 3] {
        use Subject::{Answer, Authorization};
        let entry = |subject, id, before| Some(Indexed { subject, id, before });
        match self {
            Fact::Decided(decided) => {
                let (id, root) = (&decided.request.id, decided.request.root());
                if decided.request.kind == Kind::Authorization {
                    [entry(Authorization, root, decided.previous), None, None]
                } else {
                    // A parent that is not known stays so.
                    let parent = entry(Authorization, root, decided.previous);
                    [parent.filter(|parent| parent.before > Sequence::ZERO), entry(Answer, id, Sequence::ZERO), None]
                }
            }
            Fact::Settled(settled) => {
                let own = entry(Authorization, &settled.root, settled.previous);
                let is_begun = settled.evidence.begins() || settled.previous > Sequence::ZERO;
                let from = settled.evidence.linked();
                let from = from.and_then(|linked| entry(Authorization, &linked.from, linked.previous));
                let answer = match &settled.evidence {
                    Evidence::Announced(announced) => entry(Answer, &announced.request.id, Sequence::ZERO),
                    Evidence::Ended(Ended { cause: EndCause::Late { id, decided, of_increment: true }, .. }) => {
                        entry(Answer, id, *decided)
                    }
                    _ => None,
                };
                [own.filter(|_| is_begun), from, answer]
            }
            _ => [None, None, None],
        }
    }

    /// The record before this one on an authorization; zero for its first, `None` if the fact is about another one.
    #[must_use]
    pub fn previous(&self, root: &AuthorizationId) -> Option<Sequence> {
        match self {
            Fact::Decided(decided) if decided.request.root() == root => Some(decided.previous),
            Fact::Settled(settled) if settled.root == *root => Some(settled.previous),
            Fact::Settled(settled) => {
                settled.evidence.linked().filter(|linked| linked.from == *root).map(|linked| linked.previous)
            }
            _ => None,
        }
    }

    /// The differences that the fact makes to authorizations: two for a link.
    pub fn differences(&self) -> impl Iterator<Item = &Difference> {
        let (own, other) = match self {
            Fact::Settled(settled) => (Some(&settled.change), settled.evidence.linked().map(|linked| &linked.change)),
            Fact::Decided(decided) => (decided.settled.as_deref(), None),
            _ => (None, None),
        };
        own.into_iter().chain(other)
    }

    /// The breaks that the fact's evidence ends: those that are no longer true, and one that a person answers.
    pub fn explained(&self) -> impl Iterator<Item = BreakId> {
        let over = || self.differences().flat_map(|change| change.resolved.iter().copied());
        let answered = match self {
            Fact::Settled(settled) => settled.evidence.answer().map(|answer| answer.id),
            _ => None,
        };
        over().chain(answered.filter(move |id| over().all(|over| over != *id)))
    }

    /// The breaks that the fact opens as the record at `sequence`.
    pub fn breaks(&self, sequence: Sequence) -> impl Iterator<Item = (BreakId, &Discrepancy)> {
        let mut of_other: &[Discrepancy] = &[];
        let breaks = match self {
            Fact::Settled(settled) => {
                of_other = settled.evidence.linked().map_or(&[], |linked| &linked.change.opened);
                settled.change.opened.as_slice()
            }
            Fact::Decided(decided) => decided.settled.as_ref().map_or([].as_slice(), |change| change.opened.as_slice()),
            Fact::BreakOpened(discrepancy) => std::slice::from_ref(&**discrepancy),
            _ => &[],
        };
        opened(sequence, breaks.iter().chain(of_other))
    }
}

/// Numbers breaks within the record that opens them: of a link, those of the root that takes the movements first.
fn opened<'a>(
    sequence: Sequence,
    breaks: impl IntoIterator<Item = &'a Discrepancy>,
) -> impl Iterator<Item = (BreakId, &'a Discrepancy)> {
    (0..).zip(breaks).map(move |(number, found)| (BreakId { opened: sequence, number }, found))
}

impl Verdict {
    /// The pool that an approval takes a nonzero amount from.
    fn pool(&self) -> Option<Currency> {
        match self {
            Verdict::Approved(approval) if approval.source == Source::Crypto && !approval.paid.amount.is_zero() => {
                Some(approval.paid.currency)
            }
            Verdict::Approved(_) | Verdict::Declined(_) => None,
        }
    }
}

/// The pools that an approval and its evidence change.
fn pools<'a>(approved: Option<Currency>, changes: impl IntoIterator<Item = &'a Difference>) -> SmallVec<[Currency; 2]> {
    let mut pools: SmallVec<[Currency; 2]> = approved.into_iter().collect();
    for pool in changes.into_iter().flat_map(|change| &change.pools) {
        if !pools.contains(&pool.currency) {
            pools.push(pool.currency);
        }
    }
    pools
}

/// The breaks that a record's change opens and resolves.
fn broken(sequence: Sequence, change: &Difference) -> impl Iterator<Item = BreakId> {
    opened(sequence, &change.opened).map(|(id, _)| id).chain(change.resolved.iter().copied())
}

impl Evidence {
    /// The id whose answer the evidence gives or changes.
    fn answered(&self) -> Option<&AuthorizationId> {
        match self {
            Evidence::Announced(announced) => Some(&announced.request.id),
            Evidence::Ended(Ended { cause: EndCause::Late { id, .. }, .. }) => Some(id),
            Evidence::Ended(_)
            | Evidence::Shown(_)
            | Evidence::Overdue(_)
            | Evidence::Closed { .. }
            | Evidence::Linked(_) => None,
        }
    }

    /// Whether it may be the first of an authorization.
    fn begins(&self) -> bool {
        match self {
            Evidence::Announced(_) | Evidence::Shown(_) => true,
            Evidence::Ended(_) | Evidence::Overdue(_) | Evidence::Closed { .. } | Evidence::Linked(_) => false,
        }
    }

    /// A person's answer to a break.
    #[must_use]
    pub fn answer(&self) -> Option<&BreakAnswer> {
        match self {
            Evidence::Closed { answer, .. } => answer.as_ref(),
            _ => None,
        }
    }

    /// Movements from another root.
    #[must_use]
    pub fn linked(&self) -> Option<&Linked> {
        match self {
            Evidence::Linked(linked) => Some(linked),
            _ => None,
        }
    }
}
