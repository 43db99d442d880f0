//! Notices by e-mail.

use std::fmt::Write;
use std::net::SocketAddr;
use std::time::{Duration, UNIX_EPOCH};

use lettre::message::{Mailbox, header::ContentType};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use tapgate_engine::time::UnixSeconds;

use super::guard::Guard;
use super::secret::Secret;
use crate::delivery::{Notice, Outcome, Receiver};
use crate::error_chain::error_chain;
use crate::wire::rfc3339;

/// Longest attempt: a mail server may check twice before it accepts a mail.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(60);
/// Server addresses tried in one attempt.
const ADDRESSES_MAX: usize = 3;

/// A mail server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailServer {
    /// The host name, which the certificate must bear.
    pub host: String,
    /// 587 for submission with STARTTLS, 465 with TLS from the start.
    pub port: u16,
    pub tls: MailTls,
    /// The login; `None` sends without one.
    pub login: Option<Login>,
}

/// A login at the mail server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    pub user: String,
    pub password: Secret,
}

/// Encryption of the connection. Certificates are verified; nothing falls back to plain text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailTls {
    /// STARTTLS; without it nothing is sent.
    Starttls,
    /// TLS from the start.
    Tls,
    /// Plain text, for a relay on the same machine.
    None,
}

/// E-mail to a few people.
#[derive(Clone, Debug)]
pub struct Mail {
    guard: Guard,
    server: MailServer,
    from: Mailbox,
    to: Vec<Mailbox>,
}

impl Mail {
    /// E-mail through a server, from one address to several.
    #[must_use]
    pub fn new(guard: Guard, server: MailServer, from: Mailbox, to: Vec<Mailbox>) -> Mail {
        Mail { guard, server, from, to }
    }

    /// The mail of a notice. Its id, date and content derive from the notice, so mail programs recognise a repetition.
    fn message(&self, notice: &Notice) -> Result<Message, lettre::error::Error> {
        let domain = self.from.email.domain();
        let id = |local: &str| format!("<{}@{domain}>", one_line(local).replace([' ', '<', '>', '@'], "-"));
        let mut message = Message::builder()
            .from(self.from.clone())
            .subject(one_line(&notice.headline()))
            .date(UNIX_EPOCH + Duration::from_millis(notice.at.0))
            .message_id(Some(id(&notice.id)))
            // Mail programs group one alert's mails into one conversation.
            .references(id(&notice.key))
            .header(ContentType::TEXT_PLAIN);
        for to in &self.to {
            message = message.to(to.clone());
        }
        message.body(text(notice))
    }

    /// The guard has checked the addresses; the certificate must bear the name all the same.
    fn transport(&self, address: SocketAddr) -> Result<AsyncSmtpTransport<Tokio1Executor>, String> {
        let parameters = || TlsParameters::new(self.server.host.clone()).map_err(|error| error_chain(&error));
        let tls = match self.server.tls {
            MailTls::Starttls => Tls::Required(parameters()?),
            MailTls::Tls => Tls::Wrapper(parameters()?),
            MailTls::None => Tls::None,
        };
        let transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(address.ip().to_string())
            .port(address.port())
            .tls(tls)
            .hello_name(ClientId::Domain(self.from.email.domain().to_owned()));
        let transport = match &self.server.login {
            Some(Login { user, password }) => {
                transport.credentials(Credentials::new(user.clone(), password.reveal().to_owned()))
            }
            None => transport,
        };
        Ok(transport.build())
    }

    /// Tries the server's addresses until one answers.
    async fn deliver(&self, message: Message) -> Result<(), String> {
        let MailServer { host, port, .. } = &self.server;
        let addresses = self.guard.resolve(host, *port).await.map_err(|error| error.to_string())?;
        let mut failed = String::new();
        for address in addresses.into_iter().take(ADDRESSES_MAX) {
            match self.transport(address)?.send(message.clone()).await {
                Ok(_) => return Ok(()),
                Err(error) => {
                    failed = format!("{host}: {}", error_chain(&error));
                    if error.is_response() || error.status().is_some() {
                        break;
                    }
                }
            }
        }
        Err(failed)
    }
}

impl Receiver for Mail {
    type Content = Notice;

    async fn send(&self, notice: &Notice, _: UnixSeconds) -> Outcome {
        let message = match self.message(notice) {
            Ok(message) => message,
            Err(error) => {
                return Outcome::Refused { reason: format!("the mail cannot be written: {}", error_chain(&error)) };
            }
        };
        match tokio::time::timeout(ATTEMPT_TIMEOUT, self.deliver(message)).await {
            Ok(Ok(())) => Outcome::Accepted,
            Ok(Err(reason)) => Outcome::failed(reason),
            Err(_) => Outcome::failed(format!("{}: no answer in time", self.server.host)),
        }
    }
}

/// The body of the mail.
fn text(notice: &Notice) -> String {
    let mut text = format!("{}\n", notice.text);
    if !notice.facts.is_empty() {
        text.push('\n');
    }
    for (name, value) in &notice.facts {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name}: {value}");
    }
    let _ = writeln!(text, "\n{} at {}", notice.kind.name(), rfc3339(notice.at));
    if let Some(link) = &notice.link {
        let _ = writeln!(text, "{link}");
    }
    text
}

/// Removes line ends, so that no value starts another header.
fn one_line(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::NoticeKind;
    use crate::delivery::message::notice::example;

    fn mail() -> Mail {
        let login = Some(Login { user: "tapgate".to_owned(), password: Secret::new("hunter22".to_owned()) });
        let server = MailServer { host: "mail.example.org".to_owned(), port: 587, tls: MailTls::Starttls, login };
        let to = vec!["Ops <ops@example.org>".parse().unwrap(), "treasury@example.org".parse().unwrap()];
        Mail::new(Guard { allow_private: false }, server, "tapgate <alerts@example.org>".parse().unwrap(), to)
    }

    #[test]
    fn a_mail_is_the_same_whenever_it_is_sent() {
        let formatted = |notice: &Notice| String::from_utf8(mail().message(notice).unwrap().formatted()).unwrap();
        let notice = example(NoticeKind::Raised);
        let expected = "From: tapgate <alerts@example.org>\r\n\
            Subject: [urgent, raised] Pool EUR <runs> low\r\n\
            Date: Sat, 17 Jan 2026 14:18:21 +0000\r\n\
            Message-ID: <120-0@example.org>\r\n\
            References: <pool.alert:EUR@example.org>\r\n\
            Content-Type: text/plain; charset=utf-8\r\n\
            To: Ops <ops@example.org>, treasury@example.org\r\n\
            Content-Transfer-Encoding: 7bit\r\n\
            \r\n\
            Top up 20,000.00 EUR & be quick.\r\n\
            \r\n\
            available: 1,204.50 EUR\r\n\
            reorder point: 9,800.00 EUR\r\n\
            \r\n\
            raised at 2026-01-17T14:18:21.250Z\r\n\
            https://tapgate.example.org/pools/EUR\r\n";
        assert_eq!(formatted(&notice), expected);
        assert_eq!(formatted(&notice), formatted(&notice));
    }

    #[test]
    fn a_title_cannot_begin_a_header() {
        let notice = Notice {
            id: "1\r\nBcc: a@example.org".to_owned(),
            title: "low\r\nBcc: mallory@example.org\r\n\r\nhello".to_owned(),
            ..example(NoticeKind::Raised)
        };
        let mail = String::from_utf8(mail().message(&notice).unwrap().formatted()).unwrap();
        assert!(!mail.contains("\r\nBcc"), "{mail}");
        assert_eq!(mail.matches("\r\n\r\n").count(), 3, "the header's end, and two empty lines of the text: {mail}");
    }

    #[test]
    fn a_password_is_not_shown() {
        assert!(!format!("{:?}", mail()).contains("hunter22"));
    }
}
