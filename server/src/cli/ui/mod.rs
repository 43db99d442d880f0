//! Output for people: amounts, times, tables, and no text that could control the terminal.

pub(super) mod amounts;
pub(super) mod screen;
pub(super) mod table;
pub(super) mod when;
