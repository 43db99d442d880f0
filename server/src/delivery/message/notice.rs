//! What people are told: one form for Slack, PagerDuty and e-mail.

use tapgate_engine::fact::Severity;
use tapgate_engine::time::UnixMillis;

/// Something that a person should know or do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The same for the same message whenever it is sent.
    pub id: String,
    /// The same for all messages on one matter, from its raising to its end.
    pub key: String,
    /// What happened to the matter.
    pub kind: NoticeKind,
    /// How bad it is.
    pub severity: Severity,
    /// In one line.
    pub title: String,
    /// In a sentence or two: what it is and what to do.
    pub text: String,
    /// Names and figures, in the order in which they are shown.
    pub facts: Vec<(String, String)>,
    /// When.
    pub at: UnixMillis,
    /// Where more is to be seen.
    pub link: Option<String>,
}

/// What happened to the matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeKind {
    /// It began.
    Raised,
    /// It goes on, or got worse.
    Renotified,
    /// A person has taken it.
    Acknowledged,
    /// It is over.
    Resolved,
}

impl NoticeKind {
    /// As people read it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            NoticeKind::Raised => "raised",
            NoticeKind::Renotified => "still open",
            NoticeKind::Acknowledged => "acknowledged",
            NoticeKind::Resolved => "resolved",
        }
    }

    /// As a kind of message, in the manner of events' types.
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
    /// Title with severity and what happened: `[critical, raised] Pool EUR is below its floor`.
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
