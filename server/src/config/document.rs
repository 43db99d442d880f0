//! The file and the environment, parsed but not yet checked.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use toml::de::{DeTable, DeValue};

use super::errors::{Place, variable_of};
use super::setting::{Given, Setting};

/// The file's text without the lines at which TOML's parser stops, and all syntax errors.
pub(super) struct Text<'t> {
    text: Cow<'t, str>,
    syntax_errors: BTreeMap<usize, String>,
}

/// The operator's file and environment.
pub(super) struct Document<'a> {
    pub(super) file_name: &'a str,
    text: &'a str,
    pub(super) root: DeTable<'a>,
    variables: BTreeMap<&'a str, Variable<'a>>,
    /// The lines with syntax errors, and the reasons.
    pub(super) syntax_errors: &'a BTreeMap<usize, String>,
}

struct Variable<'a> {
    text: &'a str,
    /// The text parsed as TOML, if it is TOML.
    value: Option<DeValue<'a>>,
}

impl<'t> Text<'t> {
    /// Parses the text. The parser recovers from most errors, but stops at a key without a value and would leave the
    /// rest unchecked. Such a line is reported and blanked; every other byte keeps its place.
    pub(super) fn read(text: &'t str) -> Text<'t> {
        let mut read = Text { text: Cow::Borrowed(text), syntax_errors: BTreeMap::new() };
        // Terminates: a blank line is never blanked again.
        loop {
            let lines_to_go = read.parse_once();
            if lines_to_go.is_empty() {
                return read;
            }
            let blank = |text: &str| text.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }).collect();
            let lines = read.text.split_inclusive('\n').zip(1..);
            let kept =
                lines.map(|(text, line)| if lines_to_go.contains(&line) { blank(text) } else { text.to_owned() });
            read.text = Cow::Owned(kept.collect());
        }
    }

    /// Records the syntax errors of the current text, and returns the lines to blank.
    fn parse_once(&mut self) -> BTreeSet<usize> {
        let (_, errors) = DeTable::parse_recoverable(&self.text);
        let mut lines_to_go = BTreeSet::new();
        for error in errors {
            let line = line_of(&self.text, error.span().map_or(self.text.len(), |span| span.start));
            let text = self.text.split('\n').nth(line - 1).unwrap_or_default().trim_start();
            if text.starts_with(|first: char| first.is_ascii_alphanumeric() || "_-".contains(first))
                && !text.contains('=')
            {
                lines_to_go.insert(line);
            }
            // Later errors of a line mostly follow from its first.
            self.syntax_errors.entry(line).or_insert_with(|| format!("not TOML: {}", error.message()));
        }
        lines_to_go
    }
}

impl<'a> Document<'a> {
    /// `variables` are the environment's overrides, by name.
    pub(super) fn parse(
        text: &'a Text<'_>,
        file_name: &'a str,
        variables: &'a BTreeMap<String, String>,
    ) -> Document<'a> {
        let (root, _) = DeTable::parse_recoverable(&text.text);
        let parse_variable = |(name, text): (&'a String, &'a String)| {
            let value = DeValue::parse(text).ok().map(toml::Spanned::into_inner);
            (name.as_str(), Variable { text, value })
        };
        let variables = variables.iter().map(parse_variable).collect();
        let syntax_errors = &text.syntax_errors;
        Document { file_name, text: &text.text, root: root.into_inner(), variables, syntax_errors }
    }

    /// The setting from the environment, or else from the file.
    pub(super) fn find(&self, path: &str) -> Option<Setting<'_>> {
        let name = variable_of(path);
        if let Some(Variable { text, value }) = self.variables.get(name.as_str()) {
            let given = Given::Text { text, value: value.as_ref() };
            return Some(Setting { path: path.to_owned(), place: Place::Variable(name), given });
        }
        let (table, key) = match path.split_once('.') {
            Some((section, key)) => (self.root.get(section)?.get_ref().as_table()?, key),
            None => (&self.root, path),
        };
        let value = table.get(key)?;
        let place = self.line(value.span().start);
        Some(Setting { path: path.to_owned(), place, given: Given::Toml(value.get_ref()) })
    }

    /// The place for a missing setting: its section's header, if there is one.
    pub(super) fn home(&self, path: &str) -> Place {
        let section = path.split_once('.').and_then(|(section, _)| self.root.get_key_value(section));
        section.map_or(Place::File, |(key, _)| self.line(key.span().start))
    }

    pub(super) fn line(&self, offset: usize) -> Place {
        Place::Line(line_of(self.text, offset))
    }

    /// The place of a part of a setting's value: its own line of the file, or the same variable.
    pub(super) fn place_within(&self, whole: &Place, offset: usize) -> Place {
        match whole {
            Place::Variable(name) => Place::Variable(name.clone()),
            Place::Line(_) | Place::File => self.line(offset),
        }
    }

    pub(super) fn variable_names(&self) -> impl Iterator<Item = &str> {
        self.variables.keys().copied()
    }

    /// Whether a syntax error between a line and the next section's header may have hidden a setting.
    pub(super) fn is_incomplete_from(&self, line: usize) -> bool {
        let is_next_header = |(text, number): &(&str, usize)| *number > line && text.trim_start().starts_with('[');
        let end = self.text.lines().zip(1..).find(is_next_header).map_or(usize::MAX, |(_, number)| number);
        self.syntax_errors.range(line..end).next().is_some()
    }

    /// Whether a line is not TOML, or stands below a broken section header, so that its section is unknown.
    pub(super) fn is_misread(&self, line: usize) -> bool {
        let header = self.text.lines().zip(1..=line).filter(|(text, _)| text.trim_start().starts_with('[')).last();
        let is_broken = |line| self.syntax_errors.contains_key(&line);
        is_broken(line) || header.is_some_and(|(_, header)| is_broken(header))
    }
}

/// The line of a byte of the text, from 1. Past the end: the last line that is not blank.
fn line_of(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().get(..offset).unwrap_or(text.trim_end().as_bytes());
    before.iter().filter(|byte| **byte == b'\n').count() + 1
}
