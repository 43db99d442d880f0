//! A header that counts once: where it comes twice, a proxy could have read the other value.

use hyper::header::{HeaderMap, HeaderValue};

/// The header came more than once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Repeated;

/// The one value of a header.
///
/// # Errors
/// It came more than once.
pub(super) fn single<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a HeaderValue>, Repeated> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(_), Some(_)) => Err(Repeated),
        (value, _) => Ok(value),
    }
}
