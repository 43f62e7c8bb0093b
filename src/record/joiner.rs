//! The other way round: records are put together to a text that is cut into the same records again.

use std::sync::Arc;

use super::alone::{put_record, why_no_record};
use super::cutter::Cutter;
use super::separator::Separator;
use crate::format::{self, Ends};
use crate::model::rule::{Decode, OnBadEncoding, Records};
use crate::model::slice::EntryShape;

/// Stands behind the last one, so that it is cut as those before it.
const NEXT: &[u8] = b"0";
/// At the beginning of a text it would be taken off, or say that the text is another.
const MARKS: [&[u8]; 3] = [b"\xEF\xBB\xBF", b"\xFF\xFE", b"\xFE\xFF"];

/// Puts records together as a rule reads them.
pub(crate) struct Joiner<'r> {
    records: &'r Records,
    decode: &'r Decode,
    separator: Separator,
    shape: EntryShape,
    is_begun: bool,
    joined: u64,
    /// A text of one record with this in it is taken for one with the line ends of old Macs.
    first_has_carriage_return: bool,
}

impl<'r> Joiner<'r> {
    /// Else what stands against it: a rule may read texts that records alone do not make.
    pub(crate) fn new(
        records: &'r Records,
        decode: &'r Decode,
        header: Option<Vec<u8>>,
    ) -> Result<Self, String> {
        let reads_header = format::of(records).header().is_some();
        match (reads_header, &header) {
            (true, None) => return Err("reads a header, and none was given".into()),
            (false, Some(_)) => return Err("reads no header, and one was given".into()),
            _ => {}
        }
        if records.skip_lines > 0 {
            return Err(format!("passes over the first {} lines", records.skip_lines));
        }
        if !decode.encoding.eq_ignore_ascii_case("utf-8") {
            return Err(format!("reads text in {}, not in UTF-8", decode.encoding));
        }
        if decode.require_encrypted || decode.require_signed || !decode.layers.is_empty() {
            return Err("reads what is packed, encrypted or signed, and records are none of these".into());
        }
        let shape = EntryShape { header: header.map(Arc::new), ..EntryShape::default() };
        Ok(Self {
            records,
            decode,
            separator: Separator::of(records),
            shape,
            is_begun: false,
            joined: 0,
            first_has_carriage_return: false,
        })
    }

    /// The text of these records, with the header before the first ones; else which of them, from 0, is not one record, and why.
    pub(crate) fn join(&mut self, batch: &[Vec<u8>]) -> Result<Vec<u8>, (usize, String)> {
        if let Some(unfit) = self.first_of_wrong_length(batch).or_else(|| self.first_of_other_encoding(batch))
        {
            return Err(unfit);
        }
        let mut text = Vec::with_capacity(batch.iter().map(|record| record.len() + 2).sum());
        if let Some(header) = &self.shape.header {
            put_record(&mut text, header, &self.separator);
        }
        let begin = text.len();
        for record in batch {
            put_record(&mut text, record, &self.separator);
        }
        if !self.is_begun && MARKS.iter().any(|mark| text.starts_with(mark)) {
            return Err((0, "a byte order mark at the beginning would be taken off".into()));
        }
        if self.records.record_length().is_none() {
            self.check_cut(&text, batch)?;
        }
        if self.joined == 0 {
            self.first_has_carriage_return = batch.first().is_some_and(|record| record.contains(&b'\r'));
        }
        self.joined += batch.len() as u64;
        let from = if std::mem::replace(&mut self.is_begun, true) { begin } else { 0 };
        Ok(text.split_off(from))
    }

    /// Nothing follows; else why the text would be refused.
    pub(crate) fn end(&self) -> Result<(), String> {
        if self.joined == 1 && self.first_has_carriage_return && self.separator.is_line_end() {
            return Err("alone, with a carriage return in it, it looks like lines of an old Mac".into());
        }
        Ok(())
    }

    fn first_of_other_encoding(&self, batch: &[Vec<u8>]) -> Option<(usize, String)> {
        if self.decode.on_bad_encoding == OnBadEncoding::Raw {
            return None;
        }
        let header = self.shape.header.iter().map(|header| header.as_slice());
        let is_bad = |text: &[u8]| std::str::from_utf8(text).is_err();
        if header.into_iter().any(is_bad) {
            return Some((0, "its header is no UTF-8".into()));
        }
        let at = batch.iter().position(|record| is_bad(record))?;
        Some((at, "it is no UTF-8".into()))
    }

    fn first_of_wrong_length(&self, batch: &[Vec<u8>]) -> Option<(usize, String)> {
        let Ends::Length(length) = format::of(self.records).ends() else { return None };
        let wrong = batch.iter().position(|record| record.len() as u64 != length)?;
        let found = batch.get(wrong).map_or(0, Vec::len);
        Some((wrong, format!("it has {found} bytes, and `record_length` is {length}")))
    }

    /// Cuts the text again, and compares.
    fn check_cut(&self, text: &[u8], batch: &[Vec<u8>]) -> Result<(), (usize, String)> {
        let mut text = text.to_vec();
        put_record(&mut text, NEXT, &self.separator);
        let unfit = |at: usize| {
            let record = batch.get(at).map(Vec::as_slice).unwrap_or_default();
            let why = why_no_record(record, &self.shape, self.records, self.decode);
            (at, why.unwrap_or_else(|| "with those around it, it would be cut otherwise".to_owned()))
        };
        let cut = Cutter::new(text.as_slice(), self.records, self.decode, 0, String::new(), 0);
        let mut cutter = cut.map_err(|error| (0, error.to_string()))?;
        let mut at = 0;
        while let Some(slice) = cutter.next_slice().map_err(|_| unfit(at))? {
            for span in &slice.records {
                let found = slice.bytes.get(span.start as usize..span.end as usize);
                let Some(record) = batch.get(at) else {
                    // With no record before it, something of the header was cut as one.
                    return if found == Some(NEXT) { Ok(()) } else { Err(unfit(at)) };
                };
                if slice.oversized.is_some() || found != Some(record.as_slice()) {
                    return Err(unfit(at));
                }
                at += 1;
            }
        }
        if at < batch.len() { Err(unfit(at)) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::{csv_records, decode, records};
    use super::*;
    use crate::model::rule::Format;

    /// All records of a text, as they are cut.
    fn cut(text: &[u8], records: &Records) -> Vec<Vec<u8>> {
        let decode = decode();
        let mut cutter = Cutter::new(text, records, &decode, 0, String::new(), 0).expect("is cut");
        let mut found = Vec::new();
        while let Some(slice) = cutter.next_slice().expect("is cut") {
            let of = |span: &crate::model::slice::Span| {
                slice.bytes[span.start as usize..span.end as usize].to_vec()
            };
            found.extend(slice.records.iter().map(of));
        }
        found
    }

    proptest! {
        #[test]
        fn what_is_joined_is_cut_into_the_same_records_and_nothing_else_is_joined(
            batches in prop::collection::vec(prop::collection::vec("[a\"\r\n, ]{0,6}", 0..5), 1..4),
            is_csv in any::<bool>(),
            has_header in any::<bool>(),
        ) {
            let records = if is_csv { csv_records(has_header) } else { records(Format::Lines) };
            let header = (is_csv && has_header).then(|| b"h".to_vec());
            let decode = decode();
            let mut joiner = Joiner::new(&records, &decode, header).expect("can be");
            let (mut text, mut given) = (Vec::new(), Vec::new());
            for batch in batches {
                let batch: Vec<_> = batch.into_iter().map(String::into_bytes).collect();
                match joiner.join(&batch) {
                    Ok(joined) => {
                        text.extend(joined);
                        given.extend(batch);
                    }
                    Err((at, why)) => prop_assert!(at < batch.len() && !why.is_empty()),
                }
            }
            if joiner.end().is_err() {
                prop_assert!(given.len() == 1 && text.contains(&b'\r'));
                return Ok(());
            }
            prop_assert_eq!(cut(&text, &records), given);
        }
    }

    #[test]
    fn a_rule_that_reads_other_texts_than_its_records_says_which() {
        let decode = decode();
        let (lines, csv) = (records(Format::Lines), csv_records(true));
        let why = |records: &Records, decode: &Decode, header: Option<&str>| {
            Joiner::new(records, decode, header.map(|text| text.as_bytes().to_vec()))
                .err()
                .unwrap_or_default()
        };
        assert_eq!(why(&csv, &decode, Some("id")), "");
        assert!(why(&csv, &decode, None).contains("none was given"));
        assert!(why(&lines, &decode, Some("id")).contains("reads no header"));
        assert!(why(&Records { skip_lines: 2, ..lines.clone() }, &decode, None).contains("first 2 lines"));
        let latin = Decode { encoding: "iso-8859-1".into(), ..decode.clone() };
        assert!(why(&lines, &latin, None).contains("iso-8859-1"));
    }

    #[test]
    fn what_is_no_utf_8_and_a_header_of_two_lines_are_refused() {
        let (csv, decode) = (csv_records(true), decode());
        let mut joiner = Joiner::new(&csv, &decode, Some(b"id\nx".to_vec())).expect("can be");
        assert!(joiner.join(&[]).is_err(), "its second line would be a record");
        let lines = records(Format::Lines);
        let mut joiner = Joiner::new(&lines, &decode, None).expect("can be");
        assert_eq!(joiner.join(&[b"a".to_vec(), b"\xE9".to_vec()]).expect_err("is none").0, 1);
    }

    #[test]
    fn a_mark_at_the_beginning_is_no_record_and_one_behind_it_is() {
        let (lines, decode) = (records(Format::Lines), decode());
        let mut joiner = Joiner::new(&lines, &decode, None).expect("can be");
        let mark = b"\xEF\xBB\xBFa".to_vec();
        assert_eq!(joiner.join(std::slice::from_ref(&mark)).expect_err("it would be taken off").0, 0);
        assert_eq!(joiner.join(&[b"b".to_vec(), mark]).expect("can be"), b"b\n\xEF\xBB\xBFa\n");
    }
}
