//! Records of equal length: bytes are counted first, characters decoded after.
//!
//! A record is all of its bytes, whatever they look like: one in 256 binary records ends in 0x0A. Where the rule names a
//! separator it stands behind each record, not counted in its length; the last one may lack it. Anything else there
//! is an error, since all records behind would be out of step. Under `on_bad_encoding = "raw"` no byte order mark is looked for.
//!
//! A slice holds the records' text one after another, decoded. Text that is UTF-8 already passes without a copy, with
//! the separators between.

use std::io::Read;

use bytes::Bytes;
use encoding_rs::{DecoderResult, Encoding, UTF_8};

use super::block::Text;
use super::error::CutError;
use super::limits::SLICE_BYTES_MAX;
use super::separator::Separator;
use super::slicer::{Limits, Numbering};
use crate::model::quoted::Quoted;
use crate::model::rule::{Decode, OnBadEncoding};
use crate::model::slice::{Slice, Span};

const BOM_BYTES_MAX: usize = 3;

/// How records of equal length become text.
pub(super) struct ByLength {
    length: usize,
    separator: Separator,
    encoding: &'static Encoding,
    on_bad: OnBadEncoding,
    entry: String,
    replaced: u64,
}

struct Malformed;

impl ByLength {
    pub(super) fn new(
        length: u64,
        separator: Separator,
        record_max: usize,
        decode: &Decode,
        entry: &str,
    ) -> Result<Self, CutError> {
        let encoding = Encoding::for_label(decode.encoding.as_bytes())
            .ok_or_else(|| CutError::UnknownEncoding(decode.encoding.clone()))?;
        match usize::try_from(length) {
            Ok(length) if length <= record_max => Ok(Self {
                length: length.max(1),
                separator,
                encoding,
                on_bad: decode.on_bad_encoding,
                entry: entry.to_owned(),
                replaced: 0,
            }),
            _ => Err(CutError::LengthPastMax { record_length: length, record_max }),
        }
    }

    pub(super) fn replaced(&self) -> u64 {
        self.replaced
    }

    /// Leaves out a byte order mark, which also says the encoding; raw bytes have none.
    pub(super) fn begin<R: Read>(&mut self, text: &mut Text<R>, skips_lines: bool) -> Result<(), CutError> {
        while text.held().len() < BOM_BYTES_MAX && !text.ended() {
            text.more().map_err(CutError::Read)?;
        }
        if self.on_bad == OnBadEncoding::Raw {
            return Ok(());
        }
        if let Some((encoding, bytes)) = Encoding::for_bom(text.held()) {
            self.encoding = encoding;
            text.skip(bytes);
        }
        if skips_lines && !self.encoding.is_ascii_compatible() {
            return Err(CutError::LinesInWideText(self.encoding.name()));
        }
        Ok(())
    }

    /// The next slice, or none at the end.
    pub(super) fn next_slice<R: Read>(
        &mut self,
        text: &mut Text<R>,
        limits: Limits,
        numbering: &mut Numbering,
    ) -> Result<Option<Slice>, CutError> {
        let stride = self.length + self.separator.bytes().len();
        let records = limits.slice_records.min((SLICE_BYTES_MAX / stride).max(1));
        while text.held().len() < records.saturating_mul(stride) && !text.ended() {
            text.more().map_err(CutError::Read)?;
        }
        let held = text.held();
        // The last record may lack its separator; an empty one is never lacking.
        let last_is_bare = held.len() % stride == self.length;
        let records = records.min(held.len() / stride + usize::from(last_is_bare));
        if records == 0 {
            return self.check_remainder(text, numbering).map(|()| None);
        }
        let offset = text.offset();
        let raw_bytes = (records * stride).min(held.len());
        let raw = held.get(..raw_bytes).unwrap_or_default();
        self.check_separators(raw, stride, offset, numbering.next_record)?;
        numbering.unterminated = raw_bytes < records * stride;
        if self.is_utf8(raw, stride) {
            let spans = (0..records).map(|at| self.raw_span(at, stride)).collect();
            let bytes = text.take(raw_bytes);
            return Ok(Some(numbering.slice(offset, bytes, spans, 0, 0)));
        }
        let (decoded, spans) = self.decode(raw, stride, offset, numbering.next_record)?;
        text.skip(spans.len() * stride);
        Ok(Some(numbering.slice(offset, Bytes::from(decoded.into_bytes()), spans, 0, 0)))
    }

    /// Behind each record stands its separator, and nothing else.
    fn check_separators(&self, raw: &[u8], stride: usize, offset: u64, first: u64) -> Result<(), CutError> {
        let separator = self.separator.bytes();
        if separator.is_empty() {
            return Ok(());
        }
        let lacks =
            |record: &[u8]| record.len() > self.length && record.get(self.length..) != Some(separator);
        let Some(index) = raw.chunks(stride).position(lacks) else { return Ok(()) };
        let at = index * stride + self.length;
        let found = raw.get(at..at + separator.len()).unwrap_or_default();
        Err(CutError::NotSeparated {
            entry: self.entry.clone(),
            record: first + index as u64,
            offset: offset + at as u64,
            separator: separator.escape_ascii().to_string(),
            found: Quoted::new(found.escape_ascii().to_string()),
        })
    }

    fn check_remainder<R: Read>(&self, text: &Text<R>, numbering: &Numbering) -> Result<(), CutError> {
        let left = text.held();
        if left.is_empty() {
            return Ok(());
        }
        Err(CutError::Remainder {
            entry: self.entry.clone(),
            record: numbering.next_record,
            offset: text.offset(),
            left: left.len() as u64,
            record_length: self.length as u64,
            only_line_ends: left.iter().all(|byte| matches!(byte, b'\r' | b'\n')),
        })
    }

    fn raw_span(&self, at: usize, stride: usize) -> Span {
        Span { start: (at * stride) as u32, end: (at * stride + self.length) as u32 }
    }

    /// The records of raw bytes, without their separators.
    fn records<'r>(&self, raw: &'r [u8], stride: usize) -> impl Iterator<Item = &'r [u8]> + use<'r> {
        let length = self.length;
        raw.chunks(stride).map(move |record| record.get(..length).unwrap_or(record))
    }

    /// Whether the bytes can pass as they are: each record is UTF-8, or nobody asks.
    fn is_utf8(&self, raw: &[u8], stride: usize) -> bool {
        if self.on_bad == OnBadEncoding::Raw || (self.encoding.is_ascii_compatible() && raw.is_ascii()) {
            return true;
        }
        self.encoding == UTF_8 && self.records(raw, stride).all(|record| std::str::from_utf8(record).is_ok())
    }

    /// As many of the records as the decoded slice may hold; each one is decoded for itself.
    fn decode(
        &mut self,
        raw: &[u8],
        stride: usize,
        offset: u64,
        first: u64,
    ) -> Result<(String, Vec<Span>), CutError> {
        let mut decoded = String::with_capacity(raw.len() * 2);
        let mut spans = Vec::with_capacity(raw.len() / stride + 1);
        for (index, record) in self.records(raw, stride).enumerate() {
            let start = decoded.len();
            let replaced =
                self.decode_record(record, &mut decoded).map_err(|Malformed| CutError::BadEncoding {
                    entry: self.entry.clone(),
                    record: first + index as u64,
                    offset: offset + (index * stride) as u64,
                    encoding: self.encoding.name().to_owned(),
                })?;
            if decoded.len() > SLICE_BYTES_MAX && index > 0 {
                decoded.truncate(start);
                break;
            }
            self.replaced += replaced;
            spans.push(Span { start: start as u32, end: decoded.len() as u32 });
        }
        Ok((decoded, spans))
    }

    /// Appends a record's text; how many characters had to be replaced.
    fn decode_record(&self, record: &[u8], out: &mut String) -> Result<u64, Malformed> {
        let mut decoder = self.encoding.new_decoder_without_bom_handling();
        let mut rest = record;
        let mut replaced = 0;
        loop {
            let room =
                decoder.max_utf8_buffer_length_without_replacement(rest.len()).unwrap_or(rest.len() * 4);
            out.reserve(room);
            let (result, read) = decoder.decode_to_string_without_replacement(rest, out, true);
            rest = rest.get(read..).unwrap_or_default();
            match result {
                DecoderResult::InputEmpty => return Ok(replaced),
                DecoderResult::OutputFull => {}
                DecoderResult::Malformed(..) if self.on_bad == OnBadEncoding::Replace => {
                    out.push(char::REPLACEMENT_CHARACTER);
                    replaced += 1;
                }
                DecoderResult::Malformed(..) => return Err(Malformed),
            }
        }
    }
}
