//! Whether bytes are one record by themselves: as they were kept, or as an operator wrote them anew.

use super::cutter::Cutter;
use super::separator::Separator;
use crate::format::{self, Ends};
use crate::model::rule::{Decode, Records};
use crate::model::slice::{EntryShape, UnfitReason};

/// Stands behind it, so that it is not the last one.
const NEXT: &[u8] = b"0";

/// Why a text in which these bytes stand as a record, of an entry of this shape, is not cut so; none where it is.
pub(crate) fn why_no_record(
    bytes: &[u8],
    shape: &EntryShape,
    records: &Records,
    decode: &Decode,
) -> Option<String> {
    let format = format::of(records);
    let header = format.header().map(|_| shape.header.as_deref());
    if matches!(format.ends(), Ends::Length(_)) || header == Some(None) {
        return None; // bytes before they were decoded tell, or there was no header then
    }
    let separator = Separator::of(records);
    let mut text = Vec::new();
    if let Some(Some(header)) = header {
        put_record(&mut text, header, &separator);
    }
    let offset = text.len() as u64;
    put_record(&mut text, bytes, &separator);
    put_record(&mut text, NEXT, &separator);
    let alone = Records { skip_lines: 0, slice_records: 1, ..records.clone() };
    let cut = Cutter::new(text.as_slice(), &alone, decode, 0, String::new(), 0);
    let first = match cut.and_then(|mut cutter| cutter.next_slice()) {
        Ok(Some(first)) if first.offset == offset => first,
        Ok(_) => return Some("a blank line is no record".to_owned()),
        Err(error) => return Some(error.to_string()),
    };
    let is_whole = first.records.first().is_some_and(|span| (span.end - span.start) as usize == bytes.len());
    match first.oversized.map(|oversized| oversized.reason) {
        Some(UnfitReason::TooLong) => Some("it is longer than `record_max`".to_owned()),
        Some(UnfitReason::UnclosedQuote { .. }) => Some("a quote in it is never closed".to_owned()),
        None if is_whole => None,
        None => Some("it would be more than one record".to_owned()),
    }
}

pub(super) fn put_record(text: &mut Vec<u8>, record: &[u8], separator: &Separator) {
    text.extend_from_slice(record);
    if separator.is_line_end() && record.ends_with(b"\r") {
        text.push(b'\r'); // else its own one would be taken for half of the line end
    }
    text.extend_from_slice(separator.bytes());
}

#[cfg(test)]
mod tests {
    use super::super::tests::{csv_records, decode, records};
    use super::*;
    use crate::model::rule::Format;

    fn why(text: &str, records: &Records) -> Option<String> {
        why_no_record(text.as_bytes(), &EntryShape::default(), records, &decode())
    }

    #[test]
    fn what_would_be_cut_otherwise_says_why() {
        let (lines, csv) = (records(Format::Lines), csv_records(false));
        for fits in ["", "a", "a\r", "a\rb", "\r"] {
            assert_eq!(why(fits, &lines), None, "{fits:?}");
        }
        for fits in ["a,b", "\"a\n\",b", "\"\"", "a\r"] {
            assert_eq!(why(fits, &csv), None, "{fits:?}");
        }
        let told = |text: &str, records: &Records| why(text, records).unwrap_or_default();
        assert!(told("a\nb", &lines).contains("more than one"));
        assert!(told("a,b\nc,d", &csv).contains("more than one"));
        assert!(told("a,\"b", &csv).contains("never closed"));
        assert!(told("", &csv).contains("blank"));
        let short = Records { record_max: 3, ..lines };
        assert!(told("abcd", &short).contains("record_max") && why("abc", &short).is_none());
    }

    #[test]
    fn a_header_is_what_it_was_and_none_of_the_record() {
        let header =
            EntryShape { header: Some(std::sync::Arc::new(b"id,name".to_vec())), ..EntryShape::default() };
        let records = csv_records(true);
        assert_eq!(why_no_record(b"1,a", &header, &records, &decode()), None);
        assert!(why_no_record(b"1,a\n2,b", &header, &records, &decode()).is_some());
    }
}
