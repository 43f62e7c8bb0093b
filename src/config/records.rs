//! `[rule.records]`: how text becomes records.

use std::collections::BTreeSet;

use super::section::Section;
use crate::model::rule::{Csv, Fixed, FixedField, Format, Records, Service};

const RECORD_MAX: u64 = 8 << 20;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    Lines,
    Csv,
    Fixed,
    Jsonl,
}

const CSV_KEYS: &[&str] = &["header", "columns", "delimiter", "quote"];
const FIXED_KEYS: &[&str] = &["fields", "record_length"];

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
    if let Format::Fixed(Fixed { record_length: Some(length), .. }) = records.format {
        if length > records.record_max {
            let hint = format!("raise `records.record_max` ({} bytes)", records.record_max);
            section.problem("record_length", "every record would be longer than allowed", Some(hint));
        }
        if records.skip_lines > 0 && section.says("skip_lines") {
            let hint = "take one of `skip_lines` and `record_length` out".to_owned();
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
    Csv { header, columns, delimiter, quote }
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
    Fixed { fields, record_length: section.integer("record_length", 1..=1 << 40) }
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
