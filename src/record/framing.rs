//! Where a record ends within the held text, by format.
//!
//! A framing remembers how far it has looked into the present record, so that a record is looked at once, however
//! it is spread over blocks. All positions are relative to the held text.
//!
//! **Bytes behind a closing quote** (`"a"b`, or `"disk 12\""`, whose last quote opens nothing) are no csv, and what such
//! a record swallows of the next ones cannot be told from what it means. So it ends at the first separator behind
//! the quote that opened, as one whose quote is never closed does, and whoever needs its fields finds the fault.

use super::separator::Separator;
use crate::format::Blank;
use crate::format::marks::Marks;
use crate::model::rule::Csv;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    /// The last byte of its separator.
    pub(super) at: usize,
    /// All bytes before this one had to be seen to know it.
    pub(super) seen: usize,
}

/// Finds the ends of records, one after another.
pub(super) trait Framing {
    /// The end of the record beginning at `at`, if it lies before `limit`.
    fn end(&mut self, held: &[u8], at: usize, limit: usize) -> Option<End>;
    /// After `end` found none: where the quote stands that is still open at its limit.
    fn open_quote(&self) -> Option<usize>;
    /// What ends records.
    fn separator(&self) -> &Separator;
    /// Whether a record, without its separator, is none.
    fn is_blank(&self, line: &[u8]) -> bool;
    /// Goes on at `at`, outside quotes, whatever was seen already.
    fn restart(&mut self, at: usize);
    /// The first `bytes` of the held text were taken away.
    fn shift(&mut self, bytes: usize);
    /// Whether records may have separators inside.
    fn spans_lines(&self) -> bool;
}

#[derive(Clone, Debug)]
pub(super) struct LineFraming {
    marks: Marks,
    separator: Separator,
    blank: Blank,
}

impl LineFraming {
    pub(super) fn new(separator: Separator, blank: Blank) -> Self {
        Self { marks: Marks::new(separator.last(), separator.last()), separator, blank }
    }

    /// Every line is a record.
    pub(super) fn take_blank(&mut self) {
        self.blank = Blank::Record;
    }
}

impl Framing for LineFraming {
    #[inline]
    fn end(&mut self, held: &[u8], at: usize, limit: usize) -> Option<End> {
        loop {
            let mark = self.marks.next(held, limit)?;
            if self.separator.ends_at(held, at, mark) {
                return Some(End { at: mark, seen: mark + 1 });
            }
        }
    }

    fn open_quote(&self) -> Option<usize> {
        None
    }

    fn separator(&self) -> &Separator {
        &self.separator
    }

    #[inline]
    fn is_blank(&self, line: &[u8]) -> bool {
        self.blank.takes(line)
    }

    fn restart(&mut self, at: usize) {
        self.marks.restart(at);
    }

    fn shift(&mut self, bytes: usize) {
        self.marks.shift(bytes);
    }

    fn spans_lines(&self) -> bool {
        false
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quotes {
    /// Outside of any.
    Outside,
    /// Between a quote that opened and the one that closes.
    Within,
    /// Behind one that closed, here.
    Closed(usize),
    /// Something else than the field's end stands behind one that closed: quotes mean nothing up to the record's end.
    Broken,
}

/// Separators inside quotes belong to the record; a quote means something at a field's start only.
///
/// A quote inside quotes closes them; one right behind it was its double, and they are open again. One behind an odd
/// number of escapes closes nothing.
#[derive(Clone, Debug)]
pub(super) struct QuoteFraming {
    delimiter: u8,
    escape: Option<u8>,
    separator: Separator,
    blank: Blank,
    marks: Marks,
    quotes: Quotes,
    /// Where the last quotes opened.
    opened: usize,
}

impl QuoteFraming {
    pub(super) fn new(quote: u8, csv: &Csv, separator: Separator) -> Self {
        Self {
            delimiter: csv.delimiter,
            escape: csv.escape,
            marks: Marks::new(separator.last(), quote),
            separator,
            blank: Blank::Empty,
            quotes: Quotes::Outside,
            opened: 0,
        }
    }

    /// Every line is a record.
    pub(super) fn take_blank(&mut self) {
        self.blank = Blank::Record;
    }

    /// A quote where none is open.
    #[inline]
    fn open(&mut self, held: &[u8], at: usize, quote: usize) {
        let before = quote.checked_sub(1);
        if let Quotes::Closed(closed) = self.quotes
            && before == Some(closed)
        {
            self.quotes = Quotes::Within;
        } else if quote == at || before.and_then(|before| held.get(before)) == Some(&self.delimiter) {
            self.quotes = Quotes::Within;
            self.opened = quote;
        }
    }

    fn is_escaped(&self, held: &[u8], quote: usize) -> bool {
        let Some(escape) = self.escape else { return false };
        let within = held.get(self.opened + 1..quote).unwrap_or_default();
        within.iter().rev().take_while(|byte| **byte == escape).count() % 2 == 1
    }

    /// How far one has to see to know that bytes which belong to no field stand behind a closing quote; none: they do not, or it
    /// cannot be told before `limit`. Told from the bytes alone, so that it does not matter how they are read.
    #[inline]
    fn misplaced(&self, held: &[u8], closed: usize, limit: usize) -> Option<usize> {
        let behind = held.get(closed + 1..limit)?;
        let first = *behind.first()?;
        let is_line_end = self.separator.is_line_end();
        if first == self.delimiter || (is_line_end && first == b'\n') {
            return None;
        }
        let separator = self.separator.bytes();
        let length = behind.iter().zip(separator).take_while(|(one, other)| one == other).count();
        if length == separator.len() || length == behind.len() {
            return None;
        }
        if is_line_end && first == b'\r' {
            return behind.get(1).filter(|second| **second != b'\n').map(|_| closed + 3);
        }
        Some(closed + 2 + length)
    }

    /// The record has bytes behind a closing quote: it ends at the first separator behind the quote that opened. None: that is
    /// still to come, whatever quotes stand before it.
    #[cold]
    fn end_broken(&mut self, held: &[u8], seen: usize, limit: usize) -> Option<End> {
        let Some(at) = self.separator.find(held, self.opened, limit) else {
            self.quotes = Quotes::Broken;
            return None;
        };
        self.restart(at + 1);
        Some(End { at, seen: seen.max(at + 1) })
    }
}

impl Framing for QuoteFraming {
    #[inline]
    fn end(&mut self, held: &[u8], at: usize, limit: usize) -> Option<End> {
        loop {
            let mark = self.marks.next(held, limit);
            if let Quotes::Closed(closed) = self.quotes {
                // A quote right behind it is its double.
                let is_double = mark == Some(closed + 1) && held.get(closed) == held.get(closed + 1);
                if !is_double {
                    if let Some(seen) = self.misplaced(held, closed, limit) {
                        if let Some(end) = self.end_broken(held, seen, limit) {
                            return Some(end);
                        }
                    } else if mark.is_some() {
                        self.quotes = Quotes::Outside;
                    }
                }
            }
            let mark = mark?;
            let may_end = held.get(mark) == Some(&self.separator.last());
            match (may_end, self.quotes) {
                (true, Quotes::Within) => {}
                (true, _) if self.separator.ends_at(held, at, mark) => {
                    self.quotes = Quotes::Outside;
                    return Some(End { at: mark, seen: mark + 1 });
                }
                (true, _) | (false, Quotes::Broken) => {}
                (false, Quotes::Outside | Quotes::Closed(_)) => self.open(held, at, mark),
                (false, Quotes::Within) if self.is_escaped(held, mark) => {}
                (false, Quotes::Within) => self.quotes = Quotes::Closed(mark),
            }
        }
    }

    fn open_quote(&self) -> Option<usize> {
        (self.quotes == Quotes::Within).then_some(self.opened)
    }

    fn separator(&self) -> &Separator {
        &self.separator
    }

    #[inline]
    fn is_blank(&self, line: &[u8]) -> bool {
        self.blank.takes(line)
    }

    fn restart(&mut self, at: usize) {
        self.marks.restart(at);
        self.quotes = Quotes::Outside;
    }

    fn shift(&mut self, bytes: usize) {
        self.marks.shift(bytes);
        self.opened = self.opened.saturating_sub(bytes);
        if let Quotes::Closed(at) = self.quotes {
            self.quotes = at.checked_sub(bytes).map_or(Quotes::Outside, Quotes::Closed);
        }
    }

    fn spans_lines(&self) -> bool {
        true
    }
}
