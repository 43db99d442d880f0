//! The section `[admin]`: bearer tokens of the admin API.

use tapgate_engine::fact::Author;

use super::reader::Reader;
use super::setting::Setting;
use crate::http::admin::auth::{Role, Token, TokenHash};

/// SHA-256 of the empty text: as a token's hash it would admit an empty token.
const SHA256_OF_NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Most admin tokens: every request's token is compared with all of them.
const TOKENS_MAX: usize = 100;

pub(super) fn tokens(reader: &mut Reader<'_>) -> Vec<Token> {
    let mut names = Vec::new();
    let mut hashes = Vec::new();
    let tokens = reader.list("admin.tokens", TOKENS_MAX, |reader, item| {
        let token = token(reader, item)?;
        if names.contains(&token.name) {
            reader.report(item, format!("the name \"{}\" is given to two tokens", token.name));
        }
        if hashes.contains(&token.sha256) {
            reader.report(item, "the same sha256 is given to two tokens: which role it has would be chance".to_owned());
        }
        names.push(token.name.clone());
        hashes.push(token.sha256);
        Some(token)
    });
    tokens.unwrap_or_default()
}

fn token<'a>(reader: &mut Reader<'a>, item: &Setting<'a>) -> Option<Token> {
    let roles = [("viewer", Role::Viewer), ("operator", Role::Operator), ("treasurer", Role::Treasurer)];
    let fields = reader.table(item, &["name", "role", "sha256"])?;
    // Reads all three before it returns, so that all their errors are reported.
    let name = reader.required_field(&fields, "name", |setting| setting.parsed(token_name));
    let role = reader.required_field(&fields, "role", |setting| setting.word(&roles));
    let sha256 = reader.required_field(&fields, "sha256", token_hash);
    Some(Token { name: name?, role: role?, sha256: sha256? })
}

/// A token's name, which the journal shows as the author of changes; those of tapgate and UR are reserved.
fn token_name(text: &str) -> Result<String, &'static str> {
    if [Author::Engine.name(), Author::Ur.name(), Author::PartnerApi.name()].contains(&text) {
        return Err("must not be engine, ur or partner_api: the journal names tapgate itself and the providers so");
    }
    let fits = (1..=64).contains(&text.len());
    if fits && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) {
        Ok(text.to_owned())
    } else {
        Err("must be 1 to 64 letters, digits, '.', '_' or '-'")
    }
}

/// No message repeats the value: an operator may paste the token itself.
fn token_hash(setting: &Setting<'_>) -> Result<TokenHash, String> {
    const FORM: &str = "must be the token's SHA-256 in 64 hexadecimal digits";
    let text = setting.text()?;
    let mut hash = [0; 32];
    hex::decode_to_slice(text, &mut hash).map_err(|_| FORM)?;
    if text.eq_ignore_ascii_case(SHA256_OF_NOTHING) {
        return Err("is the SHA-256 of an empty token".to_owned());
    }
    Ok(TokenHash(hash))
}
