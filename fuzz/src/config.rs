//! Configuration files and variables: reading never panics, and no error shows a secret.

use std::io;
use std::path::Path;

use tapgate::config::Config;

/// What every file of a secret holds; no message may repeat it.
const SECRET: &str = "0x5ec4e75ec4e75ec4e75ec4e75ec4e75ec4e75ec4e75ec4e75ec4e75ec4e75ec4";

/// Reads the bytes up to the first zero as the file, and the lines after it as variables, `NAME=value`.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (file, variables) = text.split_once('\0').unwrap_or((text, ""));
    let variables: Vec<(String, String)> = variables
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    let read = |path: &Path| match path.to_str() {
        Some("missing") | None => Err(io::Error::from(io::ErrorKind::NotFound)),
        Some(_) => Ok(SECRET.to_owned()),
    };
    let shown = match Config::load(file, "fuzz.toml", variables, read) {
        Ok(config) => format!("{config:?}"),
        Err(errors) => format!("{errors}{errors:?}"),
    };
    // The input may hold it, too: then nothing follows from its being shown.
    let secret = SECRET.trim_start_matches("0x");
    assert!(text.contains(secret) || !shown.contains(secret), "a secret is shown: {shown}");
}
