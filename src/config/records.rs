//! `[rule.records]`: how text becomes records.

use std::collections::BTreeSet;

use super::section::Section;
use crate::model::rule::{Csv, Fixed, FixedField, Format, OnMisfit, Records, Service};

const RECORD_MAX: u64 = 8 << 20;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    Lines,
    Csv,
    Fixed,
    Jsonl,
}

const CSV_KEYS: &[&str] = &["header", "columns", "delimiter", "quote", "escape", "columns_max"];
const FIXED_KEYS: &[&str] = &["fields", "record_length", "on_misfit"];
/// A longer separator is a mistake.
const SEPARATOR_BYTES_MAX: usize = 100;

/// Reads the table.
pub(super) fn read(section: &Section<'_>, service: &Service) -> Records {
    let words = [("lines", Word::Lines), ("csv", Word::Csv), ("fixed", Word::Fixed), ("jsonl", Word::Jsonl)];
    let word = section.choice("format", &words, &[]).unwrap_or(Word::Csv);
    let format = match word {
        Word::Lines => Format::Lines,
        Word::Csv => Format::Csv(csv(section)),
        Word::Fixed => Format::Fixed(fixed(section)),
        Word::Jsonl => Format::Jsonl,
    };
    if word != Word::Csv {
        section.refuse(CSV_KEYS, "only csv knows this key", "add `format = \"csv\"`, or take the key out");
    }
    if word != Word::Fixed {
        section.refuse(
            FIXED_KEYS,
            "only fixed knows this key",
            "add `format = \"fixed\"`, or take the key out",
        );
    }
    let records = Records {
        separator: separator(section, &format),
        format,
        skip_lines: section.integer("skip_lines", 0..=1_000_000_000).unwrap_or(0),
        record_max: section.size("record_max", 1..=1 << 40).unwrap_or(RECORD_MAX),
        slice_records: section.integer("slice_records", 1..=1_000_000).unwrap_or(1000) as u32,
    };
    check_limits(section, &records, service);
    section.finish(&["head", "trailer"]);
    records
}

fn check_limits(section: &Section<'_>, records: &Records, service: &Service) {
    if section.says("record_max") && records.record_max > service.memory_max {
        let hint = format!("raise `service.memory_max` ({} bytes), or lower this", service.memory_max);
        section.problem("record_max", "such a record does not fit into memory", Some(hint));
    }
    if let Some(length) = records.record_length() {
        if length > records.record_max {
            let hint = format!("raise `records.record_max` ({} bytes)", records.record_max);
            section.problem("record_length", "every record would be longer than allowed", Some(hint));
        }
        if records.skip_lines > 0 && records.separator.is_none() && section.says("skip_lines") {
            let hint = "add `separator`, or take one of `skip_lines` and `record_length` out".to_owned();
            section.problem("skip_lines", "records of a fixed length have no lines to skip", Some(hint));
        }
    }
}

fn csv(section: &Section<'_>) -> Csv {
    let header = section.boolean("header").unwrap_or(true);
    let columns = columns(section);
    let delimiter = single_byte(section, "delimiter").map_or(b',', |byte| byte.unwrap_or(b','));
    if section.text("delimiter") == Some("") {
        section.problem(
            "delimiter",
            "a delimiter is needed",
            Some("write one character, like \",\" or \"\\t\"".into()),
        );
    }
    let quote = single_byte(section, "quote").unwrap_or(Some(b'"'));
    if quote == Some(delimiter) {
        let key = if section.says("delimiter") { "delimiter" } else { "quote" };
        section.problem(key, "delimiter and quote are the same", Some("choose two characters".into()));
    }
    let escape = escape(section, delimiter, quote);
    let columns_max = section.integer("columns_max", 1..=10_000_000).unwrap_or(Csv::columns_max());
    if columns.len() as u64 > columns_max {
        let hint = format!("raise `records.columns_max` to {} at least", columns.len());
        section.problem("columns_max", "the rule itself names more columns", Some(hint));
    }
    Csv { header, columns, delimiter, quote, escape, columns_max }
}

/// What stands before a quote within quotes that is meant as it stands; doubled quotes are understood without it.
fn escape(section: &Section<'_>, delimiter: u8, quote: Option<u8>) -> Option<u8> {
    let escape = single_byte(section, "escape").flatten()?;
    if quote.is_none() {
        let hint = "add `quote`, or take the escape out".to_owned();
        section.problem("escape", "an escape stands before quotes, and there are none", Some(hint));
    } else if quote == Some(escape) {
        let hint = "take it out: doubled quotes are understood without it".to_owned();
        section.problem("escape", "escape and quote are the same", Some(hint));
    } else if escape == delimiter {
        section.problem("escape", "escape and delimiter are the same", Some("choose two characters".into()));
    }
    Some(escape)
}

/// What ends records, where it is not a line end. Records of a `record_length` have nothing between them unless it is said.
fn separator(section: &Section<'_>, format: &Format) -> Option<String> {
    const HINT: &str = "write what ends a record, like \"~\", \"\\r\" or \"\\u001e\", or take the key out";
    let text = section.text("separator")?;
    if text.is_empty() || text.len() > SEPARATOR_BYTES_MAX {
        let message = format!("a separator has 1 to {SEPARATOR_BYTES_MAX} bytes");
        section.problem("separator", message, Some(HINT.to_owned()));
        return None;
    }
    if let Format::Csv(csv) = format {
        let inside = [("delimiter", Some(csv.delimiter)), ("quote", csv.quote), ("escape", csv.escape)];
        for (name, _) in inside.iter().filter(|(_, byte)| byte.is_some_and(|b| text.as_bytes().contains(&b)))
        {
            let message = format!("the {name} is part of the separator");
            let hint = format!("choose another separator, or say which {name} the file has");
            section.problem("separator", message, Some(hint));
        }
    }
    let by_length = matches!(format, Format::Fixed(Fixed { record_length: Some(_), .. }));
    Some(text.to_owned()).filter(|text| by_length || text != "\n")
}

fn columns(section: &Section<'_>) -> Vec<String> {
    let items = section.texts("columns").unwrap_or_default();
    for (position, item) in items.iter().enumerate() {
        if items.iter().take(position).any(|other| other.text == item.text) {
            let message = format!("column \"{}\" is named twice", item.text);
            section.item_problem(item, message, Some("give each column its own name".into()));
        }
    }
    items.iter().map(|item| item.text.to_owned()).collect()
}

/// One byte; `Some(None)` for empty text.
#[allow(clippy::option_option, reason = "not there, there and empty, there: three answers")]
fn single_byte(section: &Section<'_>, key: &'static str) -> Option<Option<u8>> {
    let text = section.text(key)?;
    match text.as_bytes() {
        [] => Some(None),
        [byte] if byte.is_ascii() && !matches!(byte, b'\r' | b'\n' | 0) => Some(Some(*byte)),
        _ => {
            let hint = "write one ASCII character that ends no line, like \";\" or \"\\t\"".to_owned();
            section.problem(key, format!("{text:?} is not a single byte"), Some(hint));
            None
        }
    }
}

fn fixed(section: &Section<'_>) -> Fixed {
    const HINT: &str = "add `fields = [ { name = \"id\", width = 10 }, … ]`";
    section.missing("fields", "the fields of a fixed record", HINT);
    let tables = section.sections("fields");
    if tables.is_empty() && section.get("fields").is_some() {
        section.problem("fields", "a fixed record needs at least one field", Some(HINT.to_owned()));
    }
    let mut names = BTreeSet::new();
    // Each is read, whatever is wrong with the others.
    let fields = tables.iter().filter_map(|table| field(table, &mut names)).collect();
    let words = [("fail", OnMisfit::Fail), ("allow", OnMisfit::Allow)];
    let fixed = Fixed {
        fields,
        record_length: section.integer("record_length", 1..=1 << 40),
        on_misfit: section.choice("on_misfit", &words, &[]).unwrap_or_default(),
    };
    check_fit(section, &fixed);
    fixed
}

/// A character has one byte at least.
fn check_fit(section: &Section<'_>, fixed: &Fixed) {
    let width = fixed.fields.iter().map(|field| u64::from(field.width)).sum::<u64>();
    let Some(length) = fixed.record_length.filter(|length| *length < width) else { return };
    if fixed.on_misfit == OnMisfit::Fail {
        let message =
            format!("{length} bytes cannot hold the fields, which have {width} characters together");
        let hint = "correct the fields' widths, or add `on_misfit = \"allow\"`: then the last ones are empty";
        section.problem("record_length", message, Some(hint.to_owned()));
    }
}

fn field<'a>(table: &Section<'a>, names: &mut BTreeSet<&'a str>) -> Option<FixedField> {
    table.missing("name", "the field's name", "write { name = \"id\", width = 10 }");
    table.missing(
        "width",
        "the field's width",
        "write its width in characters: { name = \"id\", width = 10 }",
    );
    let name = table.text("name");
    if name == Some("") {
        let hint = "write { name = \"id\", width = 10 }".to_owned();
        table.problem("name", "a field needs a name", Some(hint));
    } else if let Some(name) = name.filter(|name| !names.insert(name)) {
        let message = format!("field \"{name}\" is named twice");
        table.problem("name", message, Some("give each field its own name".into()));
    }
    let width = table.integer("width", 1..=1_000_000);
    table.finish(&[]);
    Some(FixedField { name: name?.to_owned(), width: width? as u32 })
}
