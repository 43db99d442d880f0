//! An answer's template: JSON with names in braces, each of which becomes a JSON value. A name stands where a value may
//! stand, never within a string, so that no value can break out of its place.

use serde_json::Value;
use serde_json::value::RawValue;

use super::AnswerBody;
use crate::wire::unique::unique;
use crate::wire::ur::AmountForm;

/// A name in a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    AuthorizationId,
    PartnerRefId,
    Approved,
    Source,
    ApprovedAmount,
    Currency,
    Reason,
    ResponseCode,
}

impl Slot {
    const NAMED: [(&str, Slot); 8] = [
        ("authorizationId", Slot::AuthorizationId),
        ("partnerRefId", Slot::PartnerRefId),
        ("approved", Slot::Approved),
        ("source", Slot::Source),
        ("approvedAmount", Slot::ApprovedAmount),
        ("currency", Slot::Currency),
        ("reason", Slot::Reason),
        ("responseCode", Slot::ResponseCode),
    ];
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Value(Slot),
}

/// A template that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// It is not JSON once its names have values, a name stands within a string, or an object has a field twice. The message
    /// names the character.
    pub fn parse(text: &str) -> Result<Template, String> {
        let mut pieces = vec![Piece::Text(String::new())];
        let (mut rest, mut in_string, mut escaped) = (text, false, false);
        while let Some(next) = rest.chars().next() {
            let slot = Slot::NAMED.iter().find(|(name, _)| {
                rest.strip_prefix('{')
                    .and_then(|rest| rest.strip_prefix(name))
                    .is_some_and(|rest| rest.starts_with('}'))
            });
            if let Some((name, slot)) = slot {
                if in_string {
                    let at = text.len() - rest.len() + 1;
                    return Err(format!(
                        "{{{name}}} at character {at} stands within a string: write it without quotes, it brings its own"
                    ));
                }
                pieces.extend([Piece::Value(*slot), Piece::Text(String::new())]);
                rest = rest.get(name.len() + 2..).unwrap_or_default();
                continue;
            }
            (in_string, escaped) = match next {
                _ if escaped => (in_string, false),
                '\\' if in_string => (true, true),
                '"' => (!in_string, false),
                _ => (in_string, false),
            };
            if let Some(Piece::Text(last)) = pieces.last_mut() {
                last.push(next);
            }
            rest = rest.get(next.len_utf8()..).unwrap_or_default();
        }
        let template = Template(pieces);
        let filled = template.filled(|_| Value::Null);
        let names = Slot::NAMED.map(|(name, _)| format!("{{{name}}}")).join(" ");
        let read = serde_json::from_slice::<&RawValue>(&filled)
            .map_err(|error| format!("is not JSON once its names have values: {error}; the names are {names}"))?;
        match unique(read) {
            Ok(Value::Object(_)) => Ok(template),
            Ok(_) => Err("must be a JSON object".to_owned()),
            Err(_) => Err("has a field twice in one object: which of them UR reads would be chance".to_owned()),
        }
    }

    fn filled(&self, value: impl Fn(Slot) -> Value) -> Vec<u8> {
        let mut filled = Vec::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => filled.extend_from_slice(text.as_bytes()),
                Piece::Value(slot) => filled.extend_from_slice(value(*slot).to_string().as_bytes()),
            }
        }
        filled
    }

    /// The answer's bytes. What an answer lacks is null.
    pub(super) fn render(&self, answer: &AnswerBody<'_>, amounts: AmountForm) -> Vec<u8> {
        let amount = answer.approved_amount.as_deref();
        self.filled(|slot| match slot {
            Slot::AuthorizationId => answer.authorization_id.into(),
            Slot::PartnerRefId => answer.partner_ref_id.into(),
            Slot::Approved => answer.approved.into(),
            Slot::Source => answer.source.into(),
            Slot::ApprovedAmount if amounts == AmountForm::Decimal => amount.map(decimal).into(),
            Slot::ApprovedAmount => amount.into(),
            Slot::Currency => answer.currency.into(),
            Slot::Reason => answer.reason.into(),
            Slot::ResponseCode => answer.response_code.into(),
        })
    }
}

/// Smallest units as units with two decimals, as UR counts every currency.
fn decimal(smallest: &str) -> String {
    let padded = format!("{smallest:0>3}");
    let (units, hundredths) = padded.split_at(padded.len() - 2);
    format!("{units}.{hundredths}")
}
