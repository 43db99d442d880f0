//! UR's envelopes: three shapes of success and refusal, and lists in three places.

use serde_json::Value;

use super::amounts::text_of;
use crate::wire::Malformed;

/// UR's refusal codes (seeds 002 to 004), by remedy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefusalCode {
    /// 4001: a requested transaction does not exist; the whole batch fails.
    NotFound,
    /// 10000, 50001, 50002, 50003: UR failed; the same request may succeed later.
    Unavailable,
    /// 10001: UR rejects our signature, key or deadline. Retries fail until a person intervenes.
    Signature,
    /// 10005, 10007, 30001: the object already exists; reuse it.
    Exists,
    /// 10006, 10008: the account's status forbids the request.
    Status,
    /// 10016: too many calls; back off exponentially.
    RateLimited,
    /// 10999: the user is blocked at UR.
    Blocked,
    /// Every other code: the request itself is wrong, and a retry fails too.
    Invalid,
}

impl RefusalCode {
    #[must_use]
    pub fn of(code: i64) -> RefusalCode {
        match code {
            4_001 => RefusalCode::NotFound,
            10_000 | 50_001..=50_003 => RefusalCode::Unavailable,
            10_001 => RefusalCode::Signature,
            10_005 | 10_007 | 30_001 => RefusalCode::Exists,
            10_006 | 10_008 => RefusalCode::Status,
            10_016 => RefusalCode::RateLimited,
            10_999 => RefusalCode::Blocked,
            _ => RefusalCode::Invalid,
        }
    }
}

/// The content of an envelope.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The whole answer of a successful call.
    Done(Value),
    Refused {
        code: i64,
        message: String,
    },
}

/// Reads `{code, message, data}`, `{retCode, retMsg, result}` or `{error_code, error_msg}`. An object without a code is
/// its own data.
///
/// # Errors
/// Not a JSON object, or its code is not a number.
pub fn read(body: &[u8]) -> Result<Answer, Malformed> {
    let value: Value = serde_json::from_slice(body).map_err(|error| Malformed(format!("not JSON: {error}")))?;
    let object = value.as_object().ok_or_else(|| Malformed("the answer is not a JSON object".to_owned()))?;
    let Some(code) = ["code", "retCode", "error_code"].iter().find_map(|key| object.get(*key)) else {
        return Ok(Answer::Done(value));
    };
    let number = text_of(code).and_then(|code| code.parse().ok());
    let code: i64 = number.ok_or_else(|| Malformed(format!("the answer's code is {code}")))?;
    if code == 0 {
        return Ok(Answer::Done(value));
    }
    let message = ["message", "retMsg", "error_msg"].iter().find_map(|key| object.get(*key));
    let message = message.and_then(Value::as_str).unwrap_or_default().to_owned();
    Ok(Answer::Refused { code, message })
}

/// The payload: under `data` or `result`, or the answer itself.
pub(super) fn data(answer: &Value) -> &Value {
    ["data", "result"].iter().find_map(|key| answer.get(*key)).unwrap_or(answer)
}

/// The position in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Unix seconds.
    pub timestamp: i64,
    /// UR's row number.
    pub id: i64,
}

#[derive(Clone, Debug)]
pub struct Page<T> {
    pub rows: Vec<T>,
    /// The errors of unreadable rows, and of a page marker that cannot be read: the list goes on, and nobody knows where.
    pub unreadable: Vec<Malformed>,
    pub next: Option<Cursor>,
}

impl<T> Page<T> {
    /// Reads a page with rows under `data`, `data.items` or `data.list`. An unreadable row is reported in `unreadable`;
    /// the others still count.
    ///
    /// # Errors
    /// None of these places has a list.
    pub fn read(answer: &Value, row: impl Fn(&Value) -> Result<T, Malformed>) -> Result<Page<T>, Malformed> {
        let data = data(answer);
        let rows = [Some(data), data.get("items"), data.get("list")].into_iter().flatten().find_map(Value::as_array);
        let empty = Vec::new();
        // UR may send an empty list as null.
        let rows = if data.is_null() { Some(&empty) } else { rows };
        let rows = rows.ok_or_else(|| Malformed("the answer holds no list".to_owned()))?;
        let mut page = Page { rows: Vec::new(), unreadable: Vec::new(), next: None };
        for value in rows {
            match row(value) {
                Ok(row) => page.rows.push(row),
                Err(error) => page.unreadable.push(error),
            }
        }
        let marked = |key: &str| [answer, data].iter().find_map(|place| place.get(key));
        // The last page may still carry a cursor: if the marker is present, it decides.
        let goes_on = marked("hasNextPage").filter(|has| !has.is_null()).map(|has| has.as_bool().unwrap_or(true));
        let shown = marked("nextCursor").filter(|shown| !shown.is_null() && shown.as_str() != Some(""));
        match (goes_on, shown) {
            (Some(false), _) | (None, None) => {}
            (_, shown) => match shown.and_then(cursor) {
                Some(next) => page.next = Some(next),
                None => {
                    page.unreadable.push(Malformed("nextCursor must be a timestamp and a numeric id".to_owned()));
                }
            },
        }
        Ok(page)
    }
}

impl<T> Page<Option<T>> {
    /// The page without its empty rows.
    #[must_use]
    pub fn flattened(self) -> Page<T> {
        Page { rows: self.rows.into_iter().flatten().collect(), unreadable: self.unreadable, next: self.next }
    }
}

fn cursor(value: &Value) -> Option<Cursor> {
    let number = |key: &str| value.get(key).and_then(text_of)?.parse().ok();
    Some(Cursor { timestamp: number("timestamp")?, id: number("id")? })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_envelope_is_read() {
        let read = |value: Value| read(value.to_string().as_bytes());
        let refused = |code, message: &str| Ok(Answer::Refused { code, message: message.to_owned() });
        let done = |value: Value| Ok(Answer::Done(value));
        let ok = json!({"code": 0, "message": "", "data": [1]});
        assert_eq!(read(ok.clone()), done(ok));
        let ok = json!({"retCode": "0", "retMsg": "ok", "result": {}});
        assert_eq!(read(ok.clone()), done(ok));
        assert_eq!(read(json!({"code": 10_001, "message": "no"})), refused(10_001, "no"));
        assert_eq!(read(json!({"retCode": 10_016, "retMsg": "slow"})), refused(10_016, "slow"));
        assert_eq!(read(json!({"error_code": 50_002, "error_msg": "sorry"})), refused(50_002, "sorry"));
        assert_eq!(read(json!({"quoteId": "q"})), done(json!({"quoteId": "q"})));
        assert!(read(json!([1])).is_err());
        assert!(read(json!({"code": "soon"})).is_err());
    }

    #[test]
    fn every_code_of_urs_documents_has_its_remedy() {
        let check = |codes: &[i64], expected| {
            for code in codes {
                assert_eq!(RefusalCode::of(*code), expected, "{code}");
            }
        };
        check(&[4_001], RefusalCode::NotFound);
        check(&[10_000, 50_001, 50_002, 50_003], RefusalCode::Unavailable);
        check(&[10_001], RefusalCode::Signature);
        check(&[10_005, 10_007, 30_001], RefusalCode::Exists);
        check(&[10_006, 10_008], RefusalCode::Status);
        check(&[10_016], RefusalCode::RateLimited);
        check(&[10_999], RefusalCode::Blocked);
        let wrong = [10_002, 10_003, 10_004, 10_009, 10_010, 10_040, 10_041, 10_051, 10_052, 10_053, 10_054];
        check(&wrong, RefusalCode::Invalid);
        check(&[20_001, 20_002, 20_003, 7], RefusalCode::Invalid);
    }

    #[test]
    fn a_list_is_found_in_each_of_its_places() {
        let number = |value: &Value| value.as_i64().ok_or_else(|| Malformed("no number".to_owned()));
        let cursor = json!({"timestamp": "7", "id": 3});
        for answer in [
            json!({"code": 0, "data": [1, 2, "x"], "hasNextPage": true, "nextCursor": cursor}),
            json!({"code": 0, "data": {"items": [1, 2, "x"], "hasNextPage": true, "nextCursor": cursor}}),
            json!({"code": 0, "data": {"list": [1, 2, "x"]}, "nextCursor": cursor}),
        ] {
            let page = Page::read(&answer, number).unwrap();
            assert_eq!((page.rows, page.unreadable.len()), (vec![1, 2], 1), "{answer}");
            assert_eq!(page.next, Some(Cursor { timestamp: 7, id: 3 }), "{answer}");
        }
        let last = json!({"code": 0, "data": [], "hasNextPage": false, "nextCursor": cursor});
        assert_eq!(Page::read(&last, number).unwrap().next, None);
        for (has, cursor, is_unclear) in [
            (json!(true), json!("eyJpZCI6NDJ9"), true),
            (json!(true), json!({"timestamp": 1, "id": "0xabc"}), true),
            (json!(true), Value::Null, true),
            (json!("yes"), Value::Null, true),
            (Value::Null, json!("eyJpZCI6NDJ9"), true),
            (Value::Null, json!(""), false),
            (json!(false), json!("eyJpZCI6NDJ9"), false),
        ] {
            let page = Page::read(&json!({"data": [1], "hasNextPage": has, "nextCursor": cursor}), number).unwrap();
            assert_eq!(
                (page.rows.len(), page.next, !page.unreadable.is_empty()),
                (1, None, is_unclear),
                "{has} {cursor}"
            );
        }
        assert!(Page::read(&json!({"code": 0, "data": null}), number).unwrap().rows.is_empty());
        assert!(Page::read(&json!({"code": 0, "data": "none"}), number).is_err());
    }
}
