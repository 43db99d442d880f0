//! JSON of any shape in which no object has a key twice: which of two values counts would be chance.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::Malformed;
use super::forms::text_of_raw;

/// Reads JSON that is known not to be nested deeply.
///
/// # Errors
/// An object has a key twice.
pub(super) fn unique(raw: &RawValue) -> Result<Value, Malformed> {
    read(raw).map_err(|error| Malformed(error.to_string()))
}

fn read(raw: &RawValue) -> Result<Value, serde_json::Error> {
    let source = raw.get();
    match source.as_bytes().first() {
        Some(b'"') => Ok(Value::String(text_of_raw(raw).map(Cow::into_owned).unwrap_or_default())),
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(source)?;
            items.into_iter().map(read).collect::<Result<_, _>>().map(Value::Array)
        }
        Some(b'{') => serde_json::Deserializer::from_str(source).deserialize_map(Fields).map(Value::Object),
        _ => serde_json::from_str(source),
    }
}

struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Map<String, Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Map::new();
        while let Some((key, raw)) = map.next_entry::<String, &RawValue>()? {
            let value = read(raw).map_err(de::Error::custom)?;
            // The key may be somebody's id.
            if fields.insert(key, value).is_some() {
                return Err(de::Error::custom("data: an object has a field twice"));
            }
        }
        Ok(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(source: &str) -> Option<Value> {
        unique(serde_json::from_str(source).unwrap()).ok()
    }

    #[test]
    fn any_json_is_read_as_it_is() {
        for source in [r#"{"a":[1,-2,3.5,"x",null,true,{"b":{}}],"c":"\u00e9"}"#, "[]", "null", "7", r#""x""#] {
            assert_eq!(read(source), serde_json::from_str(source).ok(), "{source}");
        }
        let half = read(r#"{"title":"half \ud83d"}"#).unwrap();
        assert!(half["title"].as_str().unwrap().starts_with("half \u{fffd}"), "as in a callback: {half}");
    }

    #[test]
    fn a_field_that_comes_twice_is_refused_at_any_depth() {
        for source in [r#"{"a":1,"a":1}"#, r#"[{"a":{"b":1,"c":2,"b":3}}]"#, r#"{"a":1,"\u0061":2}"#] {
            assert_eq!(read(source), None, "{source}");
        }
    }
}
