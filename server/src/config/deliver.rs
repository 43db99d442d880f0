//! The sections `[[deliver.…]]`: the receivers of deliveries.

use std::path::Path;
use std::time::Duration;

use lettre::message::Mailbox;

use super::partner_api::RECEIVER;
use super::reader::{Fields, Reader, nearest};
use super::sections::ReadFile;
use super::setting::{Setting, shown_name};
use crate::delivery::EventKind;
use crate::delivery::channel::guard::{Endpoint, Guard};
use crate::delivery::channel::mail::{Login, MailServer, MailTls};
use crate::delivery::channel::secret::Secret;
use crate::delivery::channel::signing::WebhookSecret;
use crate::delivery::settings::{MailReceiver, PagerDutyReceiver, Settings, SlackReceiver, WebhookReceiver};

/// Most receivers of one kind: each reads the whole journal.
const RECEIVERS_MAX: usize = 16;

/// Most recipients of an e-mail.
const MAIL_TO_MAX: usize = 32;

/// Longest time before a receiver is parked, in hours: 30 days.
const PARK_AFTER_HOURS_MAX: u32 = 720;

/// PagerDuty's default host for events; other regions have their own.
const PAGERDUTY_URL: &str = "https://events.pagerduty.com";

/// The inputs for reading all receivers.
struct Receivers<'f> {
    guard: Guard,
    read_file: ReadFile<'f>,
    names: Vec<String>,
}

pub(super) fn deliver(reader: &mut Reader<'_>, read_file: ReadFile<'_>) -> Settings {
    let hours = 1..=PARK_AFTER_HOURS_MAX;
    let allow_private = reader.value("deliver.allow_private", Setting::boolean).unwrap_or(false);
    let park_after_hours = reader.value("deliver.park_after_hours", |setting| setting.integer(hours)).unwrap_or(72);
    let guard = Guard { allow_private };
    let mut all = Receivers { guard, read_file, names: vec![RECEIVER.to_owned()] };
    let webhooks = reader.list("deliver.webhook", RECEIVERS_MAX, |reader, item| all.webhook(reader, item));
    let slack = reader.list("deliver.slack", RECEIVERS_MAX, |reader, item| all.slack(reader, item));
    let pagerduty = reader.list("deliver.pagerduty", RECEIVERS_MAX, |reader, item| all.pagerduty(reader, item));
    let smtp = reader.find("deliver.smtp").and_then(|setting| all.smtp(reader, &setting));
    Settings {
        guard,
        park_after: Duration::from_secs(u64::from(park_after_hours) * 3_600),
        webhooks: webhooks.unwrap_or_default(),
        slack: slack.unwrap_or_default(),
        pagerduty: pagerduty.unwrap_or_default(),
        smtp,
        partner_api: None,
    }
}

impl Receivers<'_> {
    fn webhook<'a>(&mut self, reader: &mut Reader<'a>, item: &Setting<'a>) -> Option<WebhookReceiver> {
        let keys = ["name", "url", "secret", "secret_file", "previous_secret", "previous_secret_file", "events"];
        let fields = reader.table(item, &keys)?;
        let name = self.name(reader, item, &fields, "webhook");
        let url = self.url(reader, &fields, "url");
        let parse = |text: &str| text.parse::<WebhookSecret>().map_err(|error| error.to_string());
        let secret = self.secret(reader, &fields, ["secret", "secret_file"], parse);
        if !fields.has("secret") && !fields.has("secret_file") {
            reader.report(item, "signs nothing: give secret or secret_file".to_owned());
        }
        let previous = self.secret(reader, &fields, ["previous_secret", "previous_secret_file"], parse);
        if secret.is_some() && secret == previous {
            reader.report(item, "the previous secret is the present one".to_owned());
        }
        let events = if fields.has("events") { events(reader, &fields) } else { Some(EventKind::ALL.to_vec()) };
        let secrets = secret.into_iter().chain(previous).collect();
        Some(WebhookReceiver { name: name?, url: url?, secrets, events: events? })
    }

    fn slack<'a>(&mut self, reader: &mut Reader<'a>, item: &Setting<'a>) -> Option<SlackReceiver> {
        let fields = reader.table(item, &["name", "url", "url_file"])?;
        let name = self.name(reader, item, &fields, "slack");
        if !fields.has("url") && !fields.has("url_file") {
            reader.report(item, "goes nowhere: give url or url_file".to_owned());
        }
        let guard = self.guard;
        let url = self.secret(reader, &fields, ["url", "url_file"], |text| endpoint(text, guard));
        Some(SlackReceiver { name: name?, url: url? })
    }

    fn pagerduty<'a>(&mut self, reader: &mut Reader<'a>, item: &Setting<'a>) -> Option<PagerDutyReceiver> {
        let fields = reader.table(item, &["name", "url", "routing_key", "routing_key_file"])?;
        let name = self.name(reader, item, &fields, "pagerduty");
        let url = match fields.has("url") {
            true => self.url(reader, &fields, "url"),
            false => endpoint(PAGERDUTY_URL, self.guard).ok(),
        };
        if !fields.has("routing_key") && !fields.has("routing_key_file") {
            reader.report(item, "pages nobody: give routing_key or routing_key_file".to_owned());
        }
        let routing_key = self.secret(reader, &fields, ["routing_key", "routing_key_file"], routing_key);
        Some(PagerDutyReceiver { name: name?, url: url?, routing_key: routing_key? })
    }

    fn smtp<'a>(&mut self, reader: &mut Reader<'a>, setting: &Setting<'a>) -> Option<MailReceiver> {
        let keys = ["name", "host", "port", "from", "to", "tls", "user", "password", "password_file"];
        let fields = reader.table(setting, &keys)?;
        let name = self.name(reader, setting, &fields, "smtp");
        let host = reader.required_field(&fields, "host", |setting| setting.parsed(host));
        let words = [("starttls", MailTls::Starttls), ("tls", MailTls::Tls), ("none", MailTls::None)];
        let tls = reader.field(&fields, "tls", |setting| setting.word(&words)).unwrap_or(MailTls::Starttls);
        let usual_port = match tls {
            MailTls::Starttls => 587,
            MailTls::Tls => 465,
            MailTls::None => 25,
        };
        let port = reader.field(&fields, "port", |setting| setting.integer(1..=u16::MAX)).unwrap_or(usual_port);
        let from = reader.required_field(&fields, "from", |setting| setting.parsed(mailbox));
        let to = mail_to(reader, &fields);
        let user = reader.field(&fields, "user", |setting| setting.text().map(str::to_owned));
        let password = self.secret(reader, &fields, ["password", "password_file"], not_blank);
        let has_password = fields.has("password") || fields.has("password_file");
        if fields.has("user") != has_password {
            reader.report(setting, "give user with password or password_file, or none of them".to_owned());
        }
        if tls == MailTls::None && has_password && !self.guard.allow_private {
            let message = "would show the password to the network: use tls = \"starttls\" or \"tls\"".to_owned();
            reader.report(setting, message);
        }
        let login = user.zip(password).map(|(user, password)| Login { user, password });
        let server = MailServer { host: host?, port, tls, login };
        Some(MailReceiver { name: name?, server, from: from?, to: to? })
    }

    /// The receiver's name; by default its kind, so a second receiver of the kind needs a name.
    fn name<'a>(
        &mut self,
        reader: &mut Reader<'a>,
        item: &Setting<'a>,
        fields: &Fields<'a>,
        kind: &str,
    ) -> Option<String> {
        let name = match fields.has("name") {
            true => reader.field(fields, "name", |setting| setting.parsed(receiver_name))?,
            false => kind.to_owned(),
        };
        if self.names.contains(&name) {
            let what = "its position in the journal is kept under its name";
            reader.report(item, format!("the name \"{name}\" is another receiver's: give this one a name, {what}"));
        }
        self.names.push(name.clone());
        Some(name)
    }

    fn url<'a>(&self, reader: &mut Reader<'a>, fields: &Fields<'a>, key: &str) -> Option<Endpoint> {
        reader.required_field(fields, key, |setting| setting.text().and_then(|text| endpoint(text, self.guard)))
    }

    /// A secret, inline or from a file. No message repeats it.
    fn secret<'a, T>(
        &self,
        reader: &mut Reader<'a>,
        fields: &Fields<'a>,
        [key, file_key]: [&str; 2],
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        if fields.has(key) && fields.has(file_key) {
            reader.field::<T>(fields, file_key, |_| Err(format!("give either {key} or {file_key}, not both")));
            return None;
        }
        let given = reader.field(fields, key, |setting| setting.text().and_then(&parse));
        let read = |path: &str| {
            // An operator may paste the secret in place of the path, so no message repeats the value.
            let content = (self.read_file)(Path::new(path)).map_err(|error| format!("cannot be read: {error}"))?;
            parse(content.trim_end_matches(['\r', '\n'])).map_err(|error| format!("in that file: {error}"))
        };
        given.or_else(|| reader.field(fields, file_key, |setting| setting.text().and_then(read)))
    }
}

/// No message repeats the value: its path may hold a token.
fn endpoint(text: &str, guard: Guard) -> Result<Endpoint, String> {
    let endpoint: Endpoint =
        text.parse().map_err(|error: crate::delivery::channel::guard::EndpointError| error.to_string())?;
    guard.check(&endpoint).map_err(|error| error.to_string())?;
    Ok(endpoint)
}

/// `["*"]`, or names.
fn events<'a>(reader: &mut Reader<'a>, fields: &Fields<'a>) -> Option<Vec<EventKind>> {
    let mut items = 0_usize;
    let kinds = reader.field_list(fields, "events", EventKind::ALL.len(), |reader, item| {
        items += 1;
        let kinds = item.text().and_then(|name| match (name, EventKind::of(name)) {
            ("*", _) => Ok(EventKind::ALL.to_vec()),
            (_, Some(kind)) => Ok(vec![kind]),
            (_, None) => Err(unknown_event(name)),
        });
        reader.judge(item, kinds)
    })?;
    if items == 0 {
        reader.field::<()>(fields, "events", |_| {
            Err("must not be empty: list what is delivered, or [\"*\"] for everything".to_owned())
        });
    }
    let mut kinds = kinds.concat();
    kinds.sort_unstable();
    kinds.dedup();
    Some(kinds)
}

fn unknown_event(name: &str) -> String {
    let name = shown_name(name).escape_debug().to_string();
    match nearest(&name, EventKind::ALL.iter().map(|kind| kind.name())) {
        Some(meant) => format!("unknown event \"{name}\"; did you mean \"{meant}\"?"),
        None => {
            let names: Vec<_> = EventKind::ALL.iter().map(|kind| kind.name()).collect();
            format!("unknown event \"{name}\"; there are \"*\", {}", names.join(", "))
        }
    }
}

fn mail_to<'a>(reader: &mut Reader<'a>, fields: &Fields<'a>) -> Option<Vec<Mailbox>> {
    if !fields.has("to") {
        reader.required_field::<()>(fields, "to", |_| Ok(()));
        return None;
    }
    let mut items = 0_usize;
    let to = reader.field_list(fields, "to", MAIL_TO_MAX, |reader, item| {
        items += 1;
        let mailbox = item.parsed(mailbox);
        reader.judge(item, mailbox)
    })?;
    if items == 0 {
        reader.field::<()>(fields, "to", |_| Err("must not be empty: list who is written to".to_owned()));
    }
    Some(to)
}

fn mailbox(text: &str) -> Result<Mailbox, &'static str> {
    text.parse().map_err(|_| "must be an e-mail address, such as ops@example.org or Ops <ops@example.org>")
}

fn host(text: &str) -> Result<String, &'static str> {
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-:".contains(&byte);
    let fits = (1..=253).contains(&text.len()) && text.bytes().all(is_host);
    if fits { Ok(text.to_owned()) } else { Err("must be a host's name or address, without a port") }
}

fn receiver_name(text: &str) -> Result<String, &'static str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let fits = (1..=64).contains(&text.len()) && text.bytes().all(is_plain);
    if fits { Ok(text.to_owned()) } else { Err("must be 1 to 64 letters, digits, '.', '_' or '-'") }
}

/// No message repeats the value.
fn routing_key(text: &str) -> Result<Secret, String> {
    let is_key = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if is_key { Ok(Secret::new(text.to_owned())) } else { Err("a routing key is 32 letters and digits".to_owned()) }
}

/// No message repeats the value.
fn not_blank(text: &str) -> Result<Secret, String> {
    if text.is_empty() { Err("must not be empty".to_owned()) } else { Ok(Secret::new(text.to_owned())) }
}
