//! What a person at a terminal reads: amounts, times, tables, and nothing that could steer the terminal.

pub(super) mod amounts;
pub(super) mod screen;
pub(super) mod table;
pub(super) mod when;
