//! Tables that fit the terminal, and sections of named values.

use comfy_table::{Attribute, Cell, CellAlignment, ContentArrangement, Table};

use super::screen::Screen;

/// Spaces between two columns.
const GAP: u16 = 2;

/// A cell with its alignment.
pub(in crate::cli) struct TableCell {
    text: String,
    alignment: CellAlignment,
}

/// Text is aligned left.
pub(in crate::cli) fn left(text: &(impl ToString + ?Sized)) -> TableCell {
    TableCell { text: text.to_string(), alignment: CellAlignment::Left }
}

/// Numbers are aligned right.
pub(in crate::cli) fn right(text: &(impl ToString + ?Sized)) -> TableCell {
    TableCell { text: text.to_string(), alignment: CellAlignment::Right }
}

/// A table without lines; the first row determines the columns' alignment. On a terminal that is too narrow, cells
/// wrap.
pub(in crate::cli) fn table(screen: Screen, header: &[&str], rows: Vec<Vec<TableCell>>) -> String {
    let sides: Vec<_> = rows.first().into_iter().flatten().map(|cell| cell.alignment).collect();
    let mut table = Table::new();
    let heading = |name: &&str| {
        let cell = Cell::new(name);
        if screen.has_colour() { cell.add_attribute(Attribute::Bold) } else { cell }
    };
    table.load_style(comfy_table::presets::NOTHING).set_header(header.iter().map(heading).collect::<Vec<_>>());
    let width = if screen.is_terminal() { ContentArrangement::Dynamic } else { ContentArrangement::Disabled };
    table.set_content_arrangement(width).add_rows(rows.into_iter().map(|row| row.into_iter().map(|cell| cell.text)));
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, GAP));
        column.set_cell_alignment(sides.get(index).copied().unwrap_or(CellAlignment::Left));
    }
    let mut shown = table.trim_fmt();
    shown.push('\n');
    shown
}

/// Named values, one a line, with the names in one column.
pub(in crate::cli) fn fields(named: &[(&str, String)]) -> String {
    let width = named.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    named.iter().map(|(name, value)| format!("  {name:<width$}  {value}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_columns_and_nothing_else() {
        let rows = vec![vec![left(&"EUR"), right(&"12.50 EUR")], vec![left(&"USD"), right(&"100000.00 USD")]];
        let shown = table(Screen::plain(), &["POOL", "AVAILABLE"], rows);
        assert_eq!(shown, "POOL      AVAILABLE\nEUR       12.50 EUR\nUSD   100000.00 USD\n");
    }

    #[test]
    fn fields_stand_in_one_column() {
        let shown = fields(&[("user", "12345".to_owned()), ("card", "card_9".to_owned()), ("at", String::new())]);
        assert_eq!(shown, "  user  12345\n  card  card_9\n  at    \n");
    }
}
