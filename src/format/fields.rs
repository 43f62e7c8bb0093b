//! Fields within a record: where they lie, what they say, how one is written.
//!
//! Short and long rows come out as they are, since `validate` is the judge of them. A quote that is never closed and bytes
//! behind a closing quote are told ([`Misquoted`]): what such fields mean cannot be known. The rules are those of the
//! cutter (`csv`): a quote means something at a field's start only, and a doubled quote inside is one quote. With an escape
//! an escaped quote is one too, and an escaped escape one escape; before anything else it is an ordinary character.

use std::borrow::Cow;

use memchr::{memchr, memchr2};

use super::marks::{CHUNK_BYTES, marks_from};
use super::unit::Unit;
use crate::model::rule::{Csv, FixedField};

/// Where a field's value lies within its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FieldSpan {
    /// First byte; of a quoted field the first one inside the quotes.
    pub start: u32,
    /// One past the last byte; of a quoted field the closing quote.
    pub end: u32,
    /// The value stood in quotes: doubled quotes are possible, see [`csv_value`].
    pub quoted: bool,
}

/// A csv record whose quotes do not close where a field ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Misquoted {
    /// The first such field, from 1.
    pub field: usize,
    /// Its quote is never closed; else something stands behind the closing one.
    pub is_open: bool,
}

/// Splits a csv record (without its line end) into its fields; an empty record is one empty field.
///
/// Bytes between a closing quote and the next delimiter (`"a"b,c`) are no RFC 4180: the field is then taken as
/// it stands, quotes and all, so that nothing is lost, and the record is told to be misquoted.
pub(crate) fn split_csv(record: &[u8], csv: &Csv, spans: &mut Vec<FieldSpan>) -> Result<(), Misquoted> {
    spans.clear();
    let Some(at) = split_unquoted(record, csv, spans) else { return Ok(()) };
    let before = spans.len();
    fields_from(record, at, before, csv, |span| spans.push(span))
}

/// Shows each field that [`split_csv`] finds, without memory for them: a record may have as many as it has bytes.
pub(crate) fn each_field(record: &[u8], csv: &Csv, show: impl FnMut(FieldSpan)) -> Result<(), Misquoted> {
    fields_from(record, 0, 0, csv, show)
}

/// The fields from `at` on, which come behind so many.
#[inline]
fn fields_from(
    record: &[u8],
    mut at: usize,
    before: usize,
    csv: &Csv,
    mut show: impl FnMut(FieldSpan),
) -> Result<(), Misquoted> {
    let (mut found, mut fields) = (Ok(()), before);
    loop {
        fields += 1;
        let rest = record.get(at..).unwrap_or_default();
        let (span, next) = match csv.quote {
            Some(quote) if rest.first() == Some(&quote) => {
                let field = quoted_field(record, at, quote, csv);
                if !field.0.quoted && found.is_ok() {
                    let is_open = closing_quote(record, at + 1, quote, csv.escape).is_none();
                    found = Err(Misquoted { field: fields, is_open });
                }
                field
            }
            _ => plain_field(record, at, at, csv.delimiter),
        };
        show(span);
        match next {
            Some(next) => at = next,
            None => return found,
        }
    }
}

pub(crate) fn count_fields(record: &[u8], csv: &Csv) -> usize {
    let mut count = 0;
    each_field(record, csv, |_| count += 1).ok(); // those of a misquoted record count as they stand
    count
}

/// Splits up to the first field that is in quotes, and says where that begins.
#[inline]
fn split_unquoted(record: &[u8], csv: &Csv, spans: &mut Vec<FieldSpan>) -> Option<usize> {
    let quote = csv.quote.unwrap_or(csv.delimiter);
    let mut start = 0;
    for base in (0..record.len()).step_by(CHUNK_BYTES) {
        let mut bits = marks_from(record, base, csv.delimiter, quote);
        while bits != 0 {
            let mark = base + bits.trailing_zeros() as usize;
            bits &= bits - 1;
            if record.get(mark) == Some(&csv.delimiter) {
                spans.push(span(start, mark, false));
                start = mark + 1;
            } else if mark == start {
                return Some(start);
            }
        }
    }
    spans.push(span(start, record.len(), false));
    None
}

/// The field from `start` to the first delimiter at or after `from`, and where the next field starts.
fn plain_field(record: &[u8], start: usize, from: usize, delimiter: u8) -> (FieldSpan, Option<usize>) {
    let delimiter_at = memchr(delimiter, record.get(from..).unwrap_or_default()).map(|found| from + found);
    let end = delimiter_at.unwrap_or(record.len());
    (span(start, end, false), delimiter_at.map(|at| at + 1))
}

/// The field whose opening quote is at `start`, and where the next field starts.
fn quoted_field(record: &[u8], start: usize, quote: u8, csv: &Csv) -> (FieldSpan, Option<usize>) {
    match closing_quote(record, start + 1, quote, csv.escape) {
        Some(close) => match record.get(close + 1) {
            None => (span(start + 1, close, true), None),
            Some(&byte) if byte == csv.delimiter => (span(start + 1, close, true), Some(close + 2)),
            Some(_) => plain_field(record, start, close + 1, csv.delimiter),
        },
        // Never closed: the cutter took the quote for data, and so do we.
        None => plain_field(record, start, start + 1, csv.delimiter),
    }
}

/// The quote that closes a field whose inside begins at `from`; doubled and escaped ones are stepped over.
fn closing_quote(record: &[u8], from: usize, quote: u8, escape: Option<u8>) -> Option<usize> {
    let mut at = from;
    loop {
        let found = at + memchr(quote, record.get(at..)?)?;
        let escapes = escape.map_or(0, |escape| {
            let within = record.get(from..found).unwrap_or_default();
            within.iter().rev().take_while(|byte| **byte == escape).count()
        });
        if escapes % 2 == 1 {
            at = found + 1;
        } else if record.get(found + 1) == Some(&quote) {
            at = found + 2;
        } else {
            return Some(found);
        }
    }
}

fn span(start: usize, end: usize, quoted: bool) -> FieldSpan {
    // A record lies in one slice, and slices are bounded far below 4 GiB.
    FieldSpan { start: start as u32, end: end as u32, quoted }
}

/// The value of a field: borrowed unless doubled or escaped quotes become single ones.
pub(crate) fn csv_value<'r>(record: &'r [u8], span: FieldSpan, csv: &Csv) -> Cow<'r, [u8]> {
    let raw = record.get(span.start as usize..span.end as usize).unwrap_or_default();
    let Some(quote) = csv.quote.filter(|_| span.quoted) else { return Cow::Borrowed(raw) };
    let escape = csv.escape.unwrap_or(quote);
    if memchr2(quote, escape, raw).is_none() {
        Cow::Borrowed(raw)
    } else {
        Cow::Owned(plain(raw, quote, escape))
    }
}

/// The inside of a quoted field without what protects its quotes.
fn plain(raw: &[u8], quote: u8, escape: u8) -> Vec<u8> {
    let mut value = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(found) = memchr2(quote, escape, rest) {
        value.extend_from_slice(rest.get(..found).unwrap_or_default());
        let (this, next) = (rest.get(found).copied(), rest.get(found + 1).copied());
        let is_pair = next.is_some() && (next == this || next == Some(quote));
        value.extend(if is_pair { next } else { this });
        rest = rest.get(found + 1 + usize::from(is_pair)..).unwrap_or_default();
    }
    value.extend_from_slice(rest);
    value
}

/// Appends a value as one csv field, in quotes only where it must be.
///
/// Without a quote character the value is written as it is: there is no way to protect a delimiter then.
pub(crate) fn write_csv_value(value: &[u8], csv: &Csv, out: &mut Vec<u8>) {
    let Some(quote) = csv.quote.filter(|&quote| needs_quotes(value, csv.delimiter, quote)) else {
        out.extend_from_slice(value);
        return;
    };
    out.push(quote);
    let escape = csv.escape.unwrap_or(quote);
    let mut rest = value;
    while let Some(found) = memchr2(quote, escape, rest) {
        out.extend_from_slice(rest.get(..found).unwrap_or_default());
        out.extend(Some(escape).into_iter().chain(rest.get(found).copied()));
        rest = rest.get(found + 1..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    out.push(quote);
}

/// Ends a csv row that was appended from `start` on: a row of one empty value would be a blank line, which readers take for no
/// record at all, and stands in quotes. Without a quote character there is no way to tell it.
pub(crate) fn end_csv_row(csv: &Csv, start: usize, out: &mut Vec<u8>) {
    if let (Some(quote), true) = (csv.quote, out.len() == start) {
        out.extend_from_slice(&[quote, quote]);
    }
}

fn needs_quotes(value: &[u8], delimiter: u8, quote: u8) -> bool {
    memchr2(delimiter, quote, value).is_some() || memchr2(b'\n', b'\r', value).is_some()
}

/// Splits a fixed record (without its line end) into fields, blanks around each value left out.
///
/// There are always as many spans as fields: one that the record is too short for is empty. What stands beyond the last
/// field belongs to none.
pub(crate) fn split_fixed(record: &[u8], fields: &[FixedField], unit: Unit, spans: &mut Vec<FieldSpan>) {
    spans.clear();
    let ascii = unit == Unit::Bytes || record.is_ascii();
    let mut at = 0;
    for field in fields {
        let end = after(record, at, field.width as usize, ascii);
        let value = record.get(at..end).unwrap_or_default();
        let start = at + (value.len() - value.trim_ascii_start().len());
        spans.push(span(start, start + value.trim_ascii().len(), false));
        at = end;
    }
}

/// Where `count` characters from `from` on end; of `ascii` text each is a byte.
pub(super) fn after(record: &[u8], from: usize, count: usize, ascii: bool) -> usize {
    if ascii {
        return from.saturating_add(count).min(record.len());
    }
    let mut at = from;
    for _ in 0..count {
        if at >= record.len() {
            break;
        }
        at += character_bytes(record.get(at..).unwrap_or_default());
    }
    at
}

/// Bytes of the first character: of a whole UTF-8 sequence, else one.
fn character_bytes(text: &[u8]) -> usize {
    let expected = match text.first() {
        Some(0xC2..=0xDF) => 2,
        Some(0xE0..=0xEF) => 3,
        Some(0xF0..=0xF4) => 4,
        _ => 1,
    };
    match text.get(..expected) {
        Some(sequence) if std::str::from_utf8(sequence).is_ok() => expected,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn csv() -> Csv {
        Csv {
            header: false,
            columns: Vec::new(),
            delimiter: b',',
            quote: Some(b'"'),
            escape: None,
            columns_max: 10_000,
        }
    }

    fn values(record: &[u8], csv: &Csv) -> Vec<String> {
        let mut spans = Vec::new();
        split_csv(record, csv, &mut spans).ok();
        let value = |span: &FieldSpan| csv_value(record, *span, csv).into_owned();
        spans.iter().map(|span| String::from_utf8_lossy(&value(span)).into_owned()).collect()
    }

    #[test]
    fn fields_end_at_delimiters_outside_quotes() {
        assert_eq!(values(b"a,b,c", &csv()), ["a", "b", "c"]);
        assert_eq!(values(b"", &csv()), [""]);
        assert_eq!(values(b",", &csv()), ["", ""]);
        assert_eq!(values(b"\"a,b\",c", &csv()), ["a,b", "c"]);
        assert_eq!(values(b"\"a\nb\",\"\"", &csv()), ["a\nb", ""]);
        assert_eq!(values(b"\"say \"\"hi\"\"\",x", &csv()), ["say \"hi\"", "x"]);
        assert_eq!(values(b"\"\"\"\",x", &csv()), ["\"", "x"]);
    }

    #[test]
    fn a_quote_that_does_not_start_a_field_is_data() {
        assert_eq!(values(b"5\" pipe,b", &csv()), ["5\" pipe", "b"]);
        assert_eq!(values(b" \"a\",b", &csv()), [" \"a\"", "b"]);
    }

    #[test]
    fn nothing_is_lost_from_a_field_that_is_no_csv() {
        assert_eq!(values(b"\"a\"b,c", &csv()), ["\"a\"b", "c"]);
        assert_eq!(values(b"\"never closed,c", &csv()), ["\"never closed", "c"]);
    }

    #[test]
    fn without_a_quote_character_quotes_are_data() {
        let csv = Csv { quote: None, delimiter: b';', ..csv() };
        assert_eq!(values(b"\"a;b\"", &csv), ["\"a", "b\""]);
    }

    #[test]
    fn fixed_fields_are_cut_by_characters_and_trimmed() {
        let fields: Vec<FixedField> =
            [4, 3, 2].iter().map(|&width| FixedField { name: format!("f{width}"), width }).collect();
        let cut = |record: &str| -> Vec<String> {
            let mut spans = Vec::new();
            split_fixed(record.as_bytes(), &fields, Unit::Characters, &mut spans);
            spans.iter().map(|span| record[span.start as usize..span.end as usize].to_owned()).collect()
        };
        assert_eq!(cut("ab   12XY"), ["ab", "12", "XY"]);
        assert_eq!(cut("äöü €1 Zz"), ["äöü", "€1", "Zz"]);
        assert_eq!(cut("äö"), ["äö", "", ""]);
        assert_eq!(cut("abcd123XYmore"), ["abcd", "123", "XY"]);
    }

    #[test]
    fn bytes_that_are_no_utf8_count_as_one_character_each() {
        let fields = [FixedField { name: "a".into(), width: 2 }, FixedField { name: "b".into(), width: 1 }];
        let mut spans = Vec::new();
        split_fixed(b"\xFF\xE2z", &fields, Unit::Characters, &mut spans);
        assert_eq!(spans[1], FieldSpan { start: 2, end: 3, quoted: false });
    }

    proptest! {
        #[test]
        fn written_fields_are_read_back(values in prop::collection::vec("[ab,;\"\r\n]{0,6}", 1..6)) {
            let csv = csv();
            let mut record = Vec::new();
            for (index, value) in values.iter().enumerate() {
                if index > 0 {
                    record.push(csv.delimiter);
                }
                write_csv_value(value.as_bytes(), &csv, &mut record);
            }
            prop_assert_eq!(super::tests::values(&record, &csv), values);
        }

        #[test]
        fn long_records_are_split_like_short_ones(fields in prop::collection::vec("[ab\"]{0,90}", 1..8)) {
            let record = fields.join(",");
            let mut spans = Vec::new();
            let csv = Csv { quote: None, ..csv() };
            prop_assert_eq!(split_csv(record.as_bytes(), &csv, &mut spans), Ok(()));
            let found: Vec<&str> = spans.iter().map(|span| &record[span.start as usize..span.end as usize]).collect();
            prop_assert_eq!(found, fields);
        }

        #[test]
        fn any_bytes_can_be_split(record in prop::collection::vec(any::<u8>(), 0..64), widths in prop::collection::vec(0u32..9, 0..5)) {
            let fields: Vec<FixedField> = widths.iter().map(|&width| FixedField { name: String::new(), width }).collect();
            let mut spans = Vec::new();
            split_fixed(&record, &fields, Unit::Characters, &mut spans);
            prop_assert_eq!(spans.len(), fields.len());
            prop_assert!(spans.iter().all(|span| span.start <= span.end && span.end as usize <= record.len()));
            split_csv(&record, &csv(), &mut spans).ok();
            prop_assert!(spans.iter().all(|span| span.start <= span.end && span.end as usize <= record.len()));
        }
    }
}
