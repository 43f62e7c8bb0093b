//! Records of equal length without line ends: bytes are counted first, characters decoded after.
//!
//! A slice holds the records' decoded text one after another. Text that is UTF-8 already passes without a copy.

use std::io::Read;

use bytes::Bytes;
use encoding_rs::{DecoderResult, Encoding, UTF_8};

use super::SLICE_BYTES_MAX;
use super::block::Text;
use super::error::CutError;
use super::slicer::{Limits, Numbering};
use crate::model::rule::{Decode, OnBadEncoding};
use crate::model::slice::{Slice, Span};

/// Bytes of a byte order mark at most.
const BOM_BYTES_MAX: usize = 3;

/// How records of equal length become text.
pub(super) struct ByLength {
    length: usize,
    encoding: &'static Encoding,
    on_bad: OnBadEncoding,
    entry: String,
    replaced: u64,
}

/// A record is not in the encoding.
/// A `record_length` that counts the line end: it ends the record and is no part of it.
fn without_line_end(bytes: &[u8], span: Span) -> Span {
    let record = bytes.get(span.start as usize..span.end as usize).unwrap_or_default();
    let ends: u32 = match record {
        [.., b'\r', b'\n'] => 2,
        [.., b'\n'] => 1,
        _ => 0,
    };
    Span { end: span.end - ends, ..span }
}

struct Malformed;

impl ByLength {
    pub(super) fn new(
        length: u64,
        record_max: usize,
        decode: &Decode,
        entry: &str,
    ) -> Result<Self, CutError> {
        let encoding = Encoding::for_label(decode.encoding.as_bytes())
            .ok_or_else(|| CutError::UnknownEncoding(decode.encoding.clone()))?;
        match usize::try_from(length) {
            Ok(length) if length <= record_max => Ok(Self {
                length: length.max(1),
                encoding,
                on_bad: decode.on_bad_encoding,
                entry: entry.to_owned(),
                replaced: 0,
            }),
            _ => Err(CutError::LengthPastMax { record_length: length, record_max }),
        }
    }

    /// Characters replaced so far.
    pub(super) fn replaced(&self) -> u64 {
        self.replaced
    }

    /// Leaves out a byte order mark, which also says the encoding.
    pub(super) fn begin<R: Read>(&mut self, text: &mut Text<R>, skips_lines: bool) -> Result<(), CutError> {
        while text.held().len() < BOM_BYTES_MAX && !text.ended() {
            text.more().map_err(CutError::Read)?;
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
        let records = limits.slice_records.min((SLICE_BYTES_MAX / self.length).max(1));
        while text.held().len() < records.saturating_mul(self.length) && !text.ended() {
            text.more().map_err(CutError::Read)?;
        }
        let records = records.min(text.held().len() / self.length);
        if records == 0 {
            return self.check_remainder(text, numbering).map(|()| None);
        }
        let offset = text.offset();
        let raw_bytes = records * self.length;
        let raw = text.held().get(..raw_bytes).unwrap_or_default();
        if self.is_utf8(raw) {
            let spans = (0..records).map(|at| without_line_end(raw, self.raw_span(at))).collect();
            let bytes = text.take(raw_bytes);
            return Ok(Some(numbering.slice(offset, bytes, spans, 0, 0)));
        }
        let (decoded, spans) = self.decode(raw, offset, numbering.next_record)?;
        text.skip(spans.len() * self.length);
        Ok(Some(numbering.slice(offset, Bytes::from(decoded.into_bytes()), spans, 0, 0)))
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

    fn raw_span(&self, at: usize) -> Span {
        Span { start: (at * self.length) as u32, end: ((at + 1) * self.length) as u32 }
    }

    /// Whether the bytes can pass as they are: each record is UTF-8, or nobody asks.
    fn is_utf8(&self, raw: &[u8]) -> bool {
        if self.on_bad == OnBadEncoding::Raw || (self.encoding.is_ascii_compatible() && raw.is_ascii()) {
            return true;
        }
        self.encoding == UTF_8
            && raw.chunks_exact(self.length).all(|record| std::str::from_utf8(record).is_ok())
    }

    /// As many of the records as the decoded slice may hold; each one is decoded for itself.
    fn decode(&mut self, raw: &[u8], offset: u64, first: u64) -> Result<(String, Vec<Span>), CutError> {
        let mut decoded = String::with_capacity(raw.len() * 2);
        let mut spans = Vec::with_capacity(raw.len() / self.length);
        for (index, record) in raw.chunks_exact(self.length).enumerate() {
            let start = decoded.len();
            let replaced =
                self.decode_record(record, &mut decoded).map_err(|Malformed| CutError::BadEncoding {
                    entry: self.entry.clone(),
                    record: first + index as u64,
                    offset: offset + (index * self.length) as u64,
                    encoding: self.encoding.name().to_owned(),
                })?;
            if decoded.len() > SLICE_BYTES_MAX && index > 0 {
                decoded.truncate(start);
                break;
            }
            self.replaced += replaced;
            let span = Span { start: start as u32, end: decoded.len() as u32 };
            spans.push(without_line_end(decoded.as_bytes(), span));
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
