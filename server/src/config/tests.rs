//! Configurations as text, with all their messages.

use std::time::Duration;

use proptest::prelude::*;
use tapgate_engine::fact::{
    Channel, Controls, FiatChoice, FundingPolicy, HoldUpcharge, Kind, Lives, Period, StressTier, Tolerance,
    VelocityRule,
};
use tapgate_engine::ids::AuthorizationId;
use tapgate_engine::money::{ChfMinor, Currency, Minor, Money};
use tapgate_engine::testing::cases;

use super::*;
use crate::delivery::EventKind;
use crate::delivery::channel::guard::Guard;
use crate::delivery::channel::mail::MailTls;
use crate::delivery::settings::Settings;
use crate::http::admin::auth::{Role, TokenHash};
use crate::provider::prefunding::AutoPrefundMode;
use crate::signature::WebhookPolicy;
use crate::wire::callback::Envelope;
use crate::wire::ur::AmountForm;

const SIGNER: &str = "0xee28dEaD5F114C8405BE3be1144D59A4110B7F79";
const KEY: &str = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d";
const KEY_ADDRESS: &str = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";
const HASH: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
const OTHER_HASH: &str = "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752";
const WEBHOOK_SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const OTHER_WEBHOOK_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const SLACK_URL: &str = "https://hooks.slack.com/services/T0SECRET/B0SECRET/XXXXSECRET";
const ROUTING_KEY: &str = "R0UT1NGKEY0000000000000000000000";

fn read_file(path: &Path) -> io::Result<String> {
    match path.to_str() {
        Some("good.key") => Ok(format!("{KEY}\n")),
        Some("webhook.secret") => Ok(format!("{WEBHOOK_SECRET}\n")),
        Some("slack.url") => Ok(format!("{SLACK_URL}\n")),
        Some("bad.key") => Ok(format!("{KEY}00\n")),
        Some("good.txt") => Ok("# two days\n2026-12-25 Christmas Day\n2027-01-01 New Year's Day\n".to_owned()),
        Some("bad.txt") => Ok("2026-12-25 Christmas Day\n2026-02-30 no day\nEaster\n".to_owned()),
        Some("tapgate.json") => Ok(include_str!("../../../deploy/callback/tapgate.json").to_owned()),
        Some("fiat24.json") => Ok(include_str!("../../../deploy/callback/fiat24.json").to_owned()),
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}

/// Loads a text in which `SIGNER`, `KEY`, `HASH` and `OTHER` are placeholders of real ones.
fn load(text: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    let fill = |text: &str| {
        let text = text.replace("SIGNER", SIGNER).replace("KEY!", KEY);
        let text = text.replace("WHSEC!", WEBHOOK_SECRET).replace("WHSEC2!", OTHER_WEBHOOK_SECRET);
        let text = text.replace("SLACK!", SLACK_URL).replace("ROUTING!", ROUTING_KEY);
        text.replace("OTHER!", OTHER_HASH).replace("HASH!", HASH)
    };
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), fill(value)));
    Config::load(&fill(text), "tapgate.toml", environment, read_file)
}

/// Every message on the text, line by line; empty if it loads. No message holds a secret.
#[track_caller]
fn check(text: &str, environment: &[(&str, &str)], expected: &[&str]) {
    let said = load(text, environment).map_or_else(|errors| errors.to_string(), |_| String::new());
    assert_eq!(said.lines().collect::<Vec<_>>(), expected, "of {text:?} with {environment:?}");
    for secret in [KEY, HASH, OTHER_HASH, WEBHOOK_SECRET, OTHER_WEBHOOK_SECRET, ROUTING_KEY] {
        assert!(!said.contains(&secret[6..20]), "shows a secret: {said}");
    }
    assert!(!said.contains("0SECRET"), "shows a URL's path: {said}");
}

/// Checks a text that begins with valid signers on line 1 and continues with `rest` on line 2.
#[track_caller]
fn check_rest(rest: &str, expected: &[&str]) {
    check(&format!("ur.signers = [\"SIGNER\"]\n{rest}"), &[], expected);
}

/// Checks what the environment adds to a valid file.
#[track_caller]
fn check_environment(name: &str, value: &str, expected: &[&str]) {
    check("ur.signers = [\"SIGNER\"]", &[(name, value)], expected);
}

#[test]
fn the_default_text_loads_and_shows_exactly_the_defaults() {
    let shown = load(default_text(), &[]).unwrap();
    let implied = load("ur.signers = [\"SIGNER\"]", &[]).unwrap();
    assert_eq!(shown, implied);
    let signers = vec![SIGNER.parse().unwrap()];
    let signatures = WebhookPolicy { signers, require_v2: false, timestamp_window_seconds: 300 };
    assert_eq!(shown.public.signatures, signatures);
    assert_eq!(shown.prefunding.base_url, "https://openapi.ur.app");
    let feeds = shown.feeds.unwrap();
    assert_eq!((feeds.calls_per_minute, feeds.pools_interval.as_secs(), feeds.rates_jump_bps), (80, 15, 1_000));
    assert_eq!(shown.public.transaction_amounts, AmountForm::Decimal);
    assert_eq!((shown.treasury.rules.cycle_days, shown.watch.renotify_seconds), (7, 14_400));
    assert_eq!((shown.treasury.rules.z, shown.treasury.rules.thresholds.notice), (5.0, 0.01));
    assert_eq!((shown.watch.interval.as_secs(), shown.watch.report_stale_seconds), (60, 900));
    assert_eq!((shown.watch.break_ageing_days, shown.watch.hourly_cap_chf), (3, 0));
    assert_eq!(shown.treasury.calendar.time_zone.iana_name(), Some("Europe/Zurich"));
    let prefunds = shown.prefunding.auto_prefund;
    assert_eq!((prefunds.mode, prefunds.quote_tolerance_bps), (AutoPrefundMode::Off, 250));
    assert_eq!((shown.reconciliation.first_look_seconds, shown.reconciliation.tolerance.drift_bps), (300, 200));
    assert_eq!(shown.listen.public.to_string(), "127.0.0.1:8480");
    assert_eq!(shown.listen.admin.to_string(), "127.0.0.1:8481");
    assert_eq!((shown.data_dir.to_str(), shown.durability), (Some("./data"), SyncMode::Fsync));
    let expected = Policy {
        funding: FundingPolicy::Crypto,
        protect_runway: false,
        limit_weight: 1,
        fx_buffer_bps: 0,
        zero_amount_holds: 1,
        fiat_choice: FiatChoice::AccountCheck,
        partial_approval: false,
        rates_max_age_seconds: Some(3_600),
        state_max_age_seconds: Some(86_400),
        credits_count_at_once: false,
        controls: Controls::default(),
        hold_upcharge: Vec::new(),
        stress: Vec::new(),
        tolerance: Tolerance { drift_bps: 200 },
        lives: Lives { seconds: 864_000, long_seconds: 2_592_000 },
        final_capture_mcc: vec![5_541, 5_542, 5_552],
    };
    assert_eq!(shown.policy, expected);
    assert_eq!(shown.reconciliation.return_after_seconds, 259_200);
    assert_eq!((shown.public.deadline.as_millis(), shown.admin.card_currency), (400, Currency::EUR));
    assert_eq!((shown.api, shown.ops_account), (None, None));
    assert_eq!(shown.admin.tokens, []);
    let nobody = Settings {
        guard: Guard { allow_private: false },
        park_after: Duration::from_secs(72 * 3_600),
        webhooks: Vec::new(),
        slack: Vec::new(),
        pagerduty: Vec::new(),
        smtp: None,
        partner_api: None,
    };
    assert_eq!(shown.public.partner_api, None);
    assert_eq!(shown.delivery, nobody);
}

#[test]
fn the_settings_shown_in_comments_load_too() {
    let shown = default_text().replace("# partner_key = \"0x...\"", "partner_key = \"KEY!\"");
    let shown = shown.replace("<64 hexadecimal digits>", "HASH!").replace("\ntokens = []", "");
    let shown = ["tokens = [{", "ops_ur_id", "transaction_amount_max", "velocity"]
        .into_iter()
        .fold(shown, |shown, name| shown.replace(&format!("# {name}"), name));
    let config = load(&shown, &[]).unwrap();
    assert_eq!(config.ops_account, Some("9999".parse().unwrap()));
    assert_eq!(config.api.unwrap().key.address().to_string(), KEY_ADDRESS);
    assert_eq!(config.admin.tokens[0].role, Role::Operator);
    assert_eq!(hex_of(config.admin.tokens[0].sha256), HASH);
    let controls = config.policy.controls;
    assert_eq!(controls.transaction_amount_max, Some(Money { amount: Minor(500_000), currency: Currency::EUR }));
    let expected =
        VelocityRule { period: Period::Sliding(86_400), amount_max: Some(ChfMinor(200_000)), count_max: Some(50) };
    assert_eq!(controls.velocity, [expected]);
}

fn hex_of(hash: TokenHash) -> String {
    hash.0.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn six_mistakes_are_six_lines_each_with_its_own_number() {
    let text = r#"data_dir = ""
[ur]
signers = [
  "SIGNER",
  "0xEE28dEaD5F114C8405BE3be1144D59A4110B7F79",
]
require_v2 = "yes"
[decision]
deadline_ms = 1000
limit_wieght = 2
limit_weight = 7
[listen]
public = "127.0.0.1:8480"
"#;
    check(
        text,
        &[],
        &[
            "tapgate.toml:1: data_dir: must not be empty, got \"\"",
            "tapgate.toml:5: ur.signers[1]: the address's EIP-55 checksum does not match: a digit is wrong, or the case of a letter was changed",
            "tapgate.toml:7: ur.require_v2: must be true or false, got a string",
            "tapgate.toml:9: decision.deadline_ms: must be 50 to 450, got 1000",
            "tapgate.toml:10: decision.limit_wieght: unknown setting; did you mean decision.limit_weight?",
            "tapgate.toml:11: decision.limit_weight: must be 0, 1 or 2, got 7",
        ],
    );
}

#[test]
fn a_setting_has_one_form_and_a_range() {
    let bad = |rest: &str, message: &str| check_rest(rest, &[&format!("tapgate.toml:2: {message}")]);
    bad("durability = \"replicated\"", "durability: \"replicated\" is not in this version: use \"fsync\" or \"os\"");
    bad("durability = \"no\"", "durability: must be \"fsync\" or \"os\", got \"no\"");
    bad("data_dir = 5", "data_dir: must be a string, got an integer");
    bad("decision = 5", "decision: must be a table, got an integer");
    bad("[[decision]]", "decision: must be a table, got an array");
    bad("decision.deadline_ms = 49", "decision.deadline_ms: must be 50 to 450, got 49");
    bad("decision.deadline_ms = -60", "decision.deadline_ms: must be 50 to 450, got -60");
    bad("decision.deadline_ms = 4.5", "decision.deadline_ms: must be an integer, got a float");
    bad("decision.limit_weight = 256", "decision.limit_weight: must be 0, 1 or 2, got 256");
    bad("decision.zero_amount_holds = 2", "decision.zero_amount_holds: must be 0 or 1, got 2");
    bad("decision.fx_buffer_bps = 65536", "decision.fx_buffer_bps: must be 0 to 5000, got 65536");
    bad(
        "decision.funding = \"cash\"",
        "decision.funding: must be \"crypto\", \"fiat\", \"crypto_then_fiat\" or \"fiat_then_crypto\", got \"cash\"",
    );
    bad(
        "decision.card_currency = \"eur\"",
        "decision.card_currency: must be a currency of three capital letters, such as EUR, got \"eur\"",
    );
    bad("ur.timestamp_window_seconds = 0", "ur.timestamp_window_seconds: must be 1 to 3600, got 0");
    bad("ur.calls_per_minute = 0", "ur.calls_per_minute: must be 1 to 100000, got 0");
    bad(
        "ur.balance_amounts = \"cents\"",
        "ur.balance_amounts: must be \"decimal\" or \"smallest_unit\", got \"cents\"",
    );
    bad(
        "ur.account_mode = \"custody\"",
        "ur.account_mode: must be \"external_wallet\" or \"managed_custody\", got \"custody\"",
    );
    bad("reconcile.rates_jump_bps = 5001", "reconcile.rates_jump_bps: must be 1 to 5000, got 5001");
    bad("reconcile.expiry_seconds = 0", "reconcile.expiry_seconds: must be 1 to 7776000, got 0");
    bad("reconcile.drift_bps = 1001", "reconcile.drift_bps: must be 0 to 1000, got 1001");
    bad("ur.feeds = 1", "ur.feeds: must be true or false, got an integer");
    bad(
        "ur.ops_ur_id = \"a b\\n\"",
        "ur.ops_ur_id: must be 1 to 64 printable ASCII characters without spaces, got \"a b\\n\"",
    );
    for url in ["openapi.ur.app", "ftp://ur.app", "https://", "https://:80", "https://u:p@ur.app", "https://ur.app?a"] {
        bad(
            &format!("ur.base_url = \"{url}\""),
            "ur.base_url: must be https://, a host, and at most a port and a path; no user, query or fragment",
        );
    }
    for host in ["ur.example", "192.0.2.1", "127.0.0.1.ur.example", "10.0.0.1:80/path", "[::2]"] {
        let message = "ur.base_url: must begin with https://: without it anybody on the way can read and change figures; \
                       http:// is for this machine only (127.0.0.1, localhost)";
        bad(&format!("ur.base_url = \"http://{host}\""), message);
    }
    for network in ["", "10.0.0.0/33", "10.0.0.7:80", "proxy.example"] {
        let message = "must be an IP address, or a network such as 10.0.0.0/24";
        bad(
            &format!("listen.trusted_proxies = [\"{network}\"]"),
            &format!("listen.trusted_proxies[0]: {message}, got \"{network}\""),
        );
    }
    bad("listen.keep_alive_seconds = 0", "listen.keep_alive_seconds: must be 1 to 3600, got 0");
    for address in ["localhost:8480", "127.0.0.1", ":8480", "127.0.0.1:70000"] {
        let message = "must be an IP address and a port, such as 127.0.0.1:8480";
        bad(&format!("listen.public = \"{address}\""), &format!("listen.public: {message}, got \"{address}\""));
    }
}

#[test]
fn the_ends_of_every_range_are_inside_it() {
    let good = |rest: &str| check_rest(rest, &[]);
    for deadline_ms in ["50", "450", "4_00", "0x32"] {
        good(&format!("decision.deadline_ms = {deadline_ms}"));
    }
    for limit_weight in 0..=2 {
        good(&format!("decision.limit_weight = {limit_weight}"));
    }
    good("decision = { fx_buffer_bps = 5000, rates_max_age_seconds = 1, state_max_age_seconds = 2592000 }");
    good("ur.timestamp_window_seconds = 3600");
    good(
        "listen = { keep_alive_seconds = 3600, trusted_proxies = [\"10.0.0.7\", \"10.1.0.0/16\", \"2001:db8::/32\"] }",
    );
    for host in ["127.0.0.1:8482", "localhost/ur", "[::1]:80", "127.1.2.3"] {
        good(&format!("ur.base_url = \"http://{host}\""));
    }
    good("listen = { public = \"127.0.0.1:0\", admin = \"127.0.0.1:0\" }");
    good("listen = { public = \"[::1]:8480\", admin = \"127.0.0.1:8480\" }");
}

#[test]
fn signers_are_required_distinct_addresses() {
    let what = "list the addresses whose webhook signatures are accepted";
    check("", &[], &[&format!("tapgate.toml: ur.signers: is missing: {what}")]);
    check("\n[ur]\nfeeds = true", &[], &[&format!("tapgate.toml:2: ur.signers: is missing: {what}")]);
    check("[ur]\nsigners = []", &[], &[&format!("tapgate.toml:2: ur.signers: must not be empty: {what}")]);
    check("[ur]\nsigners = \"SIGNER\"", &[], &["tapgate.toml:2: ur.signers: must be a list, got a string"]);
    check(
        "[ur]\nsigners = [\n\"SIGNER\",\n7,\n\"0xee28dead5f114c8405be3be1144d59a4110b7f79\",\n\"KEY!\"]",
        &[],
        &[
            "tapgate.toml:4: ur.signers[1]: must be a string, got an integer",
            &format!("tapgate.toml:5: ur.signers[2]: {SIGNER} is listed twice"),
            "tapgate.toml:6: ur.signers[3]: an address is 0x and 40 hexadecimal digits",
        ],
    );
}

#[test]
fn listeners_do_not_collide() {
    let collides = |rest: &str, line: usize, public: &str, admin: &str| {
        let message = format!("collides with the other listener: public is {public}, admin is {admin}");
        let setting = if rest.contains("admin") { "listen.admin" } else { "listen.public" };
        check_rest(rest, &[&format!("tapgate.toml:{line}: {setting}: {message}")]);
    };
    collides("listen.public = \"127.0.0.1:8481\"", 2, "127.0.0.1:8481", "127.0.0.1:8481");
    collides("listen.public = \"[::]:1\"\nlisten.admin = \"[::]:1\"", 3, "[::]:1", "[::]:1");
    collides("listen.public = \"0.0.0.0:8481\"", 2, "0.0.0.0:8481", "127.0.0.1:8481");
}

#[test]
fn nothing_unknown_is_ignored() {
    let bad = |rest: &str, message: &str| check_rest(rest, &[&format!("tapgate.toml:2: {message}")]);
    bad("datadir = \"x\"", "datadir: unknown setting; did you mean data_dir?");
    bad("deadline_ms = 5", "deadline_ms: unknown setting; did you mean decision.deadline_ms?");
    bad("decision.feeds = true", "decision.feeds: unknown setting; did you mean ur.feeds?");
    bad("ur.partner_key_fil = \"x\"", "ur.partner_key_fil: unknown setting; did you mean ur.partner_key_file?");
    bad("color = 5", "color: unknown setting");
    bad("\"ur.feeds\" = false", "ur.feeds: unknown setting; did you mean ur.feeds?");
    bad("\"a\\nb\" = 1", "a\\nb: unknown setting");
    bad("[decisions]\nfunding = \"fiat\"", "decisions: unknown setting; did you mean decision?");
    bad("[metrics]\nport = 1", "metrics: unknown setting");
    for section in ["replication", "tls", "telemetry"] {
        let message = format!("{section}: is not in this version: remove it");
        bad(&format!("[{section}]"), &message);
        bad(&format!("[[{section}.webhook]]\nurl = \"https://example.org\""), &message);
        let variable = format!("TAPGATE__{}__URL", section.to_uppercase());
        check_environment(&variable, "x", &[&format!("environment {variable}: is not in this version: remove it")]);
    }
}

#[test]
fn tokens_have_distinct_names_and_hashes_that_are_never_shown() {
    let text = r#"ur.signers = ["SIGNER"]
[[admin.tokens]]
name = "ops"
role = "operator"
sha256 = "HASH!"
[[admin.tokens]]
name = "ops"
role = "viewer"
sha256 = "HASH!"
[[admin.tokens]]
name = "o p s"
role = "admin"
sha256 = "HASH!00"
[[admin.tokens]]
nam = "x"
role = "viewer"
sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
[[admin.tokens]]
name = "engine"
"#;
    check(
        text,
        &[],
        &[
            "tapgate.toml:6: admin.tokens[1]: the name \"ops\" is given to two tokens",
            "tapgate.toml:6: admin.tokens[1]: the same sha256 is given to two tokens: which role it has would be chance",
            "tapgate.toml:11: admin.tokens[2].name: must be 1 to 64 letters, digits, '.', '_' or '-', got \"o p s\"",
            "tapgate.toml:12: admin.tokens[2].role: must be \"viewer\", \"operator\" or \"treasurer\", got \"admin\"",
            "tapgate.toml:13: admin.tokens[2].sha256: must be the token's SHA-256 in 64 hexadecimal digits",
            "tapgate.toml:14: admin.tokens[3].name: is missing",
            "tapgate.toml:15: admin.tokens[3].nam: unknown setting; did you mean name?",
            "tapgate.toml:17: admin.tokens[3].sha256: is the SHA-256 of an empty token",
            "tapgate.toml:18: admin.tokens[4].role: is missing",
            "tapgate.toml:18: admin.tokens[4].sha256: is missing",
            "tapgate.toml:19: admin.tokens[4].name: must not be engine, ur or partner_api: the journal names tapgate itself and the providers so, got \"engine\"",
        ],
    );
}

#[test]
fn controls_are_bounded_as_a_users_are() {
    let text = r#"ur.signers = ["SIGNER"]
[controls]
transaction_amount_max = { amount = "05", currency = "EURO" }
mcc_block = ["7995", 742, "07", 10000]
merchant_block = ["m_1", ""]
country_block = ["PRK", "kp", "P1K"]
channel_block = ["atm", "other", "moto"]
[[controls.velocity]]
window_seconds = 86400
count_max = 2000
[[controls.velocity]]
window_seconds = 60
[[controls.velocity]]
window_seconds = 2592001
count_max = 1
[[controls.velocity]]
amount_max_chf = 1_000_000_000_000_001
[[controls.velocity]]
window_seconds = 60
count_max = 2001
"#;
    check(
        text,
        &[],
        &[
            "tapgate.toml:3: controls.transaction_amount_max.amount: must be 0 to 1000000000000000 in the smallest unit, digits only, got \"05\"",
            "tapgate.toml:3: controls.transaction_amount_max.currency: must be a currency of three capital letters, such as EUR, got \"EURO\"",
            "tapgate.toml:4: controls.mcc_block[2]: \"07\" is no merchant category: write its four digits",
            "tapgate.toml:4: controls.mcc_block[3]: \"10000\" is no merchant category: write its four digits",
            "tapgate.toml:5: controls.merchant_block[1]: \"\" is no merchant id: 1 to 256 bytes, printable and without spaces around",
            "tapgate.toml:6: controls.country_block[2]: \"P1K\" is no country: write its ISO 3166 code, such as CHE, CH or 756",
            "tapgate.toml:7: controls.channel_block[2]: \"moto\" is no channel: use pos, contactless, ecommerce, recurring, atm or other",
            "tapgate.toml:11: controls.velocity[1]: a velocity rule bounds nothing: give amount_max_chf, count_max or both",
            "tapgate.toml:13: controls.velocity[2]: window_seconds must be 1 to 2592000 (30 days), got 2592001",
            "tapgate.toml:17: controls.velocity[3].amount_max_chf: must be 0 to 1000000000000000, got 1000000000000001",
            "tapgate.toml:18: controls.velocity[4]: count_max must be at most 2000, got 2001",
        ],
    );
    let good = "ur.signers = [\"SIGNER\"]\n[controls]\nmcc_block = [\"0742\", 742]\ncountry_block = [\"prk\"]\n\
                channel_block = [\"atm\"]\nmerchant_block = [\"m_1\"]";
    let controls = load(good, &[]).unwrap().policy.controls;
    assert_eq!(controls.validate(), Ok(()));
    assert_eq!((controls.mcc_block, controls.country_block), (vec![742, 742], vec!["PRK".parse().unwrap()]));
    assert_eq!((controls.channel_block, controls.merchant_block), (vec![Channel::Atm], vec!["m_1".into()]));
}

#[test]
fn an_upcharge_names_a_category_once_and_a_share_of_at_most_the_whole() {
    let text = r#"ur.signers = ["SIGNER"]
[decision]
hold_upcharge = [
  { mcc = "5812", percent = 0 },
  { mcc = "58122", percent = 20 },
  { percent = 101 },
  { mcc = "5541", percent = 10 },
  { mcc = "5541", percent = 20 },
]
"#;
    check(
        text,
        &[],
        &[
            "tapgate.toml:4: decision.hold_upcharge[0].percent: must be 1 to 100, got 0",
            "tapgate.toml:5: decision.hold_upcharge[1].mcc: \"58122\" is no merchant category: write its four digits",
            "tapgate.toml:6: decision.hold_upcharge[2].mcc: is missing",
            "tapgate.toml:6: decision.hold_upcharge[2].percent: must be 1 to 100, got 101",
            "tapgate.toml:8: decision.hold_upcharge[4]: the category 5541 has an upcharge already",
        ],
    );
    let good = "ur.signers = [\"0xee28dEaD5F114C8405BE3be1144D59A4110B7F79\"]\n[decision]\n\
                hold_upcharge = [{ mcc = \"5812\", percent = 20 }]";
    assert_eq!(load(good, &[]).unwrap().policy.hold_upcharge, [HoldUpcharge { mcc: 5_812, percent: 20 }]);
}

#[test]
fn a_stress_tier_lets_something_through_and_restricts_something() {
    let text = r#"ur.signers = ["SIGNER"]
[[decision.stress]]
below_reserve_percent = 0
mcc = ["5411", "54111"]
[[decision.stress]]
below_reserve_percent = 100
[[decision.stress]]
amount_max_chf = "05"
"#;
    check(
        text,
        &[],
        &[
            "tapgate.toml:3: decision.stress[0].below_reserve_percent: must be 1 to 1000, got 0",
            "tapgate.toml:4: decision.stress[0].mcc[1]: \"54111\" is no merchant category: write its four digits",
            "tapgate.toml:5: decision.stress[1]: a stress tier restricts nothing: give amount_max_chf, mcc or both",
            "tapgate.toml:7: decision.stress[2].below_reserve_percent: is missing",
            "tapgate.toml:8: decision.stress[2].amount_max_chf: must be 0 to 1000000000000000 in the smallest unit, digits only, got \"05\"",
        ],
    );
    let good = "ur.signers = [\"SIGNER\"]\n[decision]\n\
                stress = [{ below_reserve_percent = 100, amount_max_chf = \"5000\", mcc = [\"5411\", 742] }]";
    let [tier] = load(good, &[]).unwrap().policy.stress.try_into().unwrap();
    assert_eq!(
        tier,
        StressTier { below_reserve_percent: 100, amount_max: Some(ChfMinor(5_000)), mcc: vec![5_411, 742] }
    );
}

#[test]
fn a_velocity_rule_has_one_window() {
    let text = r#"ur.signers = ["SIGNER"]
[[controls.velocity]]
window = "day"
zone = "Europe/Zuerich"
count_max = 3
[[controls.velocity]]
window = "week"
zone = "Europe/Zurich"
count_max = 3
[[controls.velocity]]
window = "month"
count_max = 3
[[controls.velocity]]
window = "month"
zone = "Europe/Zurich"
window_seconds = 60
count_max = 3
[[controls.velocity]]
window = "day"
zone = "Europe/Zurich"
"#;
    let one = "give either window_seconds, or window and zone";
    check(
        text,
        &[],
        &[
            "tapgate.toml:2: controls.velocity[0]: \"Europe/Zuerich\" is no time zone: write its IANA name, such as Europe/Zurich",
            "tapgate.toml:6: controls.velocity[1]: \"week\" is no calendar window: use day or month",
            &format!("tapgate.toml:10: controls.velocity[2]: {one}"),
            &format!("tapgate.toml:13: controls.velocity[3]: {one}"),
            "tapgate.toml:18: controls.velocity[4]: a velocity rule bounds nothing: give amount_max_chf, count_max or both",
        ],
    );
    let good = "ur.signers = [\"SIGNER\"]\n[controls]\n\
                velocity = [{ window = \"month\", zone = \"europe/zurich\", count_max = 3 }]";
    let controls = load(good, &[]).unwrap().policy.controls;
    assert_eq!(controls.velocity[0].period, Period::calendar("month", "Europe/Zurich").unwrap());
}

#[test]
fn an_allow_list_names_nothing_that_could_never_match() {
    let text = r#"ur.signers = ["SIGNER"]
[controls]
mcc_block = ["7995"]
mcc_allow = ["5411", 7995, "5x11"]
country_allow = ["CH", "P1K"]
channel_allow = ["pos", "moto"]
merchant_allow = [" "]
"#;
    check(
        text,
        &[],
        &[
            "tapgate.toml:4: controls.mcc_allow[1]: is in controls.mcc_block, too: it could never match",
            "tapgate.toml:4: controls.mcc_allow[2]: \"5x11\" is no merchant category: write its four digits",
            "tapgate.toml:5: controls.country_allow[1]: \"P1K\" is no country: write its ISO 3166 code, such as CHE, CH or 756",
            "tapgate.toml:6: controls.channel_allow[1]: \"moto\" is no channel: use pos, contactless, ecommerce, recurring, atm or other",
            "tapgate.toml:7: controls.merchant_allow[0]: \" \" is no merchant id: 1 to 256 bytes, printable and without spaces around",
        ],
    );
    let good = "ur.signers = [\"SIGNER\"]\n[controls]\nmcc_allow = [742]\ncountry_allow = [\"che\"]";
    let controls = load(good, &[]).unwrap().policy.controls;
    assert_eq!((controls.mcc_allow, controls.country_allow), (vec![742], vec!["CHE".parse().unwrap()]));
}

#[test]
fn the_receivers_shown_in_comments_load_too() {
    let (head, deliver) = default_text().split_once("[deliver]").unwrap();
    let is_setting = |line: &&str| line.starts_with("# [") || line.trim_start_matches("# ").contains(" = ");
    let uncomment = |line: &str| line.strip_prefix("# ").unwrap_or(line).to_owned();
    let shown: Vec<String> = deliver.lines().filter(is_setting).map(uncomment).collect();
    let shown = shown.join("\n").replacen("\"whsec_...\"", "\"WHSEC!\"", 1).replacen("whsec_...", "WHSEC2!", 1);
    let shown = shown.replace("<32 letters and digits>", "ROUTING!");
    let shown = shown.replace("/run/secrets/tapgate_smtp_password", "webhook.secret");
    let config = load(&format!("{head}[deliver]\n{shown}"), &[]).unwrap_or_else(|errors| panic!("{errors}\n{shown}"));
    let Settings { webhooks, slack, pagerduty, smtp, .. } = config.delivery;
    assert_eq!(webhooks[0].name, "webhook");
    assert_eq!(webhooks[0].secrets, [WEBHOOK_SECRET.parse().unwrap(), OTHER_WEBHOOK_SECRET.parse().unwrap()]);
    let events = [EventKind::AuthorizationApproved, EventKind::DebitRequested, EventKind::DebitReturned];
    assert_eq!(webhooks[0].events, events);
    assert_eq!((slack[0].url.host(), pagerduty[0].url.host()), ("hooks.slack.com", "events.pagerduty.com"));
    assert_eq!(pagerduty[0].routing_key.reveal(), ROUTING_KEY);
    let smtp = smtp.unwrap();
    assert_eq!(
        (smtp.server.host.as_str(), smtp.server.port, smtp.server.tls),
        ("mail.example.org", 587, MailTls::Starttls)
    );
    assert_eq!(smtp.server.login.unwrap().password.reveal(), WEBHOOK_SECRET);
    assert_eq!(smtp.to.len(), 1);
}

#[test]
fn receivers_have_names_secrets_and_public_urls() {
    let text = r#"ur.signers = ["SIGNER"]
[deliver]
park_after_hours = 0
[[deliver.webhook]]
url = "https://a.example.org/hooks?token=T0SECRET"
secret = "WHSEC!"
events = ["*"]
[[deliver.webhook]]
url = "https://b.example.org/hooks"
secret = "WHSEC!"
previous_secret = "WHSEC!"
events = ["authorization.aproved", "payment", 7]
[[deliver.webhook]]
name = "a b"
url = "http://T0SECRET.example.org"
secret = "whsec_T0SECRET"
secret_file = "webhook.secret"
[[deliver.webhook]]
name = "c"
url = "https://10.0.0.5/T0SECRET"
secret = "T0SECRET"
events = []
[[deliver.webhook]]
name = "d"
url = "https://d.example.org"
colour = 1
[[deliver.slack]]
name = "e"
url = "hooks.slack.com/services/T0SECRET"
[[deliver.slack]]
url_file = "https://hooks.slack.com/services/T0SECRET"
[[deliver.pagerduty]]
routing_key = "ROUTING!0"
[deliver.smtp]
from = "nobody"
to = []
tls = "none"
user = "tapgate"
"#;
    check(
        text,
        &[],
        &[
            "tapgate.toml:3: deliver.park_after_hours: must be 1 to 720, got 0",
            "tapgate.toml:8: deliver.webhook[1]: the name \"webhook\" is another receiver's: give this one a name, its position in the journal is kept under its name",
            "tapgate.toml:8: deliver.webhook[1]: the previous secret is the present one",
            "tapgate.toml:12: deliver.webhook[1].events[0]: unknown event \"authorization.aproved\"; did you mean \"authorization.approved\"?",
            "tapgate.toml:12: deliver.webhook[1].events[1]: unknown event \"payment\"; there are \"*\", authorization.approved, authorization.declined, authorization.incremented, authorization.reversed, authorization.released, authorization.expired, authorization.cleared, debit.requested, debit.returned, pool.alert.raised, pool.alert.resolved, pool.credited, break.opened, break.resolved, program.suspended, program.resumed",
            "tapgate.toml:12: deliver.webhook[1].events[2]: must be a string, got an integer",
            "tapgate.toml:14: deliver.webhook[2].name: must be 1 to 64 letters, digits, '.', '_' or '-', got \"a b\"",
            "tapgate.toml:15: deliver.webhook[2].url: must begin with https://, unless deliver.allow_private is set",
            "tapgate.toml:17: deliver.webhook[2].secret_file: give either secret or secret_file, not both",
            "tapgate.toml:20: deliver.webhook[3].url: 10.0.0.5 is or has the address 10.0.0.5, which is not public; if that is meant, set deliver.allow_private",
            "tapgate.toml:21: deliver.webhook[3].secret: a webhook secret is whsec_ and 24 to 64 bytes in base64",
            "tapgate.toml:22: deliver.webhook[3].events: must not be empty: list what is delivered, or [\"*\"] for everything",
            "tapgate.toml:23: deliver.webhook[4]: signs nothing: give secret or secret_file",
            "tapgate.toml:26: deliver.webhook[4].colour: unknown setting",
            "tapgate.toml:29: deliver.slack[0].url: must be https://, a host, and at most a port, a path and a query; no user and no fragment",
            "tapgate.toml:31: deliver.slack[1].url_file: cannot be read: entity not found",
            "tapgate.toml:33: deliver.pagerduty[0].routing_key: a routing key is 32 letters and digits",
            "tapgate.toml:34: deliver.smtp.host: is missing",
            "tapgate.toml:34: deliver.smtp: give user with password or password_file, or none of them",
            "tapgate.toml:35: deliver.smtp.from: must be an e-mail address, such as ops@example.org or Ops <ops@example.org>, got \"nobody\"",
            "tapgate.toml:36: deliver.smtp.to: must not be empty: list who is written to",
        ],
    );
}

#[test]
fn a_password_is_not_sent_in_the_open() {
    let smtp = "host = \"a\", from = \"a@b.org\", to = [\"c@d.org\"], user = \"u\", password = \"p\"";
    check_rest(
        &format!("deliver.smtp = {{ tls = \"none\", {smtp} }}"),
        &["tapgate.toml:2: deliver.smtp: would show the password to the network: use tls = \"starttls\" or \"tls\""],
    );
    check_rest(&format!("deliver = {{ allow_private = true, smtp = {{ tls = \"none\", {smtp} }} }}"), &[]);
    check_rest(&format!("deliver.smtp = {{ tls = \"tls\", {smtp} }}"), &[]);
}

#[test]
fn receivers_show_no_secret_and_may_be_private_where_that_is_meant() {
    let text = r#"ur.signers = ["SIGNER"]
[deliver]
allow_private = true
webhook = [
  { name = "books", url = "http://127.0.0.1:9000/T0SECRET", secret_file = "webhook.secret", events = ["break.opened", "*"] },
  { url = "http://[::1]:9000", secret = "WHSEC!" },
]
slack = [{ url_file = "slack.url" }]
pagerduty = [{ url = "https://events.eu.pagerduty.com", routing_key = "ROUTING!" }]
smtp = { host = "localhost", port = 25, tls = "none", from = "a@example.org", to = ["b@example.org"], user = "u", password = "WHSEC!" }
"#;
    let deliver = load(text, &[]).unwrap().delivery;
    assert_eq!(deliver.webhooks.iter().map(|webhook| webhook.events.len()).collect::<Vec<_>>(), [16, 16]);
    assert_eq!(deliver.webhooks[0].secrets, [WEBHOOK_SECRET.parse().unwrap()]);
    assert_eq!(deliver.park_after, Duration::from_secs(259_200));
    let shown = format!("{deliver:?}");
    for secret in ["SECRET/", WEBHOOK_SECRET, &WEBHOOK_SECRET[6..], ROUTING_KEY] {
        assert!(!shown.contains(secret), "{shown}");
    }
    let smtp = "{ host = \"h\", from = \"a@b.org\", to = [\"c@d.org\"] }";
    let config = load("ur.signers = [\"SIGNER\"]", &[("TAPGATE__DELIVER__SMTP", smtp)]).unwrap();
    assert_eq!(config.delivery.smtp.map(|smtp| smtp.server.port), Some(587));
}

#[test]
fn treasury_names_days_times_and_holidays() {
    let text = r#"ur.signers = ["SIGNER"]
[treasury]
time_zone = "Europe/Zuerich"
cut_off = "2 pm"
lead_hours = 241
working_days = ["mon", "monday", 7]
holidays = ["good.txt", "bad.txt", "none.txt"]
notice_probability = 0.2
urgent_probability = 0.1
z = 10.5
step = 0
cycle_days = 61
over_capture_bps = 5001
renotify_seconds = 59
watch_interval_seconds = 0
report_stale_seconds = 59
break_ageing_days = 0
hourly_cap_chf = -1
hourly_cap_suspends = 1
"#;
    check(
        text,
        &[],
        &[
            "tapgate.toml:3: treasury.time_zone: must be a time zone of the IANA database, such as Europe/Zurich, got \"Europe/Zuerich\"",
            "tapgate.toml:4: treasury.cut_off: must be a time of the day, such as 14:00, got \"2 pm\"",
            "tapgate.toml:5: treasury.lead_hours: must be 0 to 240, got 241",
            "tapgate.toml:6: treasury.working_days[1]: must be \"mon\", \"tue\", \"wed\", \"thu\", \"fri\", \"sat\" or \"sun\", got \"monday\"",
            "tapgate.toml:6: treasury.working_days[2]: must be a string, got an integer",
            "tapgate.toml:7: treasury.holidays[1]: in \"bad.txt\", line 2: there is no such day",
            "tapgate.toml:7: treasury.holidays[1]: in \"bad.txt\", line 3: must be a date and a name, such as 2026-12-25 Christmas Day",
            "tapgate.toml:7: treasury.holidays[2]: cannot read \"none.txt\": entity not found",
            "tapgate.toml:9: treasury.urgent_probability: urgent is worse than a notice: notice_probability is 0.2, urgent_probability is 0.1",
            "tapgate.toml:10: treasury.z: must be 0 to 10, got 10.5",
            "tapgate.toml:11: treasury.step: must be 1 to 1000000000000, got 0",
            "tapgate.toml:12: treasury.cycle_days: must be 1 to 60, got 61",
            "tapgate.toml:13: treasury.over_capture_bps: must be 0 to 5000, got 5001",
            "tapgate.toml:14: treasury.renotify_seconds: must be 60 to 604800, got 59",
            "tapgate.toml:15: treasury.watch_interval_seconds: must be 1 to 3600, got 0",
            "tapgate.toml:16: treasury.report_stale_seconds: must be 60 to 2592000, got 59",
            "tapgate.toml:17: treasury.break_ageing_days: must be 1 to 365, got 0",
            "tapgate.toml:18: treasury.hourly_cap_chf: must be 0 to 1000000000000, got -1",
            "tapgate.toml:19: treasury.hourly_cap_suspends: must be true or false, got an integer",
        ],
    );
    check_rest(
        "treasury.working_days = []",
        &["tapgate.toml:2: treasury.working_days: must hold a day, or nothing is ever credited"],
    );
    check_rest("treasury.z = \"5\"", &["tapgate.toml:2: treasury.z: must be a number, got a string"]);
    check_rest("treasury.z = nan", &["tapgate.toml:2: treasury.z: must be 0 to 10, got nan"]);
    let good =
        "ur.signers = [\"SIGNER\"]\n[treasury]\nz = 2.5\ncut_off = \"09:30\"\nholidays = [\"good.txt\"]\nstep = 500000";
    let treasury = load(good, &[("TAPGATE__TREASURY__NOTICE_PROBABILITY", "0.05")]).unwrap().treasury;
    assert_eq!((treasury.rules.z, treasury.rules.step), (2.5, Minor(500_000)));
    assert_eq!((treasury.calendar.holidays.len(), treasury.calendar.cut_off.to_string()), (2, "09:30:00".to_owned()));
    assert_eq!(treasury.rules.thresholds, crate::treasury::level::Thresholds { notice: 0.05, urgent: 0.1 });
}

#[test]
fn the_environment_overrides_the_file() {
    let text = "data_dir = 5\n[ur]\nsigners = []\n[decision]\nfunding = \"crypto\"";
    let config = load(
        text,
        &[
            ("TAPGATE__DATA_DIR", "/var/lib/tapgate"),
            ("TAPGATE__UR__SIGNERS", "[\"SIGNER\"]"),
            ("TAPGATE__UR__OPS_UR_ID", "9999"),
            ("TAPGATE__UR__PARTNER_KEY", "\"KEY!\""),
            ("TAPGATE__UR__FEEDS", "false"),
            ("TAPGATE__DECISION__FUNDING", "fiat"),
            ("TAPGATE__DECISION__DEADLINE_MS", "60"),
            ("TAPGATE__ADMIN__TOKENS", "[{ name = \"ops\", role = \"viewer\", sha256 = \"HASH!\" }]"),
            ("TAPGATE__CONTROLS__TRANSACTION_AMOUNT_MAX", "{ amount = 1, currency = \"EUR\" }"),
            ("TAPGATE_URL", "somebody else's"),
            ("PATH", "/bin"),
        ],
    )
    .unwrap();
    assert_eq!(config.data_dir, Path::new("/var/lib/tapgate"));
    assert_eq!(config.public.signatures.signers, [SIGNER.parse().unwrap()]);
    assert_eq!((config.ops_account, config.feeds), (Some("9999".parse().unwrap()), None));
    assert_eq!(config.api.map(|api| api.key.address()), Some(KEY_ADDRESS.parse().unwrap()));
    assert_eq!((config.policy.funding, config.public.deadline.as_millis()), (FundingPolicy::Fiat, 60));
    assert_eq!((config.policy.rates_max_age_seconds, config.policy.state_max_age_seconds), (None, None));
    assert!(config.policy.credits_count_at_once);
    assert_eq!(config.admin.tokens.len(), 1);
    assert_eq!(config.policy.controls.transaction_amount_max.map(|max| max.amount), Some(Minor(1)));
}

#[test]
fn a_bad_variable_is_reported_by_its_name() {
    let bad =
        |name: &str, value: &str, said: &str| check_environment(name, value, &[&format!("environment {name}{said}")]);
    bad("TAPGATE__DECISION__DEADLINE_MS", "20", ": must be 50 to 450, got 20");
    bad("TAPGATE__DECISION__DEADLINE_MS", "fast", ": must be an integer, in TOML");
    bad("TAPGATE__DECISION__DEADLINE_MS", "60 70", ": must be an integer, in TOML");
    bad("TAPGATE__UR__FEEDS", "False", ": must be true or false, in TOML");
    bad("TAPGATE__UR__SIGNERS", "SIGNER", ": must be a list, in TOML");
    bad("TAPGATE__UR__SIGNERS", "[\"SIGNER\", \"0x\"]", "[1]: an address is 0x and 40 hexadecimal digits");
    bad("TAPGATE__UR__PARTNER_KEY", "KEY!0", ": a private key is 0x and 64 hexadecimal digits");
    bad("TAPGATE__ADMIN__TOKENS", "[{ name = \"a\", role = \"viewer\" }]", "[0].sha256: is missing");
    bad("TAPGATE__ADMIN__TOKEN", "[]", ": unknown setting; did you mean TAPGATE__ADMIN__TOKENS?");
    bad("TAPGATE__FUNDING", "fiat", ": unknown setting; did you mean TAPGATE__DECISION__FUNDING?");
    bad("TAPGATE__decision__FUNDING", "fiat", ": unknown setting; did you mean TAPGATE__DECISION__FUNDING?");
    bad("TAPGATE__COLOR", "red", ": unknown setting");
    bad("TAPGATE__", "", ": unknown setting");
}

#[test]
fn the_partner_key_comes_from_one_place_and_never_shows_itself() {
    let file = load("[ur]\nsigners = [\"SIGNER\"]\npartner_key_file = \"good.key\"", &[]).unwrap();
    let text = load("[ur]\nsigners = [\"SIGNER\"]\npartner_key = \"KEY!\"", &[]).unwrap();
    assert_eq!(file, text);
    let api = text.api.clone().unwrap();
    assert_eq!((api.base_url.as_str(), api.calls_per_minute), ("https://openapi.ur.app", 80));
    assert_eq!(api.signers, [SIGNER.parse().unwrap()]);
    assert!(format!("{file:?}").contains(KEY_ADDRESS));
    assert!(!format!("{file:?}").contains(&KEY[2..20]));

    check_rest(
        "ur.partner_key = \"KEY!\"\nur.partner_key_file = \"good.key\"",
        &["tapgate.toml:3: ur.partner_key_file: give either partner_key or partner_key_file, not both"],
    );
}

#[test]
fn a_bad_key_is_reported_without_its_digits() {
    let bad = |rest: &str, message: &str| check_rest(rest, &[&format!("tapgate.toml:2: {message}")]);
    bad("ur.partner_key = \"KEY!00\"", "ur.partner_key: a private key is 0x and 64 hexadecimal digits");
    bad("ur.partner_key = 7", "ur.partner_key: must be a string, got an integer");
    bad(
        "ur.partner_key_file = \"bad.key\"",
        "ur.partner_key_file: in \"bad.key\": a private key is 0x and 64 hexadecimal digits",
    );
    bad(
        "ur.partner_key_file = \"KEY!\"",
        "ur.partner_key_file: must be the path of a file, and looks like the key itself",
    );
    bad("KEY! = \"partner_key\"", "(a name of 66 characters): unknown setting");
    bad("ur.KEY! = \"partner_key\"", "ur.(a name of 66 characters): unknown setting");
    bad("ur.partner_key_file = \"none.key\"", "ur.partner_key_file: cannot read \"none.key\": entity not found");
}

#[test]
fn a_syntax_error_neither_hides_bad_settings_nor_invents_any() {
    // Line 3 is not TOML; the errors before and after it are reported all the same.
    let line_3 = |line: &str, message: &str| {
        let text = format!("data_dir = 5\n[ur]\n{line}\nfeeds = 1\n[decision]\ndeadline_ms = 1\ncolor = 2\n");
        let expected = [
            "tapgate.toml:1: data_dir: must be a string, got an integer",
            &format!("tapgate.toml:3: not TOML: {message}"),
            "tapgate.toml:4: ur.feeds: must be true or false, got an integer",
            "tapgate.toml:6: decision.deadline_ms: must be 50 to 450, got 1",
            "tapgate.toml:7: decision.color: unknown setting",
        ];
        check(&text, &[], &expected);
        check(&text.replace('\n', "\r\n"), &[], &expected);
    };
    line_3("signers", "key with no value, expected `=`");
    line_3("signers: SIGNER", "key with no value, expected `=`");
    line_3("partner_key = \"KEY!", "invalid basic string, expected `\"`");
    line_3("partner_key = sKEY!", "string values must be quoted, expected literal string");
    line_3("timestamp_window_seconds = 012", "unexpected leading zero, expected nothing");
    line_3("= 5", "unquoted keys cannot be empty, expected letters, numbers, `-`, `_`");
}

#[test]
fn settings_below_a_broken_header_are_not_judged_and_those_of_the_next_section_are() {
    let text = "[ur]\nsigners = [\"SIGNER\"]\nfeeds = 1\n[decision\ndeadline_ms = 1\ncolor = 2\n[listen]\npublic = 5\n[ur\nfeeds = 7";
    check(
        text,
        &[("TAPGATE__UR__REQUIRE_V2", "1")],
        &[
            "tapgate.toml:3: ur.feeds: must be true or false, got an integer",
            "tapgate.toml:4: not TOML: unclosed table, expected `]`",
            "tapgate.toml:8: listen.public: must be a string, got an integer",
            "tapgate.toml:9: not TOML: unclosed table, expected `]`",
            "environment TAPGATE__UR__REQUIRE_V2: must be true or false, in TOML",
        ],
    );
}

#[test]
fn what_a_syntax_error_may_have_swallowed_is_not_called_missing() {
    let text = "[ur]\nsigners\n[[admin.tokens]]\nname = \"a\"\nrole\n[[admin.tokens]]\nname = \"b\"\nrole = \"viewer\"";
    check(
        text,
        &[],
        &[
            "tapgate.toml:2: not TOML: key with no value, expected `=`",
            "tapgate.toml:5: not TOML: key with no value, expected `=`",
            "tapgate.toml:6: admin.tokens[1].sha256: is missing",
        ],
    );
    check("[ur\nsigners = 1", &[], &["tapgate.toml:1: not TOML: unclosed table, expected `]`"]);
}

#[test]
fn a_setting_given_twice_is_an_error() {
    check_rest("ur.feeds = true\nur.feeds = true", &["tapgate.toml:3: not TOML: duplicate key"]);
    check_rest("[ur]\nfeeds = true", &["tapgate.toml:2: not TOML: duplicate key"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(256)))]

    #[test]
    fn any_text_loads_or_is_answered_one_error_a_line(
        pieces in proptest::collection::vec(
            prop_oneof![
                Just("[ur]\n"), Just("signers = [\"SIGNER\"]\n"), Just("partner_key"), Just(" = "), Just("\"KEY!\""),
                Just("\n"), Just("\r\n"), Just("[["), Just("]"), Just("{"), Just("}"), Just(","), Just("\"\"\""),
                Just("admin.tokens"), Just("é\u{0}"), Just("'"), Just("#"), Just("1"), Just("decision"), Just("."),
            ],
            0..30,
        ),
        variable in ".{0,20}",
    ) {
        let text = pieces.concat();
        if let Err(errors) = load(&text, &[("TAPGATE__UR__SIGNERS", &variable), ("TAPGATE__UR__FEEDS", &variable)]) {
            prop_assert_eq!(errors.to_string().lines().count(), errors.iter().count());
            prop_assert!(!errors.to_string().contains(&KEY[4..20]));
            let lines = text.split('\n').count();
            prop_assert!(errors.iter().all(|error| !matches!(error.place, Place::Line(line) if line > lines || line == 0)));
        }
    }
}

#[test]
fn automatic_prefunds_need_bounds_and_a_way_to_ask_ur() {
    let with = |settings: &str| {
        format!(
            "ur = {{ signers = [\"SIGNER\"], partner_key = \"KEY!\", ops_ur_id = \"9999\" }}\n[treasury.auto_prefund]\n{settings}"
        )
    };
    let prefunds = |settings: &str| load(&with(settings), &[]).unwrap().prefunding.auto_prefund;
    let all = prefunds("mode = \"approval\"\ndaily_max_usdc = 50000\nsingle_max_usdc = 20000\nquote_tolerance_bps = 0");
    let millionths = Minor;
    assert_eq!((all.mode, all.quote_tolerance_bps), (AutoPrefundMode::Approval, 0));
    assert_eq!((all.daily_max, all.single_max), (millionths(50_000_000_000), millionths(20_000_000_000)));
    let few = prefunds("mode = \"dry_run\"\ndaily_max_usdc = 1000000000");
    assert_eq!((few.single_max, few.quote_tolerance_bps), (tapgate_engine::money::AMOUNT_MAX, 250));
    assert_eq!(prefunds("mode = \"off\"").mode, AutoPrefundMode::Off);
    let by_variable = ("TAPGATE__TREASURY__AUTO_PREFUND", "{ mode = \"automatic\", daily_max_usdc = 1 }");
    let loaded = load(&with("mode = \"off\""), &[by_variable]).unwrap();
    assert_eq!(loaded.prefunding.auto_prefund.mode, AutoPrefundMode::Automatic);

    let needs_ur = "treasury.auto_prefund: needs ur.partner_key, ur.ops_ur_id and ur.feeds = true to order from UR";
    check_rest(
        "treasury.auto_prefund = { mode = \"automatic\", daily_max_usdc = 1 }",
        &[&format!("tapgate.toml:2: {needs_ur}")],
    );
    check_rest("treasury.auto_prefund = { mode = \"off\", daily_max_usdc = 1 }", &[]);
    let wrong =
        "mode = \"on\"\ndaily_max_usdc = 0\nsingle_max_usdc = 1000000001\nquote_tolerance_bps = 1001\nmaximum = 1";
    let expected = [
        "tapgate.toml:3: treasury.auto_prefund.mode: must be \"off\", \"dry_run\", \"approval\" or \"automatic\", got \"on\"",
        "tapgate.toml:4: treasury.auto_prefund.daily_max_usdc: must be 1 to 1000000000, got 0",
        "tapgate.toml:5: treasury.auto_prefund.single_max_usdc: must be 1 to 1000000000, got 1000000001",
        "tapgate.toml:6: treasury.auto_prefund.quote_tolerance_bps: must be 0 to 1000, got 1001",
        "tapgate.toml:7: treasury.auto_prefund.maximum: unknown setting",
    ];
    check(&with(wrong), &[], &expected);
    let unbounded = "treasury.auto_prefund: needs daily_max_usdc: the most that may be ordered within a day";
    check(&with("mode = \"approval\""), &[], &[&format!("tapgate.toml:2: {unbounded}")]);
    let single = "treasury.auto_prefund: single_max_usdc is 6, more than daily_max_usdc, 5";
    check(
        &with("mode = \"off\"\ndaily_max_usdc = 5\nsingle_max_usdc = 6"),
        &[],
        &[&format!("tapgate.toml:2: {single}")],
    );
    check(&with("daily_max_usdc = 5"), &[], &["tapgate.toml:2: treasury.auto_prefund.mode: is missing"]);
}

const OWN_FORM: &str = include_str!("../../../deploy/callback/tapgate.toml");
const FIAT24: &str = include_str!("../../../deploy/callback/fiat24.toml");

/// A configuration with the mapping of an example.
fn with_callback(example: &str) -> String {
    let signers = "[ur]\nsigners = [\"SIGNER\"]\n";
    if example.contains("\n[ur]\n") {
        example.replace("\n[ur]\n", &format!("\n{signers}"))
    } else {
        format!("{signers}{example}")
    }
}

fn mapping_of(example: &str) -> crate::wire::callback::Mapping {
    load(&with_callback(example), &[]).unwrap().public.callback.unwrap()
}

#[test]
fn a_callback_of_another_form_is_read_by_its_mapping() {
    let own = include_str!("../../../deploy/callback/tapgate.json");
    let read = mapping_of(OWN_FORM).read(own.as_bytes(), 0).unwrap();
    let expected = Envelope::parse(own.as_bytes()).unwrap();
    assert_eq!((&read.event, read.timestamp), (&expected.event, expected.timestamp));
    assert_eq!(read.request().unwrap(), expected.request().unwrap());

    let sample = include_str!("../../../deploy/callback/fiat24.json");
    let envelope = mapping_of(FIAT24).read(sample.as_bytes(), 77).unwrap();
    assert_eq!(envelope.timestamp, 77, "the signature's");
    let request = envelope.request().unwrap();
    assert_eq!((request.kind, request.user.as_str(), request.amount), (Kind::Incremental, "12345", Minor(45_000)));
    assert_eq!(request.original.as_ref().map(AuthorizationId::as_str), Some("3f0c19"));
    assert_eq!(request.settlement_in_eur(), Some(Minor(1_192)));
}

#[test]
fn what_is_no_callback_of_the_mapping_is_an_event_of_ours_or_refused() {
    let mapping = mapping_of(FIAT24);
    let event = br#"{"event":"transaction","timestamp":1,"data":{}}"#;
    assert_eq!(mapping.read(event, 0).unwrap().event, "transaction");
    let sample = include_str!("../../../deploy/callback/fiat24.json");
    let check = |from: &str, to: &str, named: &str| {
        assert!(sample.contains(from), "{from}");
        let changed = sample.replace(from, to);
        let refused = mapping.read(changed.as_bytes(), 0).and_then(|envelope| envelope.request()).unwrap_err();
        assert!(refused.to_string().contains(named), "{to}: {refused}");
    };
    check("\"increment\"", "\"incremental\"", "ur.callback.types");
    check("45000", "450.5", "transactionAmount");
    check("\"tokenId_\":12345", "\"tokenId_\":[12345]", "ur_id");
    check("\"tokenId_\":12345", "\"tokenId_\":1,\"tokenId_\":2", "duplicate");
    check("\"tokenId_\":12345,", "", "ur_id");
    check("\"authorizationToken_\"", "\"other\"", "event");
}

#[test]
fn a_wrong_mapping_is_refused_with_its_line() {
    let check = |from: &str, to: &str, expected: &str| {
        let text = with_callback(OWN_FORM);
        assert!(text.contains(from), "{from}");
        let errors = load(&text.replacen(from, to, 1), &[]).unwrap_err().to_string();
        assert!(errors.contains(expected), "{to}: {errors}");
    };
    check(
        "\"/data/cardId\"",
        "\"/data/card\"",
        "tapgate.toml:18: ur.callback.fields.card_id: points to nothing in the sample",
    );
    check("\"/data/cardId\"", "\"/data/urId\"", "fields.card_id: is read by ur_id already");
    check("\"/data/cardId\"", "\"/data\"", "fields.card_id: leads to what holds other fields");
    check("\"/data/cardId\"", "\"cardId\"", "fields.card_id: must be a JSON Pointer");
    check("card_id = \"/data/cardId\"\n", "", "fields.card_id is missing");
    check("timestamp = \"/timestamp\"\n", "", "fields.timestamp is missing");
    check("{reason}", "\"{reason}\"", "{reason} at character 70 stands within a string");
    check("{reason},", "{reason}", "declined: is not JSON once its names have values");
    check("{reason}", "{cause}", "declined: is not JSON once its names have values");
    check("\"tapgate.json\"", "\"nothing.json\"", "sample_file: cannot read");
    check("\"smallest_unit\"", "\"cents\"", "amounts: must be");
    check(
        "[ur.callback.fields]",
        "[ur.callback.types]\nadvice = [\"x\", \"x\"]\n[ur.callback.fields]",
        "\"x\" is given twice",
    );
}
