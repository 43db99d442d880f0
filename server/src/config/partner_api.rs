//! The section `[partner_api]`: the second provider (seed 001).

use std::path::Path;

use tapgate_engine::money::Currency;

use super::decision::currency;
use super::reader::Reader;
use super::sections::ReadFile;
use super::setting::Setting;
use crate::delivery::channel::guard::{Endpoint, EndpointError, Guard};
use crate::delivery::channel::secret::Secret;
use crate::delivery::settings::PartnerApiReceiver;
use crate::http::partner;
use crate::signature::{SharedPolicy, SharedScheme, SharedSecret};

/// Longest window of a signed timestamp, in seconds: within it a captured request can be replayed.
const TIMESTAMP_WINDOW_SECONDS_MAX: u64 = 3_600;

/// The name of the receiver of our calls: its position in the journal is kept under it.
pub(super) const RECEIVER: &str = "partner-api";

/// What the second provider sends us, and where our changes are sent.
#[derive(Default)]
pub(super) struct PartnerApi {
    pub(super) events: Option<partner::Settings>,
    pub(super) receiver: Option<PartnerApiReceiver>,
    /// The pools that it settles from.
    pub(super) pools: Vec<Currency>,
}

/// More than the currencies of any program.
const POOLS_MAX: usize = 32;

#[derive(Clone, Copy)]
enum Scheme {
    Hmac,
    Bearer,
}

pub(super) fn partner_api(
    reader: &mut Reader<'_>,
    read_file: ReadFile<'_>,
    guard: Guard,
    card_currency: Currency,
) -> PartnerApi {
    let is_enabled = reader.value("partner_api.enabled", Setting::boolean).unwrap_or(false);
    let schemes = [("hmac", Scheme::Hmac), ("bearer", Scheme::Bearer)];
    let scheme = reader.value("partner_api.authentication", |setting| setting.word(&schemes)).unwrap_or(Scheme::Hmac);
    let signature_header = reader.value("partner_api.signature_header", |setting| setting.parsed(header));
    let timestamp_header = reader.value("partner_api.timestamp_header", |setting| setting.parsed(header_or_none));
    let window = 1..=TIMESTAMP_WINDOW_SECONDS_MAX;
    let window = reader.value("partner_api.timestamp_window_seconds", |setting| setting.integer(window));
    let secret = secret(reader, read_file, ["partner_api.secret", "partner_api.secret_file"], SharedSecret::new);
    let keys = ["partner_api.previous_secret", "partner_api.previous_secret_file"];
    let previous = self::secret(reader, read_file, keys, SharedSecret::new);
    let pools = reader.list("partner_api.pools", POOLS_MAX, |reader, item| reader.judge(item, item.parsed(currency)));
    let base_url = reader.value("partner_api.base_url", |setting| endpoint(setting, guard));
    let api_key = self::secret(reader, read_file, ["partner_api.api_key", "partner_api.api_key_file"], key);
    if is_enabled {
        let is_given = reader.find("partner_api.secret").is_some() || reader.find("partner_api.secret_file").is_some();
        if !is_given {
            reader.missing("partner_api.secret", "without it no event of the provider is authentic");
        }
        if base_url.is_some() && api_key.is_none() {
            reader.missing("partner_api.api_key", "our calls to base_url need it");
        }
    }
    if !is_enabled {
        return PartnerApi::default();
    }
    let scheme = match scheme {
        Scheme::Bearer => SharedScheme::Bearer,
        Scheme::Hmac => SharedScheme::Hmac {
            signature_header: signature_header.unwrap_or_else(|| "X-Signature".to_owned()),
            timestamp_header: timestamp_header.unwrap_or_else(|| Some("X-Timestamp".to_owned())),
            window_seconds: window.unwrap_or(300),
        },
    };
    let secrets: Vec<_> = secret.into_iter().chain(previous).collect();
    let authentication = SharedPolicy { scheme, secrets };
    PartnerApi {
        events: Some(partner::Settings { authentication, card_currency }),
        pools: pools.unwrap_or_default(),
        receiver: base_url.zip(api_key).map(|(base_url, api_key)| PartnerApiReceiver {
            name: RECEIVER.to_owned(),
            base_url,
            api_key,
        }),
    }
}

/// A secret, inline or from a file. No message repeats it.
fn secret<T>(
    reader: &mut Reader<'_>,
    read_file: ReadFile<'_>,
    [key, file_key]: [&'static str; 2],
    parse: impl Fn(&str) -> Result<T, String>,
) -> Option<T> {
    match (reader.find(key), reader.find(file_key)) {
        (None, None) => None,
        (Some(given), None) => {
            let parsed = given.text().and_then(&parse);
            reader.judge(&given, parsed)
        }
        (None, Some(file)) => {
            // An operator may paste the secret in place of the path, so no message repeats the value.
            let read = file.text().and_then(|path| {
                let content = read_file(Path::new(path)).map_err(|error| format!("cannot be read: {error}"))?;
                parse(content.trim_end_matches(['\r', '\n'])).map_err(|error| format!("in that file: {error}"))
            });
            reader.judge(&file, read)
        }
        (Some(_), Some(file)) => {
            reader.report(&file, format!("give either {key} or {file_key}, not both"));
            None
        }
    }
}

/// The key is sent in a header.
fn key(text: &str) -> Result<Secret, String> {
    let fits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    if fits { Ok(Secret::new(text.to_owned())) } else { Err("must be printable ASCII without spaces".to_owned()) }
}

/// No message repeats the value: its path may hold a token.
fn endpoint(setting: &Setting<'_>, guard: Guard) -> Result<Endpoint, String> {
    let endpoint: Endpoint = setting.text()?.parse().map_err(|error: EndpointError| error.to_string())?;
    guard.check(&endpoint).map_err(|error| error.to_string())?;
    Ok(endpoint)
}

fn header(text: &str) -> Result<String, &'static str> {
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let fits = (1..=64).contains(&text.len()) && text.bytes().all(is_of_name);
    if fits { Ok(text.to_owned()) } else { Err("must be the name of a header: letters, digits, '-' and '_'") }
}

fn header_or_none(text: &str) -> Result<Option<String>, &'static str> {
    if text.is_empty() { Ok(None) } else { header(text).map(Some) }
}

#[cfg(test)]
mod tests {
    use std::io;

    use tapgate_engine::money::Currency;

    use super::*;
    use crate::config::Config;

    const SIGNED: &str = "ur.signers = [\"0xee28dEaD5F114C8405BE3be1144D59A4110B7F79\"]\n";
    const SECRET: &str = "a-secret-of-the-provider";

    fn load(section: &str) -> Result<Config, String> {
        let text = format!("{SIGNED}deliver.allow_private = true\n[partner_api]\n{section}");
        let read = |path: &Path| match path.to_str() {
            Some("good") => Ok(format!("{SECRET}\n")),
            Some("short") => Ok("short".to_owned()),
            _ => Err(io::Error::from(io::ErrorKind::NotFound)),
        };
        let loaded = Config::load(&text, "tapgate.toml", [], read).map_err(|errors| errors.to_string());
        assert!(!format!("{loaded:?}").contains(&SECRET[2..20]), "shows the secret");
        loaded
    }

    fn check(section: &str, expected: &str) {
        assert_eq!(load(section).map(|_| ()).unwrap_err(), expected, "{section}");
    }

    #[test]
    fn it_takes_nothing_until_it_is_enabled_with_a_secret() {
        assert_eq!(load("").unwrap().public.partner_api, None);
        assert_eq!(load(&format!("secret = \"{SECRET}\"")).unwrap().public.partner_api, None);
        let what = "without it no event of the provider is authentic";
        check("enabled = true", &format!("tapgate.toml:3: partner_api.secret: is missing: {what}"));
    }

    #[test]
    fn the_secret_comes_from_one_place_and_another_one_during_a_rotation() {
        let inline = load(&format!("enabled = true\nsecret = \"{SECRET}\"")).unwrap();
        let file = load("enabled = true\nsecret_file = \"good\"").unwrap();
        assert_eq!(inline, file);
        let events = file.public.partner_api.unwrap();
        let hmac = SharedScheme::Hmac {
            signature_header: "X-Signature".to_owned(),
            timestamp_header: Some("X-Timestamp".to_owned()),
            window_seconds: 300,
        };
        assert_eq!((events.authentication.scheme, events.card_currency), (hmac, Currency::EUR));
        assert_eq!(events.authentication.secrets, [SharedSecret::new(SECRET).unwrap()]);
        let other = "previous_secret = \"the-secret-before-it\"";
        let rotating = load(&format!("enabled = true\nauthentication = \"bearer\"\nsecret_file = \"good\"\n{other}"));
        let authentication = rotating.unwrap().public.partner_api.unwrap().authentication;
        assert_eq!((authentication.scheme, authentication.secrets.len()), (SharedScheme::Bearer, 2));
        let bare = load("enabled = true\nsecret_file = \"good\"\ntimestamp_header = \"\"").unwrap();
        let scheme = bare.public.partner_api.unwrap().authentication.scheme;
        assert!(matches!(scheme, SharedScheme::Hmac { timestamp_header: None, .. }), "{scheme:?}");
    }

    #[test]
    fn its_pools_are_left_out_of_urs_feed_and_of_what_is_watched() {
        let config = load("enabled = true\nsecret_file = \"good\"\npools = [\"CHF\"]").unwrap();
        assert_eq!(config.feeds.unwrap().other_pools, [Currency::CHF]);
        assert_eq!(config.watch.other_pools, [Currency::CHF]);
        let config = load("secret_file = \"good\"\npools = [\"CHF\"]").unwrap();
        assert_eq!(config.feeds.unwrap().other_pools, [], "not enabled");
        assert!(load("pools = [\"pounds\"]").unwrap_err().contains("partner_api.pools[0]: must be a currency"));
    }

    #[test]
    fn what_is_wrong_is_named_without_the_secret() {
        let at = |line: usize, message: &str| format!("tapgate.toml:{line}: partner_api.{message}");
        let form = "must be 16 or more printable ASCII characters without spaces";
        check("enabled = true\nsecret = \"short\"", &at(5, &format!("secret: {form}")));
        check("enabled = true\nsecret_file = \"short\"", &at(5, &format!("secret_file: in that file: {form}")));
        check("secret_file = \"none\"", &at(4, "secret_file: cannot be read: entity not found"));
        let both = "give either partner_api.secret or partner_api.secret_file, not both";
        check(&format!("secret = \"{SECRET}\"\nsecret_file = \"good\""), &at(5, &format!("secret_file: {both}")));
        let header = "must be the name of a header: letters, digits, '-' and '_', got \"X Signature\"";
        check("signature_header = \"X Signature\"", &at(4, &format!("signature_header: {header}")));
        check("authentication = \"none\"", &at(4, "authentication: must be \"hmac\" or \"bearer\", got \"none\""));
        let key = "enabled = true\nsecret_file = \"good\"\nbase_url = \"http://127.0.0.1:9/api\"";
        check(key, &at(3, "api_key: is missing: our calls to base_url need it"));
        let config = load(&format!("{key}\napi_key_file = \"good\"")).unwrap();
        let receiver = config.delivery.partner_api.unwrap();
        assert_eq!((receiver.name.as_str(), receiver.base_url.host()), ("partner-api", "127.0.0.1"));
    }
}
