//! Notices to people: one form for Slack, PagerDuty and e-mail.

use tapgate_engine::fact::Severity;
use tapgate_engine::time::UnixMillis;

/// A message on an alert, for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The same on every attempt.
    pub id: String,
    /// The same for all notices on one alert, from its raising to its end.
    pub key: String,
    /// The alert's change.
    pub kind: NoticeKind,
    pub severity: Severity,
    /// One line.
    pub title: String,
    /// One or two sentences: the problem and the remedy.
    pub text: String,
    /// Names and figures, in display order.
    pub facts: Vec<(String, String)>,
    pub at: UnixMillis,
    /// Link to the details.
    pub link: Option<String>,
}

/// An alert's change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeKind {
    /// The alert was raised.
    Raised,
    /// The alert persists, or its severity rose.
    Renotified,
    /// A person acknowledged it.
    Acknowledged,
    /// The alert was resolved.
    Resolved,
}

impl NoticeKind {
    /// The word in texts for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            NoticeKind::Raised => "raised",
            NoticeKind::Renotified => "still open",
            NoticeKind::Acknowledged => "acknowledged",
            NoticeKind::Resolved => "resolved",
        }
    }

    /// The kind of the message, named like an event's type.
    #[must_use]
    pub fn message_kind(self) -> &'static str {
        match self {
            NoticeKind::Raised => "alert.raised",
            NoticeKind::Renotified => "alert.renotified",
            NoticeKind::Acknowledged => "alert.acknowledged",
            NoticeKind::Resolved => "alert.resolved",
        }
    }
}

impl Notice {
    /// Title with severity and change: `[critical, raised] Pool EUR is below its floor`.
    #[must_use]
    pub fn headline(&self) -> String {
        format!("[{}, {}] {}", self.severity.name(), self.kind.name(), self.title)
    }
}

#[cfg(test)]
pub(in crate::delivery) fn example(kind: NoticeKind) -> Notice {
    Notice {
        id: "120-0".to_owned(),
        key: "pool.alert:EUR".to_owned(),
        kind,
        severity: Severity::Urgent,
        title: "Pool EUR <runs> low".to_owned(),
        text: "Top up 20,000.00 EUR & be quick.".to_owned(),
        facts: vec![
            ("available".to_owned(), "1,204.50 EUR".to_owned()),
            ("reorder point".to_owned(), "9,800.00 EUR".to_owned()),
        ],
        at: UnixMillis(1_768_659_501_250),
        link: Some("https://tapgate.example.org/pools/EUR".to_owned()),
    }
}
