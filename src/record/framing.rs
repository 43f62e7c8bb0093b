//! Where a record ends within the held text, by format.
//!
//! A framing remembers how far it has looked into the present record, so that a record is looked at once, however
//! it is spread over blocks. All positions are relative to the held text.

use super::marks::Marks;

/// Finds the ends of records, one after another.
pub(super) trait Framing {
    /// The line end that ends the record beginning at `at`, if it lies before `limit`.
    fn end(&mut self, held: &[u8], at: usize, limit: usize) -> Option<usize>;
    /// After `end` found none: where the quote stands that is still open at its limit.
    fn open_quote(&self) -> Option<usize>;
    /// Whether a line, without its line end, is no record.
    fn is_blank(&self, line: &[u8]) -> bool;
    /// Goes on at `at`, outside quotes, whatever was seen already.
    fn restart(&mut self, at: usize);
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
    marks: Marks,
    blank: Blank,
}

impl LineFraming {
    pub(super) fn new(blank: Blank) -> Self {
        Self { marks: Marks::new(b'\n', b'\n'), blank }
    }
}

impl Framing for LineFraming {
    #[inline]
    fn end(&mut self, held: &[u8], _at: usize, limit: usize) -> Option<usize> {
        self.marks.next(held, limit)
    }

    fn open_quote(&self) -> Option<usize> {
        None
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

/// Line ends inside quotes belong to the record; a quote means something at a field's start only.
///
/// A quote inside quotes closes them; one right behind it was its double, and they are open again.
#[derive(Clone, Debug)]
pub(super) struct QuoteFraming {
    delimiter: u8,
    marks: Marks,
    is_open: bool,
    /// Where the last quotes opened.
    opened: usize,
    /// Where they closed.
    closed: Option<usize>,
}

impl QuoteFraming {
    pub(super) fn new(quote: u8, delimiter: u8) -> Self {
        Self { delimiter, marks: Marks::new(b'\n', quote), is_open: false, opened: 0, closed: None }
    }

    /// A quote outside quotes.
    fn open(&mut self, held: &[u8], at: usize, quote: usize) {
        let before = quote.checked_sub(1);
        if self.closed.is_some() && self.closed == before {
            self.is_open = true;
        } else if quote == at || before.and_then(|before| held.get(before)) == Some(&self.delimiter) {
            self.is_open = true;
            self.opened = quote;
        }
    }
}

impl Framing for QuoteFraming {
    #[inline]
    fn end(&mut self, held: &[u8], at: usize, limit: usize) -> Option<usize> {
        loop {
            let mark = self.marks.next(held, limit)?;
            let is_line_end = held.get(mark) == Some(&b'\n');
            match (is_line_end, self.is_open) {
                (true, false) => return Some(mark),
                (true, true) => {}
                (false, false) => self.open(held, at, mark),
                (false, true) => {
                    self.is_open = false;
                    self.closed = Some(mark);
                }
            }
        }
    }

    fn open_quote(&self) -> Option<usize> {
        self.is_open.then_some(self.opened)
    }

    #[inline]
    fn is_blank(&self, line: &[u8]) -> bool {
        line.is_empty()
    }

    fn restart(&mut self, at: usize) {
        self.marks.restart(at);
        self.is_open = false;
        self.closed = None;
    }

    fn shift(&mut self, bytes: usize) {
        self.marks.shift(bytes);
        self.opened = self.opened.saturating_sub(bytes);
        self.closed = self.closed.and_then(|at| at.checked_sub(bytes));
    }

    fn spans_lines(&self) -> bool {
        true
    }
}
