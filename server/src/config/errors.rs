//! The errors of a configuration, with their places.

use std::fmt;

/// Prefix of every environment variable that overrides a setting.
pub(super) const VARIABLE_PREFIX: &str = "TAPGATE__";

/// The place of a setting. Sorted like the messages: the file from its top, then settings that the file lacks, then the
/// environment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A line of the file, from 1.
    Line(usize),
    /// Missing from the file.
    File,
    /// An environment variable, by name.
    Variable(String),
}

/// One bad setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    pub place: Place,
    /// Its path, such as `admin.tokens[0].role`; empty for text that is not TOML.
    pub setting: String,
    /// The error, without any secret.
    pub message: String,
}

/// Every bad setting of a configuration. Displayed one per line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors {
    file_name: String,
    errors: Vec<ConfigError>,
}

impl ConfigErrors {
    pub(super) fn new(file_name: &str, mut errors: Vec<ConfigError>) -> ConfigErrors {
        errors.sort_by(|a, b| a.place.cmp(&b.place));
        ConfigErrors { file_name: file_name.to_owned(), errors }
    }

    /// The bad settings in display order; at least one.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.errors.iter()
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = &self.file_name;
        for (index, ConfigError { place, setting, message }) in self.errors.iter().enumerate() {
            // A quoted key may hold anything, even line ends.
            let setting = &setting.escape_debug().to_string();
            if index > 0 {
                f.write_str("\n")?;
            }
            match place {
                Place::Line(line) => write!(f, "{file}:{line}: ")?,
                Place::File => write!(f, "{file}: ")?,
                // The variable's name already names the setting; only the path within its value is added.
                Place::Variable(name) => write!(f, "environment {name}{}: ", within(name, setting))?,
            }
            if !setting.is_empty() && !matches!(place, Place::Variable(_)) {
                write!(f, "{setting}: ")?;
            }
            f.write_str(message)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// The setting that a variable overrides.
pub(super) fn setting_of(variable: &str) -> String {
    let name = variable.strip_prefix(VARIABLE_PREFIX).unwrap_or(variable);
    name.to_ascii_lowercase().replace("__", ".")
}

/// The variable that overrides a setting.
pub(super) fn variable_of(setting: &str) -> String {
    format!("{VARIABLE_PREFIX}{}", setting.to_ascii_uppercase().replace('.', "__"))
}

fn within<'a>(variable: &str, setting: &'a str) -> &'a str {
    setting.strip_prefix(&setting_of(variable)).unwrap_or_default()
}
