//! Reads settings one by one and collects their errors, then reports the settings that no part read.

use std::collections::BTreeSet;

use toml::de::{DeTable, DeValue};

use super::document::Document;
use super::errors::{ConfigError, ConfigErrors, Place, setting_of, variable_of};
use super::setting::{Given, Setting, shown_name, wrong_type};

/// Sections of the interface that this version lacks. Named, so that no operator believes them in force.
const SECTIONS_OF_OTHER_VERSIONS: [&str; 3] = ["replication", "tls", "telemetry"];

const NOT_IN_THIS_VERSION: &str = "is not in this version: remove it";

/// Prefix of every message on a missing setting that is required.
const MISSING: &str = "is missing";

/// Letters per permitted edit between an unknown name and a known one (one edit is always permitted).
const LETTERS_PER_EDIT: usize = 3;

/// Reads a document. Each setting that a part reads becomes known; [`Reader::finish`] reports the others.
pub(super) struct Reader<'a> {
    document: &'a Document<'a>,
    known: BTreeSet<&'static str>,
    errors: Vec<ConfigError>,
}

/// A table within a setting, its keys already checked.
pub(super) struct Fields<'a> {
    path: String,
    place: Place,
    table: &'a DeTable<'a>,
}

impl Fields<'_> {
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }
}

impl<'a> Reader<'a> {
    pub(super) fn new(document: &'a Document<'a>) -> Reader<'a> {
        Reader { document, known: BTreeSet::new(), errors: Vec::new() }
    }

    /// The setting, if given.
    pub(super) fn find(&mut self, path: &'static str) -> Option<Setting<'a>> {
        self.known.insert(path);
        self.document.find(path)
    }

    /// The setting's value, if given and good.
    pub(super) fn value<T>(
        &mut self,
        path: &'static str,
        read: impl FnOnce(&Setting<'a>) -> Result<T, String>,
    ) -> Option<T> {
        let setting = self.find(path)?;
        self.judge(&setting, read(&setting))
    }

    /// The good items of a list; a bad item is reported at its own line. `None` without a list.
    pub(super) fn list<T>(
        &mut self,
        path: &'static str,
        items_max: usize,
        mut read: impl FnMut(&mut Self, &Setting<'a>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let setting = self.find(path)?;
        self.items(&setting, items_max, &mut read)
    }

    /// As [`Reader::list`], for a table's key.
    pub(super) fn field_list<T>(
        &mut self,
        fields: &Fields<'a>,
        key: &str,
        items_max: usize,
        mut read: impl FnMut(&mut Self, &Setting<'a>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let setting = self.field_setting(fields, key)?;
        self.items(&setting, items_max, &mut read)
    }

    fn items<T>(
        &mut self,
        setting: &Setting<'a>,
        items_max: usize,
        read: &mut impl FnMut(&mut Self, &Setting<'a>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let items = setting.toml("a list").and_then(|value| value.as_array().ok_or_else(|| setting.not("a list")));
        let items = self.judge(setting, items)?;
        if items.len() > items_max {
            self.report(setting, format!("may hold at most {items_max} items, got {}", items.len()));
        }
        let mut good = Vec::new();
        for (index, item) in items.iter().enumerate().take(items_max) {
            let item = Setting {
                path: format!("{}[{index}]", setting.path),
                place: self.document.place_within(&setting.place, item.span().start),
                given: Given::Toml(item.get_ref()),
            };
            good.extend(read(self, &item));
        }
        Some(good)
    }

    /// The setting as a table with no other keys than these.
    pub(super) fn table(&mut self, setting: &Setting<'a>, keys: &[&str]) -> Option<Fields<'a>> {
        let table = setting.toml("a table").and_then(|value| value.as_table().ok_or_else(|| setting.not("a table")));
        let table = self.judge(setting, table)?;
        for key in table.keys() {
            let name: &str = key.get_ref();
            if !keys.contains(&name) {
                let nearest = nearest(name, keys.iter().copied()).map(str::to_owned);
                self.errors.push(ConfigError {
                    place: self.document.place_within(&setting.place, key.span().start),
                    setting: format!("{}.{}", setting.path, shown_name(name)),
                    message: unknown(nearest),
                });
            }
        }
        Some(Fields { path: setting.path.clone(), place: setting.place.clone(), table })
    }

    /// A table's key, if given and good.
    pub(super) fn field<T>(
        &mut self,
        fields: &Fields<'a>,
        key: &str,
        read: impl FnOnce(&Setting<'a>) -> Result<T, String>,
    ) -> Option<T> {
        let field = self.field_setting(fields, key)?;
        self.judge(&field, read(&field))
    }

    /// A table's key as a table with no other keys than these.
    pub(super) fn field_table(&mut self, fields: &Fields<'a>, key: &str, keys: &[&str]) -> Option<Fields<'a>> {
        let setting = self.field_setting(fields, key)?;
        self.table(&setting, keys)
    }

    fn field_setting(&self, fields: &Fields<'a>, key: &str) -> Option<Setting<'a>> {
        let value = fields.table.get(key)?;
        Some(Setting {
            path: format!("{}.{key}", fields.path),
            place: self.document.place_within(&fields.place, value.span().start),
            given: Given::Toml(value.get_ref()),
        })
    }

    /// A required key of a table.
    pub(super) fn required_field<T>(
        &mut self,
        fields: &Fields<'a>,
        key: &str,
        read: impl FnOnce(&Setting<'a>) -> Result<T, String>,
    ) -> Option<T> {
        if !fields.has(key) {
            let (place, setting) = (fields.place.clone(), format!("{}.{key}", fields.path));
            self.errors.push(ConfigError { place, setting, message: MISSING.to_owned() });
        }
        self.field(fields, key, read)
    }

    /// Reports a setting's error, if there is one.
    pub(super) fn judge<T>(&mut self, setting: &Setting<'a>, result: Result<T, String>) -> Option<T> {
        result.map_err(|message| self.report(setting, message)).ok()
    }

    pub(super) fn report(&mut self, setting: &Setting<'a>, message: String) {
        self.errors.push(ConfigError { place: setting.place.clone(), setting: setting.path.clone(), message });
    }

    /// Reports a missing setting that is required.
    pub(super) fn missing(&mut self, path: &'static str, message: &str) {
        let place = self.document.home(path);
        self.errors.push(ConfigError { place, setting: path.to_owned(), message: format!("{MISSING}: {message}") });
    }

    /// All errors, once every setting has been read.
    pub(super) fn finish(mut self) -> Option<ConfigErrors> {
        self.report_unknown_keys();
        self.report_unknown_variables();
        self.report_syntax();
        if self.errors.is_empty() { None } else { Some(ConfigErrors::new(self.document.file_name, self.errors)) }
    }

    fn report_unknown_keys(&mut self) {
        for (key, value) in &self.document.root {
            let name: &str = key.get_ref();
            let place = self.document.line(key.span().start);
            // A quoted key may hold a dot, so it is not the path that it resembles.
            if self.known.contains(name) && !name.contains('.') {
                continue;
            }
            let message = match value.get_ref() {
                _ if SECTIONS_OF_OTHER_VERSIONS.contains(&name) => NOT_IN_THIS_VERSION.to_owned(),
                DeValue::Table(table) if self.is_section(name) => {
                    self.report_unknown_keys_of(name, table);
                    continue;
                }
                other if self.is_section(name) => wrong_type("a table", other),
                DeValue::Table(_) => unknown(nearest(name, self.sections()).map(str::to_owned)),
                _ => unknown(self.suggestion(name)),
            };
            self.errors.push(ConfigError { place, setting: shown_name(name), message });
        }
    }

    fn report_unknown_keys_of(&mut self, section: &str, table: &DeTable<'a>) {
        for key in table.keys() {
            let setting = format!("{section}.{}", key.get_ref());
            if !self.known.contains(setting.as_str()) {
                let place = self.document.line(key.span().start);
                let message = unknown(self.suggestion(&setting));
                let setting = format!("{section}.{}", shown_name(key.get_ref()));
                self.errors.push(ConfigError { place, setting, message });
            }
        }
    }

    fn report_unknown_variables(&mut self) {
        for name in self.document.variable_names() {
            let setting = setting_of(name);
            if self.known.contains(setting.as_str()) && variable_of(&setting) == name {
                continue;
            }
            let section = setting.split('.').next().unwrap_or_default();
            let message = if SECTIONS_OF_OTHER_VERSIONS.contains(&section) {
                NOT_IN_THIS_VERSION.to_owned()
            } else {
                unknown(self.suggestion(&setting).map(|setting| variable_of(&setting)))
            };
            self.errors.push(ConfigError { place: Place::Variable(name.to_owned()), setting, message });
        }
    }

    /// Adds the syntax errors and drops their consequences: errors found in a misread line, and settings that seem
    /// missing or unknown because they could not be read.
    fn report_syntax(&mut self) {
        let document = self.document;
        if document.syntax_errors.is_empty() {
            return;
        }
        self.errors.retain(|error| match error.place {
            Place::Line(line) if error.message.starts_with(MISSING) => !document.is_incomplete_from(line),
            Place::Line(line) => !document.is_misread(line),
            Place::File => false,
            Place::Variable(_) => true,
        });
        self.errors.extend(document.syntax_errors.iter().map(|(line, message)| ConfigError {
            place: Place::Line(*line),
            setting: String::new(),
            message: message.clone(),
        }));
    }

    fn sections(&self) -> impl Iterator<Item = &'static str> {
        self.known.iter().filter_map(|path| path.split_once('.')).map(|(section, _)| section)
    }

    fn is_section(&self, name: &str) -> bool {
        self.sections().any(|section| section == name)
    }

    /// The known setting that the operator probably meant: in the same section with nearly the same key, else with the
    /// same key in another section, else with nearly the same path.
    fn suggestion(&self, path: &str) -> Option<String> {
        let parts = |path: &'static str| path.rsplit_once('.').unwrap_or(("", path));
        let (section, key) = path.rsplit_once('.').unwrap_or(("", path));
        let siblings = self.known.iter().copied().map(parts).filter(|(other, _)| *other == section);
        if let Some(near) = nearest(key, siblings.map(|(_, key)| key)) {
            return Some(if section.is_empty() { near.to_owned() } else { format!("{section}.{near}") });
        }
        let elsewhere = self.known.iter().copied().find(|known| parts(known).1 == key);
        elsewhere.or_else(|| nearest(path, self.known.iter().copied())).map(str::to_owned)
    }
}

fn unknown(meant: Option<String>) -> String {
    match meant {
        Some(meant) => format!("unknown setting; did you mean {meant}?"),
        None => "unknown setting".to_owned(),
    }
}

/// The closest candidate, if it is close enough.
pub(super) fn nearest<'n>(name: &str, candidates: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let edits_max = (name.chars().count() / LETTERS_PER_EDIT).max(1);
    candidates
        .into_iter()
        .map(|candidate| (strsim::osa_distance(name, candidate), candidate))
        .filter(|(edits, _)| *edits <= edits_max)
        .min()
        .map(|(_, candidate)| candidate)
}
