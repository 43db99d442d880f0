//! Notices on alerts, for chat, pager and e-mail.

use tapgate_engine::fact::{Fact, Record};
use tapgate_engine::ids::Sequence;
use tapgate_engine::rows::Alert;

use super::history::{History, Subject};
use super::{Telling, Told};
use crate::delivery::{Notice, NoticeKind, Place};

/// The notices of alerts.
#[derive(Clone, Copy, Debug)]
pub struct Notices;

impl Telling for Notices {
    type Content = Notice;

    fn subject(&self, sequence: Sequence, record: &Record) -> Option<Subject> {
        match &record.fact {
            // The operator who silences an alert needs no notice of it.
            Fact::AlertSilenced { .. } => None,
            fact => fact.touches(sequence).alert.map(Subject::Alert),
        }
    }

    fn tell(&self, history: &History) -> Vec<Told<Notice>> {
        let notice = history.alert().and_then(|alert| notice(history.newest(), &alert));
        let told = |content: Notice| Told {
            part: 0,
            lane: Some(content.key.as_str().into()),
            kind: content.kind.message_kind(),
            content,
        };
        notice.map(told).into_iter().collect()
    }
}

/// The notice of an alert's record; `alert` is the row after it.
fn notice((sequence, record): &(Sequence, Record), alert: &Alert) -> Option<Notice> {
    let by = record.author.name();
    let condition = &alert.condition;
    let words = condition.text.to_string();
    let (kind, text) = match &record.fact {
        Fact::AlertRaised(_) => (NoticeKind::Raised, words),
        // An acknowledged or silenced alert sends no notice when its severity falls.
        Fact::AlertChanged { .. } if alert.is_quiet(record.at) => return None,
        Fact::AlertChanged { .. } | Fact::AlertRenotified { .. } => (NoticeKind::Renotified, words),
        Fact::AlertAcknowledged { reason, .. } => {
            let why = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            (NoticeKind::Acknowledged, format!("{by} has taken it on{why}"))
        }
        Fact::AlertResolved { .. } => (NoticeKind::Resolved, "It is over; there is nothing left to do.".to_owned()),
        _ => return None,
    };
    let is_news = matches!(kind, NoticeKind::Raised | NoticeKind::Renotified);
    let facts = condition.facts.iter().filter(|_| is_news);
    Some(Notice {
        id: Place { record: *sequence, part: 0 }.message_id(),
        key: format!("alert-{}", alert.id),
        kind,
        severity: condition.severity,
        title: condition.title.to_string(),
        text,
        facts: facts.map(|(name, value)| (name.to_string(), value.to_string())).collect(),
        at: record.at,
        link: None,
    })
}
