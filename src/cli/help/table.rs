//! A table as plain text: in columns where it fits, else each row as a block of its own.

use super::wrap::wrapped;

const GAP: usize = 2;

/// The first row is the heading; rows may be shorter than it.
pub(super) fn printed(rows: &[Vec<String>], width: usize) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let wide =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| wide(column).unwrap_or_default()).collect();
    if widths.iter().sum::<usize>() + GAP * columns.saturating_sub(1) <= width {
        in_columns(rows, &widths)
    } else {
        in_blocks(rows)
    }
}

fn in_columns(rows: &[Vec<String>], widths: &[usize]) -> String {
    let line = |cells: &[String]| {
        let padded = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}{:GAP$}", ""));
        padded.collect::<String>().trim_end().to_owned() + "\n"
    };
    let dashes: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
    let Some((heading, rows)) = rows.split_first() else { return String::new() };
    let heading =
        if heading.iter().all(String::is_empty) { String::new() } else { line(heading) + &line(&dashes) };
    rows.iter().fold(heading, |told, row| told + &line(row))
}

/// The first cell, and below it the others, each behind its column's name where it has one.
fn in_blocks(rows: &[Vec<String>]) -> String {
    let Some((heading, rows)) = rows.split_first() else { return String::new() };
    let mut told = Vec::new();
    for row in rows {
        let mut block = wrapped(row.first().map_or("", String::as_str), "", "  ");
        for (name, cell) in heading.iter().zip(row).skip(1).filter(|(_, cell)| !cell.is_empty()) {
            let name =
                if name.is_empty() || heading.len() == 2 { String::new() } else { format!("{name}: ") };
            block.push_str(&wrapped(&format!("{name}{cell}"), "    ", "    "));
        }
        told.push(block);
    }
    told.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(cells: &[&[&str]]) -> Vec<Vec<String>> {
        cells.iter().map(|row| row.iter().map(|cell| (*cell).to_owned()).collect()).collect()
    }

    #[test]
    fn a_table_that_fits_stands_in_columns() {
        let table = rows(&[&["key", "default"], &["`a`", "1"], &["`long`", "2"]]);
        assert_eq!(printed(&table, 80), "key     default\n------  -------\n`a`     1\n`long`  2\n");
    }

    #[test]
    fn a_table_that_does_not_fit_stands_row_by_row() {
        let table = rows(&[&["key", "default", "is"], &["`a`", "1", "something"]]);
        assert_eq!(printed(&table, 10), "`a`\n    default: 1\n    is: something\n");
    }
}
