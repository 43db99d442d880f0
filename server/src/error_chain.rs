//! Errors with their causes, on one line.

/// The error, then each cause that the error before does not mention.
#[must_use]
pub(crate) fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let said = inner.to_string();
        if !text.ends_with(&said) {
            text = format!("{text}: {said}");
        }
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("refused")]
    struct Refused;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Outer {
        text: &'static str,
        source: Refused,
    }

    #[test]
    fn each_cause_is_named_once() {
        let check = |text, expected: &str| assert_eq!(error_chain(&Outer { text, source: Refused }), expected);
        check("no connection", "no connection: refused");
        check("no connection: refused", "no connection: refused");
    }
}
