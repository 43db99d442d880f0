//! How many generated cases a property runs.

use std::io::Write as _;

/// The cases of the calling property: `TAPGATE_CASES` of the environment, which `make soak` sets, else `default`.
///
/// A number that was asked for is printed past the test runner's capture, which hides what a passing test prints.
#[must_use]
pub fn cases(default: u32) -> u32 {
    let Ok(asked) = std::env::var("TAPGATE_CASES") else { return default };
    let cases = asked.parse().expect("TAPGATE_CASES is a number");
    let test = std::thread::current();
    let _ = writeln!(std::io::stderr(), "property {}: {cases} cases", test.name().unwrap_or_default());
    cases
}
