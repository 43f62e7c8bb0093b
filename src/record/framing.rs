//! Where a record ends within the held text, by format.
//!
//! A framing remembers how far it has looked into the present record, so that a record is looked at once, however
//! it is spread over blocks. All positions are relative to the held text.

use memchr::{memchr, memchr2};

/// Finds the ends of records, one after another.
pub(super) trait Framing {
    /// The line end that ends the record beginning at `at`, if it lies before `limit`.
    fn end(&mut self, held: &[u8], at: usize, limit: usize) -> Option<usize>;
    /// After `end` found none: where the quote stands that is still open at `limit`.
    fn open_quote(&self, limit: usize) -> Option<usize>;
    /// Whether a line, without its line end, is no record.
    fn is_blank(&self, line: &[u8]) -> bool;
    /// The record before `at` is done with.
    fn begin(&mut self, at: usize);
    /// The record ends at `end` as was found; it will be asked for again.
    fn found(&mut self, end: usize);
    /// The first `bytes` of the held text were taken away.
    fn shift(&mut self, bytes: usize);
    /// Whether records may have line ends inside.
    fn spans_lines(&self) -> bool;
}

/// Which lines are no records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blank {
    /// Every line is a record.
    Record,
    /// Lines of no bytes are none.
    Empty,
    /// Lines of white space are none.
    WhiteSpace,
}

impl Blank {
    #[inline]
    fn takes(self, line: &[u8]) -> bool {
        match self {
            Self::Record => false,
            Self::Empty => line.is_empty(),
            Self::WhiteSpace => line.iter().all(u8::is_ascii_whitespace),
        }
    }
}

/// Each line is a record.
#[derive(Clone, Debug)]
pub(super) struct LineFraming {
    seen: usize,
    blank: Blank,
}

impl LineFraming {
    pub(super) fn new(blank: Blank) -> Self {
        Self { seen: 0, blank }
    }
}

impl Framing for LineFraming {
    #[inline]
    fn end(&mut self, held: &[u8], _at: usize, limit: usize) -> Option<usize> {
        let found = memchr(b'\n', held.get(self.seen..limit)?).map(|found| self.seen + found);
        if found.is_none() {
            self.seen = limit;
        }
        found
    }

    fn open_quote(&self, _limit: usize) -> Option<usize> {
        None
    }

    #[inline]
    fn is_blank(&self, line: &[u8]) -> bool {
        self.blank.takes(line)
    }

    #[inline]
    fn begin(&mut self, at: usize) {
        self.seen = at;
    }

    fn found(&mut self, end: usize) {
        self.seen = end;
    }

    fn shift(&mut self, bytes: usize) {
        self.seen = self.seen.saturating_sub(bytes);
    }

    fn spans_lines(&self) -> bool {
        false
    }
}

/// Line ends inside quotes belong to the record; a quote means something at a field's start only.
#[derive(Clone, Debug)]
pub(super) struct QuoteFraming {
    quote: u8,
    delimiter: u8,
    seen: usize,
    open: Option<usize>,
}

impl QuoteFraming {
    pub(super) fn new(quote: u8, delimiter: u8) -> Self {
        Self { quote, delimiter, seen: 0, open: None }
    }

    /// Looks for the closing quote; whether it was found.
    fn close(&mut self, held: &[u8], limit: usize) -> bool {
        loop {
            let Some(found) = held.get(self.seen..limit).and_then(|rest| memchr(self.quote, rest)) else {
                self.seen = limit;
                return false;
            };
            let quote = self.seen + found;
            if quote + 1 >= limit {
                // Whether it is doubled is not known yet: it is looked at again, or `open_quote` takes it as closing.
                self.seen = quote;
                return false;
            }
            if held.get(quote + 1) != Some(&self.quote) {
                self.seen = quote + 1;
                self.open = None;
                return true;
            }
            self.seen = quote + 2;
        }
    }
}

impl Framing for QuoteFraming {
    #[inline]
    fn end(&mut self, held: &[u8], at: usize, limit: usize) -> Option<usize> {
        loop {
            if self.open.is_some() && !self.close(held, limit) {
                return None;
            }
            let Some(found) = memchr2(b'\n', self.quote, held.get(self.seen..limit)?) else {
                self.seen = limit;
                return None;
            };
            let found = self.seen + found;
            if held.get(found) == Some(&b'\n') {
                return Some(found);
            }
            self.seen = found + 1;
            let starts_field = found == at || held.get(found - 1) == Some(&self.delimiter);
            self.open = starts_field.then_some(found);
        }
    }

    fn open_quote(&self, limit: usize) -> Option<usize> {
        self.open.filter(|_| self.seen >= limit)
    }

    #[inline]
    fn is_blank(&self, line: &[u8]) -> bool {
        line.is_empty()
    }

    #[inline]
    fn begin(&mut self, at: usize) {
        self.seen = at;
        self.open = None;
    }

    fn found(&mut self, end: usize) {
        self.seen = end;
        self.open = None;
    }

    fn shift(&mut self, bytes: usize) {
        self.seen = self.seen.saturating_sub(bytes);
        self.open = self.open.map(|at| at.saturating_sub(bytes));
    }

    fn spans_lines(&self) -> bool {
        true
    }
}
