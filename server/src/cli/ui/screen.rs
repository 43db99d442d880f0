//! Output that may reach a terminal: text without control characters, and colours where wanted.

use std::fmt;
use std::io::IsTerminal;

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use tapgate_engine::text::is_printable;

/// Text from the API that is safe to show: a merchant's name must not move the cursor or reorder a line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::cli) struct Text(String);

impl Text {
    pub(in crate::cli) fn of(text: &str) -> Text {
        Text(clean(text))
    }

    pub(in crate::cli) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Text, D::Error> {
        Ok(match Value::deserialize(deserializer)? {
            Value::String(text) => Text::of(&text),
            Value::Null => Text::default(),
            other => Text::of(&other.to_string()),
        })
    }
}

/// Escapes every character that is not printable, as in `\u{1b}`.
pub(in crate::cli) fn clean(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if is_printable(character) { shown.push(character) } else { shown.extend(character.escape_unicode()) }
    }
    shown
}

/// The same for text of several lines.
pub(in crate::cli) fn clean_lines(text: &str) -> String {
    text.split('\n').map(clean).collect::<Vec<_>>().join("\n")
}

/// Escapes such characters inside JSON's strings: the same value, safe on a terminal.
pub(in crate::cli) fn clean_json(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for character in json.chars() {
        // Valid JSON has control characters up to space only between its tokens, as white space.
        if is_printable(character) || character <= ' ' {
            shown.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            shown.push_str(&format!("\\u{unit:04x}"));
        }
    }
    shown
}

#[derive(Clone, Copy, Debug)]
pub(in crate::cli) struct Screen {
    colour: bool,
    terminal: bool,
}

impl Screen {
    /// Colours only on a terminal, and neither with `NO_COLOR` nor on a terminal without colours.
    pub(in crate::cli) fn of_stdout() -> Screen {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let terminal = std::io::stdout().is_terminal();
        let dumb = set("TERM").is_some_and(|term| term == "dumb");
        Screen { colour: terminal && set("NO_COLOR").is_none() && !dumb, terminal }
    }

    /// As for a file.
    #[cfg(test)]
    pub(in crate::cli) fn plain() -> Screen {
        Screen { colour: false, terminal: false }
    }

    /// As for a terminal.
    #[cfg(test)]
    pub(in crate::cli) fn coloured() -> Screen {
        Screen { colour: true, terminal: true }
    }

    pub(in crate::cli) fn has_colour(self) -> bool {
        self.colour
    }

    pub(in crate::cli) fn is_terminal(self) -> bool {
        self.terminal
    }

    pub(in crate::cli) fn strong(self, text: &str) -> String {
        self.paint("1", text)
    }

    pub(in crate::cli) fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    pub(in crate::cli) fn bad(self, text: &str) -> String {
        self.paint("1;31", text)
    }

    pub(in crate::cli) fn faint(self, text: &str) -> String {
        self.paint("2", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        let check = |text: &str, expected: &str| assert_eq!(clean(text), expected);
        check("Café Zürich 東京", "Café Zürich 東京");
        check("\u{1b}[2J", "\\u{1b}[2J");
        check("a\nb\tc\u{7f}\u{9b}31m", "a\\u{a}b\\u{9}c\\u{7f}\\u{9b}31m");
        check("1\u{202e}00", "1\\u{202e}00");
        check("\u{e0041}", "\\u{e0041}");
        assert_eq!(clean_lines("a\tb\nc\u{1b}"), "a\\u{9}b\nc\\u{1b}");
    }

    #[test]
    fn json_keeps_its_value() {
        let value = serde_json::json!({"name": "a\u{1b}\u{7f}\u{9b}\u{202e}\u{e0041}é\"", "n": 1});
        let shown = clean_json(&value.to_string());
        assert!(shown.chars().all(is_printable), "{shown}");
        assert_eq!(serde_json::from_str::<Value>(&shown).unwrap(), value);
    }

    #[test]
    fn text_is_clean_from_the_moment_it_is_read() {
        let text: Text = serde_json::from_str(r#""x\u001b[31m""#).unwrap();
        assert_eq!(text.as_str(), "x\\u{1b}[31m");
        assert_eq!(serde_json::from_str::<Text>("12").unwrap().as_str(), "12");
    }

    #[test]
    fn colours_are_only_where_they_are_wanted() {
        assert_eq!(Screen::plain().bad("no"), "no");
        assert_eq!(Screen::coloured().bad("no"), "\u{1b}[1;31mno\u{1b}[0m");
    }
}
