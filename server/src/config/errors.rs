//! What is wrong with a configuration, and where.

use std::fmt;

/// Begins the name of every environment variable that overrides a setting.
pub(super) const VARIABLE_PREFIX: &str = "TAPGATE__";

/// Where a setting was given. Ordered as the messages are: the file from its top, then what the file lacks, then the
/// environment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A line of the file, from 1.
    Line(usize),
    /// Nowhere in the file.
    File,
    /// An environment variable, by its name.
    Variable(String),
}

/// One bad setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Where it was given.
    pub place: Place,
    /// Its path, such as `admin.tokens[0].role`; empty where the text is not TOML.
    pub setting: String,
    /// What is wrong with it, without any secret.
    pub message: String,
}

/// Every bad setting of a configuration. Shown one a line.
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

    /// The bad settings in the order in which they are shown; at least one.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.errors.iter()
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = &self.file_name;
        for (index, ConfigError { place, setting, message }) in self.errors.iter().enumerate() {
            // A quoted key may hold anything, line ends too.
            let setting = &setting.escape_debug().to_string();
            if index > 0 {
                f.write_str("\n")?;
            }
            match place {
                Place::Line(line) => write!(f, "{file}:{line}: ")?,
                Place::File => write!(f, "{file}: ")?,
                // The variable's name says the setting; only what lies within its value is left to say.
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
