//! Text that people write and people read.

/// Whether a character is visible as itself: it neither controls a terminal nor reorders or hides a line's text.
#[must_use]
pub fn is_printable(character: char) -> bool {
    let hides = matches!(character, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}');
    !character.is_control() && !hides
}
